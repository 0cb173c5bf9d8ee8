"""Chapters are plain Markdown, and the book makes citations, terms, boxes and exercises of it."""

import importlib.util
import json
import re

import pytest
from notebooks import ROOT
from pybtex.database import parse_file
from pybtex.richtext import Text

SPEC = importlib.util.spec_from_file_location(
    "plain_markdown", ROOT / "book" / "_ext" / "plain_markdown.py"
)
plain_markdown = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(plain_markdown)

BIBLIOGRAPHY = parse_file(ROOT / "book" / "references.bib").entries
NOTEBOOKS = sorted((ROOT / "book").glob("*.ipynb"))


def cells(path):
    notebook = json.loads(path.read_text("utf8"))
    return ["".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "markdown"]


@pytest.mark.parametrize(
    ("plain", "myst"),
    [
        ("so [(Xiao et al., 2017)](references.md#xiao2017).", "so {cite:p}`xiao2017`."),
        ("[Xiao et al. (2017)](references.md#xiao2017) say", "{cite:t}`xiao2017` say"),
        ("**[heads](glossary.md#head)**", "**{term}`heads <head>`**"),
        ("[T](glossary.md#softmax_temperature)", "{term}`T <softmax temperature>`"),
        (
            "[a shoe](12_playground.ipynb#figure=playground&dropped=0-6)",
            "{opens}`a shoe <12_playground figure=playground dropped=0-6>`",
        ),
        ("> **Note**\n>\n> One.\n>\n> Two.", ":::{note}\nOne.\n\nTwo.\n:::\n"),
        (
            "Before.\n\n> **Guess first**\n>\n> - a\n> - b\n\nAfter.",
            "Before.\n\n:::{admonition} Guess first\n:class: tip\n- a\n- b\n:::\n\nAfter.",
        ),
        (
            "## Exercises\n\n### Exercise `ex-a-b`\n\nDo\n\nit.\n",
            "## Exercises\n\n:::{exercise}\n:label: ex-a-b\n\nDo\n\nit.\n:::",
        ),
    ],
)
def test_what_the_book_makes_of_plain_markdown(plain, myst):
    assert plain_markdown.dressed(plain) == myst


@pytest.mark.parametrize(
    "plain",
    [
        "[chapter 5](05_attention.ipynb), [its end](05_attention.ipynb#exercises)",
        "[timm](https://github.com/huggingface/pytorch-image-models#readme)",
        "> A quotation\n>\n> of two paragraphs",
        "### Exercise for later",
    ],
)
def test_other_markdown_stays(plain):
    assert plain_markdown.dressed(plain) == plain


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_chapter_needs_no_program_that_knows_myst(path):
    for source in cells(path):
        found = re.search(r"\{[\w:-]+\}`|^:::|^`{3,}\{|^\([\w-]+\)=$|^%|\{\{", source, re.M)
        assert not found, found


def names_of(entry):
    people = entry.persons["author"]
    last = [" ".join(person.prelast_names + person.last_names) for person in people]
    if len(last) > 2 or last[-1] == "others":
        return f"{last[0]} et al."
    return " and ".join(last)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_citations_say_in_a_notebook_who_wrote_what_when(path):
    for source in cells(path):
        for text, key in re.findall(r"\[([^\]]+)\]\(references\.md#([^)]*)\)", source):
            who = Text.from_latex(names_of(BIBLIOGRAPHY[key])).render_as("text")
            year = BIBLIOGRAPHY[key].fields.get("year")
            assert text in ([f"({who}, {year})", f"{who} ({year})"] if year else [f"({who})", who])
