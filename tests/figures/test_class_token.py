"""Where does the prediction come from? The page reads both models' layers as PyTorch does."""

import re
from base64 import b64decode
from io import BytesIO

import numpy as np
import pytest
import torch
from conftest import randomise
from figure_page import (
    layout,
    open_numbers,
    presses,
    reading,
    said,
    soon,
)
from PIL import Image

from vit_tutorial import ViT, layer_predictions, load_pretrained, record_attention
from vit_tutorial.data import load_dataset, normalize
from vit_tutorial.widgets import ClassToken, dequantised

SIZES = {"image_size": 28, "patch_size": 4, "channels": 1, "num_classes": 3}
SIZES |= {"dim": 16, "depth": 2, "heads": 2, "dim_head": 8, "mlp_dim": 16}
NAMES = ["Top", "Bag", "Boot"]
CELLS = "(rows) => rows.map((row) => [...row.cells].map((cell) => cell.textContent))"


def small(pool, **changes):
    vit = randomise(ViT(**SIZES | {"pool": pool} | changes), std=0.5)
    vit.facts |= {"mean": (0.286,), "std": (0.353,), "class_names": NAMES}
    return vit


@pytest.fixture(scope="module")
def models():
    torch.manual_seed(0)
    return {pool: small(pool) for pool in ("cls", "mean")}


@pytest.fixture(scope="module")
def images():
    return load_dataset("fashion_mnist", "test", subset=10)[0][:4]


@pytest.fixture
def figure(models, images):
    return lambda **choices: ClassToken(
        models["cls"], models["mean"], images, ["Top", "Bag", "Boot", "Top"], **choices
    )


@pytest.fixture(scope="module")
def expected(models, images):
    """By PyTorch, with the page's weights: shares of the classes, and what token 0 takes."""
    x = normalize(images, (0.286,), (0.353,)).double()
    page = {pool: dequantised(vit).double() for pool, vit in models.items()}
    with torch.no_grad(), record_attention(page["cls"]) as maps:
        page["cls"](x)
    with torch.no_grad():
        shares = {pool: layer_predictions(vit, x).softmax(dim=-1) for pool, vit in page.items()}
    return shares, torch.stack(maps)[:, :, :, 0].mean(dim=2)  # (depth, pictures, tokens)


def open_card(page):
    card = page.locator(".vt-card")
    card.get_by_role("button", name="Show me").click()
    return card


@reading
def taken(card):
    """The map as the cells' names tell it: percent by patch."""
    cells = card.get_by_role("grid", name="How much each patch").get_by_role("gridcell")
    names = cells.evaluate_all("(cells) => cells.map((cell) => cell.ariaLabel)")
    return [float(re.search(r": ([\d.]+)%", name)[1]) for name in names]


@reading
def bars(card):
    return [float(text.rstrip("%")) for text in card.locator(".vt-answer-share").all_inner_texts()]


# In Python


def test_models_and_pictures_that_do_not_fit_are_refused(models, images):
    cls, mean = models["cls"], models["mean"]
    names = ["a", "b", "c", "d"]
    with pytest.raises(ValueError, match='the first model is one with pool="cls", got pool="mean"'):
        ClassToken(mean, cls, images, names)
    with pytest.raises(ValueError, match='the second model is one with pool="mean", got pool="cls'):
        ClassToken(cls, cls, images, names)
    with pytest.raises(ValueError, match="the same depth, got 2 and 1"):
        ClassToken(cls, small("mean", depth=1), images, names)
    with pytest.raises(ValueError, match="a name for each image, got 3 for 4"):
        ClassToken(cls, mean, images, names[:3])
    with pytest.raises(ValueError, match=r"images of shape \(n, 1, 28, 28\)"):
        ClassToken(cls, mean, torch.zeros(4, 1, 32, 32, dtype=torch.uint8), names)
    with pytest.raises(ValueError, match="not a Linear"):
        ClassToken(torch.nn.Linear(1, 1), mean, images, names)


@pytest.mark.parametrize("layer", [1, 2])
def test_the_still_s_map_is_lighter_where_the_token_takes_more(figure, expected, layer):
    _, taken = expected
    drawing, _ = figure(picture=1, layer=layer).still()
    *_, data = re.findall(r'data:image/bmp;base64,([^"]+)', drawing)
    pixels = np.array(Image.open(BytesIO(b64decode(data))), int)  # (7, 7, 3)
    lightness = pixels.sum(axis=-1).flatten()
    order = taken[layer - 1, 1, 1:].argsort()
    assert (np.diff(lightness[order]) >= 0).all()
    assert lightness.max() > lightness.min()


def test_the_words_are_pytorch_s(figure, expected):
    shares, _ = expected
    words = figure(picture=2, pooling="mean", layer=1).still()[1]
    now, end = shares["mean"][1, 2], shares["cls"][2, 2]
    first = f"{NAMES[now.argmax()]} ({now.max():.0%})"
    assert f"after layer 1 from the mean of the patches is {first}." in words
    last = f"{NAMES[end.argmax()]} ({end.max():.0%})"
    assert f"In the end, it is {last} from the class token and" in words
    assert "before layer 1 from the class token" in figure().still()[1]


def test_the_bundled_models_go_by_their_names(images):
    cls, mean = (load_pretrained(f"figure-{pool}-0") for pool in ("cls", "mean"))
    html = ClassToken(cls, mean, images, ["a", "b", "c", "d"], layer=3).to_html()
    assert 'data-models="figure-cls-0 figure-mean-0"' in html
    assert len(html) < 20_000


# In a page


def test_the_page_s_numbers_are_pytorch_s(book, figure, expected):
    shares, maps = expected
    card = open_card(book.open(figure(picture=1, layer=1)))
    assert taken(card) == pytest.approx((100 * maps[0, 1, 1:]).tolist(), abs=0.51)
    own = card.get_by_role("img", name="class token").get_attribute("aria-label")
    assert float(re.search(r"itself: ([\d.]+)%", own)[1]) == pytest.approx(
        100 * maps[0, 1, 0].item(), abs=0.51
    )
    for pool, read in (("cls", "the class token"), ("mean", "the mean of the patches")):
        card.get_by_label("read from", exact=True).select_option(read)
        for layer in range(3):
            card.get_by_label("layer", exact=True).fill(str(layer))
            answer = shares[pool][layer, 1]
            assert bars(card) == pytest.approx((100 * answer).tolist(), abs=0.51)
            told = f"from {read} is {NAMES[answer.argmax()]}, "
            assert said(card).becomes(lambda text, told=told: told.lower() in text.lower())
    open_numbers(card)
    table = card.locator(".vt-numbers tbody tr").evaluate_all(CELLS)
    assert [line[0] for line in table] == NAMES
    numbers = np.array([[float(cell) for cell in line[1:]] for line in table])
    both = torch.cat((shares["cls"][:, 1], shares["mean"][:, 1]))
    np.testing.assert_allclose(numbers.T, 100 * both, atol=0.051)


def test_before_the_first_layer_token_0_says_the_same_of_every_picture_and_the_mean_does_not(
    book, figure, expected
):
    shares, _ = expected
    card = open_card(book.open(figure()))
    said_of = {}
    for read in ("the class token", "the mean of the patches"):
        card.get_by_label("read from", exact=True).select_option(read)
        said_of[read] = []
        for picture in range(4):
            card.get_by_label("image", exact=True).select_option(index=picture)
            name = ["Top", "Bag", "Boot", "Top"][picture]
            assert f"the image: {name}" in soon(card.inner_text)
            assert said(card).becomes(lambda text, read=read: read in text.lower())
            said_of[read].append(bars(card).now)
        if read == "the class token":
            assert "the same for all 4 images" in said(card)
            assert taken(card) == [0] * 49
    first, *others = said_of["the class token"]
    assert others == [first] * 3
    first, *others = said_of["the mean of the patches"]
    assert first not in others
    different = shares["mean"][0].argmax(dim=-1).unique().numel()
    assert f"It differs from image to image: {different} of 3 classes occur." in said(card)
    assert taken(card) == [2.0] * 49  # percent: each by 1/49


def test_how_many_come_out_right_is_counted(book, figure, expected):
    shares, _ = expected
    card = open_card(book.open(figure(layer=2, pooling="mean")))
    truth = torch.tensor([0, 1, 2, 0])
    answers = shares["mean"][2].argmax(dim=-1)
    assert f"the model gets {(answers == truth).sum()} of 4 images right." in said(card)
    for picture in range(4):
        card.get_by_label("image", exact=True).select_option(index=picture)
        right = bool(answers[picture] == truth[picture])
        assert said(card).becomes(lambda text, right=right: ("(right)" in text) == right)
        last = card.locator(".vt-final td").nth(1)
        assert soon(last.inner_text).becomes(lambda text, right=right: ("✓" in text) == right)
        assert soon(last.get_attribute, "aria-current") == "true"


def test_by_mouse(book, figure, expected):
    shares, maps = expected
    page = book.open(figure())
    card = open_card(page)
    card.get_by_label("layer", exact=True).fill("2")
    cell = card.get_by_role("gridcell", name="patch 9, row 2, column 2")
    cell.hover()
    told = card.locator(".vt-told")
    share = 100 * maps[1, 0, 9].item()
    found = soon(told.inner_text).search(r": ([\d.]+)%")
    assert float(found[1]) == pytest.approx(share, abs=0.51)
    card.get_by_text("Table of values").hover()
    assert soon(told.inner_text) == "pick a patch to see its weight"
    cell.click()
    card.get_by_text("Table of values").hover()
    assert soon(told.inner_text).startswith("patch 9, row 2, column 2: ")
    cell.click()  # once more: no patch is picked
    card.get_by_text("Table of values").hover()
    assert soon(told.inner_text) == "pick a patch to see its weight"

    apart = (shares["cls"][2] - shares["mean"][2]).abs().sum(dim=-1)
    first, second = apart.argsort(descending=True)[:2].tolist()
    for index in (first, second):
        card.get_by_role("button", name="Surprise me").click()
        chosen = card.get_by_label("image", exact=True)
        assert soon(chosen.evaluate, "(select) => select.selectedIndex") == index
    card.get_by_role("button", name="Reset").click()
    assert said(card).startswith("Before layer 1, the prediction from the class token is ")
    assert page.noise == []


@pytest.mark.parametrize("width", [1280, 688, 390])
def test_a_choice_moves_nothing(book, models, images, width):
    """Above all not the table, which was below the bars or beside them as its words were long."""
    named = [ViT(**SIZES | {"pool": pool}) for pool in models]
    names = ["Bag", "T-shirt/top", "Ankle boot"]
    for copy, vit in zip(named, models.values(), strict=True):
        copy.load_state_dict(vit.state_dict())
        copy.facts |= vit.facts | {"class_names": names}
    truth = ["Ankle boot", "Bag", "T-shirt/top", "Bag"]
    card = open_card(book.open(ClassToken(*named, images, truth), width=width))
    widths = "(all) => all.map((each) => Math.round(each.getBoundingClientRect().width))"
    cells = card.locator(".vt-road :is(th, td)")
    first, wide = layout(card).now, cells.evaluate_all(widths)
    for layer in range(3):
        card.get_by_label("layer", exact=True).fill(str(layer))
        for picture in range(4):
            card.get_by_label("image", exact=True).select_option(index=picture)
            for read in ("the mean of the patches", "the class token"):
                card.get_by_label("read from", exact=True).select_option(read)
                assert said(card).becomes(lambda text, read=read: read in text.lower())
                assert layout(card) == first
                assert soon(cells.evaluate_all, widths) == wide


def test_by_touch(book, figure):
    page = book.open(figure(layer=1), width=360, has_touch=True)
    page.get_by_role("button", name="Show me").tap()
    page.get_by_role("gridcell", name="patch 9, row 2, column 2").tap()
    assert soon(page.locator(".vt-told").inner_text).startswith("patch 9, row 2, column 2: ")


def test_by_keyboard_alone(book, figure, expected):
    _, maps = expected
    page = book.open(figure())
    card = page.locator(".vt-card")
    card.wait_for()
    press = presses(page)

    press("Tab", "Tab", "Tab", "Enter")  # past both answers to "Show me"; then at the patches
    press("Tab", "Tab", "ArrowDown")  # past the table to the picture
    assert "the image: Bag" in soon(card.inner_text)
    press("Tab", "ArrowDown")  # what is read
    assert said(card).startswith("Before layer 1, the prediction from the mean of the patches is ")
    press("ArrowUp", "Tab", "ArrowRight")  # the layer
    assert said(card).startswith("After layer 1, the prediction from the class token is ")
    slider = card.get_by_label("layer", exact=True)
    assert soon(slider.get_attribute, "aria-valuetext") == "after layer 1"
    press("Shift+Tab", "Shift+Tab")  # back over what is read and the picture
    assert press("Shift+Tab") == "Both models’ predictions, layer by layer"
    assert press("Shift+Tab").startswith("patch 1, row 1, column 1: ")  # one stop
    at = press("ArrowRight", "ArrowDown")
    assert at.startswith("patch 9, row 2, column 2: ")
    share = float(soon(card.locator(".vt-told").inner_text).search(r": ([\d.]+)%")[1])
    assert share == pytest.approx(100 * maps[0, 1, 9].item(), abs=0.51)
    press("Space")
    assert soon(card.locator(".vt-told").inner_text) == "pick a patch to see its weight"
    press(*["Tab"] * 6, "Enter")  # table, picture, read, layer, "Surprise me", "Reset"
    assert said(card).startswith("Before layer 1, the prediction from the class token is ")
