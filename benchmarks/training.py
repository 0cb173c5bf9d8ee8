"""Time our training loop beside the usual one, interleaved in one run.

    python benchmarks/training.py [--rounds N] [--epochs N] [--device cpu|cuda] [--out FILE]

First the pictures a second: every contestant in turn, in a new random order each round, trains on
2,000 pictures in a fresh process, and the fastest of its epochs counts (the first is warming up).
Then, with --epochs above 0, how many epochs and seconds each needs to be right on 85 % and on 90 %
of the 5,000 pictures to choose on, in one run over that many epochs on all 55,000 pictures.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

import torch
from peers import surroundings, write

from vit_tutorial.train import RECIPES, Recipe

HERE = Path(__file__).parent
GOALS = (0.85, 0.90)  # of the validation pictures right
FASHION = RECIPES["fashion"]
SHORT = replace(FASHION, subset=10_000, validation=1_000, train_on=2_000, epochs=3)


def contestants(recipe: Recipe, device: str) -> dict[str, tuple[list[str], dict, Recipe]]:
    """Give each contestant's name the command, its environment and the recipe it is to follow."""
    every_patch = replace(recipe, drop_patches=0.0)
    workers = 2 if device == "cpu" else min(8, os.cpu_count())
    one = [sys.executable, __file__, "--one"]
    several = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    several += [f"--nproc_per_node={os.cpu_count()}", __file__, "--one"]
    found = {
        "ours": ([*one, "ours"], {}, recipe),
        "ours, every patch shown": ([*one, "ours"], {}, every_patch),
        f"usual, {workers} workers": ([*one, "usual", str(workers)], {}, every_patch),
        "usual, no workers": ([*one, "usual", "0"], {}, every_patch),
    }
    if device == "cpu":
        threads = {"OMP_NUM_THREADS": "1"}
        many = f"ours, {os.cpu_count()} processes"
        found[many] = ([*several, "ours"], threads, recipe)
        found[f"{many}, every patch shown"] = ([*several, "ours"], threads, every_patch)
    return found


def run(command: list[str], environment: dict, recipe: Recipe, device: str, seed: int) -> list:
    """Run a contestant in a process of its own, and return its records of the epochs."""
    with tempfile.TemporaryDirectory() as folder:
        order = {"recipe": asdict(recipe), "device": device, "seed": seed, "out": folder}
        done = subprocess.run(
            [*command, json.dumps(order)],
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        log = Path(folder, "run", "log.jsonl")
        lines = (log.read_text() if log.exists() else done.stdout).splitlines()
    records = [json.loads(line) for line in lines if line.startswith("{")]
    return [record for record in records if record["event"] == "epoch"]


def run_one(kind: list[str]) -> None:
    """Be one contestant: what the fresh process does."""
    *kind, order = kind
    order = json.loads(order)
    recipe = Recipe(**order["recipe"])
    if kind[0] == "ours":
        from vit_tutorial.train import train

        train(recipe, Path(order["out"], "run"), seed=order["seed"], device=order["device"])
    else:
        import usual

        usual.train(recipe, order["device"], int(kind[1]), order["seed"])


def race(recipe: Recipe, device: str, rounds: int) -> dict[str, list[float]]:
    """Measure pictures a second: for each contestant a number from each round."""
    found = contestants(recipe, device)
    speeds = {name: [] for name in found}
    for seed in range(rounds):
        for name in random.sample(list(found), len(found)):
            records = run(*found[name], device, seed)
            speeds[name].append(max(r["images_per_second"] for r in records[1:]))
            print(f"round {seed + 1}: {name}: {speeds[name][-1]} images/s", flush=True)
    return speeds


def speed_table(speeds: dict[str, list[float]]) -> str:
    """Set the contestants below each other, the fastest first."""
    usual = [
        max(each) for each in zip(*(s for n, s in speeds.items() if "usual" in n), strict=True)
    ]
    lines = ["                              images/s   / the faster usual loop, median and range"]
    for name in sorted(speeds, key=lambda n: -statistics.median(speeds[n])):
        ratios = [a / b for a, b in zip(speeds[name], usual, strict=True)]
        lines.append(
            f"{name:30}{statistics.median(speeds[name]):8.0f}{statistics.median(ratios):12.2f}"
            f"   {min(ratios):.2f} to {max(ratios):.2f}"
        )
    return "\n".join(lines) + "\n"


def goal_table(runs: dict[str, list[dict]]) -> str:
    """Say for each run in which epoch, and after how many seconds, it first met each goal."""
    lines = ["                              " + "".join(f"{goal:>22.0%}" for goal in GOALS)]
    for name, records in runs.items():
        line, best = f"{name:30}", max(r["validation_accuracy"] for r in records)
        for goal in GOALS:
            met = [r["epoch"] for r in records if r["validation_accuracy"] >= goal]
            seconds = sum(r["seconds"] for r in records if met and r["epoch"] <= met[0])
            line += f"{f'epoch {met[0]}, {seconds:.0f} s' if met else 'not reached':>22}"
        lines.append(f"{line}   best {best:.2%}")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--epochs", type=int, default=12, help="default: %(default)s; 0: none")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: cuda if there is one")
    parser.add_argument("--out", type=Path, help="every number as FILE.jsonl, tables as FILE.txt")
    parser.add_argument("--one", nargs="+", help=argparse.SUPPRESS)  # see run_one
    asked = parser.parse_args()
    if asked.one:
        return run_one(asked.one)
    if asked.rounds < 1:
        parser.error(f"--rounds must be at least 1, got {asked.rounds}")
    device = asked.device or ("cuda" if torch.cuda.is_available() else "cpu")
    if device == "cuda" and not torch.cuda.is_available():
        parser.error("PyTorch sees no GPU here; --device cpu works everywhere")
    header = surroundings(device) | {
        "command": "python benchmarks/training.py " + " ".join(sys.argv[1:])
    }
    log, tables = [header], ["\n".join(f"{key}: {value}" for key, value in header.items()) + "\n"]

    speeds = race(SHORT, device, asked.rounds)
    log.append({"images_per_second": speeds})
    tables.append(speed_table(speeds))
    print(tables[-1], flush=True)
    if asked.epochs:
        found, runs = contestants(replace(FASHION, epochs=asked.epochs), device), {}
        fastest = {
            whose: max(
                (n for n in speeds if n.startswith(whose) and "every patch" not in n),
                key=lambda n: statistics.median(speeds[n]),
            )
            for whose in ("ours", "usual")
        }
        for name in fastest.values():
            runs[name] = run(*found[name], device, 0)
        log.append({"epochs": runs})
        tables.append(goal_table(runs))
        print(tables[-1], flush=True)
    if asked.out:
        write(asked.out.with_suffix(".jsonl"), "".join(json.dumps(line) + "\n" for line in log))
        write(asked.out.with_suffix(".txt"), "\n".join(tables))


if __name__ == "__main__":
    main()
