"""A term says what it means, and a citation what it names, to the pointer, the keyboard, a screen
reader; nothing of it gets in the way of a finger."""

import functools
import re
from urllib.parse import urldefrag

import pytest
from bs4 import BeautifulSoup
from figure_page import assert_axe_finds_nothing, expect, wait_for_colours
from notebooks import ROOT

BUILT = ROOT / "_build" / "html" / "book"
NOTEBOOKS = sorted(path.stem for path in ROOT.glob("book/*.ipynb"))
PAGE = (BUILT / "04_position_embeddings.html").as_uri()
TERM = "a[href='glossary.html#term-equivariance']"
CITATION = "a[href^='references.html#']"
OPEN = ".on-hover:popover-open"


@functools.cache
def read(name):
    return BeautifulSoup((BUILT / name).read_text("utf8"), "html.parser")


def plain(text):
    """Make one space of every space; the theme shortens an address that it makes a link."""
    return " ".join(text.replace("https://github.com/", "").split())


def meaning(address):
    """What the glossary or the list of references says there."""
    page, anchor = urldefrag(address)
    found = read(page).find(id=anchor)
    if page == "references.html":
        return plain(found.p.get_text())
    text = found.find_next("dd").p
    return plain(text.get_text().removeprefix(text.em.get_text()))


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_every_term_and_citation_has_its_meaning_as_its_description(name):
    page = read(f"{name}.html")
    links = page.select("article :is(a[href^='glossary.html#term-'], a[href^='references.html#'])")
    written = (ROOT / "book" / f"{name}.ipynb").read_text("utf8")
    assert len(links) == len(re.findall(r"\]\((?:glossary|references)\.md#", written))
    for link in links:
        about = page.find_all(id=link["aria-describedby"])
        assert len(about) == 1
        assert plain(about[0].get_text()) == meaning(link["href"]), link["href"]
        box = about[0].find_parent(class_="on-hover")
        assert box.has_attr("hidden")  # nothing is lost, or in the way, without the script
        assert not box.select("a, button")


def test_the_glossary_s_name_and_its_chinese_one_stand_above():
    for name in NOTEBOOKS:
        for link in read(f"{name}.html").select("article a[href^='glossary.html#term-']"):
            box = read(f"{name}.html").find(id=link["aria-describedby"]).parent
            term = read("glossary.html").find(id=urldefrag(link["href"])[1])
            chinese = term.find_next("dd").em.get_text().rstrip(".")
            shown = box.select_one(".on-hover-name")
            assert shown.get_text() == f"{term.find(string=True)} {chinese}"
            assert shown.span["lang"] == "zh-Hans"


@pytest.fixture
def open_page(browser):
    """Open a page whose clock stands still until a test moves it."""
    opened = []

    def open_page(**options):
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 720}} | options)
        page = context.new_page()
        page.clock.install(time=0)
        page.goto(PAGE)
        page.clock.pause_at(3_600_000)
        opened.append(context)
        return page

    yield open_page
    for context in opened:
        context.close()


def point_at(page, selector):
    link = page.locator(selector).first
    link.scroll_into_view_if_needed()
    link.hover()
    page.clock.run_for(1000)
    return link


@pytest.mark.parametrize("selector", [TERM, CITATION])
def test_pointing_shows_it_and_leaving_hides_it(open_page, selector):
    page = open_page()
    link = point_at(page, selector)
    expect(page.locator(OPEN)).to_have_count(1)
    expect(page.locator(OPEN)).to_contain_text(meaning(link.get_attribute("href"))[:40])
    expect(link).not_to_have_attribute("title", re.compile("."))  # not a second one
    page.mouse.move(2, 300)
    page.clock.run_for(1000)
    expect(page.locator(OPEN)).to_have_count(0)


def test_a_pointer_on_its_way_elsewhere_opens_nothing(open_page):
    page = open_page()
    link = page.locator(TERM).first
    link.scroll_into_view_if_needed()
    link.hover()
    page.clock.run_for(100)
    page.mouse.move(2, 300)
    page.clock.run_for(1000)
    expect(page.locator(OPEN)).to_have_count(0)


def test_the_explanation_can_be_pointed_at_itself(open_page):
    page = open_page()
    point_at(page, TERM)
    box = page.locator(OPEN)
    box.hover()
    page.clock.run_for(5000)
    expect(box).to_have_count(1)
    page.mouse.move(2, 300)
    page.clock.run_for(1000)
    expect(box).to_have_count(0)


def test_another_link_replaces_it_and_leaves_none_behind(open_page):
    page = open_page()
    first = point_at(page, TERM)
    other = page.locator("a[aria-describedby^=about-]:not([href*=equivariance])").first
    other.hover()
    page.clock.run_for(100)  # not long enough to open the other's
    page.mouse.move(2, 300)
    page.clock.run_for(1000)
    expect(page.locator(OPEN)).to_have_count(0)
    point_at(page, TERM)
    other.hover()
    page.clock.run_for(1000)
    expect(page.locator(OPEN)).to_have_count(1)
    assert first.get_attribute("aria-describedby") != page.locator(f"{OPEN} p[id]").get_attribute(
        "id"
    )


def test_escape_closes_it_where_the_pointer_is(open_page):
    page = open_page()
    point_at(page, TERM)
    page.keyboard.press("Escape")
    expect(page.locator(OPEN)).to_have_count(0)
    page.clock.run_for(5000)
    expect(page.locator(OPEN)).to_have_count(0)


def test_the_keyboard_s_focus_shows_it_and_leaving_or_escape_hides_it(open_page):
    page = open_page()
    links = page.locator("article a[aria-describedby^=about-]")
    links.first.focus()
    page.keyboard.press("Shift+Tab")
    page.clock.run_for(1000)
    expect(page.locator(OPEN)).to_have_count(0)
    page.keyboard.press("Tab")
    expect(links.first).to_be_focused()
    expect(page.locator(OPEN)).to_have_count(1)
    page.keyboard.press("Escape")
    expect(page.locator(OPEN)).to_have_count(0)
    expect(links.first).to_be_focused()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Tab")
    expect(page.locator(OPEN)).to_have_count(1)
    page.keyboard.press("Shift+Tab")
    page.clock.run_for(1000)
    expect(page.locator(OPEN)).to_have_count(0)


def test_a_finger_s_first_tap_follows_the_link(open_page):
    page = open_page(has_touch=True, is_mobile=True, viewport={"width": 390, "height": 844})
    page.evaluate(
        """() => {
            globalThis.opened = 0;
            addEventListener("toggle", () => (globalThis.opened += 1), true);
            addEventListener("click", (event) => event.preventDefault());
        }"""
    )
    link = page.locator(TERM).first
    link.tap()
    page.clock.run_for(1000)
    assert page.evaluate("opened") == 0
    expect(page.locator(OPEN)).to_have_count(0)
    page.goto(PAGE)
    page.locator(TERM).first.tap()
    page.wait_for_url("**/glossary.html#term-equivariance")


@pytest.mark.parametrize("width", [1280, 390])
def test_it_lies_within_the_window_beside_its_link_and_covers_no_part_of_it(open_page, width):
    page = open_page(viewport={"width": width, "height": 720})
    links = page.locator("article a[aria-describedby^=about-]")
    for link in links.all():
        for block in ("start", "end"):
            link.evaluate("(e, block) => e.scrollIntoView({ block })", block)
            page.mouse.move(2, 300)
            link.hover()
            page.clock.run_for(1000)
            box = page.locator(OPEN).bounding_box()
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= width
            assert box["y"] >= 0
            assert box["y"] + box["height"] <= 720
            lines = link.evaluate("(e) => [...e.getClientRects()].map((r) => [r.top, r.bottom])")
            below = min(abs(bottom - box["y"]) for _, bottom in lines)
            above = min(abs(top - box["y"] - box["height"]) for top, _ in lines)
            assert min(below, above) < 1


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_while_it_is_open(open_page, theme):
    page = open_page(color_scheme=theme)
    point_at(page, TERM)
    page.clock.resume()
    expect(page.locator(OPEN)).to_have_count(1)
    wait_for_colours(page)
    assert_axe_finds_nothing(page)


def test_an_old_browser_keeps_the_links_and_shows_nothing(browser):
    page = browser.new_page()
    page.add_init_script("delete HTMLElement.prototype.popover")
    page.goto(PAGE)
    link = page.locator(CITATION).first
    link.hover()
    assert plain(link.get_attribute("title")) == meaning(link.get_attribute("href"))
    for box in page.locator(".on-hover").all():
        expect(box).to_be_hidden()
    page.close()
