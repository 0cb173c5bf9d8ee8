"""Ask what limits a training step on a GPU: what each change to the loop brings.

    python benchmarks/limits.py [--device cpu|cuda] [--rows N] [--pictures N] [--out FILE]

Every row is the same training, three epochs of all 55,000 pictures with every patch shown, in a
fresh process; "batches of 512" is the loop as it is, with the model compiled. The third epoch is
timed; the second is watched by PyTorch's profiler, which counts the programs (kernels) that ran on
the GPU and adds up their time. Kernels a step say what launching costs. Where the GPU is busy
for a small share of the time, launching is the limit; where it is busy, but its matrix rate is
hardly used, memory is.
"""

import argparse
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import torch
from peers import surroundings, write
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile
from training import FASHION_ON_A_GPU, flops, leave_the_test_set, matrix_rate, run

from vit_tutorial import train
from vit_tutorial.recipes import Recipe

SMALL = replace(FASHION_ON_A_GPU, epochs=3, drop_patches=0.0, batch_size=64)
LARGE = replace(SMALL, batch_size=512)
ROWS = {  # recipe, mode of torch.compile, whether Muon's step is compiled
    "batches of 64, uncompiled": (SMALL, "off", False),
    "batches of 64": (SMALL, "default", False),
    "batches of 64, CUDA graphs": (SMALL, "reduce-overhead", False),
    "batches of 512, uncompiled": (LARGE, "off", False),
    "batches of 512": (LARGE, "default", False),
    "batches of 512, CUDA graphs": (LARGE, "reduce-overhead", False),
    "batches of 512, Muon compiled": (LARGE, "default", True),
    "batches of 512, AdamW for Muon": (replace(LARGE, matrix_lr=None), "default", False),
    "batches of 2048": (replace(LARGE, batch_size=2048), "default", False),
}


def run_one(mode: str, muon: str, order: str) -> None:
    """Be one row's training: what the fresh process does."""
    leave_the_test_set()
    order = json.loads(order)
    device = order["device"]
    if muon == "compiled":
        build = train.build_optimizers

        def build_and_compile(*given):
            optimizers = build(*given)
            for optimizer in optimizers:
                if isinstance(optimizer, torch.optim.Muon):
                    optimizer.step = torch.compile(optimizer.step)
            return optimizers

        train.build_optimizers = build_and_compile if device == "cuda" else build
    activities = [ProfilerActivity.CUDA if device == "cuda" else ProfilerActivity.CPU]
    watch = profile(activities=activities)

    def watch_the_second(epoch: int, _) -> None:
        if epoch == 1:
            watch.start()
        elif epoch == 2:
            watch.stop()

    folder = Path(order["out"], "run")
    recipe = Recipe(**order["recipe"])
    train.train(
        recipe,
        folder,
        seed=order["seed"],
        device=device,
        compile_mode=mode,
        after_epoch=watch_the_second,
    )
    kernels = [e for e in watch.events() if e.device_type == DeviceType.CUDA]
    kernels = [e for e in kernels if not e.is_user_annotation]
    also = {"event": "also", "kernels": len(kernels)}
    also["kernel_seconds"] = sum(e.self_device_time_total for e in kernels) / 1e6
    if device == "cuda":
        also["peak_bytes"] = torch.cuda.max_memory_allocated()
    print(json.dumps(also), flush=True)


def measure(recipe: Recipe, mode: str, muon: bool, device: str) -> dict:
    """Run one row, and say what its last epoch did; the kernels are those of the second."""
    command = [sys.executable, __file__, "--one", mode, "compiled" if muon else "as it is"]
    last = run(command, {}, recipe, device, seed=0)[-1]
    return last | {"flops": last["images_per_second"] * flops(recipe, last["epoch"])}


def table(rows: list[dict], rate: float) -> str:
    """Set the rows below each other, in their order."""
    lines = [f"large matrix products: {rate / 1e12:.4g} TFLOP/s"]
    lines.append(f"{'':34}images/s  ms a step  kernels a step  GPU busy  of the rate   peak MB")
    for row in rows:
        if "failed" in row:
            lines.append(f"{row['row']:34}failed: {row['failed']}")
            continue
        steps = row["pictures"] // row["batch_size"]  # in an epoch
        training = steps * row["batch_size"] / row["images_per_second"]  # seconds
        line = f"{row['row']:34}{row['images_per_second']:8}{1e3 * training / steps:11.3f}"
        line += f"{row['kernels'] / steps:16.0f}{row['kernel_seconds'] / row['seconds']:10.1%}"
        line += f"{row['flops'] / rate:13.2%}"
        if "peak_bytes" in row:
            line += f"{row['peak_bytes'] / 1e6:10.0f}"
        lines.append(line)
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: cuda if there is one")
    parser.add_argument(
        "--pictures", type=int, metavar="N", help="train on N only, to see that everything works"
    )
    parser.add_argument("--rows", type=int, default=len(ROWS), metavar="N", help="the first N only")
    parser.add_argument(
        "--out", type=Path, help="every number as FILE.jsonl, the table as FILE.txt"
    )
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)  # see run_one
    asked = parser.parse_args()
    if asked.one:
        return run_one(*asked.one)
    if asked.pictures is not None and asked.pictures not in range(20, 9_001, 10):
        parser.error(f"--pictures must be a multiple of 10, 20 to 9000; got {asked.pictures}")
    if asked.rows < 1:
        parser.error(f"--rows must be at least 1, got {asked.rows}")
    device = asked.device or ("cuda" if torch.cuda.is_available() else "cpu")
    if device == "cuda" and not torch.cuda.is_available():
        parser.error("PyTorch sees no GPU here; --device cpu works everywhere")
    header = surroundings(device) | {
        "command": "python benchmarks/limits.py " + " ".join(sys.argv[1:])
    }
    rate, rows = matrix_rate(device), []
    for name, (recipe, mode, muon) in list(ROWS.items())[: asked.rows]:
        pictures = 55_000
        if asked.pictures is not None:
            pictures = asked.pictures
            few = {"subset": 10_000, "validation": 100, "train_on": pictures}
            recipe = replace(recipe, **few, batch_size=min(recipe.batch_size, pictures // 2))
        about = {"row": name, "pictures": pictures, "batch_size": recipe.batch_size}
        try:
            rows.append(about | measure(recipe, mode, muon, device))
        except subprocess.CalledProcessError as error:  # the other rows go on
            rows.append(about | {"failed": f"exit status {error.returncode}"})
        speed = rows[-1].get("images_per_second")
        print(f"{name}: {'failed' if speed is None else f'{speed} images/s'}", flush=True)
    everything = "\n".join(f"{key}: {value}" for key, value in header.items()) + "\n\n"
    everything += table(rows, rate)
    print(everything, flush=True)
    if asked.out:
        log = [header, {"matrix_flops_per_second": rate}, *rows]
        write(asked.out.with_suffix(".jsonl"), "".join(json.dumps(line) + "\n" for line in log))
        write(asked.out.with_suffix(".txt"), everything)
    if all("failed" in row for row in rows):
        sys.exit("no row could be measured")


if __name__ == "__main__":
    main()
