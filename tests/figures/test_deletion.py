"""The figure of the deletion test removes what the chapter removes, and measures the same."""

import re

import pytest
import torch
from conftest import randomise
from figure_page import (
    open_numbers,
    presses,
    reading,
    said,
    soon,
)
from playwright.sync_api import expect

from vit_tutorial import ViT, attention_rollout, patchify, record_attention
from vit_tutorial.data import load_dataset, normalize
from vit_tutorial.widgets import Deletion, dequantised
from vit_tutorial.widgets.bundle import join
from vit_tutorial.widgets.shuffle import random_numbers

SIZES = {
    "image_size": 28,
    "patch_size": 4,
    "num_classes": 4,
    "dim": 16,
    "depth": 2,
    "heads": 2,
    "dim_head": 8,
    "mlp_dim": 16,
    "channels": 1,
}
CLASSES = ["kind a", "kind b", "kind c", "kind d"]
METHODS = ["last layer", "rollout", "contrast", "at random"]
GONE = range(0, 50, 7)  # as in chapter 9


@pytest.fixture(scope="module")
def vit():
    torch.manual_seed(3)
    vit = randomise(ViT(**SIZES), std=0.5)
    vit.facts |= {"mean": (0.286,), "std": (0.353,), "class_names": CLASSES}
    return vit


@pytest.fixture(scope="module")
def images():
    return load_dataset("fashion_mnist", "test", subset=10)[0][:3]


@pytest.fixture(scope="module")
@torch.no_grad()
def chapter(vit, images):
    """Orders, and what is left of each picture's answer, as chapter 9 computes them."""
    page = dequantised(vit).double()
    x = normalize(images, vit.facts["mean"], vit.facts["std"]).double()
    with record_attention(page) as maps:
        before = page(x).softmax(dim=1)
    answers = before.argmax(dim=1)
    draws = [random_numbers(index + 1, 49) for index in range(len(images))]
    rankings = {
        "last layer": maps[-1].mean(dim=1)[:, 0, 1:],
        "rollout": attention_rollout(maps)[:, 0, 1:],
        "contrast": patchify(images.double() / 255, 4).std(dim=-1),
        "at random": torch.tensor(draws),
    }
    orders = {
        name: ranking.argsort(dim=1, descending=True, stable=True)
        for name, ranking in rankings.items()
    }

    def remove(name, gone):
        tokens = page.embed(x)
        cls, patches = tokens[:, :1], tokens[:, 1:]
        kept = patches.take_along_dim(orders[name][:, gone:, None], dim=1)
        return page.classify(page.transformer(torch.cat((cls, kept), dim=1))).softmax(dim=1)

    def area(name):
        curve = torch.cat([remove(name, gone).gather(1, answers[:, None]) for gone in GONE], dim=1)
        return torch.trapezoid(curve, torch.tensor(GONE).double() / 49)

    areas = {name: area(name) for name in METHODS}
    return {
        "before": before,
        "answers": answers,
        "orders": orders,
        "remove": remove,
        "areas": areas,
    }


def started(page, number=0):
    """Past the guess, and all sevenths computed."""
    card = page.locator(".vt-card").nth(number)
    card.get_by_role("button", name="Show me").click()
    expect(card.locator(".vt-outcome")).to_contain_text("smallest area")
    return card


@reading
def removed(card):
    return sorted(
        int(re.match(r"patch (\d+)", name)[1]) - 1
        for name in names(card).now
        if name.endswith(", removed")
    )


@reading
def names(card):
    cells = card.get_by_role("grid", name="The patches").get_by_role("gridcell")
    return cells.evaluate_all("(cells) => cells.map((cell) => cell.ariaLabel)")


@reading
def table(card):
    open_numbers(card)
    rows = card.locator("tbody tr").evaluate_all(
        "(rows) => rows.map((row) => [...row.cells].map((cell) => cell.textContent))"
    )
    return {name: (float(area), [float(x[:-1]) for x in curve]) for name, area, *curve in rows}


# In Python


def test_it_begins_with_the_whole_picture(vit, images):
    figure = Deletion(vit, images)
    assert (figure.picture, figure.method, figure.fraction) == (0, "last layer", 0)


def test_without_a_class_token_there_is_no_order(images):
    with pytest.raises(ValueError, match=r"\(pool='mean'\), so give one with pool=\"cls\""):
        Deletion(ViT(**SIZES | {"pool": "mean"}), images)
    with pytest.raises(ValueError, match=r"this model reads images of shape \(n, 1, 28, 28\)"):
        Deletion(ViT(**SIZES), images[0])


def test_the_words_say_what_the_chapter_computes(vit, images, chapter):
    figure = Deletion(vit, images, ["one", "two", "three"], picture=2, method="rollout")
    words = figure.still()[1]
    best = chapter["answers"][2]
    assert words.startswith(f"three: the model predicts {CLASSES[best]}")
    for name in METHODS:
        assert f"{name} {chapter['areas'][name][2]:.2f}" in words


# In a page


def test_orders_curves_and_areas_are_the_chapter_s(book, vit, images, chapter):
    card = started(book.open(Deletion(vit, images, picture=1)))
    before, best = chapter["before"][1], chapter["answers"][1]
    assert said(card).startswith(f"P({CLASSES[best]}) is {100 * before[best]:.0f}% (was ")
    seen = table(card).now
    assert list(seen) == METHODS
    for name, (area, curve) in seen.items():
        assert area == pytest.approx(chapter["areas"][name][1].item(), abs=0.0011)
        left = [100 * chapter["remove"](name, gone)[1, best].item() for gone in GONE]
        assert curve == pytest.approx(left, abs=0.1)
        card.get_by_role("radio", name=name).check()

        order = chapter["orders"][name][1].tolist()

        def holds(found, order=order):
            numbers = [int(re.search(r"number (\d+) in", each)[1]) - 1 for each in found]
            assert [*torch.tensor(numbers).argsort()] == order

        assert names(card).meets(holds)
        told = card.locator(".vt-order").nth(METHODS.index(name))
        assert f"area {chapter['areas'][name][1]:.2f}" in soon(told.inner_text)
    smallest = min(f"{chapter['areas'][name][1]:.2f}" for name in METHODS)
    assert said(card).endswith(f"the smallest area, {smallest}.")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("gone", [13, 49])
def test_what_is_removed_and_what_is_left(book, vit, images, chapter, method, gone):
    page = book.open(Deletion(vit, images, method=method, fraction=gone / 49))
    card = started(page)
    assert removed(card) == sorted(chapter["orders"][method][0, :gone].tolist())
    shares = chapter["remove"](method, gone)[0]
    bars = card.locator(".vt-answer-share").all_text_contents()  # drawn anew as curves come in
    assert [float(text[:-1]) for text in bars] == pytest.approx((100 * shares).tolist(), abs=0.51)
    marks = card.locator(".vt-answer-before").evaluate_all(
        "(all) => all.map((each) => parseFloat(each.style.left))"
    )
    assert marks == pytest.approx((100 * chapter["before"][0]).tolist(), abs=0.01)
    assert f") with {gone} of 49 patches removed by " in said(card)
    best, first = shares.argmax(), chapter["answers"][0]
    other = f"; the model predicts {CLASSES[best]} "
    assert said(card).becomes(lambda text: (other in text) == bool(best != first))


def test_a_curve_goes_through_every_patch(book, vit, images, chapter):
    card = started(book.open(Deletion(vit, images)))
    own = card.locator(".vt-order").nth(1).locator(".vt-curve-own")
    fine = r"^M([\d.]+ [\d.]+L?){50}$"
    d = soon(own.get_attribute, "d").search(fine).string
    points = [point.split() for point in d[1:].split("L")]
    heights = [(78 - float(y)) / 72 for _, y in points]  # where the plot has 0 % and 100 %
    best = chapter["answers"][0]
    left = [chapter["remove"]("rollout", gone)[0, best].item() for gone in range(50)]
    assert heights == pytest.approx(left, abs=0.002)
    assert [float(x) for x, _ in points] == pytest.approx(
        [30 + 124 * gone / 49 for gone in range(50)], abs=0.051
    )


@pytest.fixture(scope="module")
def maps_script(browser):
    page = browser.new_page()
    page.add_script_tag(
        content=re.sub(r"^const \$", "globalThis.$", join(["rollout", "shuffle"]), flags=re.M)
    )
    yield page
    page.close()


@pytest.mark.parametrize("off", [False, True])
def test_rollout_is_pytorch_s(maps_script, off):
    layers = [torch.rand(1, 3, 9, 9).double().softmax(dim=-1) for _ in range(4)]
    if off:
        layers[1][:] = 0  # all heads of a layer are off
        layers[2][:, 1] = 0
    seen = maps_script.evaluate(
        "(layers) => [...$rollout.rollout(layers.map((each) =>"
        "({ attention: Float32Array.from(each) })), 3, 9)]",
        [layer.flatten().tolist() for layer in layers],
    )
    theirs = attention_rollout(layers)[0, 0]
    torch.testing.assert_close(torch.tensor(seen).double(), theirs, atol=1e-6, rtol=1e-5)


def test_the_page_draws_the_random_numbers_that_python_draws(maps_script):
    seen = maps_script.evaluate(
        "() => { const next = $shuffle.randomNumbers(7); return Array.from({ length: 5 }, next); }"
    )
    assert seen == random_numbers(7, 5)
    assert len(set(seen)) == 5


def test_by_mouse(book, vit, images, chapter):
    card = started(book.open(Deletion(vit, images)))
    order = chapter["orders"]["last layer"][0].tolist()
    card.get_by_role("gridcell", name=f"patch {order[9] + 1}, ").click()
    assert removed(card) == sorted(order[:10])
    card.get_by_role("gridcell", name=f"patch {order[3] + 1}, ").click()
    assert removed(card) == sorted(order[:4])
    hatched = card.get_by_role("gridcell", name=f"patch {order[0] + 1}, ")
    look = "(cell) => getComputedStyle(cell).backgroundImage"
    assert "repeating-linear-gradient" in soon(hatched.evaluate, look)
    card.locator(".vt-order", has_text="contrast").click()
    assert removed(card) == sorted(chapter["orders"]["contrast"][0, :4].tolist())
    card.get_by_label("image", exact=True).select_option("image 3")
    assert removed(card) == sorted(chapter["orders"]["contrast"][2, :4].tolist())
    card.get_by_role("button", name="Reset").click()
    assert removed(card) == []
    expect(card.get_by_role("radio", name="last layer")).to_be_checked()


def test_by_touch(book, vit, images, chapter):
    card = started(book.open(Deletion(vit, images), width=360, has_touch=True))
    card.locator(".vt-order", has_text="rollout").tap()
    order = chapter["orders"]["rollout"][0].tolist()
    card.get_by_role("gridcell", name=f"patch {order[4] + 1}, ").tap()
    assert removed(card) == sorted(order[:5])


def test_by_keyboard_alone(book, vit, images, chapter):
    page = book.open(Deletion(vit, images))
    card = page.locator(".vt-card")
    card.wait_for()
    press = presses(page, "e.ariaLabel ?? e.labels?.[0]?.textContent")

    at = press("Tab", "Tab", "Enter")  # the second guess; the figure opens, at its patches
    assert at.startswith("patch 1, row 1, column 1: ")
    expect(card.get_by_text("Your guess: rollout. ")).to_be_visible()
    assert press("Tab", "Tab") == "image"  # past the orders
    press("Tab", "End")  # how much is removed
    assert removed(card) == [*range(49)]
    press("Home", "ArrowRight")
    assert removed(card) == [chapter["orders"]["last layer"][0, 0].item()]
    assert soon(card.get_by_role("slider", name="remove").get_attribute, "aria-valuetext") == "2.0%"
    assert press("Shift+Tab", "Shift+Tab").startswith("last layer")
    press("ArrowDown")
    expect(card.get_by_role("radio", name="rollout")).to_be_checked()
    order = chapter["orders"]["rollout"][0].tolist()
    assert removed(card) == order[:1]
    at = press("Shift+Tab")
    assert at.startswith(f"patch {order[0] + 1}, ")
    at = press("Control+End")
    assert at.startswith("patch 49, row 7, column 7: number")
    press("Space")
    assert removed(card) == sorted(order[: order.index(48) + 1])
    press("Tab", "Tab", "ArrowDown")  # past the orders to the picture
    assert soon(card.get_by_label("image", exact=True).evaluate, "(e) => e.selectedIndex") == 1
    press("Tab", "Tab", "Tab", "Enter")  # past the share and the surprise to "Reset"
    assert removed(card) == []
    press("Tab", "Tab", "Enter")  # past the link to the numbers
    expect(card.locator("tbody tr")).to_have_count(4)


def test_a_surprise_is_where_the_last_layer_falls_behind_contrast(book, vit, images, chapter):
    card = started(book.open(Deletion(vit, images, method="rollout")))
    behind = chapter["areas"]["last layer"] - chapter["areas"]["contrast"]
    for index in behind.argsort(descending=True).tolist():
        card.get_by_role("button", name="Surprise me").click()
        expect(card.get_by_label("image", exact=True)).to_have_value(str(index))
        expect(card.get_by_role("radio", name="last layer")).to_be_checked()


def test_its_question_shows_the_image_and_is_asked_once(book, vit, images):
    card = book.open(Deletion(vit, images)).locator(".vt-card")
    expect(card.locator(".vt-guess canvas")).to_be_visible()
    expect(card.locator(".vt-tokens")).to_be_hidden()


# Counts a page's Workers.
LIVING = """globalThis.living = 0;
globalThis.Worker = class extends Worker {
    constructor(address) {
        super(address);
        living++;
    }
    terminate() {
        super.terminate();
        living--;
    }
};
0;"""


def test_nothing_goes_on_computing_for_a_figure_that_is_gone(notebook, vit, images):
    figure = Deletion(vit, images)
    page = notebook(figure, before=LIVING)
    card = started(page)
    page.evaluate("(pictures) => model.set('pictures', pictures)", figure.pictures[1:])
    assert soon(card.get_by_text("patches of this image").count) == 0  # it asks once
    assert soon(page.evaluate, "living") == 1
    page.evaluate("model.set('picture', 1); stop()")  # in the middle of its curves
    assert page.evaluate("living") == 0
    assert page.noise == []


def test_one_changed_weight_shows_in_the_page(book, vit, images):
    other = dequantised(vit)
    with torch.no_grad():
        other.pos_embedding[0, 25, 3] += 4
    first, second, third = (
        table(started(book.open(Deletion(model, images)))).now
        for model in (vit, dequantised(vit), other)
    )
    assert first == second
    assert first["rollout"] != third["rollout"]
    assert first["contrast"] != third["contrast"]  # the order is the same, what is left is not
