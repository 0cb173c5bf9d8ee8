"""Check the exercises of chapter 11: a gallery of bugs."""

from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from vit_tutorial.arms import ARMS
from vit_tutorial.exercises.answers import (
    Hint,
    NoAnswer,
    Unreadable,
    call,
    exercise,
    several,
)
from vit_tutorial.properties import PROPERTIES, check_all, randomise
from vit_tutorial.vit import ViT

SIZES = ARMS["bug-none"].model


class Scaled(nn.Module):
    """Softmax, and the scale of the scores only afterwards."""

    def __init__(self, scale: float):
        super().__init__()
        self.scale = scale

    def forward(self, scores: Tensor) -> Tensor:
        return scores.softmax(dim=-1) * self.scale


@cache
def failing() -> frozenset[str]:
    """Return the properties that fail if the weights are scaled instead."""
    vit = ViT(**SIZES)
    layers: Any = vit.transformer.layers
    for layer, _ in layers:
        attention = layer.fn
        attention.fused = False
        attention.attend, attention.scale = Scaled(attention.scale), 1.0
    found = check_all(vit)
    return frozenset(name for name, wrong in found.items() if wrong)


@exercise("ex-bugs-after", "a list of names, of the properties that fail")
def after(answer: object) -> str:
    """Judge which properties fail if the weights are scaled, not the scores."""
    if isinstance(answer, set | frozenset | dict):
        answer = list(answer)
    named = several(answer)
    if not all(isinstance(name, str) for name in named):
        raise Unreadable(answer)
    for name in named:
        if name not in PROPERTIES:
            raise Hint(
                f"no property is called {name[:40]!r}. check_all(my_vit) "
                "names the ten."
            )
    if extra := set(named) - failing():
        raise Hint(
            f"{min(extra)} holds. Read what it looks at: does a factor behind "
            "the softmax change that?"
        )
    if set(named) != failing():
        raise Hint(
            "what you named does fail, and something else does, too. Think of "
            "what goes into the softmax, and of what comes out."
        )
    return (
        "the rows sum to the scale instead of 1, and the softmax saw scores "
        "that are too large."
    )


class Small(nn.Module):
    """A classifier that reads a batch, with one of the mistakes, or none."""

    def __init__(self, mistake: str = ""):
        super().__init__()
        self.mistake = mistake
        self.head = nn.Linear(16, 3)

    def forward(self, images: Tensor) -> Tensor:
        x = images.flatten(1)
        if self.mistake == "batch":
            x = x - x.mean(dim=0)
        if self.mistake == "random":
            x = nn.functional.dropout(x, 0.5)
        return self.head(x)


@exercise(
    "ex-bugs-any",
    "two functions, (is_alone, is_deterministic); each takes a model and "
    "images and returns True or False",
)
def any_model(answer: object) -> str:
    """Judge two checks of any model, by models of which they should differ."""
    checks = several(answer, 2)
    images = torch.randn(4, 1, 4, 4)

    def ask(check: Callable, mistake: str) -> bool:
        said = call(check, Small(mistake).eval(), images)
        if isinstance(said, Tensor) and said.numel() == 1:
            said = said.item()
        if not isinstance(said, bool):
            raise Unreadable(said)
        return said

    for which, mistake, hint in (
        (0, "batch", "each image alone, one after the other, with all at once"),
        (1, "random", "two passes with the same images"),
    ):
        name, check = ("is_alone", "is_deterministic")[which], checks[which]
        if not ask(check, ""):
            raise Hint(
                f"{name} says False of a right model. Does it allow for "
                "rounding, and does it compare the same images?"
            )
        if ask(check, mistake):
            raise Hint(
                f"{name} says True of a model for which it shouldn't. "
                f"Compare {hint}."
            )
    return (
        "the two need nothing but the model and some images, so they work for "
        "anybody's."
    )


@exercise(
    "ex-bugs-eleventh",
    "a function that takes a ViT and makes a mistake in what it computes",
)
def eleventh(answer: object) -> str:
    """Judge a bug that no property sees."""
    vit, broken = ViT(**SIZES), ViT(**SIZES)
    randomise(vit)
    broken.load_state_dict(vit.state_dict())
    images = torch.randn(4, 1, 28, 28)
    with suppress(NoAnswer):  # it may return nothing, and change the ViT
        result = call(answer, broken)
        if not isinstance(result, ViT):
            raise Unreadable(result)
        broken = result
    state = broken.state_dict()
    for name, value in vit.state_dict().items():
        if name not in state or not torch.equal(value, state[name]):
            raise Hint(
                f"{name} is not what it was. Leave the weights alone, and "
                "change what the model does with them."
            )
    logits = call(broken.eval(), images)
    if not isinstance(logits, Tensor) or logits.shape != (4, 10):
        raise Hint("its logits should keep their shape, (b, 10).")
    right = vit.eval()(images)
    if torch.equal(logits, right) and str(broken) == str(vit):
        raise NoAnswer  # the function is still empty
    if torch.allclose(logits, right, rtol=1e-3, atol=1e-4):
        raise Hint("its logits are those of the right model: nothing is wrong.")
    found = call(check_all, broken)
    assert isinstance(found, dict)
    for name, wrong in found.items():
        if wrong:
            raise Hint(f"{name} catches it: {wrong}.")
    return (
        "the logits are wrong, and all ten properties hold. Each rules out "
        "one way of being wrong; the right logits would rule out all."
    )
