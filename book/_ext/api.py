"""The page about the package: what each public name is, read from the code.

    ```{api} patches positions
    ```

lists the names in the `__all__` of these modules, each with its signature, its
docstring, and where to find its code and the chapter that has it.
"""

import ast
import functools
import json
import re

import griffe
from docstrings import inline, taken_apart
from package_names import PACKAGE, ROOT, addresses, members, package
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective

IMPORT = rf"^from {PACKAGE}[\w.]* import (\([^)]*\)|.*)"
LONGEST_VALUE = 100  # letters of a constant that its heading shows
MOST_KEYS = 8  # of a constant, that its description lists


@functools.cache
def chapters():
    """Return where the book shows each name's source, or else uses it first:
    {name: ("explained" or "used", page)}."""
    shown, used = {}, {}
    pages = [*sorted(ROOT.glob("book/[0-9]*.ipynb")), ROOT / "book/intro.ipynb"]
    for page in pages:
        for cell in json.loads(page.read_text("utf8"))["cells"]:
            if cell["cell_type"] != "code":
                continue
            code = "".join(cell["source"])
            for name in re.findall(r"show_source\((\w+)\)", code):
                shown.setdefault(name, ("explained", page.stem))
            for names in re.findall(IMPORT, code, re.M):
                for name in re.findall(r"\w+", names):
                    used.setdefault(name, ("used", page.stem))
    return used | shown


def short_value(value):
    """Return a constant's value if it is written out and short."""
    text = str(value)
    try:
        ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return ""
    return text if len(text) <= LONGEST_VALUE else ""


def literal_keys(value):
    """Return the keys of a dict that is written out, if they are few."""
    if not isinstance(value, griffe.ExprDict) or len(value.keys) > MOST_KEYS:
        return []
    return [str(key) for key in value.keys]


class Api(SphinxDirective):
    """List the public names of some modules."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self):
        # The types in the signatures are names of the package itself.
        self.env.ref_context["py:module"] = PACKAGE
        listed = [
            member
            for name in self.arguments[0].split()
            for member in members(package()[name])
        ]
        for member in listed:
            self.env.note_dependency(str(member.filepath))
        return self.parse_text_to_nodes("\n\n".join(map(self.entry, listed)))

    def entry(self, member):
        """Write one name's description, in MyST's Markdown."""
        address = addresses()[member.path]
        module, _, name = address.rpartition(".")
        options = {"module": module}
        if address != member.path:
            options["canonical"] = member.path
        if not member.docstring:
            raise ExtensionError(f"{address} is public, but has no docstring")
        paragraphs, rows = taken_apart(member.docstring)
        rows = [(term, [*map(inline, texts)]) for term, texts in rows]
        if member.is_attribute:
            kind, heading = "data", name
            if value := short_value(member.value):
                options["value"] = value
            elif keys := literal_keys(member.value):
                rows.append(("*Keys*", [", ".join(f"`{key}`" for key in keys)]))
        else:
            kind, heading = member.kind.value, member.signature(name=name)
        rows.append(("*Code*", [self.places(member)]))
        return "\n".join(
            [
                f"`````{{py:{kind}}} {heading}",
                *(f":{key}: {value}" for key, value in options.items()),
                "",
                *(f"{paragraph}\n" for paragraph in paragraphs),
                *("\n: ".join([term, *texts]) + "\n" for term, texts in rows),
                "`````",
            ]
        )

    def places(self, member):
        """Say where the code stands, and where the book has it."""
        path = member.filepath.relative_to(ROOT).as_posix()
        theme = self.config.html_theme_options
        text = f"`{path}`"
        if url := theme.get("repository_url"):
            branch = theme.get("repository_branch") or "main"
            lines = f"#L{member.lineno}-L{member.endlineno}"
            text = f"[{text}]({url}/blob/{branch}/{path}{lines})"
        if member.name in chapters():
            how, page = chapters()[member.name]
            text += f", {how} in {{doc}}`{page}`"
        return text


def add_to_page(app, pagename, templatename, context, doctree):
    lists_names = 'class="py ' in context.get("body", "")
    if lists_names or pagename == "genindex":
        app.add_css_file("api.css")


def setup(app):
    app.add_directive("api", Api)
    app.connect("html-page-context", add_to_page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
