"""What a run runs on: devices, several processes, compiling, and signals."""

import os
import platform
import signal
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from einops import rearrange
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from vit_tutorial.patch_dropout import SomePatches


def find_device(name: str) -> tuple[torch.device, int, int]:
    """Find the device, this process's rank, and the number of processes.

    name: "cpu", "cuda", "mps", or "auto" for the best that is there. Under
    torchrun the processes are introduced to each other, once.
    Raises ValueError for a device that is not there.
    """
    there = ["cpu"]
    if torch.backends.mps.is_available():
        there.insert(0, "mps")
    if torch.cuda.is_available():
        there.insert(0, "cuda")
    if name not in ("auto", *there):
        known = ", ".join(there)
        raise ValueError(f"no device {name!r} here: there are {known}")
    kind = there[0] if name == "auto" else name
    world, rank, local_rank = read_torchrun()
    if world == 1:
        return torch.device(kind), 0, 1
    if name == "mps":
        raise ValueError(
            f"PyTorch cannot train in {world} processes on mps: start one "
            "without torchrun, or use --device cpu"
        )
    device = torch.device("cpu")  # "auto" on a Mac, too
    if kind == "cuda":
        gpus = torch.cuda.device_count()
        if local_rank >= gpus:
            raise ValueError(
                f"{local_rank + 1} processes on a machine with {gpus} GPUs: "
                "give torchrun --nproc_per_node as many as there are GPUs"
            )
        torch.cuda.set_device(local_rank)
        device = torch.device("cuda", local_rank)
    if not dist.is_initialized():
        dist.init_process_group("nccl" if kind == "cuda" else "gloo")
    return device, rank, world


def read_torchrun() -> tuple[int, int, int]:
    """Read what torchrun says: the number of processes, rank and local rank.

    Without torchrun it is 1, 0, 0. Raises ValueError for half of what it says.
    """
    if os.environ.get("WORLD_SIZE", "1") == "1":
        return 1, 0, 0
    names = ("WORLD_SIZE", "RANK", "LOCAL_RANK")
    remedy = (
        "start many processes by torchrun, which sets "
        f"{', '.join(names)}; for one, unset WORLD_SIZE"
    )
    for name in (*names, "MASTER_ADDR", "MASTER_PORT"):
        if name not in os.environ:
            raise ValueError(
                f"WORLD_SIZE is {os.environ['WORLD_SIZE']}, but {name} is not "
                f"set: {remedy}"
            )
    for name in names:
        if not (value := os.environ[name]).isdecimal():
            raise ValueError(f"{name} is no whole number, {value!r}: {remedy}")
    world, rank, local_rank = (int(os.environ[name]) for name in names)
    if rank >= world:
        raise ValueError(f"RANK is {rank} of WORLD_SIZE {world}: {remedy}")
    return world, rank, local_rank


def describe_machine(device: torch.device, world: int) -> dict:
    """Return what a log says about the machine that its numbers come from."""
    name = platform.processor() or platform.machine()
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    elif Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        models = [line for line in lines if line.startswith("model name")]
        name = models[0].split(":")[1].strip() if models else name
    return {
        "hardware": {
            "device": device.type,
            "name": name,
            "processes": world,
            "threads": torch.get_num_threads(),
        },
        "versions": {
            "python": platform.python_version(),
            "torch": str(torch.__version__),
        },
    }


PROGRAMS = 16  # that torch.compile may make of one model's code


def fit_to_machine(
    net: nn.Module, device: torch.device, world: int, compile_mode: str
) -> nn.Module:
    """Compile a model on a GPU; share its gradients among several processes."""
    if device.type == "cuda" and compile_mode != "off":
        net = compiled(net, compile_mode)
    return DistributedDataParallel(net) if world > 1 else net


def compiled(net: nn.Module, mode: str) -> Any:
    """Let torch.compile join the many small operations of a step into few.

    How many patches SomePatches is shown changes as the run goes on.
    dynamic=True has one program serve them all; to compile one for each would
    take minutes, and PyTorch stops after some.
    """
    # A process that trains all arms meets more than eight kinds of models.
    limits: Any = torch._dynamo.config
    limits.recompile_limit = PROGRAMS
    # einops notes each kind of tensor that it meets, and a new note has
    # everything compiled anew.
    for kind in (torch.zeros(1), nn.Parameter(torch.zeros(1))):
        rearrange(kind, "one -> one")
    dynamic = True if isinstance(net, SomePatches) else None
    return torch.compile(net, dynamic=dynamic, mode=mode)


@contextmanager
def sigterm_like_ctrl_c() -> Generator[None]:
    """Have SIGTERM raise KeyboardInterrupt, so that both end a run alike."""

    def interrupt(*_) -> None:
        raise KeyboardInterrupt("SIGTERM")

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def stop(line: str, interrupt: KeyboardInterrupt) -> None:
    """Print why a command was stopped, and exit with a shell's status."""
    by_ctrl_c = not interrupt.args
    if sys.stderr.isatty():
        print(file=sys.stderr)  # leave the progress bar's line
    how = "Ctrl-C" if by_ctrl_c else "SIGTERM"
    print(line.format(how=how), file=sys.stderr)
    number = signal.SIGINT if by_ctrl_c else signal.SIGTERM
    sys.exit(128 + number)
