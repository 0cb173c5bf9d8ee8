"""The playback says what the log says, at the reader's pace, and is there for every reader."""

import json
import re

import numpy as np
import pytest
from figure_page import (
    open_numbers,
    presses,
    reading,
    said,
    soon,
)
from figure_table import made_up_run
from playwright.sync_api import expect

from vit_tutorial.data import DATASETS
from vit_tutorial.records import RUNS, read_log
from vit_tutorial.widgets import Playback

NAMES = ["shoe", "<b>bag</b>", "coat"]
COLUMNS, EPOCHS = 3, 4  # of the run that is made up for the table


LOG, PROGRESS = made_up_run()


def playback(**where):
    return Playback(LOG, PROGRESS, NAMES, **where)


def structure(table, columns=COLUMNS):
    """How much more alike positions of a row or column are, pair by pair."""
    alike = {True: [], False: []}
    for i, line in enumerate(table):
        for j, value in enumerate(line):
            (row, column), (other_row, other_column) = divmod(i, columns), divmod(j, columns)
            if i != j:
                alike[row == other_row or column == other_column].append(value / 100)
    return np.mean(alike[True]) - np.mean(alike[False])


def signs(number):
    text = f"{number:+.2f}".replace("-", "−")
    return "0.00" if text[1:] == "0.00" else text


def started(page):
    card = page.locator(".vt-card").last
    card.get_by_role("button", name="Show me").click()
    return card


@reading
def shown(card):
    """The map, as its cells' names tell it."""
    cells = card.get_by_role("grid", name="Similarity to each position").get_by_role("gridcell")
    names = cells.evaluate_all("(cells) => cells.map((cell) => cell.ariaLabel)")
    return [float(re.search(r": ([+−]?[\d.]+)$", name)[1].replace("−", "-")) for name in names]


@reading
def bars(card):
    """What the bars say, class by class."""
    return dict(
        zip(
            card.locator(".vt-answer-name").all_inner_texts(),
            card.locator(".vt-answer-share").all_inner_texts(),
            strict=True,
        )
    )


# In Python


def test_it_begins_at_the_end_and_in_the_middle():
    figure = playback()
    assert (figure.epoch, figure.position) == (EPOCHS, 2 * COLUMNS + 1)


def changed(records, at, **changes):
    return [{**record, **changes} if i == at else record for i, record in enumerate(records)]


@pytest.mark.parametrize(
    ("log", "progress", "names", "message"),
    [
        (LOG[1:], PROGRESS, NAMES, "its start, then a record an epoch"),
        (LOG[:1], PROGRESS, NAMES, "its start, then a record an epoch"),
        (changed(LOG, 0, recipe={"model": {"widths": [1]}}), PROGRESS, NAMES, "the log of a ViT"),
        (LOG, PROGRESS[1:], NAMES, r"4 epochs needs .* for each of 0 to 4, got \[1, 2, 3, 4\]"),
        (LOG[:-2], PROGRESS, NAMES, r"3 epochs needs .* for each of 0 to 3, got \[0, 1, 2, 3, 4\]"),
        (LOG, PROGRESS, NAMES[:2], "a name for each of 3 classes, got 2"),
        (LOG, changed(PROGRESS, 2, similarity=[[100]]), NAMES, "12 times 12 whole numbers"),
        (LOG, changed(PROGRESS, 2, similarity=None), NAMES, "12 times 12 whole numbers"),
        (LOG, [{**p, "similarity": [[1, 0], [0, 1]]} for p in PROGRESS], NAMES, "12 times 12"),
        (LOG, [{**p, "similarity": [[0.5] * 12] * 12} for p in PROGRESS], NAMES, "whole numbers"),
        (LOG, [{**p, "similarity": [[101] * 12] * 12} for p in PROGRESS], NAMES, "-100 to 100"),
    ],
)
def test_records_that_do_not_fit_each_other_are_refused(log, progress, names, message):
    with pytest.raises(ValueError, match=message):
        Playback(log, progress, names)


@pytest.mark.parametrize("epoch", [0, 2, EPOCHS])
def test_the_words_are_those_of_the_records(epoch):
    words = playback(epoch=epoch).still()[1]
    assert f"{LOG[-2]['validation_accuracy']:.1%} at the end" in words
    for e in (0, epoch):
        assert f"by {signs(structure(PROGRESS[e]['similarity']))}" in words
    assert (f"{LOG[2]['validation_accuracy']:.1%} here and" in words) == (epoch == 2)


def test_the_book_s_own_run_is_light():
    lines = (RUNS / "figure-cls-0" / "progress.jsonl").read_text().splitlines()
    names = DATASETS["fashion_mnist"].class_names
    figure = Playback(read_log(RUNS / "figure-cls-0"), [json.loads(line) for line in lines], names)
    assert len(figure.to_html()) < 45_000


# In a page


def test_every_epoch_is_as_the_records_have_it(book):
    card = started(book.open(playback()))
    slider = card.get_by_role("slider")
    for epoch in range(EPOCHS + 1):
        slider.fill(str(epoch))
        table = PROGRESS[epoch]["similarity"]
        assert shown(card) == [value / 100 for value in table[7]]
        assert f"more similar than others by {signs(structure(table))}" in said(card)
        if epoch == 0:
            assert said(card).startswith("Before training, no accuracy was measured.")
            assert bars(card) == dict.fromkeys(NAMES, "–")
            continue
        now = LOG[epoch]
        shares = now["validation_by_class"]
        assert bars(card) == {n: f"{x:.0%}" for n, x in zip(NAMES, shares, strict=True)}
        most, least = NAMES[np.argmax(shares)], NAMES[np.argmin(shares)]
        assert said(card).startswith(
            f"After epoch {epoch} of 4, held-out accuracy is {now['validation_accuracy']:.1%}: "
            f"highest on {most} ({max(shares):.0%}), lowest on {least} ({min(shares):.0%})."
        )
    assert soon(card.locator(".vt-answer-first .vt-answer-name").inner_text) == most


def test_the_table_has_every_number(book):
    card = started(book.open(playback()))
    open_numbers(card)
    table = card.locator("tr").evaluate_all(
        "(rows) => rows.map((row) => [...row.cells].map((cell) => cell.textContent))"
    )
    assert table[0] == ["epoch", "training", "held out", "similarity gap", *NAMES]
    for epoch, line in enumerate(table[1:]):
        alike = signs(structure(PROGRESS[epoch]["similarity"]))
        if epoch == 0:
            assert line == ["0", "–", "–", alike, "–", "–", "–"]
        else:
            now = LOG[epoch]
            accuracies = (now["train_accuracy"], now["validation_accuracy"])
            shares = [f"{x:.0%}" for x in now["validation_by_class"]]
            assert line == [str(epoch), *(f"{x:.1%}" for x in accuracies), alike, *shares]


def test_the_curves_and_bars_are_drawn_where_the_numbers_are(book):
    page = book.open(playback(epoch=2))
    card = started(page)
    heights = {}
    for name in ("training", "held-out", "structure"):
        points = card.locator(f".vt-play-{name}").first.get_attribute("points").split()
        x, y = np.array([point.split(",") for point in points], float).T
        heights[name] = y
        assert len(x) == EPOCHS + (name == "structure")
        np.testing.assert_allclose(np.diff(x), np.diff(x)[0])
    for name, key in (("training", "train_accuracy"), ("held-out", "validation_accuracy")):
        values = [record[key] for record in LOG[1:-1]]
        np.testing.assert_allclose(heights[name], 6 + 74 * (1 - np.array(values)))
    values = np.array([structure(p["similarity"]) for p in PROGRESS])
    assert values.max() > 0.2
    top = np.ceil(10 * values.max()) / 10
    np.testing.assert_allclose(heights["structure"], 6 + 74 * (1 - values.clip(0) / top))
    marks = card.locator(".vt-play-mark").evaluate_all(
        "(all) => all.map((mark) => mark.getCTM().e / mark.getCTM().a)"
    )
    at = float(card.locator(".vt-play-held-out").first.get_attribute("points").split(" ")[1][:3])
    assert marks == pytest.approx([at, at], abs=1)
    for name, which in (("length", 2), ("before", EPOCHS)):
        style = {"length": "width", "before": "left"}[name]
        lengths = card.locator(f".vt-answer .vt-answer-{name}").evaluate_all(
            f"(all) => all.map((each) => parseFloat(each.style.{style}))"
        )
        assert lengths == pytest.approx([100 * x for x in LOG[which]["validation_by_class"]])


def test_by_mouse_and_two_figures_do_not_meet(book):
    page = book.open(playback(), playback(epoch=1))
    second = started(page)
    first = page.locator(".vt-card").first
    first.get_by_role("button", name="its accuracy").click()
    expect(first.get_by_text("Your guess: its accuracy. ")).to_be_visible()
    before = said(second).now, shown(second).now
    first.get_by_role("gridcell").nth(2).click()
    assert shown(first) == [value / 100 for value in PROGRESS[EPOCHS]["similarity"][2]]
    assert (said(second), shown(second)) == before
    first.get_by_role("button", name="Reset").click()
    assert shown(first) == [value / 100 for value in PROGRESS[EPOCHS]["similarity"][7]]


CLOCK = """
globalThis.ticks = new Map();
globalThis.setInterval = (f) => (ticks.set(ticks.size + 1, f), ticks.size);
globalThis.clearInterval = (id) => ticks.set(id, null);
globalThis.tick = () => ticks.forEach((f) => f?.());
"""


def test_it_plays_when_asked_to_the_end_and_stops(book):
    page = book.open(playback(), before=CLOCK)
    card = started(page)
    assert soon(page.evaluate, "ticks.size") == 0  # nothing plays by itself
    slider, end = card.get_by_role("slider"), said(card).now
    card.get_by_role("button", name="Play").click()
    card.get_by_role("button", name="Pause").wait_for()
    seen = [slider.input_value()]
    words = {said(card).now}
    for _ in range(EPOCHS - 1):
        page.evaluate("tick()")
        seen.append(slider.input_value())
        words.add(said(card).now)
    assert seen == ["0", "1", "2", "3"]
    assert words == {"The run is playing; its results follow when it stops."}
    page.evaluate("tick()")
    assert said(card) == end
    assert soon(card.get_by_role("button", name="Pause").count) == 0
    page.evaluate("tick()")
    assert soon(slider.input_value) == "4"


def test_the_reader_stops_it_and_it_goes_on_from_there(book):
    page = book.open(playback(epoch=1), before=CLOCK)
    card = started(page)
    play = card.get_by_role("button", name=re.compile("Play|Pause"))
    play.click()
    page.evaluate("tick()")
    play.click()
    assert said(card).startswith("After epoch 2 of 4")
    page.evaluate("tick()")
    assert said(card).startswith("After epoch 2 of 4")
    play.click()
    page.evaluate("tick()")
    card.get_by_role("slider").fill("1")  # a hand on the slider stops it, too
    assert soon(play.inner_text) == "Play"
    page.evaluate("tick()")
    assert said(card).startswith("After epoch 1 of 4")


def test_a_surprise_is_the_epoch_in_which_a_class_fell_most(book):
    shares = np.array([record["validation_by_class"] for record in LOG[1:-1]])
    drops = shares[:-1] - shares[1:]
    order = (drops.max(axis=1)).argsort()[::-1]
    card = started(book.open(playback()))
    button = card.get_by_role("button", name="Surprise me")
    for before in order[:2]:
        button.click()
        worst = drops[before].argmax()
        assert said(card).startswith(f"After epoch {before + 2} of 4")
        assert said(card).endswith(
            f"In this epoch, class {NAMES[worst]} fell from {shares[before, worst]:.0%} to "
            f"{shares[before + 1, worst]:.0%}."
        )


def test_by_keyboard_alone(book):
    page = book.open(playback())
    page.locator(".vt-card").wait_for()
    press = presses(page, "e.ariaLabel ?? e.innerText")

    assert press("Tab") == "its accuracy"
    at = press("Tab", "Tab", "Tab", "Enter")  # shown without a guess
    card = page.locator(".vt-card")
    assert at.startswith("position 8, row 3, column 2: ")
    assert press("ArrowUp").startswith("position 5, row 2, column 2: ")
    assert shown(card) == [value / 100 for value in PROGRESS[EPOCHS]["similarity"][4]]
    press("Tab", "Tab", "Home")
    assert said(card).startswith("Before training")
    press("ArrowRight")
    assert said(card).startswith("After epoch 1 of 4")
    assert soon(card.get_by_role("slider").get_attribute, "aria-valuetext") == "1"
    press("Tab", "Tab", "Enter")  # past "Surprise me" to "Reset"
    assert said(card).startswith("After epoch 4 of 4")
    assert shown(card) == [value / 100 for value in PROGRESS[EPOCHS]["similarity"][7]]
    press("Tab", "Tab", "Enter")  # past "Copy link" to the numbers
    card.locator("tbody tr").nth(EPOCHS).wait_for()


def test_by_touch(book):
    page = book.open(playback(), width=360, has_touch=True)
    card = started(page)
    card.get_by_role("gridcell").nth(2).tap()
    assert shown(card) == [value / 100 for value in PROGRESS[EPOCHS]["similarity"][2]]


def test_nothing_plays_on_when_it_is_gone(notebook):
    page = notebook(playback(epoch=1), before=CLOCK)
    started(page).get_by_role("button", name="Play").click()
    page.evaluate("tick()")
    assert soon(page.evaluate, "model.get('epoch')") == 2
    page.evaluate("stop(); tick()")
    assert soon(page.evaluate, "model.get('epoch')") == 2
