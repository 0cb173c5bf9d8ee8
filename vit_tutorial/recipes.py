"""Everything that determines a training run except the seed.

A recipe is a plain dataclass, and a run's log holds it whole, so that
`Recipe(**log[0]["recipe"])` trains the same model again.
"""

import json
import math
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from vit_tutorial.bugs import BUGS
from vit_tutorial.checks import check_choice
from vit_tutorial.data import DATASETS, first_of_each_class, load_dataset
from vit_tutorial.saving import ARCHITECTURES

__all__ = ["RECIPES", "SMALL_CNN", "SMALL_VIT", "Recipe"]

GREY_PICTURES = {
    "image_size": 28,
    "patch_size": 4,
    "channels": 1,
    "num_classes": 10,
    "qkv_bias": True,
}
FASHION_VIT = GREY_PICTURES | {  # the book's model: 205,962 parameters
    "dim": 64,
    "depth": 6,
    "heads": 4,
    "dim_head": 16,
    "mlp_dim": 128,
}
LARGE_FASHION_VIT = GREY_PICTURES | {  # 937,610 parameters
    "dim": 128,
    "depth": 7,
    "heads": 4,
    "dim_head": 32,
    "mlp_dim": 256,
}
COLOUR_VIT = {  # 811,146 parameters, for photos of 32 x 32 pixels
    "image_size": 32,
    "patch_size": 4,
    "channels": 3,
    "num_classes": 10,
    "qkv_bias": True,
    "dim": 128,
    "depth": 6,
    "heads": 4,
    "dim_head": 32,
    "mlp_dim": 256,
}
TEACHER_CNN = {  # 288,170 parameters
    "num_classes": 10,
    "channels": 1,
    "widths": (32, 64, 128),
}
SMALL_VIT = GREY_PICTURES | {
    "dim": 48,
    "depth": 3,
    "heads": 3,
    "dim_head": 16,
    "mlp_dim": 96,
}
"""The arguments of a `ViT` for experiments, with 60,730 parameters."""
SMALL_CNN = {
    "num_classes": 10,
    "channels": 1,
    "widths": (16, 32, 55),
}
"""The arguments of the `CNN` that it is compared with: 60,309 parameters."""
TINY_VIT = GREY_PICTURES | {  # 19,658 parameters, for experiments of many seeds
    "dim": 32,
    "depth": 2,
    "heads": 2,
    "dim_head": 16,
    "mlp_dim": 64,
}
TINY_CNN = {  # 19,986 parameters
    "num_classes": 10,
    "channels": 1,
    "widths": (8, 16, 34),
}

LEAST = {"epochs": 1, "repeats": 1, "batch_size": 1, "shift": 0, "erase": 0}
ABOVE_ZERO = ("lr", "matrix_lr", "clip")
SHARES = ("warm_up", "label_smoothing", "drop_patches")


@dataclass(frozen=True)
class Recipe:
    """Everything that determines a training run except the seed.

    Raises ValueError for values that no run could use. What depends on the
    images is checked when they are read, before the first step.
    """

    # The arguments of the architecture.
    model: dict = field(default_factory=FASHION_VIT.copy)
    architecture: str = "ViT"  # or "CNN"
    bug: str | None = None  # a mistake to make in the ViT, see bugs.py
    dataset: str = "fashion_mnist"  # or a folder of images, see folder.py
    start: str | None = None  # trained model to begin with; None: untrained
    teacher: str | None = None  # trained model to learn from, see teacher.py
    subset: int | None = None  # images read of the training set; None: all
    # Of these, the last of each class are held out; of a folder a fifth.
    validation: int = 5_000
    train_on: int | None = None  # of the rest, the first of each; None: all
    epochs: int = 45
    repeats: int = 1  # passes over the images in an epoch: more for few images
    batch_size: int = 64
    lr: float = 5e-3  # AdamW's, at its highest
    matrix_lr: float | None = 0.01  # Muon's, on the blocks' matrices; or AdamW
    weight_decay: float = 0.05  # on matrices only
    warm_up: float = 0.05  # share of the steps while the learning rate rises
    label_smoothing: float = 0.05
    clip: float | None = 1.0  # the gradient's largest norm; None: any
    flip: bool = True
    shift: int = 1  # pixels, each way
    erase: int = 0  # side of the blackened square, in pixels
    drop_patches: float = 0.5  # share hidden at first; it falls to none
    choose_epoch: bool = True  # test the best on held-out images; or the last

    def __post_init__(self):
        if self.architecture not in ARCHITECTURES:
            known = " or ".join(ARCHITECTURES)
            raise ValueError(
                f"architecture is {known}, got {self.architecture!r}"
            )
        if self.bug is not None:
            check_choice("bug", self.bug, BUGS)
            if self.architecture != "ViT" or self.start is not None:
                raise ValueError(
                    f"the bug {self.bug!r} is one of an untrained ViT"
                )
        for name, least in LEAST.items():
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool):
                raise ValueError(
                    f"{name} must be a whole number, got {value!r}"
                )
            if value < least:
                raise ValueError(
                    f"{name} must be at least {least}, got {value}"
                )
        for name in (*ABOVE_ZERO, "weight_decay", *SHARES):
            value = getattr(self, name)
            if value is None and name in ("matrix_lr", "clip"):
                continue
            if not isinstance(value, int | float) or isinstance(value, bool):
                raise ValueError(f"{name} must be a number, got {value!r}")
            if name in ABOVE_ZERO and not 0 < value < math.inf:
                none = "" if name == "lr" else ", or None to do without it"
                raise ValueError(
                    f"{name} must be a number above 0{none}; got {value}"
                )
            if name == "weight_decay" and not 0 <= value < math.inf:
                raise ValueError(f"{name} must be 0 or more, got {value}")
            if name in SHARES and not 0 <= value < 1:
                raise ValueError(
                    f"{name} must be 0 or more, below 1; got {value}"
                )
        if not isinstance(self.teacher, str | None):
            raise ValueError(
                "teacher must be the name or the file of a trained model, or "
                f"None to do without one; got {self.teacher!r}"
            )
        if not isinstance(self.choose_epoch, bool):
            raise ValueError(
                f"choose_epoch must be True or False, got {self.choose_epoch!r}"
            )
        if self.drop_patches and self.architecture != "ViT":
            raise ValueError(
                f"drop_patches must be 0 for a {self.architecture}: it has no "
                "patches"
            )
        if self.dataset in DATASETS:  # load_dataset names those that there are
            classes = len(DATASETS[self.dataset].class_names)
            given = self.model.get("num_classes", classes)
            if given != classes:
                raise ValueError(
                    f"{self.dataset} has {classes} classes: the model's "
                    f"num_classes must be {classes}, got {given!r}"
                )


FOR_A_GPU: dict[str, Any] = {
    "epochs": 200,
    "batch_size": 512,
    "lr": 0.01,
    "matrix_lr": 0.02,
}
# A run this long shows each image often, so it changes them more.
FOR_A_GPU |= {"shift": 2, "erase": 6}

RECIPES = {
    "quick": Recipe(subset=10_000, validation=1_000, epochs=4),
    "fashion": Recipe(),
    # Photos differ more than clothes do, and this model has more parameters to
    # learn them by heart with: so each image is changed more.
    "colour": Recipe(
        model=COLOUR_VIT,
        dataset="cifar10",
        epochs=30,
        batch_size=128,
        matrix_lr=0.02,
        label_smoothing=0.1,
        shift=4,
        erase=8,
        drop_patches=0.6,
    ),
    # A CNN that teaches a ViT; see teacher.py.
    "teacher": Recipe(
        architecture="CNN",
        model=TEACHER_CNN,
        epochs=15,
        batch_size=128,
        lr=0.01,
        matrix_lr=None,
        label_smoothing=0.0,  # it would hide how alike the teacher finds two
        shift=2,
        drop_patches=0.0,
    ),
    # What the trainer in the page begins with.
    "page": Recipe(
        model=TINY_VIT | {"patch_size": 7},
        subset=10_000,
        validation=2_000,
        train_on=6_000,
        epochs=22,  # some 2,000 steps
        label_smoothing=0.0,
        drop_patches=0.0,
        choose_epoch=False,
    ),
    # For a GPU, and not tried on one yet. Larger batches mean fewer steps,
    # each of which takes the same time there; the learning rates have grown
    # with the batches.
    "fashion-long": Recipe(**FOR_A_GPU),
    "fashion-large": Recipe(model=LARGE_FASHION_VIT, **FOR_A_GPU),
}
"""The recipes that `python -m vit_tutorial.train --recipe` knows by name."""


def as_logged(recipe: Recipe) -> dict:
    """Return a recipe as a log gives it back: with lists in place of tuples."""
    return json.loads(json.dumps(asdict(recipe)))


def load_pictures(recipe: Recipe) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Load what to train on and what is held out.

    The last of each class are held out, so they are the same however many are
    trained on.

    Returns images, labels, held-out images and held-out labels.
    """
    images, labels = load_dataset(recipe.dataset, "train", recipe.subset)
    held_out = last_of_each_class(labels, recipe.validation)
    kept, kept_labels = images[~held_out], labels[~held_out]
    count = recipe.train_on
    if count is not None:
        if count % 10 or not 10 <= count <= len(kept):
            raise ValueError(
                f"train_on must be a multiple of 10 from 10 to {len(kept)}, "
                f"got {count}"
            )
        kept, kept_labels = first_of_each_class(kept, kept_labels, count)
    return kept, kept_labels, images[held_out], labels[held_out]


def last_of_each_class(labels: Tensor, count: int) -> Tensor:
    """Mark the last count/10 images of each of the 10 classes, as a mask."""
    if count % 10 or not 10 <= count < len(labels):
        raise ValueError(
            "validation must be a multiple of 10 from 10 to "
            f"{len(labels) - 10}, got {count}"
        )
    marked = torch.zeros(len(labels), dtype=torch.bool)
    for number in range(10):
        marked[(labels == number).nonzero()[-count // 10 :]] = True
    return marked
