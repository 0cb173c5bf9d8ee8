"""The page for teachers: its links open the figure they name, in the state they name."""

import re

import pytest
from addresses import fragment
from figure_page import expect, link_from
from notebooks import ROOT

BUILT = ROOT / "_build" / "html" / "book"
SOURCE = (ROOT / "book" / "teaching.md").read_text("utf8")


@pytest.fixture(scope="module")
def teaching(browser):
    page = browser.new_page()
    page.goto((BUILT / "teaching.html").as_uri())
    yield page
    page.close()


def test_every_link_opens_its_figure_in_the_state_that_it_names(teaching, browser):
    links = teaching.locator("a.opens-a-figure").evaluate_all("(all) => all.map((a) => a.href)")
    assert len(links) == SOURCE.count("{opens}`") > 0
    page = browser.new_page(viewport={"width": 1280, "height": 720})
    for link in links:
        page.goto("about:blank")
        page.goto(link)
        live = page.locator(f".vt-live[data-figure={fragment(link)['figure']}]").first
        card = live.locator(".vt-card")
        expect(card).to_be_visible()
        assert live.locator("> .vt-note").count() == 0, link
        for guess in card.get_by_role("button", name="Show me").all():
            guess.click()
        # The figure's own link holds what differs from its beginning.
        assert fragment(link_from(page, card)) == fragment(link)
    page.close()


def test_every_numbered_chapter_has_its_minutes(teaching):
    rows = teaching.locator("table tbody tr")
    chapters = sorted(path.stem for path in ROOT.glob("book/[0-9]*.ipynb"))
    assert re.findall(r"\]\((\d\w+)\.ipynb\) \|", SOURCE) == chapters
    assert rows.count() == len(chapters)
    minutes = [int(text) for text in rows.locator("td:last-child").all_inner_texts()]
    assert all(minutes)
    assert f"come to {sum(minutes)} minutes" in teaching.locator("main").inner_text()
