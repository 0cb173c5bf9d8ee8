"""The list of the book's live figures, chapter by chapter.

    ```{list-of-figures}
    ```

Where a figure stands is read from the notebooks, and what there is to say of it
from its class's docstring: the question, and what it shows.
"""

import ast
import functools
import re

import yaml
from docstrings import inline
from docutils import nodes
from own_style import add_style
from package_names import ROOT, package
from sphinx import addnodes
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective
from teaching import BOOK, cells

FIGURE = re.compile(r'data-figure="(\w+)".*?(<img [^>]*>)', re.S)


def pages():
    """Return the book's notebooks in the order of its contents."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text("utf8"))
    chapters = [each for part in toc["parts"] for each in part["chapters"]]
    files = [toc["root"], *(chapter["file"] for chapter in chapters)]
    return [
        file.removeprefix("book/")
        for file in files
        if (ROOT / f"{file}.ipynb").exists()
    ]


@functools.cache
def classes():
    """Find the class of each figure: {figure: class}."""
    found = {}
    for module in modules(package()["widgets.figures"]):
        for member in module.members.values():
            if not member.is_alias and "script" in member.members:
                script = member.members["script"].value
                found[ast.literal_eval(str(script))] = member
    return found


def modules(folder):
    """Yield a package's modules, and those of the packages in it."""
    for module in folder.modules.values():
        yield module
        yield from modules(module)


def title_of(page):
    for kind, source, _ in cells(page):
        if kind == "markdown" and (found := re.match(r"# (.+)", source)):
            return found[1]
    raise ExtensionError(f"{page} has no title")


class ListOfFigures(SphinxDirective):
    def run(self):
        self.env.note_dependency(str(ROOT / "_toc.yml"))
        return [chapter for page in pages() for chapter in self.chapter(page)]

    def chapter(self, page):
        """List what a page shows, under the page's own title."""
        self.env.note_dependency(str(BOOK / f"{page}.ipynb"))
        shown = [
            figure
            for *_, html in cells(page)
            for figure in FIGURE.findall(html)
        ]
        if not shown:
            return []
        text = title_of(page)
        link = addnodes.pending_xref(
            "",
            nodes.inline("", text),
            refdomain="std",
            reftype="doc",
            reftarget=page,
            refdoc=self.env.docname,
            refexplicit=True,
            refwarn=True,
        )
        section = nodes.section(ids=[nodes.make_id(text)])
        section += nodes.title("", "", link)
        section += [self.entry(page, *figure) for figure in shown]
        return [section]

    def entry(self, page, figure, still):
        """Show a figure's still image, and say what the figure is."""
        figure_class = classes()[figure]
        self.env.note_dependency(str(figure_class.filepath))
        question, about, *_ = figure_class.docstring.value.split("\n\n")
        link = nodes.reference(
            "", question.rstrip("."), refuri=f"{page}.html#figure-{figure}"
        )
        link["internal"] = True
        image = nodes.raw("", still, format="html")
        words = nodes.container()
        words += nodes.paragraph("", "", link, classes=["listed-question"])
        words += self.parse_text_to_nodes(inline(about))
        entry = nodes.container(classes=["listed-figure"])
        entry += [image, words]
        return entry


def setup(app):
    app.add_directive("list-of-figures", ListOfFigures)
    add_style(app, "list_of_figures.css", "listed-figure")
    return {"parallel_read_safe": True, "parallel_write_safe": True}
