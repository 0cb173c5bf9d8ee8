"""Fine-tuning on a folder, beside training from nothing on the same images.

`python benchmarks/fine_tuning.py` writes a folder of bags and shoes out of Fashion-MNIST's test
set, which the book's model has never learned from, and trains on it: from the book's model; from
nothing with the same recipe; and from nothing with the package's own recipe for it, for as many
epochs. It prints the held-out accuracy of every seed, the differences and their intervals.
"""

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from PIL import Image

from vit_tutorial.data import load_dataset
from vit_tutorial.fine_tuning import recipe_for
from vit_tutorial.recipes import RECIPES
from vit_tutorial.train import train
from vit_tutorial.verdicts import compare

CLASSES = {"bags": (8,), "shoes": (5, 7, 9)}


def write_folder(folder: Path, count: int) -> None:
    """Write the first images of each class as PNG files, `count` of bags and of shoes."""
    images, labels = load_dataset("fashion_mnist", "test")
    for name, numbers in CLASSES.items():
        (folder / name).mkdir(parents=True)
        chosen = sum(labels == number for number in numbers).nonzero().flatten()[:count]
        for number in chosen.tolist():
            path = folder / name / f"{number:05}.png"
            Image.fromarray(images[number, 0].numpy()).save(path)


def arms(folder: str) -> dict:
    """The three recipes: {name: recipe}."""
    fine_tuned = recipe_for(folder, "fashion", None, RECIPES["quick"])
    own = recipe_for(folder, None, None, RECIPES["quick"])
    return {
        "from the book's model": fine_tuned,
        "from nothing, same recipe": replace(fine_tuned, start=None),
        "from nothing, its own recipe": replace(own, epochs=fine_tuned.epochs),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100, help="images of each class")
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    points = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_folder(folder / "images", given.count)
        for arm, recipe in arms(str(folder / "images")).items():
            points[arm] = []
            for seed in range(given.seeds):
                out = folder / f"{arm}-{seed}"
                _, records = train(recipe, out, seed=seed, device="cpu")
                points[arm].append(100 * records[-1]["test_accuracy"])
    for arm, each in points.items():
        print(f"{arm:30} " + "  ".join(f"{value:6.2f}" for value in each))
    first, *others = points
    for comparison in compare(points, [(first, other) for other in others]):
        print(comparison)


if __name__ == "__main__":
    sys.exit(main())
