"""Run the book's experiments: each arm with several seeds, resumable.

`python -m vit_tutorial.experiments positions` trains every arm of the
experiment (`arms.py` has them) with three seeds. Each run is a folder
DIR/ARM-SEED, as `vit_tutorial.train` writes it; what is finished is not run
again, what was interrupted goes on.
"""

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Generator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from functools import partial
from multiprocessing import active_children, get_context, parent_process
from pathlib import Path
from threading import RLock, Thread

import torch
from tqdm import tqdm

from vit_tutorial.arms import (
    ARMS,
    EXPERIMENTS,
    MEASURED,
    PROGRESS,
    SEEDS,
    TABLES,
)
from vit_tutorial.machine import sigterm_like_ctrl_c, stop
from vit_tutorial.measurements import (
    measure_robustness,
    read_positions,
    record_progress,
)
from vit_tutorial.recipes import Recipe, as_logged
from vit_tutorial.records import (
    check_same_run,
    is_finished,
    read_log,
    write_log,
)
from vit_tutorial.train import train

COMMAND = "python -m vit_tutorial.experiments"


def run_arm(
    arm: str,
    seed: int,
    recipe: Recipe,
    out: Path,
    device: str,
    command: str,
    shifted: int | None = None,
) -> str:
    """Train one arm with one seed, unless that is done; go on where it stopped.

    shifted: test the model also on images shifted by up to so many pixels and
    on shuffled ones, unless that is done, and write it beside the log. Returns
    a line to print.
    """
    folder = out / f"{arm}-{seed}"
    if device == "cpu":
        # Two runs of one thread each are faster than one run of two.
        torch.set_num_threads(1)
    said = train_arm(arm, seed, recipe, folder, device, command)
    path = folder / "robustness.jsonl"
    if shifted is not None and not path.exists():
        write_log(path, measure_robustness(folder, shifted))
        said += "; shifts and shuffling measured"
    path = folder / "positions.jsonl"
    if arm in TABLES and not path.exists():
        write_log(path, read_positions(folder))
    return said


def train_arm(
    arm: str, seed: int, recipe: Recipe, folder: Path, device: str, command: str
) -> str:
    """Train one arm with one seed, in silence; return a line to print."""
    if is_finished(folder):
        now = {"recipe": as_logged(recipe), "seed": seed}
        check_same_run(read_log(folder)[0], now, folder)
        return f"{folder}: finished before"
    after_epoch = None
    if arm in PROGRESS:
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


def sized(recipe: Recipe, size: str) -> Recipe:
    """Fit a recipe to the time there is.

    size: "quick" to see that it works, "book" for what the book plots, "full"
    for all images and twice the epochs, on a GPU.
    """
    if size == "quick":
        few = {"subset": 10_000, "validation": 1_000, "train_on": 500}
        return replace(recipe, **few, epochs=2, repeats=1)
    if size == "full":
        return replace(
            recipe, subset=None, validation=5_000, epochs=2 * recipe.epochs
        )
    return recipe


def begin_a_worker() -> None:
    """Have a worker end when its command ends, even by a kill."""

    def wait() -> None:
        if (parent := parent_process()) is not None:
            parent.join()
        os._exit(1)

    Thread(target=wait, daemon=True).start()
    # A Ctrl-C reaches every process; the command ends its workers itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Progress bars share a semaphore among processes, unless they are given a
    # lock. A worker that is ended would leave that semaphore behind.
    tqdm.set_lock(RLock())


@contextlib.contextmanager
def end_at_once(workers: ProcessPoolExecutor) -> Generator[ProcessPoolExecutor]:
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


def run_all(
    pool: ProcessPoolExecutor,
    runs: dict[str, tuple],
    finished: list[str],
    failed: list[str],
) -> None:
    """Run what `runs` names: {name: arguments of run_arm}.

    When a run ends, its name goes into one of the lists, and a line is printed.
    """
    futures = {pool.submit(run_arm, *run): name for name, run in runs.items()}
    for future in as_completed(futures):
        name = futures[future]
        try:
            line = future.result()
            finished.append(name)  # before anybody reads that it is
            print(line, flush=True)
        except Exception as error:  # the others go on
            failed.append(name)
            print(f"{name}: {describe(error)}", file=sys.stderr, flush=True)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command's arguments; wrong ones end the program."""
    parser = argparse.ArgumentParser(COMMAND, description=main.__doc__)
    add, default = parser.add_argument, "default: %(default)s"
    add("name", choices=EXPERIMENTS, nargs="+")
    add(
        "--arms",
        nargs="+",
        metavar="ARM",
        help="some arms of the experiment; default: all of them",
    )
    add("--seeds", type=int, default=SEEDS, metavar="N", help=default)
    add("--out", type=Path, default=Path("runs"), metavar="DIR", help=default)
    add(
        "--size",
        choices=("quick", "book", "full"),
        default="book",
        help="quick: minutes in all, to see that it works; book, the default: "
        "what the book plots; full: all images and twice the epochs, for a GPU",
    )
    add("--device", default="cpu", help=default)
    add(
        "--jobs",
        type=int,
        metavar="N",
        help="runs at a time; default: 1, on a CPU one for each core",
    )
    given = parser.parse_args(arguments)
    if given.jobs is None:
        given.jobs = os.cpu_count() if given.device == "cpu" else 1
    if min(given.seeds, given.jobs) < 1:
        parser.error("--seeds and --jobs must be at least 1")
    arms = arms_of(given.name)
    if given.arms is None:
        given.arms = arms
    if unknown := [arm for arm in given.arms if arm not in arms]:
        parser.error(
            f"--arms: no {', '.join(unknown)} in {', '.join(given.name)}; "
            f"there are {', '.join(arms)}"
        )
    return given


def arms_of(names: Sequence[str]) -> list[str]:
    """List the arms of some experiments, each once."""
    return list(dict.fromkeys(a for name in names for a in EXPERIMENTS[name]))


def largest_shift(arm: str, names: Sequence[str]) -> int | None:
    """Return how far experiments shift an arm's images; None: not at all."""
    asked = [
        pixels
        for name, pixels in MEASURED.items()
        if name in names and arm in EXPERIMENTS[name]
    ]
    return max(asked, default=None)


def planned(given: argparse.Namespace) -> dict[str, tuple[Recipe, int]]:
    """Return the runs that a command asks for: {name: (recipe, seed)}.

    All arms come with one seed before the next, so that a set that was
    interrupted can still be compared.
    """
    return {
        f"{arm}-{seed}": (sized(ARMS[arm], given.size), seed)
        for seed in range(given.seeds)
        for arm in given.arms
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Train every arm of an experiment with several seeds."""
    given = parse(arguments)
    command = f"{COMMAND} {' '.join(given.name)} --size {given.size}"
    if given.arms != arms_of(given.name):
        command += f" --arms {' '.join(given.arms)}"
    if given.seeds > SEEDS:
        command += f" --seeds {given.seeds}"
    runs = {}
    for name, (recipe, seed) in planned(given).items():
        arm = name.removesuffix(f"-{seed}")
        shifted = largest_shift(arm, given.name)
        run = (arm, seed, recipe, given.out, given.device, command, shifted)
        runs[name] = run
    finished, failed = [], []
    workers = ProcessPoolExecutor(
        given.jobs, get_context("spawn"), initializer=begin_a_worker
    )
    try:
        with sigterm_like_ctrl_c(), end_at_once(workers) as pool:
            run_all(pool, runs, finished, failed)
    except KeyboardInterrupt as interrupt:
        stop(
            f"{COMMAND}: stopped by {{how}}; {len(finished)} of {len(runs)} "
            "runs finished. The same command goes on where it stopped",
            interrupt,
        )
    if failed:
        names = ", ".join(sorted(failed))
        sys.exit(
            f"{COMMAND}: {len(failed)} of {len(runs)} runs failed: {names}"
        )


if __name__ == "__main__":
    main()
