"""A training run as it goes on: what it has reached, and what it keeps of it.

A run is alone in its folder. After every epoch it keeps a checkpoint and the
log, at the end the model, so that whatever stops it, its last state stays.
"""

import math
import os
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from vit_tutorial.data import Dataset, copy_of_cifar10
from vit_tutorial.folder import Folder
from vit_tutorial.machine import describe_machine, find_device
from vit_tutorial.mistakes import find_mistakes, table_of
from vit_tutorial.recipes import Recipe, as_logged
from vit_tutorial.records import (
    PREVIOUS,
    check_same_run,
    column,
    lock_folder,
    naming,
    read_log,
    write_checkpoint,
    write_log,
)
from vit_tutorial.saving import load_model, save_model


@dataclass
class Run:
    """What the steps of a run share, and what the run has reached so far."""

    recipe: Recipe
    seed: int
    out: Path  # the folder it writes into
    device: torch.device
    rank: int  # of this process,
    world: int  # of so many
    model: Any  # a ViT or a CNN: the recipe knows which
    net: nn.Module  # the model as a step calls it: some patches, compiled
    optimizers: list[Optimizer]
    data: Dataset | Folder  # what there is to know of its images
    records: list[dict] = field(default_factory=list)  # the log
    best: dict | None = None  # the epoch to test, chosen as the recipe says

    @property
    def epochs(self) -> int:
        """How many epochs are over."""
        return len(column(self.records, "epoch"))


def alone(train: Callable) -> Callable:
    """Wrap `train` so that nobody else trains in its folder at the same time.

    Of several processes that train together, the one that writes locks it.
    """

    @wraps(train)
    def locked(
        recipe: Recipe,
        out: str | os.PathLike,
        *,
        seed: int = 0,
        device: str = "auto",
        **given,
    ) -> tuple[nn.Module, list[dict]]:
        check_seed(seed)
        _, rank, _ = find_device(device)
        with lock_folder(Path(out)) if rank == 0 else nullcontext():
            return train(recipe, out, seed=seed, device=device, **given)

    return locked


def check_seed(seed: int) -> None:
    """Raise ValueError unless PyTorch takes 100,000 times this as a seed."""
    if not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise ValueError(
            f"seed must be a whole number from 0 to {2**32 - 1}, got {seed!r}"
        )


def finished_run(
    recipe: Recipe, seed: int, out: Path, rank: int
) -> tuple[nn.Module, list[dict]]:
    """Read a finished run's model and records, and say that it is finished."""
    records = read_log(out)
    now = {"recipe": as_logged(recipe), "seed": seed}
    check_same_run(records[0], now, out)
    if rank == 0:
        accuracy = records[-1]["test_accuracy"]
        said = f"{out} holds this run, finished before; test: {accuracy:.2%}"
        print(said, flush=True)
    return load_model(out / "model.safetensors"), records


def describe_run(
    run: Run, command: str | None, training: int, validation: int
) -> None:
    """Begin the log: recipe, seed, the numbers of images, the machine."""
    run.records.append(
        {
            "event": "start",
            "command": command,
            "recipe": as_logged(run.recipe),
            "seed": run.seed,
            "parameters": sum(p.numel() for p in run.model.parameters()),
            "pictures": {"training": training, "validation": validation},
            **describe_machine(run.device, run.world),
        }
    )
    if isinstance(run.data, Folder):
        skipped, sha256 = run.data.skipped, run.data.checksum()
        run.records[0] |= {"skipped": skipped, "sha256": sha256}
        for line in skipped if run.rank == 0 else ():
            print(f"skipped: {line}", file=sys.stderr)
    if run.recipe.dataset == "cifar10":
        run.records[0]["copy"] = copy_of_cifar10()


def resume_run(run: Run, checkpoint: dict) -> None:
    """Set a run that has just begun to where its checkpoint was written.

    Raises ValueError for a checkpoint of another run, or that does not fit its
    own recipe.
    """
    before, start = checkpoint["records"][0], run.records[0]
    check_same_run(before, start, run.out)
    if any(before.get(key) != start.get(key) for key in ("sha256", "copy")):
        raise ValueError(
            f"the images in {run.recipe.dataset} are not those that the run in "
            f"{run.out} began with: put them back, or write to another folder"
        )
    run.records, run.best = checkpoint["records"], checkpoint["best"]
    try:
        run.model.load_state_dict(run.best["model"])  # would it fit?
        run.model.load_state_dict(checkpoint["model"])
        states = checkpoint["optimizers"]
        for optimizer, state in zip(run.optimizers, states, strict=True):
            optimizer.load_state_dict(state)
    except Exception as error:  # a crafted file may raise anything
        raise ValueError(
            f"the checkpoint in {run.out} does not fit its own recipe "
            f"({type(error).__name__}): remove {run.out} to begin anew"
        ) from error
    if run.epochs:
        here = {key: start[key] for key in ("hardware", "versions")}
        mark = {"event": "resume", "after_epoch": run.epochs} | here
        run.records.append(mark)


def record_epoch(
    run: Run,
    trained: tuple[float, float, int],
    validated: tuple[float, float, list[float]],
    seconds: float,
) -> None:
    """Add an epoch to the log; remember its model if it may be the one to test.

    trained: mean loss, accuracy, images a second. validated: as `evaluate`
    returns it. Raises FloatingPointError for a loss that is no number.
    """
    loss, accuracy, speed = trained
    validation_loss, validation_accuracy, by_class = validated
    recipe, epoch = run.recipe, run.epochs + 1
    # What the last step broke shows in the second loss alone.
    if not math.isfinite(loss + validation_loss):
        raise FloatingPointError(
            f"the loss is no longer a number in epoch {epoch}; {run.out} keeps "
            "what it held before that epoch. Lower learning rates (now "
            f"lr={recipe.lr}, matrix_lr={recipe.matrix_lr}) or a smaller clip "
            f"({recipe.clip}) would help"
        )
    run.records.append(
        {
            "event": "epoch",
            "epoch": epoch,
            "train_loss": round(loss, 5),
            "train_accuracy": round(accuracy, 5),
            "validation_loss": round(validation_loss, 5),
            "validation_accuracy": round(validation_accuracy, 5),
            "validation_by_class": [round(share, 4) for share in by_class],
            "images_per_second": speed,
            "seconds": round(seconds, 2),
        }
    )
    best = run.best["validation_accuracy"] if run.best else -1
    if validation_accuracy > best or not recipe.choose_epoch:
        weights = run.model.state_dict().items()
        run.best = {
            "epoch": epoch,
            "validation_accuracy": validation_accuracy,
            "model": {name: t.cpu().clone() for name, t in weights},
        }


def keep_epoch(run: Run) -> None:
    """Write the checkpoint and the log, and print a line about the epoch."""
    checkpoint = {
        "model": run.model.state_dict(),
        "optimizers": [each.state_dict() for each in run.optimizers],
        "best": run.best,
        "records": run.records,
    }
    write_checkpoint(run.out, checkpoint)
    write_log(run.out / "log.jsonl", run.records)
    print(
        # Narrow enough for a page of the book.
        "epoch {epoch}/{epochs}: training loss {train_loss:.3f}, "
        "{train_accuracy:.2%}; held out {validation_loss:.3f}, "
        "{validation_accuracy:.2%}; {images_per_second} images/s".format(
            epochs=run.recipe.epochs, **run.records[-1]
        ),
        flush=True,
    )


def record_test(run: Run, loss: float, accuracy: float) -> None:
    """Add the one reading of the test set to the log."""
    assert run.best is not None  # some epoch was chosen
    run.records.append(
        {
            "event": "test",
            "epoch": run.best["epoch"],
            "chosen_by": (
                "validation_accuracy" if run.recipe.choose_epoch else "last"
            ),
            "test_loss": round(loss, 5),
            "test_accuracy": round(accuracy, 5),
        }
    )
    if isinstance(run.data, Folder):
        run.records[-1]["mistakes"] = find_mistakes(run.model, run.data)


def facts_of(run: Run) -> dict:
    """Return what the trained model is to know of its images."""
    data, dataset = run.data, run.recipe.dataset
    facts: dict[str, Any] = {"class_names": data.class_names}
    facts |= {"mean": data.mean, "dataset": dataset, "std": data.std}
    if copy := run.records[0].get("copy"):
        facts["copy"] = copy
    if isinstance(data, Folder):
        facts["dataset"] = Path(dataset).resolve().name
        for name in ("crop", "stretch", "interpolation"):
            facts[name] = getattr(data.preprocess, name)
    return facts


def keep_model(run: Run) -> None:
    """Write the model and the whole log; the older checkpoint goes.

    A broken model is not for use, and leaves only its log.
    """
    path = run.out / "model.safetensors"
    if run.recipe.bug is None:
        with naming(path):
            save_model(run.model, path)
    write_log(run.out / "log.jsonl", run.records)
    (run.out / PREVIOUS).unlink(missing_ok=True)
    test = run.records[-1]
    chosen = "best on held-out images" if run.recipe.choose_epoch else "last"
    print(f"{chosen}: epoch {test['epoch']}; test: {test['test_accuracy']:.2%}")
    if isinstance(run.data, Folder):
        print(table_of(test["mistakes"], len(run.data.held_out)))
