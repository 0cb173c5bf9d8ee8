"""Time one attention layer against the number of its tokens, for chapter 1.

    python benchmarks/clock.py [--rounds N] [--out FILE]

Every round times each number of tokens once, in random order, on one thread.
Chapter 1 reads the record, vit_tutorial/runs/clock.json, so make it on a
machine that does nothing else: about a minute. It says how busy the machine
was (the load average, of which this program is 1).
"""

import argparse
import json
import os
import random
import statistics
import time
from pathlib import Path

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


def measure(rounds: int) -> dict:
    """Return the record: where it was made, and each round's seconds."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    layer = Attention(**LAYER)
    load_before = os.getloadavg()[0]
    times = {n: [] for n in TOKENS}
    for _ in trange(rounds, unit=" rounds"):
        for n in random.sample(TOKENS, len(TOKENS)):
            times[n].append(round(seconds(layer, n), 6))
    where = surroundings("cpu") | {"command": "python benchmarks/clock.py"}
    kept = ("command", "date", "processor", "threads", "python", "torch")
    return {
        **{name: where[name] for name in kept},
        "load_average": [round(load_before, 2), round(os.getloadavg()[0], 2)],
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
