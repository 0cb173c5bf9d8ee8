"""Time our ViT beside timm, vit-pytorch, torchvision and Hugging Face, interleaved in one run.

    python benchmarks/peers.py [--rounds N] [--device cpu|cuda] [--only SETTING ...] [--no-memory]
                               [--out FILE]

Every model does the same arithmetic: same sizes, qkv bias, class token, learned positions, exact
GELU, LayerNorm eps 1e-6, no dropout, same pictures. A training step is zeroing the gradients,
forward, cross-entropy and backward; the optimiser stays out: it is the same for every model.

A round times each contestant once, in a new random order, so that whatever else the machine does
falls on all alike; ratios are taken within a round. "products" is the floor: the step's matrix
products alone, with nothing between them.
"""

import argparse
import ctypes
import importlib.metadata
import itertools
import json
import math
import os
import platform
import random
import re
import statistics
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import torch
import torch.nn.functional as F
from contestants import MODELS, SETTINGS, Setting, build, declare_torchvision_operators
from torch import Tensor

LIBRARIES = ("torch", "timm", "vit-pytorch", "torchvision", "transformers", "einops")


class Model:
    """One contestant with its input, and the two steps that are timed."""

    def __init__(self, name: str, setting: Setting, device: str, dtype: torch.dtype):
        model = build(name, setting)
        self.model = self.call = model.to(device, dtype)
        self.parameters = sum(p.numel() for p in model.parameters())
        batch = setting.batch[device]
        self.images = torch.randn(batch, setting.channels, setting.image, setting.image)
        self.images = self.images.to(device, dtype)
        self.labels = torch.randint(setting.classes, (batch,), device=device)

    def logits(self) -> Tensor:
        output = self.call(self.images)
        return output if isinstance(output, Tensor) else output.logits  # Hugging Face's container

    def forward(self) -> None:
        with torch.no_grad():
            self.logits()

    def train(self) -> None:
        self.model.zero_grad()
        F.cross_entropy(self.logits().float(), self.labels).backward()


class Products:
    """The floor: every matrix product of a step at its true shape, into memory already there."""

    def __init__(self, s: Setting, device: str, dtype: torch.dtype):
        patches = s.batch[device] * (s.image // s.patch) ** 2
        tokens = patches + s.batch[device]  # the class tokens
        heads, n = s.batch[device] * s.heads, tokens // s.batch[device]

        def new(*shape: int) -> Tensor:
            return torch.randn(*shape, device=device, dtype=dtype) * 0.02

        self.ahead, self.back = [], []

        def linear(rows: int, width: int, out: int) -> None:
            x, w, y = new(rows, width), new(out, width), new(rows, out)
            self.ahead += [(x, w.T, y)]  # y = x W^T
            self.back += [(y.T, x, new(out, width)), (y, w, new(rows, width))]  # dW, dx

        def attention(width: int) -> None:
            q, k, v, o = (new(heads, n, width) for _ in range(4))
            a = new(heads, n, n)
            self.ahead += [(q, k.mT, a), (a, v, o)]  # scores, and what they gather
            self.back += [(a.mT, o, new(*v.shape)), (o, v.mT, new(*a.shape))]  # dv, da
            self.back += [(a, k, new(*q.shape)), (a.mT, q, new(*k.shape))]  # dq, dk

        linear(patches, s.channels * s.patch**2, s.dim)
        self.back.pop()  # no gradient goes to the pictures
        for _ in range(s.depth):
            linear(tokens, s.dim, 3 * s.dim)
            attention(s.dim // s.heads)
            linear(tokens, s.dim, s.dim)
            linear(tokens, s.dim, s.mlp_dim)
            linear(tokens, s.mlp_dim, s.dim)
        linear(s.batch[device], s.dim, s.classes)

    def forward(self) -> None:
        for left, right, out in self.ahead:
            torch.matmul(left, right, out=out)

    def train(self) -> None:
        for left, right, out in itertools.chain(self.ahead, reversed(self.back)):
            torch.matmul(left, right, out=out)


def keep_freed_memory() -> None:
    """Have glibc keep what is freed, as PyTorch does on a GPU, rather than hand it back each time.

    Which model pays for handing memory back and faulting it in again hangs on where its weights
    happen to lie. Elsewhere than on Linux: no effect.
    """
    if sys.platform == "linux" and hasattr(glibc := ctypes.CDLL(None), "mallopt"):
        trim_threshold, mmap_threshold = -1, -3  # the names' values in malloc.h
        glibc.mallopt(mmap_threshold, 2**25)
        glibc.mallopt(trim_threshold, 2**30)


def seconds(work, device: str) -> float:
    """Time one call; on a GPU, where launching overlaps with computing, one of ten in a row."""
    repeats = 10 if device == "cuda" else 1
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(repeats):
        work()
    if device == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - start) / repeats


def interleave(works: dict, rounds: int, device: str) -> dict[str, list[float]]:
    """Time every entry once a round, in random order, after one round that does not count."""
    times = {name: [] for name in works}
    for _ in range(rounds + 1):
        for name in random.sample(list(works), len(works)):
            times[name].append(seconds(works[name], device))
    return {name: values[1:] for name, values in times.items()}


def peak_on_cpu(name: str, setting: Setting, step: str) -> int | None:
    """Bytes by which building a model and one step raise a fresh process; None except on Linux."""
    if sys.platform != "linux":
        return None
    command = [sys.executable, __file__, "--memory-of", name, step, json.dumps(asdict(setting))]
    return int(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def print_own_peak(name: str, step: str, setting: str) -> None:
    """Be that fresh process."""
    setting = Setting(**json.loads(setting))
    small = Setting(**{**asdict(setting), "depth": 1, "batch": {"cpu": 1}})
    Model(name, small, "cpu", torch.float32).train()  # imports, threads, the libraries' buffers
    Path("/proc/self/clear_refs").write_text("5")  # start the high-water mark afresh
    before = high_water()
    getattr(Model(name, setting, "cpu", torch.float32), step)()
    print(high_water() - before)


def high_water() -> int:
    return 1024 * int(re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())[1])


def peak_on_gpu(model: Model, step: str) -> int:
    """Bytes the allocator held at the peak of one step, this model's parameters included."""
    model.model.zero_grad()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    getattr(model, step)()
    rise = torch.cuda.max_memory_allocated() - before
    return rise + model.parameters * model.images.element_size()


def line_up(label: str, device: str) -> dict[str, Model | Products]:
    """Build every contestant anew, in random order, and check that all are the same model."""
    setting = SETTINGS[label]
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    names = random.sample(list(MODELS), len(MODELS))
    models = {name: Model(name, setting, device, dtype) for name in names}
    sizes = {name: model.parameters for name, model in models.items()}
    if len(set(sizes.values())) > 1:
        raise ValueError(f"not the same model everywhere, parameters: {sizes}")
    return {**models, "products": Products(setting, device, dtype)}


def race(label: str, device: str, rounds: int, *, memory: bool = True):
    """Yield, for one setting, a record of every contestant, step and kind of execution.

    On a CPU all are built anew every five rounds: where its weights happen to lie in memory can
    make a model faster or slower for as long as it lives.
    """
    setting = SETTINGS[label]
    at_a_time = 3 * rounds if device == "cuda" else 5
    for kind, step in itertools.product(
        ("eager", "compiled") if device == "cuda" else ("eager",), ("forward", "train")
    ):
        times = {name: [] for name in (*MODELS, "products")}
        of_this_step = 3 * rounds if step == "forward" else rounds  # a third of the work each
        for done in range(0, of_this_step, at_a_time):
            contestants = line_up(label, device)
            for name in MODELS:
                model = contestants[name]
                model.model.train(step == "train")
                model.call = torch.compile(model.model) if kind == "compiled" else model.model
            works = {name: getattr(entry, step) for name, entry in contestants.items()}
            for name, more in interleave(
                works, min(at_a_time, of_this_step - done), device
            ).items():
                times[name] += more
        for name, seconds_taken in times.items():
            peak = None
            if memory and name in MODELS:
                peak = (
                    peak_on_gpu(contestants[name], step)
                    if device == "cuda"
                    else peak_on_cpu(name, setting, step)
                )
            record = {"setting": label, "batch": setting.batch[device], "kind": kind}
            record |= {"step": step, "contestant": name, "peak_bytes": peak}
            yield record | {"seconds": seconds_taken}


def median_interval(values: list[float], confidence: float = 0.95) -> tuple[float, float]:
    """The order statistics between which the median lies with at least this confidence.

    It assumes no distribution: a value falls below the median with probability 1/2 (the sign
    test's interval). Fewer than 6 values cannot give 95 %: then it is their range.
    """
    n, cut = len(values), 0
    while 1 - 2 * sum(math.comb(n, i) for i in range(cut + 2)) / 2**n >= confidence:
        cut += 1
    return sorted(values)[cut], sorted(values)[n - 1 - cut]


def table(records: list[dict]) -> str:
    """Set the contestants of one setting, kind and step below each other, the fastest first."""
    times = {record["contestant"]: record["seconds"] for record in records}
    peaks = {record["contestant"]: record["peak_bytes"] for record in records}
    first, medians = records[0], {name: statistics.median(t) for name, t in times.items()}
    step = "training step" if first["step"] == "train" else "forward"
    lines = [f"{first['setting']}, batch {first['batch']}, {first['kind']}, {step}"]
    spread = "95 % interval" if len(times["ours"]) >= 6 else "range"
    lines.append(" " * 21 + "ms  / products   peak MB   ours / it  " + spread)
    for name in sorted(medians, key=medians.get):
        line = f"{name:14}{1e3 * medians[name]:9.1f}{medians[name] / medians['products']:12.2f}"
        line += f"{peaks[name] / 1e6:10.0f}" if peaks[name] else " " * 10
        if name != "ours":
            ratios = [a / b for a, b in zip(times["ours"], times[name], strict=True)]
            low, high = median_interval(ratios)
            line += f"{statistics.median(ratios):12.3f}  {low:.3f} to {high:.3f}"
        lines.append(line.rstrip())
    return "\n".join(lines) + "\n"


def surroundings(device: str, script: str = "peers.py") -> dict:
    """Where, with what and by which command this was measured."""
    cpuinfo = Path("/proc/cpuinfo")
    named = re.search(r"model name\s*:\s*(.*)", cpuinfo.read_text()) if cpuinfo.exists() else None
    return {
        "command": " ".join([f"python benchmarks/{script}", *sys.argv[1:]]),
        "date": time.strftime("%Y-%m-%d"),
        "processor": named[1] if named else platform.processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if device == "cuda" else None,
        "python": platform.python_version(),
        **{library: importlib.metadata.version(library) for library in LIBRARIES},
    }


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(text)
    temporary.replace(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--rounds",
        type=int,
        default=20,
        help="of training steps, three times as many of forward passes; default: 20",
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: cuda if there is one")
    parser.add_argument("--only", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--out", type=Path, help="every time as FILE.jsonl, the table as FILE.txt")
    parser.add_argument("--no-memory", action="store_true", help="leave the peak memory out")
    parser.add_argument("--memory-of", nargs=3, help=argparse.SUPPRESS)  # see peak_on_cpu
    asked = parser.parse_args()
    if asked.rounds < 1:
        parser.error(f"--rounds must be at least 1, got {asked.rounds}")
    declare_torchvision_operators()
    if asked.memory_of:
        return print_own_peak(*asked.memory_of)
    device = asked.device or ("cuda" if torch.cuda.is_available() else "cpu")
    if device == "cuda" and not torch.cuda.is_available():
        parser.error("PyTorch sees no GPU here; --device cpu works everywhere")
    keep_freed_memory()
    header = surroundings(device)
    log, tables = [header], ["\n".join(f"{key}: {value}" for key, value in header.items()) + "\n"]
    print(tables[0], flush=True)
    for label in asked.only:
        if device not in SETTINGS[label].batch:
            continue
        races = race(label, device, asked.rounds, memory=not asked.no_memory)
        for _, records in itertools.groupby(races, key=lambda r: (r["kind"], r["step"])):
            log += (records := list(records))
            tables.append(table(records))
            print(tables[-1], flush=True)
    if asked.out:
        write(asked.out.with_suffix(".jsonl"), "".join(json.dumps(line) + "\n" for line in log))
        write(asked.out.with_suffix(".txt"), "\n".join(tables))


if __name__ == "__main__":
    main()
