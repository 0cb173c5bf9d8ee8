"""Time the two branches of our attention against each other: written out, and fused.

    python benchmarks/attention.py [--rounds N] [--threads N] [--out FILE]

`Attention.forward` can hold the attention weights, as it must while they are recorded, or leave
them to PyTorch's fused kernel. Both give the same output; this measures which one takes less time,
over token counts, head widths and batch sizes, for a forward pass and for forward and backward.

A round times both branches once, in random order, and the ratio is taken within the round. With
one thread, the default, what counts is the processor's time in that thread, which other programs
on the machine disturb least; with more, the clock on the wall.
"""

import argparse
import itertools
import json
import random
import statistics
import time
from pathlib import Path

import torch
from peers import keep_freed_memory, surroundings, write
from torch import Tensor, nn

from vit_tutorial import Attention

TOKENS = (17, 50, 65, 197, 257)
WIDTHS = (16, 32, 64)  # of a head
BATCHES = (1, 8, 64, 128)
DIM = 128  # of the model, so that there are 8, 4 and 2 heads
AT_LEAST = 0.002  # seconds a measurement; shorter steps are repeated


def written_out(layer: Attention) -> Attention:
    """Take a layer off the fused kernel, as `record_attention` does."""
    layer.fused = False
    return layer


def step(layer: nn.Module, x: Tensor, gradient: Tensor | None) -> None:
    if gradient is None:
        with torch.no_grad():
            layer(x)
    else:
        layer.zero_grad()
        layer(x).backward(gradient)


def seconds(work, clock, repeats: int) -> float:
    start = clock()
    for _ in range(repeats):
        work()
    return (clock() - start) / repeats


def race(tokens: int, width: int, batch: int, train: bool, rounds: int, clock) -> dict:
    """Time both branches on one size, and return every round's times."""
    fused = Attention(DIM, DIM // width, width, qkv_bias=True).train(train)
    plain = written_out(Attention(DIM, DIM // width, width, qkv_bias=True)).train(train)
    plain.load_state_dict(fused.state_dict())
    x = torch.randn(batch, tokens, DIM)
    gradient = torch.randn_like(x) if train else None
    torch.testing.assert_close(plain(x), fused(x), atol=1e-5, rtol=1e-4)
    works = {
        name: lambda layer=layer: step(layer, x, gradient)
        for name, layer in (("plain", plain), ("fused", fused))
    }
    longest = max(seconds(work, clock, 1) for work in works.values())  # a warm-up as well
    repeats = max(1, int(AT_LEAST / longest)) if longest else 1
    times = {name: [] for name in works}
    for _ in range(rounds):
        for name in random.sample(list(works), len(works)):
            times[name].append(seconds(works[name], clock, repeats))
    return {"tokens": tokens, "width": width, "batch": batch, "train": train, **times}


def ratio(record: dict) -> float:
    """Return the median over rounds of plain / fused."""
    return statistics.median(
        a / b for a, b in zip(record["plain"], record["fused"], strict=True) if b > 0
    )


def table(records: list[dict]) -> str:
    """Lay the ratios out: a line for each head width and token count, a column for each batch."""
    columns = [(train, batch) for train in (False, True) for batch in BATCHES]
    lines = [
        "plain / fused, medians of ratios within a round: above 1 the fused kernel is faster\n",
        " " * 17 + "forward, batch".ljust(28) + "forward and backward, batch",
        "width  tokens" + "".join(f"{batch:7}" for _, batch in columns),
    ]
    found = {(r["width"], r["tokens"], r["train"], r["batch"]): ratio(r) for r in records}
    for width, tokens in itertools.product(WIDTHS, TOKENS):
        cells = (found[width, tokens, train, batch] for train, batch in columns)
        lines.append(f"{width:5}{tokens:8}" + "".join(f"{cell:7.2f}" for cell in cells))
    values = list(found.values())
    lines += [
        "",
        f"plain is faster in {sum(value < 1 for value in values)} of {len(values)} sizes; "
        f"median ratio {statistics.median(values):.2f}, from {min(values):.2f} "
        f"to {max(values):.2f}",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9, help="default: 9")
    parser.add_argument("--threads", type=int, default=1, help="default: 1, in processor time")
    parser.add_argument("--out", type=Path, help="every time as FILE.jsonl, the table as FILE.txt")
    asked = parser.parse_args()
    if min(asked.rounds, asked.threads) < 1:
        parser.error("--rounds and --threads must be at least 1")
    torch.set_num_threads(asked.threads)
    clock = time.thread_time if asked.threads == 1 else time.perf_counter
    keep_freed_memory()
    header = surroundings("cpu", "attention.py")
    header["instructions"] = torch.backends.cpu.get_cpu_capability()
    header["clock"] = "processor time" if asked.threads == 1 else "wall"
    sizes = itertools.product(TOKENS, WIDTHS, BATCHES, (False, True))
    records = [race(*size, asked.rounds, clock) for size in sizes]
    text = "\n".join(f"{key}: {value}" for key, value in header.items()) + "\n\n" + table(records)
    print(text)
    if asked.out:
        lines = "".join(json.dumps(line) + "\n" for line in [header, *records])
        write(asked.out.with_suffix(".jsonl"), lines)
        write(asked.out.with_suffix(".txt"), text)


if __name__ == "__main__":
    main()
