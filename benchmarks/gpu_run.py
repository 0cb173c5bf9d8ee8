"""Everything that this book wants from a GPU: one command, in steps, which can be given again.

    python benchmarks/gpu_run.py --out DIR [--only STEP ...] [--minutes N] [--pack DIR] [--rehearse]

A step that was finished before is left out, a training run that was interrupted goes on from its
last epoch. Each step writes what it says to DIR/logs, and its end to DIR/steps.jsonl. Runs lie in
DIR/runs, as `vit_tutorial.train` writes them; measurements beside them, each as a table in a .txt
and with every number in a .jsonl.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import torch
from training import leave_the_test_set

from vit_tutorial import train
from vit_tutorial.arms import EXPERIMENTS
from vit_tutorial.data import load_dataset
from vit_tutorial.records import is_finished, make_folder

HERE = Path(__file__).parent
SEEDS = 3
STEPS = {  # in this order
    "fashion-long": "the book's model, by the recipe of that name, three seeds side by side",
    "fashion-large": "its larger sibling, likewise",
    "training": "images a second and seconds to each accuracy, our loop beside the usual one",
    "limits": "what limits a step, and what each change to the loop brings",
    "peers-B": "B/16 at 224 pixels beside four libraries, eager and compiled",
    "peers-S": "S/16, likewise",
    "experiments": "every experiment at full size, five seeds",
}
PART = 15 * 2**20  # bytes in an archive, before it is compressed
TINY = {"subset": 300, "validation": 100, "batch_size": 50, "epochs": 2}  # to rehearse


def commands(step: str, out: Path, rehearse: bool) -> list[list[str]]:
    """Give the commands of a step, which run side by side; none for a run that is finished."""
    device = "cpu" if rehearse else "cuda"
    if step in train.RECIPES:
        program = [__file__, "--rehearse-a-run"] if rehearse else ["-m", "vit_tutorial.train"]
        program += ["--recipe", step, "--device", device, "--resume"]
        folders = {seed: out / "runs" / f"{step}-{seed}" for seed in range(SEEDS)}
        return [
            [*program, "--seed", str(seed), "--out", str(folder)]
            for seed, folder in folders.items()
            if not is_finished(folder)
        ]
    if step == "experiments":
        program = ["-m", "vit_tutorial.experiments", "--out", str(out / "runs")]
        if rehearse:
            program += "class_token --size quick --seeds 1 --jobs 1".split()
        else:
            program += [*EXPERIMENTS, *f"--size full --seeds 5 --jobs {jobs()}".split()]
        return [[*program, "--device", device]]
    file, few = {
        "training": ("training.py", "--rounds 1 --epochs 2 --pictures 40"),
        "limits": ("limits.py", "--rows 2 --pictures 40"),
        "peers-B": ("peers.py", "--only 28x28 --rounds 1 --no-memory"),
        "peers-S": ("peers.py", "--only 28x28 --rounds 1 --no-memory"),
    }[step]
    whole = {
        "training": "--rounds 3 --epochs 40",
        "limits": "",
        "peers-B": "--only B/16 --rounds 20",
        "peers-S": "--only S/16 --rounds 20",
    }[step]
    asked = (few if rehearse else whole).split()
    return [[str(HERE / file), *asked, "--device", device, "--out", str(out / step)]]


def jobs() -> int:
    """Give how many runs share the GPU: one alone leaves it idle while it launches its work."""
    return max(1, min(6, os.cpu_count() // 2))


def run_step(step: str, out: Path, rehearse: bool, until: float) -> str:
    """Run a step's commands until they end, or the time is up: "finished", "failed", "stopped"."""
    asked, began = commands(step, out, rehearse), time.time()
    (out / "logs").mkdir(exist_ok=True)
    names = [f"{step}.log" if len(asked) == 1 else f"{step}-{i}.log" for i in range(len(asked))]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    if rehearse:
        environment["OMP_NUM_THREADS"] = "1"
    running, outcome = [], "finished"
    try:
        for name, command in zip(names, asked, strict=True):
            with open(out / "logs" / name, "a") as log:
                print("$ python", *command, file=log, flush=True)
                running.append(
                    subprocess.Popen(
                        [sys.executable, *command],
                        stdout=log,
                        stderr=subprocess.STDOUT,
                        env=environment,
                        process_group=0,  # so that its own processes can be ended with it
                    )
                )
        for process in running:
            process.wait(timeout=max(0.0, until - time.time()))
        if any(process.returncode for process in running):
            outcome = "failed"
    except subprocess.TimeoutExpired:
        outcome = "stopped"
    finally:
        for process in running:
            end(process)
    record = {"step": step, "outcome": outcome, "seconds": round(time.time() - began, 1)}
    record |= {"rehearsed": rehearse, "logs": names}
    with open(out / "steps.jsonl", "a") as file:
        file.write(json.dumps(record) + "\n")
    for name in names:
        said = (out / "logs" / name).read_text(errors="replace").rstrip()
        print("\n".join(["", *said.splitlines()[-25:]]), flush=True)
    return outcome


def end(process: subprocess.Popen) -> None:
    """End a command that still runs, and all that it started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def recorded(out: Path) -> list[dict]:
    """Read how the steps ended, in the order in which they were run."""
    path = out / "steps.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def pack(out: Path, folder: Path) -> list[Path]:
    """Put all that is worth keeping, which is all but the checkpoints, into a few archives.

    Unpacked into another machine's DIR they let the command go on there, but for the runs that
    were half done.
    """
    files = sorted(p for p in out.rglob("*") if p.is_file() and folder not in p.parents)
    # Nor the locks of runs that were killed.
    passing = ("checkpoint.pt", "checkpoint.previous.pt", ".lock")
    files = [p for p in files if p.name not in passing and p.suffix != ".part"]
    parts, size = [[]], 0
    for path in files:
        if parts[-1] and size + path.stat().st_size > PART:
            parts, size = [*parts, []], 0
        parts[-1].append(path)
        size += path.stat().st_size
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("part-*.tar.gz"):
        old.unlink()
    written = [folder / f"part-{number}.tar.gz" for number in range(1, len(parts) + 1)]
    for archive, content in zip(written, parts, strict=True):
        with tarfile.open(archive, "w:gz") as tar:
            for path in content:
                tar.add(path, arcname=path.relative_to(out))
    return written


def rehearse_a_run(arguments: Sequence[str]) -> None:
    """Be `vit_tutorial.train`, with the recipes for a GPU cut down to seconds."""
    for name in ("fashion-long", "fashion-large"):
        train.RECIPES[name] = replace(train.RECIPES[name], **TINY)
    leave_the_test_set()
    train.main(arguments)


def what_is_missing(rehearse: bool) -> str | None:
    """Say why the command cannot do its work here, before it has begun; None if it can."""
    needed = ("timm", "vit_pytorch", "torchvision", "transformers", "einops")
    missing = [name for name in needed if find_spec(name) is None]
    if missing:
        return f"missing here: {', '.join(missing)}; pip install -e '.[test]' has everything"
    if rehearse:
        return None
    if not torch.cuda.is_available():
        return (
            "PyTorch sees no GPU here, and this run is for one; --rehearse goes through the same "
            "steps on a CPU, at a tiny size"
        )
    try:
        load_dataset("fashion_mnist", "train")
    except (OSError, ValueError) as error:
        return str(error)
    return None


def main(arguments: Sequence[str] | None = None) -> None:
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["--rehearse-a-run"]:
        return rehearse_a_run(arguments[1:])
    parser = argparse.ArgumentParser(
        "gpu_run.py",
        description=__doc__.splitlines()[0],
        epilog="; ".join(f"{name}: {what}" for name, what in STEPS.items()),
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where to write")
    parser.add_argument("--only", nargs="+", choices=STEPS, default=list(STEPS), metavar="STEP")
    parser.add_argument("--minutes", type=float, metavar="N", help="stop what runs after so long")
    parser.add_argument("--pack", type=Path, metavar="DIR", help="put the results into archives")
    parser.add_argument(
        "--rehearse", action="store_true", help="every step on a CPU, at a tiny size"
    )
    given = parser.parse_args(arguments)
    until = time.time() + 60 * given.minutes if given.minutes is not None else float("inf")
    if (why := what_is_missing(given.rehearse)) is not None:
        sys.exit(f"{parser.prog}: {why}")
    try:
        for folder in filter(None, (given.out, given.pack)):
            make_folder(folder)
    except OSError as error:
        sys.exit(f"{parser.prog}: {error}")
    before = recorded(given.out)
    if any(record["rehearsed"] != given.rehearse for record in before):
        sys.exit(
            f"{parser.prog}: {given.out} holds a {'real run' if given.rehearse else 'rehearsal'}; "
            "give another folder"
        )
    finished = {record["step"] for record in before if record["outcome"] == "finished"}
    left = []
    for step in [step for step in STEPS if step in given.only]:
        if step in finished:
            print(f"{step}: finished before", flush=True)
            continue
        outcome = "stopped"  # before it began
        if time.time() < until:
            print(f"{step}: {STEPS[step]}", flush=True)
            began = time.time()
            outcome = run_step(step, given.out, given.rehearse, until)
            print(f"{step}: {outcome} after {time.time() - began:.0f} s\n", flush=True)
        if outcome != "finished":
            left.append(f"{step} ({outcome})")
    if given.pack:
        for archive in pack(given.out, given.pack):
            print(f"{archive}: {archive.stat().st_size / 2**20:.1f} MiB")
    if left:
        sys.exit(f"{parser.prog}: not finished: {', '.join(left)}; see {given.out / 'logs'}")


if __name__ == "__main__":
    # A kill, too, is to end what was started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("gpu_run.py: ended from outside"))
    main()
