"""Check the exercises of chapter 8: inductive bias."""

from functools import cache

import torch
from torch import Tensor

from vit_tutorial.augment import shift
from vit_tutorial.data import load_dataset, normalize
from vit_tutorial.exercises.answers import (
    Hint,
    call,
    exercise,
    numbers,
    same,
    table,
)
from vit_tutorial.pretrained import load_pretrained

FEW = "vit-500-0"  # the ViT that was trained on 500 images
SHIFTS = (-2, 0, 2)


def moved(images: Tensor, right: int, down: int = 0) -> Tensor:
    """Move all images; black comes in at the edges."""
    along = (torch.full((len(images),), by) for by in (down, right))
    return shift(images, *along)


@cache
def images_and_labels() -> tuple[Tensor, Tensor]:
    """Return the chapter's 500 test images and their labels."""
    return load_dataset("fashion_mnist", "test", subset=500)


@cache
def probabilities(name: str, right: int, down: int = 0) -> Tensor:
    """Return a model's, (500, 10), for the test images moved so far."""
    vit = load_pretrained(name)
    images, _ = images_and_labels()
    x = normalize(
        moved(images, right, down), vit.facts["mean"], vit.facts["std"]
    )
    return vit(x).softmax(dim=1)


def right_share(predictions: Tensor) -> float:
    """Return which share of the test images is classified right."""
    _, labels = images_and_labels()
    return (predictions.argmax(dim=1) == labels).double().mean().item()


@exercise(
    "ex-bias-pixels",
    "a function or a module, from images of shape (b, 1, 28, 28) to ten "
    "logits for each, that sees no pixel's neighbours",
)
def pixels(answer: object) -> str:
    """Judge a model that reads a bag of pixels."""
    x = torch.randn(4, 1, 28, 28)
    scattered = x.flatten(2)[:, :, torch.randperm(784)].view_as(x)
    whole = call(answer, x.clone())
    if isinstance(whole, Tensor) and whole.shape == (4, 10, 28, 28):
        raise Hint("one set of logits for each place: average over all places.")
    if isinstance(whole, Tensor) and whole.shape == (4, 10, 1, 1):
        raise Hint("nearly: flatten the last two axes away.")
    whole = table(whole, (4, 10))
    torn = table(call(answer, scattered), (4, 10))
    again = table(call(answer, x.clone()), (4, 10))
    if not same(whole, again):
        raise Hint(
            "asked twice, it gives two answers. Are its weights drawn anew in "
            "each call, or is a dropout still on?"
        )
    if (whole - whole[:1]).abs().max() < 1e-6:
        raise Hint("every image gets the same logits: it reads no pixels.")
    if not torch.allclose(whole, torn, atol=1e-4, rtol=1e-3):
        raise Hint(
            "shuffled pixels change its logits. Which layer sees neighbours, "
            "or has a weight of its own for each place?"
        )
    return (
        "its prediction stays when pixels are shuffled. It reads a bag of "
        "pixels, as the ViT without positions reads a bag of patches."
    )


@exercise(
    "ex-bias-taught",
    "three numbers, what the book's ViT loses, in points of accuracy, when "
    "the images move by 1, 2 and 4 pixels",
)
def taught(answer: object) -> str:
    """Judge what a model that was shown small shifts loses by larger ones."""
    given = numbers(answer, 3)

    def losses(name: str) -> list[float]:
        still, *others = (
            100 * right_share(probabilities(name, by)) for by in (0, 1, 2, 4)
        )
        return [still - other for other in others]

    def close(found: list[float]) -> bool:
        pairs = zip(given, found, strict=True)
        return all(abs(one - other) < 1.5 for one, other in pairs)

    right = losses("fashion")
    if close(right):
        return (
            "it bears the pixel that it was shown, and still loses much when "
            "the shift is four times as large."
        )
    if close([-each for each in right]):
        raise Hint("a loss is positive: accuracy before, minus accuracy after.")
    if max(map(abs, given)) < 1:
        raise Hint("those are shares. A point is a hundredth: multiply.")
    if close(losses("vit-55000-0")):
        raise Hint("that is this chapter's ViT. Load the book's own.")
    still = 100 * right_share(probabilities("fashion", 0))
    if close([still - each for each in right]):
        raise Hint("that is the accuracy that is left. How much is gone?")
    first = [right[0], right[1] - right[0], right[2] - right[1]]
    if close(first):
        raise Hint("measure each from the images as they are, not in steps.")
    wrong = next(
        by
        for by, one, other in zip((1, 2, 4), given, right, strict=True)
        if abs(one - other) >= 1.5
    )
    raise Hint(
        f"look again at the move by {wrong}: the accuracy of "
        'load_pretrained("fashion") on 500 test images, before and after.'
    )


@cache
def every_vote() -> Tensor:
    """Return the nine predictions for images moved by two, (9, 500, 10)."""
    vit = load_pretrained(FEW)
    images, _ = images_and_labels()
    off_centre, facts = moved(images, 2), (vit.facts["mean"], vit.facts["std"])
    votes = [
        vit(normalize(moved(off_centre, right, down), *facts)).softmax(dim=1)
        for right in SHIFTS
        for down in SHIFTS
    ]
    return torch.stack(votes)


@exercise(
    "ex-bias-vote",
    "two numbers, (the gain in points of accuracy, how many times the work)",
)
def vote(answer: object) -> str:
    """Judge what a vote over nine shifts gains and costs."""
    gain, cost = numbers(answer, 2)
    votes = every_vote()
    alone = right_share(probabilities(FEW, 2))
    right = 100 * (right_share(votes.mean(dim=0)) - alone)
    centred = 100 * (right_share(probabilities(FEW, 0)) - alone)
    if cost != len(votes):
        if cost == len(votes) - 1:
            raise Hint("the work: the image as it is, (0, 0), is one, too.")
        if cost == len(SHIFTS):
            raise Hint("the work: three shifts along each of two directions.")
        raise Hint("the work: how many passes does one prediction take?")
    if abs(gain - right) < 1.5:
        return (
            "more right predictions without any training, and nine passes for "
            "each of them."
        )
    if abs(gain - right / 100) < 0.015:
        raise Hint("the gain: that is a share. A point is a hundredth.")
    if abs(gain + right) < 1.5:
        raise Hint("the gain: the sign. It is together minus alone.")
    if abs(gain - right - 100 * alone) < 1.5:
        raise Hint("the gain: that is the accuracy of the vote. Subtract.")
    if abs(gain - centred) < 1.5:
        raise Hint(
            "the gain: that is the model on images that were never moved. The "
            "vote does not know by how much they were."
        )
    raise Hint(
        "the gain: average the nine predictions (softmax), not the images, "
        "and subtract the accuracy on the same moved images alone."
    )
