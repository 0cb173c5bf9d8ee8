"""What happens to one token, layer by layer? The page walks as hooks in PyTorch hear it."""

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

from vit_tutorial import ViT, load_pretrained, patchify
from vit_tutorial.data import load_dataset, normalize
from vit_tutorial.widgets import EncoderWalk, dequantised

SIZES = {"image_size": 28, "patch_size": 4, "channels": 1, "num_classes": 3}
SIZES |= {"dim": 16, "depth": 2, "heads": 2, "dim_head": 8, "mlp_dim": 24}
NAMES = ["Top", "Bag", "Boot"]
STAGES = [
    "patches (the x of equation 1)",
    "embedding, with position (equation 1)",
    *(
        f"layer {layer}: {step} (equation {equation})"
        for layer in (1, 2)
        for what, equation in (("attention", 2), ("MLP", 3))
        for step in (f"normalise for {what}", what, f"+ {what}")
    ),
    "last layer norm (equation 4)",
    "head (reads y of equation 4)",
]


def small(pool="cls"):
    vit = randomise(ViT(**SIZES, pool=pool), std=0.4)
    vit.facts |= {"mean": (0.286,), "std": (0.353,), "class_names": NAMES}
    return vit


@pytest.fixture(scope="module")
def vit():
    torch.manual_seed(0)
    return small()


@pytest.fixture(scope="module")
def images():
    return load_dataset("fashion_mnist", "test", subset=10)[0][:3]


@pytest.fixture
def figure(vit, images):
    return lambda **choices: EncoderWalk(vit, images, NAMES, **choices)


class Walk:
    """What hooks hear of one picture on its way: each tensor is (tokens, D)."""

    def __init__(self, vit, image):
        vit = dequantised(vit).double()
        self.vit, self.added, self.normed = vit, [], []
        for layer in vit.transformer.layers:
            for step in layer:
                step.register_forward_hook(lambda *heard: self.added.append(heard[2][0]))
                step.norm.register_forward_hook(lambda *heard: self.normed.append(heard[2][0]))
        heard = vit.transformer.register_forward_hook(lambda *heard: setattr(self, "heard", heard))
        x = normalize(image[None], (0.286,), (0.353,)).double()
        with torch.no_grad():
            self.logits = vit(x)[0]
            self.patches = patchify(x, 4)[0]
            self.projected = vit.to_patch_embedding(x)[0]
        heard.remove()
        self.first, self.last = self.heard[1][0][0], self.heard[2][0]  # into the encoder, and out

    def stream(self, done):
        return self.first + sum(self.added[:done])

    def answer(self, done):
        with torch.no_grad():
            return self.vit.classify(self.stream(done)[None])[0].softmax(dim=-1)


@pytest.fixture(scope="module")
def walk(vit, images):
    return Walk(vit, images[0])


def open_card(page):
    card = page.locator(".vt-card")
    card.get_by_role("button", name="Show me").click()
    return card


CELLS = "(rows) => rows.map((row) => [...row.cells].map((cell) => cell.textContent))"
STRIPS = """(all) => all.map((strip) => {
    const bars = [...strip.querySelectorAll("rect:not(.vt-zero)")];
    const signs = bars.map((bar) => (bar.matches(".vt-negative") ? -1 : 1));
    const heights = bars.map((bar, i) => (signs[i] * bar.height.baseVal.value) / 20);
    return [strip.firstChild.textContent, strip.lastChild.textContent, heights];
})"""


@reading
def strips(card):
    """The strips by their names: the numbers that the bars' heights tell, and a bar's unit."""
    found = {}
    for name, limit, heights in card.locator(".vt-walk-strip").evaluate_all(STRIPS):
        if heights:
            unit = as_number(limit.removeprefix("±"))
            found[name] = torch.tensor(heights, dtype=torch.float64) * unit, unit
        else:
            found[name] = None
    return found


def as_number(text):
    assert "·" not in text
    return float(text.replace("−", "-"))


@reading
def bars(card):
    return [float(text.rstrip("%")) for text in card.locator(".vt-answer-share").all_inner_texts()]


# In Python


def test_what_is_no_model_or_picture_is_refused(vit, images):
    with pytest.raises(ValueError, match="not a Linear"):
        EncoderWalk(torch.nn.Linear(1, 1), images, NAMES)
    with pytest.raises(ValueError, match=r"images of shape \(n, 1, 28, 28\)"):
        EncoderWalk(vit, torch.zeros(3, 1, 32, 32, dtype=torch.uint8), NAMES)
    with pytest.raises(ValueError, match="a name for each image, got 2 for 3"):
        EncoderWalk(vit, images, NAMES[:2])


def test_the_words_are_what_hooks_in_pytorch_hear(figure, walk):
    lengths = [walk.stream(done)[9].norm() for done in (0, 4)]
    added = [each[9].norm() for each in walk.added]
    assert figure(token=9).still()[1] == (
        "An image (Top) in 7 by 7 patches, and the way of patch 9 through the encoder: it enters "
        f"with norm {lengths[0]:.1f}, 4 steps each add a vector with norm {min(added):.1f} to "
        f"{max(added):.1f}, and it leaves with norm {lengths[1]:.1f}."
    )
    assert "the way of patch 25 " in figure().still()[1]  # the middle one, for token 0 is the class
    assert "the way of the class token " in figure(token=0).still()[1]


def test_the_book_s_model_goes_by_its_name(images):
    html = EncoderWalk(load_pretrained("fashion"), images, NAMES).to_html()
    assert 'data-models="fashion"' in html
    assert len(html) < 12_000


# In a page


@pytest.mark.parametrize("token", [0, 20])
def test_every_stage_is_what_hooks_in_pytorch_hear(book, figure, walk, token):
    torch.testing.assert_close(walk.stream(4), walk.last)  # all that is added is all there is
    page = book.open(figure(token=token))
    card = open_card(page)

    def check(**expected):
        def holds(found):
            assert list(found) == list(expected)
            for name, numbers in expected.items():
                if numbers is None:
                    assert found[name] is None
                    continue
                shown, unit = found[name]
                torch.testing.assert_close(shown, numbers, rtol=0.01, atol=0.025 * unit)

        assert strips(card).meets(holds)

    for at, title in enumerate(STAGES):
        assert soon(card.locator(".vt-walk-stage").inner_text) == title
        slider = card.get_by_label("stage", exact=True)
        assert soon(slider.input_value) == str(at)
        assert soon(slider.get_attribute, "aria-valuetext").becomes(
            lambda text, title=title: f"{text} (" in title
        )
        number, kind = divmod(at - 2, 3)
        done = min(max(number + (kind == 2), 0), 4)
        stream, told = walk.stream(done)[token], card.locator(".vt-walk-check")
        if at == 0:
            pixels = walk.patches[token - 1]
            check(**({"pixels": pixels} if token else {"learned": walk.vit.cls_token[0, 0]}))
        elif at == 1:
            first = walk.projected[token - 1] if token else walk.vit.cls_token[0, 0]
            check(**{
                "x E" if token else "learned": first,
                "+ position": walk.vit.pos_embedding[0, token],
                "= stream": walk.first[token],
            })  # fmt: skip
        elif at < 14:
            check(**{
                "stream": walk.stream(number)[token],
                "normed": walk.normed[number][token],
                "+ added": walk.added[number][token] if kind else None,
                "= stream": stream if kind == 2 else None,
            })  # fmt: skip
        elif at == 14:
            check(stream=walk.last[0], y=walk.vit.mlp_head[0](walk.last[0]))
        else:
            check(y=walk.vit.mlp_head[0](walk.last[0]), logits=walk.logits)
        if 0 < at < 15:
            count = "1 addition" if done == 1 else f"{done} additions"
            found = soon(told.inner_text).search(
                rf"^check: embedding \+ {count} = stream, to within (\S+)( · 10⁻[⁵⁶⁷⁸])?$"
            )
            assert found[2] or found[1] == "0"
        assert bars(card) == pytest.approx((100 * walk.answer(done)).tolist(), abs=0.51)
        card.get_by_role("button", name="Next").click(force=True)  # at the end it does nothing
    assert soon(card.locator(".vt-walk-stage").inner_text) == STAGES[-1]
    assert page.noise == []


def test_the_words_and_the_table_tell_the_lengths(book, figure, walk):
    page = book.open(figure(token=9, stage=4))
    card = open_card(page)
    for step in range(4):
        card.get_by_label("stage", exact=True).fill(str(4 + 3 * step))
        old, new = (walk.stream(done)[9].norm().item() for done in (step, step + 1))
        lengths = pytest.approx([old, walk.added[step][9].norm().item(), new], rel=0.005)

        def holds(text, lengths=lengths, shorter=new < old):
            assert [float(n) for n in re.findall(r"\d+\.\d+", text)] == lengths
            assert ("smaller than before" in text) == shorter

        assert said(card).meets(holds)
    open_numbers(card)
    table = card.locator(".vt-numbers tbody tr").evaluate_all(CELLS)
    places = ["embedding", *(f"layer {n}, {what}" for n in (1, 2) for what in ("attention", "MLP"))]
    assert [row[0] for row in table] == places
    for done, (_, added, length, answer, share) in enumerate(table):
        assert as_number(length) == pytest.approx(walk.stream(done)[9].norm().item(), rel=0.005)
        if done:
            assert as_number(added) == pytest.approx(
                walk.added[done - 1][9].norm().item(), rel=0.005
            )
        expected = walk.answer(done)
        assert answer == NAMES[expected.argmax()]
        assert float(share.rstrip("%")) == pytest.approx(100 * expected.max().item(), abs=0.51)


def test_the_chart_has_a_point_for_every_length_and_marks_the_stage(book, figure, walk):
    card = open_card(book.open(figure(token=9)))
    lengths = [walk.stream(done)[9].norm().item() for done in range(5)]
    added = [each[9].norm().item() for each in walk.added]
    highest = max(lengths + added)
    dots = card.locator(".vt-walk-dot")
    heights = dots.evaluate_all("(all) => all.map((dot) => dot.getAttribute('cy'))")
    top = min(120 - 110 * length / highest for length in lengths + added)
    assert top == pytest.approx(10)
    assert [float(y) for y in heights] == pytest.approx(
        [120 - 110 * length / highest for length in lengths], abs=0.01
    )
    bars_of = card.locator(":is(.vt-walk-attention, .vt-walk-mlp)")
    tall = bars_of.evaluate_all("(all) => all.map((bar) => bar.getAttribute('height'))")
    assert [float(y) for y in tall] == pytest.approx([110 * a / highest for a in added], abs=0.01)
    marked = []
    for stage in range(16):
        card.get_by_label("stage", exact=True).fill(str(stage))
        mark = card.locator(".vt-walk-now")
        assert soon(card.locator(".vt-walk-stage").inner_text) == STAGES[stage]
        if stage:
            middle = float(mark.get_attribute("x")) + float(mark.get_attribute("width")) / 2
            places = dots.evaluate_all("(all) => all.map((dot) => Number(dot.getAttribute('cx')))")
            marked += [i for i, place in enumerate(places) if abs(place - middle) < 1]
        else:
            assert soon(mark.count) == 0
    assert marked == [0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4, 4, 4]


def test_shapes_stand_at_every_stage(book, figure):
    card = open_card(book.open(figure()))
    shapes = {
        0: "49 patches: (49, 16)",
        1: "(49, 16) → (50, 16), with the class token in front",
        2: "(50, 16) → (50, 16), each token by itself",
        3: "(50, 16) → (50, 16), mixed by 2 maps of (50, 50)",
        4: "(50, 16) + (50, 16) → (50, 16)",
        6: "(50, 16) → (50, 24) → (50, 16), each token by itself",
        14: "(50, 16) → (16,), token 0 alone",
        15: "(16,) → (3,)",
    }
    for stage, text in shapes.items():
        card.get_by_label("stage", exact=True).fill(str(stage))
        assert soon(card.get_by_text(text, exact=True).count) == 1


def test_a_model_with_mean_pooling_has_no_class_token_and_reads_all(book, images):
    vit = small("mean")
    expected = Walk(vit, images[0])
    card = open_card(book.open(EncoderWalk(vit, images, NAMES, stage=14)))
    assert soon(card.locator(".vt-badge").count) == 0
    assert "(49, 16) → (16,), the mean alone" in soon(card.inner_text)
    shown, unit = strips(card).now["stream"]
    torch.testing.assert_close(shown, expected.last.mean(dim=0), rtol=0.01, atol=0.025 * unit)
    assert bars(card) == pytest.approx((100 * expected.logits.softmax(-1)).tolist(), abs=0.51)
    assert "the mean of the tokens" in soon(card.inner_text)


def test_by_mouse(book, figure, walk):
    page = book.open(figure())
    card = open_card(page)
    card.get_by_role("gridcell", name="patch 9, row 2, column 2").click()
    assert said(card) == "Patch 9 is 16 values, its pixels."
    card.get_by_role("button", name="class token").click()
    assert said(card).startswith("The class token has no pixels")
    card.get_by_role("button", name="Next").click()
    card.get_by_role("button", name="Next").click()
    assert soon(card.locator(".vt-walk-stage").inner_text) == STAGES[2]
    card.get_by_role("button", name="Back").click()
    assert said(card).startswith("The class token enters the stream with norm ")
    card.get_by_label("image", exact=True).select_option("Boot")
    assert "Boot, and the class token" in soon(card.inner_text)

    card.get_by_role("button", name="Reset").click()
    assert said(card) == "Patch 25 is 16 values, its pixels."
    ratios = torch.stack([
        added.norm(dim=-1) / walk.stream(step).norm(dim=-1) for step, added in enumerate(walk.added)
    ])  # fmt: skip
    best, tokens = ratios.max(dim=-1)
    for step in best.argsort(descending=True).tolist():
        card.get_by_role("button", name="Surprise me").click()
        assert soon(card.locator(".vt-walk-stage").inner_text) == STAGES[4 + 3 * step]
        token = tokens[step].item()
        name = f"Patch {token}" if token else "The class token"
        assert said(card).startswith(f"{name} had norm ")
    assert page.noise == []


def test_by_touch(book, figure):
    page = book.open(figure(), width=360, has_touch=True)
    page.get_by_role("button", name="Show me").tap()
    page.get_by_role("gridcell", name="patch 9, row 2, column 2").tap()
    page.get_by_role("button", name="Next").tap()
    assert said(page.locator(".vt-card")).startswith("Patch 9 enters the stream")


def test_by_keyboard_alone(book, figure):
    page = book.open(figure())
    card = page.locator(".vt-card")
    card.wait_for()
    press = presses(page)

    assert press("Tab", "Tab", "Tab", "Enter") == "class token"  # past both answers to "Show me"
    press("Tab", "Tab", "ArrowRight")  # past the patches to the stage
    assert said(card).startswith("Patch 25 enters the stream")
    assert press("Shift+Tab") == "patch 25, row 4, column 4"  # one stop, where the choice is
    assert press("ArrowRight", "ArrowUp") == "patch 19, row 3, column 5"
    assert said(card).startswith("Patch 19 enters the stream")
    assert press("Shift+Tab", "Space") == "class token"
    assert said(card).startswith("The class token enters the stream")
    press("Tab", "Tab", "End")  # the slider
    assert said(card).startswith("The head reads token 0 and predicts ")
    press("Tab", "Enter", "Enter")  # back
    assert soon(card.locator(".vt-walk-stage").inner_text) == STAGES[13]
    press("Tab", "Enter", "Enter", "Enter", "Enter")  # next; at the end it stays, and the focus too
    assert soon(card.locator(".vt-walk-stage").inner_text) == STAGES[15]
    assert soon(page.evaluate, "document.activeElement.textContent") == "Next"
    press("Tab", "ArrowDown")  # the picture
    assert "Bag, and the class token" in soon(card.inner_text)
    press("Tab", "Tab", "Enter")  # past "Surprise me" to "Reset"
    assert said(card) == "Patch 25 is 16 values, its pixels."
