"""Check the challenges of chapter 12: the playground."""

from functools import cache

import torch
from torch import Tensor

from vit_tutorial.data import load_dataset, normalize
from vit_tutorial.exercises.answers import (
    Hint,
    NoAnswer,
    Unreadable,
    exercise,
    numbers,
    several,
)
from vit_tutorial.pretrained import load_pretrained
from vit_tutorial.vit import ViT

PATCHES = 7 * 7


@cache
def sneaker() -> tuple[ViT, Tensor]:
    """Return the book's ViT, and the tokens of the playground's first image."""
    vit = load_pretrained("fashion")
    assert isinstance(vit, ViT)
    images, _ = load_dataset("fashion_mnist", "test", subset=500)
    x = normalize(images[12:13], vit.facts["mean"], vit.facts["std"])
    return vit, vit.embed(x)[0]  # (1 + 49, D)


def from_some(choices: list[list[int]]) -> Tensor:
    """Return the probabilities from some patches: (choices, classes)."""
    vit, tokens = sneaker()
    places = torch.tensor([[0, *(1 + p for p in keep)] for keep in choices])
    return vit.classify(vit.transformer(tokens[places])).softmax(dim=1)


@cache
def search() -> tuple[int, int]:
    """Return how many patches a greedy search keeps, how many it removes."""
    everything = list(range(PATCHES))
    goal = from_some([everything])[0].argmax()
    kept, reached = [], 0.0
    while reached <= 0.5:
        choices = [[*kept, p] for p in everything if p not in kept]
        reached, best = from_some(choices)[:, goal].max(dim=0)
        kept = choices[best]
    left, tried = everything, from_some([everything])[0]
    while tried.argmax() == goal:
        choices = [[p for p in left if p != patch] for patch in left]
        found = from_some(choices)
        worst = found[:, goal].argmin()
        left, tried = choices[worst], found[worst]
    return len(kept), PATCHES - len(left)


def patch_list(answer: object) -> list[int]:
    """Return an answer as places of patches, 0 to 48, each once."""
    if isinstance(answer, set | frozenset | range):
        answer = list(answer)
    parts = several(answer)
    if not parts:
        raise NoAnswer
    if any(isinstance(part, tuple | list) for part in parts):
        raise Hint(
            "give each patch as one number, as fig.dropped does: seven times "
            "the row plus the column, both counted from 0."
        )
    places = numbers(parts)
    if any(place != int(place) for place in places):
        raise Unreadable(answer)
    places = [int(place) for place in places]
    if outside := [p for p in places if not 0 <= p < PATCHES]:
        raise Hint(
            f"there is no patch {outside[0]}. They count from 0 to 48, as in "
            "fig.dropped."
        )
    if len(set(places)) < len(places):
        raise Hint("a patch is in the list twice.")
    return places


@exercise(
    "ex-playground-few",
    "a list of the sneaker's patches that you asked for, from 0 to 48",
)
def few(answer: object) -> str:
    """Judge from how few patches the model recognises the sneaker."""
    asked = patch_list(answer)
    vit, _ = sneaker()
    names = vit.facts["class_names"]
    goal = from_some([list(range(PATCHES))])[0].argmax()
    p = from_some([asked])[0]
    shortest, count = search()[0], len(asked)
    patches = "patch" if count == 1 else "patches"
    if p.argmax() != goal:
        raise Hint(
            f"from {count} {patches} the model says "
            f"{names[p.argmax()]} ({p.max():.0%}). Ask for more, or "
            "for others."
        )
    if p.max() <= 0.5:
        raise Hint(
            f"its first guess is right, with {p.max():.0%}. Go on until it is "
            "above a half."
        )
    if count >= 25:
        raise Hint("from so many it is right, too. Try with fewer than half.")
    if count > shortest:
        return f"{count} {patches}. The search needed {shortest}."
    return f"{count} {patches}, as few as the search needed."


@exercise(
    "ex-playground-fool",
    "a list of the patches that you remove from the sneaker, from 0 to 48",
)
def fool(answer: object) -> str:
    """Judge how few patches are removed to change the prediction."""
    gone = patch_list(answer)
    vit, _ = sneaker()
    names = vit.facts["class_names"]
    everything = list(range(PATCHES))
    left = [p for p in everything if p not in gone]
    goal, p = (from_some([keep])[0] for keep in (everything, left))
    found, count = search()[1], len(gone)
    without = f"without {count} {'patch' if count == 1 else 'patches'}"
    if p.argmax() == goal.argmax():
        other = from_some([gone])[0]
        if count > len(left) and other.argmax() != goal.argmax():
            raise Hint(
                "is that the list of those that stay? Give those that you "
                "remove."
            )
        raise Hint(
            f"{without} it is still a {names[p.argmax()]} "
            f"({p.max():.0%}). Watch the probability, and remove what lowers "
            "it most."
        )
    if count >= 25:
        raise Hint("it changes, but more than half is gone. Try with fewer.")
    new = f"{without} the sneaker becomes a {names[p.argmax()]}."
    if count > found:
        return f"{new} A greedy search needs {found}."
    return f"{new} That is as short as the greedy list, or shorter."
