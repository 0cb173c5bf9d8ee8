"""Training: a recipe, and one loop to be read from top to bottom.

`python -m vit_tutorial.train --recipe quick --out DIR` trains on the CPU or on
a GPU; started by
`torchrun --standalone --nproc_per_node=N -m vit_tutorial.train …`, in N
processes, on N GPUs if there are as many.

In DIR it keeps `log.jsonl` (a line for the run, for every epoch and for the
test), `checkpoint.pt` (all that --resume needs, written anew after every
epoch), `checkpoint.previous.pt` (the one before it, in case it is damaged)
and, at the end, `model.safetensors`.
"""

import argparse
import math
import os
import platform
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import wraps
from pathlib import Path

import torch
import torch.distributed as dist
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from vit_tutorial.augment import random_erase, random_flip, random_shift
from vit_tutorial.data import (
    DATASETS,
    first_of_each_class,
    load_dataset,
    normalize,
)
from vit_tutorial.recipes import RECIPES, Recipe, as_logged
from vit_tutorial.records import (
    PREVIOUS,
    check_same_run,
    has_model,
    lock_folder,
    naming,
    prepare_folder,
    read_log,
    write_checkpoint,
    write_log,
)
from vit_tutorial.saving import ARCHITECTURES, load_model, save_model
from vit_tutorial.vit import ViT


class SomePatches(nn.Module):
    """A ViT that is shown some of the patches: (b, c, H, W) and (b, kept) ->
    (b, classes).

    Position embeddings are added first, so that a token still says where it
    comes from. Source: PatchDropout (Liu et al., 2023).
    """

    def __init__(self, vit: ViT):
        super().__init__()
        self.vit = vit

    def forward(self, images: Tensor, kept: Tensor) -> Tensor:
        prefix = self.vit.num_prefix
        tokens = self.vit.embed(images)  # (b, prefix + n, D)
        patches = tokens[:, prefix:].take_along_dim(
            kept[:, :, None], dim=1
        )  # (b, kept, D)
        tokens = torch.cat((tokens[:, :prefix], patches), dim=1)
        return self.vit.classify(self.vit.transformer(tokens))


def alone(train: Callable) -> Callable:
    """Wrap `train` so that nobody else trains in its folder at the same time.

    Of several processes that train together, the one that writes locks it.
    """

    @wraps(train)
    def locked(
        recipe: Recipe,
        out: str | os.PathLike,
        *,
        seed: int = 0,
        device: str = "auto",
        **given,
    ) -> tuple[nn.Module, list[dict]]:
        check_seed(seed)
        _, rank, _ = find_device(device)
        with lock_folder(Path(out)) if rank == 0 else nullcontext():
            return train(recipe, out, seed=seed, device=device, **given)

    return locked


@alone
def train(
    recipe: Recipe,
    out: str | os.PathLike,
    *,
    seed: int = 0,
    device: str = "auto",
    resume: bool = False,
    compile_mode: str = "default",
    command: str | None = None,
    after_epoch: Callable[[int, nn.Module], None] | None = None,
) -> tuple[nn.Module, list[dict]]:
    """Train a model, choose its best epoch on held-out images, test it once.

    Args:
        recipe: everything that determines the run except the seed.
        out: folder for the log, the checkpoints and the trained model, as this
            module's head says. No other process may train there meanwhile.
        seed: of the first weights, the order of the images, and all that is
            drawn on the way; from 0 to 2**32 - 1.
        device: "cpu", "cuda", "mps", or "auto" for the best that is there.
        resume: go on from the checkpoint in `out`, or begin where there is
            none. The numbers are those of a run that was never stopped. A
            finished run stays as it is, and is returned.
        compile_mode: torch.compile's on a GPU: "default"; "reduce-overhead",
            with CUDA graphs; or "off". Elsewhere nothing is compiled.
        command: what the log is to name as the command that repeats the run.
        after_epoch: called with the number of the epoch that ended and the
            model, in eval mode, before the checkpoint is written; epoch 0 is
            the untrained model. Of several processes, the first calls it.

    Returns:
        the model of the best epoch, in eval mode on the CPU, and the log's
        records.

    Raises:
        FileExistsError: `out` holds a run that is not to be resumed, or has
            lost its checkpoint, or another process trains there.
        ValueError: the recipe does not fit the data or the machine, or the
            checkpoint is damaged or of another run.
        FloatingPointError: the loss is no longer a number.
        OSError: a file cannot be written, or the images cannot be read.
        ConnectionError: the images cannot be downloaded.

    Whatever stops a run, its last good checkpoint stays.
    """
    device, rank, world = find_device(device)
    out = Path(out)
    if resume and has_model(out):
        return finished_run(recipe, seed, out, rank)
    checkpoint = prepare_folder(out, resume)
    images, labels, held_out, held_out_labels = (
        t.to(device) for t in load_pictures(recipe)
    )
    mean, std = DATASETS[recipe.dataset].mean, DATASETS[recipe.dataset].std
    steps = (
        recipe.repeats * len(images) // recipe.batch_size
    )  # a few pictures are left over
    if steps == 0 or recipe.batch_size % world:
        raise ValueError(
            f"batch_size must be at most the pictures of an epoch ({recipe.repeats * len(images)}) "
            f"and a multiple of the processes ({world}), got {recipe.batch_size}"
        )

    torch.manual_seed(seed)
    model = ARCHITECTURES[recipe.architecture](**recipe.model).to(device)
    check_fit(recipe, model, images)
    optimizers = build_optimizers(model, recipe)
    machine = describe_machine(device, world)
    start = {
        "event": "start",
        "command": command,
        "recipe": as_logged(recipe),
        "seed": seed,
        "parameters": sum(p.numel() for p in model.parameters()),
        "pictures": {"training": len(images), "validation": len(held_out)},
        **machine,
    }
    records, best = [start], None
    if checkpoint is not None:
        check_same_run(checkpoint["records"][0], start, out)
        restore(checkpoint, model, optimizers, out)
        records, best = checkpoint["records"], checkpoint["best"]
    first = sum(record["event"] == "epoch" for record in records)
    if first:
        records.append({"event": "resume", "after_epoch": first, **machine})

    net = SomePatches(model) if recipe.drop_patches else model
    if device.type == "cuda" and compile_mode != "off":
        net = compiled(net, compile_mode)
    if world > 1:
        net = DistributedDataParallel(net)

    if rank:
        after_epoch = None
    if after_epoch is not None and first == 0:
        after_epoch(0, model.eval())
    for epoch in range(first, recipe.epochs):
        net.train()
        # What is drawn in an epoch comes from a seed of its own: to resume
        # takes no more than that.
        torch.manual_seed(100_000 * seed + epoch)
        random = torch.Generator(device).manual_seed(100_000 * seed + epoch)
        passes = [
            torch.randperm(len(images), generator=random, device=device)
            for _ in range(recipe.repeats)
        ]
        order = torch.cat(passes)
        totals = torch.zeros(
            2, device=device
        )  # loss and right answers, summed over the pictures
        began = time.perf_counter()
        bar = tqdm(
            total=steps * recipe.batch_size,
            desc=f"epoch {epoch + 1}/{recipe.epochs}",
            unit=" images",
            disable=True
            if rank
            else None,  # None: not where the output is no terminal
        )
        for step in range(steps):
            done = (
                epoch + step / steps
            ) / recipe.epochs  # of the whole run, from 0 to 1
            set_learning_rates(optimizers, recipe, done)

            # Drawn for the whole batch by every process: it is the same however
            # many there are.
            batch = order[
                step * recipe.batch_size : (step + 1) * recipe.batch_size
            ]
            x, y = augment(images[batch], recipe, random), labels[batch]
            mine = slice(rank, None, world)
            inputs = [normalize(x[mine], mean, std)]
            if recipe.drop_patches:
                inputs.append(
                    draw_patches(model, len(batch), recipe, done, random)[mine]
                )

            with torch.autocast(
                device.type, torch.bfloat16, enabled=device.type == "cuda"
            ):
                logits = net(*inputs)
            loss = F.cross_entropy(
                logits.float(), y[mine], label_smoothing=recipe.label_smoothing
            )
            loss.backward()
            if recipe.clip is not None:
                nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad()

            right = (logits.argmax(dim=1) == y[mine]).sum()
            totals += torch.stack((loss.detach() * len(logits), right))
            bar.update(recipe.batch_size)
            if (
                step % 20 == 0 and not bar.disable
            ):  # to read a number makes a GPU wait
                seen = bar.n / world
                bar.set_postfix(
                    loss=f"{totals[0] / seen:.3f}",
                    accuracy=f"{totals[1] / seen:.1%}",
                )
        bar.close()

        if world > 1:
            dist.all_reduce(totals)
        loss, accuracy = (totals / (steps * recipe.batch_size)).tolist()
        seconds = time.perf_counter() - began
        validation_loss, validation_accuracy, by_class = evaluate(
            model, held_out, held_out_labels, mean, std
        )
        if not math.isfinite(
            loss + validation_loss
        ):  # the last step's is in the second alone
            raise FloatingPointError(
                f"the loss is no longer a number in epoch {epoch + 1}; {out} keeps what it held "
                f"before that epoch. Lower learning rates (now lr={recipe.lr}, "
                f"matrix_lr={recipe.matrix_lr}) or a smaller clip ({recipe.clip}) would help"
            )
        records.append(
            {
                "event": "epoch",
                "epoch": epoch + 1,
                "train_loss": round(loss, 5),
                "train_accuracy": round(accuracy, 5),
                "validation_loss": round(validation_loss, 5),
                "validation_accuracy": round(validation_accuracy, 5),
                "validation_by_class": [round(share, 4) for share in by_class],
                "images_per_second": round(steps * recipe.batch_size / seconds),
                "seconds": round(time.perf_counter() - began, 2),
            }
        )
        if best is None or validation_accuracy > best["validation_accuracy"]:
            best = {
                "epoch": epoch + 1,
                "validation_accuracy": validation_accuracy,
                "model": {
                    name: t.cpu().clone()
                    for name, t in model.state_dict().items()
                },
            }
        if after_epoch is not None:
            after_epoch(epoch + 1, model)
        if rank == 0:
            checkpoint = {
                "model": model.state_dict(),
                "optimizers": [
                    optimizer.state_dict() for optimizer in optimizers
                ],
                "best": best,
                "records": records,
            }
            write_checkpoint(out, checkpoint)
            write_log(out / "log.jsonl", records)
            print(
                f"epoch {epoch + 1}/{recipe.epochs}: training loss {loss:.3f}, accuracy "
                f"{accuracy:.2%}; held out {validation_loss:.3f}, {validation_accuracy:.2%}; "
                f"{records[-1]['images_per_second']} images/s",
                flush=True,
            )

    # The test set is read here, once, by the epoch that was best on the
    # held-out pictures.
    model.load_state_dict(best["model"])
    test_images, test_labels = (
        t.to(device) for t in load_dataset(recipe.dataset, "test")
    )
    test_loss, test_accuracy, _ = evaluate(
        model, test_images, test_labels, mean, std
    )
    records.append(
        {
            "event": "test",
            "epoch": best["epoch"],
            "chosen_by": "validation_accuracy",
            "test_loss": round(test_loss, 5),
            "test_accuracy": round(test_accuracy, 5),
        }
    )
    model = model.cpu().eval()
    data = DATASETS[recipe.dataset]
    model.config |= {
        "dataset": recipe.dataset,
        "class_names": data.class_names,
        "mean": data.mean,
        "std": data.std,
    }
    if rank == 0:
        with naming(out / "model.safetensors"):
            save_model(model, out / "model.safetensors")
        write_log(out / "log.jsonl", records)
        (out / PREVIOUS).unlink(missing_ok=True)
        print(
            f"best on held-out pictures: epoch {best['epoch']}; test: {test_accuracy:.2%}"
        )
    if world > 1:
        dist.barrier()
    return model, records


def finished_run(
    recipe: Recipe, seed: int, out: Path, rank: int
) -> tuple[nn.Module, list[dict]]:
    """Read a finished run's model and records, and say that it is finished."""
    records = read_log(out)
    now = {"recipe": as_logged(recipe), "seed": seed}
    check_same_run(records[0], now, out)
    if rank == 0:
        accuracy = records[-1]["test_accuracy"]
        print(
            f"{out} holds this run, finished before; test: {accuracy:.2%}",
            flush=True,
        )
    return load_model(out / "model.safetensors"), records


def restore(
    checkpoint: dict,
    model: nn.Module,
    optimizers: list[torch.optim.Optimizer],
    out: Path,
) -> None:
    """Load the states of a model and its optimizers from a checkpoint."""
    try:
        model.load_state_dict(checkpoint["best"]["model"])  # would it fit?
        model.load_state_dict(checkpoint["model"])
        for optimizer, state in zip(
            optimizers, checkpoint["optimizers"], strict=True
        ):
            optimizer.load_state_dict(state)
    except Exception as error:  # a crafted file may raise anything
        raise ValueError(
            f"the checkpoint in {out} does not fit its own recipe "
            f"({type(error).__name__}): remove {out} to begin anew"
        ) from error


def check_seed(seed: int) -> None:
    """Raise ValueError unless PyTorch takes 100,000 times this as a seed."""
    if not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise ValueError(
            f"seed must be a whole number from 0 to {2**32 - 1}, got {seed!r}"
        )


def check_fit(recipe: Recipe, model: nn.Module, images: Tensor) -> None:
    """Raise ValueError for a recipe that its model or images cannot follow."""
    side = min(images.shape[2:])
    for name in ("shift", "erase"):
        if getattr(recipe, name) >= side:
            raise ValueError(
                f"{name} must be less than the images' {side} pixels, got {getattr(recipe, name)}"
            )
    if recipe.drop_patches and count_kept(model, recipe, done=0) < 1:
        n = math.prod(model.grid)
        most = math.floor(100 * (n - 1) / n) / 100
        raise ValueError(
            f"drop_patches={recipe.drop_patches} would show none of the {n} "
            f"patches at first; use at most {most}"
        )


def load_pictures(recipe: Recipe) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Load what to train on and what to choose on: images, labels, held-out
    images and labels.

    The last of each class are held out, so they are the same however many are
    trained on.
    """
    images, labels = load_dataset(recipe.dataset, "train", recipe.subset)
    held_out = last_of_each_class(labels, recipe.validation)
    kept, kept_labels = images[~held_out], labels[~held_out]
    if recipe.train_on is not None:
        if recipe.train_on % 10 or not 10 <= recipe.train_on <= len(kept):
            raise ValueError(
                f"train_on must be a multiple of 10 from 10 to {len(kept)}, got {recipe.train_on}"
            )
        kept, kept_labels = first_of_each_class(
            kept, kept_labels, recipe.train_on
        )
    return kept, kept_labels, images[held_out], labels[held_out]


def last_of_each_class(labels: Tensor, count: int) -> Tensor:
    """Mark the last count/10 pictures of each of the 10 classes: a mask over
    the labels."""
    if count % 10 or not 10 <= count < len(labels):
        raise ValueError(
            f"validation must be a multiple of 10 from 10 to {len(labels) - 10}, got {count}"
        )
    marked = torch.zeros(len(labels), dtype=torch.bool)
    for number in range(10):
        marked[(labels == number).nonzero()[-count // 10 :]] = True
    return marked


def augment(images: Tensor, recipe: Recipe, random: torch.Generator) -> Tensor:
    """Change each picture of a batch as the recipe says: uint8 (b, c, H, W)
    stays."""
    if recipe.flip:
        images = random_flip(images, random)
    if recipe.shift:
        images = random_shift(images, recipe.shift, random)
    if recipe.erase:
        images = random_erase(images, recipe.erase, random)
    return images


def draw_patches(
    vit: ViT, b: int, recipe: Recipe, done: float, random: torch.Generator
) -> Tensor:
    """Choose which patches each picture shows, (b, kept), more of them as the
    run goes on."""
    n = math.prod(vit.grid)
    order = torch.rand(b, n, generator=random, device=random.device).argsort(
        dim=1
    )
    return order[:, : count_kept(vit, recipe, done)]


def count_kept(vit: ViT, recipe: Recipe, done: float) -> int:
    """Return how many patches each image shows at a moment of the run."""
    n = math.prod(vit.grid)
    return n - round(recipe.drop_patches * (1 - done) * n)


def compiled(net: nn.Module, mode: str) -> nn.Module:
    """Let torch.compile join the many small operations of a step into few.

    How many patches SomePatches is shown changes as the run goes on.
    dynamic=True has one program serve them all; to compile one for each would
    take minutes, and PyTorch stops after eight.
    """
    # einops notes each kind of tensor that it meets, and a new note has
    # everything compiled anew.
    for kind in (torch.zeros(1), nn.Parameter(torch.zeros(1))):
        rearrange(kind, "one -> one")
    return torch.compile(
        net, dynamic=True if isinstance(net, SomePatches) else None, mode=mode
    )


def build_optimizers(
    model: nn.Module, recipe: Recipe
) -> list[torch.optim.Optimizer]:
    """Give each parameter its optimiser: Muon for the blocks' matrices, AdamW
    for all others.

    Only matrices (and convolutions) decay: to pull a bias, a scale, the class
    token or a position to zero has no use.
    """
    blocks, others, rest = [], [], []
    for name, parameter in model.named_parameters():
        weight = name.endswith(".weight") and parameter.ndim > 1
        in_block = (
            weight
            and name.startswith("transformer.")
            and recipe.matrix_lr is not None
        )
        (blocks if in_block else others if weight else rest).append(parameter)
    optimizers = [
        torch.optim.AdamW(
            [{"params": others}, {"params": rest, "weight_decay": 0.0}],
            lr=recipe.lr,
            betas=(0.9, 0.98),
            weight_decay=recipe.weight_decay,
        )
    ]
    if blocks:
        optimizers.append(
            torch.optim.Muon(
                blocks, lr=recipe.matrix_lr, weight_decay=recipe.weight_decay
            )
        )
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["highest_lr"] = group["lr"]
    return optimizers


def set_learning_rates(
    optimizers: list[torch.optim.Optimizer], recipe: Recipe, done: float
) -> None:
    """Set the learning rates for a moment of the run: done goes from 0 to 1."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["highest_lr"] * learning_rate(
                done, recipe.warm_up
            )


def learning_rate(done: float, warm_up: float) -> float:
    """Give the share of the highest learning rate: a straight rise, then half a
    cosine to zero."""
    if done < warm_up:
        return done / warm_up
    return 0.5 * (1 + math.cos(math.pi * (done - warm_up) / (1 - warm_up)))


@torch.no_grad()
def evaluate(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    mean: Sequence[float],
    std: Sequence[float],
) -> tuple[float, float, list[float]]:
    """Compute the mean cross-entropy, the accuracy, and that of each class, on
    uint8 pictures."""
    model.eval()
    logits = torch.cat(
        [model(normalize(part, mean, std)) for part in images.split(500)]
    )
    right = (logits.argmax(dim=1) == labels).double()
    by_class = [
        right[labels == number].mean().item()
        for number in range(logits.shape[1])
    ]
    return F.cross_entropy(logits, labels).item(), right.mean().item(), by_class


def find_device(name: str) -> tuple[torch.device, int, int]:
    """Find the device to train on, this process's rank and the number of
    processes.

    Raises ValueError for a device that is not there.
    """
    there = ["cpu"]
    if torch.backends.mps.is_available():
        there.insert(0, "mps")
    if torch.cuda.is_available():
        there.insert(0, "cuda")
    if name not in ("auto", *there):
        raise ValueError(
            f"no device {name!r} here: there are {', '.join(there)}"
        )
    kind = there[0] if name == "auto" else name
    world, rank, local_rank = read_torchrun()
    if world == 1:
        return torch.device(kind), 0, 1
    if name == "mps":
        raise ValueError(
            f"PyTorch cannot train in {world} processes on mps: start one "
            "without torchrun, or use --device cpu"
        )
    if kind == "cuda":
        if local_rank >= torch.cuda.device_count():
            raise ValueError(
                f"{local_rank + 1} processes on a machine with {torch.cuda.device_count()} GPUs: "
                "give torchrun --nproc_per_node as many as there are GPUs"
            )
        torch.cuda.set_device(local_rank)
        device = torch.device("cuda", local_rank)
    else:
        device = torch.device("cpu")
    if not dist.is_initialized():
        dist.init_process_group("nccl" if kind == "cuda" else "gloo")
    return device, rank, world


def read_torchrun() -> tuple[int, int, int]:
    """Read what torchrun says: the number of processes, rank and local rank.

    Without torchrun it is 1, 0, 0.
    """
    if os.environ.get("WORLD_SIZE", "1") == "1":
        return 1, 0, 0
    names = ("WORLD_SIZE", "RANK", "LOCAL_RANK")
    remedy = (
        "start many processes by torchrun, which sets "
        f"{', '.join(names)}; for one, unset WORLD_SIZE"
    )
    values = []
    for name in (*names, "MASTER_ADDR", "MASTER_PORT"):
        if name not in os.environ:
            raise ValueError(
                f"WORLD_SIZE is {os.environ['WORLD_SIZE']}, but {name} is not set: {remedy}"
            )
    for name in names:
        value = os.environ[name]
        if not value.isdecimal():
            raise ValueError(f"{name} is no whole number, {value!r}: {remedy}")
        values.append(int(value))
    world, rank, local_rank = values
    if rank >= world:
        raise ValueError(f"RANK is {rank} of WORLD_SIZE {world}: {remedy}")
    return world, rank, local_rank


def describe_machine(device: torch.device, world: int) -> dict:
    """Say what the numbers of a log were made on."""
    name = platform.processor() or platform.machine()
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    elif Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        names = [
            line.split(":")[1].strip()
            for line in lines
            if line.startswith("model name")
        ]
        name = names[0] if names else name
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


@contextmanager
def sigterm_like_ctrl_c() -> Iterator[None]:
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
    print(
        line.format(how="Ctrl-C" if by_ctrl_c else "SIGTERM"), file=sys.stderr
    )
    number = signal.SIGINT if by_ctrl_c else signal.SIGTERM
    sys.exit(128 + number)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train a Vision Transformer on Fashion-MNIST, on a CPU or a GPU, with
    torchrun on many."""
    parser = argparse.ArgumentParser(
        "python -m vit_tutorial.train", description=main.__doc__
    )
    parser.add_argument(
        "--recipe",
        choices=RECIPES,
        default="quick",
        help="default: %(default)s",
    )
    parser.add_argument(
        "--out",
        metavar="DIR",
        help="folder to write to; default: runs/RECIPE-N",
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="default: %(default)s"
    )
    parser.add_argument(
        "--device",
        default="auto",
        help="cpu, cuda, mps; auto, the default: the best there is",
    )
    parser.add_argument(
        "--epochs",
        type=int,
        metavar="N",
        help="instead of the recipe's: "
        + ", ".join(
            f"{name} {recipe.epochs}" for name, recipe in RECIPES.items()
        ),
    )
    parser.add_argument(
        "--compile",
        choices=("off", "default", "reduce-overhead"),
        default="default",
        help="on a GPU: off, or the mode of torch.compile; default: %(default)s",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on where the run in DIR stopped",
    )
    given = parser.parse_args(arguments)
    command = f"python -m vit_tutorial.train --recipe {given.recipe} --seed {given.seed}"
    out = given.out or f"runs/{given.recipe}-{given.seed}"
    try:
        recipe = RECIPES[given.recipe]
        if given.epochs is not None:
            recipe = replace(recipe, epochs=given.epochs)
            command += f" --epochs {given.epochs}"
        with sigterm_like_ctrl_c():
            train(
                recipe,
                out,
                seed=given.seed,
                device=given.device,
                resume=given.resume,
                compile_mode=given.compile,
                command=command,
            )
    except (FloatingPointError, OSError, ValueError) as error:
        sys.exit(f"{parser.prog}: {error}")
    except KeyboardInterrupt as interrupt:
        if int(os.environ.get("RANK", 0)):
            sys.exit(1)  # the first process speaks for all
        stop(
            f"{parser.prog}: stopped by {{how}}; {out} keeps every epoch that "
            "ended. The same command with --resume goes on",
            interrupt,
        )
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


if __name__ == "__main__":
    main()
