"""The page about the package: what each public name is, read from the code.

    ```{api} patches positions
    ```

lists the names in the `__all__` of these modules. griffe reads the files and
takes the docstrings apart; nothing is imported, because the package needs
PyTorch and building does not.
"""

import ast
import functools
import json
import re
from pathlib import Path

import griffe
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "vit_tutorial"
IMPORT = rf"^from {PACKAGE}[\w.]* import (\([^)]*\)|.*)"
LONGEST_VALUE = 100  # letters of a constant that its heading shows
MOST_KEYS = 8  # of a constant, that its description lists

# Sentences that get a label of their own, beside Args.
LABELLED = re.compile(r"(?:^|(?<=[.:] ))(Raises|Returns|Source:|Shapes:) ")

# What is code in a docstring, besides what stands in backticks: a shape such as
# (b, h*w, dim) -> (b, dim), a word in quotes, a dict in words, an exception.
ENTRY = r"[\w*/+.]+(?: [*+/] [\w*/+]+)*"
SHAPE = rf"\({ENTRY},(?: {ENTRY}(?:, {ENTRY})*,?)?\)"
CODE = re.compile(
    r"`([^`]+)`"
    rf"|({SHAPE}(?: -> {SHAPE})*"
    r"""|"[\w./-]+"|\{[^{}]*(?:\{[^{}]*\})?[^{}]*\}|\b[A-Z]\w+Error\b)"""
    r"|\b([A-Z][A-Z_]{3,})\b"
)


@functools.cache
def package():
    """Read the package, without importing any of it."""
    return griffe.load(
        PACKAGE,
        search_paths=[ROOT],
        allow_inspection=False,
        docstring_parser="google",
        docstring_options={
            "warnings": False,  # "mean, std: …" describes two arguments at once
            "returns_multiple_items": False,
            "returns_named_value": False,
        },
    )


def exported():
    """Yield what each `__all__` names: (module, name, object)."""
    for module in [package(), *package().modules.values()]:
        for name in module.exports or []:
            member = module[name]
            yield (
                module,
                name,
                member.final_target if member.is_alias else member,
            )


@functools.cache
def addresses():
    """Return where each public object is imported from: {its path: address}.

    That is the package itself, where it has the name, or else the module that
    defines it; figures are imported from `widgets`.
    """
    found = {}
    for module, name, member in exported():
        found.setdefault(member.path, []).append(
            (len(module.path), module is not member.module, module, name)
        )
    return {
        path: f"{module.path}.{name}"
        for path, places in found.items()
        for *_, module, name in [min(places, key=lambda place: place[:2])]
    }


def members(module):
    """Return a module's public objects in their order, without those that it
    has from another module which makes them public itself."""
    own = [
        member
        for where, _, member in exported()
        if where is module
        and (member.module is module or not member.module.exports)
    ]
    if all(member.module is module for member in own):
        own.sort(key=lambda member: member.lineno)
    return own


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


def inline(text):
    """Write a docstring's words as Markdown: code as code, links to names."""
    text, written, end = " ".join(text.split()), "", 0
    for match in CODE.finditer(text):
        quoted, code, constant = match.groups()
        name = quoted or constant
        address = name and public_address(name)
        if constant and not address:
            continue
        written += escaped(text[end : match.start()])
        written += (
            f"{{py:obj}}`{name} <{address}>`"
            if address
            else f"`{quoted or code}`"
        )
        end = match.end()
    return written + escaped(text[end:])


def public_address(name):
    """Find a public name as a docstring writes it, such as `data.normalize`."""
    for address in addresses().values():
        if f".{address}".endswith(f".{name}"):
            return address
    return None


def escaped(text):
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", text)


def taken_apart(docstring):
    """Return a docstring's paragraphs and its rows: (term, descriptions)."""
    paragraphs, rows, ends = [], [], []
    for section in docstring.parsed:
        kind = section.kind.value
        if kind == "text":
            for paragraph in section.value.split("\n\n"):
                text, labelled = without_labels(paragraph)
                paragraphs += [text] if text else []
                ends += labelled
        elif kind == "parameters":
            for each in section.value:
                names = [f"`{name}`" for name in each.name.split(", ")]
                rows.append((", ".join(names), [each.description]))
        elif kind == "raises":
            errors = [
                f"{each.annotation}: {each.description}"
                for each in section.value
            ]
            ends.append(("*Raises*", errors))
        else:  # Returns, Yields
            texts = [each.description for each in section.value]
            ends.append((f"*{kind.capitalize()}*", texts))
    return paragraphs, rows + ends


def without_labels(paragraph):
    """Split the sentences with labels off a paragraph."""
    if paragraph.startswith("    "):
        return f"```python\n{cut_indent(paragraph)}\n```", []
    text, *parts = LABELLED.split(" ".join(paragraph.split()))
    rows = [
        (f"*{label.removesuffix(':')}*", [described])
        for label, described in zip(parts[::2], parts[1::2], strict=True)
    ]
    return inline(text.strip()), rows


def cut_indent(code):
    return re.sub(r"^ {4}", "", code, flags=re.M)


def short_value(value):
    """Return a constant's value if it is written out and short."""
    text = str(value)
    try:
        ast.literal_eval(text)
    except ValueError:
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
