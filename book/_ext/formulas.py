"""Formulas, typeset when the book is built: their TeX becomes MathML.

A browser draws MathML by itself, so a page loads no script for it, and a screen
reader reads it out. docutils converts. Here is what it leaves to do, and a
check of what it has made: a formula that would come out wrong is named.
"""

import re
from xml.etree import ElementTree

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.util import logging

# How many parts the elements have whose parts mean something by their place.
PARTS = {
    **dict.fromkeys(["mfrac", "msub", "msup", "munder", "mover", "mroot"], 2),
    **dict.fromkeys(["msubsup", "munderover"], 3),
}
PAIRS = {"{": "}", r"\left": r"\right", r"\begin": r"\end"}
LONG = 20  # letters: a formula in a line of text that may not fit a phone
SCRIPTS = ("msub", "msup", "msubsup")
BRACES = ("⏟", "⏞")
# What a reader can scroll, the theme gives a place among the tab's stops.
SCROLLS = "pst-scrollable-table-container"
TAG = re.compile(r"\\tag\{([^{}]*)\}")
logger = logging.getLogger(__name__)


def prepared(tex):
    """Return TeX in which docutils knows every command of the book's.

    In MathML no space stands beside a stretched bracket: nothing takes it away.
    """
    tex = tex.strip().replace(r"\!", "")
    tex = re.sub(r"\\dots(?![a-zA-Z])", r"\\ldots ", tex)
    return re.sub("'+", primes, tex)


def primes(found):
    return "^{" + r"\prime " * len(found[0]) + "}"


def mathml(tex, block=False):
    """Convert a formula to an element `math`.

    Raises MathError, which says what is wrong, for TeX that nobody can convert.
    """
    for opening, closing in PAIRS.items():
        if count(opening, tex) != count(closing, tex):
            raise MathError(f"not every {opening} has its {closing}")
    try:
        text = tex2mathml(prepared(tex), as_block=block)
    except MathError:
        raise
    except Exception as error:  # of what is incomplete, some get lost in it
        raise MathError(f"incomplete: {error!r}") from error
    text = re.sub(r' xmlns="[^"]*"', "", text)
    math = ElementTree.fromstring(text.replace("&ApplyFunction;", "\u2061"))
    for element in math.iter():
        element.tail = None
        if len(element):
            element.text = None
        # A brace's label stands below the brace, not beside it.
        if element.tag in ("msub", "msup") and is_brace(element[0]):
            element.tag = "munder" if element.tag == "msub" else "mover"
        if element.get("class") == "capital-greek":  # upright, as TeX has it
            del element.attrib["class"]
            element.set("mathvariant", "normal")
        if element.text == "′":
            element.set("class", "prime")
        for script in element[1:] if element.tag in SCRIPTS else ():
            for operator in script.iter("mo"):  # TeX sets no space there
                operator.set("lspace", "0")
                operator.set("rspace", "0")
        wanted = PARTS.get(element.tag, len(element))
        if len(element) != wanted:
            raise MathError(
                f"<{element.tag}> has {len(element)} parts and needs {wanted}"
            )
    return math


def count(sign, tex):
    """Count a brace, or a command by its whole name, that is not escaped."""
    end = "(?![a-zA-Z])" if sign.startswith("\\") else ""
    return len(re.findall(rf"(?<!\\){re.escape(sign)}{end}", tex))


def is_brace(element):
    return element.tag in ("munder", "mover") and element[-1].text in BRACES


def as_html(math):
    return ElementTree.tostring(
        math, encoding="unicode", short_empty_elements=False
    )


def convert(writer, node, tex, block):
    """Return a formula as HTML; warn where that is impossible."""
    try:
        math = mathml(tex, block)
    except MathError as error:
        logger.warning("the formula %r: %s", tex.strip(), error, location=node)
        return writer.encode(tex), 0
    return as_html(math), len("".join(math.itertext()))


def visit_inline(writer, node):
    formula, length = convert(writer, node, node.astext(), block=False)
    kind = f" math-long {SCROLLS}" if length > LONG else ""
    start = writer.starttag(node, "span", "", CLASS=f"math notranslate{kind}")
    html = f"{start}{formula}</span>"
    around = [writer.encode(node.get(key, "")) for key in ("before", "after")]
    if any(around):
        html = f'<span class="math-glued">{around[0]}{html}{around[1]}</span>'
    writer.body.append(html.replace("\n", ""))
    raise nodes.SkipNode


def visit_block(writer, node):
    """A formula scrolls in its own box; its number stays beside it."""
    tex = node.astext()
    tag = TAG.search(tex)
    formula, _ = convert(writer, node, TAG.sub("", tex), block=True)
    writer.body.append(
        writer.starttag(node, "div", "", CLASS="math notranslate")
    )
    writer.body.append(f'<div class="math-box {SCROLLS}">{formula}</div>')
    number = tag[1] if tag else node["number"]
    if number:
        writer.body.append(f'<span class="eqno">({number})')
        if node["number"]:  # it has a label that one can refer to
            writer.add_permalink_ref(node, "Link to this equation")
        writer.body.append("</span>")
    writer.body.append("</div>\n")
    raise nodes.SkipNode


def glue(app, doctree, name):
    """Let no line end between a formula and the comma or bracket beside it."""
    if getattr(app.builder, "math_renderer_name", "") != "mathml":
        return
    for math in doctree.findall(nodes.math):
        siblings, place = math.parent.children, math.parent.index(math)
        for key, beside, pattern in (
            ("before", place - 1, r"[(\[“‘]+$"),
            ("after", place + 1, r"^[,.;:!?)\]”’]+"),
        ):
            if not 0 <= beside < len(siblings):
                continue
            text = siblings[beside]
            found = isinstance(text, nodes.Text) and re.search(pattern, text)
            if found:
                math[key] = found[0]
                rest = text[: found.start()] + text[found.end() :]
                math.parent.replace(text, nodes.Text(rest))


def setup(app):
    app.connect("doctree-resolved", glue)
    app.add_html_math_renderer(
        "mathml", (visit_inline, None), (visit_block, None)
    )
    return {"parallel_read_safe": True, "parallel_write_safe": True}
