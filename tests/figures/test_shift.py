"""Which model does a shift hurt more? The page moves and shuffles as PyTorch does."""

import re

import pytest
import torch
import torch.nn.functional as F
from bs4 import BeautifulSoup
from conftest import randomise
from figure_page import (
    open_numbers,
    reading,
    said,
    soon,
)
from torch import nn

from vit_tutorial import ViT, augment, patchify, save_model
from vit_tutorial.cnn import CNN
from vit_tutorial.data import load_dataset, normalize
from vit_tutorial.widgets import Shift, dequantised, page_cnn

CLASSES = ["Top", "Bag", "Boot", "Coat"]
FACTS = {"mean": (0.286,), "std": (0.353,), "class_names": CLASSES}
SIZES = {"image_size": 28, "patch_size": 4, "channels": 1, "num_classes": 4}
RECORDS = {
    count: tuple(
        [
            *({"event": "shift", "pixels": p, "accuracy": top - p * loss} for p in range(5)),
            {"event": "shuffle", "accuracy": shuffled},
        ]
        for top, loss, shuffled in both
    )
    for count, both in {
        50: [(0.74, 0.05, 0.46), (0.83, 0.03, 0.11)],
        9000: [(0.91, 0.06, 0.31), (0.95, 0.02, 0.13)],
    }.items()
}


def small_vit():
    vit = randomise(ViT(**SIZES, dim=8, depth=1, heads=2, dim_head=4, mlp_dim=8), std=0.8)
    vit.facts |= FACTS
    return vit


def small_cnn():
    cnn = randomise(CNN(num_classes=4, channels=1, widths=(3, 4, 6)), std=0.5)
    for module in cnn.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    cnn.facts |= FACTS
    return cnn


@pytest.fixture(scope="module")
def models():
    torch.manual_seed(4)
    return {count: (small_vit(), small_cnn()) for count in RECORDS}


@pytest.fixture(scope="module")
def images():
    return load_dataset("fashion_mnist", "test", subset=20)[0][[0, 2, 11]]


@pytest.fixture
def figure(models, images):
    def make(**state):
        state = {"records": RECORDS, "held_out": 1_200} | state
        return Shift(models, images, ["a top", "trousers", "a bag"], **state)

    return make


@torch.no_grad()
def shares(model, image):
    """What a model with the page's weights makes of a picture: the shares of the classes."""
    x = normalize(image[None], FACTS["mean"], FACTS["std"])
    return F.softmax(dequantised(model)(x)[0], dim=0)


def shifted(image, right=0, down=0):
    return augment.shift(image[None], torch.tensor([down]), torch.tensor([right]))[0]


def opened(book, figure, **options):
    page = book.open(figure, **options)
    card = page.locator(".vt-card")
    card.wait_for()
    guess = card.get_by_role("button", name="Show me")
    if guess.count():
        guess.click()
    return page, card


PIXELS = """(canvas) => {
    const { width, height } = canvas;
    const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
    return Array.from({ length: width * height }, (_, i) => data[4 * i]);
}"""


@reading
def seen_pixels(card):
    return torch.tensor(card.locator("canvas").evaluate(PIXELS), dtype=torch.uint8).view(1, 28, 28)


@reading
def seen_shares(card):
    """Both models' answers as the bars tell them, in percent."""
    texts = card.locator(".vt-answer-share").all_inner_texts()
    numbers = torch.tensor([float(text.rstrip("%")) for text in texts])
    return numbers.view(2, 4)


def assert_shares(card, models, image):
    expected = torch.stack([100 * shares(model, image) for model in models])
    assert seen_shares(card).meets(
        lambda seen: torch.testing.assert_close(seen, expected, atol=0.51, rtol=0)
    )


def assert_pixels(card, expected):
    assert seen_pixels(card).becomes(lambda seen: torch.equal(seen, expected))


# In Python


def test_it_begins_as_it_is_told(figure):
    state = figure(picture=1, right=-3, down=2, seed=7, size=1).state()
    expected = {"picture": 1, "right": -3, "down": 2, "seed": 7, "size": 1, "sizes": [50, 9000]}
    assert state.items() >= expected.items()


def other(model, **changes):
    model = dequantised(model)
    for name, value in changes.items():
        (model.config if name in model.config else model.facts)[name] = value
    return model


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: {50: m[50]}, r"models are two pairs.*got \{50: 2\} of them"),
        (lambda m: {50: m[50], 9000: m[9000][:1]}, r"got \{50: 2, 9000: 1\} of them"),
        (lambda m: {50: m[50][::-1], 9000: m[9000]}, "a page runs a vit_tutorial.ViT, not a CNN"),
        (lambda m: {50: (m[50][0],) * 2, 9000: m[9000]}, "a page runs the CNN of .*, not a ViT"),
        (
            lambda m: {50: (m[50][0], other(m[50][1], class_names=["a"] * 4)), 9000: m[9000]},
            "all four models need the same class_names",
        ),
        (
            lambda m: {
                50: m[50],
                9000: (
                    randomise(ViT(**SIZES | {"patch_size": 7}, dim=8, depth=1, heads=1, mlp_dim=8)),
                    m[9000][1],
                ),
            },
            "both ViTs need one patch_size, got 4 and 7",
        ),
    ],
)
def test_models_that_do_not_fit_are_refused(models, images, change, message):
    with pytest.raises(ValueError, match=message):
        Shift(change(models), images, ["a", "b", "c"])


def test_pictures_that_do_not_fit_are_refused(models, images):
    with pytest.raises(ValueError, match=r"images of shape \(1, 28, 28\), got \(1, 27, 28\)"):
        Shift(models, images[:, :, 1:], ["a", "b", "c"])
    with pytest.raises(ValueError, match="a name for each image, got 2 for 3"):
        Shift(models, images, ["a", "b"])
    with pytest.raises(ValueError, match="an image is uint8"):
        Shift(models, images / 255, ["a", "b", "c"])


def test_records_that_do_not_fit_are_refused(figure):
    with pytest.raises(ValueError, match=r"records are of \[50, 9000\] .*, got \[50\]"):
        figure(records={50: RECORDS[50]})
    short = {**RECORDS, 50: (RECORDS[50][0], RECORDS[50][1][:-2])}
    with pytest.raises(ValueError, match=r"got shifts of \[0, 1, 2, 3\] and 0 for shuffled"):
        figure(records=short)


def test_the_picture_s_words_are_pytorch_s(figure, models, images):
    made = figure(picture=2, right=4, down=-1, size=1)
    words = made.still()[1]
    assert words.startswith(
        "a bag, moved by 4 to the right and 1 up. Trained on 9,000 images, the ViT predicts "
    )
    for name, model in zip(("ViT", "CNN"), models[9000], strict=True):
        before, after = (shares(model, image) for image in (images[2], shifted(images[2], 4, -1)))
        says, said_before = (f"{CLASSES[s.argmax()]} {s.max():.0%}" for s in (after, before))
        assert f"the {name} predicts {says} (before: {said_before})" in words


def test_bundled_models_go_by_their_names_and_one_changed_weight_ends_that(
    models, images, monkeypatch, tmp_path
):
    names = ("vit-500-0", "cnn-500-0", "vit-55000-0", "cnn-55000-0")
    for name, model in zip(names, [*models[50], *models[9000]], strict=True):
        save_model(model, tmp_path / f"{name}.safetensors")
    monkeypatch.setattr("vit_tutorial.widgets.packing.ASSETS", tmp_path)
    html = Shift(models, images, ["a", "b", "c"]).to_html()
    loaded = BeautifulSoup(html, "html.parser").div["data-models"].split()
    assert sorted(loaded) == sorted(names)
    assert len(html) < 20_000
    changed = dequantised(models[9000][1])
    with torch.no_grad():
        changed.head.weight[0, 0] += 1
    html = Shift({50: models[50], 9000: (models[9000][0], changed)}, images, ["a"] * 3).to_html()
    assert page_cnn(changed)["data"] in html
    assert "cnn-55000-0" not in html


# In a page


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"right": 4},
        {"down": 3, "size": 1},
        {"right": -4, "down": -2, "picture": 1},
        {"seed": 5, "picture": 2},
        {"right": 1, "down": -4, "seed": 999, "size": 1},
    ],
    ids=str,
)
def test_pixels_and_answers_are_pytorch_s(book, figure, models, images, state):
    _, card = opened(book, figure(**state))
    image = images[state.get("picture", 0)]
    expected = shifted(image, state.get("right", 0), state.get("down", 0))
    seen = seen_pixels(card).now
    if "seed" in state:  # the patches are all there, in another order
        before, after = patchify(expected[None], 4)[0], patchify(seen[None], 4)[0]
        assert sorted(before.tolist()) == sorted(after.tolist())
        assert not torch.equal(seen, expected)
    else:
        assert torch.equal(seen, expected)
    assert_shares(card, models[(50, 9000)[state.get("size", 0)]], seen)
    if {"right", "down"} & state.keys() and "seed" not in state:
        assert not torch.equal(seen, image)


def test_the_still_picture_is_shuffled_as_the_page_is(book, figure, images):
    from vit_tutorial.widgets.figures.shift import change

    _, card = opened(book, figure(right=2, seed=17))
    assert_pixels(card, change(images[0], 4, 2, 0, 17))


def test_who_changes_its_mind_is_said(book, figure, models, images):
    page, card = opened(book, figure())
    changed = {True: 0, False: 0}
    for picture in range(3):
        card.get_by_label("image").select_option(index=picture)
        for right in (0, 4, -4):
            card.get_by_label("right", exact=True).fill(str(right))
            where = {0: "Not moved", 4: "Moved by 4 to the right", -4: "Moved by 4 to the left"}
            words = said(card).search(f"^{where[right]}: ").string
            for name, model in zip(("ViT", "CNN"), models[50], strict=True):
                before = shares(model, images[picture])
                after = shares(model, shifted(images[picture], right))
                changes = before.argmax() != after.argmax()
                now, was = CLASSES[after.argmax()], CLASSES[before.argmax()]
                if right == 0:
                    assert f"the {name} predicts {now} " in words
                elif changes:
                    assert re.search(rf"the {name} now predicts {now} [^;]* \(was {was} ", words)
                else:
                    assert f"the {name} still predicts {now} " in words
                changed[bool(changes)] += right != 0
    assert min(changed.values()) > 0  # both were seen
    assert page.noise == []


def test_the_marks_are_what_was_said_of_the_picture_as_it_was(book, figure, models, images):
    _, card = opened(book, figure(right=3, picture=2))
    marks = card.locator(".vt-answer .vt-answer-before").evaluate_all(
        "(marks) => marks.map((mark) => parseFloat(mark.style.left))"
    )
    expected = torch.stack([100 * shares(model, images[2]) for model in models[50]])
    torch.testing.assert_close(torch.tensor(marks).view(2, 4), expected, atol=0.01, rtol=0)


def test_the_average_is_the_record_s(book, figure):
    _, card = opened(book, figure())
    average = card.locator(".vt-shift-average")
    assert "1,200 held-out images left unchanged, this ViT gets 74% right and this CNN 83%." in (
        soon(average.inner_text)
    )
    card.get_by_label("down", exact=True).fill("-3")
    assert "moved by 3 in one direction, this ViT gets 59% right and this CNN 74% (unchanged: " in (
        soon(average.inner_text)
    )
    card.get_by_label("trained on").select_option("9,000 images")
    assert "gets 73% right and this CNN 89% (unchanged: 91% and 95%)" in soon(average.inner_text)
    card.get_by_label("shuffle patches").check()
    assert "patches shuffled, this ViT gets 31% right and this CNN 13%" in soon(average.inner_text)
    open_numbers(card)
    rows = card.locator("tbody tr").evaluate_all(
        "(rows) => rows.map((row) => [...row.cells].map((cell) => cell.textContent))"
    )
    assert [row[0] for row in rows[:4]] == CLASSES
    assert rows[4 + 2] == ["accuracy on 1,200 images, moved by 2", "79%", "91%", "91%", "95%"]
    assert rows[-1] == ["accuracy on 1,200 images, shuffled", "31%", "91%", "13%", "95%"]


def test_its_question_tells_of_the_pictures_it_was_measured_on(book, figure):
    guess = book.open(figure()).locator(".vt-card .vt-guess")
    assert "trained on 50 images, classify 1,200 others, all moved by 4 pixels" in (
        soon(guess.inner_text)
    )


def test_without_records_it_tells_of_one_picture_and_asks_for_no_guess(book, figure):
    page = book.open(figure(records=None, right=2))
    card = page.locator(".vt-card")
    card.wait_for()
    assert said(card).startswith("Moved by 2 to the right: the ViT ")
    assert soon(card.locator(".vt-shift-average").inner_text) == ""
    open_numbers(card)
    assert soon(card.locator("tbody tr").count) == 4


def test_a_surprise_is_where_the_two_differ_most(book, figure, models, images):
    _, card = opened(book, figure(down=1, seed=3))
    found = {}
    for number, image in enumerate(images):
        agree = len({shares(model, image).argmax().item() for model in models[50]}) == 1
        for right in (-4, 0, 4):
            for down in (-4, 0, 4):
                if right or down:
                    one, two = (shares(m, shifted(image, right, down)) for m in models[50])
                    found[number, right, down] = agree + (one - two).abs().sum().item() / 2
    for number, right, down in sorted(found, key=found.get)[:-3:-1]:
        card.get_by_role("button", name="Surprise me").click()
        assert_pixels(card, shifted(images[number], right, down))


def test_by_mouse(book, figure, models, images):
    _, card = opened(book, figure())
    card.get_by_label("image").select_option("a bag")
    assert_pixels(card, images[2])
    card.get_by_text("shuffle patches").click()
    assert seen_pixels(card).becomes(lambda seen: not torch.equal(seen, images[2]))
    first = seen_pixels(card).now
    card.get_by_role("button", name="Shuffle again").click()
    assert seen_pixels(card).becomes(lambda seen: not torch.equal(seen, first))
    card.get_by_text("shuffle patches").click()
    assert_pixels(card, images[2])
    card.get_by_label("trained on").select_option("9,000 images")
    assert_shares(card, models[9000], images[2])
    card.get_by_role("button", name="Reset").click()
    assert_shares(card, models[50], images[0])


def test_by_touch(book, figure, images):
    page = book.open(figure(), width=360, has_touch=True)
    card = page.locator(".vt-card")
    card.get_by_role("button", name="Show me").tap()
    card.get_by_text("shuffle patches").tap()
    assert said(card).startswith("Not moved, its patches shuffled: ")
    card.get_by_role("button", name="Reset").tap()
    assert said(card).startswith("Not moved: ")


def test_by_keyboard_alone(book, figure, images):
    page = book.open(figure())
    card = page.locator(".vt-card")
    card.wait_for()

    def press(*keys):
        for key in keys:
            page.keyboard.press(key)

    press("Tab", "Enter")  # the first guess; the focus goes on to the picture's choice
    assert soon(card.locator(".vt-guess").inner_text).startswith("Your guess: the ViT. Right: ")
    press("ArrowDown")
    assert_pixels(card, images[1])
    press("Tab", "ArrowDown", "Tab", "ArrowRight", "ArrowRight", "Tab", "Home")
    assert_pixels(card, shifted(images[1], 2, -4))
    assert soon(card.get_by_label("right", exact=True).get_attribute, "aria-valuetext") == "2 right"
    assert soon(card.get_by_label("down", exact=True).get_attribute, "aria-valuetext") == "4 up"
    assert "trained on 9,000" in caption(card)
    press("Tab", "Space")
    assert ", its patches shuffled: " in said(card)
    press("Tab", "Enter", "Tab", "Enter")  # another order, then a surprise
    assert said(card).lacks("shuffled")
    press("Tab", "Enter")
    assert said(card).startswith("Not moved: ")


@reading
def caption(card):
    if not card.locator(".vt-numbers .vt-label").count():
        open_numbers(card)
    return card.locator(".vt-numbers .vt-label").inner_text()
