"""The book's formulas as MathML: what becomes of TeX, and what is refused."""

import importlib.util
import re
import unicodedata
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest
from bs4 import BeautifulSoup
from docutils import nodes
from docutils.utils.math import MathError
from fonts import FORMULAS
from notebooks import ROOT

SPEC = importlib.util.spec_from_file_location("formulas", ROOT / "book" / "_ext" / "formulas.py")
formulas = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(formulas)
HTML = ROOT / "_build" / "html"


def shape(element):
    """Write an element as its name and, in brackets, its parts; a leaf with its text."""
    if len(element) == 0:
        return f"{element.tag} {unicodedata.normalize('NFKC', element.text or '')}".strip()
    return f"{element.tag}({', '.join(map(shape, element))})"


# Written by hand from the elements' definitions in MathML Core: the base comes first, then what
# stands below, then what stands above.
@pytest.mark.parametrize(
    ("tex", "expected"),
    [
        (r"\frac{H}{P}", "math(mfrac(mi H, mi P))"),
        (r"\sqrt d", "math(msqrt(mi d))"),
        ("x_i", "math(msub(mi x, mi i))"),
        (r"10^{-2}", "math(msup(mn 10, mrow(mo −, mn 2)))"),
        (r"\mathbf{x}_p^i", "math(msubsup(mi x, mi p, mi i))"),
        (r"\mathbf{z}'_\ell", "math(msubsup(mi z, mi l, mi ′))"),
        (r"\mathbf{x}_\mathrm{class}", "math(msub(mi x, mi class))"),
        (r"\sum_j a", "math(munder(mo ∑, mi j), mi a)"),
        (
            r"\underbrace{n^2}_{\text{every pair}}",
            "math(munder(munder(msup(mi n, mn 2), mo ⏟), mtext every pair))",
        ),
        (
            r"\mathrm{softmax}\!\left(a\right)",
            "math(mi softmax, mrow(mo (, mi a, mo )))",
        ),
        (r"a; \dots; b", "math(mi a, mo ;, mi ..., mo ;, mi b)"),
        (
            r"\begin{aligned} a &= b \\ &= c \end{aligned}",
            "math(mtable(mtr(mtd(mi a), mtd(mo =, mi b)), mtr(mtd, mtd(mo =, mi c))))",
        ),
        (
            r"\begin{cases} a & b \\ c & d \end{cases}",
            "math(mrow(mo {, mtable(mtr(mtd(mi a), mtd(mi b)), mtr(mtd(mi c), mtd(mi d)))))",
        ),
    ],
)
def test_tex_becomes_the_elements_that_mean_it(tex, expected):
    assert shape(formulas.mathml(tex, block=True)) == expected


def test_letters_have_the_look_that_their_command_names():
    for tex, name in [
        (r"\mathbf{z}", "MATHEMATICAL BOLD SMALL Z"),
        (r"\mathbb{R}", "DOUBLE-STRUCK CAPITAL R"),
    ]:
        (letter,) = formulas.mathml(tex)
        assert unicodedata.name(letter.text) == name
    (phi,) = formulas.mathml(r"\Phi")
    assert phi.get("mathvariant") == "normal"  # TeX's capital Greek letters are upright


def test_an_operator_in_an_exponent_has_no_space_around_it():
    math = formulas.mathml("a - b^{n-1}")
    assert [operator.get("lspace") for operator in math.iter("mo")] == [None, "0"]


@pytest.mark.parametrize(
    ("tex", "word"),
    [
        (r"\nosuch x", "nosuch"),
        (r"\frac{a}", "ncomplete"),
        ("x_", "ncomplete"),
        ("{a", "{"),
        (r"\left(a", r"\right"),
        (r"\begin{cases} a", r"\end"),
        (r"\begin{tikzpicture}a\end{tikzpicture}", "tikzpicture"),
        ("a & b", ""),
    ],
)
def test_what_cannot_be_typeset_is_an_error_that_says_why(tex, word):
    with pytest.raises(MathError) as error:
        formulas.mathml(tex)
    assert word in str(error.value)


def test_a_wrong_formula_is_a_warning_that_names_it_and_its_place(monkeypatch):
    heard = []
    monkeypatch.setattr(
        formulas.logger,
        "warning",
        lambda text, *values, location: heard.append((text % values, location)),
    )
    node = nodes.math("", r"\nosuch x")
    assert formulas.convert(SimpleNamespace(encode=str), node, r"\nosuch x", False)[1] == 0
    ((words, place),) = heard
    assert "nosuch x" in words
    assert place is node


def pages():
    found = sorted(HTML.glob("book/*.html"))
    assert found, "there is no built book: run `make book` first"
    return {path: BeautifulSoup(path.read_text("utf8"), "html.parser") for path in found}


def test_every_page_has_its_formulas_as_mathml_and_loads_nothing_for_them():
    count = 0
    for path, page in pages().items():
        for script in page.find_all(["script", "link"]):
            assert "mathjax" not in (script.get("src") or script.get("href") or "").lower(), path
        for listing in page(["script", "style", "pre", "code"]):
            listing.decompose()
        assert not re.search(r"\\[(\[]|\$\$|\\(frac|mathbf|mathrm|text|sqrt)", page.text), path
        for formula in page.select(".math"):
            assert formula.find("math"), formula
            assert "\\" not in formula.text
            count += 1
    assert count > 100
    assert not (HTML / "_static" / "mathjax").exists()


def test_the_paper_s_equations_keep_their_numbers():
    chapter = BeautifulSoup((HTML / "book" / "05_attention.html").read_text("utf8"), "html.parser")
    numbers = [number.text for number in chapter.select("div.math > .eqno")]
    assert numbers == ["(5)", "(6)", "(7)", "(8)"]


def test_the_font_has_every_letter_of_the_formulas():
    for page in pages().values():
        for formula in page.find_all("math"):
            math = ElementTree.fromstring(str(formula))
            for letter in {*"".join(math.itertext())} - {"\xa0", "\u2061"}:
                assert ord(letter) in FORMULAS, f"{letter}: add it to .ci/fonts.py"
            for name in math.iter("mi"):  # one letter alone is shown in italics
                if len(name.text) == 1 and name.text.isascii() and name.text.isalpha():
                    italic = f"MATHEMATICAL ITALIC {'SMALL' if name.text.islower() else 'CAPITAL'}"
                    if name.text != "h":  # whose italic is Planck's constant
                        assert ord(unicodedata.lookup(f"{italic} {name.text}")) in FORMULAS
