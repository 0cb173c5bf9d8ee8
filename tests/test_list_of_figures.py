"""The page "Figures": every live figure, on every page that shows it, in its own words."""

import inspect
import re

import pytest
import yaml
from bs4 import BeautifulSoup
from figure_page import expect
from figure_table import ROWS, chapters_figures
from notebooks import ROOT

BUILT = ROOT / "_build" / "html" / "book"


def read(name):
    return BeautifulSoup((BUILT / name).read_text("utf8"), "html.parser")


@pytest.fixture(scope="module")
def listed():
    """What the page lists: page -> its entries, in their order."""
    sections = read("figures.html").select("article section section")
    return {
        section.h2.a["href"].removesuffix(".html"): section.select(".listed-figure")
        for section in sections
    }


def link_of(entry):
    return entry.select_one(".listed-question a")


def words(text):
    """A text's words, however it is broken into lines and whatever of it is code."""
    return re.findall(r"\w+", text)


def test_every_chapter_s_figures_are_listed_in_the_book_s_order(listed):
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text("utf8"))
    files = [toc["root"], *(page["file"] for part in toc["parts"] for page in part["chapters"])]
    order = [file.removeprefix("book/") for file in files]
    assert [*listed] == [page for page in order if page in listed]
    figures = {
        page: [link_of(entry)["href"].partition("#figure-")[2] for entry in entries]
        for page, entries in listed.items()
    }
    assert figures == chapters_figures()
    for page, entries in listed.items():
        heading = entries[0].find_previous_sibling("h2").a.get_text()
        assert heading == read(f"{page}.html").h1.find(string=True)


def test_an_entry_leads_to_its_figure_and_shows_its_still_image(listed):
    for page, entries in listed.items():
        chapter = read(f"{page}.html")
        for entry in entries:
            path, anchor = link_of(entry)["href"].split("#")
            assert path == f"{page}.html"
            live = chapter.find(id=anchor)
            assert "vt-live" in live["class"]
            assert live["data-figure"] == anchor.removeprefix("figure-")
            assert entry.img["src"] == live.img["src"]
            assert entry.img["alt"] == live.img["alt"]


def test_an_entry_says_what_the_figure_s_own_class_says(listed):
    classes = {name: type(row.build()) for name, row in ROWS.items()}
    for entries in listed.values():
        for entry in entries:
            figure = link_of(entry)["href"].partition("#figure-")[2]
            question, about, *_ = inspect.getdoc(classes[figure]).split("\n\n")
            texts = [paragraph.get_text() for paragraph in entry.find_all("p")]
            assert list(map(words, texts)) == [words(question), words(about)], figure
            assert 40 < len(about) < 400, figure  # a line or three


def test_a_click_anywhere_on_an_entry_leads_to_the_figure(browser):
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.goto((BUILT / "figures.html").as_uri())
    cutter = page.locator(".listed-figure", has=page.locator("a[href$='#figure-cutter']"))
    cutter.click(position={"x": 40, "y": 60})  # on the image
    page.wait_for_url("**/02_patches.html#figure-cutter")
    expect(page.locator("#figure-cutter")).to_be_in_viewport()
    page.close()
