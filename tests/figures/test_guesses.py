"""A guess gets a verdict and the reason for it: those that Python computes for the same model."""

import numpy as np
import pytest
import torch
from figure_page import cards, said, soon
from figure_table import NAMES, ROWS, images, made_up_run, photo, robustness, small_cnn, small_vit
from playwright.sync_api import expect

from vit_tutorial import (
    attention_rollout,
    layer_predictions,
    patchify,
    record_attention,
    unpatchify,
)
from vit_tutorial.data import normalize
from vit_tutorial.widgets import (
    ClassToken,
    Deletion,
    EncoderWalk,
    PatchCost,
    PatchOrder,
    Playback,
    PositionSimilarity,
    Shift,
    dequantised,
)
from vit_tutorial.widgets.shuffle import random_numbers, shuffled

MOST = 5  # of the buttons under a question, "Show me" included


def page_model(vit):
    """Copy a model as the page has it, in double precision."""
    return dequantised(vit).double()


def inputs():
    return normalize(images(), (0.286,), (0.353,)).double()


def signed(number):
    text = f"{number:+.2f}"
    return text[1:] if float(text) == 0 else text.replace("-", "−")


# What decides, by figure: a figure, the answers that are right there, and words of the reason.


def cost():
    coarse, fine = (patchify(photo()[None], size).shape[1] for size in (8, 4))
    times = fine // coarse
    return PatchCost(photo()), [f"{times**2} times"], [f"{times} × the ", f"{times**2} × the pairs"]


@torch.no_grad()
def class_token():
    first = layer_predictions(page_model(small_vit()), inputs())[0].softmax(dim=1)
    is_same = (first - first[0]).abs().max() < 1e-9
    best = first[0].argmax()
    words = [f"is {NAMES[best]} {first[0, best]:.0%} for all 3 images"]
    figure = ClassToken(small_vit(), small_vit(pool="mean"), images(), NAMES)
    return figure, ["it does not" if is_same else "it does"], words


@torch.no_grad()
def order(image):
    vits = small_vit(), small_vit(position="none")
    x = normalize(image[None], (0.286,), (0.353,)).double()
    torn = unpatchify(patchify(x, 4)[:, shuffled(49, 1)], (7, 7), 4)
    changes = [(vit(torn) - vit(x)).abs().max().item() for vit in map(page_model, vits)]
    right = {
        (True, True): "both",
        (True, False): "the one with positions",
        (False, True): "the one without positions",
        (False, False): "neither",
    }[tuple(change > 1e-4 for change in changes)]
    first = f"{changes[0]:.3f}" if changes[0] else "0"
    assert changes[0] < 1  # and so it has three decimals
    words = [f"with positions a logit changes by up to {first}, w"]
    return PatchOrder(*vits, torch.stack([image, *images()[1:]]), NAMES), [right], words


def similarity(answer):
    """The first position for which this is the right answer."""
    positions = page_model(small_vit()).patch_positions().detach()
    positions = positions - positions.mean(dim=0)
    positions = positions / positions.norm(dim=1, keepdim=True)
    alike = positions @ positions.T
    row, column = np.divmod(np.arange(49), 7)
    for position in range(49):
        best = (alike - 2 * torch.eye(49)).argmax(dim=1)[position].item()
        apart = abs(row - row[position]), abs(column - column[position])
        right = {
            (True, False): "another in its row",
            (False, True): "another in its column",
            (False, False): "one elsewhere",
        }[apart[0][best] == 0, apart[1][best] == 0]
        if apart[0][best] + apart[1][best] == 1:
            right = "a direct neighbour"
        if right == answer:
            elsewhere = alike[position][(apart[0] > 0) & (apart[1] > 0)].mean()
            where = f"position {best + 1}, row {row[best] + 1}, column {column[best] + 1}; else"
            words = [f"similarity is {signed(alike[position, best])}, to {where}"]
            words += [f"elsewhere the mean is {signed(elsewhere)}."]
            return PositionSimilarity(small_vit(), position=position), [right], words
    raise AssertionError(f"no position for which the answer is {answer!r}")


@torch.no_grad()
def walk(grows):
    page = page_model(small_vit())
    norms = torch.stack([x.norm(dim=-1) for x in page.transformer.stream(page.embed(inputs()))])
    shrinks = (norms.diff(dim=0) < 0).sum(dim=0)  # (pictures, tokens)
    picture, token = (shrinks == (0 if grows else 1)).nonzero()[-1].tolist()
    figure = EncoderWalk(small_vit(), images(), NAMES, picture=picture, token=token)
    if grows:
        return figure, ["every time"], [f"in all 4 steps the norm of patch {token} grows."]
    return figure, ["not every time"], [f"in 1 of 4 steps the norm of patch {token} shrinks"]


def training(answer):
    """A run for which this is the right answer."""
    for number in range(100):
        log, progress = made_up_run(number)
        held_out = [np.nan, *(each["validation_accuracy"] for each in log if "epoch" in each)]
        tables = np.array([each["similarity"] for each in progress]) / 100
        row, column = np.divmod(np.arange(12), 3)
        same_row, same_column = row[:, None] == row, column[:, None] == column
        near = (same_row | same_column) & ~np.eye(12, dtype=bool)
        far = ~same_row & ~same_column
        gap = tables[:, near].mean(axis=1) - tables[:, far].mean(axis=1)
        reached = [int(np.argmax(np.array(x) >= 0.9 * x[-1])) for x in (held_out, gap)]
        right = {
            -1: "its accuracy",
            0: "both in the same epoch",
            1: "positions that know rows and columns",
        }[np.sign(reached[0] - reached[1])]
        if right == answer:
            words = [f"value in epoch {reached[1]}, held-out accuracy in epoch {reached[0]}."]
            return Playback(log, progress, NAMES), [right], words
    raise AssertionError(f"no run for which the answer is {answer!r}")


def shift(vit_loss, cnn_loss):
    """loss: of a model's accuracy, a pixel."""
    few = robustness(0.74, vit_loss, 0.4), robustness(0.83, cnn_loss, 0.4)
    many = robustness(0.9, 0.01, 0.4), robustness(0.9, 0.03, 0.4)  # not what is asked for
    models = {50: (small_vit(), small_cnn()), 9000: (small_vit(2), small_cnn(2))}
    figure = Shift(models, images(), NAMES, records={50: few, 9000: many}, held_out=1_200)
    (before, *_, after, _), (cnn_before, *_, cnn_after, _) = (
        [record["accuracy"] for record in records] for records in few
    )
    lost, cnn_lost = 100 * (before - after), 100 * (cnn_before - cnn_after)
    right = "the ViT" if lost > cnn_lost else "the CNN"
    right = "both equally, within 1 point" if abs(lost - cnn_lost) < 1 else right
    words = [
        f"the ViT loses {lost:.0f} points ({before:.0%} to {after:.0%})",
        f"the CNN {cnn_lost:.0f} ({cnn_before:.0%} to {cnn_after:.0%})",
    ]
    return figure, [right], words


@torch.no_grad()
def deletion(picture):
    page, x = page_model(small_vit()), inputs()[picture : picture + 1]
    with record_attention(page) as maps:
        before = page(x).softmax(dim=1)[0]
    scores = {
        "last layer": maps[-1].mean(dim=1)[0, 0, 1:],
        "rollout": attention_rollout(maps)[0, 0, 1:],
        "contrast": patchify(images()[picture : picture + 1] / 255, 4).std(dim=-1)[0],
        "at random": torch.tensor(random_numbers(picture + 1, 49)),
    }
    tokens, areas = page.embed(x), {}
    for name, ranking in scores.items():
        places = 1 + ranking.argsort(descending=True, stable=True)
        kept = [torch.cat((torch.tensor([0]), places[gone:])) for gone in range(0, 50, 7)]
        left = [page.classify(page.transformer(tokens[:, each])).softmax(dim=1) for each in kept]
        curve = torch.cat(left)[:, before.argmax()]
        areas[name] = f"{torch.trapezoid(curve).item() / 7:.2f}"
    smallest = min(areas.values())
    right = [name for name, area in areas.items() if area == smallest]
    figure = Deletion(small_vit(), images(), NAMES, picture=picture)
    return figure, right, [f"smallest area, {smallest}, so ", f"(image: {NAMES[picture]})"]


CASES = {
    "patch_cost": cost,
    "class_token": class_token,
    "patch_order: a shoe": lambda: order(images()[0]),
    "patch_order: all black": lambda: order(torch.zeros_like(images()[0])),
    **{
        f"position_similarity: {answer}": lambda answer=answer: similarity(answer)
        for answer in (
            "a direct neighbour",
            "another in its row",
            "another in its column",
            "one elsewhere",
        )
    },
    "encoder_walk: grows": lambda: walk(True),
    "encoder_walk: shrinks": lambda: walk(False),
    **{
        f"playback: {answer}": lambda answer=answer: training(answer)
        for answer in (
            "its accuracy",
            "positions that know rows and columns",
            "both in the same epoch",
        )
    },
    "shift: the ViT": lambda: shift(0.05, 0.03),
    "shift: the CNN": lambda: shift(0.02, 0.06),
    "shift: both": lambda: shift(0.03, 0.032),
    **{f"deletion: image {i}": lambda i=i: deletion(i) for i in range(3)},
}


def test_every_figure_with_a_guess_is_judged_here():
    assert {name.split(":")[0] for name in CASES} == {name for name in ROWS if ROWS[name].guess}


@pytest.mark.parametrize("name", CASES)
def test_a_guess_is_right_or_not_quite_and_the_reason_is_the_same(book, name):
    figure, right, words = CASES[name]()
    page = book.open(*[figure] * MOST)
    all_ = cards(page, MOST)
    buttons = all_[0].locator(".vt-guess button")
    *answers, show_me = (text.strip() for text in buttons.all_inner_texts())
    assert len(answers) < MOST
    assert show_me == "Show me"
    assert set(right) < set(answers)
    all_[-1].get_by_role("button", name="Show me").click()
    shown = all_[-1].get_by_role("status").first
    expect(shown).not_to_be_empty()
    reason = shown.inner_text()
    assert reason[0].upper() == reason[0]
    assert reason.endswith(".")
    for part in words:
        assert part.lower() in reason.lower()
    for card, answer in zip(all_, answers, strict=False):
        line = card.get_by_role("status").first.element_handle()  # there before there are words
        card.get_by_role("button", name=answer, exact=True).press("Enter")
        verdict = "Right" if answer in right else "Not quite"
        expected = f"Your guess: {answer}. {verdict}: {reason}".lower()
        assert soon(lambda line=line: line.inner_text().lower()) == expected
    assert page.noise == []


FIRST_STOPS = {  # of a figure, or of its controls where the figure itself takes no focus
    "patch_cost": "image size",
    "class_token": "How much each patch contributes to the prediction",
    "patch_order": "The original image",
    "position_similarity": "Positions",
    "encoder_walk": "class token",
    "playback": "Similarity to each position",
    "shift": "image",
    "deletion": "The patches; Space removes all up to the current one",
}
FOCUS = """() => {
    const at = document.activeElement;
    return (at.closest("[role=grid]") ?? at).ariaLabel ?? at.labels[0].textContent;
}"""


@pytest.mark.parametrize("name", [name for name in ROWS if ROWS[name].guess])
def test_after_a_guess_the_keyboard_goes_on_with_the_figure(book, name):
    figure = ROWS[name].build()
    page = book.open(figure, figure, width=360, apart=300)
    second = cards(page, 2)[1]
    answer = second.get_by_role("button", name=ROWS[name].guess, exact=True)
    answer.focus()
    before = page.evaluate("scrollY")
    page.keyboard.press("Enter")
    assert soon(page.evaluate, FOCUS) == FIRST_STOPS[name]
    assert second.evaluate("(card) => card.contains(document.activeElement)")
    assert page.evaluate("scrollY") == before > 0
    ringed = "document.activeElement.matches(':focus-visible')"
    assert page.evaluate(ringed)


def test_a_guess_by_mouse_marks_no_patch(book):
    """The patch that has the focus looks like the others until a key is pressed."""
    page = book.open(ROWS["patch_order"].build())
    card = page.locator(".vt-card")
    card.get_by_role("button", name="neither").click()
    assert soon(page.evaluate, FOCUS) == "The original image"
    style = "getComputedStyle(document.activeElement).outlineStyle"
    assert page.evaluate(style) == "none"
    page.keyboard.press("ArrowRight")
    assert soon(page.evaluate, style) == "solid"


def test_nothing_is_judged_before_the_first_model_reads_shuffled_patches(book):
    """Then once and for all: the line stays when the image changes."""
    figure, (right,), _ = order(images()[0])
    figure.seed, figure.positions = 0, False
    card = book.open(figure).locator(".vt-card")
    card.get_by_role("button", name=right).click()
    line = soon(card.locator(".vt-guess").inner_text)
    assert line == f"Your guess: {right}."
    card.get_by_role("button", name="Shuffle again").click()
    assert said(card).startswith("Shuffled: ")
    assert line == f"Your guess: {right}."
    card.get_by_label("position embeddings").check()
    assert line.startswith(f"Your guess: {right}. Right: ")
    before = line.now
    card.get_by_label("image", exact=True).select_option(index=1)
    card.get_by_role("button", name="Shuffle again").click()
    assert line == before


# A Worker that gets nothing to do until the page says so.
HELD = """globalThis.held = [];
globalThis.Worker = class extends Worker {
    postMessage(...words) {
        if (globalThis.held) held.push(() => super.postMessage(...words));
        else super.postMessage(...words);
    }
};
globalThis.release = () => {
    const waiting = held;
    globalThis.held = null;
    for (const send of waiting) send();
};
0;"""


@pytest.mark.parametrize("width", [360, 1280])
def test_a_verdict_that_comes_later_moves_nothing(book, width):
    figure, _, words = deletion(0)
    page = book.open(figure, width=width, before=HELD)
    card = page.locator(".vt-card")
    card.get_by_role("button", name="at random").click()
    line = soon(card.locator(".vt-guess").inner_text)
    assert line == "Your guess: at random."
    place = soon(card.locator(".vt-figure-parts").bounding_box)
    before = place.now
    page.evaluate("release()")
    assert words[0] in line
    assert place == before
