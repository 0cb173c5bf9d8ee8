"""The figure of what a patch costs counts as PyTorch counts, and is there for every reader."""

import re

import pytest
import torch
from figure_page import (
    layout,
    open_numbers,
    presses,
    reading,
    said,
    soon,
)
from playwright.sync_api import expect
from torch.utils.flop_counter import FlopCounterMode

from vit_tutorial import Attention, patchify
from vit_tutorial.data import load_photo
from vit_tutorial.vit import FeedForward
from vit_tutorial.widgets import PatchCost
from vit_tutorial.widgets.figures.patch_cost import layer_cost
from vit_tutorial.widgets.pictures import unpack_picture


@pytest.fixture(scope="module")
def photo():
    return load_photo(56)


def counted(image_size, patch_size):
    """What really is there: shapes by running the package, operations as PyTorch counts them."""
    with torch.device("meta"):  # shapes without numbers: nothing is computed
        n = patchify(torch.empty(1, 3, image_size, image_size), patch_size).shape[1]
        tokens, q = torch.empty(1, n, 768), torch.empty(1, 12, n, 64)
        with FlopCounterMode(display=False) as layer:
            FeedForward(768, 3072)(Attention(768, heads=12, dim_head=64)(tokens))
        with FlopCounterMode(display=False) as pairs:
            scores = q @ q.mT
            scores @ q
    pairs, each = pairs.get_total_flops(), layer.get_total_flops() - pairs.get_total_flops()
    return [n, each, scores[0, 0].numel(), pairs, scores.nbytes]


def started(page):
    card = page.locator(".vt-card").last
    card.get_by_role("button", name="Show me").click()
    return card


@reading
def table(card):
    """The numbers, patch size by patch size."""
    open_numbers(card)
    rows = card.locator("tbody tr").evaluate_all(
        "(rows) => rows.map((row) => [...row.cells].map((cell) => cell.textContent))"
    )
    return {
        int(side.split(" × ")[0]): [int(re.sub(r"\D", "", value)) for value in values]
        for side, *values in rows
    }


def choose(card, label, size):
    card.get_by_label(label, exact=True).select_option(f"{size} × {size}")


# In Python


def test_the_formulas_are_what_pytorch_counts():
    for sizes in [(224, 16), (224, 8), (112, 14)]:
        n, *_ = expected = counted(*sizes)
        cost = layer_cost(n)
        assert [cost[key] for key in ("tokens", "each", "scores", "pairs", "bytes")] == expected


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (torch.rand(3, 56, 56), r"an image is uint8 of shape \(1 or 3, H, W\)"),
        (torch.zeros(3, 56, 64, dtype=torch.uint8), "a square image, got 56 x 64 pixels"),
        (torch.zeros(3, 0, 0, dtype=torch.uint8), "a square image, got 0 x 0 pixels"),
    ],
)
def test_what_is_no_square_picture_is_refused(image, message):
    with pytest.raises(ValueError, match=message):
        PatchCost(image)


def test_of_a_large_picture_little_travels(photo):
    figure = PatchCost(load_photo(224))
    assert torch.equal(unpack_picture(figure.picture), photo)  # every fourth pixel, as there
    assert figure.picture == PatchCost(photo).picture
    assert len(figure.to_html()) < 60_000


def test_both_sizes_may_arrive_together(photo):
    figure = PatchCost(photo, patch_size=14)
    figure.set_state({"image_size": 384, "patch_size": 12})
    assert (figure.image_size, figure.patch_size, figure.tokens) == (384, 12, 1024)


def test_the_words_compare_it_with_the_reference(photo):
    words = PatchCost(photo, patch_size=4).still()[1]
    assert "3,136 tokens, 16 times" in words
    assert "and 256 times the attention scores" in words


# In a page


def test_the_numbers_are_those_that_pytorch_counts(book, photo):
    card = started(book.open(PatchCost(photo)))
    seen = table(card)
    assert seen.becomes(lambda found: list(found) == [n for n in range(1, 225) if 224 % n == 0])
    for side in (1, 8, 14, 16, 224):
        assert seen[side] == counted(224, side)
    choose(card, "image size", 384)
    assert seen[12] == counted(384, 12)


def test_half_the_patch_is_four_times_the_tokens_and_sixteen_times_the_scores(book, photo):
    page = book.open(PatchCost(photo, patch_size=16))
    card = started(page)
    assert soon(card.locator(".vt-cost-times").all_inner_texts) == ["× 1"] * 5
    assert "196 tokens, as many as the reference. " in said(card)
    card.get_by_role("button", name="Halve patch size").click()
    assert soon(card.locator(".vt-cost-times").all_inner_texts) == ["× 4"] * 2 + ["× 16"] * 3
    n, each, _, pairs, _ = counted(224, 8)
    assert f"{n} tokens, 4 times the reference, with 16 times the scores" in said(card)
    share = f"{pairs / (pairs + each):.0%}"
    assert f"{share} of operations are on pairs." in said(card)
    expect(card.get_by_text(f"on pairs: {share}")).to_be_visible()
    part, whole = (card.locator(name).bounding_box() for name in PARTS)
    assert part["width"] / whole["width"] == pytest.approx(pairs / (pairs + each), abs=0.01)


PARTS = [".vt-cost-share > .vt-cost-pairs", ".vt-cost-share"]


def extent(card, name):
    """The sides of what is drawn, in pixels of the screen, without its outline."""
    drawn = card.locator(f".vt-cost-table .{name}").first
    width, height = drawn.evaluate(
        "(e) => [e.getScreenCTM(), e.getBBox()].map((m) => [m.a ?? m.width, m.d ?? m.height])"
        ".reduce((a, b) => [a[0] * b[0], a[1] * b[1]])"
    )
    return width, height


@pytest.mark.parametrize("width", [1280, 390])
def test_the_eye_sees_four_times_the_tokens_and_sixteen_times_the_scores(book, photo, width):
    card = started(book.open(PatchCost(photo, patch_size=16), width=width))
    strips, squares = [], []
    for patch in (16, 8, 4):
        choose(card, "patch size", patch)
        card.get_by_role("img", name=f"A table of {(224 // patch) ** 2:,} by").wait_for()
        strips.append(extent(card, "vt-cost-each")[0])
        side, high = extent(card, "vt-cost-pairs")
        assert side == pytest.approx(strips[-1])  # as many rows and columns as there are tokens
        squares.append(side * high)
        reference = extent(card, "vt-cost-reference")
        assert reference == pytest.approx((strips[0], strips[0]))  # one scale for all three
    assert strips == pytest.approx([strips[0] * 4**i for i in range(3)])
    assert squares == pytest.approx([squares[0] * 16**i for i in range(3)])
    room = card.locator(".vt-cost-table").bounding_box()
    assert strips[-1] > 0.9 * room["width"]  # and what is drawn is large enough to be seen
    assert room["x"] + room["width"] <= width
    assert strips[0] > 9


def test_the_old_table_fits_into_the_new_one_sixteen_times(book, photo):
    card = started(book.open(PatchCost(photo, patch_size=8)))
    lines = card.locator(".vt-cost-tiles").get_attribute("d")
    upright = [float(x) for x in re.findall(r"M([\d.]+) 0V", lines)]
    unit, left = extent(card, "vt-cost-reference")[0], 8
    assert upright == pytest.approx([left + i * unit for i in (1, 2, 3)], rel=1e-3)
    level = [float(y) for y in re.findall(r"M0 ([\d.]+)H", lines)]
    assert level == upright


def test_what_does_not_fit_is_drawn_smaller_to_the_same_scale(book, photo):
    card = started(book.open(PatchCost(photo, patch_size=4)))
    full = extent(card, "vt-cost-pairs")
    expect(card.get_by_text("zoomed out")).to_have_count(0)
    choose(card, "patch size", 2)
    expect(card.get_by_text("zoomed out 4 ×")).to_be_visible()
    assert extent(card, "vt-cost-pairs") == pytest.approx(full)
    assert extent(card, "vt-cost-reference")[0] == pytest.approx(full[0] / 64)
    choose(card, "patch size", 56)  # and a table of 16 × 16, which is hard to see, is there
    assert extent(card, "vt-cost-pairs")[0] >= 0.9


def test_the_still_is_drawn_to_scale(photo):
    sides = []
    for patch in (16, 8, 1):
        drawing, _ = PatchCost(photo, patch_size=patch).still()
        rects = re.findall(r'<rect x="228" y="30" width="([\d.]+)" height="([\d.]+)"', drawing)
        (side, high), (unit, _) = [[float(value) for value in rect] for rect in rects]
        assert side == high
        sides.append((side, unit))
    assert sides[0] == (12, 12)
    assert sides[1] == (48, 12)
    assert sides[2] == (192, 0.8)  # 192 / 256
    assert f"{224**2:,} × {224**2:,} scores" in drawing


@pytest.mark.parametrize("width", [1280, 390])
def test_a_choice_moves_nothing(book, photo, width):
    card = started(book.open(PatchCost(photo), width=width))
    first = layout(card).now
    for patch in (1, 2, 16, 224):
        choose(card, "patch size", patch)
        assert said(card).startswith(f"Patches of {patch} × {patch} in")
        assert layout(card) == first


def test_pixels_can_be_tokens_and_a_coarser_patch_costs_less(book, photo):
    card = started(book.open(PatchCost(photo)))
    choose(card, "patch size", 1)
    assert "50,176 tokens, 256 times the reference, with 65,536 times the scores" in said(card)
    expect(card.get_by_text("121 GB")).to_be_visible()
    expect(card.get_by_text("the square, enlarged 16 times")).to_be_visible()
    card.get_by_role("button", name="Halve patch size").click()
    assert said(card) == "A patch of 1 pixel cannot be halved."
    choose(card, "patch size", 32)
    assert "49 tokens, 0.25 times the reference, with 0.0625 times the scores" in said(card)
    choose(card, "patch size", 224)
    assert "1 token, 0.0051 times" in said(card)


@pytest.mark.parametrize(("patch", "cells"), [(56, 4), (16, 14), (4, 56)])
def test_the_picture_is_under_the_grid_of_its_patches(book, photo, patch, cells):
    card = started(book.open(PatchCost(photo, patch_size=patch)))
    drawn = card.get_by_role("img", name=f"under a grid of {cells} by {cells} patches")
    box = drawn.bounding_box()
    lines = drawn.locator("path").evaluate(
        "(path) => [...path.getAttribute('d').matchAll(/M([\\d.]+) 0V/g)].map(([, x]) => Number(x))"
    )
    assert lines == pytest.approx([i * 224 / cells for i in range(cells + 1)], abs=0.01)
    assert box["width"] == pytest.approx(224, abs=1)


def test_a_picture_of_another_size_gets_the_patch_next_in_size(book, photo):
    card = started(book.open(PatchCost(photo, patch_size=14)))
    choose(card, "image size", 512)
    assert said(card).startswith("Patches of 16 × 16 in 512 × 512 pixels: 1,024 tokens")
    choose(card, "image size", 384)
    assert said(card).startswith("Patches of 16 × 16 in 384 × 384 pixels: 576 tokens, 2.94 times")
    card.get_by_role("button", name="Reset").click()
    assert said(card).startswith("Patches of 14 × 14 in 224 × 224 pixels: 256 tokens, 1.31 times")


def test_a_reader_s_own_size_can_be_chosen_again(book):
    own = torch.randint(0, 256, (1, 30, 30), dtype=torch.uint8)
    card = started(book.open(PatchCost(own, image_size=90, patch_size=15)))
    assert said(card).startswith("Patches of 15 × 15 in 90 × 90 pixels: 36 tokens")
    choose(card, "image size", 112)
    assert said(card).startswith("Patches of 16 × 16 in 112 × 112 pixels: 49 tokens")
    choose(card, "image size", 90)
    assert said(card).startswith("Patches of 15 × 15 in 90 × 90 pixels")


def test_by_keyboard_alone(book, photo):
    page = book.open(PatchCost(photo))
    card = page.locator(".vt-card")
    card.wait_for()
    expect(card.locator(".vt-costs")).not_to_be_visible()  # the guess comes first
    press = presses(page, "e.labels?.[0]?.textContent")

    press("Tab", "Tab", "Tab")
    assert press("Tab", "Enter") == "image size"  # "16 times"
    expect(card.get_by_text("Your guess: 16 times. Right: ")).to_be_visible()
    assert press("ArrowDown") == "image size"
    assert said(card).startswith("Patches of 8 × 8 in 384 × 384 pixels")
    assert press("Tab", "ArrowUp") == "patch size"
    assert said(card).startswith("Patches of 6 × 6 in 384 × 384 pixels")
    press("Tab", "Enter")  # halve
    assert said(card).startswith("Patches of 3 × 3 in 384 × 384 pixels")
    press("Tab", "Enter")  # reset
    assert said(card).startswith("Patches of 8 × 8 in 224 × 224 pixels")
    press("Tab", "Tab", "Enter")  # past "Copy link" to the numbers
    card.locator("tbody tr").nth(11).wait_for()


def test_by_touch(book, photo):
    page = book.open(PatchCost(photo), width=360, has_touch=True)
    page.get_by_role("button", name="16 times").tap()
    card = page.locator(".vt-card")
    card.get_by_role("button", name="Halve patch size").tap()
    assert said(card).startswith("Patches of 4 × 4")
