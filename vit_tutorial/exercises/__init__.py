"""Say whether an answer to one of the book's exercises is right, and why.

In a chapter, `check("ex-patches-count", answer)` compares with what the book's
own code gives. A wrong answer gets a hint that fits the mistake.
"""

import textwrap
from dataclasses import dataclass
from difflib import get_close_matches

import torch

from vit_tutorial.exercises import (  # noqa: F401  (each adds its exercises)
    chapter_01,
    chapter_02,
    chapter_03,
    chapter_04,
    chapter_05,
    chapter_06,
    chapter_07,
    chapter_08,
    chapter_09,
    chapter_10,
    chapter_11,
    chapter_12,
)
from vit_tutorial.exercises.answers import (
    EXERCISES,
    Hint,
    NoAnswer,
    Unreadable,
    describe,
    is_missing,
)

__all__ = ["Reply", "check"]


@dataclass(frozen=True)
class Reply:
    """What `check` says. A notebook shows it as text, at most 80 wide."""

    right: bool
    text: str

    def __bool__(self) -> bool:
        return self.right

    def __repr__(self) -> str:
        return textwrap.fill(self.text, 80, break_on_hyphens=False)


def check(name: str, answer: object = ...) -> Reply:
    """Compare an answer with what the book's code gives.

    Args:
        name: the exercise's label, such as "ex-patches-count".
        answer: what it asks for: numbers, a tensor, or a function, which is
            called on a small example.

    Returns:
        a reply that is true if the answer is right. It says why, or what is
        wrong and where to look next. An answer that nobody can read gets a
        reply, too: nothing is raised. Random numbers stay as they were.
    """
    if not isinstance(name, str) or name not in EXERCISES:
        return Reply(False, suggest(name))
    exercise = EXERCISES[name]
    nothing_yet = Reply(False, f"No answer yet: give {exercise.asks}.")
    if is_missing(answer):
        return nothing_yet
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            reason = exercise.judge(answer)
    except NoAnswer:
        return nothing_yet
    except Unreadable as error:
        (given,) = error.args
        own = given is answer or not callable(answer)
        verb = "this is" if own else "yours returns"
        return Reply(False, f"Give {exercise.asks}; {verb} {describe(given)}.")
    except Hint as hint:
        return Reply(False, f"Not yet: {hint}")
    return Reply(True, f"Right: {reason}")


def suggest(name: object) -> str:
    """List the exercises of the chapter that has the most similar name."""
    if not isinstance(name, str):
        return (
            'An exercise is named by its label, check("ex-patches-count", '
            f"…); this is {describe(name)}."
        )
    (closest,) = get_close_matches(name, EXERCISES, n=1, cutoff=0)
    chapter = EXERCISES[closest].chapter
    names = [
        label for label, each in EXERCISES.items() if each.chapter == chapter
    ]
    return (
        f"There is no exercise {describe(name)}. Those of chapter {chapter} "
        f"are {', '.join(names)}."
    )
