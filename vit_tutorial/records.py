"""What a run leaves behind: its folder, log and checkpoints; how to read them.

A run writes into a folder of its own, which it locks. Every file there is
written whole or not at all, so whatever stops a run, its last state stays
intact.
"""

import hashlib
import io
import json
import os
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock, Timeout

from vit_tutorial.recipes import Recipe, as_logged

__all__ = ["RUNS", "read_log", "read_runs"]

RUNS = Path(__file__).parent / "runs"
"""The folder of the logs that the chapters plot.

The folder another-cpu in it holds some of the runs again, from a second kind of
CPU.
"""

CHECKPOINT = "checkpoint.pt"
PREVIOUS = "checkpoint.previous.pt"  # an epoch older, in case that is damaged


def make_folder(out: Path) -> None:
    """Make a folder to write into, or raise OSError if that cannot be."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise OSError(
            f"cannot write into {out}: {error}. Give another folder to write to"
        ) from error


@contextmanager
def lock_folder(out: Path) -> Generator[None]:
    """Make a folder and keep other processes from writing a run into it.

    The lock lasts as long as the block, or until its process ends, however it
    ends: nobody has to clean up after a kill. Raises FileExistsError while
    somebody else holds the lock.
    """
    make_folder(out)
    path = out / ".lock"
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise FileExistsError(
            f"another process is writing a run into {out}: wait until it "
            "ends, or give another folder to write to (--out DIR)"
        ) from None
    try:
        yield
    finally:
        with suppress(OSError):  # Windows removes no file that is open
            path.unlink()
        lock.release()


def prepare_folder(out: Path, resume: bool) -> dict | None:
    """Make a run's folder and read the checkpoint to resume from.

    Returns None where a run begins, that is, where there is neither a log nor a
    checkpoint.

    Raises FileExistsError for a folder that holds a run which is not to be
    resumed, or that has lost its checkpoint; ValueError for a checkpoint that
    is damaged, if the one before it is damaged or missing too.
    """
    make_folder(out)
    checkpoints = [
        path for name in (CHECKPOINT, PREVIOUS) if (path := out / name).exists()
    ]
    has_log = (out / "log.jsonl").exists()
    if not resume and (has_log or checkpoints):
        raise FileExistsError(
            f"{out} holds a run already: resume it (--resume), or give another "
            "folder to write to (--out DIR)"
        )
    if not checkpoints:
        if has_log:
            raise FileExistsError(
                f"{out} holds a log but no {CHECKPOINT}, so this run cannot be "
                f"resumed: put {CHECKPOINT} back, or give another folder to "
                "write to (--out DIR)"
            )
        return None
    newest, *older = checkpoints
    try:
        return read_checkpoint(newest)
    except ValueError as error:
        try:
            checkpoint = read_checkpoint(*older)
        except (TypeError, ValueError):
            raise ValueError(
                f"{error}; put back an intact copy, or remove {out} to begin "
                "anew"
            ) from error
        print(f"{error}; going on from {older[0].name}", file=sys.stderr)
        newest.unlink(missing_ok=True)  # or it would take the intact one's name
        return checkpoint


def read_checkpoint(path: Path) -> dict:
    """Read a checkpoint, or raise ValueError if a single bit of it has changed.

    A checkpoint from before there were checksums ends with two zero bytes, the
    length of its empty comment. It is read without a checksum.
    """
    content = path.read_bytes()
    try:
        if content[-2:] != b"\0\0" and content != with_checksum(content[:-71]):
            raise ValueError("it does not have the SHA-256 sum at its end")
        checkpoint = torch.load(
            io.BytesIO(content), map_location="cpu", weights_only=True
        )
        if set(checkpoint) != {"model", "optimizers", "best", "records"}:
            raise KeyError(", ".join(checkpoint))
        # Each of these raises where what a run will need is missing.
        start, best = checkpoint["records"][0], checkpoint["best"]
        dict(start["recipe"], seed=start["seed"])
        dict(best["model"], accuracy=float(best["validation_accuracy"]))
        all(record["event"] for record in checkpoint["records"])
    except Exception as error:  # a damaged file may raise anything
        raise ValueError(
            f"{path} is damaged or no checkpoint ({type(error).__name__})"
        ) from error
    return checkpoint


def write_checkpoint(out: Path, checkpoint: dict) -> None:
    """Write a checkpoint; the one before it stays as the previous one."""
    file = io.BytesIO()  # PyTorch's own writer hides why a disk refuses
    torch.save(checkpoint, file)
    # PyTorch writes a zip archive, which ends with the length of a comment and
    # the comment. Readers ignore it; ours is "sha256:" and the checksum.
    content = file.getvalue()[:-2] + (71).to_bytes(2, "little")
    write_whole(out / CHECKPOINT, with_checksum(content), keep=out / PREVIOUS)


def with_checksum(content: bytes) -> bytes:
    """Append "sha256:" and the checksum of everything before the sum."""
    content += b"sha256:"
    return content + hashlib.sha256(content).hexdigest().encode()


def write_log(path: Path, records: list[dict]) -> None:
    """Write the records as JSON lines, whole."""
    lines = [json.dumps(each, ensure_ascii=False) + "\n" for each in records]
    write_whole(path, "".join(lines).encode())


def write_whole(path: Path, content: bytes, keep: Path | None = None) -> None:
    """Write a file beside `path` that then takes its place, whole.

    keep: the name that the file at `path`, if there is one, gets instead.
    """
    part = path.with_name(path.name + ".part")
    with naming(path):
        try:
            with open(part, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())  # only now some disks say they are full
            if keep is not None and path.exists():
                path.replace(keep)
            part.replace(path)
        finally:
            with suppress(OSError):
                part.unlink()


@contextmanager
def naming(path: Path) -> Generator[None]:
    """Have an OSError name the file that could not be written, and a remedy."""
    try:
        yield
    except OSError as error:
        if not path.parent.exists():
            raise OSError(
                f"cannot write {path}: the folder {path.parent} was removed. "
                "Start the run again"
            ) from error
        raise OSError(
            f"cannot write {path}: {error.strerror or error}. What "
            f"{path.parent} held before is intact: once there is room and it "
            "can be written, resume the run (--resume)"
        ) from error


def check_same_run(before: dict, now: dict, out: Path) -> None:
    """Raise ValueError unless two runs have the same recipe and seed."""
    if different := differences(before, now):
        raise ValueError(
            f"{out} holds a run by another recipe ({different}): "
            "resume it with the same, or give another folder to write to"
        )


def differences(before: dict, now: dict) -> str:
    """Say in which fields of the recipe, and in the seed, two runs differ.

    before, now: dicts with "recipe" and "seed", as a log's first record. A
    field that a log is too old to have is taken as its default. Returns an
    empty text where they are the same.
    """
    defaults = as_logged(Recipe())
    before, now = (
        {**defaults, **r["recipe"], "seed": r["seed"]} for r in (before, now)
    )
    return "; ".join(
        f"{name} was {before.get(name)!r}, now {now.get(name)!r}"
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
    )


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
    """Return whether the folder holds a run that has reached its test."""
    if not Path(folder, "log.jsonl").exists():
        return False
    records = read_log(folder)
    return bool(records) and records[-1]["event"] == "test"


def has_model(folder: str | os.PathLike) -> bool:
    """Return whether the folder holds a finished run and its trained model."""
    try:
        finished = is_finished(folder)
    except ValueError:  # a resumed run writes its log anew
        return False
    return finished and Path(folder, "model.safetensors").exists()


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
    """Return a quantity of every epoch, such as "validation_accuracy"."""
    return [record[key] for record in run if record["event"] == "epoch"]


def points(runs: list[list[dict]]) -> list[float]:
    """Return each run's accuracy on the test set, in percentage points."""
    return [100 * run[-1]["test_accuracy"] for run in runs]


def images_shown(run: list[dict]) -> list[int]:
    """Return how many images the run had been shown after each epoch."""
    recipe, training = run[0]["recipe"], run[0]["pictures"]["training"]
    batch = recipe["batch_size"]
    steps = recipe["repeats"] * training // batch  # a partial batch is left out
    return [steps * batch * epoch for epoch in column(run, "epoch")]


def slope(run: list[dict], last: int = 5) -> float:
    """Return how fast the held-out accuracy rises at the end of a run.

    It is the slope of a straight line through the last epochs, in percentage
    points per 10,000 images shown, so that runs whose epochs differ in length
    can be compared.
    """
    shown = np.array(images_shown(run)[-last:]) / 10_000
    accuracies = 100 * np.array(column(run, "validation_accuracy")[-last:])
    return float(np.polyfit(shown, accuracies, 1)[0])
