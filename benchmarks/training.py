"""Time our training loop beside the usual one, interleaved in one run.

    python benchmarks/training.py [--rounds N] [--epochs N] [--device cpu|cuda] [--out FILE]

First the pictures a second: every contestant in turn, in a new random order each round, trains in a
fresh process for three epochs (on a CPU of 2,000 pictures, on a GPU of all 55,000), and the fastest
but the first counts, which is warming up. On a GPU also the peak memory, and how much of the card's
matrix rate is used, which is measured in the same run.

Then, with --epochs above 0, how many epochs and seconds each needs to be right on so many of the
pictures to choose on as GOALS says, in one run over that many epochs on all 55,000 pictures. What
compiling takes is in these seconds.
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
from peers import seconds, surroundings, write
from torch.utils.flop_counter import FlopCounterMode

from vit_tutorial import ViT, train
from vit_tutorial.patch_dropout import SomePatches, draw_patches
from vit_tutorial.recipes import RECIPES, Recipe

HERE = Path(__file__).parent
GOALS = {"cpu": (0.85, 0.90), "cuda": (0.90, 0.923, 0.93, 0.94)}  # of the validation pictures right
FASHION = RECIPES["fashion"]
SHORT = replace(FASHION, subset=10_000, validation=1_000, train_on=2_000, epochs=3)
FASHION_ON_A_GPU = replace(RECIPES["fashion-long"], erase=0)  # the usual loop has none either


def recipes(device: str, epochs: int, pictures: int | None = None) -> tuple[Recipe, Recipe]:
    """Give the recipe for the pictures a second, and the one for the goals.

    pictures: train on so few in both, to see that everything works.
    """
    short, full = SHORT, replace(FASHION, epochs=epochs or 1)
    if device == "cuda":
        full = replace(FASHION_ON_A_GPU, epochs=epochs or 1)
        short = replace(FASHION_ON_A_GPU, epochs=3)
    if pictures is not None:
        few = {"subset": 10_000, "validation": 100, "train_on": pictures}
        few["batch_size"] = min(short.batch_size, pictures // 2)
        short, full = replace(short, **few), replace(full, **few)
    return short, full


def contestants(recipe: Recipe, device: str) -> dict[str, tuple[list[str], dict, Recipe]]:
    """Give each contestant's name the command, its environment and the recipe it is to follow."""
    every_patch = replace(recipe, drop_patches=0.0)
    workers = 2 if device == "cpu" else os.cpu_count()
    one = [sys.executable, __file__, "--one"]
    several = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    several += [f"--nproc_per_node={os.cpu_count()}", __file__, "--one"]
    found = {
        "ours": ([*one, "ours"], {}, recipe),
        "ours, every patch shown": ([*one, "ours"], {}, every_patch),
        f"usual, {workers} workers": ([*one, "usual", str(workers)], {}, every_patch),
    }
    if device == "cpu":
        found["usual, no workers"] = ([*one, "usual", "0"], {}, every_patch)
        threads = {"OMP_NUM_THREADS": "1"}
        many = f"ours, {os.cpu_count()} processes"
        found[many] = ([*several, "ours"], threads, recipe)
        found[f"{many}, every patch shown"] = ([*several, "ours"], threads, every_patch)
    return found


def run(command: list[str], environment: dict, recipe: Recipe, device: str, seed: int) -> list:
    """Run a contestant in a process of its own, and return its records of the epochs.

    What it measured over the whole run ("also") is added to the last of them.
    """
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
        lines = (log.read_text() if log.exists() else "").splitlines() + done.stdout.splitlines()
    records = [json.loads(line) for line in lines if line.startswith("{")]
    epochs = [record for record in records if record["event"] == "epoch"]
    for record in records:
        if record["event"] == "also":
            epochs[-1] |= {name: value for name, value in record.items() if name != "event"}
    return epochs


def run_one(kind: list[str]) -> None:
    """Be one contestant: what the fresh process does."""
    *kind, order = kind
    order = json.loads(order)
    recipe = Recipe(**order["recipe"])
    if kind[0] == "ours":
        leave_the_test_set()
        train.train(recipe, Path(order["out"], "run"), seed=order["seed"], device=order["device"])
    else:
        import usual

        usual.train(recipe, order["device"], int(kind[1]), order["seed"])
    if order["device"] == "cuda":
        peak = torch.cuda.max_memory_allocated()
        print(json.dumps({"event": "also", "peak_bytes": peak}), flush=True)


def leave_the_test_set() -> None:
    """Give our loop training pictures where it would read the test set, which no speed needs."""
    whole = train.load_dataset
    train.load_dataset = lambda name, split, subset=None: (
        whole(name, "train", 100) if split == "test" else whole(name, split, subset)
    )


def race(recipe: Recipe, device: str, rounds: int) -> dict[str, list[dict]]:
    """Measure pictures a second: for each contestant its fastest epoch of each round."""
    found = contestants(recipe, device)
    fastest = {name: [] for name in found}
    for seed in range(rounds):
        for name in random.sample(list(found), len(found)):
            records = run(*found[name], device, seed)
            best = max(records[1:], key=lambda record: record["images_per_second"])
            best["flops"] = best["images_per_second"] * flops(found[name][2], best["epoch"])
            fastest[name].append(best | {"peak_bytes": records[-1].get("peak_bytes")})
            print(f"round {seed + 1}: {name}: {best['images_per_second']} images/s", flush=True)
    return fastest


def flops(recipe: Recipe, epoch: int) -> float:
    """Count what the matrix products of a step compute for one picture, in the mean of an epoch.

    A multiplication and an addition are two; what is not a product of matrices does not count.
    """
    vit = ViT(**recipe.model).to("meta")
    c, size = vit.config["channels"], vit.image_size
    done = (epoch - 0.5) / recipe.epochs
    kept = draw_patches(vit, 1, recipe, done, torch.Generator()).to("meta")
    with FlopCounterMode(display=False) as counter:
        SomePatches(vit)(torch.empty(1, c, *size, device="meta"), kept).sum().backward()
    return counter.get_total_flops()


def matrix_rate(device: str) -> float:
    """Measure what large matrix products compute in a second, on a GPU in bfloat16."""
    n, dtype = (8192, torch.bfloat16) if device == "cuda" else (1024, torch.float32)
    a, b, out = (torch.randn(n, n, device=device, dtype=dtype) for _ in range(3))
    times = [seconds(lambda: torch.matmul(a, b, out=out), device) for _ in range(8)]
    return 2 * n**3 / statistics.median(times[3:])


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


def use_table(fastest: dict[str, list[dict]], rate: float) -> str:
    """Say what each contestant makes of the machine: medians over the rounds."""
    lines = [f"large matrix products: {rate / 1e12:.4g} TFLOP/s"]
    lines.append("                              TFLOP/s   of that rate   peak MB")
    for name, records in fastest.items():
        done = statistics.median(record["flops"] for record in records)
        line = f"{name:30}{done / 1e12:7.3f}{done / rate:15.2%}"
        if records[0]["peak_bytes"] is not None:
            peak = statistics.median(record["peak_bytes"] for record in records)
            line += f"{peak / 1e6:10.0f}"
        lines.append(line)
    return "\n".join(lines) + "\n"


def goal_table(runs: dict[str, list[dict]], goals: tuple[float, ...] = GOALS["cpu"]) -> str:
    """Say for each run in which epoch, and after how many seconds, it first met each goal."""
    named = [f"{100 * goal:g} %" for goal in goals]
    lines = ["                              " + "".join(f"{name:>22}" for name in named)]
    for name, records in runs.items():
        line, best = f"{name:30}", max(r["validation_accuracy"] for r in records)
        for goal in goals:
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
    parser.add_argument(
        "--pictures", type=int, metavar="N", help="train on N only, to see that everything works"
    )
    parser.add_argument("--out", type=Path, help="every number as FILE.jsonl, tables as FILE.txt")
    parser.add_argument("--one", nargs="+", help=argparse.SUPPRESS)  # see run_one
    asked = parser.parse_args()
    if asked.one:
        return run_one(asked.one)
    if asked.rounds < 1:
        parser.error(f"--rounds must be at least 1, got {asked.rounds}")
    if asked.pictures is not None and asked.pictures not in range(20, 9_001, 10):
        parser.error(f"--pictures must be a multiple of 10, 20 to 9000; got {asked.pictures}")
    device = asked.device or ("cuda" if torch.cuda.is_available() else "cpu")
    if device == "cuda" and not torch.cuda.is_available():
        parser.error("PyTorch sees no GPU here; --device cpu works everywhere")
    header = surroundings(device) | {
        "command": "python benchmarks/training.py " + " ".join(sys.argv[1:])
    }
    log, tables = [header], ["\n".join(f"{key}: {value}" for key, value in header.items()) + "\n"]

    short, full = recipes(device, asked.epochs, asked.pictures)
    rate, fastest = matrix_rate(device), race(short, device, asked.rounds)
    log += [{"matrix_flops_per_second": rate}, {"fastest": fastest}]
    speeds = {name: [r["images_per_second"] for r in runs] for name, runs in fastest.items()}
    tables += [speed_table(speeds), use_table(fastest, rate)]
    print("\n".join(tables[1:]), flush=True)
    if asked.epochs:
        found, runs = contestants(full, device), {}
        winners = {
            whose: max(
                (n for n in speeds if n.startswith(whose) and "every patch" not in n),
                key=lambda n: statistics.median(speeds[n]),
            )
            for whose in ("ours", "usual")
        }
        for name in winners.values():
            runs[name] = run(*found[name], device, 0)
        log.append({"epochs": runs})
        tables.append(goal_table(runs, GOALS[device]))
        print(tables[-1], flush=True)
    if asked.out:
        write(asked.out.with_suffix(".jsonl"), "".join(json.dumps(line) + "\n" for line in log))
        write(asked.out.with_suffix(".txt"), "\n".join(tables))


if __name__ == "__main__":
    main()
