"""The playground's answers are PyTorch's, whatever is dropped, drawn or brought, and however."""

import copy
import io
import json
import re
from base64 import b64decode, b64encode
from urllib.parse import urlparse

import matplotlib
import matplotlib.image
import numpy as np
import PIL.Image
import pytest
import torch
from addresses import state_in
from conftest import randomise
from figure_page import (
    assert_nobody_is_left_out,
    assert_nothing_moves,
    cards,
    follow,
    link_from,
    open_numbers,
    reading,
    said,
    soon,
    wait_for_turns,
)
from PIL import Image
from playwright.sync_api import expect

from vit_tutorial import (
    ViT,
    change_temperature,
    load_pretrained,
    record_attention,
    switch_off_heads,
)
from vit_tutorial.data import load_dataset, normalize
from vit_tutorial.widgets import Playground, dequantised
from vit_tutorial.widgets.shuffle import shuffled

NAMES = (
    "shirt",
    "trouser",
    "jumper",
    "dress",
    "coat",
    "sandal",
    "blouse",
    "sneaker",
    "bag",
    "boot",
)
INK = 180
CIVIDIS = matplotlib.colormaps["cividis"]


def small_vit(**changes):
    torch.manual_seed(0)
    arguments = {"image_size": 28, "patch_size": 4, "num_classes": 10, "channels": 1}
    arguments |= {"dim": 16, "depth": 2, "heads": 2, "dim_head": 8, "mlp_dim": 16} | changes
    vit = randomise(ViT(**arguments), std=0.4)
    vit.facts |= {"mean": (0.286,), "std": (0.353,), "class_names": NAMES}
    return vit


@pytest.fixture(scope="module")
def vit():
    return small_vit()


@pytest.fixture(scope="module")
def data():
    images, labels = load_dataset("fashion_mnist", "test", subset=10)
    return images[:4], labels[:4]


@pytest.fixture(scope="module")
def images(data):
    return data[0]


PAGES = {}  # a model -> what a page makes of it


def page_of(vit):
    if vit not in PAGES:
        PAGES[vit] = dequantised(vit).double()
    return copy.deepcopy(PAGES[vit])


@torch.no_grad()
def answers(
    vit, image, *, dropped=(), seed=0, positions=True, temperature=1.0, heads_off=None, maps=None
):
    """What PyTorch answers with the page's weights, before the first layer and after each.

    The patches are moved by hand, and positions taken away by zeroing the parameters.
    """
    page = page_of(vit)
    if not positions:
        for name, parameter in page.named_parameters():
            if name.startswith("pos_"):
                parameter.zero_()
    order = shuffled(49, seed)
    moved = torch.zeros_like(image)
    for place, patch in enumerate(order):
        (row, column), (top, left) = divmod(place, 7), divmod(patch, 7)
        moved[:, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] = image[
            :, 4 * top : 4 * top + 4, 4 * left : 4 * left + 4
        ]
    x = normalize(moved[None], page.facts["mean"], page.facts["std"]).double()
    prefix = page.num_prefix
    kept = [prefix + place for place, patch in enumerate(order) if patch not in dropped]
    tokens = page.embed(x)[:, [*range(prefix), *kept]]
    stages = [page.classify(tokens)]
    with (
        change_temperature(page, temperature),
        record_attention(page) as recorded,
        switch_off_heads(page, heads_off or {}),
    ):
        for attention, feed_forward in page.transformer.layers:
            tokens = attention(tokens) + tokens
            tokens = feed_forward(tokens) + tokens
            stages.append(page.classify(tokens))
    if maps is not None:
        maps.extend(recorded)
    return torch.cat(stages).softmax(dim=1)


def ready(card):
    """Wait until mistakes and discoveries have been looked for, however slow the machine."""
    expect(card).not_to_have_attribute("aria-busy", "true", timeout=120_000)


@reading
def table(card):
    """The folded table: class -> its numbers, as shares."""
    open_numbers(card)
    rows = card.locator("tbody tr").evaluate_all(
        "(rows) => rows.map((row) => [...row.cells].map((cell) => cell.textContent))"
    )
    return {name: [float(number) / 100 for number in numbers] for name, *numbers in rows}


def agrees(card, before, stages, *, outcome=True):
    """The table holds what PyTorch answers; its class is in the outcome line, if that is asked."""
    expected = torch.stack([before[-1], stages[-1], *stages], dim=1)
    assert table(card).meets(
        lambda shown: np.testing.assert_allclose(np.array([*shown.values()]), expected, atol=1e-3)
    )
    first = stages[-1].argmax().item()
    return not outcome or f"{NAMES[first]} {percent(stages[-1, first])}" in said(card)


def percent(share):
    share = float(share)
    return f"{100 * share:.0f}%" if share >= 0.0995 else f"{100 * share:.1f}%"


def link_of(page, card):
    """The state that the figure's link holds, and the link."""
    link = link_from(page, card)
    return state_in(link, Playground), link


@reading
def own_picture(page, card):
    """The reader's own picture, from its thumbnail: uint8 (28, 28)."""
    assert chosen(card) == "your own image"
    shown = card.locator(".vt-thumb-own canvas").evaluate("(canvas) => canvas.toDataURL()")
    content = io.BytesIO(b64decode(shown.partition(",")[2]))
    return np.asarray(PIL.Image.open(content).convert("L"))


def assert_drawn(page, card, expected):
    assert own_picture(page, card).meets(
        lambda drawn: np.testing.assert_array_equal(drawn, expected)
    )


def choose(card, name):
    """Choose a thumbnail by mouse."""
    card.get_by_title(re.compile(f"^{name}\\b")).click()


@reading
def chosen(card):
    return card.locator(".vt-thumbs :checked").get_attribute("aria-label")


def patch_cell(card, patch):
    return card.get_by_role("gridcell", name=re.compile(rf"^patch {patch},"))


def press(page, *keys):
    for key in keys:
        page.keyboard.press(key)
    return soon(
        page.evaluate, "document.activeElement.ariaLabel ?? document.activeElement.textContent"
    )


# In Python


@pytest.mark.parametrize(
    ("own", "message"), [("AAAA", "got 3 bytes"), ("no picture!", "own holds 784 bytes in base64")]
)
def test_an_own_picture_of_another_size_is_refused(vit, images, own, message):
    figure = Playground(vit, images)
    with pytest.raises(ValueError, match=message):
        figure.own = own
    assert figure.own == ""


def test_a_model_of_colours_and_labels_that_do_not_fit_are_refused(vit, images):
    with pytest.raises(ValueError, match="takes a ViT with channels=1, got channels=3"):
        Playground(small_vit(channels=3), images)
    with pytest.raises(ValueError, match="a label for each image, got 3 for 4"):
        Playground(vit, images, [1, 2, 3])
    with pytest.raises(ValueError, match="a label is one of 0 to 9, got 10"):
        Playground(vit, images, [1, 2, 3, 10])
    with pytest.raises(ValueError, match=r"shape \(n, 1, 28, 28\), n at least 1; got \(4, 1, 14"):
        Playground(vit, images[:, :, ::2, ::2])


def test_the_still_says_what_pytorch_answers(vit, images):
    changes = {"dropped": [3, 24, 30], "seed": 5, "positions": False, "temperature": 2.0}
    stages = answers(vit, images[1], **changes, heads_off={1: [0]})
    svg, words = Playground(vit, images, picture=1, heads_off=[(1, 0)], **changes).still()
    best = stages[-1].argmax().item()
    assert words == (
        "Image 2, 46 of 49 patches visible, shuffled. "
        f"The model predicts {NAMES[best]}, {stages[-1, best]:.0%}."
    )
    assert f"{100 * stages[-1, best]:.0f}%</text>" in svg


def test_a_challenge_s_still_keeps_the_answer_to_itself(vit, images):
    figure = Playground(vit, images, dropped=range(49), challenge=True)
    svg, words = figure.still()
    assert words == "Image 1, 0 of 49 patches visible. What is it?"
    assert not any(name in svg for name in NAMES)


def test_the_small_one_s_html_is_small(vit, data):
    one = Playground(vit, *data, small=True)
    assert "The model predicts" in one.still()[1]
    assert len(one.to_html()) - len(json.dumps(one.vit)) < 20_000
    assert [picture["label"] for picture in one.pictures] == data[1].tolist()


# The numbers


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"dropped": list(range(0, 49, 3))},
        {"seed": 3, "dropped": [24, 25]},
        {"seed": 3, "positions": False},
        {"temperature": 2.0, "heads_off": {0: [1], 1: [0]}},
        {"dropped": list(range(49))},
    ],
)
def test_the_page_answers_as_pytorch(book, vit, images, changes):
    traits = dict(changes)
    if "heads_off" in traits:
        traits["heads_off"] = [(k, h) for k, heads in traits["heads_off"].items() for h in heads]
    page = book.open(Playground(vit, images, picture=2, **traits))
    card = page.locator(".vt-card")
    assert agrees(card, answers(vit, images[2]), answers(vit, images[2], **changes))
    assert page.noise == []


def test_the_maps_are_pytorch_s_and_a_head_that_is_off_gives_nothing(book, vit, images):
    changes = {"dropped": [0, 1, 8, 40], "seed": 4}
    page = book.open(Playground(vit, images, query=26, heads_off=[(0, 1)], **changes))
    card = page.locator(".vt-card")
    card.wait_for()
    maps = []
    answers(vit, images[0], **changes, heads_off={0: [1]}, maps=maps)
    kept = [patch for patch in shuffled(49, 4) if patch not in changes["dropped"]]
    for layer in range(2):
        for head in range(2):
            cell = card.get_by_role("gridcell", name=f"layer {layer + 1}, head {head + 1}:")
            name = cell.get_attribute("aria-label")
            pixels = cell.locator("canvas").evaluate(
                "(c) => [...c.getContext('2d').getImageData(0, 0, 7, 7).data]"
            )
            pixels = np.array(pixels).reshape(49, 4)
            own, row = maps[layer][0, head, 1 + kept.index(25)].split([1, 46 - 1])
            if (layer, head) == (0, 1):
                assert name.endswith(": off")
                assert not pixels.any()
                continue
            assert name.endswith(
                f"strongest: patch {kept[row.argmax()] + 1}, {percent(row.max())}, "
                f"class token {percent(own)}"
            )
            there = [place for place, patch in enumerate(shuffled(49, 4)) if patch in kept]
            assert pixels[:, 3].nonzero()[0].tolist() == there  # what is dropped stays empty
            brightness = pixels[there, :3].sum(axis=1)
            assert np.corrcoef(brightness, row)[0, 1] > 0.9


def test_the_bars_after_each_layer_follow(book, vit, images):
    page = book.open(Playground(vit, images, dropped=[24]))
    card = page.locator(".vt-card")
    card.wait_for()
    stages = answers(vit, images[0], dropped=[24])
    lines = card.locator(".vt-layer")
    expect(lines).to_have_count(3)
    for layer, shares in enumerate(stages):
        leader = shares.argmax().item()
        share = shares[stages[-1].argmax()]  # the bar and the number are of one class
        assert soon(lines.nth(layer).inner_text).endswith(f"\n{percent(share)}\n{NAMES[leader]}")
        width = lines.nth(layer).locator(".vt-answer-length").evaluate("(e) => e.style.width")
        assert float(width[:-1]) == pytest.approx(100 * share.item(), abs=0.1)


def test_without_a_class_token_the_last_patch_leaves_nothing_to_answer_from(book, images):
    vit = small_vit(pool="mean", position="learned_2d")
    page = book.open(Playground(vit, images, dropped=range(1, 49), positions=False))
    card = page.locator(".vt-card")
    changes = {"dropped": range(1, 49), "positions": False}
    assert agrees(card, answers(vit, images[0]), answers(vit, images[0], **changes))
    assert soon(card.get_by_role("button", name="the class token attends").count) == 0
    patch_cell(card, 1).click()
    assert said(card).startswith("No patch is left, and this model has no class token")
    expect(card.locator("> .vt-note")).to_be_hidden()
    patch_cell(card, 9).click()
    assert agrees(
        card,
        answers(vit, images[0]),
        answers(vit, images[0], dropped=set(range(49)) - {8}, positions=False),
    )
    assert page.noise == []


def test_one_changed_weight_shows_in_the_page(book, vit, images):
    def seen(model):
        page = book.open(Playground(model, images))
        return table(page.locator(".vt-card")).now

    other = dequantised(vit)
    with torch.no_grad():
        other.pos_embedding[0, 25, 3] += 4
    assert seen(vit) == seen(dequantised(vit)) != seen(other)


# By mouse, keyboard, touch


def test_by_mouse(book, vit, images):
    page = book.open(Playground(vit, images))
    card = page.locator(".vt-card")
    before = answers(vit, images[0])
    first = NAMES[before[-1].argmax()]
    best = f"{first} {percent(before[-1].max())}"
    assert said(card) == f"The model predicts {best} from all 49 patches."
    asking = card.get_by_text(re.compile("^what .* attends to"))

    patch_cell(card, 9).click()
    patch_cell(card, 10).click()
    assert soon(asking.inner_text) == "what the class token attends to (no patch 10)"
    stages = answers(vit, images[0], dropped=[8, 9])
    assert agrees(card, before, stages)
    assert said(card).endswith("2 of 49 patches removed.")
    was = percent(before[-1].max())
    was = was if stages[-1].argmax() == before[-1].argmax() else f"{first} {was}"
    assert f"(was {was})" in said(card)
    assert soon(patch_cell(card, 9).get_attribute, "data-dropped") == "true"
    patch_cell(card, 20).hover()
    assert soon(asking.inner_text) == "what patch 20 attends to"
    card.get_by_role("button", name="Reset").hover()
    assert soon(asking.inner_text) == "what the class token attends to"
    patch_cell(card, 9).click()
    assert agrees(card, before, answers(vit, images[0], dropped=[9]))

    card.get_by_label("Click to").select_option("inspect")
    patch_cell(card, 33).click()
    card.get_by_role("button", name="Reset").hover()
    assert soon(asking.inner_text) == "what patch 33 attends to"
    assert said(card).endswith("1 of 49 patches removed.")
    card.get_by_role("button", name="the class token attends").click()
    assert soon(asking.inner_text) == "what the class token attends to"

    card.get_by_role("gridcell", name="layer 2, head 1:").click()
    assert agrees(card, before, answers(vit, images[0], dropped=[9], heads_off={1: [0]}))
    assert said(card).endswith("1 of 49 patches removed, 1 of 4 heads off.")
    card.get_by_role("gridcell", name="layer 2, head 1:").click()
    card.get_by_role("button", name="Shuffle patches").click()
    card.get_by_role("button", name="Shuffle patches").click()
    assert agrees(card, before, answers(vit, images[0], dropped=[9], seed=2))
    card.get_by_role("button", name="Unshuffle").click()
    card.get_by_label("positions").uncheck()
    assert agrees(card, before, answers(vit, images[0], dropped=[9], positions=False))
    choose(card, "image 3")
    changes = {"dropped": [9], "positions": False}
    assert agrees(card, answers(vit, images[2]), answers(vit, images[2], **changes))
    card.get_by_role("button", name="Reset").click()
    assert agrees(card, before, before)


def test_half_of_it_is_dropped_at_random_or_by_attention(book, vit, images):
    page = book.open(Playground(vit, images))
    card = page.locator(".vt-card")
    before = answers(vit, images[0])
    dropped = soon(lambda: link_of(page, card)[0]["dropped"])
    halves = []
    for _ in range(2):
        card.get_by_role("button", name="remove random half").click()
        assert len(urlparse(link_of(page, card)[1]).fragment) < 200
        assert dropped != (halves[-1] if halves else [])
        halves.append(dropped.now)
        assert agrees(card, before, answers(vit, images[0], dropped=halves[-1]), outcome=False)
    assert [len(half) for half in halves] == [24, 24]
    assert halves[0] != halves[1]

    maps = []
    answers(vit, images[0], maps=maps)
    most = maps[-1].mean(dim=1)[0, 0, 1:].argsort(descending=True)[:24]
    card.get_by_role("button", name="remove most-attended half").click()
    assert dropped == sorted(most.tolist())
    card.get_by_role("button", name="Restore all").click()
    assert said(card).endswith("from all 49 patches.")


def test_by_keyboard_alone(book, vit, images):
    page = book.open(Playground(vit, images))
    card = page.locator(".vt-card")
    before = answers(vit, images[0])
    card.wait_for()
    asking = card.get_by_text(re.compile("^what .* attends to"))
    ready(card)
    card.get_by_role("button", name="Upload image").focus()
    assert press(page, "Tab", "Tab", "Tab") == "the class token attends"  # past undo and redo
    assert press(page, "Tab") == "patch 1, row 1, column 1"
    assert press(page, "ArrowRight", "ArrowDown") == "patch 9, row 2, column 2"
    assert soon(asking.inner_text) == "what patch 9 attends to"
    assert press(page, "Space") == "patch 9, row 2, column 2, removed"
    assert soon(asking.inner_text) == "what the class token attends to (no patch 9)"
    press(page, "ArrowRight", "Enter", "ArrowLeft", "Space")
    assert agrees(card, before, answers(vit, images[0], dropped=[9]))
    card.locator("summary").click()  # close it again
    expect(card.locator("tbody")).to_be_hidden()
    patch_cell(card, 9).focus()
    assert press(page, "Tab").startswith("layer 1, head 1")
    press(page, "ArrowRight", "ArrowDown", "Space")
    assert said(card).endswith("1 of 49 patches removed, 1 of 4 heads off.")
    press(page, "Enter", "Control+z")  # the head is on again, and off
    assert said(card).endswith("1 of 49 patches removed, 1 of 4 heads off.")
    press(page, "Control+Shift+z")
    card.get_by_role("radio", name="image 1").focus()
    assert press(page, "ArrowRight").startswith("image 2")
    second = answers(vit, images[1])
    card.get_by_role("button", name="Restore all").press("Enter")
    assert agrees(card, second, second)
    card.get_by_role("button", name="Shuffle patches").press("Enter")
    press(page, *["Tab"] * 2, "Space")  # past "Unshuffle" to the positions
    press(page, "Tab", "End")  # the temperature
    changes = {"seed": 1, "positions": False, "temperature": 4.0}
    assert agrees(card, second, answers(vit, images[1], **changes))
    assert said(card).endswith("shuffled (1), no positions, temperature 4.")


def test_after_the_last_order_comes_the_first(book, vit, images):
    page = book.open(Playground(vit, images, seed=2**31 - 1))
    card = page.locator(".vt-card")
    card.get_by_role("button", name="Shuffle patches").click()
    assert said(card).endswith("shuffled (1).")
    expect(card.locator("> .vt-note")).to_be_hidden()


def test_the_table_counts_layers_as_people_do(book, vit, images):
    card = book.open(Playground(vit, images)).locator(".vt-card")
    open_numbers(card)
    heads = soon(card.locator("thead th").all_inner_texts)
    layers = ["after 0 layers", "after 1 layer", "after 2 layers"]
    assert heads == ["class", "at first", "now", *layers]


def test_sliding_reads_the_picture_once_a_frame(book, vit, images):
    page = book.open(
        Playground(vit, images),
        before="""globalThis.frames_ = 0;
        const request = requestAnimationFrame;
        globalThis.requestAnimationFrame = (work) => (frames_++, request(work));""",
    )
    card = page.locator(".vt-card")
    slider = card.get_by_label("temperature")
    first = said(card).now
    frames, outcome = slider.evaluate(
        """(slider) => {
            frames_ = 0;
            for (const value of [-2, -1, 1, 2]) {
                slider.value = value;
                slider.dispatchEvent(new Event("input"));
            }
            return [frames_, slider.closest(".vt-card").querySelector(".vt-outcome").textContent];
        }"""
    )
    assert (frames, outcome) == (1, first)  # one is on its way, and nothing was computed yet
    expect(card.locator(".vt-outcome")).to_contain_text("temperature 4.")


def test_by_touch(book, vit, images):
    page = book.open(Playground(vit, images), width=360, has_touch=True)
    card = page.locator(".vt-card")
    patch_cell(card, 9).tap()
    before = answers(vit, images[0])
    assert agrees(card, before, answers(vit, images[0], dropped=[8]))
    card.get_by_label("Click to").select_option("inspect")
    patch_cell(card, 20).tap()
    assert said(card).endswith("1 of 49 patches removed.")
    expect(card.get_by_text(re.compile("^what .* attends to"))).to_have_text(
        "what patch 20 attends to"
    )


def test_a_surprise_is_a_picture_with_the_fewest_patches_it_takes(book, vit, images):
    page = book.open(Playground(vit, images))
    card = page.locator(".vt-card")
    card.get_by_role("button", name="Surprise me").click()
    shown = soon(lambda: link_of(page, card)[0])  # once the Worker has found one
    assert shown.becomes(lambda state: state.get("picture"))  # not 0, which was in view
    state = shown.last
    image = images[state["picture"]]
    answer = answers(vit, image)[-1].argmax()
    kept = []
    while len(kept) < 6:
        reached = {
            patch: answers(vit, image, dropped=set(range(49)) - {*kept, patch})[-1, answer]
            for patch in range(49)
            if patch not in kept
        }
        kept.append(max(reached, key=reached.get))
        if max(reached.values()) > 0.5:
            break
    assert state["dropped"] == sorted(set(range(49)) - set(kept))


# Drawing


def test_a_drawing_by_mouse_is_read_as_it_grows(book, vit, images):
    page = book.open(Playground(vit, images, dropped=[1], seed=2))
    card = page.locator(".vt-card")
    card.get_by_role("button", name="Draw", exact=True).click()
    empty = answers(vit, torch.zeros(1, 28, 28, dtype=torch.uint8))
    assert said(card).startswith("The image is empty. The model predicts ")
    assert agrees(card, empty, empty)  # nothing is dropped or shuffled under the pen
    pad = card.get_by_role("application")
    box = pad.bounding_box()
    side = box["width"] / 28

    def at(x, y):
        page.mouse.move(box["x"] + (x + 0.5) * side, box["y"] + (y + 0.5) * side)

    at(5, 10)
    page.mouse.down()
    at(20, 10)
    page.mouse.up()
    at(20, 20)  # the button is up: no line
    expected = np.zeros((28, 28), np.uint8)
    expected[10:12, 5:22] = INK
    assert_drawn(page, card, expected)
    stages = answers(vit, torch.tensor(expected)[None])
    assert agrees(card, stages, stages, outcome=False)

    card.get_by_label("erase").check()
    card.get_by_label("pen", exact=True).select_option("thin")
    box = pad.bounding_box()
    at(8, 10)
    page.mouse.down()
    page.mouse.up()
    expected[10, 8] = 0
    assert_drawn(page, card, expected)
    card.get_by_role("button", name="Clear").click()
    expect(card.locator(".vt-outcome")).to_contain_text("The image is empty")
    card.get_by_role("button", name="Stop drawing").click()
    expect(pad).to_be_hidden()
    expect(patch_cell(card, 1)).to_be_visible()


def test_a_drawing_by_keyboard(book, vit, images):
    page = book.open(Playground(vit, images))
    card = page.locator(".vt-card")
    card.get_by_role("button", name="Draw", exact=True).press("Enter")
    assert press(page).startswith("Drawing, 28 by 28 pixels. Arrow keys move the pen")
    press(page, "Shift+ArrowLeft", "ArrowUp", "Space", "ArrowRight", "ArrowRight", "Space")
    where = card.get_by_text("The pen is")
    assert soon(where.inner_text) == "The pen is up, in row 14, column 13."
    press(page, "ArrowDown", "ArrowDown")
    expected = np.zeros((28, 28), np.uint8)
    expected[13:15, 10:14] = INK
    assert_drawn(page, card, expected)
    stages = answers(vit, torch.tensor(expected)[None])
    assert agrees(card, stages, stages, outcome=False)


def test_a_drawing_by_touch(book, vit, images):
    page = book.open(Playground(vit, images), width=360, has_touch=True)
    card = page.locator(".vt-card")
    card.get_by_role("button", name="Draw", exact=True).tap()
    box = card.get_by_role("application").bounding_box()  # it has come into sight
    side = box["width"] / 28
    touch = page.context.new_cdp_session(page)
    for kind, (x, y) in [("touchStart", (4, 6)), ("touchMove", (4, 20)), ("touchEnd", (0, 0))]:
        points = [{"x": box["x"] + (x + 0.5) * side, "y": box["y"] + (y + 0.5) * side}]
        points = [] if kind == "touchEnd" else points
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    expected = np.zeros((28, 28), np.uint8)
    expected[6:22, 4:6] = INK
    assert_drawn(page, card, expected)


# A picture that is brought


def png(pixels):
    file = io.BytesIO()
    matplotlib.image.imsave(file, pixels, format="png")
    return file.getvalue()


@pytest.fixture
def bringing(book, vit, images):
    page = book.open(Playground(vit, images))
    card = page.locator(".vt-card")
    card.get_by_role("button", name="Upload image").click()
    return page, card, card.locator("input[type=file]")


def test_a_picture_is_shrunk_turned_grey_and_turned_round(bringing, vit):
    page, card, file = bringing
    shirt = np.full((60, 30, 3), 255, np.uint8)
    shirt[15:45, 5:25] = (200, 100, 50)  # dark on white, twice as high as wide
    file.set_input_files({"name": "shirt.png", "mimeType": "image/png", "buffer": png(shirt)})
    assert chosen(card) == "your own image"
    brought = own_picture(page, card).now
    grey = round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)
    assert brought[14, 14] == pytest.approx(255 - grey, abs=1)  # light for dark, as the model knows
    assert not brought[:6].any()
    assert not brought[:, :8].any()  # the picture's edge goes on around it
    assert not brought[:, 20:].any()
    inside = np.argwhere(brought > 60)
    assert (*inside.min(axis=0), *inside.max(axis=0)) == (7, 9, 20, 18)
    stages = answers(vit, torch.tensor(brought.copy())[None])
    assert agrees(card, stages, stages, outcome=False)

    invert = card.get_by_label("Invert colours")
    expect(invert).to_be_checked()
    invert.uncheck()
    assert own_picture(page, card)[14, 14] == pytest.approx(grey, abs=1)
    assert own_picture(page, card)[0, 0] == 255
    assert all(address.startswith(("file:", "data:", "blob:")) for address in page.asked)
    assert "sent nowhere" in soon(card.inner_text)
    assert "there is no “none of these”" in soon(card.inner_text)
    assert page.noise == []


def test_of_an_animation_the_first_image_counts_and_behind_transparency_it_is_white(bringing):
    page, card, file = bringing
    frames = [Image.fromarray(np.full((9, 9), grey, np.uint8)) for grey in (90, 200)]
    moving = io.BytesIO()
    frames[0].save(moving, "gif", save_all=True, append_images=frames[1:], duration=20, loop=0)
    file.set_input_files({"name": "a.gif", "mimeType": "image/gif", "buffer": moving.getvalue()})
    assert own_picture(page, card).becomes(lambda pixels: set(pixels.flatten()) == {90})
    cut_out = np.zeros((28, 28, 4), np.uint8)
    cut_out[10:18, 10:18] = (100, 100, 100, 255)
    file.set_input_files({"name": "b.png", "mimeType": "image/png", "buffer": png(cut_out)})
    expect(card.get_by_label("Invert colours")).to_be_checked()  # so white becomes black
    brought = own_picture(page, card)
    assert brought.becomes(lambda pixels: set(pixels[11:17, 11:17].flatten()) == {155})
    assert not brought.now[:9].any()


@pytest.mark.parametrize(
    ("name", "kind", "content", "message"),
    [
        ("a.png", "image/png", b"a text", "“a.png” cannot be opened: it is damaged"),
        ("a.txt", "text/plain", b"a text", "“a.txt” is not an image."),
        (
            "a.png",
            "image/png",
            png(np.zeros((2, 8001, 3), np.uint8)),
            "“a.png” is 8001 × 2 pixels. The limit is 8000 a side",
        ),
    ],
)
def test_what_cannot_be_brought_is_said_and_nothing_changes(bringing, name, kind, content, message):
    _, card, file = bringing
    before = said(card).now
    file.set_input_files({"name": name, "mimeType": kind, "buffer": content})
    expect(card.locator(".vt-bring .vt-note")).to_contain_text(message)
    assert said(card) == before
    assert chosen(card).startswith("image 1")
    shirt = {"name": "b.png", "mimeType": "image/png", "buffer": png(np.zeros((9, 9, 3), np.uint8))}
    file.set_input_files(shirt)
    expect(card.locator(".vt-bring .vt-note")).to_be_hidden()
    assert said(card).startswith("The image is empty")


def give(card, way, *, bytes_more=0):
    """Drop a small grey picture on the panel, or paste it; it may be said to be larger."""
    buffer = b64encode(png(np.full((9, 9, 3), 90, np.uint8))).decode()
    card.locator(".vt-bring").evaluate(
        """(panel, [way, buffer, more]) => {
            const bytes = Uint8Array.from(atob(buffer), (letter) => letter.charCodeAt(0));
            const size = bytes.length + more;
            Object.defineProperty(File.prototype, "size", { get: () => size, configurable: true });
            const given = new DataTransfer();
            given.items.add(new File([bytes], "a.png", { type: "image/png" }));
            panel.dispatchEvent(
                way === "drop"
                    ? new DragEvent("drop", { dataTransfer: given, cancelable: true })
                    : new ClipboardEvent("paste", { clipboardData: given }),
            );
        }""",
        [way, buffer, bytes_more],
    )


def test_a_file_of_many_megabytes_is_not_even_opened(bringing):
    _, card, _ = bringing
    give(card, "drop", bytes_more=20 * 2**20)
    expect(card.locator(".vt-bring .vt-note")).to_contain_text("“a.png” is larger than 20 megaby")
    assert chosen(card).startswith("image 1")
    give(card, "drop")
    assert chosen(card) == "your own image"


@pytest.mark.parametrize("way", ["drop", "paste"])
def test_a_picture_is_dropped_or_pasted(bringing, way):
    page, card, _ = bringing
    give(card, way)
    assert chosen(card) == "your own image"
    assert own_picture(page, card).becomes(lambda pixels: set(pixels.flatten()) == {90})


# Hold the first picture's loading until release() is called, which waits until it has loaded.
HOLD = """
const { get, set } = Object.getOwnPropertyDescriptor(HTMLImageElement.prototype, "src");
Object.defineProperty(HTMLImageElement.prototype, "src", {
    get,
    set(address) {
        if (globalThis.release || !address.startsWith("blob:")) return set.call(this, address);
        globalThis.release = () => new Promise((done) => {
            this.addEventListener("load", () => setTimeout(done));
            this.addEventListener("error", () => setTimeout(done));
            set.call(this, address);
        });
    },
});"""


@pytest.mark.parametrize("slow", [png(np.full((9, 9, 3), 200, np.uint8)), b"no picture"])
def test_of_two_files_the_later_counts_however_slow_the_first(book, vit, images, slow):
    page = book.open(Playground(vit, images), before=HOLD)
    card = page.locator(".vt-card")
    card.get_by_role("button", name="Upload image").click()
    file = card.locator("input[type=file]")
    for name, content in (("slow", slow), ("quick", png(np.full((9, 9, 3), 90, np.uint8)))):
        file.set_input_files({"name": name, "mimeType": "image/png", "buffer": content})
    assert chosen(card) == "your own image"
    assert own_picture(page, card).becomes(lambda pixels: set(pixels.flatten()) == {90})
    page.evaluate("release()")
    wait_for_turns(page)
    assert set(own_picture(page, card).now.flatten()) == {90}
    expect(card.locator(".vt-bring .vt-note")).to_be_hidden()


# Challenges


COPIES = """void (navigator.clipboard.writeText = async (text) => {
    globalThis.copied = text;
})"""


def test_a_challenge_hides_the_answer_until_there_is_a_guess(book, vit, data):
    page = book.open(Playground(vit, *data))
    card = page.locator(".vt-card")
    prediction = card.locator(".vt-answers")
    ready(card)
    card.get_by_role("button", name="Challenge me").click()
    expect(prediction).to_be_hidden()
    expect(card.locator(".vt-thumbs")).to_be_hidden()
    expect(card.locator(".vt-question")).to_have_text("How few patches do you need?")
    expect(card.get_by_text(re.compile("sneaker|image \\d")).filter(visible=True)).to_have_count(0)
    expect(card.locator(".vt-maps")).to_be_hidden()
    assert said(card) == "0 of 49 patches visible."
    assert said(card).becomes(lambda text: not any(name in text for name in NAMES))
    assert press(page, "Space") == "patch 25, row 4, column 4"  # where the keyboard begins
    patch_cell(card, 25).click()  # seen is seen
    patch_cell(card, 26).click()
    assert said(card) == "2 of 49 patches visible."
    state, link = link_of(page, card)
    index = state["picture"]
    assert index != 0
    truth = NAMES[data[1][index]]
    card.get_by_label("It is", exact=True).select_option(truth)
    card.get_by_role("button", name="Guess").click()

    stages = answers(vit, data[0][index], dropped=set(range(49)) - {24, 25})
    model = f"{NAMES[stages[-1].argmax()]} ({percent(stages[-1].max())})"
    told = soon(card.locator(".vt-guess").inner_text)
    assert f"Right: the label is {truth}. You guessed {truth} after 2 patches." in told
    assert f"From the same 2 patches, the model predicts {model}." in told
    models = int(stages[-1].argmax() == data[1][index])
    assert f"Score: you 1, model {models}, of 1. Your correct guesses used 2 patches." in told
    expect(prediction).to_be_visible()
    assert press(page) == "Next image"
    whole = answers(vit, data[0][index])
    assert agrees(card, whole, whole)  # nothing is hidden any more
    replay = card.get_by_role("button", name="Replay")
    for visible in ({24, 25} - {24, 25}, {24}, {24, 25}):  # in the order of the reader's clicks
        replay.click()
        expected = answers(vit, data[0][index], dropped=set(range(49)) - visible)
        assert agrees(card, whole, expected)
    page.evaluate(COPIES)
    card.get_by_role("button", name="Copy result").click()
    result = soon(page.evaluate, "copied")
    assert result.startswith("Me against a Vision Transformer. Score: you 1, model")
    assert "2: me 🟩 model" in result
    card.get_by_role("button", name="Next image").click()
    assert press(page).startswith("patch 25")
    expect(prediction).to_be_hidden()
    card.get_by_role("button", name="Give up").click()
    assert told.search(
        r"^The label is .*\. You gave up after 0 patches\. From the same 0 patches, "
    )
    assert "of 2. Your correct guesses used 2 patches." in told
    card.get_by_role("button", name="Next image").click()
    drawn = link_of(page, card)[0].get("picture", 0)  # a link leaves out what is as at first
    truth = NAMES[data[1][drawn]]
    wrong = next(name for name in NAMES if name != truth)
    card.get_by_label("It is", exact=True).select_option(wrong)
    card.get_by_role("button", name="Guess").click()
    assert f"Not quite: the label is {truth}. You guessed {wrong} after 0 patches." in told

    follow(page, link)  # what a teacher sends
    assert said(card) == "2 of 49 patches visible."
    expect(prediction).to_be_hidden()


def test_the_truth_is_told_on_demand_and_only_where_it_is_known(book, vit, data):
    page = book.open(Playground(vit, *data), Playground(vit, data[0]))
    known, unknown = cards(page, 2)
    known.get_by_role("button", name="Show true label").click()
    expect(known.get_by_text(f"Label: {NAMES[data[1][0]]}.")).to_be_visible()
    choose(known, "image 2")
    expect(known.get_by_text("Label: ")).to_be_hidden()
    expect(unknown.get_by_role("button", name="Show true label")).to_be_hidden()
    unknown.get_by_role("button", name="Challenge me").click()
    unknown.get_by_role("button", name="Give up").click()
    assert "There is no label for this image." in soon(unknown.inner_text)


# The small one, and every reader


@pytest.mark.parametrize("width", [390, 360, 1280])
def test_no_button_of_the_small_one_moves_the_others(book, fashion, width):
    images, labels = load_dataset("fashion_mnist", "test", subset=10)
    images, labels = images[[6, 8]], labels[[6, 8]]  # a sneaker and a bag
    page = book.open(Playground(fashion, images, labels, small=True), width=width)
    card = page.locator(".vt-card")
    ready(card)
    below = card.locator(".vt-outcome, .vt-outcome ~ .vt-controls button, details")
    where = "(all) => all.map((e) => Math.round(e.getBoundingClientRect().y + scrollY))"
    first = below.evaluate_all(where)
    offers = card.locator(".vt-discoveries button")
    counts = set()
    for picture, name in ((1, "Bag"), (0, "Sneaker")):
        card.locator(".vt-thumb input").nth(picture).evaluate("(input) => input.click()")
        assert f" {name} " in said(card)
        ready(card)
        assert soon(below.evaluate_all, where) == first
        counts.add(offers.count())
        for index in range(offers.count()):
            before = said(card).now
            offers.nth(index).press("Enter")
            assert said(card) != before
            assert soon(below.evaluate_all, where) == first
    assert len(counts) == 2  # one of the images offers more


def test_the_heading_names_no_image_whatever_a_surprise_shows(book, vit, data):
    page = book.open(Playground(vit, *data, small=True))
    card = page.locator(".vt-card")
    ready(card)
    for _ in range(2):
        heading = soon(card.locator(".vt-question").inner_text)
        assert heading == "How few patches does the model need?"
        assert not any(name in heading.now.lower() for name in (*NAMES, "picture", "image"))
        before = said(card).now
        card.get_by_role("button", name="Surprise me").click()
        assert said(card) != before
        ready(card)


def test_the_small_one_has_the_image_the_prediction_and_discoveries(book, vit, images):
    page = book.open(Playground(vit, images, small=True))
    card = page.locator(".vt-card")
    ready(card)
    visible = card.locator(".vt-controls:not(.vt-discoveries) > :is(button, select)")
    last = ["Restore all", "Shuffle patches", "Surprise me", "Reset", "Copy link", "Save as PNG"]
    assert soon(visible.all_inner_texts) == ["Undo", "Redo", *last]
    assert soon(card.locator(".vt-discoveries button").count) > 0
    patch_cell(card, 9).click()
    card.get_by_role("button", name="Shuffle patches").click()
    before = answers(vit, images[0])
    assert agrees(card, before, answers(vit, images[0], dropped=[8], seed=1))
    page.evaluate("void (document.activeElement.blur())")
    card.get_by_role("button", name="Reset").click()
    assert agrees(card, before, before)
    patch_cell(card, 1).focus()
    press(page, "ArrowRight", "Space")
    assert agrees(card, before, answers(vit, images[0], dropped=[1]))


@pytest.mark.parametrize(("theme", "width"), [("light", 1000), ("dark", 360)])
def test_nobody_is_left_out(book, vit, data, theme, width):
    page = book.open(
        Playground(vit, *data, dropped=[3], heads_off=[(0, 0)]),
        Playground(vit, *data, small=True),
        Playground(vit, *data, challenge=True, dropped=range(49)),
        theme=theme,
        width=width,
        reduced_motion="reduce",
    )
    cards = page.locator(".vt-card")
    for index in range(3):
        page.locator(".vt-live").nth(index).scroll_into_view_if_needed()
        cards.nth(index).wait_for()
    if theme == "light":
        cards.first.get_by_role("button", name="Draw", exact=True).click()
    else:
        cards.first.get_by_role("button", name="Upload image").click()
        cards.last.get_by_role("button", name="Give up").click()
    open_numbers(cards.first)
    assert_nobody_is_left_out(page, "input[type=file]")
    ids = page.locator("[id]").evaluate_all("(all) => all.map((each) => each.id)")
    assert len(ids) == len(set(ids))
    assert_nothing_moves(page)


def test_many_maps_scroll_in_their_own_box(book, images):
    vit = small_vit(depth=12, dim_head=4)
    page = book.open(Playground(vit, images), width=360)
    box = page.locator(".vt-maps")
    box.wait_for()
    assert soon(box.evaluate, "(box) => box.scrollWidth > box.clientWidth")
    assert soon(page.evaluate, "document.documentElement.scrollWidth") <= 360


def test_a_browser_that_does_not_draw_says_so_and_the_picture_stays(book, vit, images):
    page = book.open(
        Playground(vit, images), before="HTMLCanvasElement.prototype.getContext = () => null"
    )
    note = page.locator(".vt-live > .vt-note")
    note.wait_for()
    assert "this browser does not draw on a canvas." in soon(note.inner_text)
    expect(page.locator(".vt-live > img")).to_be_visible()


# Links


def test_a_link_holds_the_drawing_and_all_that_was_done_to_it(book, vit, images):
    page = book.open(Playground(vit, images))
    card = page.locator(".vt-card")
    card.get_by_role("button", name="Draw", exact=True).click()
    press(page, "Space", *["Shift+ArrowRight"] * 2, "Shift+ArrowDown", "Space")
    card.get_by_role("button", name="Stop drawing").click()
    for patch in (26, 33):
        patch_cell(card, patch).click()
    card.get_by_role("button", name="Shuffle patches").click()
    card.get_by_label("positions").uncheck()
    card.get_by_role("gridcell", name="layer 2, head 2:").click()
    card.get_by_label("temperature").fill("1")
    assert said(card).endswith("temperature 2.")
    before, numbers = said(card).now, table(card).now
    _, link = link_of(page, card)
    drawn = own_picture(page, card).now
    follow(page, link)
    assert said(card) == before
    assert table(card) == numbers
    assert_drawn(page, card, drawn)
    changes = {"dropped": [25, 32], "seed": 1, "positions": False}
    changes |= {"temperature": 2.0, "heads_off": {1: [1]}}
    drawn = torch.tensor(drawn.copy())[None]
    now = answers(vit, drawn, **changes)
    assert agrees(card, answers(vit, drawn), now, outcome=False)
    assert len(urlparse(link).fragment) < 300
    assert page.noise == []


def test_a_picture_too_large_for_an_address_stays_behind(book):
    vit = small_vit(image_size=72, patch_size=24)
    images = torch.full((1, 1, 72, 72), 7, dtype=torch.uint8)
    page = book.open(Playground(vit, images))
    card = page.locator(".vt-card")
    card.get_by_role("button", name="Draw", exact=True).click()
    press(page, "Space", "ArrowLeft")
    state, _ = link_of(page, card)
    assert state == {}
    card.get_by_role("button", name="Upload image").click()
    assert "the page’s address leaves it out" in soon(card.inner_text)


def test_the_figure_is_saved_as_it_stands(book, vit):
    greys = torch.arange(49).reshape(7, 7).mul(5).byte()  # a grey for each patch
    image = greys.repeat_interleave(4, 0).repeat_interleave(4, 1)[None, None]
    page = book.open(Playground(vit, image, dropped=[10, 40]), theme="dark")
    card = page.locator(".vt-card")
    first = NAMES[answers(vit, image[0], dropped=[10, 40])[-1].argmax()]
    with page.expect_download() as saving:
        card.get_by_role("button", name="Save as PNG").click()
    assert saving.value.suggested_filename == f"playground-{first}.png"
    pixels = np.asarray(PIL.Image.open(saving.value.path()).convert("RGB")).astype(int)
    area = (2 * card.locator(".vt-shown .vt-cell").first.bounding_box()["width"]) ** 2
    for patch in range(1, 49):
        shown = (pixels == 5 * patch).all(axis=2).sum()
        assert shown < 0.1 * area if patch in (10, 40) else shown > 0.8 * area
    ground = card.evaluate("(card) => getComputedStyle(document.body).backgroundColor")
    assert [*pixels[0, 0]] == [int(number) for number in re.findall(r"\d+", ground)]
    blue = (abs(pixels - [0x2F, 0x86, 0xC8]).max(axis=2) < 3).sum(axis=1)  # the first class's bars
    bar = card.locator(".vt-answer.vt-answer-first .vt-answer-length").bounding_box()["width"]
    assert blue.max() >= 2 * bar - 6  # a mark of what it was at first may lie on it
    assert page.noise == []


# In a notebook


def test_in_a_notebook_there_is_no_link_and_what_is_brought_goes_to_the_kernel(
    notebook, vit, images
):
    page = notebook(Playground(vit, images))
    card = page.locator(".vt-card")
    assert "goes to your notebook’s kernel" in soon(card.locator(".vt-bring").text_content)
    for name in ("Copy link", "Save as PNG"):
        expect(card.get_by_role("button", name=name)).to_have_count(0)
    address = page.url
    page.evaluate("void (globalThis.setTimeout = (work) => work())")  # no pause is waited for
    patch_cell(card, 1).click()
    assert soon(page.evaluate, "sent.length") == 1
    assert page.url == address


# The stage


@pytest.fixture(scope="module")
def fashion():
    """The bundled model but for a hair: as it is, a page would load it by its name."""
    vit = load_pretrained("fashion")
    with torch.no_grad():
        vit.cls_token[0, 0, 0] += 1e-3
    return vit


@pytest.fixture(scope="module")
def shoes():
    """A sneaker that the bundled model names, and an ankle boot that it takes for a sandal."""
    images, labels = load_dataset("fashion_mnist", "test", subset=500)
    return images[[12, 23]], labels[[12, 23]]


def test_all_of_it_is_in_view_and_what_is_watched_stays_so_on_a_phone(book, shoes):
    as_large = small_vit(depth=6, heads=4)  # as the bundled one, and quicker
    page = book.open(Playground(as_large, *shoes), width=1000)
    card = page.locator(".vt-card")
    width = 960 - card.bounding_box()["width"] + 1000  # what there is beside the contents at 1280
    page.set_viewport_size({"width": int(width), "height": 720})
    card.locator(".vt-worth button").click()
    expect(card.get_by_text("changes most")).to_be_visible()
    ready(card)
    assert soon(card.bounding_box)["width"] == 960
    assert soon(card.bounding_box)["height"] <= 672  # 720 without the theme's bar
    page.set_viewport_size({"width": 390, "height": 844})
    card.get_by_role("button", name="Reset").scroll_into_view_if_needed()
    page.mouse.wheel(0, 400)
    for part in (patch_cell(card, 1), card.get_by_text("sneaker", exact=True).first):
        assert soon(part.bounding_box)["y"] >= 0
        expect(part).to_be_in_viewport()
    expect(card.locator(".vt-thumbs")).not_to_be_in_viewport()


def test_patches_are_removed_by_dragging_and_every_step_is_undone(book, vit, images):
    page = book.open(Playground(vit, images), has_touch=True)
    card = page.locator(".vt-card")
    ready(card)
    before = answers(vit, images[0])
    boxes = {patch: patch_cell(card, patch).bounding_box() for patch in (1, 4, 8, 11, 29, 32)}

    def middle(patch):
        box = boxes[patch]
        return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    page.mouse.move(*middle(1))
    page.mouse.down()
    page.mouse.move(*middle(4))  # in one leap: none on the way is left out
    page.mouse.up()
    expected = answers(vit, images[0], dropped=[0, 1, 2, 3])
    assert agrees(card, before, expected)
    touch = page.context.new_cdp_session(page)
    for kind, at in [("touchStart", 29), ("touchMove", 32), ("touchEnd", None)]:
        points = [dict(zip("xy", middle(at), strict=True))] if at else []
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    both = answers(vit, images[0], dropped=[0, 1, 2, 3, 28, 29, 30, 31])
    assert agrees(card, before, both)
    page.mouse.move(*middle(1))  # begun on a removed patch, a drag restores
    page.mouse.down()
    page.mouse.move(*middle(4), steps=5)
    page.mouse.up()
    assert agrees(card, before, answers(vit, images[0], dropped=[28, 29, 30, 31]))
    undo = card.get_by_role("button", name="Undo")
    undo.click()
    assert agrees(card, before, both)
    press(page, "Control+z")
    assert agrees(card, before, expected)
    undo.click()
    assert agrees(card, before, before)
    expect(undo).to_have_attribute("aria-disabled", "true")
    press(page, "Control+z")  # there is nothing to undo
    card.get_by_role("button", name="Redo").click()
    press(page, "Control+Shift+z")
    assert agrees(card, before, both)
    assert page.noise == []


def test_a_drawing_survives_a_reset_and_is_shown_as_the_model_gets_it(book, vit, images):
    page = book.open(Playground(vit, images))
    card = page.locator(".vt-card")
    card.get_by_role("button", name="Draw", exact=True).click()
    press(page, "Space", "Shift+ArrowRight", "Space")
    card.get_by_role("button", name="Shuffle patches").click()
    expect(card.get_by_role("application")).to_be_hidden()  # a pad would show it unshuffled
    pixels = card.locator(".vt-shown canvas").first.evaluate(
        "(c) => [...c.getContext('2d').getImageData(0, 0, 28, 28).data]"
    )
    shown = np.array(pixels).reshape(28, 28, 4)[..., 0]
    thumbnail = own_picture(page, card)
    light = np.count_nonzero(shown)
    assert light > 0
    assert thumbnail.meets(lambda own: np.testing.assert_equal(np.count_nonzero(own), light))
    drawn = thumbnail.now
    assert (shown != drawn).any()
    card.get_by_label("Click to").select_option("inspect")
    card.get_by_role("button", name="Reset").click()
    assert chosen(card).startswith("image 1")
    expect(card.get_by_label("Click to").locator("option:checked")).to_have_text("remove")
    choose(card, "your own image")
    assert_drawn(page, card, drawn)


def test_what_is_removed_attends_to_nothing_and_one_head_is_kept(book, vit, images):
    page = book.open(Playground(vit, images, query=26))
    card = page.locator(".vt-card")
    patch_cell(card, 26).click()
    card.get_by_role("button", name="Reset").hover()
    expect(patch_cell(card, 26)).to_have_attribute("aria-selected", "false")
    badge = card.get_by_role("button", name="the class token attends")
    expect(badge).to_have_attribute("aria-pressed", "true")

    maps = []
    answers(vit, images[0], dropped=[25], maps=maps)
    rows = torch.stack([m[0, :, 0] for m in maps])  # (layers, heads, tokens)
    card.get_by_label("Colours", exact=True).select_option("shared by all maps")
    for layer, head in ((0, 0), (1, 1)):
        cell = card.get_by_role("gridcell", name=f"layer {layer + 1}, head {head + 1}:")
        pixels = cell.locator("canvas").evaluate(
            "(c) => [...c.getContext('2d').getImageData(0, 0, 7, 7).data].slice(0, 3)"
        )
        strip = cell.locator(".vt-self").evaluate("(e) => e.style.background")
        for token, colour in ((0, re.findall(r"\d+", strip)), (1, pixels)):
            share = float(rows[layer, head, token] / rows.max())
            expected = CIVIDIS(share)[:3]
            shown = [int(part) / 255 for part in colour]
            np.testing.assert_allclose(shown, expected, atol=0.03)
    card.get_by_label("Click a head to").select_option("keep only it")
    card.get_by_role("gridcell", name="layer 2, head 1:").click()
    alone = answers(vit, images[0], dropped=[25], heads_off={0: [0, 1], 1: [1]})
    assert agrees(card, answers(vit, images[0]), alone)
    card.get_by_role("button", name="All heads on").click()
    assert said(card).endswith(": 1 of 49 patches removed.")


def test_each_patch_is_worth_what_pytorch_says(book, vit, images):
    page = book.open(Playground(vit, images, dropped=[3], seed=2))
    card = page.locator(".vt-card")
    card.get_by_role("button", name="Remove each patch in turn").click()
    stages = answers(vit, images[0], dropped=[3], seed=2)
    first = stages[-1].argmax()
    changes = torch.zeros(49)
    for patch in set(range(49)) - {3}:
        without = answers(vit, images[0], dropped=[3, patch], seed=2)
        changes[patch] = without[-1, first] - stages[-1, first]
    most = changes.abs().argmax()
    points = f"{100 * changes[most]:.1f}".replace("-", "−")
    image = card.get_by_role("img", name=re.compile("changes most"))
    name = f"P({NAMES[first]}) changes most without patch {most + 1}: {points} points"
    expect(image).to_have_accessible_name(name)
    pixels = image.evaluate("(c) => [...c.getContext('2d').getImageData(0, 0, 7, 7).data]")
    pixels = np.array(pixels).reshape(49, 4).astype(float)
    order = shuffled(49, 2)
    assert pixels[order.index(3), 3] == 0
    blue = pixels[:, 2] - pixels[:, 0]  # more for those without which the probability grows
    there = [place for place in range(49) if order[place] != 3]
    by_place = changes[[order[place] for place in there]]
    assert np.corrcoef(blue[there], by_place)[0, 1] > 0.98


OFFERED = ".vt-discoveries button"


def test_discoveries_and_mistakes_are_the_model_s_own(book, fashion, shoes):
    """What is offered holds; another checkpoint is offered what holds for it."""
    images, labels = shoes
    page_model = dequantised(fashion)
    names = fashion.facts["class_names"]

    def predicted(model, image, keep):
        with torch.no_grad():
            x = normalize(image[None], model.facts["mean"], model.facts["std"])
            tokens = model.embed(x)[:, [0, *(1 + p for p in keep)]]
            return model.classify(model.transformer(tokens))[0].softmax(0)

    page = book.open(Playground(fashion, images, labels))
    card = page.locator(".vt-card")
    ready(card)
    second = names[predicted(page_model, images[1], range(49)).argmax()]
    marked = card.get_by_role("radio", name=f"image 2: why does it predict {second}?")
    expect(marked).to_have_count(1)
    expect(card.get_by_role("radio", name="why does it predict")).to_have_count(1)
    offered = soon(card.locator(OFFERED).all_inner_texts).now
    whole = predicted(page_model, images[0], range(49)).argmax()
    dropped = soon(lambda: link_of(page, card)[0]["dropped"])
    for name in ("Keep only the background", "Remove the background"):
        card.get_by_role("button", name=name).click()
        keep = sorted(set(range(49)) - set(dropped.now))
        first = predicted(page_model, images[0], keep).argmax()
        assert (first == whole) == (name == "Remove the background")
    (fool,) = [name for name in offered if name.endswith(" to fool it")]
    card.get_by_role("button", name=fool).click()
    assert f"Remove {len(dropped.now)} to fool it" == fool
    keep = sorted(set(range(49)) - set(dropped.now))
    assert predicted(page_model, images[0], keep).argmax() != whole
    (band,) = [name for name in offered if name.endswith("patches above and below: Bag")]
    card.get_by_role("button", name=band).click()
    keep = sorted(set(range(49)) - set(dropped.now))
    assert band.startswith(f"Remove {49 - len(keep)} ")
    assert keep == list(range(keep[0], keep[-1] + 1))
    assert (keep[0] % 7, len(keep) % 7) == (0, 0)  # whole rows, with the sneaker in them
    rows = images[0, 0, 4 * (keep[0] // 7) : 4 * (keep[-1] // 7 + 1)]
    assert rows.sum() > 0.9 * images[0].sum()
    now = predicted(page_model, images[0], keep)
    assert (names[now.argmax()], now.max() > 0.5) == ("Bag", True)
    card.get_by_role("button", name="Shuffle without positions").click()
    assert "no positions" in said(card)
    assert "shuffled" in said(card)

    other = copy.deepcopy(page_model)  # it says Bag, whatever it is shown
    torch.nn.init.zeros_(other.mlp_head[1].weight)
    other.mlp_head[1].bias.data = 4 * (torch.arange(10) == 8).float()
    page = book.open(Playground(other, images, [8, 9]))
    card = page.locator(".vt-card")
    ready(card)
    expect(card.get_by_role("radio", name="image 2: why does it predict Bag?")).to_have_count(1)
    expect(card.get_by_role("radio", name="why does it predict")).to_have_count(1)
    texts = ["Keep only 1 patch", "Remove the background", "Remove everything"]
    assert soon(card.locator(OFFERED).all_inner_texts) == texts
