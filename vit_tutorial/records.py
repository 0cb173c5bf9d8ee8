"""What a run leaves behind: its log, line by line, and what a chapter takes from it."""

import json
import os
from pathlib import Path

import numpy as np

# The logs that the chapters plot. In another-cpu are some of the runs again,
# from a second kind of CPU.
RUNS = Path(__file__).parent / "runs"


def read_log(folder: str | os.PathLike) -> list[dict]:
    """Read the records of a run, in the order in which they were written.

    Raises ValueError, with the line's number, for a line that is not JSON.
    """
    path = Path(folder, "log.jsonl")
    records = []
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(
                f"line {number} of {path} is not JSON: {error}"
            ) from error
        if not isinstance(record, dict) or "event" not in record:
            raise ValueError(
                f"line {number} of {path} is not a record with an event"
            )
        records.append(record)
    return records


def is_finished(folder: str | os.PathLike) -> bool:
    """Return whether the folder holds a run that went on to its test."""
    if not Path(folder, "log.jsonl").exists():
        return False
    records = read_log(folder)
    return bool(records) and records[-1]["event"] == "test"


def read_runs(arm: str, folder: str | os.PathLike = RUNS) -> list[list[dict]]:
    """Read the logs of an arm's finished runs, in the order of their seeds.

    Raises FileNotFoundError where there are none.
    """
    runs = []
    while is_finished(run := Path(folder, f"{arm}-{len(runs)}")):
        runs.append(read_log(run))
    if not runs:
        raise FileNotFoundError(
            f"no finished run of {arm!r} in {folder}; "
            "`python -m vit_tutorial.experiments --help` lists what makes them"
        )
    return runs


def column(run: list[dict], key: str) -> list:
    """Return one quantity of every epoch: column(run, "validation_accuracy")."""
    return [record[key] for record in run if record["event"] == "epoch"]


def points(runs: list[list[dict]]) -> list[float]:
    """Return each run's accuracy on the test set, in percentage points."""
    return [100 * run[-1]["test_accuracy"] for run in runs]


def images_shown(run: list[dict]) -> list[int]:
    """Return how many images the run had been shown after each epoch."""
    recipe, training = run[0]["recipe"], run[0]["pictures"]["training"]
    batch = recipe["batch_size"]
    steps = recipe["repeats"] * training // batch  # the rest is left over
    return [steps * batch * epoch for epoch in column(run, "epoch")]


def slope(run: list[dict], last: int = 5) -> float:
    """Return how fast the held-out accuracy rises at the end of a run.

    It is the slope of a straight line through the last epochs, in percentage
    points per 10,000 images shown, so that runs whose epochs differ in length
    compare.
    """
    shown = np.array(images_shown(run)[-last:]) / 10_000
    accuracies = 100 * np.array(column(run, "validation_accuracy")[-last:])
    return float(np.polyfit(shown, accuracies, 1)[0])
