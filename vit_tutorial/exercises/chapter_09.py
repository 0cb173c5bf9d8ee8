"""Check the exercises of chapter 9: attention maps."""

from functools import cache

import torch
from torch import Tensor

from vit_tutorial.attention_maps import attention_relevance, attention_rollout
from vit_tutorial.data import load_dataset, normalize
from vit_tutorial.exercises.answers import (
    Hint,
    Unreadable,
    call,
    exercise,
    numbers,
    recognise,
    same,
    table,
)
from vit_tutorial.inside import switch_off_heads
from vit_tutorial.pretrained import load_pretrained
from vit_tutorial.verdicts import compare_over_images
from vit_tutorial.vit import ViT


@cache
def model_and_pictures() -> tuple[ViT, Tensor]:
    """Return the book's ViT, and every fifth of 500 test images."""
    vit = load_pretrained("fashion")
    assert isinstance(vit, ViT)
    images, _ = load_dataset("fashion_mnist", "test", subset=500)
    pictures = normalize(images, vit.facts["mean"], vit.facts["std"])
    return vit, pictures[::5]


@exercise(
    "ex-maps-residual",
    "a function of one image's maps, a list of (heads, n, n), that returns "
    "the rollout without residual connections, (n, n)",
)
def residual(answer: object) -> str:
    """Judge rollout without the residual connection."""
    maps = [torch.randn(2, 5, 5).double().softmax(dim=-1) for _ in range(3)]
    result = call(answer, [each.clone() for each in maps])
    if isinstance(result, Tensor) and result.shape == (2, 5, 5):
        raise Hint("that is one table a head. Average over the heads first.")
    result = table(result, (5, 5))
    first, second, third = (each.mean(dim=0) for each in maps)
    if same(result, third @ second @ first):
        return (
            "mixed again and again, all rows become one, and whose row it was "
            "is lost. With the residual connection, a little of it stays."
        )
    tops = [each.amax(dim=0) for each in maps]
    kept = attention_rollout([each[None] for each in maps])[0]
    recognise(
        result,
        [
            (kept, "the residual connection is still in it."),
            (
                first @ second @ third,
                "the other way round: a later layer mixes what the earlier "
                "ones have made, so it stands on the left.",
            ),
            (third, "that is the last layer alone."),
            (first + second + third, "the layers are added. Multiply them."),
            (
                tops[2] @ tops[1] @ tops[0],
                "that is the heads' maximum. Rollout takes their mean.",
            ),
            (third * second * first, "* multiplies entry by entry; use @."),
            (
                (first + torch.eye(5)) / 2,
                "the residual connection is still in it.",
            ),
        ],
    )
    raise Hint(
        "for each layer, the mean over its heads, and one matrix product with "
        "what you have so far."
    )


@cache
def lost_by_head() -> dict[tuple[float, float], float]:
    """Return the points of probability that are lost without each head."""
    vit, pictures = model_and_pictures()
    p = vit(pictures).softmax(dim=1)
    before, answers = p.max(dim=1)
    lost = {}
    for layer in range(6):
        for head in range(4):
            with switch_off_heads(vit, {layer: [head]}):
                left = vit(pictures).softmax(dim=1)
            left = left.gather(1, answers[:, None])[:, 0]
            lost[layer + 1, head + 1] = 100 * (before - left).mean().item()
    return lost


@exercise(
    "ex-maps-heads",
    "two numbers counted from 1, (the layer, the head)",
)
def heads(answer: object) -> str:
    """Judge which head the model needs most."""
    layer, head = numbers(answer, 2)
    given = (layer, head)
    lost = lost_by_head()
    ranking = sorted(lost, key=lost.__getitem__, reverse=True)
    if given == ranking[0]:
        return (
            "without this head the predictions lose most, and still only a "
            "few points."
        )
    if given == tuple(place - 1 for place in ranking[0]):
        raise Hint("in the code they count from 0; here, count from 1.")
    if given == ranking[0][::-1]:
        raise Hint("the two are in the other order: the layer first.")
    if given not in lost:
        raise Hint("there are 6 layers of 4 heads, counted from 1.")
    place = ranking.index(given) + 1
    if place == len(ranking):
        raise Hint("that is the head that it needs least.")
    raise Hint(
        f"without that one, {lost[given]:.1f} points are lost: number {place} "
        "of 24. Switch off one head at a time."
    )


@cache
def noticed() -> tuple[str, ...]:
    """Return which deletion tests tell a second class's map from the first's.

    As the chapter does it, with a fifth of its images.
    """
    vit, pictures = model_and_pictures()
    tokens, logits = vit.embed(pictures), vit(pictures)
    own, second = logits.topk(2, dim=1).indices.T
    gone = range(0, 50, 7)

    def area(classes: Tensor, sign: int) -> Tensor:
        with torch.enable_grad():
            relevance = attention_relevance(vit, pictures, classes)
        order = (sign * relevance[:, 0, 1:]).argsort(dim=1, stable=True)
        left = []
        for count in gone:
            kept = tokens[:, 1:].take_along_dim(order[:, count:, None], dim=1)
            out = vit.transformer(torch.cat((tokens[:, :1], kept), dim=1))
            p = vit.classify(out).softmax(dim=1)
            left.append(p.gather(1, own[:, None]))
        return torch.trapezoid(torch.cat(left, dim=1), torch.tensor(gone) / 49)

    found = []
    for name, sign in (("first", -1), ("last", 1)):
        areas = {
            "own": (sign * area(own, sign)).tolist(),
            "second": (sign * area(second, sign)).tolist(),
        }
        pairs = [("own", "second")]
        (test,) = compare_over_images(areas, pairs, margin=0.02)
        if test.verdict == "better":
            found.append(name)
    return tuple(found)


@exercise(
    "ex-maps-least",
    'one of "first", "last", "both" and "neither", by what a test removes '
    "first: the most important patches, or the least important ones",
)
def least(answer: object) -> str:
    """Judge which deletion test notices a map of another class."""
    choices = {
        "first": ("first",),
        "last": ("last",),
        "both": ("first", "last"),
        "neither": (),
    }
    given = answer.strip().lower() if isinstance(answer, str) else answer
    if not isinstance(given, str) or given not in choices:
        raise Unreadable(answer)
    if choices[given] == noticed():
        return (
            "a ranking for another class names other patches, at its top and "
            "at its bottom."
        )
    missing = set(noticed()) - set(choices[given])
    if missing == {"first"}:
        raise Hint(
            "take the test that removes the first-ranked patches. Does the "
            "map of the second class put the same ones first?"
        )
    if missing == {"last"}:
        raise Hint(
            "take the test that removes the last-ranked patches. What does a "
            "map of the second class leave until the end?"
        )
    raise Hint("measure both, with intervals: compare_over_images.")
