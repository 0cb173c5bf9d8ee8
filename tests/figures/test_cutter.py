"""The figure of cutting shows the numbers that PyTorch cuts, and is there for every reader."""

import re

import pytest
import torch
from figure_page import (
    cards,
    layout,
    open_numbers,
    presses,
    reading,
    said,
    soon,
)

from vit_tutorial import patchify, unpatchify
from vit_tutorial.data import load_photo
from vit_tutorial.widgets import PatchCutter
from vit_tutorial.widgets.pictures import pack_picture

COLOURS = ["red", "green", "blue"]


@pytest.fixture(scope="module")
def photo():
    return load_photo(56)


@pytest.fixture(scope="module")
def own():
    """Neither the picture nor its patches are square."""
    torch.manual_seed(0)
    return torch.randint(0, 256, (3, 12, 20), dtype=torch.uint8)


def cut(image, patch_size, way):
    """The table (n, p1*p2*c), by the package and by PyTorch."""
    right = patchify(image[None], patch_size)[0]
    return right if way == "rearrange" else image.view(right.shape)


def places(image, patch_size, way):
    """Where each number of the table comes from: the numbers of the pixels' places, cut alike."""
    return cut(torch.arange(image.numel()).view(image.shape), patch_size, way)


@reading
def vector(card):
    """The numbers as they stand in the strip, and the place in the picture of each."""
    cells = card.get_by_role("grid", name="The values in order").get_by_role("gridcell")
    cells.first.wait_for()
    found = cells.evaluate_all("(all) => all.map((each) => [each.textContent, each.ariaLabel])")
    numbers = [int(text) for text, _ in found]
    named = [re.fullmatch(r"entry (\d+): (\d+), (.*)", name).groups() for _, name in found]
    assert [int(value) for _, value, _ in named] == numbers
    assert [int(j) for j, *_ in named] == list(range(1, len(named) + 1))
    return numbers, [place for *_, place in named]


def in_words(image, place):
    channels, height, width = image.shape
    colour = COLOURS[place // (height * width)] if channels == 3 else "grey"
    return f"pixel row {place // width % height + 1}, column {place % width + 1}, {colour}"


def choose(card, way):
    names = {"rearrange": "rearrange", "view": "a bare view"}
    card.get_by_label("cut by").select_option(names[way])


# In Python


@pytest.mark.parametrize("way", ["rearrange", "view"])
def test_the_table_is_pytorch_s(photo, way):
    assert torch.equal(PatchCutter(photo, way=way).table(), cut(photo, 8, way))


def test_the_middle_patch_is_the_first(photo, own):
    assert PatchCutter(photo).patch == 24
    assert PatchCutter(own, patch_size=(3, 5)).patch == 10  # of 4 by 4


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"patch_size": [9, 9]}, "patches of 9 x 9 pixels do not tile an image of 56 x 56"),
        ({"patch_size": [28, 28]}, "make 4 of 2352"),
        (
            {"patch_size": [2, 2]},
            "at most 768 values; 56 x 56 pixels in patches of 2 x 2 make 784",
        ),
        ({"patch_size": [0, 8]}, r"at least 1, or \(height, width\); got \(0, 8\)"),
        ({"patch_size": [14, 14]}, "patch is one of 0 to 15, got 17"),
    ],
)
def test_a_patch_size_that_does_not_fit_is_refused_at_once_and_later(photo, wrong, message):
    with pytest.raises(ValueError, match=message):
        PatchCutter(photo, **{"patch": 17} | wrong)
    figure = PatchCutter(photo, patch=17)
    before = figure.state()
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=message):
        setattr(figure, name, value)
    assert figure.state() == before


def test_what_is_no_picture_is_refused(photo, own):
    with pytest.raises(ValueError, match=r"an image is uint8 of shape \(1 or 3, H, W\)"):
        PatchCutter(photo / 255)
    figure = PatchCutter(photo)
    with pytest.raises(ValueError, match="do not tile an image of 12 x 20"):
        figure.picture = pack_picture(own)
    assert figure.picture == pack_picture(photo)


@pytest.mark.parametrize("way", ["rearrange", "view"])
def test_the_words_begin_with_the_row_s_numbers(photo, way):
    first = ", ".join(str(number) for number in cut(photo, 8, way)[17, :6].tolist())
    assert f"begins with {first}." in PatchCutter(photo, patch=17, way=way).still()[1]


# In a page


@pytest.mark.parametrize(
    ("channels", "patch_size"), [(3, (8, 8)), (3, (3, 5)), (3, (6, 10)), (1, (3, 5))]
)
@pytest.mark.parametrize("way", ["rearrange", "view"])
def test_the_vectors_are_pytorch_s_and_so_are_their_places(
    book, photo, own, channels, patch_size, way
):
    image = (photo if patch_size == (8, 8) else own)[:channels]
    rows, froms = cut(image, patch_size, way), places(image, patch_size, way)
    card = book.open(PatchCutter(image, patch_size=patch_size, patch=0, way=way)).locator(
        ".vt-card"
    )
    grid = card.get_by_role("grid", name="Patches").get_by_role("gridcell")
    for patch in {0, len(rows) // 3, len(rows) - 1}:  # of 49: the 17th mixes two colours by view
        grid.nth(patch).click()
        words = [in_words(image, place) for place in froms[patch].tolist()]
        assert vector(card) == (rows[patch].tolist(), words)

    open_numbers(card)
    lines = card.locator("tbody tr").evaluate_all(
        "(rows) => rows.map((row) => [...row.cells].map((cell) => cell.textContent))"
    )
    p2, c = patch_size[1], channels
    for j, (line, value) in enumerate(zip(lines, rows[-1].tolist(), strict=True)):
        colour = COLOURS[j % c] if c == 3 else "grey"
        p1_p2 = j // (p2 * c) + 1, j // c % p2 + 1  # a reader counts from 1
        assert line[:5] == [str(n) for n in (j + 1, *p1_p2, colour, value)]
        place = "pixel row {}, column {}, {}".format(*line[5:])
        assert place == in_words(image, froms[-1, j].item())


PIXELS = """(canvas) => [...canvas.getContext("2d").getImageData(0, 0, canvas.width,
    canvas.height).data]"""


@pytest.mark.parametrize("way", ["rearrange", "view"])
def test_the_patch_beside_it_is_what_the_model_takes_the_numbers_for(book, photo, way):
    card = book.open(PatchCutter(photo, patch=17, way=way)).locator(".vt-card")
    card.wait_for()
    seen = torch.tensor(card.locator(".vt-taken canvas").evaluate(PIXELS)).view(8, 8, 4)
    taken = unpatchify(cut(photo, 8, way)[None, 17:18], (1, 1), 8)[0]
    assert torch.equal(seen[..., :3].permute(2, 0, 1), taken)
    if way == "rearrange":
        assert torch.equal(taken, photo[:, 16:24, 24:32])  # it is the patch, row 3, column 4


def test_outlined_are_the_pixels_that_the_numbers_come_from(book, photo):
    """A pixel is inside where a line from it crosses the outline an odd number of times."""
    page = book.open(PatchCutter(photo, patch=17, way="view"))
    page.locator(".vt-card").wait_for()
    d = page.locator(".vt-cut .vt-overlay path.vt-outline").get_attribute("d")
    upright = [(int(x), int(y)) for x, y in re.findall(r"M(\d+) (\d+)v1", d)]
    inside = torch.zeros(56, 56, dtype=torch.bool)
    for x, y in upright:
        inside[y, :x] ^= True
    expected = torch.zeros(3 * 56 * 56, dtype=torch.bool)
    expected[places(photo, 8, "view")[17]] = True
    assert torch.equal(inside, expected.view(3, 56, 56).any(dim=0))
    level = [(int(x), int(y)) for x, y in re.findall(r"M(\d+) (\d+)h1", d)]
    inside = torch.zeros(56, 56, dtype=torch.bool)
    for x, y in level:
        inside[:y, x] ^= True
    assert torch.equal(inside, expected.view(3, 56, 56).any(dim=0))


def test_what_is_said_of_a_row_holds(book, photo):
    page = book.open(PatchCutter(photo, patch=0, way="view"))
    card = page.locator(".vt-card")
    grid = card.get_by_role("grid", name="Patches").get_by_role("gridcell")
    of_patch, of_view = (places(photo, 8, way) for way in ("rearrange", "view"))
    for patch in (0, 16, 24, 17):
        grid.nth(patch).click()
        inside = len(set(of_view[patch].tolist()) & set(of_patch[patch].tolist()))
        rows = {place // 56 % 56 for place in of_view[patch].tolist()}
        colours = {place // 56**2 for place in of_view[patch].tolist()}
        kinds = " and ".join(COLOURS[c] for c in sorted(colours))
        assert f"Row {patch + 1}: {inside} of its 192 values come from patch" in said(card)
        only = f"{kinds} only" if len(colours) == 1 else kinds
        assert f"from {len(rows)} pixel rows, {only}. " in said(card)
        assert said(card).endswith("The shape is still right: (49, 192).")
    choose(card, "rearrange")
    assert said(card) == "Row 18: all 192 values come from patch 18, pixel by pixel."


def test_all_of_it_counts_from_1(book, own):
    """The headings are right for the entry that is told: row by row, pixel by pixel."""
    card = book.open(PatchCutter(own, patch_size=(3, 5), patch=0)).locator(".vt-card")
    across = card.locator(".vt-vector-columns").first.locator("span")
    assert soon(across.all_inner_texts) == ["p2 =", "1", "2", "3", "4", "5"]
    down = card.locator(".vt-vector-rows span")
    assert soon(down.all_inner_texts) == ["p1 = 1", "p1 = 2", "p1 = 3"]
    numbers = card.get_by_role("grid", name="The values in order").get_by_role("gridcell")
    told = card.locator(".vt-number")
    for cell, pixel in ((0, "p1 = 1, p2 = 1, c = red"), (-1, "p1 = 3, p2 = 5, c = blue")):
        numbers.nth(cell).click()
        assert pixel in soon(told.inner_text)
    last = "Entry 45 is .*, at .*In the image, it is at pixel row 3, column 5, blue"
    assert soon(told.inner_text).search(last)


@pytest.mark.parametrize("width", [1280, 390])
def test_another_patch_or_way_moves_nothing(book, photo, width):
    card = book.open(PatchCutter(photo, patch=17), width=width).locator(".vt-card")
    grid = card.get_by_role("grid", name="Patches").get_by_role("gridcell")
    first = layout(card).now
    for patch in (0, 16, 32, 48):  # the 17th and the 33rd mix two colours
        for way in ("rearrange", "view"):
            grid.nth(patch).click()
            choose(card, way)
            assert said(card).startswith(f"Row {patch + 1}: ")
            assert ("pixel by pixel" in said(card)) if way == "rearrange" else "shape" in said(card)
            assert layout(card) == first


@reading
def ring(card):
    """The pixel around which the ring is, in the picture."""
    circle = card.locator(".vt-cut circle.vt-outline")
    x, y = (float(circle.get_attribute(name)) for name in ("cx", "cy"))
    return int(y), int(x)


def test_by_mouse(book, photo):
    page = book.open(PatchCutter(photo, patch=17), PatchCutter(photo, patch=17))
    card, other = cards(page, 2)
    numbers = card.get_by_role("grid", name="The values in order").get_by_role("gridcell")
    numbers.nth(100).hover()  # from 0: p1 = 4, p2 = 1, green
    assert ring(card) == (20, 25)
    told = card.locator(".vt-number")
    assert soon(told.inner_text) == (
        f"Entry 101 is {photo[1, 20, 25]}, at p1 = 5, p2 = 2, c = green. "
        "In the image, it is at pixel row 21, column 26, green."
    )
    inner = card.locator(".vt-taken rect.vt-outline")
    assert [soon(inner.get_attribute, name) for name in ("x", "y")] == ["1", "4"]
    card.get_by_role("button", name="Reset").hover()
    assert ring(card) == (16, 24)  # the first again
    numbers.nth(100).click()
    card.get_by_role("button", name="Reset").hover()
    assert ring(card) == (20, 25)
    choose(card, "view")
    place = 17 * 192 + 100
    assert ring(card) == (place // 56 % 56, place % 56)
    assert f"In the image, it is at {in_words(photo, place)}." in soon(told.inner_text)

    grid = card.get_by_role("grid", name="Patches").get_by_role("gridcell")
    outcome = said(card).now
    grid.nth(40).hover()  # a look, and no choice
    assert vector(card)[0] == cut(photo, 8, "view")[40].tolist()
    assert said(card) == outcome
    card.get_by_role("button", name="Reset").hover()
    assert vector(card)[0] == cut(photo, 8, "view")[17].tolist()
    card.get_by_role("button", name="Reset").click()
    assert said(card).startswith("Row 18: all 192")
    assert ring(card) == (16, 24)
    assert said(other).startswith("Row 18: all 192")


def test_by_keyboard_alone(book, photo):
    page = book.open(PatchCutter(photo, patch=17))
    card = page.locator(".vt-card")
    card.wait_for()
    press = presses(page, "e.ariaLabel ?? e.innerText")

    assert press("Tab") == "patch 18, row 3, column 4"
    assert press("ArrowDown", "Home") == "patch 22, row 4, column 1"
    assert said(card).startswith("Row 22: all")
    assert press("Tab").startswith("entry 1: ")
    assert press("ArrowDown", "ArrowRight").startswith("entry 26: ")
    assert ring(card) == (25, 0)  # the second row of patch 22, its first pixel's green
    assert f"Entry 26 is {photo[1, 25, 0]}, " in soon(card.locator(".vt-number").inner_text)
    press("Tab", "ArrowDown")  # the way
    assert said(card).startswith("Row 22: 0 of its 192")
    press("Tab", "Enter")  # surprise me
    assert said(card).becomes(lambda text: not text.startswith("Row 22:"))
    press("Tab", "Enter")  # reset
    assert said(card).startswith("Row 18: all")
    press("Tab", "Tab", "Enter")  # past "Copy link" to the numbers
    card.locator("tbody tr").nth(191).wait_for()


def test_a_surprise_is_the_patch_of_the_strongest_contrast(book, photo):
    spread = patchify(photo[None], 8)[0].double().var(dim=1)
    first, second = (place.item() + 1 for place in spread.topk(2).indices)
    card = book.open(PatchCutter(photo, patch=17, way="view")).locator(".vt-card")
    card.get_by_role("button", name="Surprise me").click()
    assert said(card).startswith(f"Row {first}: ")
    card.get_by_role("button", name="Surprise me").click()
    assert said(card).startswith(f"Row {second}: ")
    for _ in range(48):
        card.get_by_role("button", name="Surprise me").click()
    assert said(card).startswith(f"Row {first}: ")  # once around, and its way is as it was
    assert "shape is still right" in said(card)


def test_what_is_shown_already_is_no_surprise(book, photo):
    spread = patchify(photo[None], 8)[0].double().var(dim=1)
    first, second = (place.item() for place in spread.topk(2).indices)
    card = book.open(PatchCutter(photo, patch=first)).locator(".vt-card")
    card.get_by_role("button", name="Surprise me").click()
    assert said(card).startswith(f"Row {second + 1}: ")


def test_by_touch(book, own):
    figure = PatchCutter(own, patch_size=(3, 5))
    page = book.open(figure, width=360, has_touch=True)
    card = page.locator(".vt-card")
    card.get_by_role("grid", name="Patches").get_by_role("gridcell").nth(8).tap()
    assert said(card).startswith("Row 9: ")
    numbers = card.get_by_role("grid", name="The values in order").get_by_role("gridcell")
    numbers.nth(44).tap()  # scrolled to, inside of its box
    assert soon(card.locator(".vt-number").inner_text).startswith(f"Entry 45 is {own[2, 8, 4]}, ")
