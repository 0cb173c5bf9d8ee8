"""What holds for every figure, asked of each row of the table: in Python, in a page of the book and
in a notebook, for every reader."""

import json
import re
from urllib.parse import quote, urlencode

import pytest
from addresses import fragment_for, state_in
from bs4 import BeautifulSoup
from figure_page import (
    BEFORE,
    FOCUSED,
    KEYS,
    MOST_STOPS,
    NOTEBOOK,
    assert_looks,
    assert_nobody_is_left_out,
    assert_nothing_moves,
    assert_tab_reaches_all,
    cards,
    follow,
    link_from,
    look,
    open_numbers,
    soon,
)
from figure_table import ROWS
from playwright.sync_api import expect

from vit_tutorial.widgets import Figure
from vit_tutorial.widgets.bundle import figure_names

CLASSES = {cls.script: cls for cls in Figure.__subclasses__()}

STILL = [  # whose controls stay where they are, whatever is chosen
    *("position_similarity", "patch_order", "attention_row", "encoder_walk", "playback", "shift"),
    *("where_it_looks", "deletion"),
]
each_figure = pytest.mark.parametrize("row", [pytest.param(ROWS[n], id=n) for n in ROWS])


def misfits(row, world):
    """What does not fit, with its message there: world 0 is Python, 1 a page."""
    for trait, value, *messages in row.misfits:
        if message := messages[min(world, len(messages) - 1)]:
            yield trait, value, message


def begin(card, row):
    """Go past the guess, and wait until everything is computed."""
    if row.guess:
        card.get_by_role("button", name="Show me").click()
    row.ready(card)


def test_the_table_has_every_figure():
    assert set(ROWS) == set(figure_names()) == set(CLASSES)
    assert all(type(row.build()).script == name for name, row in ROWS.items())


@pytest.mark.parametrize("name", ROWS)
def test_the_table_tries_every_trait(name):
    row, cls = ROWS[name], CLASSES[name]
    assert set(row.state) == set(cls.STATE)
    assert {trait for trait, *_ in row.misfits} == set(cls.STATE)
    assert {*row.inputs(), *row.fixed} == set(cls.INPUTS)
    first, second = row.build().state(), row.build(**row.state).state()
    assert all(first[trait] != second[trait] for trait in cls.STATE)


# In Python


@pytest.mark.parametrize(
    ("row", "trait", "value", "message"),
    [
        pytest.param(row, *misfit, id=f"{name}-{misfit[0]}={misfit[1]!r:.20}")
        for name, row in ROWS.items()
        for misfit in misfits(row, 0)
    ],
)
def test_what_does_not_fit_is_refused_at_once_and_later(row, trait, value, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        row.build(**{trait: value})
    figure = row.build()
    before = figure.to_html()
    with pytest.raises(ValueError, match=re.escape(message)):
        setattr(figure, trait, value)
    assert figure.to_html() == before


@each_figure
def test_what_the_front_end_sends_arrives(row):
    figure = row.build()
    figure.set_state(row.state)
    assert figure.state() == row.build(**row.state).state()


@each_figure
def test_the_html_is_an_image_its_words_and_data_the_same_each_time(row):
    figure = row.build(**row.state)
    html = figure.to_html()
    assert html == row.build(**row.state).to_html()
    soup = BeautifulSoup(html, "html.parser")
    assert soup.div["data-figure"] == figure.script
    assert [tag.name for tag in soup.div.find_all(True)] == ["img", "script"]
    assert not soup.find_all(id=True)
    assert soup.script["type"] == "application/json"
    data = json.loads(soup.script.text)
    assert data.items() >= dict(row.state).items()
    assert soup.img["src"].startswith("data:image/svg+xml;base64,")
    assert len(soup.img["alt"]) > 40
    assert soup.img["alt"] == figure.still()[1]
    inputs = {name: data[name] for name in row.inputs()}
    assert len(html) - len(json.dumps(inputs)) < 40_000


@each_figure
def test_the_still_image_shows_every_trait(row):
    first = row.build().still()
    unseen = [name for name in row.state if row.build(**{name: row.state[name]}).still() == first]
    assert unseen == list(row.unseen)


# In a page


@each_figure
def test_a_link_opens_the_page_with_the_figure_as_it_was(book, row):
    figure = row.build(**row.state)
    page = book.open(figure)
    (card,) = cards(page, 1)
    begin(card, row)
    expected = look(card).now
    assert state_in(link_from(page, card), type(figure)) == {}  # the figure's own beginning

    page = book.open(row.build())
    (card,) = cards(page, 1)
    begin(card, row)
    assert look(card) != expected
    address = page.url
    first = {"vt": 1, "figure": figure.script, "number": 0, "state": json.dumps(row.state)}
    for link in (urlencode(first), fragment_for(figure, row.state)):
        follow(page, f"{address}#{link}")
        begin(card, row)
        assert_looks(card, expected)
        assert state_in(link_from(page, card), type(figure)) == row.state
    assert page.noise == []


@each_figure
def test_a_link_that_does_not_fit_is_said_and_the_figure_begins_as_it_is(book, row):
    figure = row.build()
    page = book.open(figure)
    (card,) = cards(page, 1)
    begin(card, row)
    expected, address = look(card).now, page.url
    foreign = next(iter(row.inputs()))
    refused = (foreign, figure.state()[foreign], f"a link cannot set “{foreign}”")
    for trait, value, message in [*misfits(row, 1), refused]:
        state = quote(json.dumps({trait: value}))
        page.goto(f"{address}?vt=1&figure={figure.script}&number=0&state={state}")
        expect(page.locator(".vt-live > .vt-note")).to_contain_text(message)
        begin(card, row)
        assert_looks(card, expected)


@each_figure
def test_it_asks_for_a_guess_first_and_keeps_it(book, row):
    page = book.open(row.build(), row.build())
    parts = page.locator(".vt-card :is(.vt-figure-parts, .vt-controls, .vt-outcome, details)")
    if not row.guess:
        expect(parts.first).to_be_visible()
        expect(page.locator(".vt-guess").filter(visible=True)).to_have_count(0)
        return
    for card in cards(page, 2):
        hidden = card.locator(":is(.vt-figure-parts, .vt-outcome, details)")
        for part in hidden.all():
            expect(part).to_be_hidden()
        expect(card.locator(".vt-controls").last).to_be_hidden()
    first, second = cards(page, 2)
    first.get_by_role("button", name=row.guess, exact=True).click()
    kept = re.compile(f"^Your guess: {re.escape(row.guess)}\\.")
    expect(first.locator(".vt-guess")).to_have_text(kept)
    second.get_by_role("button", name="Show me").click()
    for card in (first, second):
        expect(card.locator(".vt-guess button")).to_have_count(0)
    expect(second.locator(".vt-guess")).not_to_contain_text("guess")
    for card in (first, second):
        for part in (".vt-figure-parts", ".vt-outcome", "details"):
            expect(card.locator(part)).to_be_visible()


@pytest.mark.parametrize(("theme", "width"), [("light", 1000), ("dark", 360)])
@each_figure
def test_nobody_is_left_out(book, row, theme, width):
    figures = [row.build(**row.state), row.build(), *row.views()]
    options = {"theme": theme, "width": width, "has_touch": width == 360}
    page = book.open(*figures, **options, reduced_motion="reduce")
    for live in page.locator(".vt-live").all():
        live.scroll_into_view_if_needed()
        live.locator(".vt-card").wait_for()
    all_ = cards(page, len(figures))
    for card in [all_[0], *all_[2:]]:  # where there is a guess to make, the second still asks
        for button in card.get_by_role("button", name="Show me").all():
            button.click()
        row.ready(card)
        expect(card.locator(".vt-outcome[role=status]")).to_have_text(re.compile("."))
    tells = page.locator("details:visible")  # the playground tells no numbers while it challenges
    open_numbers(page.locator(".vt-card").filter(has=tells).first)
    assert_nobody_is_left_out(page, row.pointed)
    assert_nothing_moves(page)
    ids = page.locator("[id]").evaluate_all("(all) => all.map((each) => each.id)")
    assert len(ids) == len(set(ids))
    grounds = page.locator(".text_html").evaluate_all(
        "(all) => all.map((each) => getComputedStyle(each).backgroundColor)"
    )
    assert set(grounds) == {"rgba(0, 0, 0, 0)"}  # the page's own, in dark mode too
    assert page.noise == []


# Where every control is below its figure, the table's summary included.
PLACES = """(card) => {
    const { left, top } = card.querySelector(".vt-figure-parts").getBoundingClientRect();
    const all = card.querySelectorAll(":scope > .vt-controls :is(button, input, select), details");
    return [...all].filter((each) => each.checkVisibility()).map((each) => {
        const box = each.getBoundingClientRect();
        return [Math.round(box.left - left), Math.round(box.top - top)];
    });
}"""


@pytest.mark.parametrize("width", [360, 1000])
@pytest.mark.parametrize("name", STILL)
def test_no_control_moves_when_the_state_changes(book, name, width):
    row = ROWS[name]
    figures = [row.build(), *(row.build(**{each: row.state[each]}) for each in row.state)]
    page = book.open(*figures, width=width, apart=50)
    for live in page.locator(".vt-live").all():
        live.scroll_into_view_if_needed()
        live.locator(".vt-card").wait_for()
    all_ = cards(page, len(figures))
    for card in all_:
        begin(card, row)
    before = soon(all_[0].evaluate, PLACES).now
    for card in all_[1:]:
        assert soon(card.evaluate, PLACES) == before


@each_figure
def test_nothing_moves_for_long(book, row):
    page = book.open(row.build(), reduced_motion="no-preference")
    (card,) = cards(page, 1)
    begin(card, row)
    assert_nothing_moves(page, row.longest)


def test_without_javascript_the_still_images_stay(book):
    page = book.open(*(row.build() for row in ROWS.values()), java_script_enabled=False)
    for live in page.locator(".vt-live").all():
        expect(live.locator("> img")).to_be_visible()
        expect(live).to_have_text("", use_inner_text=True)


# In a notebook


@each_figure
def test_it_follows_the_kernel_and_leaves_nothing_behind(notebook, row):
    """After every change it looks as one that is begun with it."""
    figure = row.build()
    state, inputs = figure.state(), row.inputs()
    page, fresh = notebook(figure), notebook(figure)
    card = page.locator(".vt-card")
    begin(card, row)
    seen, shown = look(card).now, set()
    for trait, value, message in misfits(row, 1):
        if "wrong type" in message:
            continue  # a kernel refuses another kind of value
        page.evaluate("([trait, value]) => model.set(trait, value)", [trait, value])
        alert = card.get_by_role("alert")
        expect(alert).to_have_text(
            re.compile("^This figure cannot continue: .*" + re.escape(message))
        )
        page.evaluate("([trait, value]) => model.set(trait, value)", [trait, state[trait]])
        expect(alert).to_be_hidden()
        assert_looks(card, seen)

    back = {name: state[name] for name in inputs}
    for trait, value in [*inputs.items(), *row.state.items(), *back.items()]:
        state |= {trait: value}
        page.evaluate("([trait, value]) => model.set(trait, value)", [trait, value])
        fresh.evaluate("stop()")
        fresh.evaluate(NOTEBOOK, [figure._esm, state])
        begin(fresh.locator(".vt-card"), row)
        row.ready(card)
        expected = look(fresh.locator(".vt-card")).now
        assert_looks(card, expected)
        shown |= {trait} if expected != seen else set()
        seen = expected
    assert shown == {*row.state, *inputs}

    assert soon(page.evaluate, "listening()") >= len(shown)
    page.evaluate("stop()")
    assert soon(page.evaluate, "[listening(), document.body.childNodes.length]") == [0, 0]
    assert page.noise == []


@each_figure
def test_by_keyboard_alone_all_of_it_is_reached_and_changed(notebook, row):
    """And what is sent to the kernel fits there, message by message."""
    figure = row.build()
    page = notebook(figure)
    card = page.locator(".vt-card")
    begin(card, row)
    expect(page.locator(".vt-card[aria-busy]")).to_have_count(0)  # all its buttons are there
    assert_tab_reaches_all(page, card)
    card.evaluate(BEFORE)
    page.keyboard.press("Tab")
    for _ in range(MOST_STOPS):
        focused = card.evaluate(FOCUSED)
        if not focused:
            break
        kind, name = focused
        if name != "Reset" and name not in row.elsewhere:
            for key in KEYS.get(kind, []):
                page.keyboard.press(key)
                assert card.evaluate(FOCUSED), f"{key} at {name!r} takes the focus away"
        page.keyboard.press("Tab")
    assert not focused, "Tab goes round in circles, for a key takes the focus back"
    # At once: a surprise that a Worker finds now is neither sent nor in the state yet.
    read = "(names) => [sent, Object.fromEntries(names.map((name) => [name, model.get(name)]))]"
    sent, shown = page.evaluate(read, list(row.state))
    unchanged = set(row.state) - {name for changes in sent for name in changes}
    assert unchanged <= set(row.elsewhere)
    for changes in sent:
        figure.set_state(changes)
    for name in row.state:
        assert figure.state()[name] == shown[name]

    card.get_by_role("button", name="Reset").press("Enter")
    first = row.build().state()
    for name in set(row.state) - set(row.elsewhere):
        assert soon(page.evaluate, f"model.get('{name}')") == first[name]
    assert page.noise == []
