"""Make the fonts of the pages, `book/_static/fonts/`, from the families that packages bring.

    pip install brotli==1.2.0 fonttools==4.68.0
    pip download --no-deps fontpkg-source-serif-4==4.4 fontpkg-source-code-pro==1.26
    pip download --no-deps ziamath==0.13
    python .ci/fonts.py --from . --to book/_static/fonts

A family comes with every weight, size and script; a page gets the letters of the book's language,
the signs that its text and code use, and the weights that its style names. A font that was cut like
this may not bear its family's reserved name, so each gets one of the book's.
"""

import argparse
import io
import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from fontTools.subset import Options, Subsetter
from fontTools.ttLib import TTFont
from fontTools.varLib.instancer import instantiateVariableFont

LATIN = {*range(0x20, 0x7F), *range(0xA0, 0x180)}
GREEK = {*map(ord, "αβγδεζηθικλμνξοπρςστυφχψωΓΔΘΛΞΠΣΦΨΩ")}
SIGNS = {*map(ord, "–—‘’“”•…′″←↑→↓↔−√∝∞≈≠≤≥∂∏∑∫⁰⁴⁵⁶⁷⁸⁹⁻₀₁₂₃₄₅₆₇₈₉")}
LETTERS = LATIN | GREEK | SIGNS
# Letters as formulas have them (italic, bold, double-struck), and what binds them.
FORMULAS = {
    *[*range(0x20, 0x7F), *range(0x1D400, 0x1D468), *range(0x1D538, 0x1D551)],
    *[*GREEK, *range(0x1D6FC, 0x1D71C), *map(ord, "¬±·×÷‖…⁄ℂℓℕℙℚℝℤℎ")],
    *[*range(0x2190, 0x2195), *range(0x2200, 0x22A6), *range(0x22C0, 0x22C6), 0x22EF],
    *[*range(0x2032, 0x2035), *range(0x2061, 0x2065), *range(0x23DE, 0x23E0)],
    *[0x27E8, 0x27E9],
}
RULES = ["kern", "liga", "mark", "mkmk", "ccmp", "locl", "calt", "tnum", "ssty", "dtls"]


@dataclass
class Cut:
    """What of a font the pages get: which wheel and file, the letters, the range of each axis."""

    wheel: str
    file: str
    name: str  # of the family, as the style sheet calls it
    letters: set[int]
    axes: dict[str, float | tuple[float, float, float]] = field(default_factory=dict)
    mend: Callable[[TTFont], None] = lambda font: None


def narrow_roots(font: TTFont) -> None:
    """Make every form of the root sign as wide as the smallest.

    Chromium leaves room for the widest form, whichever it draws: after a root in a line of text
    there would be a space before the comma.
    """
    root = font.getBestCmap()[ord("√")]
    width, _ = font["hmtx"][root]
    variants = font["MATH"].table.MathVariants
    tall = variants.VertGlyphConstruction[variants.VertGlyphCoverage.glyphs.index(root)]
    forms = {record.VariantGlyph for record in tall.MathGlyphVariantRecord}
    forms |= {part.glyph for part in tall.GlyphAssembly.PartRecords}
    for form in sorted(forms - {root}):
        glyph = font["glyf"][form]
        glyph.coordinates.scale((width / font["hmtx"][form][0], 1))
        glyph.coordinates.toInt()
        glyph.recalcBounds(font["glyf"])
        font["hmtx"][form] = (width, glyph.xMin)


# An optical size of 14 points, for text: headings are set in the same letters.
FONTS = {
    "serif": Cut(
        "fontpkg_source_serif_4-*.whl",
        r"/SourceSerif4\[opsz,wght\]\.ttf",
        "Book Serif",
        LETTERS,
        {"opsz": 14, "wght": (400, 400, 700)},
    ),
    "serif-italic": Cut(
        "fontpkg_source_serif_4-*.whl",
        r"/SourceSerif4-Italic\[opsz,wght\]\.ttf",
        "Book Serif",
        LETTERS,
        {"opsz": 14, "wght": 400},
    ),
    "mono": Cut(
        "fontpkg_source_code_pro-*.whl",
        r"/SourceCodePro\[wght\]\.ttf",
        "Book Mono",
        LETTERS,
        {"wght": (400, 400, 700)},
    ),
    "math": Cut(
        "ziamath-*.whl", r"/STIXTwoMath-Regular\.ttf", "Book Math", FORMULAS, mend=narrow_roots
    ),
}
# Which entries of a font's table of names hold a family's or a face's name.
NAMES = {1, 3, 4, 6, 16, 21, 25}


def cut(source: bytes, wanted: Cut) -> bytes:
    """Return the letters and axes of a font that are wanted, as WOFF2."""
    font = TTFont(io.BytesIO(source), recalcTimestamp=False)
    options = Options(layout_features=RULES, hinting=False, notdef_outline=True)
    options.name_IDs = ["*"]
    subsetter = Subsetter(options)
    subsetter.populate(unicodes=wanted.letters)
    subsetter.subset(font)
    if wanted.axes:
        font = instantiateVariableFont(font, wanted.axes)
    wanted.mend(font)
    for record in font["name"].names:
        if record.nameID in NAMES:
            name = wanted.name if record.nameID != 6 else wanted.name.replace(" ", "")
            font["name"].setName(name, record.nameID, record.platformID, record.platEncID, 0x409)
    font.flavor = "woff2"
    made = io.BytesIO()
    font.save(made)
    return made.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--from", dest="source", type=Path, required=True, help="the wheels")
    parser.add_argument("--to", type=Path, required=True)
    arguments = parser.parse_args()
    for name, wanted in FONTS.items():
        (path,) = arguments.source.glob(wanted.wheel)
        with zipfile.ZipFile(path) as wheel:
            (file,) = [file for file in wheel.namelist() if re.search(wanted.file, file)]
            made = cut(wheel.read(file), wanted)
        (arguments.to / f"{name}.woff2").write_bytes(made)
        print(f"{name}.woff2: {len(made):,} bytes")


if __name__ == "__main__":
    main()
