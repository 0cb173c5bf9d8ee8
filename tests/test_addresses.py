"""A figure's state in the page's address: in links, and in the address that follows the reader."""

import json
from base64 import b64decode, b64encode
from urllib.parse import urlparse

import numpy as np
import pytest
from addresses import fragment, fragment_for, value, written
from figure_page import (
    follow,
    link_from,
    open_numbers,
    reading,
    said,
    soon,
    wait_for_turns,
)
from figure_table import small_vit
from playwright.sync_api import expect

from vit_tutorial.data import load_dataset
from vit_tutorial.widgets import AttentionRow, Figure, Playground
from vit_tutorial.widgets.bundle import figure_names, join


@pytest.fixture(scope="module")
def vit():
    return small_vit()


@pytest.fixture(scope="module")
def image():
    return load_dataset("fashion_mnist", "test", subset=10)[0][0]


# Links


def test_a_link_opens_the_page_with_the_figure_as_it_was(book, vit, image):
    page = book.open(AttentionRow(vit, image), AttentionRow(vit, image), apart=2000)
    second = page.locator(".vt-live").nth(1)
    second.scroll_into_view_if_needed()
    card = second.locator(".vt-card")
    card.get_by_role("gridcell", name="patch 9, row 2, column 2").first.click()
    card.get_by_label("head", exact=True).select_option("head 2")
    assert "What patch 9 attends to: layer 1, head 2" in said_of(card)
    before = said_of(card).now
    follow(page, link_from(page, card))
    linked = page.locator(".vt-live").nth(1).locator(".vt-card")
    linked.wait_for()  # scrolled to, or it would not be there yet
    assert said_of(linked) == before
    assert page.noise == []


@reading
def said_of(card):
    """The table's caption tells all of the state."""
    open_numbers(card)
    return card.locator(".vt-numbers .vt-label").inner_text()


def test_a_link_goes_to_no_server_and_drops_what_was_in_the_query(book, vit, image):
    """A browser sends the fragment to nobody."""
    page = book.open(AttentionRow(vit, image))
    page.goto(f'{page.url}?vt=1&figure=attention_row&number=0&state={{"head":1}}&more=1')
    card = page.locator(".vt-card")
    assert "layer 1, head 2" in said_of(card)  # an old link: it is still read
    link = link_from(page, card)
    assert urlparse(link).query == ""
    assert fragment(link) == {"vt": "2", "figure": "attention_row", "head": "1"}


def test_another_link_into_the_open_page_is_followed(book, vit, image):
    page = book.open(AttentionRow(vit, image))
    page.evaluate("location.hash = 'vt=2&figure=attention_row&query=9'")
    assert said(page.locator(".vt-card")).startswith("Patch 9 attends")
    page.evaluate("globalThis.here = true; location.hash = 'a-heading'; 0")
    wait_for_turns(page)
    assert page.evaluate("here")  # and an anchor loads nothing anew
    assert page.noise == []


@pytest.mark.parametrize("name", figure_names())
def test_a_link_may_set_what_the_reader_can_and_nothing_else(pages, name):
    page = pages.take()
    page.add_script_tag(content=join([name]).replace(f"const ${name} ", f"globalThis.${name} "))
    settable = page.evaluate(f"${name}.default.state")
    (figure,) = [cls for cls in Figure.__subclasses__() if cls.script == name]
    assert tuple(settable) == figure.STATE
    models = set(figure.class_trait_names(model=True))
    fixed = {"pictures", "run", "sizes", "averages", "held_out", "small"}
    assert not {*models, *fixed} & set(settable)


@pytest.mark.parametrize(
    "state",
    [
        '{"vit":{"config":{"depth":1e9,"dim":1e9,"image_size":1e9,"patch_size":1}}}',
        '{"picture":{"shape":[1,28,28],"pixels":"AAAA"}}',
    ],
)
def test_a_link_cannot_bring_a_model_or_an_image(book, vit, image, state):
    page = book.open(AttentionRow(vit, image))
    follow(page, f"{page.url}#vt=1&figure=attention_row&number=0&state={state}")
    note = page.locator(".vt-live > .vt-note")
    (trait,) = json.loads(state)
    assert f"a link cannot set “{trait}”" in soon(note.inner_text)
    assert said(page.locator(".vt-card")).startswith("Patch 25 attends")


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("vt=0&state={}", "it has version 0"),
        ("vt=3&head=1", "it has version 3"),
        ("head=1", "it has version null"),
        ("vt=2&colour=1", "there is no “colour” here"),
        ("vt=2&vit=1", "a link cannot set “vit”"),
        ("vt=2&head=", "“head” has the wrong type"),
        ("vt=2&head=7", "head is one of 0 to 1, got 7"),
        ("vt=1&state={", "its state is damaged"),
        ("vt=1", "its state is damaged"),
        ("vt=1&state=[]", "its state is damaged"),
        ('vt=1&state={"colour":1}', "there is no “colour” here"),
        ('vt=1&state={"head":"1"}', "“head” has the wrong type"),
        ('vt=1&state={"head":7}', "head is one of 0 to 1, got 7"),
        ('vt=1&state={"temperature":-1}', "temperature is positive"),
    ],
)
def test_a_link_that_does_not_fit_is_said_and_the_figure_begins_as_it_is(
    book, vit, image, query, message
):
    page = book.open(AttentionRow(vit, image))
    page.goto(f"{page.url}?figure=attention_row&number=0&{query}")
    page.locator(".vt-card").wait_for()
    assert message in soon(page.locator(".vt-live > .vt-note").inner_text)
    assert said(page.locator(".vt-card")).startswith("Patch 25 attends")


# The page's own address


# Pauses come when a test says so: `pause()`.
PAUSES = """
    const [start, stop] = [setTimeout, clearTimeout];
    let waiting = null;
    globalThis.setTimeout = (work, time) => {
        if (!(time > 100)) return start(work, time);
        waiting = work;
        return -1;
    };
    globalThis.clearTimeout = (id) => (id === -1 ? (waiting = null) : stop(id));
    globalThis.pause = () => {
        const work = waiting;
        waiting = null;
        work?.();
    };
"""
REFUSED = "void (history.replaceState = () => { throw new DOMException('', 'SecurityError'); })"


def test_the_address_follows_the_reader_when_they_pause(book, vit, image):
    page = book.open(AttentionRow(vit, image), AttentionRow(vit, image), before=PAUSES)
    first, second = (page.locator(".vt-live").nth(i).locator(".vt-card") for i in range(2))
    plain, entries = page.url, page.evaluate("history.length")
    page.evaluate("pause()")
    assert page.url == plain  # nothing was changed yet
    second.get_by_label("head", exact=True).select_option("head 2")
    assert page.url == plain  # the reader may go on
    page.evaluate("pause()")
    held = {"vt": "2", "figure": "attention_row", "number": "1", "head": "1"}
    assert fragment(page.url) == held

    page.mouse.move(5, 5)
    page.mouse.down()  # a drag, somewhere
    first.get_by_label("temperature").fill("1")
    page.evaluate("pause()")
    assert fragment(page.url) == held
    page.mouse.up()
    page.evaluate("pause()")
    held = {"vt": "2", "figure": "attention_row", "temperature": "2"}
    assert fragment(page.url) == held  # of two figures the one that was changed last

    before = said(first).now
    page.reload()
    assert said(first) == before
    assert page.evaluate("history.length") == entries
    first.get_by_role("button", name="Reset").click()
    page.evaluate("pause()")
    assert page.url == plain
    assert said(first) != before
    page.evaluate(REFUSED)
    first.get_by_label("temperature").fill("1")
    page.evaluate("pause()")
    assert said(first) == before
    assert page.url == plain
    assert page.noise == []


def test_a_link_far_below_its_figure_brings_the_figure_into_view(book, vit, image):
    figure = AttentionRow(vit, image)
    link = fragment_for(figure, {"head": 1})
    text = f'<div style="height: 5000px"></div><a href="#{link}">the figure</a>'
    page = book.open(figure, text + '<div style="height: 2000px"></div>')
    page.get_by_role("link", name="the figure").click()
    head = page.locator(".vt-card").get_by_label("head", exact=True)
    assert soon(head.evaluate, "(select) => select.selectedIndex") == 1
    expect(head).to_be_in_viewport()
    page.wait_for_load_state()
    wait_for_turns(page)
    expect(head).to_be_in_viewport()  # nothing scrolls back


# The values


@pytest.fixture(scope="module")
def values(browser):
    page = browser.new_page()
    page.add_script_tag(
        content=join(["address_values"]).replace("const $", "globalThis.$"),
    )
    yield lambda call, *given: page.evaluate(f"(given) => $address_values.{call}(...given)", given)
    page.close()


def test_values_are_written_as_said_and_read_back(values):
    rng = np.random.default_rng(0)
    halves = [sorted(rng.permutation(49)[:24].tolist()) for _ in range(50)]
    lists = [[], [0], [48, 3, 4, 5], [[0, 1], [12, 3]], *halves]
    traits = Playground.class_traits()
    for each in lists:
        text = values("write", "list", each)
        assert value(text, traits["dropped"], "dropped") == each
        assert values("read", "list", text) == each
        assert values("read", "list", written(each, "dropped")) == each
        assert len(text) < 100
    assert values("write", "list", [*range(14), *range(35, 49)]) == "0-13.35-48"
    for greys, furthest in [(1, 0), (2, 0), (3, 0), (4, 0), (5, 0), (16, 0), (17, 8), (256, 8)]:
        levels = rng.permutation(256)[:greys].astype(np.uint8)
        pixels = levels[rng.integers(greys, size=28 * 28)]
        text = values("write", "image", b64encode(pixels.tobytes()).decode())
        assert len(text) < (150 if greys <= 2 else 600)
        shown = values("read", "image", text)
        assert shown == value(text, traits["own"], "own")
        shown = np.frombuffer(b64decode(shown), np.uint8)
        assert np.abs(shown.astype(int) - pixels).max() <= furthest


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        *[("list", text) for text in ["x", "1-", "-1", "1..2", "1-2_3", "0-99999999", "1.5e3"]],
        *[("number", text) for text in ["", " ", "x", "NaN", "Infinity", "1,5"]],
        *[("boolean", text) for text in ["", "yes", "constructor"]],
        *[
            ("image", text)
            for text in ["784", "784.00.AA", "9.00.A", "-1.00.AA", "8.0.AA", "8..AA"]
        ],
        *[("image", text) for text in ["8.00.A!", "99999999999.00.AA"]],
    ],
)
def test_a_text_that_stands_for_nothing_is_noticed(values, kind, text):
    assert values("read", kind, text) is None
