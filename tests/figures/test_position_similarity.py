"""The figure of position similarity says what PyTorch says, and is there for every reader."""

import re

import pytest
import torch
import torch.nn.functional as F
from conftest import randomise
from figure_page import (
    open_numbers,
    presses,
    reading,
    said,
    soon,
    wait_for_colours,
    wait_for_turns,
)
from playwright.sync_api import expect

from vit_tutorial import ViT
from vit_tutorial.widgets import PositionSimilarity, dequantised, page_vit

SMALL = {"patch_size": 4, "num_classes": 3, "dim": 16, "depth": 1, "heads": 1, "mlp_dim": 8}


def small_vit(position="learned", image_size=28, **changes):
    torch.manual_seed(0)
    return randomise(ViT(**SMALL | {"position": position, "image_size": image_size} | changes))


@pytest.fixture(scope="module")
def vit():
    return small_vit()


def cosines(vit):
    """Every two positions, compared by PyTorch with the page's weights."""
    positions = dequantised(vit).patch_positions().detach().double()
    positions = positions - positions.mean(dim=0)
    return F.cosine_similarity(positions[:, None], positions[None], dim=-1)


def means(alike, position, columns=7):
    """Over the rest of the row, over the rest of the column, elsewhere."""
    place = torch.arange(len(alike))
    row = place // columns == position // columns
    column = place % columns == position % columns
    return [alike[position][kind].mean() for kind in (row & ~column, column & ~row, ~row & ~column)]


def number(text):
    return float(text.replace("−", "-"))


@reading
def shown(card):
    """The large map, as its cells' names tell it."""
    cells = card.get_by_role("grid", name="Similarity to each position").get_by_role("gridcell")
    names = cells.evaluate_all("(cells) => cells.map((cell) => cell.ariaLabel)")
    return [number(re.search(r": ([+−]?[\d.]+)$", name)[1]) for name in names]


def started(page):
    card = page.locator(".vt-card").last
    card.get_by_role("button", name="Show me").click()
    return card


# In Python


def test_the_middle_position_is_the_first(vit):
    assert PositionSimilarity(vit).position == 24


def test_a_model_without_positions_has_nothing_to_compare(vit):
    bag = small_vit("none")
    with pytest.raises(ValueError, match='this ViT has position="none"'):
        PositionSimilarity(bag)
    figure = PositionSimilarity(vit)
    before = figure.state()
    with pytest.raises(ValueError, match='this ViT has position="none"'):
        figure.vit = page_vit(bag)
    assert figure.state() == before


def test_what_is_no_vit_is_refused():
    with pytest.raises(ValueError, match=r"a page runs a vit_tutorial.ViT, not a Linear"):
        PositionSimilarity(torch.nn.Linear(2, 2))


def test_the_words_are_pytorch_s(vit):
    words = PositionSimilarity(vit, position=8).still()[1]
    numbers = [number(n) for n in re.findall(r"[+−][\d.]+", words)]
    assert numbers == pytest.approx([x.item() for x in means(cosines(vit), 8)], abs=0.0051)


# In a page


@pytest.mark.parametrize(
    ("changes", "columns"),
    [
        ({"position": "learned"}, 7),
        ({"position": "learned", "pool": "mean", "image_size": (28, 20)}, 5),
        ({"position": "learned_2d", "image_size": (20, 28)}, 7),
        ({"position": "sincos_2d"}, 7),
    ],
)
def test_the_numbers_are_pytorch_s(book, changes, columns):
    vit = small_vit(**changes)
    alike = cosines(vit)
    card = started(book.open(PositionSimilarity(vit, position=9)))
    assert shown(card) == pytest.approx(alike[9].tolist(), abs=0.0051)
    expected = [x.item() for x in means(alike, 9, columns)]
    seen = [number(text) for text in card.locator(".vt-alike-means strong").all_inner_texts()]
    assert seen == pytest.approx(expected, abs=0.0051)
    words = said(card).search("The most similar is").string
    told = [number(text) for text in re.findall(r"[+−]?\d\.\d\d", words)]
    alike[9, 9] = -2
    best = alike[9].argmax().item()
    assert told == pytest.approx([*expected, alike[9, best].item()], abs=0.0051)
    assert f"The most similar is position {best + 1}, " in said(card)


def test_the_small_maps_are_the_large_ones(book, vit):
    page = book.open(PositionSimilarity(vit))
    card = started(page)
    wait_for_colours(page)
    middles = page.evaluate(
        """() => {
            const context = document.querySelector(".vt-alike-overview canvas").getContext("2d");
            return Array.from({ length: 49 }, (_, place) => {
                const at = (i) => 64 * 3 + 8 * i + 8; // the map of the fourth row and column
                const [x, y] = [at(place % 7), at(Math.floor(place / 7))];
                return [...context.getImageData(x, y, 1, 1).data].slice(0, 3).join(", ");
            });
        }"""
    )
    grid = card.get_by_role("grid", name="Similarity to each position")
    cells = grid.get_by_role("gridcell").evaluate_all(
        "(cells) => cells.map((cell) => getComputedStyle(cell).backgroundColor)"
    )
    assert cells == [f"rgb({colour})" for colour in middles]
    assert len(set(cells)) > 20


def test_the_band_of_chance_holds_19_of_20_random_tables(book, vit):
    card = started(book.open(PositionSimilarity(vit)))
    open_numbers(card)
    rows = card.locator("tbody tr")
    bands = [
        [number(end) for end in text.split(" to ")]
        for text in rows.locator("td:last-child").all_inner_texts()
        if text
    ]
    assert len(bands) == 3
    tables = torch.randn(4000, 49, 16, dtype=torch.float64)  # of the model's width
    tables = F.normalize(tables - tables.mean(dim=1, keepdim=True), dim=-1)
    alike = (tables @ tables[:, 24, :, None])[..., 0]  # (4000, 49)
    place = torch.arange(49)
    row, column = place // 7 == 3, place % 7 == 3
    for (low, high), kind in zip(
        bands, (row & ~column, column & ~row, ~row & ~column), strict=True
    ):
        found = alike[:, kind].mean(dim=1)
        inside = ((found > low) & (found < high)).double().mean()
        assert 0.93 < inside < 0.97


def test_by_mouse(book, vit):
    alike = cosines(vit)
    card = started(book.open(PositionSimilarity(vit)))
    positions = card.get_by_role("grid", name="Positions")
    positions.get_by_role("gridcell").nth(8).click()
    assert said(card).startswith("Position 9 has ")
    assert shown(card) == pytest.approx(alike[8].tolist(), abs=0.0051)

    glance = card.locator(".vt-alike-glance")
    expect(glance).to_be_hidden()
    places = [card.locator(part).bounding_box for part in ("details", ".vt-controls >> nth=-1")]
    before = [place() for place in places]
    positions.get_by_role("gridcell").nth(40).hover()  # a look, and no choice
    assert shown(card) == pytest.approx(alike[40].tolist(), abs=0.0051)
    assert said(card).startswith("Position 9 has ")  # in the live region: nobody hears of a look
    alike[40, 40] = -2
    best = alike[40].argmax().item()
    seen = soon(glance.inner_text).search(r"^You point at position 41\. .* Position 9 stays picked")
    assert f"The most similar is position {best + 1}, " in seen.string
    assert glance.get_attribute("aria-hidden") == "true"
    expect(card.get_by_text("mean similarity of position 41 to")).to_be_visible()
    assert card.locator(".vt-outcome").evaluate("(e) => getComputedStyle(e).clipPath") != "none"
    assert [place() for place in places] == before
    marked = card.locator("[data-glance]")
    assert soon(marked.get_attribute, "data-number") == "41"
    assert marked.evaluate("(cell) => getComputedStyle(cell).outlineStyle") == "dashed"
    picked = positions.get_by_role("gridcell", selected=True)
    assert soon(picked.get_attribute, "data-number") == "9"
    map_ = card.get_by_role("grid", name="Similarity to each position")
    map_.get_by_role("gridcell").nth(3).hover()
    assert shown(card) == pytest.approx(alike[8].tolist(), abs=0.0051)
    expect(glance).to_be_hidden()
    assert marked.count() == 0
    pair = card.locator(".vt-alike-pair")
    assert soon(pair.inner_text).startswith(f"9 and 4: {alike[8, 3]:+.2f}".replace("-", "−"))
    map_.get_by_role("gridcell").nth(3).click()
    assert said(card).startswith("Position 4 has ")
    card.get_by_role("button", name="Reset").click()
    assert said(card).startswith("Position 25 has ")
    assert soon(pair.inner_text).endswith(", the highest")


def test_a_map_that_opens_under_the_pointer_shows_what_was_asked_about(book, vit):
    """A look begins when the pointer moves; after a guess it may rest anywhere."""
    alike = cosines(vit)
    at = None
    for _ in range(2):  # the first time to see where the map will be
        page = book.open(PositionSimilarity(vit))
        card = page.locator(".vt-card")
        if at:
            page.mouse.move(*at)
        card.get_by_role("button", name="Show me").press("Enter")
        cell = card.get_by_role("grid", name="Positions").get_by_role("gridcell").nth(8)
        box = cell.bounding_box()
        at = box["x"] + 10, box["y"] + 10
    assert soon(cell.evaluate, "(cell) => cell.matches(':hover')").becomes(bool)
    wait_for_turns(page)
    assert shown(card) == pytest.approx(alike[24].tolist(), abs=0.0051)
    page.mouse.move(box["x"] + 12, box["y"] + 12)
    assert shown(card) == pytest.approx(alike[8].tolist(), abs=0.0051)


def test_by_keyboard_alone(book, vit):
    page = book.open(PositionSimilarity(vit))
    page.locator(".vt-card").wait_for()
    press = presses(page, "e.ariaLabel ?? e.innerText")

    assert press("Tab") == "a direct neighbour"
    assert press("Enter") == "position 25, row 4, column 4"  # the guess is made; on with the figure
    card = page.locator(".vt-card")
    expect(card.get_by_text("Your guess: a direct neighbour. ")).to_be_visible()
    assert press("Tab").startswith("position 25, row 4, column 4: ")  # the large map
    assert press("ArrowLeft").startswith("position 24, row 4, column 3: ")
    assert soon(card.locator(".vt-alike-pair").inner_text).startswith("25 and 24: ")
    assert said(card).startswith("Position 25 has ")
    press("Space")
    assert said(card).startswith("Position 24 has ")
    assert press("Shift+Tab") == "position 24, row 4, column 3"
    assert press("ArrowUp", "Home") == "position 15, row 3, column 1"
    assert said(card).startswith("Position 15 has ")
    press("Tab", "Tab", "Tab", "Enter")  # past the map and "Surprise me" to "Reset"
    assert said(card).startswith("Position 25 has ")
    press("Tab", "Tab", "Enter")  # past "Copy link" to the numbers
    card.locator("tbody tr").nth(3 + 48).wait_for()


def test_a_surprise_is_the_position_that_knows_its_row_and_column_best(book, vit):
    alike = cosines(vit)
    strength = [(r + c) / 2 - e for r, c, e in (means(alike, position) for position in range(49))]
    first, second = torch.tensor(strength).topk(2).indices.tolist()
    card = started(book.open(PositionSimilarity(vit, position=first)))
    card.get_by_role("button", name="Surprise me").click()
    assert said(card).startswith(f"Position {second + 1} has ")  # the first is there already
    card.get_by_role("grid", name="Positions").get_by_role("gridcell").nth(first - 1).click()
    for _ in range(48):  # once around
        card.get_by_role("button", name="Surprise me").click()
    assert said(card).startswith(f"Position {first + 1} has ")


def test_by_touch(book, vit):
    page = book.open(PositionSimilarity(vit), width=360, has_touch=True)
    card = started(page)
    card.get_by_role("grid", name="Positions").get_by_role("gridcell").nth(8).tap()
    assert said(card).startswith("Position 9 has ")


def test_a_model_without_positions_is_refused_in_the_page_too(notebook, vit):
    page = notebook(PositionSimilarity(vit))
    card = started(page)
    page.evaluate("(payload) => model.set('vit', payload)", page_vit(small_vit("none")))
    assert soon(card.get_by_role("alert").inner_text).endswith("has no positions to compare")
