"""Time training in a page beside PyTorch on one thread: images a second, in turns.

    python benchmarks/page_training.py [--rounds N] [--optimizer muon|adamw] [--out FILE]

Both take whole steps of one recipe: the same model and batch, the loss, the gradients, clipping and
the optimisers. The page's images are also moved and mirrored, which is part of its loop; PyTorch's
are ready as tensors. They take turns within a round, and the ratio is that of a round, so that a
busy machine slows down both. The page runs in Chromium, without a window.
"""

import argparse
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from chromium import about, chromium, keep
from peers import median_interval
from playwright.sync_api import Browser, Page, sync_playwright
from torch import nn

from vit_tutorial import ViT
from vit_tutorial.optimizers import build_optimizers, set_learning_rates
from vit_tutorial.recipes import GREY_PICTURES, Recipe, as_logged
from vit_tutorial.widgets.bundle import join

SIZES = {  # patch, dim, depth, heads: steps of a turn, some tenths of a second
    (7, 32, 2, 2): 20,
    (7, 64, 4, 4): 5,
    (4, 64, 6, 4): 1,
}
OPTIMIZERS = ("muon", "adamw")
IMAGES = 1024
DONE = 0.3  # the moment of the run whose learning rates are taken

BEGIN = """([config, recipe, count]) => {
    const images = new Uint8Array(count * 28 * 28).map((_, i) => (i * 7919) % 251);
    const labels = Array.from({ length: count }, (_, i) => i % 10);
    globalThis.trainer = new $trainer.Trainer({ config, recipe, images, labels });
    for (let i = 0; i < 10; i++) trainer.step(); // the engine compiles on the way
}"""
TURN = """(steps) => {
    const began = performance.now();
    for (let i = 0; i < steps; i++) trainer.step();
    return (performance.now() - began) / 1000;
}"""


def settings(size: tuple[int, ...], optimizer: str) -> tuple[dict, Recipe]:
    """The model's arguments, and the recipe: the book's, with every patch shown."""
    patch, dim, depth, heads = size
    model = GREY_PICTURES | {"patch_size": patch, "dim": dim, "depth": depth, "heads": heads}
    model |= {"dim_head": dim // heads, "mlp_dim": 2 * dim}
    matrix_lr = {"muon": Recipe.matrix_lr, "adamw": None}[optimizer]
    return model, Recipe(epochs=10_000, drop_patches=0.0, matrix_lr=matrix_lr)


class PyTorch:
    def __init__(self, model: dict, recipe: Recipe):
        self.vit, self.recipe = ViT(**model), recipe
        self.optimizers = build_optimizers(self.vit, recipe)
        self.images = torch.randn(recipe.batch_size, 1, 28, 28)
        self.labels = torch.randint(0, 10, (recipe.batch_size,))
        self.turn(3)

    def turn(self, steps: int) -> float:
        began = time.perf_counter()
        for _ in range(steps):
            set_learning_rates(self.optimizers, self.recipe, DONE)
            logits = self.vit(self.images)
            smoothing = self.recipe.label_smoothing
            F.cross_entropy(logits, self.labels, label_smoothing=smoothing).backward()
            nn.utils.clip_grad_norm_(self.vit.parameters(), self.recipe.clip)
            for optimizer in self.optimizers:
                optimizer.step()
                optimizer.zero_grad()
        return time.perf_counter() - began


def race(page: Page, optimizer: str, rounds: int, sizes: dict = SIZES) -> Iterator[dict]:
    """Time each size in turns: images a second of both, round by round."""
    for size, steps in sizes.items():
        model, recipe = settings(size, optimizer)
        theirs = PyTorch(model, recipe)
        config = ViT(**model).config | {"mean": [0.286], "std": [0.353]}
        page.evaluate(BEGIN, [config, as_logged(recipe), IMAGES])
        speeds = {"page": [], "pytorch": []}
        for _ in range(rounds):
            images = steps * recipe.batch_size
            speeds["page"].append(images / page.evaluate(TURN, steps))
            speeds["pytorch"].append(images / theirs.turn(steps))
        yield {"size": size, "optimizer": optimizer, **speeds}


def races(browser: Browser, rounds: int, optimizers: Sequence[str] = OPTIMIZERS) -> list[dict]:
    """Time every size with each optimiser, in a page that has the trainer's code alone."""
    torch.set_num_threads(1)
    page = browser.new_page()
    script = join(["trainer"]).replace("\nconst $", "\nglobalThis.$")
    page.add_script_tag(content="globalThis." + script.removeprefix("const "))
    records = [each for optimizer in optimizers for each in race(page, optimizer, rounds)]
    page.close()
    return records


def table(records: list[dict]) -> str:
    """Set the sizes below each other: medians, and the interval of the ratio's."""
    lines = ["patch/dim/depth/heads  optimiser    page, images/s    PyTorch    ratio (95 %)"]
    for record in records:
        ratios = [a / b for a, b in zip(record["page"], record["pytorch"], strict=True)]
        low, high = median_interval(ratios)
        page, pytorch = (statistics.median(record[name]) for name in ("page", "pytorch"))
        lines.append(
            f"{'/'.join(map(str, record['size'])):23}{record['optimizer']:9}{page:18,.0f}"
            f"{pytorch:11,.0f}    {statistics.median(ratios):.2f} ({low:.2f} to {high:.2f})"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=40, help="default: %(default)s")
    parser.add_argument("--optimizer", choices=OPTIMIZERS, help="default: both")
    parser.add_argument("--out", type=Path, help="every number as FILE.json, the table as FILE.txt")
    asked = parser.parse_args()
    with sync_playwright() as playwright:
        browser = chromium(playwright)
        optimizers = [asked.optimizer] if asked.optimizer else OPTIMIZERS
        records = races(browser, asked.rounds, optimizers)
        described = about(browser, "page_training.py")
        browser.close()
    keep(asked.out, described, table(records), {"records": records})


if __name__ == "__main__":
    main()
