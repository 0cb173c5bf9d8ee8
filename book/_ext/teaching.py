"""What the page for teachers needs: minutes to read, and links that open a
figure in a chosen state.

    {reading}`02_patches`           the chapter's minutes
    {reading}`all`, {reading}`rate` those of all chapters; words a minute
    {opens}`text <12_playground figure=playground dropped=0-6>`

A link is checked here as far as building can: the figure is on the page, and
readers can set what the link sets. Whether the values fit is tested in a
browser (tests/test_teaching.py).
"""

import json
import re
from pathlib import Path
from urllib.parse import urlencode

from docutils import nodes
from figures import read_module
from sphinx.util import logging
from sphinx.util.docutils import ReferenceRole, SphinxRole

BOOK = Path(__file__).resolve().parents[1]
RATE = 150  # words a minute; an assumption
logger = logging.getLogger(__name__)


def cells(chapter):
    """Return a chapter's cells: (kind, source, output as HTML)."""
    notebook = json.loads((BOOK / f"{chapter}.ipynb").read_text("utf8"))
    return [
        (
            cell["cell_type"],
            "".join(cell["source"]),
            "".join(
                "".join(output.get("data", {}).get("text/html", ""))
                for output in cell.get("outputs", [])
            ),
        )
        for cell in notebook["cells"]
    ]


def minutes(chapter):
    """Count the words of text and code up to the exercises, in minutes."""
    words = 0
    for kind, source, _ in cells(chapter):
        text, exercises, _ = source.partition("## Exercises")
        text = re.sub(r"\]\([^)\s]*\)", "]", text)  # addresses are not read
        words += len(re.findall(r"\w+", text))
        if kind == "markdown" and exercises:
            break
    return round(words / RATE)


class Reading(SphinxRole):
    def run(self):
        if self.text == "rate":
            return [nodes.Text(str(RATE))], []
        chapters = [self.text]
        if self.text == "all":
            chapters = sorted(path.stem for path in BOOK.glob("[0-9]*.ipynb"))
        for chapter in chapters:
            self.env.note_dependency(str(BOOK / f"{chapter}.ipynb"))
        return [nodes.Text(str(sum(map(minutes, chapters))))], []


class Opens(ReferenceRole):
    def run(self):
        page, *parts = self.target.split()
        state = dict(part.split("=", 1) for part in parts)
        figure = state.pop("figure", "")
        shown = "".join(html for *_, html in cells(page))
        self.env.note_dependency(str(BOOK / f"{page}.ipynb"))
        if f'data-figure="{figure}"' not in shown:
            self.warn(f"there is no figure {figure!r} on {page}")
        else:
            settable, _ = read_module("bundle").declared(figure)
            for name in state.keys() - {*settable}:
                self.warn(f"readers cannot set {name!r} in {figure}")
        link = nodes.reference(self.rawtext, self.title, internal=True)
        fragment = urlencode({"vt": 2, "figure": figure} | state)
        link["refuri"] = f"{page}.html#{fragment}"
        link["classes"] = ["opens-a-figure"]
        return [link], []

    def warn(self, message):
        logger.warning(message, location=self.get_location())


def setup(app):
    app.add_role("reading", Reading())
    app.add_role("opens", Opens())
    return {"parallel_read_safe": True, "parallel_write_safe": True}
