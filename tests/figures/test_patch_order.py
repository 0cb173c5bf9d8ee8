"""The figure of shuffled patches says what PyTorch says, and is there for every reader."""

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

from vit_tutorial import ViT, patchify, unpatchify
from vit_tutorial.data import load_dataset, normalize
from vit_tutorial.widgets import PatchOrder, dequantised
from vit_tutorial.widgets.bundle import join
from vit_tutorial.widgets.shuffle import shuffled

SMALL = {"image_size": 28, "patch_size": 4, "channels": 1, "num_classes": 10, "dim": 16}
SMALL |= {"depth": 2, "heads": 2, "dim_head": 8, "mlp_dim": 16}
NAMES = ["a shirt", "a shoe", "a bag"]


def small_vit(position, seed=0, **changes):
    torch.manual_seed(seed)
    vit = randomise(ViT(**SMALL | {"position": position} | changes), std=0.5)
    vit.facts |= {"mean": (0.286,), "std": (0.353,)}
    return vit


@pytest.fixture(scope="module")
def models():
    return small_vit("learned"), small_vit("none", seed=1)


@pytest.fixture(scope="module")
def images():
    return load_dataset("fashion_mnist", "test", subset=10)[0][:3]


@pytest.fixture
def figure(models, images):
    return lambda **state: PatchOrder(*models, images, NAMES, **state)


def shuffle(image, seed):
    patches = patchify(image[None], 4)[:, shuffled(49, seed)]
    return unpatchify(patches, (7, 7), 4)[0]


@torch.no_grad()
def logits(vit, image, seed=0, positions=True):
    """What PyTorch makes of the shuffled picture, with the page's weights."""
    page = dequantised(vit).double()
    if not positions:
        page.pos_embedding.zero_()
    return page(normalize(shuffle(image, seed)[None], (0.286,), (0.353,)).double())[0]


def started(page):
    card = page.locator(".vt-card").last
    card.get_by_role("button", name="Show me").click()
    return card


@reading
def shares(card, model):
    """The answers of the first (0) or the second model, in percent."""
    texts = card.locator(".vt-answers").nth(model).locator(".vt-answer-share").all_inner_texts()
    return [float(text.rstrip("%")) for text in texts]


@reading
def largest_change(card, model):
    text = card.locator(".vt-order-change strong").nth(model).inner_text()
    if match := re.fullmatch(r"([\d.]+) · 10⁻(.)", text):
        return float(match[1]) * 10.0 ** -"⁰¹²³⁴⁵⁶⁷⁸⁹".index(match[2])
    return float(text)


# In Python


def test_both_worlds_shuffle_alike(pages):
    page = pages.take()
    page.add_script_tag(content=join(["shuffle"]).replace("const $shuffle", "globalThis.$shuffle"))
    seeds = [0, 1, 2, 77, 2**31 - 1]
    for n in (2, 49, 196):
        theirs = page.evaluate(
            "([n, seeds]) => seeds.map((seed) => $shuffle.shuffled(n, seed))", [n, seeds]
        )
        assert [shuffled(n, seed) for seed in seeds] == theirs
        assert all(sorted(order) == list(range(n)) for order in theirs)
    assert shuffled(49, 0) == list(range(49))


def test_models_and_pictures_that_do_not_fit_are_refused(models, images):
    with_positions, without = models
    wrong = [
        ((without, without), "the first model is one with position embeddings, .* got 'none'"),
        ((with_positions, with_positions), "the second one with position=.none., got 'learned'"),
        ((with_positions, small_vit("none", patch_size=7)), "the same patch_size, got 4 and 7"),
        ((with_positions, small_vit("none", num_classes=3)), "the same num_classes, got 10 and 3"),
        ((torch.nn.Linear(2, 2), without), "a page runs a vit_tutorial.ViT, not a Linear"),
    ]
    for pair, message in wrong:
        with pytest.raises(ValueError, match=message):
            PatchOrder(*pair, images, NAMES)
    for pictures, names, message in [
        (images[:, :, :20], NAMES, r"shape \(n, 1, 28, 28\), got \(3, 1, 20, 28\)"),
        (images / 255, NAMES, "an image is uint8"),
        (images, NAMES[:2], "expected a name for each image, got 2 for 3"),
        ("boots", NAMES, "got 'boots'"),
    ]:
        with pytest.raises(ValueError, match=message):
            PatchOrder(*models, pictures, names)


@pytest.mark.parametrize("position", ["learned", "learned_2d", "sincos_2d"])
def test_the_words_are_pytorch_s(models, images, position):
    first = small_vit(position)
    made = PatchOrder(first, models[1], images, NAMES, picture=1, seed=2)
    told = re.findall(r"class (\d+) (\d+)% \(in order: class (\d+) (\d+)%\)", made.still()[1])
    for vit, numbers in zip((first, models[1]), told, strict=True):
        for seed, best, percent in ((2, *numbers[:2]), (0, *numbers[2:])):
            expected = logits(vit, images[1], seed).softmax(dim=0)
            assert expected.argmax() + 1 == int(best)
            assert round(100 * expected.max().item()) == int(percent)
    off = PatchOrder(first, models[1], images, NAMES, picture=1, seed=2, positions=False)
    one, again = re.findall(r"class \d+ \d+%", off.still()[1])[:2]
    assert one == again  # without positions the order changes nothing


# In a page


@pytest.mark.parametrize("positions", [True, False])
def test_the_numbers_are_pytorch_s(book, figure, models, images, positions):
    card = started(book.open(figure(picture=1, seed=3, positions=positions)))
    open_numbers(card)
    table = [
        [float(text.replace("−", "-")) if "·" not in text else 0.0 for text in row.split("\t")[1:]]
        for row in card.locator("tbody tr").all_inner_texts()
    ]
    for model, vit in enumerate(models):
        added = positions or model == 1
        now, before = (
            logits(vit, images[1], s, added) if model == 0 else logits(vit, images[1], s)
            for s in (3, 0)
        )
        expected = torch.stack((before, now, now - before), dim=1)
        found = torch.tensor([row[3 * model : 3 * model + 3] for row in table])
        torch.testing.assert_close(found, expected.float(), atol=0.006, rtol=0.006)
        assert shares(card, model) == pytest.approx((100 * now.softmax(0)).tolist(), abs=0.51)
        marks = card.locator(".vt-answers").nth(model).locator(".vt-answer-before")
        left = [
            float(x.rstrip("%"))
            for x in marks.evaluate_all("(all) => all.map((m) => m.style.left)")
        ]
        assert left == pytest.approx((100 * before.softmax(0)).tolist(), abs=0.01)
        change = (now - before).abs().max().item()
        assert largest_change(card, model) == pytest.approx(change, abs=0.006)
        if added and model == 0:
            assert largest_change(card, model) > 0.1
        else:
            assert largest_change(card, model) < 1e-4  # rounding


def test_the_patches_are_drawn_where_the_models_receive_them(book, figure, images):
    page = book.open(figure(picture=2, seed=3))
    card = started(page)
    drawn = card.locator(".vt-grid canvas").evaluate_all(
        """(all) => all.map((canvas) => {
            const { data } = canvas.getContext("2d").getImageData(0, 0, 28, 28);
            return Array.from({ length: 28 * 28 }, (_, i) => data[4 * i]);
        })"""
    )
    assert drawn == [images[2].flatten().tolist(), shuffle(images[2], 3).flatten().tolist()]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_key_says_what_the_marks_are(book, figure, theme):
    """Known by their form, for those who do not tell the colours apart."""
    card = started(book.open(figure(), theme=theme))
    key = card.locator("p", has_text="probability before shuffling")
    expect(key).to_be_visible()
    looks = card.locator(".vt-answer-before").evaluate_all(
        """(all) => all.map((mark) => {
            const { width, borderLeft, boxShadow } = getComputedStyle(mark);
            const over = mark.offsetHeight - mark.parentElement.offsetHeight;
            return [width, borderLeft, boxShadow, over].join();
        })"""
    )
    assert len(looks) == 21  # of both models' ten classes, and the key's own
    assert len(set(looks)) == 1
    assert key.locator(".vt-answer-before").count() == 1
    ground = card.evaluate("() => getComputedStyle(document.body).backgroundColor")
    assert f",{ground} " in looks[0]  # an edge sets a mark off from the bar that it lies on


def test_by_mouse(book, figure, models, images):
    card = started(book.open(figure()))
    said(card).search("^Shuffled: the model with positions predicts .*, as before.$")
    first = said(card).now
    card.get_by_role("button", name="Shuffle again").click()
    expected = logits(models[0], images[0], 2).softmax(dim=0)
    assert shares(card, 0) == pytest.approx((100 * expected).tolist(), abs=0.51)
    card.get_by_role("button", name="Restore order").click()
    assert said(card).startswith("In order: the model with positions predicts ")
    assert [largest_change(card, model) for model in (0, 1)] == [0, 0]
    card.get_by_role("button", name="Shuffle again").click()  # goes on, and does not begin anew
    expected = logits(models[0], images[0], 3).softmax(dim=0)
    assert shares(card, 0) == pytest.approx((100 * expected).tolist(), abs=0.51)
    card.get_by_label("image", exact=True).select_option("a bag")
    expected = logits(models[0], images[2], 3).softmax(dim=0)
    assert shares(card, 0) == pytest.approx((100 * expected).tolist(), abs=0.51)
    card.get_by_label("position embeddings in the first model").uncheck()
    assert said(card).startswith("Shuffled: the model with positions, now switched off, ")
    expect(card.get_by_text("trained with positions, now off")).to_be_visible()

    place = shuffled(49, 3).index(16)  # where patch 17 went
    before, after = (card.get_by_role("grid").nth(number) for number in (0, 1))
    before.get_by_role("gridcell").nth(16).click()
    for grid, marked in ((before, 16), (after, place)):
        assert soon(grid.get_by_role("gridcell", selected=True).count) == 1
        cell = grid.get_by_role("gridcell").nth(marked)
        assert soon(cell.get_attribute, "aria-selected") == "true"
        assert soon(cell.get_attribute, "aria-label").startswith("patch 17, ")
    after.get_by_role("gridcell").nth(0).hover()
    cell = before.get_by_role("gridcell").nth(shuffled(49, 3)[0])
    assert soon(cell.get_attribute, "aria-selected") == "true"

    card.get_by_role("button", name="Reset").click()
    assert said(card) == first
    assert soon(card.get_by_role("gridcell", selected=True).count) == 0


def test_by_keyboard_alone(book, figure, models, images):
    page = book.open(figure())
    card = page.locator(".vt-card")
    card.wait_for()
    press = presses(page, "e.ariaLabel ?? (e.id || e.innerText)")

    assert press("Tab") == "the one with positions"
    assert press("Space").startswith("patch 1, now in ")  # the guess is made; on with the image
    assert press("Tab", "Tab") == "Shuffle again"  # past the second grid
    press("Space")
    expected = logits(models[0], images[0], 2).softmax(dim=0)
    assert shares(card, 0) == pytest.approx((100 * expected).tolist(), abs=0.51)
    assert press("Tab", "Space") == "Restore order"
    assert said(card).startswith("In order: ")
    press("Tab", "ArrowDown")  # the picture
    assert (
        soon(card.get_by_label("image", exact=True).evaluate, "(select) => select.selectedIndex")
        == 1
    )
    press("Tab", "Space")  # the positions
    assert said(card).startswith("In order: the model with positions, now switched off, ")
    assert press("Tab", "Tab", "Space") == "Reset"
    first = shuffled(49, 1)[0] + 1
    assert press(*["Shift+Tab"] * 6).startswith(f"patch {first}, from row")  # the second grid
    press("ArrowRight")
    chosen = soon(
        card.get_by_role("gridcell", selected=True).evaluate_all,
        "(cells) => cells.map((cell) => cell.ariaLabel.match(/^patch \\d+/)[0])",
    )
    assert chosen.becomes(lambda names: len(names) == 2 and len(set(names)) == 1)


def test_a_surprise_takes_the_surest_answer_away(book, figure, models, images):
    card = started(book.open(figure()))
    card.get_by_role("button", name="Surprise me").click()
    lost = {}
    for picture, image in enumerate(images):
        before = logits(models[0], image).softmax(dim=0)
        best = before.argmax()
        for seed in (1, 2, 3):
            after = logits(models[0], image, seed).softmax(dim=0)
            lost[picture, seed] = (before[best] - after[best]).item()
    picture, seed = max(lost, key=lost.get)
    open_numbers(card)
    caption = card.locator(".vt-numbers .vt-label")
    assert soon(caption.inner_text).startswith(f"Logits for {NAMES[picture]}, in order")
    assert soon(caption.inner_text).endswith(f"(seed {seed})")


def test_by_touch(book, figure):
    page = book.open(figure(), width=360, has_touch=True)
    card = started(page)
    card.get_by_role("button", name="Restore order").tap()
    assert said(card).startswith("In order: ")
    card.get_by_role("gridcell").nth(8).tap()
    assert soon(card.get_by_role("gridcell", selected=True).count) == 2
    box = card.get_by_label("position embeddings in the first model").locator("..").bounding_box()
    assert box["height"] >= 24
