"""Training: a recipe, and one loop to be read from top to bottom.

`python -m vit_tutorial.train --recipe quick --out DIR` trains on the CPU or on
a GPU; started by
`torchrun --standalone --nproc_per_node=N -m vit_tutorial.train …`, in N
processes, on N GPUs if there are as many. With `--from CHECKPOINT --data
FOLDER` it fine-tunes a trained model on your own images.

In DIR it keeps `log.jsonl` (a line for the run, for every epoch and for the
test), `checkpoint.pt` (all that --resume needs, written anew after every
epoch), `checkpoint.previous.pt` (the one before it, in case it is damaged)
and, at the end, `model.safetensors`.
"""

import argparse
import os
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from tqdm import tqdm

from vit_tutorial.augment import random_erase, random_flip, random_shift
from vit_tutorial.data import DATASETS, load_dataset, normalize
from vit_tutorial.fine_tuning import recipe_for, start_model
from vit_tutorial.folder import Folder, read_folder
from vit_tutorial.machine import (
    find_device,
    fit_to_machine,
    sigterm_like_ctrl_c,
    stop,
)
from vit_tutorial.optimizers import build_optimizers, set_learning_rates
from vit_tutorial.patch_dropout import SomePatches, draw_patches
from vit_tutorial.preprocess import preprocess
from vit_tutorial.recipe_checks import check_batch_size, check_fit
from vit_tutorial.recipes import RECIPES, Recipe, load_pictures
from vit_tutorial.records import has_model, prepare_folder
from vit_tutorial.run import (
    Run,
    alone,
    describe_run,
    facts_of,
    finished_run,
    keep_epoch,
    keep_model,
    record_epoch,
    record_test,
    resume_run,
)
from vit_tutorial.settings import with_settings
from vit_tutorial.teacher import learn_from_teacher

__all__ = ["evaluate", "train"]

COMMAND = "python -m vit_tutorial.train"


def step(
    run: Run, images: Tensor, labels: Tensor, done: float, random: Generator
) -> Tensor:
    """Learn from one batch: uint8 images (b, c, H, W) and their labels (b,).

    done: the share of the run that is over, 0 to 1. random: what the recipe
    leaves to chance is drawn from it. With a teacher, the labels are
    probabilities, (b, num_classes).
    Returns the sum of the images' losses and the number of right predictions.
    """
    recipe, data = run.recipe, run.data
    set_learning_rates(run.optimizers, recipe, done)

    # Every process draws for the whole batch, so what is drawn does not depend
    # on how many there are. Then each learns from its own share.
    share = slice(run.rank, None, run.world)
    x, y = augment(images, recipe, random)[share], labels[share]
    inputs = [normalize(x, data.mean, data.std)]
    if recipe.drop_patches:
        kept = draw_patches(run.model, len(images), recipe, done, random)
        inputs.append(kept[share])

    with torch.autocast(x.device.type, torch.bfloat16, enabled=x.is_cuda):
        logits = run.net(*inputs)
    loss = F.cross_entropy(
        logits.float(), y, label_smoothing=recipe.label_smoothing
    )
    loss.backward()
    if recipe.clip is not None:
        nn.utils.clip_grad_norm_(run.model.parameters(), recipe.clip)
    for optimizer in run.optimizers:
        optimizer.step()
        optimizer.zero_grad()

    if recipe.teacher is not None:
        y = y.argmax(dim=1)
    right = (logits.argmax(dim=1) == y).sum()
    return torch.stack((loss.detach() * len(y), right))


def augment(images: Tensor, recipe: Recipe, random: Generator) -> Tensor:
    """Change each image as the recipe says: uint8 (b, c, H, W) stays."""
    if recipe.flip:
        images = random_flip(images, random)
    if recipe.shift:
        images = random_shift(images, recipe.shift, random)
    if recipe.erase:
        images = random_erase(images, recipe.erase, random)
    return images


def train_epoch(
    run: Run, images: Tensor, labels: Tensor, epoch: int
) -> tuple[float, float, int]:
    """Take an epoch's steps: the mean loss, the accuracy, images a second."""
    recipe, b = run.recipe, run.recipe.batch_size
    run.net.train()
    # What an epoch draws comes from a seed of its own, so a run that resumes
    # draws the same.
    seed = 100_000 * run.seed + epoch
    torch.manual_seed(seed)
    random = Generator(run.device).manual_seed(seed)
    passes = [
        torch.randperm(len(images), generator=random, device=run.device)
        for _ in range(recipe.repeats)
    ]
    steps = recipe.repeats * len(images) // b
    order = torch.cat(passes)[: steps * b]  # a partial batch is left out
    totals = torch.zeros(2, device=run.device)  # what the steps return
    began = time.perf_counter()
    bar = tqdm(
        total=steps * b,
        desc=f"epoch {epoch + 1}/{recipe.epochs}",
        unit=" images",
        disable=True if run.rank else None,  # None: unless in a terminal
    )
    for number, batch in enumerate(order.split(b)):
        done = (epoch + (number + 0.5) / steps) / recipe.epochs  # mid-step
        totals += step(run, images[batch], labels[batch], done, random)
        bar.update(b)
        # Reading a number makes a GPU wait, so it is done now and then.
        if number % 20 == 0 and not bar.disable:
            loss, accuracy = (totals * run.world / bar.n).tolist()
            bar.set_postfix(loss=f"{loss:.3f}", accuracy=f"{accuracy:.1%}")
    bar.close()
    if run.world > 1:
        dist.all_reduce(totals)
    loss, accuracy = (totals / (steps * b)).tolist()
    speed = round(steps * b / (time.perf_counter() - began))
    return loss, accuracy, speed


@torch.no_grad()
def evaluate(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    mean: Sequence[float],
    std: Sequence[float],
) -> tuple[float, float, list[float]]:
    """Return the mean cross-entropy, the accuracy, and that of each class.

    Args:
        images: uint8 (n, c, H, W), of every class.
        mean, std: of each channel.
    """
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
    """Train a model and test it once, after its best epoch or its last one.

    Args:
        recipe: everything that determines the run except the seed.
        out: folder for the log, the checkpoints and the trained model, as the
            top of this file says. No other process may train there meanwhile.
        seed: of the first weights and of all that is drawn; 0 to 2**32 - 1.
        device: "cpu", "cuda", "mps", or "auto" for the best that is there.
        resume: go on from the checkpoint in `out`, or begin where there is
            none. The numbers are those of a run that was never stopped. A
            finished run stays as it is, and is returned.
        compile_mode: torch.compile's, on a GPU: "default"; "reduce-overhead",
            with CUDA graphs; or "off".
        command: what the log is to name as the command that repeats the run.
        after_epoch: called with the number of the epoch that ended and the
            model, in eval mode, before the checkpoint is written; epoch 0 is
            the untrained model. Of several processes, the first calls it.

    Returns:
        the model of the epoch that was tested, in eval mode on the CPU, and the
        log's records.

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
    found, rank, world = find_device(device)
    out = Path(out)
    if resume and has_model(out):
        return finished_run(recipe, seed, out, rank)
    checkpoint = prepare_folder(out, resume)
    run = begin(recipe, seed, out, found, rank, world)
    folder = isinstance(run.data, Folder)
    parts = run.data.parts if folder else load_pictures(recipe)
    images, labels, *held_out = (part.to(found) for part in parts)
    check_batch_size(recipe, len(images), world)
    check_fit(recipe, run.model, images)
    if recipe.teacher is not None:
        labels = learn_from_teacher(recipe, run.data, images, labels)
    describe_run(run, command, len(images), len(held_out[0]))
    if checkpoint is not None:
        resume_run(run, checkpoint)
    run.net = fit_to_machine(run.net, found, world, compile_mode)

    if after_epoch is None or rank > 0:
        after_epoch = nothing
    if run.epochs == 0:
        after_epoch(0, run.model.eval())
    for epoch in range(run.epochs, recipe.epochs):
        began = time.perf_counter()
        trained = train_epoch(run, images, labels, epoch)
        validated = evaluate(run.model, *held_out, run.data.mean, run.data.std)
        record_epoch(run, trained, validated, time.perf_counter() - began)
        after_epoch(epoch + 1, run.model)
        if rank == 0:
            keep_epoch(run)
    return finish(run)


def begin(
    recipe: Recipe,
    seed: int,
    out: Path,
    device: torch.device,
    rank: int,
    world: int,
) -> Run:
    """Make what a run begins with: a model, its optimisers, its images."""
    torch.manual_seed(seed)
    model = start_model(recipe)
    data = DATASETS.get(recipe.dataset)
    if data is None:
        data = read_folder(recipe.dataset, preprocess(model))
    model = model.to(device)
    net = SomePatches(model) if recipe.drop_patches else model
    optimizers = build_optimizers(model, recipe)
    parts = model, net, optimizers, data
    return Run(recipe, seed, out, device, rank, world, *parts)


def finish(run: Run) -> tuple[nn.Module, list[dict]]:
    """Test the chosen epoch: the one reading of the test set."""
    assert run.best is not None  # some epoch was chosen
    run.model.load_state_dict(run.best["model"])
    folder = isinstance(run.data, Folder)
    name = run.recipe.dataset
    parts = run.data.parts[2:] if folder else load_dataset(name, "test")
    test = (part.to(run.device) for part in parts)
    loss, accuracy, _ = evaluate(run.model, *test, run.data.mean, run.data.std)
    record_test(run, loss, accuracy)
    run.model.cpu().eval()
    run.model.facts = facts_of(run)
    if run.rank == 0:
        keep_model(run)
    if run.world > 1:
        dist.barrier()
    return run.model, run.records


def nothing(epoch: int, model: nn.Module) -> None:
    """Do nothing after an epoch."""


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command's arguments; wrong ones end the program."""
    parser = argparse.ArgumentParser(COMMAND, description=main.__doc__)
    add, default = parser.add_argument, "default: %(default)s"
    add("--recipe", choices=RECIPES, default="quick", help=default)
    add("--data", metavar="FOLDER", help="images, a subfolder for each class")
    start = "a model to fine-tune on it: load_pretrained's name, or a file"
    add("--from", metavar="CHECKPOINT", dest="start", help=start)
    size = "a side of the images from --data; default: the model's"
    add("--image-size", type=int, metavar="PIXELS", help=size)
    add("--out", metavar="DIR", help="where to write; default: runs/NAME-N")
    add("--seed", type=int, default=0, metavar="N", help=default)
    add("--device", default="auto", help="cpu, cuda, mps or auto; " + default)
    epochs = (f"{name} {recipe.epochs}" for name, recipe in RECIPES.items())
    epochs = "instead of the recipe's: " + ", ".join(epochs)
    add("--epochs", type=int, metavar="N", help=epochs)
    change = "change the recipe or its model, for example: lr=0.01 depth=4"
    add("--set", nargs="+", metavar="NAME=VALUE", dest="settings", help=change)
    add(
        "--compile",
        choices=("off", "default", "reduce-overhead"),
        default="default",
        help="on a GPU: off, or the mode of torch.compile; " + default,
    )
    add("--resume", action="store_true", help="go on where the run stopped")
    return parser.parse_args(arguments)


def planned(given: argparse.Namespace) -> dict[str, tuple[Recipe, int]]:
    """Return the run that a command asks for: {name: (recipe, seed)}."""
    recipe, name = RECIPES[given.recipe], given.recipe
    if given.data is not None:
        size = given.image_size
        recipe = recipe_for(given.data, given.start, size, recipe)
        name = Path(given.data).resolve().name
    elif given.start is not None or given.image_size is not None:
        raise ValueError("--from and --image-size need --data, a folder")
    if given.settings is not None:
        recipe = with_settings(recipe, given.settings)
    if given.epochs is not None:
        recipe = replace(recipe, epochs=given.epochs)
    return {f"{name}-{given.seed}": (recipe, given.seed)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Train a ViT on Fashion-MNIST, or fine-tune one on a folder of images."""
    given = parse(arguments)
    command = f"{COMMAND} --recipe {given.recipe} --seed {given.seed}"
    for option in ("data", "start", "image_size", "epochs"):
        if (value := getattr(given, option)) is not None:
            option = {"start": "from"}.get(option, option.replace("_", "-"))
            command += f" --{option} {shlex.quote(str(value))}"
    if given.settings is not None:
        command += f" --set {shlex.join(given.settings)}"
    out = given.out
    try:
        [(name, (recipe, seed))] = planned(given).items()
        out = out or f"runs/{name}"
        with sigterm_like_ctrl_c():
            train(
                recipe,
                out,
                seed=seed,
                device=given.device,
                resume=given.resume,
                compile_mode=given.compile,
                command=command,
            )
    except (FloatingPointError, ImportError, OSError, ValueError) as error:
        sys.exit(f"{COMMAND}: {error}")
    except KeyboardInterrupt as interrupt:
        if int(os.environ.get("RANK", 0)):
            sys.exit(1)  # the first process speaks for all
        stop(
            f"{COMMAND}: stopped by {{how}}; {out} keeps every epoch that "
            "ended. The same command with --resume goes on",
            interrupt,
        )
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


if __name__ == "__main__":
    main()
