"""Read what a reader gives as an answer, and say what keeps it from being one.

An exercise is a function with the decorator `exercise`: it takes the answer,
raises a Hint that fits what is wrong with it, or returns why it is right.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from numbers import Real

import numpy as np
import torch
from torch import Tensor


class Hint(Exception):
    """Say what is wrong with an answer, without giving the solution away."""


class Unreadable(Exception):
    """Hold an answer of another kind than the exercise asks for."""


class NoAnswer(Exception):
    """Stand for an answer that is not written yet: None, `...`, or a part."""


@dataclass(frozen=True)
class Exercise:
    """One exercise: what it asks for, in words, and who judges an answer."""

    asks: str
    judge: Callable[[object], str]

    @property
    def chapter(self) -> int:
        """The number in the name of the file that it stands in."""
        return int(self.judge.__module__.rpartition("_")[2])


EXERCISES: dict[str, Exercise] = {}  # by the label that the chapter gives it


def exercise(name: str, asks: str) -> Callable:
    """Make the function below the judge of the exercise labelled `name`."""

    def keep(judge: Callable[[object], str]) -> Callable:
        EXERCISES[name] = Exercise(asks, judge)
        return judge

    return keep


def is_missing(answer: object) -> bool:
    """Tell whether an answer, or one of its parts, is still to be written."""
    parts = answer if isinstance(answer, tuple | list) else [answer]
    return any(part is None or part is ... for part in parts)


def describe(answer: object) -> str:
    """Name an answer's kind, in the few words that a hint has room for."""
    if isinstance(answer, int) and answer.bit_length() > 100:
        return "a very large int"
    if isinstance(answer, str | bool | int | float):
        shown = repr(answer)
        return shown if len(shown) <= 40 else f"{shown[:36]} …"
    kind = type(answer).__name__
    if isinstance(answer, Tensor | np.ndarray):
        return f"a {kind} of shape {tuple(answer.shape)}"
    if isinstance(answer, tuple | list):
        return f"a {kind} of {len(answer)}"
    return f"an object of type {kind}"


def array(answer: object) -> np.ndarray:
    """Return a tensor or nested lists as a numpy array."""
    try:
        if isinstance(answer, Tensor):
            answer = answer.detach().cpu().numpy()
        return np.asarray(answer)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise Unreadable(answer) from None


def number(answer: object) -> float:
    """Return an answer as a float: one finite number, or a tensor of one."""
    if isinstance(answer, Tensor | np.ndarray | np.generic):
        found = array(answer)
        if found.size != 1:
            raise Unreadable(answer)
        answer = found.item()
    if isinstance(answer, bool) or not isinstance(answer, Real):
        raise Unreadable(answer)
    try:
        value = float(answer)
    except OverflowError:
        value = math.inf
    if not math.isfinite(value):
        raise Hint(f"{describe(answer)} is not a number to compare with.")
    return value


def several(answer: object, count: int | None = None) -> list:
    """Return an answer's parts; `count` of them, where a count is given."""
    if isinstance(answer, Tensor | np.ndarray):
        answer = array(answer).tolist()
    if not isinstance(answer, tuple | list):
        raise Unreadable(answer)
    if count is not None and len(answer) != count:
        raise Unreadable(answer)
    return list(answer)


def numbers(answer: object, count: int | None = None) -> list[float]:
    """Return an answer's parts as floats."""
    return [number(part) for part in several(answer, count)]


def yes_or_no(answer: object, count: int) -> list[bool]:
    """Return an answer's parts as bools: True, False, "yes" or "no"."""
    found = []
    for part in several(answer, count):
        if isinstance(part, str):
            part = {"yes": True, "no": False}.get(part.strip().lower(), part)
        if not isinstance(part, bool | np.bool_):
            raise Unreadable(part)
        found.append(bool(part))
    return found


def table(answer: object, shape: Iterable[int]) -> Tensor:
    """Return an answer as a tensor of floats, of this shape."""
    shape, found = tuple(shape), array(answer)
    if found.dtype.kind not in "iuf":
        raise Unreadable(answer)
    if found.shape != shape:
        raise Hint(f"its shape is {found.shape}; it should be {shape}.")
    if not np.isfinite(found).all():
        raise Hint("there is nan or infinity in it.")
    return torch.tensor(found.astype(np.float64))


def call(function: object, *arguments: object) -> object:
    """Return what the reader's function makes of the arguments.

    Raises Hint where it fails, and NoAnswer where it returns nothing.
    """
    if not callable(function):
        raise Unreadable(function)
    try:
        result = function(*arguments)
    except Exception as error:
        said = " ".join(str(error).split())[:100]
        raise Hint(
            f"called as the exercise says, it stops with "
            f"{type(error).__name__}: {said}"
        ) from None
    if is_missing(result):
        raise NoAnswer
    return result


def same(one: float | Tensor, other: float | Tensor) -> bool:
    """Tell whether two results are equal up to rounding."""
    one, other = torch.as_tensor(one), torch.as_tensor(other)
    return one.shape == other.shape and torch.allclose(
        one.double(), other.double(), rtol=1e-3, atol=1e-5
    )


def recognise(
    answer: float | Tensor, mistakes: Iterable[tuple[float | Tensor, str]]
) -> None:
    """Raise the hint of the first mistake that leads to this answer."""
    for outcome, hint in mistakes:
        if same(answer, outcome):
            raise Hint(hint)
