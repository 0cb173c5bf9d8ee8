"""Check the exercises of chapter 7: training."""

import math

import numpy as np

from vit_tutorial.exercises.answers import (
    Hint,
    call,
    exercise,
    numbers,
)
from vit_tutorial.optimizers import learning_rate
from vit_tutorial.records import RUNS, column, read_log, read_runs


@exercise(
    "ex-training-choose",
    "a function of a run's log that returns three epochs, (by held-out "
    "accuracy, by held-out loss, by training accuracy)",
)
def choose(answer: object) -> str:
    """Judge which epochs three different measures choose."""
    measures = ("validation_accuracy", "validation_loss", "train_accuracy")
    for run in [*read_runs("baseline"), read_log(RUNS / "fashion-0")]:
        found = numbers(call(answer, run), 3)
        columns = [np.array(column(run, key)) for key in measures]
        best = [np.argmax, np.argmin, np.argmax]
        worst = [np.argmin, np.argmax, np.argmin]
        right = [int(f(c)) + 1 for f, c in zip(best, columns, strict=True)]
        right[0] = run[-1]["epoch"]  # as the run itself has chosen
        opposite = [int(f(c)) + 1 for f, c in zip(worst, columns, strict=True)]
        if found == [epoch - 1 for epoch in right]:
            raise Hint("a place in the list starts at 0, but epochs at 1.")
        for number, name in enumerate(measures):
            if found[number] == right[number]:
                continue
            if found[number] == right[number] - 1:
                raise Hint(f"{name}: a place starts at 0, but epochs at 1.")
            if found[number] == opposite[number]:
                raise Hint(f"{name}: that is the worst epoch, not the best.")
            if found[number] in columns[number]:
                raise Hint(f"{name}: that is the value. In which epoch is it?")
            raise Hint(
                f"{name}: not epoch {found[number]:g}, in a run of "
                f"{len(columns[0])}. Look for the best of column(run, "
                f'"{name}").'
            )
    return (
        "the three do not always agree. Training accuracy picks the last "
        "epoch, or nearly, and says nothing about images held out."
    )


@exercise(
    "ex-training-shuffled",
    "two numbers, (the training loss at the end, the accuracy on images that "
    "the model has not seen, between 0 and 1)",
)
def shuffled(answer: object) -> str:
    """Judge the outcome of training on shuffled labels."""
    loss, accuracy = numbers(answer, 2)
    guessing = math.log(10)
    if loss < 0:
        raise Hint("a cross-entropy is never negative.")
    if accuracy > 1:
        raise Hint("give the accuracy as a share between 0 and 1.")
    if accuracy < 0:
        raise Hint("an accuracy is never negative.")
    if loss > 0.9 * guessing:
        raise Hint(
            f"a loss of {loss:.2f} is that of guessing. Show it the same 64 "
            "images again, a hundred times or more."
        )
    if accuracy > 0.5:
        raise Hint(
            "so many right on new images? Shuffled labels cannot teach that. "
            "Are the images new, and were the labels shuffled?"
        )
    if accuracy > 0.35:
        raise Hint(
            "that is more than labels without meaning can teach. Measure on "
            "more images: a thousand, say."
        )
    return (
        "the loss falls, and on new images the model guesses. A falling "
        "training loss alone proves only that it can learn by heart."
    )


@exercise(
    "ex-training-schedule",
    "two shares of the highest rate, in the last step, (of the run that was "
    "stopped, of the short run)",
)
def schedule(answer: object) -> str:
    """Judge the last learning rates of a stopped run and of a short one."""
    stopped, short = numbers(answer, 2)
    right = learning_rate(20 / 40, 0.05), learning_rate(1.0, 0.05)
    if abs(stopped - right[0]) < 0.03 and abs(short - right[1]) < 0.01:
        return (
            "the run that was stopped has never taken the small steps at the "
            "end. A schedule belongs to the length it was made for."
        )
    if abs(short - right[0]) < 0.03 and abs(stopped - right[1]) < 0.01:
        raise Hint("the two are in the other order: the stopped run first.")
    if stopped > 1 or short > 1:
        raise Hint("give shares of the highest rate, between 0 and 1.")
    done = np.linspace(0, 1, 1_000)
    means = [
        np.mean([learning_rate(at * end, 0.05) for at in done])
        for end in (0.5, 1.0)
    ]
    if abs(stopped - means[0]) < 0.02 or abs(short - means[1]) < 0.02:
        raise Hint("that is a mean over the run. Read off its last step.")
    if stopped == short:
        raise Hint(
            "after 20 epochs, one of the two runs is over by its own "
            "schedule. What share of the other's is done?"
        )
    if abs(short - right[1]) < 0.01:
        raise Hint(
            "the short run is right. The other one stops at half of its "
            "schedule: learning_rate(0.5, …)."
        )
    raise Hint("the short run ends where its schedule ends. Where is that?")
