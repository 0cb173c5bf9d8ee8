"""The book's look: its letters, its measure, and the pages on paper."""

import io

import numpy as np
import pytest
from notebooks import ROOT
from PIL import Image
from pybtex.database import parse_file

HTML = ROOT / "_build" / "html"
FONTS = ROOT / "book" / "_static" / "fonts"
CHAPTERS = ["02_patches", "05_attention"]


def test_the_fonts_are_small_and_their_licences_lie_beside_them():
    told = (FONTS / "README.md").read_text("utf8")
    for font in FONTS.glob("*.woff2"):
        assert f"`{font.name}`" in told
        assert font.read_bytes()[:4] == b"wOF2"
        assert font.stat().st_size < (90_000 if font.stem == "math" else 60_000), font
    licences = [*FONTS.glob("OFL-*.txt")]
    assert {licence.name for licence in licences} == {
        word for word in told.replace("`", " ").split() if word.startswith("OFL-")
    }
    for licence in licences:
        assert "SIL OPEN FONT LICENSE Version 1.1" in licence.read_text("utf8")


@pytest.fixture
def page(browser):
    with browser.new_page(viewport={"width": 1280, "height": 720}) as page:
        yield page


def opened(page, name):
    page.goto((HTML / "book" / f"{name}.html").as_uri(), wait_until="domcontentloaded")
    page.evaluate("document.fonts.ready.then(() => {})")
    return page


def test_text_and_code_are_set_in_the_book_s_letters(page):
    opened(page, CHAPTERS[0])
    states = """[...document.fonts].map((font) => [font.family.replaceAll('"', ""), font.status])"""
    assert ["Book Serif", "loaded"] in page.evaluate(states)
    assert not any(f[0].startswith("Book") and f[1] == "error" for f in page.evaluate(states))
    for letters in ("16px 'Book Serif'", "italic 16px 'Book Serif'", "16px 'Book Mono'"):
        assert page.evaluate("(letters) => document.fonts.check(letters)", letters)
    family = "(e) => getComputedStyle(e).fontFamily.split(',')[0].replaceAll('\"', '')"
    for selector, name in [("p", "Book Serif"), ("h2", "Book Serif"), ("pre", "Book Mono")]:
        assert page.locator(f".bd-article {selector}").first.evaluate(family) == name
    # What one operates is set in the system's.
    for selector in (".bd-sidebar-primary", ".vt-live"):
        assert page.locator(selector).first.evaluate(family) == "system-ui"


LINES = """() => [...document.querySelectorAll(".bd-article section > p")].flatMap((p) => {
    const lines = new Map();
    const range = document.createRange();
    const words = document.createTreeWalker(p, NodeFilter.SHOW_TEXT);
    while (words.nextNode()) {
        for (let i = 0; i < words.currentNode.length; i++) {
            range.setStart(words.currentNode, i);
            range.setEnd(words.currentNode, i + 1);
            const { bottom } = range.getBoundingClientRect();
            const line = Math.round(bottom / 20);
            lines.set(line, (lines.get(line) ?? 0) + 1);
        }
    }
    return [...lines.values()].slice(0, -1); // the last one is as long as it is
})"""


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_line_of_text_has_65_to_80_letters(page, name):
    lengths = sorted(length for length in opened(page, name).evaluate(LINES) if length > 40)
    assert 65 <= lengths[len(lengths) // 2] <= 80, lengths


@pytest.mark.parametrize("name", CHAPTERS)
def test_80_columns_of_code_fit(page, name):
    fits = """() => [...document.querySelectorAll(".bd-article pre")].map((pre) => {
        const { paddingLeft, paddingRight, font } = getComputedStyle(pre);
        const canvas = document.createElement("canvas").getContext("2d");
        canvas.font = font;
        const room = pre.clientWidth - parseFloat(paddingLeft) - parseFloat(paddingRight);
        return pre.clientWidth ? room / canvas.measureText("0").width : Infinity;
    })"""
    assert min(opened(page, name).evaluate(fits)) >= 80


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_on_paper_there_is_the_text_alone_black_on_white(page, theme):
    page.emulate_media(color_scheme=theme)
    opened(page, CHAPTERS[0])
    live = page.locator(".vt-live").first
    live.scroll_into_view_if_needed()
    live.locator(".vt-card").wait_for(timeout=60_000)
    assert not live.locator("> img").is_visible()
    page.emulate_media(media="print", color_scheme=theme)
    for selector in (".bd-sidebar-primary", ".bd-sidebar-secondary", ".bd-header-article"):
        assert not page.locator(selector).first.is_visible()
    assert live.locator("> img").is_visible()
    assert not live.locator(".vt-card").is_visible()
    look = page.locator(".bd-article p").nth(1)
    assert look.evaluate("(e) => getComputedStyle(e).color") == "rgb(0, 0, 0)"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    after = "(a) => getComputedStyle(a, '::after').content"
    for link in page.locator(".bd-article a[href^='http']").all()[:2]:
        assert link.get_attribute("href") in link.evaluate(after)


@pytest.mark.parametrize("name", ["01_pixels_to_tokens", "02_patches", "03_class_token"])
def test_a_brace_is_drawn_as_wide_as_what_it_is_under(browser, name):
    # On a fine screen a page has more tiles, and more braces that lie in two.
    fine = {"viewport": {"width": 1280, "height": 720}, "device_scale_factor": 3}
    with browser.new_page(**fine) as page:
        braces = opened(page, name).locator("munder:has(> mo)")
        assert braces.count()
        for brace in braces.all():
            brace.scroll_into_view_if_needed()
            box, sign = brace.bounding_box(), brace.locator("> mo").bounding_box()
            clip = {**box, "y": sign["y"], "height": box["y"] + box["height"] - sign["y"]}
            drawn = np.asarray(Image.open(io.BytesIO(page.screenshot(clip=clip))).convert("L"))
            columns = np.flatnonzero((drawn < 200).any(axis=0))
            assert columns[0] < 12
            assert columns[-1] > drawn.shape[1] - 18


def test_no_space_stands_between_a_root_and_the_comma_after_it(page):
    gaps = opened(page, "notation").evaluate("""() =>
        [...document.querySelectorAll("msqrt")].map((root) =>
            root.getBoundingClientRect().right
            - root.firstElementChild.getBoundingClientRect().right)""")
    assert gaps
    assert max(gaps) < 2


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_box_is_a_rule_and_its_name_and_text_begin_at_one_edge(page, theme):
    page.emulate_media(color_scheme=theme)
    boxes = opened(page, "11_bug_gallery").locator("div.admonition:is(.tip, .exercise)")
    assert boxes.count()
    left = """(box) => [...box.querySelectorAll("p:not(li p)")].map((p) => {
        const range = document.createRange();
        range.selectNodeContents(p);
        return Math.round(range.getBoundingClientRect().left);
    })"""
    for box in boxes.all():
        assert len({*box.evaluate(left)}) == 1
        for part in (box, box.locator("> .admonition-title")):
            ground = part.evaluate("(e) => getComputedStyle(e).backgroundColor")
            assert ground == "rgba(0, 0, 0, 0)"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_link_has_one_colour_in_a_table_and_in_text(page, theme):
    page.emulate_media(color_scheme=theme)
    opened(page, "teaching")
    colours = page.locator(".bd-article :is(td, li) a").evaluate_all(
        "(links) => links.map((a) => getComputedStyle(a).color)"
    )
    assert len(colours) > 12
    assert len({*colours}) == 1


def test_the_list_of_works_goes_by_author_without_numbers(page):
    works = parse_file(ROOT / "book" / "references.bib").entries.values()
    firsts = [work.persons["author"][0] for work in works]
    surnames = {" ".join(author.prelast_names + author.last_names) for author in firsts}
    listed = []
    for text in opened(page, "references").locator(".citation").all_inner_texts():
        assert not text.lstrip().startswith("[")
        listed.append(min(surnames, key=lambda name: text.find(name) % len(text)))
    assert len(listed) > 20
    assert listed == sorted(listed, key=str.casefold)
