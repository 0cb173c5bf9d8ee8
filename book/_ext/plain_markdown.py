"""Chapters are plain Markdown, so that every program that opens a notebook
shows them as they are meant. The book's build makes more of some of it:

    [(Vaswani et al., 2017)](references.md#vaswani2017)    a citation
    [Vaswani et al. (2017)](references.md#vaswani2017)     one in a sentence
    [heads](glossary.md#head)                              a term, by its name
    [a state](12_playground.ipynb#figure=playground&dropped=0-6)
                                                           see teaching.py
    > **Note**                                             a note
    > **Guess first**                                      a box of that title
    ### Exercise `ex-name`                                 to its cell's end
"""

import json
import re

LINK = re.compile(
    r"\[(?P<text>[^\]]+)\]"
    r"\((?P<page>references\.md|glossary\.md|\w+\.ipynb)#(?P<target>[^)\s]+)\)"
)
BOX = re.compile(
    r"^> \*\*(?P<title>[^*\n]+)\*\*\n>\n(?P<body>(?:>.*\n?)+)", re.M
)
EXERCISE = re.compile(
    r"^### Exercise `(?P<label>ex-[\w-]+)`\n\n(?P<body>.+?)\s*\Z", re.M | re.S
)


def dressed(source):
    """Return a cell's Markdown as MyST."""
    source = LINK.sub(link, source)
    source = BOX.sub(box, source)
    return EXERCISE.sub(
        ":::{exercise}\n:label: \\g<label>\n\n\\g<body>\n:::", source
    )


def link(found):
    text, page, target = found["text"], found["page"], found["target"]
    if page == "references.md":
        return f"{{cite:{'p' if text.startswith('(') else 't'}}}`{target}`"
    if page == "glossary.md":
        return f"{{term}}`{text} <{target.replace('_', ' ')}>`"
    if target.startswith("figure="):
        return f"{{opens}}`{text} <{page[:-6]} {target.replace('&', ' ')}>`"
    return found[0]


def box(found):
    body = re.sub(r"^> ?", "", found["body"], flags=re.M).rstrip("\n")
    kind = "{note}"
    if found["title"] != "Note":
        kind = f"{{admonition}} {found['title']}\n:class: tip"
    return f":::{kind}\n{body}\n:::\n"


def dress(app, name, content):
    """Do so with every cell of a chapter that is about to be read."""
    if not app.env.doc2path(name).endswith(".ipynb"):
        return
    notebook = json.loads(content[0])
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"] = dressed("".join(cell["source"]))
    content[0] = json.dumps(notebook)


def setup(app):
    app.connect("source-read", dress)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
