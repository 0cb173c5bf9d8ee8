"""Which one is broken? Each bug in the page computes what bugs.py does, and a guess is told."""

import re
from base64 import b64encode

import numpy as np
import pytest
import torch
from figure_page import open_numbers, presses, reading, said, soon
from figure_table import NAMES, small_vit
from modules_page import open_modules
from playwright.sync_api import expect

from vit_tutorial import load_pretrained, record_attention
from vit_tutorial.bugs import BUGS, broken_copy
from vit_tutorial.data import load_dataset, normalize
from vit_tutorial.widgets import SideBySide, dequantised, page_vit
from vit_tutorial.widgets.figures.side_by_side import SHOWN, broken_side

READ = """({ payload, bug, pictures, maps }) => {
    const right = new $vit.ViT(payload);
    const { make } = $side_by_side_bugs.BUGS.find((each) => each.bug === bug);
    const read = make(right, payload);
    return pictures.map((picture, i) => {
        const { logits, layers } = read($dequantise.fromBase64(picture));
        return [[...logits], i < maps ? layers.map(({ attention }) => [...attention]) : []];
    });
}"""
MAPS = 2  # images whose maps are compared: a browser takes long to hand them over
OWN = {  # of these, record_attention has no map
    "across the batch": lambda maps: torch.testing.assert_close(
        maps, torch.eye(maps.shape[-1]).expand_as(maps)
    ),
    "heads by view": lambda maps: torch.testing.assert_close(
        maps.sum(dim=-1), torch.ones_like(maps[..., 0])
    ),
}


@pytest.fixture(scope="module")
def modules(browser, tmp_path_factory):
    page = open_modules(
        browser, tmp_path_factory.mktemp("bugs"), ["side_by_side_bugs", "vit", "dequantise"]
    )
    yield page
    page.close()


@pytest.fixture(scope="module")
def fashion():
    """The book's model as a reader's own: it travels in the page, and not by its name."""
    vit = load_pretrained("fashion")
    vit.facts |= {"owner": "a reader"}
    return vit


@pytest.fixture(scope="module")
def images():
    return load_dataset("fashion_mnist", "test", subset=10)[0]


@pytest.fixture
def figure(fashion, images):
    names = [f"image {i}" for i in range(10)]
    return lambda **state: SideBySide(fashion, images, names, **state)


def read_in_page(modules, vit, bug, images):
    """The page's logits (images, classes), and maps (MAPS, layers, heads, n, n)."""
    pictures = [b64encode(image.numpy().tobytes()).decode() for image in images]
    given = {"payload": page_vit(vit), "bug": bug, "pictures": pictures, "maps": MAPS}
    logits, maps = zip(*modules.evaluate(READ, given), strict=True)
    n = vit.pos_embedding.shape[1]
    maps = torch.tensor(np.array(maps[:MAPS]), dtype=torch.float32)
    return torch.tensor(logits), maps.view(MAPS, -1, vit.config["heads"], n, n)


def normalized(vit, images):
    channels = vit.config["channels"]
    mean, std = vit.facts.get("mean", [0] * channels), vit.facts.get("std", [1] * channels)
    return normalize(images, mean, std)


@torch.no_grad()
def logits(vit, bug, images):
    """By PyTorch, with the page's weights, one image at a time: a batch may matter."""
    page = dequantised(vit)
    model = broken_copy(page, bug) if bug else page
    return torch.cat([model(x[None]) for x in normalized(vit, images)])


@torch.no_grad()
def maps_of(vit, bug, images):
    model = broken_copy(dequantised(vit), bug)
    with record_attention(model) as maps:
        model(normalized(vit, images))
    return torch.stack(maps, dim=1)


def colour_vit():
    """Several channels, each normalised its own way; patches that are not square."""
    vit = small_vit(channels=3, image_size=(12, 20), patch_size=(3, 5))
    vit.facts |= {"mean": (0.2, 0.4, 0.6), "std": (0.3, 0.2, 0.5)}
    return vit


# The bugs


@pytest.mark.parametrize("bug", SHOWN)
def test_a_bug_in_the_page_is_the_one_of_bugs_py(modules, fashion, images, bug):
    found, maps = read_in_page(modules, fashion, bug, images)
    torch.testing.assert_close(found, logits(fashion, bug, images), atol=1e-3, rtol=0)
    assert (found - logits(fashion, None, images)).abs().amax(dim=1).min() > 0.1
    if bug in OWN:
        OWN[bug](maps)
    else:
        theirs = maps_of(fashion, bug, images[:MAPS])
        # One layer repeated is one layer to record: its last map is kept.
        torch.testing.assert_close(maps[:, -theirs.shape[1] :], theirs, atol=1e-4, rtol=0)


@pytest.mark.parametrize("bug", SHOWN)
@pytest.mark.parametrize("make", [colour_vit, lambda: small_vit(heads=1, dim_head=16)])
def test_and_in_other_models(modules, bug, make):
    vit = make()
    torch.manual_seed(0)
    images = torch.randint(0, 256, (3, vit.config["channels"], *vit.image_size), dtype=torch.uint8)
    found, _ = read_in_page(modules, vit, bug, images)
    torch.testing.assert_close(found, logits(vit, bug, images), atol=1e-3, rtol=0)


def test_the_page_names_each_bug_and_its_property_as_bugs_py_does(modules):
    found = modules.evaluate("$side_by_side_bugs.BUGS.map(({ bug, caughtBy }) => [bug, caughtBy])")
    assert found == [[bug, BUGS[bug].caught_by] for bug in SHOWN]
    assert BUGS.keys() - set(SHOWN) == {"dropout for ever"}  # its numbers are random


def test_neither_side_has_the_bug_more_often():
    sides = [broken_side(seed, bug) for seed in range(200) for bug in range(len(SHOWN))]
    assert 0.45 < sides.count("A") / len(sides) < 0.55
    for bug in range(len(SHOWN)):
        assert {broken_side(seed, bug) for seed in range(20)} == {"A", "B"}


# In Python


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pool": "mean"}, 'pool="cls", got pool="mean"'),
        ({"position": "none"}, 'position="learned", got position="none"'),
    ],
)
def test_models_without_a_place_for_the_bugs_are_refused(images, changes, message):
    vit = small_vit(**changes)
    with pytest.raises(ValueError, match=message):
        SideBySide(vit, images[:3], NAMES)
    figure = SideBySide(small_vit(), images[:3], NAMES)
    with pytest.raises(ValueError, match=message):
        figure.vit = page_vit(vit)


def test_the_words_are_pytorch_s_and_keep_the_secret(figure, fashion, images):
    for seed in range(3):
        words = figure(bug=1, picture=2, seed=seed).still()[1]
        side = broken_side(seed, 1)
        for letter in "AB":
            bug = SHOWN[1] if letter == side else None
            shares = logits(fashion, bug, images[2:3])[0].softmax(dim=0)
            name = fashion.facts["class_names"][shares.argmax()]
            assert f"{letter} predicts {name} {shares.max():.0%}" in words
        assert SHOWN[1] not in words
        told = figure(bug=1, picture=2, seed=seed, guess="A").still()[1]
        assert ("as guessed" in told) == (side == "A")
        assert told.endswith("The bug is “shredded patches”; patches_are_squares catches it.")


def test_drawing_it_draws_no_random_numbers(figure):
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    figure().still()
    assert torch.equal(torch.rand(3), expected)


# In a page


@reading
def bars(card, letter):
    """A model's prediction, in percent."""
    side = card.locator(".vt-pair > .vt-column").nth("AB".index(letter))
    return [float(t.rstrip("%")) for t in side.locator(".vt-answer-share").all_inner_texts()]


@reading
def titles(card):
    return card.locator(".vt-side-title").all_inner_texts()


@reading
def shown_case(card):
    return card.get_by_label("bug", exact=True).evaluate("(e) => e.selectedOptions[0].textContent")


def percents(fashion, bug, images, picture):
    return (100 * logits(fashion, bug, images[picture : picture + 1])[0].softmax(dim=0)).tolist()


@pytest.mark.parametrize("seed", [0, 2])
def test_both_models_predict_what_pytorch_s_do(book, figure, fashion, images, seed):
    card = book.open(figure(seed=seed, picture=3)).locator(".vt-card")
    for bug in range(len(SHOWN)):
        card.get_by_label("bug", exact=True).select_option(index=bug)
        side = broken_side(seed, bug)
        other = "B" if side == "A" else "A"
        assert bars(card, side) == pytest.approx(percents(fashion, SHOWN[bug], images, 3), abs=0.51)
        assert bars(card, other) == pytest.approx(percents(fashion, None, images, 3), abs=0.51)
    open_numbers(card)
    table = [row.split("\t") for row in card.locator("tbody tr").all_inner_texts()]
    shown = torch.tensor([[float(row[i].replace("−", "-")) for i in (2, 4)] for row in table])
    pair = [SHOWN[-1] if letter == side else None for letter in "AB"]
    expected = torch.stack([logits(fashion, bug, images[3:4])[0] for bug in pair], dim=1)
    torch.testing.assert_close(shown, expected, atol=0.006, rtol=0.006)


def told(card, letter):
    side = card.locator(".vt-pair > .vt-column").nth("AB".index(letter))
    return soon(lambda: side.locator(".vt-label").last.inner_text())


def test_what_the_class_token_takes_is_told_and_drawn(book, figure, fashion, images):
    bug = SHOWN.index("softmax over queries")
    card = book.open(figure(bug=bug, picture=1, layer=2)).locator(".vt-card")
    side = broken_side(0, bug)
    rows = maps_of(fashion, SHOWN[bug], images[1:2])[0, 2, :, 0]  # (heads, n)
    sums = rows.sum(dim=1)
    heard = torch.special.entr(rows / sums[:, None]).sum(dim=1).exp().mean()
    expected = f"weights sum to {sums.min():.2f} to {sums.max():.2f}; "
    expected += f"attends to {heard:.1f} of 50 tokens"
    assert told(card, side) == expected
    assert told(card, "B" if side == "A" else "A").startswith("weights sum to 1.00; ")
    names = card.get_by_role("img", name=re.compile(f"^{side}, head ")).evaluate_all(
        "(all) => all.map((e) => e.ariaLabel)"
    )
    for head, name in enumerate(names):
        first = rows[head, 1:].argmax()
        assert name.startswith(f"{side}, head {head + 1}: highest ")
        assert name.endswith(f"to patch {first + 1}")
    card.get_by_role("button", name="A is broken").click()
    assert f"sum to {sums.min():.2f} to {sums.max():.2f} instead of 1" in said(card)
    card.get_by_label("layer", exact=True).fill("1")
    assert told(card, side) != expected


@pytest.mark.parametrize("guess", ["A", "B"])
def test_a_guess_by_mouse_is_answered_with_the_bug_and_its_property(book, figure, guess):
    page = book.open(figure())
    card = page.locator(".vt-card")
    for bug, name in enumerate(SHOWN):
        side = broken_side(bug, bug)  # with every bug the next seed, too
        assert titles(card) == ["A", "B"]
        assert shown_case(card) == str(bug + 1)
        assert soon(card.inner_text).lacks(name)
        assert said(card).endswith("Which is broken?")
        button = card.get_by_role("button", name=f"{guess} is broken")
        button.click()
        expect(button).to_have_attribute("aria-pressed", "true")
        verdict = "Right" if guess == side else "Not quite"
        assert said(card).startswith(f"{verdict}: {side} is broken. ")
        assert said(card).endswith(f"The property {BUGS[name].caught_by} catches it.")
        assert titles(card) == [f"{x}: {'broken' if x == side else 'right'}" for x in "AB"]
        assert shown_case(card) == f"{bug + 1}: {name}"
        card.get_by_role("button", name="Next bug").click()
    assert shown_case(card) == "1"
    assert page.noise == []


def test_another_image_keeps_the_verdict_and_another_bug_does_not(book, figure):
    card = book.open(figure()).locator(".vt-card")
    card.get_by_role("button", name="B is broken").click()
    card.get_by_label("image", exact=True).select_option(index=4)
    assert "is broken. " in said(card)
    card.get_by_label("bug", exact=True).select_option(index=3)
    assert said(card).endswith("Which is broken?")
    assert shown_case(card) == "4"


def test_by_keyboard_alone(book, figure):
    page = book.open(figure())
    card = page.locator(".vt-card")
    card.wait_for()
    press = presses(page, "e.ariaLabel ?? (e.id || e.innerText)")
    side = broken_side(0, 0)
    assert press("Tab") == "A is broken"
    press("Enter")
    assert said(card).startswith(f"{'Right' if side == 'A' else 'Not quite'}: {side} is broken. ")
    assert press("Tab") == "B is broken"
    press("Space")
    assert said(card).startswith(f"{'Right' if side == 'B' else 'Not quite'}: {side} is broken. ")
    press("Tab", "ArrowDown")  # the bug
    assert shown_case(card) == "2"
    press("Tab", "ArrowDown", "Tab", "ArrowLeft")  # the image, the layer
    assert "labelled image 1" in soon(card.inner_text)
    assert "layer 5" in soon(card.inner_text)
    assert press("Tab", "Enter") == "Next bug"
    assert shown_case(card) == "3"
    assert press("Tab", "Enter") == "Reset"
    assert shown_case(card) == "1"
    assert "labelled image 0" in soon(card.inner_text)
