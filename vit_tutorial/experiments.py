"""The experiments behind the book's comparisons: named, seeded, each run
resumable by itself.

`python -m vit_tutorial.experiments positions` trains every arm of the
experiment with three seeds. An arm is a recipe that differs from another in one
thing. Each run is a folder DIR/ARM-SEED, as `vit_tutorial.train` writes it;
what is finished is not run again, what was interrupted goes on.
"""

import argparse
import contextlib
import json
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from functools import partial
from multiprocessing import active_children, get_context, parent_process
from pathlib import Path
from threading import RLock, Thread

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from vit_tutorial.augment import shift
from vit_tutorial.data import DATASETS
from vit_tutorial.patches import patchify, unpatchify
from vit_tutorial.recipes import SMALL_CNN, SMALL_VIT, Recipe, as_logged
from vit_tutorial.records import (
    check_same_run,
    is_finished,
    read_log,
    write_log,
)
from vit_tutorial.saving import load_model
from vit_tutorial.train import (
    evaluate,
    load_pictures,
    sigterm_like_ctrl_c,
    stop,
    train,
)
from vit_tutorial.vit import ViT

BASELINE = Recipe(model=SMALL_VIT, subset=10_000, validation=1_000, epochs=20)
# Nothing here may teach a model to bear shifts: that is what the two are
# compared in.
PLAIN = replace(
    BASELINE, subset=None, validation=5_000, shift=0, drop_patches=0.0
)
PLAIN_CNN = replace(PLAIN, architecture="CNN", model=SMALL_CNN)
SIZES = {  # pictures trained on, and how often: the fewer, the more often each
    500: {"epochs": 8, "repeats": 20},
    2_000: {"epochs": 10, "repeats": 5},
    10_000: {"epochs": 12},
    55_000: {"epochs": 3},
}

ARMS = {
    "baseline": BASELINE,
    "mean": replace(BASELINE, model=SMALL_VIT | {"pool": "mean"}),
    "none": replace(BASELINE, model=SMALL_VIT | {"position": "none"}),
    "learned_2d": replace(
        BASELINE, model=SMALL_VIT | {"position": "learned_2d"}
    ),
    "sincos_2d": replace(BASELINE, model=SMALL_VIT | {"position": "sincos_2d"}),
    "no-augmentation": replace(BASELINE, flip=False, shift=0),
    "erase": replace(BASELINE, erase=8),
    "all-patches": replace(BASELINE, drop_patches=0.0),
    "adamw": replace(BASELINE, matrix_lr=None),
    "no-warm-up": replace(BASELINE, warm_up=0.0),
    "no-smoothing": replace(BASELINE, label_smoothing=0.0),
    "no-decay": replace(BASELINE, weight_decay=0.0),
    "no-clipping": replace(BASELINE, clip=None),
    "figure-cls": BASELINE,
    "figure-mean": replace(BASELINE, model=SMALL_VIT | {"pool": "mean"}),
    "figure-none": replace(BASELINE, model=SMALL_VIT | {"position": "none"}),
    **{
        f"vit-{n}": replace(PLAIN, train_on=n, **often)
        for n, often in SIZES.items()
    },
    **{
        f"cnn-{n}": replace(PLAIN_CNN, train_on=n, **often)
        for n, often in SIZES.items()
    },
}
EXPERIMENTS = {
    "class_token": ("baseline", "mean"),
    "positions": ("baseline", "none", "learned_2d", "sincos_2d"),
    "recipe": (
        "baseline",
        "no-augmentation",
        "erase",
        "all-patches",
        "adamw",
        "no-warm-up",
        "no-smoothing",
        "no-decay",
        "no-clipping",
    ),
    "data_size": tuple(
        f"{model}-{n}" for n in SIZES for model in ("vit", "cnn")
    ),
    # Compared with nothing: their models run in the book's pages (seed 0),
    # where readers play with them. Of the first is also kept what its positions
    # were after every epoch.
    "figures": ("figure-cls", "figure-mean", "figure-none"),
}
EXPERIMENTS["robustness"] = EXPERIMENTS["data_size"]
SHIFTS = range(5)  # pixels, in each of four directions


def run_arm(
    arm: str,
    seed: int,
    recipe: Recipe,
    out: Path,
    device: str,
    command: str,
    robustness: bool = False,
) -> str:
    """Train one arm with one seed, unless that is done; go on where it stopped.
    A line to print.

    robustness: measure that too, unless it is done, and write it beside the
    log.
    """
    folder = out / f"{arm}-{seed}"
    if device == "cpu":
        torch.set_num_threads(
            1
        )  # two runs of one thread each are faster than one run of two
    said = train_arm(arm, seed, recipe, folder, device, command)
    path = folder / "robustness.jsonl"
    if robustness and not path.exists():
        write_log(path, measure_robustness(folder))
        said += "; shifts and shuffling measured"
    return said


def train_arm(
    arm: str, seed: int, recipe: Recipe, folder: Path, device: str, command: str
) -> str:
    if is_finished(folder):
        now = {"recipe": as_logged(recipe), "seed": seed}
        check_same_run(read_log(folder)[0], now, folder)
        return f"{folder}: finished before"
    after_epoch = None
    if arm == "figure-cls":
        after_epoch = partial(record_progress, folder / "progress.jsonl")
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        _, records = train(
            recipe,
            folder,
            seed=seed,
            device=device,
            resume=True,
            command=command,
            after_epoch=after_epoch,
        )
    return f"{folder}: test accuracy {records[-1]['test_accuracy']:.2%}"


def record_progress(path: Path, epoch: int, vit: ViT) -> None:
    """Add to a file what a ViT's position embeddings have become: how like each
    is to each other.

    "similarity" holds the cosine of every two patches' position embeddings, row
    by row, in hundredths. What an earlier run wrote for this epoch or later
    ones is replaced.
    """
    lines = (
        path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    )
    before = [
        record for record in map(json.loads, lines) if record["epoch"] < epoch
    ]
    positions = F.normalize(
        vit.pos_embedding[0, vit.num_prefix :].detach().cpu(), dim=-1
    )
    similarity = (100 * positions @ positions.T).round().int().tolist()
    write_log(
        path,
        [
            *before,
            {"event": "progress", "epoch": epoch, "similarity": similarity},
        ],
    )


def begin_a_worker() -> None:
    """Have a worker end when its command ends, even if the command is
    killed."""

    def wait() -> None:
        parent_process().join()
        os._exit(1)

    Thread(target=wait, daemon=True).start()
    # A Ctrl-C reaches every process; the command ends its workers itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Progress bars share a semaphore among processes, unless they are given a
    # lock. A worker that is ended would leave that semaphore behind.
    tqdm.set_lock(RLock())


@contextlib.contextmanager
def end_at_once(workers: ProcessPoolExecutor) -> Iterator[ProcessPoolExecutor]:
    """Use a pool that an interrupt ends at once, with all its waiting tasks."""
    with workers as pool:
        try:
            yield pool
        except KeyboardInterrupt:
            for process in active_children():
                process.terminate()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def describe(error: Exception) -> str:
    """Return one line that says why a run failed."""
    if isinstance(error, BrokenProcessPool):
        return (
            "not finished, for a worker was killed from outside (is there too "
            "little memory? --jobs 1 takes less); the same command goes on"
        )
    first, *_ = str(error).splitlines() or [""]
    if isinstance(error, FloatingPointError | OSError | ValueError):
        return first
    return f"{type(error).__name__}: {first}"


def measure_robustness(folder: Path) -> list[dict]:
    """Test a trained model on held-out pictures that are shifted, or whose
    patches are shuffled.

    The same pictures that its epoch was chosen on; the test set is not read.
    Each shift is the mean of four directions. Shuffling cuts 4 x 4 pixels, and
    each picture is shuffled in its own way.
    """
    start, model = read_log(folder)[0], load_model(folder / "model.safetensors")
    recipe = Recipe(**start["recipe"])
    _, _, images, labels = load_pictures(recipe)
    data = DATASETS[recipe.dataset]

    def accuracy(pictures: Tensor) -> float:
        return round(
            evaluate(model, pictures, labels, data.mean, data.std)[1], 5
        )

    records = []
    for pixels in SHIFTS:
        along, still = (
            torch.full((len(images),), value) for value in (pixels, 0)
        )
        moves = (
            (along, still),
            (-along, still),
            (still, along),
            (still, -along),
        )
        each = [accuracy(shift(images, down, right)) for down, right in moves]
        records.append(
            {"event": "shift", "pixels": pixels, "accuracy": sum(each) / 4}
        )
    patches = patchify(images, 4)  # (n, 49, 16)
    random = torch.Generator().manual_seed(0)
    order = torch.rand(patches.shape[:2], generator=random).argsort(dim=1)
    shuffled = unpatchify(
        patches.take_along_dim(order[:, :, None], dim=1), (7, 7), 4
    )
    records.append({"event": "shuffle", "accuracy": accuracy(shuffled)})
    return records


def sized(recipe: Recipe, size: str) -> Recipe:
    """Fit a recipe to the time there is: "quick" to try it, "full" for all
    pictures on a GPU."""
    if size == "quick":
        few = {
            "subset": 10_000,
            "validation": 1_000,
            "train_on": 500,
            "repeats": 1,
        }
        return replace(recipe, **few, epochs=2)
    if size == "full":
        return replace(
            recipe, subset=None, validation=5_000, epochs=2 * recipe.epochs
        )
    return recipe


def main(arguments: Sequence[str] | None = None) -> None:
    """Train every arm of an experiment with several seeds."""
    parser = argparse.ArgumentParser(
        "python -m vit_tutorial.experiments", description=main.__doc__
    )
    parser.add_argument("name", choices=EXPERIMENTS, nargs="+")
    parser.add_argument(
        "--seeds", type=int, default=3, metavar="N", help="default: %(default)s"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs"),
        metavar="DIR",
        help="default: runs",
    )
    parser.add_argument(
        "--size",
        choices=("quick", "book", "full"),
        default="book",
        help="quick: minutes in all, to see that it works; book, the default: what the book plots; "
        "full: all pictures and twice the epochs, for a GPU",
    )
    parser.add_argument("--device", default="cpu", help="default: %(default)s")
    parser.add_argument(
        "--jobs",
        type=int,
        metavar="N",
        help="runs at a time; default: 1, on a CPU one for each core",
    )
    given = parser.parse_args(arguments)
    jobs = given.jobs
    if jobs is None:
        jobs = os.cpu_count() if given.device == "cpu" else 1
    if min(given.seeds, jobs) < 1:
        parser.error("--seeds and --jobs must be at least 1")
    # All arms with one seed before the next: a set that was interrupted still
    # compares.
    arms = dict.fromkeys(
        arm for name in given.name for arm in EXPERIMENTS[name]
    )
    runs = [(arm, seed) for seed in range(given.seeds) for arm in arms]
    command = f"python -m vit_tutorial.experiments {' '.join(given.name)} --size {given.size}"
    failed, finished = [], 0
    workers = ProcessPoolExecutor(
        jobs, get_context("spawn"), initializer=begin_a_worker
    )
    try:
        with sigterm_like_ctrl_c(), end_at_once(workers) as pool:
            futures = {}
            for arm, seed in runs:
                robustness = "robustness" in given.name
                robustness &= arm in EXPERIMENTS["robustness"]
                future = pool.submit(
                    run_arm,
                    arm,
                    seed,
                    sized(ARMS[arm], given.size),
                    given.out,
                    given.device,
                    command,
                    robustness,
                )
                futures[future] = f"{arm}-{seed}"
            for future in as_completed(futures):
                try:
                    line = future.result()
                    finished += 1  # before anybody reads that it is
                    print(line, flush=True)
                except Exception as error:  # the others go on
                    line = f"{futures[future]}: {describe(error)}"
                    print(line, file=sys.stderr, flush=True)
                    failed.append(futures[future])
    except KeyboardInterrupt as interrupt:
        stop(
            f"{parser.prog}: stopped by {{how}}; {finished} of {len(runs)} "
            "runs finished. The same command goes on where it stopped",
            interrupt,
        )
    if failed:
        names = ", ".join(sorted(failed))
        sys.exit(
            f"{parser.prog}: {len(failed)} of {len(runs)} runs failed: {names}"
        )


if __name__ == "__main__":
    main()
