"""The figure of all maps at once tells what PyTorch computes, with patches and without, to all."""

import math
import re
from itertools import pairwise, product

import pytest
import torch
from conftest import randomise
from figure_page import (
    presses,
    reading,
    said,
    soon,
)
from playwright.sync_api import expect

from vit_tutorial import ViT, layer_predictions, mean_attention_distance, record_attention
from vit_tutorial.data import load_dataset, normalize
from vit_tutorial.widgets import WhereItLooks, dequantised

SIZES = {
    "image_size": 28,
    "patch_size": 4,
    "num_classes": 10,
    "dim": 16,
    "depth": 2,
    "heads": 3,
    "dim_head": 8,
    "mlp_dim": 16,
    "channels": 1,
}
CLASSES = [f"kind {letter}" for letter in "abcdefghij"]
DROPPED = [0, 9, 10, 24, 48]
OFF = [(0, 1), (1, 2)]


@pytest.fixture(scope="module")
def vit():
    torch.manual_seed(1)
    vit = randomise(ViT(**SIZES), std=0.4)
    vit.facts |= {"mean": (0.286,), "std": (0.353,), "class_names": CLASSES}
    return vit


@pytest.fixture(scope="module")
def images():
    return load_dataset("fashion_mnist", "test", subset=10)[0][:3]


@torch.no_grad()
def reference(vit, image, dropped=(), off=()):
    """Maps as used (layers, heads, n, n), and what is answered after each layer, by PyTorch."""
    page = dequantised(vit).double()
    x = normalize(image[None], vit.facts["mean"], vit.facts["std"]).double()
    there = [i for i in range(50) if i - 1 not in dropped]
    tokens, maps = page.embed(x)[:, there], []
    answers = [page.classify(tokens)]
    for layer, (attention, feed_forward) in enumerate(page.transformer.layers):

        def switch(_module, _inputs, weights, layer=layer):
            for each, head in off:
                if each == layer:
                    weights = weights.clone()
                    weights[:, head] = 0
            maps.append(weights[0])
            return weights

        with record_attention(attention):
            handle = attention.fn.attend.register_forward_hook(switch)
            tokens = attention(tokens) + tokens
            handle.remove()
        tokens = feed_forward(tokens) + tokens
        answers.append(page.classify(tokens))
    return torch.stack(maps), torch.cat(answers).softmax(dim=-1)


@reading
def names(card, grid):
    card.wait_for()
    cells = card.get_by_role("grid", name=grid).get_by_role("gridcell")
    return cells.evaluate_all("(cells) => cells.map((cell) => cell.ariaLabel)")


@reading
def shares(card):
    """The large map in percent by patch; None for a patch that is not there."""
    given = [name.split(": ")[1] for name in names(card, "Its attention weight for each patch").now]
    return [float(each[:-1]) if each.endswith("%") else None for each in given]


def expected(row, dropped=()):
    there = [place for place in range(49) if place not in dropped]
    values = dict(zip(there, (100 * row[1:]).tolist(), strict=True))
    return [values.get(place) for place in range(49)]


def assert_close(seen, wanted):
    def holds(seen):
        assert [each is None for each in seen] == [each is None for each in wanted]
        pairs = [(a, b) for a, b in zip(seen, wanted, strict=True) if a is not None]
        assert [a for a, _ in pairs] == pytest.approx([b for _, b in pairs], abs=0.51)

    assert seen.meets(holds)


@reading
def facts(card):
    """What is told of the large map, by its name."""
    lines = card.locator(".vt-facts li").evaluate_all(
        "(all) => all.map((each) => [...each.childNodes].map((node) => node.textContent))"
    )
    return dict(lines)


# In Python


def test_the_class_token_looks_in_the_last_layer_first(vit, images):
    figure = WhereItLooks(vit, images)
    assert (figure.picture, figure.layer, figure.head, figure.query) == (0, 1, 0, 0)
    assert [each["name"] for each in figure.pictures] == ["image 1", "image 2", "image 3"]


@pytest.mark.parametrize(
    ("pictures", "message"),
    [
        (torch.zeros(1, 28, 28, dtype=torch.uint8), r"\(n, 1, 28, 28\), n at least 1; got \(1, 2"),
        (torch.zeros(2, 3, 28, 28, dtype=torch.uint8), r"got \(2, 3, 28, 28\)"),
        (torch.zeros(0, 1, 28, 28, dtype=torch.uint8), r"got \(0, 1, 28, 28\)"),
        (torch.zeros(2, 1, 28, 28), "uint8 .* got torch.float32"),
        ("boot.png", "got 'boot.png'"),
    ],
)
def test_what_are_no_pictures_for_this_model_is_refused(vit, pictures, message):
    with pytest.raises(ValueError, match=message):
        WhereItLooks(vit, pictures)


def test_a_name_too_few_is_refused(vit, images):
    with pytest.raises(ValueError, match="expected a name for each image, got 2 for 3"):
        WhereItLooks(vit, images, ["one", "two"])


def test_without_a_class_token_one_patch_has_to_stay(images):
    mean = randomise(ViT(**SIZES | {"pool": "mean"}))
    with pytest.raises(ValueError, match="without a class token one patch has to stay"):
        WhereItLooks(mean, images, dropped=range(49))
    with pytest.raises(ValueError, match="query is one of 0 to 48, got 49"):
        WhereItLooks(mean, images, query=49)


def test_the_html_is_small_and_says_what_pytorch_computes(vit, images):
    figure = WhereItLooks(vit, images, head=1, query=8, dropped=DROPPED, heads_off=OFF)
    html = figure.to_html()
    assert html == WhereItLooks(
        vit, images, head=1, query=8, dropped=DROPPED[::-1], heads_off=OFF
    ).to_html()  # fmt: skip
    maps, answers = reference(vit, images[0], DROPPED, OFF)
    row = expected(maps[1, 1, 7], DROPPED)  # patch 8 is the seventh that is left, after the token
    first = max(range(49), key=lambda place: row[place] or 0)
    words = figure.still()[1]
    assert f"it attends most to patch {first + 1} ({row[first]:.0f}%)" in words
    best = answers[-1].argmax()
    prediction = f"{CLASSES[best]}, {answers[-1, best]:.0%}"
    assert f"With 44 of 49 patches, the model predicts {prediction}" in words
    assert "attends to nothing" in WhereItLooks(vit, images, head=2, heads_off=OFF).still()[1]


# In a page


@pytest.mark.parametrize(("dropped", "off"), [((), ()), (DROPPED, OFF)])
def test_the_page_s_numbers_are_pytorch_s(book, vit, images, dropped, off):
    figure = WhereItLooks(
        vit, images, picture=1, layer=0, head=2, query=12, dropped=dropped, heads_off=off
    )
    card = book.open(figure).locator(".vt-card")
    maps, answers = reference(vit, images[1], dropped, off)
    there = [0, *(i + 1 for i in range(49) if i not in dropped)]
    token = there.index(12)
    assert_close(shares(card), expected(maps[0, 2, token], dropped))

    seen = names(card, "All maps").now
    for place, (head, layer) in enumerate(product(range(3), range(2))):
        row = maps[layer, head, token]
        name = f"layer {layer + 1}, head {head + 1}: "
        if (layer, head) in off:
            assert seen[place] == name + "off"
            continue
        heard = torch.special.entr(row).sum().exp()
        first = row[1:].argmax()
        words = f"to patch {there[first + 1]}; attends to {heard:.1f} tokens"
        assert seen[place].startswith(name + "highest ")
        assert seen[place].endswith(words)
        share = float(re.search(r"highest ([\d.]+)%", seen[place])[1])
        assert share == pytest.approx(100 * row[1:].max().item(), abs=0.51)

    after = card.locator(".vt-layers li").all_inner_texts()
    for layer, (text, row) in enumerate(zip(after, answers, strict=True)):
        best = row.argmax()
        number, name, share = text.split("\n")
        assert (number, name) == (str(layer), CLASSES[best])
        assert float(share[:-1]) == pytest.approx(100 * row[best].item(), abs=0.51)
    assert soon(card.locator(".vt-answer-name").all_text_contents) == CLASSES
    bars = card.locator(".vt-answer-share").all_text_contents()
    assert [float(text[:-1]) for text in bars] == pytest.approx(
        (100 * answers[-1]).tolist(), abs=0.51
    )
    marks = card.locator(".vt-answer-before").evaluate_all(
        "(all) => all.map((each) => parseFloat(each.style.left))"
    )
    whole = reference(vit, images[1])[1][-1]
    assert marks == pytest.approx((100 * whole).tolist(), abs=0.01)
    if not dropped:
        page = dequantised(vit)
        x = normalize(images[1][None], vit.facts["mean"], vit.facts["std"])
        with torch.no_grad():
            theirs = layer_predictions(page, x)[:, 0].softmax(dim=-1)
        torch.testing.assert_close(answers.float(), theirs)


@pytest.mark.parametrize("dropped", [(), DROPPED])
def test_distances_are_those_of_figure_7(book, vit, images, dropped):
    card = book.open(WhereItLooks(vit, images, head=1, query=7, dropped=dropped)).locator(
        ".vt-card"
    )
    card.wait_for()
    maps, _ = reference(vit, images[0], dropped)
    there = [place for place in range(49) if place not in dropped]
    weights = maps[1, 1, 1:, 1:] / maps[1, 1, 1:, 1:].sum(dim=-1, keepdim=True)
    spots = [divmod(place, 7) for place in there]
    apart = torch.tensor([[4 * math.dist(a, b) for b in spots] for a in spots])
    by_patch = (weights * apart).sum(dim=-1)
    seen = facts(card)
    assert seen["distance, patch 7"] == f"{by_patch[there.index(6)]:.1f} px"
    assert seen["distance, whole head"] == f"{by_patch.mean():.1f} px"
    assert seen["distance if uniform"] == f"{apart.mean():.1f} px"
    if not dropped:
        ours = mean_attention_distance([layer[None] for layer in maps], (7, 7), 4)[1, 1]
        assert seen["distance, whole head"] == f"{ours:.1f} px"
    card.get_by_role("button", name="class token attends").click()
    assert facts(card)["distance, the class token"] == "–"  # it has no place


def test_small_maps_have_attention_s_colours_and_gaps(book, vit, images):
    page = book.open(WhereItLooks(vit, images, dropped=DROPPED, heads_off=OFF))
    page.locator(".vt-card").wait_for()
    pixels = page.locator(".vt-maps canvas").evaluate_all(
        "(all) => all.map((each) => [...each.getContext('2d').getImageData(0, 0, 7, 7).data])"
    )
    maps, _ = reference(vit, images[0], DROPPED, OFF)
    for place, (head, layer) in enumerate(product(range(3), range(2))):
        colours = [pixels[place][i : i + 4] for i in range(0, 196, 4)]
        clear = [i for i, colour in enumerate(colours) if colour[3] == 0]
        assert clear == ([*range(49)] if (layer, head) in OFF else DROPPED)
        if (layer, head) not in OFF:
            row = expected(maps[layer, head, 0], DROPPED)
            order = sorted((i for i in range(49) if row[i] is not None), key=row.__getitem__)
            assert colours[order[-1]][:3] == [254, 232, 56]  # the end of cividis
            light = [sum(colours[i][:3]) for i in order]
            assert all(b >= a - 6 for a, b in pairwise(light))


COUNT = """globalThis.maps = 0; // computed by the model
const { Instance } = WebAssembly;
WebAssembly.Instance = function (...given) {
    const { exports } = new Instance(...given);
    const { softmax } = exports; // of the two modules, one has it
    const counted = softmax && { softmax: (...x) => (maps++, softmax(...x)) };
    return { exports: { ...exports, ...counted } };
};"""


def test_pointing_at_patches_runs_no_model(book, vit, images):
    page = book.open(WhereItLooks(vit, images, dropped=[3]), before=COUNT)
    card = page.locator(".vt-card")
    card.wait_for()
    maps, _ = reference(vit, images[0], [3])
    page.evaluate("void (maps = 0)")
    cell = card.get_by_role("gridcell", name="patch 9, row 2, column 2").first
    cell.hover()
    assert_close(shares(card), expected(maps[1, 0, 8], [3]))
    assert soon(page.evaluate, "maps") == 0
    assert said(card).startswith("Patch 9 attends most to ")
    cell.click()  # a model without it: this one runs
    layers, heads = vit.config["depth"], vit.config["heads"]
    assert soon(page.evaluate, "maps") == layers * heads


def test_a_click_drops_a_patch_and_another_brings_it_back(book, vit, images):
    page = book.open(WhereItLooks(vit, images))
    card = page.locator(".vt-card")
    cell = card.get_by_role("gridcell", name="patch 9, row 2, column 2").first
    cell.click()  # pointing at it comes first
    maps, answers = reference(vit, images[0], [8])
    assert_close(shares(card), expected(maps[1, 0, 0], [8]))
    assert soon(cell.get_attribute, "data-dropped") == "true"
    assert "repeating-linear-gradient" in soon(
        cell.evaluate, "(e) => getComputedStyle(e).backgroundImage"
    )
    best = answers[-1].argmax()
    assert said(card).startswith("Patch 9 is removed, so the class token attends. ")
    assert f"predicts {CLASSES[best]}" in said(card)
    assert "1 of 49 patches removed" in said(card)
    cell.click()
    assert_close(shares(card), expected(reference(vit, images[0])[0][1, 0, 9]))
    assert said(card).lacks("removed")
    for place in (1, 2):
        card.get_by_role("gridcell", name=f"patch {place}, row 1").first.click()
    assert "2 of 49 patches removed" in said(card)
    card.get_by_role("button", name="Restore all").click()
    assert said(card).lacks("removed")


def test_a_map_is_chosen_and_its_head_switched_off(book, vit, images):
    page = book.open(WhereItLooks(vit, images, ["one", "two", "three"]))
    card = page.locator(".vt-card")
    card.get_by_role("gridcell", name="layer 1, head 2: ").click()
    maps, _ = reference(vit, images[0])
    assert_close(shares(card), expected(maps[0, 1, 0]))
    card.get_by_role("checkbox", name="switch off layer 1, head 2").check()
    maps, answers = reference(vit, images[0], off=[(0, 1)])
    assert said(card).startswith("Layer 1, head 2 is off. ")
    assert "1 of 6 heads off" in said(card)
    assert shares(card) == [None] * 49
    card.get_by_role("gridcell", name="layer 2, head 3: ").click()
    assert_close(shares(card), expected(maps[1, 2, 0]))
    best = answers[-1].argmax()
    assert f"predicts {CLASSES[best]}" in said(card)
    card.get_by_label("image", exact=True).select_option("three")
    maps, _ = reference(vit, images[2], off=[(0, 1)])
    assert_close(shares(card), expected(maps[1, 2, 0]))
    card.get_by_role("button", name="Reset").click()
    assert_close(shares(card), expected(reference(vit, images[0])[0][1, 0, 0]))
    expect(card.get_by_role("checkbox")).not_to_be_checked()


def test_by_touch_the_first_tap_looks_and_the_second_drops(book, vit, images):
    page = book.open(WhereItLooks(vit, images), width=360, has_touch=True)
    card = page.locator(".vt-card")
    cell = page.get_by_role("gridcell", name="patch 9, row 2, column 2").first
    cell.tap()
    assert said(card).startswith("Patch 9 attends most")
    assert said(card).lacks("removed")
    cell.tap()
    assert "1 of 49 patches removed" in said(card)
    cell.tap()
    assert said(card).lacks("removed")
    page.get_by_role("gridcell", name="layer 1, head 2: ").tap()
    assert_close(shares(card), expected(reference(vit, images[0])[0][0, 1, 9]))


def test_by_keyboard_alone(book, vit, images):
    page = book.open(WhereItLooks(vit, images, query=25))
    card = page.locator(".vt-card")
    card.wait_for()
    press = presses(page)

    assert press("Tab") == "class token attends"
    assert press("Tab") == "patch 25, row 4, column 4"
    assert press("ArrowRight", "ArrowUp") == "patch 19, row 3, column 5"
    assert said(card).startswith("Patch 19 attends most")
    assert press("Space") == "patch 19, row 3, column 5: removed"
    assert "1 of 49 patches removed" in said(card)
    assert press("Enter") == "patch 19, row 3, column 5"
    assert said(card).startswith("Patch 19 attends most")
    assert press("Shift+Tab", "Space") == "class token attends"
    assert said(card).startswith("The class token attends most")
    press("Tab")
    assert press("Tab").startswith("layer 2, head 1: ")
    assert press("ArrowDown", "ArrowLeft").startswith("layer 1, head 2: ")
    assert_close(shares(card), expected(reference(vit, images[0])[0][0, 1, 0]))
    assert press("Space") == "layer 1, head 2: off"
    assert "1 of 6 heads off" in said(card)
    assert press("Space").startswith("layer 1, head 2: highest")
    assert press("Tab").startswith("class token: ")
    assert press("Tab").startswith("patch 1, row 1, column 1: ")
    press("ArrowRight", "Enter")  # what it takes from patch 2; then patch 2 looks itself
    assert said(card).startswith("Patch 2 attends most")
    press("Tab", "ArrowDown")  # the picture
    assert_close(shares(card), expected(reference(vit, images[1])[0][0, 1, 2]))
    press("Tab", "Space")  # the head
    assert "1 of 6 heads off" in said(card)
    press("Tab", "Tab", "Tab", "Enter")  # past the patches and the surprise to "Reset"
    assert said(card).startswith("Patch 25 attends most")
    press("Tab", "Tab", "Enter")  # past the link to the numbers
    expect(card.locator("tbody tr")).to_have_count(6)


def test_a_surprise_is_the_map_that_hears_the_fewest(book, vit, images):
    page = book.open(WhereItLooks(vit, images))
    card = page.locator(".vt-card")
    card.get_by_role("button", name="Surprise me").click()
    rows = [reference(vit, image)[0][:, :, 0] for image in images]
    narrowest = torch.stack([torch.special.entr(row).sum(dim=-1) for row in rows]).flatten()
    assert facts(card)["attends to"] == f"{narrowest.min().exp():.1f} of 50 tokens"
    first = said(card).now
    card.get_by_role("button", name="Surprise me").click()
    assert said(card) != first


def test_a_look_at_one_share_by_pointing_at_it(book, vit, images):
    page = book.open(WhereItLooks(vit, images))
    card = page.locator(".vt-card")
    card.get_by_role("gridcell", name=re.compile(r"patch 8, row 2, column 1: \d")).hover()
    assert facts(card)["pointed at"].endswith("%, patch 8")
    card.get_by_role("button", name="Reset").hover()
    assert facts(card)["pointed at"] == "–"


def test_a_model_without_a_class_token(book, images):
    mean = randomise(ViT(**SIZES | {"pool": "mean"}), std=0.4)
    page = book.open(WhereItLooks(mean, images, query=3, dropped=[i for i in range(49) if i != 5]))
    card = page.locator(".vt-card")
    card.wait_for()
    assert soon(card.get_by_role("button", name="class token").count) == 0
    assert said(card).startswith("Patch 4 is removed, so patch 6 attends. ")
    cell = card.get_by_role("gridcell", name="patch 6, row 1, column 6").first
    cell.hover()
    cell.click()
    assert said(card).startswith("The last patch has to stay")


def test_every_patch_dropped_leaves_the_class_token_alone(book, vit, images):
    page = book.open(WhereItLooks(vit, images, dropped=range(49)))
    card = page.locator(".vt-card")
    assert shares(card) == [None] * 49
    best = reference(vit, images[0], range(49))[1][-1].argmax()
    assert f"The model predicts {CLASSES[best]}" in said(card)
    assert page.noise == []


@pytest.mark.parametrize("width", [1000, 360])
def test_the_maps_of_twelve_layers_scroll_in_their_own_box(book, images, width):
    deep = randomise(ViT(**SIZES | {"depth": 12, "dim": 8, "dim_head": 2}))  # as in B/16
    maps = book.open(WhereItLooks(deep, images), width=width).locator(".vt-maps")
    assert soon(maps.evaluate, "(e) => getComputedStyle(e).overflowX") == "auto"
    inside, outside, scrolled = maps.evaluate("(e) => [e.scrollWidth, e.clientWidth, e.scrollLeft]")
    assert (inside > outside) == (width == 360)
    assert (scrolled > 0) == (width == 360)  # the chosen map, of the last layer, is in sight


def test_nothing_moves_when_another_patch_looks(book, vit, images):
    page = book.open(WhereItLooks(vit, images), reduced_motion="no-preference")
    page.get_by_role("gridcell", name="patch 9, row 2").first.click()
    assert soon(page.evaluate, "document.getAnimations().length") == 0


def test_one_changed_weight_shows_in_the_page(book, vit, images):
    other = dequantised(vit)
    with torch.no_grad():
        other.pos_embedding[0, 25, 3] += 4
    first, second, third = (
        shares(book.open(WhereItLooks(model, images)).locator(".vt-card")).now
        for model in (vit, dequantised(vit), other)
    )
    assert first == second != third
