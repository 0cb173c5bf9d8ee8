"""Check the exercises of chapter 10: official weights."""

from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vit_tutorial.data import load_dataset, normalize
from vit_tutorial.exercises.answers import (
    Hint,
    exercise,
    number,
    numbers,
    same,
    several,
    yes_or_no,
)
from vit_tutorial.positions import resize_pos_embedding
from vit_tutorial.pretrained import load_pretrained
from vit_tutorial.vit import ViT

TALL = (36, 20)  # pixels: 9 x 5 patches


@cache
def model_and_images() -> tuple[ViT, Tensor, Tensor]:
    """Return the book's ViT, and the chapter's 500 test images and labels."""
    vit = load_pretrained("fashion")
    assert isinstance(vit, ViT)
    images, labels = load_dataset("fashion_mnist", "test", subset=500)
    return vit, normalize(images, vit.facts["mean"], vit.facts["std"]), labels


@exercise(
    "ex-pretrained-head",
    "the two probabilities that it gives any image, as (footwear, the rest)",
)
def head(answer: object) -> str:
    """Judge what a new head of two classes predicts."""
    given = torch.tensor(numbers(answer, 2), dtype=torch.float64)
    two = load_pretrained("fashion", num_classes=2)
    _, images, _ = model_and_images()
    logits = two(images[:3])
    if same(given, logits[0]):
        raise Hint("those are its logits. What does softmax make of them?")
    if not same(given.sum(), 1.0):
        raise Hint("the two probabilities should sum to 1.")
    if not same(given, logits.softmax(dim=1)[0]):
        raise Hint(
            "that prefers one of the two classes. Print the new head's weights."
        )
    return (
        "a new head is zero, so both logits are 0 for every image, and "
        "training begins without a preference."
    )


@cache
def moves(eps: float) -> Tensor:
    """Return how far each logit moves with another ε, (500, 10)."""
    vit, images, _ = model_and_images()
    sizes: dict[str, Any] = vit.config | {"eps": eps}
    other = ViT(**sizes).eval()
    other.load_state_dict(vit.state_dict())
    return (other(images) - vit(images)).abs()


@exercise(
    "ex-pretrained-eps",
    "two numbers, how far any logit of the 500 images moves at most, (with "
    "1e-12, with 1e-2)",
)
def eps(answer: object) -> str:
    """Judge how much the ε of the layer norms matters."""
    tiny, large = numbers(answer, 2)
    right = [moves(each).max().item() for each in (1e-12, 1e-2)]

    def close(given: float, expected: float) -> bool:
        return abs(given - expected) < max(0.005, 0.05 * expected)

    if close(tiny, right[1]) and close(large, right[0]):
        raise Hint("the two are in the other order: 1e-12 first.")
    if not close(tiny, right[0]):
        raise Hint(
            "with 1e-12 it's another number. Compare ε with the variance that "
            "it is added to: how much can a smaller one change?"
        )
    for outcome, hint in (
        (moves(1e-2).mean(), "that is the mean move; take the largest."),
        (moves(1e-2)[0].max(), "that is of the first image alone."),
    ):
        if abs(large - outcome.item()) < 1e-4:
            raise Hint(hint)
    if not close(large, right[1]):
        raise Hint(
            "the first is right. For 1e-2, load the book's weights into a "
            "model with that eps, in eval mode, and take the largest absolute "
            "difference."
        )
    return (
        "the tokens' variance is so far above both that the logits hardly "
        "notice. In a model whose variance is small, ε would matter."
    )


@cache
def accuracy_tall(grid: tuple[int, int]) -> float:
    """Return the accuracy on tall images with positions of this grid."""
    vit, images, labels = model_and_images()
    tall = F.interpolate(images, TALL, mode="bilinear", antialias=True)
    other = load_pretrained("fashion", image_size=TALL)
    assert isinstance(other, ViT)
    old: Any = vit.pos_embedding
    new: Any = other.pos_embedding
    new.copy_(resize_pos_embedding(old, vit.grid, grid))
    right = other(tall).argmax(dim=1) == labels
    return right.double().mean().item()


@exercise(
    "ex-pretrained-grid",
    "two things, (is there an error, True or False; the accuracy, between 0 "
    "and 1)",
)
def grid(answer: object) -> str:
    """Judge what a grid with rows and columns exchanged costs."""
    error, share = several(answer, 2)
    (error,) = yes_or_no([error], 1)
    share = number(share)
    if error:
        raise Hint("try it: is the number of tokens another one?")
    right, usual = accuracy_tall((5, 9)), accuracy_tall((9, 5))
    if 1 < share <= 100:
        raise Hint("give the accuracy as a share, between 0 and 1.")
    if abs(share - usual) < 0.02:
        raise Hint(
            "that is the accuracy with rows and columns the right way round."
        )
    if abs(share - right) > 0.03:
        raise Hint(
            "there is no error. For the accuracy, copy the resized embeddings "
            "into the model for images of 36 × 20 pixels."
        )
    return (
        f"45 tokens fit both grids, so nothing complains, and {usual:.0%} "
        f"become {share:.0%}. A count of tokens can't see their order."
    )
