"""Time one attention layer against the number of its tokens, for chapter 1.

    python benchmarks/clock.py [--rounds N] [--out FILE]

Every round times each number of tokens once, in random order, on one thread.
Chapter 1 reads the record, vit_tutorial/runs/clock.json, so make it on a
machine that does nothing else: about a minute. It says how busy other
programs kept the machine meanwhile, as a share of all cores.
"""

import argparse
import json
import random
import statistics
import time
from pathlib import Path

import psutil
import torch
from peers import surroundings, write
from tqdm import trange

from vit_tutorial import Attention
from vit_tutorial.records import RUNS

TOKENS = (256, 512, 1024, 2048, 4096)
LAYER = {"dim": 64, "heads": 4, "dim_head": 16}


@torch.no_grad()
def seconds(layer: Attention, n: int) -> float:
    """Time one forward pass over n tokens, after one that warms up."""
    tokens = torch.randn(1, n, LAYER["dim"])
    layer(tokens)
    began = time.perf_counter()
    layer(tokens)
    return time.perf_counter() - began


def busy_seconds() -> float:
    """Return the seconds that all programs on all cores have computed."""
    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0)
    counted_twice = getattr(times, "guest", 0) + getattr(times, "guest_nice", 0)
    return sum(times) - idle - counted_twice


def measure(rounds: int) -> dict:
    """Return the record: where it was made, and each round's seconds."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    layer = Attention(**LAYER)
    before = busy_seconds(), time.process_time(), time.perf_counter()
    times = {n: [] for n in TOKENS}
    for _ in trange(rounds, unit=" rounds"):
        for n in random.sample(TOKENS, len(TOKENS)):
            times[n].append(round(seconds(layer, n), 6))
    after = busy_seconds(), time.process_time(), time.perf_counter()
    busy, own, elapsed = (b - a for a, b in zip(before, after, strict=True))
    where = surroundings("cpu") | {"command": "python benchmarks/clock.py"}
    kept = ("command", "date", "processor", "threads", "python", "torch")
    return {
        **{name: where[name] for name in kept},
        "others_busy": round((busy - own) / elapsed / psutil.cpu_count(), 3),
        "layer": LAYER,
        "seconds": times,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--out", type=Path, default=RUNS / "clock.json")
    given = parser.parse_args()
    record = measure(given.rounds)
    write(given.out, json.dumps(record) + "\n")
    for n, times in record["seconds"].items():
        print(f"{n:5} tokens: {1000 * statistics.median(times):8.2f} ms")


if __name__ == "__main__":
    main()
