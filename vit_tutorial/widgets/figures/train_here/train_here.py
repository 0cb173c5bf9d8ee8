"""A Vision Transformer that trains where it is shown (chapter 7, and a page of
its own)."""

import inspect
from collections.abc import Mapping, Sequence

import torch
import traitlets
from torch import Tensor

from vit_tutorial.checks import check_number
from vit_tutorial.data import load_dataset
from vit_tutorial.vit import ViT
from vit_tutorial.widgets.base import Figure
from vit_tutorial.widgets.figures.train_here.recorded import (
    HEIGHT,
    curves,
    in_words,
)
from vit_tutorial.widgets.pictures import pack_pictures, unpack_picture
from vit_tutorial.widgets.shuffle import SEEDS
from vit_tutorial.widgets.still import drawing, panel, picture_pixels, text
from vit_tutorial.widgets.training_data import FACTS, send_when_asked

POSITIONS = {
    "none": "no positions",
    "learned": "learned positions",
    "learned_2d": "learned 2-D positions",
    "sincos_2d": "sine–cosine 2-D positions",
}
POOLS = {"cls": "the class token", "mean": "the mean of the patches"}
# What a reader chooses from, as train_choices.js has it.
CHOICES = {
    "images": (100, 500, 2000, 6000),
    "shift": (0, 1, 2, 3),
    "patch_size": (4, 7),
    "dim": (32, 48, 64),
    "depth": (1, 2, 3, 4, 6),
    "heads": (1, 2, 3, 4, 6, 8),
    "position": tuple(POSITIONS),
    "pool": tuple(POOLS),
    "optimizer": ("muon", "adamw"),
    "rate": (0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.2),
    "batch_size": (16, 32, 64),
    "steps": (300, 1000, 2000, 3000, 6000, 10_000),
}
SIDE = 80  # of an image in the still, in pixels


class TrainHere(Figure):
    """Train a Vision Transformer, here.

    It learns Fashion-MNIST where it is shown, in the page or in the notebook's
    front end: from up to 6,000 bundled training images, with 2,000 others held
    out.

    In a notebook its weights come back when a run pauses or ends: see `vit`.

    Args:
        images: how many to learn from, 100, 500, 2000 or 6000.
        shuffled: whether each gets the label of another one.
        flip, shift: how training images are changed: mirrored half of the time,
            and moved by up to so many pixels each way.
        patch_size, dim, depth, heads, position, pool: the `ViT`'s; the heads
            divide `dim`.
        optimizer: "muon" for the blocks' matrices, at twice the rate, and AdamW
            for the rest; or "adamw" for all.
        rate: AdamW's learning rate, at its highest.
        batch_size: images of a step.
        steps: of a run, about: whole epochs are taken.
        warm_up: whether the rate rises over the first twentieth of a run.
        seed: decides the first weights, the order and the changes of images.
        picture: the image whose attention maps are shown, counted from 0.

    Raises ValueError for a choice that is not among these.
    """

    script = "train_here"

    pictures = traitlets.List().tag(sync=True)
    facts = traitlets.Dict().tag(sync=True)
    images = traitlets.Int(6000).tag(sync=True)
    shuffled = traitlets.Bool().tag(sync=True)
    flip = traitlets.Bool(True).tag(sync=True)
    shift = traitlets.Int(1).tag(sync=True)
    patch_size = traitlets.Int(7).tag(sync=True)
    dim = traitlets.Int(32).tag(sync=True)
    depth = traitlets.Int(2).tag(sync=True)
    heads = traitlets.Int(2).tag(sync=True)
    position = traitlets.Unicode("learned").tag(sync=True)
    pool = traitlets.Unicode("cls").tag(sync=True)
    optimizer = traitlets.Unicode("muon").tag(sync=True)
    rate = traitlets.Float(0.005).tag(sync=True)
    batch_size = traitlets.Int(64).tag(sync=True)
    steps = traitlets.Int(2000).tag(sync=True)
    warm_up = traitlets.Bool(True).tag(sync=True)
    seed = traitlets.Int(0).tag(sync=True)
    picture = traitlets.Int(0).tag(sync=True)

    def __init__(self, **choices):
        unknown = set(choices) - set(self.STATE)
        if unknown:
            raise ValueError(
                f"the trainer has no choice called {', '.join(sorted(unknown))}"
                f"; it has {', '.join(self.STATE)}"
            )
        self._vit = None
        shown, names = one_of_each_class()
        pictures = pack_pictures(shown, names)
        for label, packed in enumerate(pictures):
            packed["label"] = label
        super().__init__(pictures=pictures, facts=dict(FACTS), **choices)
        send_when_asked(self)
        self.on_msg(self._hear)

    @property
    def vit(self) -> ViT:
        """The model as the last run left it, with its facts.

        Raises ValueError if there is none yet: a run has to pause or to end.
        """
        if self._vit is None:
            raise ValueError(
                "nothing is trained yet: press Train, and pause or wait until "
                "the run is over"
            )
        return self._vit

    def _hear(self, _, message: Mapping, buffers: Sequence):
        if "trained" in message:
            self._vit = received(buffers=buffers, **message["trained"])

    @traitlets.validate(*CHOICES)
    def _is_offered(self, proposal):
        name, value = proposal["trait"].name, proposal["value"]
        if value not in CHOICES[name]:
            known = ", ".join(map(str, CHOICES[name]))
            raise ValueError(f"{name} is one of {known}; got {value}")
        both = {"dim": self.dim, "heads": self.heads, name: value}
        if both["dim"] % both["heads"]:
            raise ValueError(
                f"{both['heads']} heads do not divide {both['dim']} dimensions"
            )
        return value

    @traitlets.validate("seed", "picture")
    def _is_there(self, proposal):
        name, value = proposal["trait"].name, proposal["value"]
        count = {"seed": SEEDS, "picture": len(self.pictures)}[name]
        return check_number(name, value, count)

    def still(self) -> tuple[str, str]:
        parts = []
        for i, packed in enumerate(self.pictures[:5]):
            pixels = picture_pixels(unpack_picture(packed))
            parts.append(panel(pixels, i * (SIDE + 12), SIDE, packed["name"]))
        title, top = in_words(), SIDE + 78
        parts.append(text(0, top - 20, title))
        parts.append(curves(top))
        below = top + HEIGHT + 48
        for row, line in enumerate(lines := self._choices_in_words()):
            parts.append(text(0, below + 18 * row, line))
        words = (
            "Train a Vision Transformer, here: with JavaScript, this figure "
            "trains one in the page and shows its curves, its position "
            f"embeddings and its mistakes. {title}. Chosen here: "
            f"{'; '.join(lines)}."
        )
        return drawing(480, below + 18 * len(lines), *parts), words

    def _choices_in_words(self) -> list[str]:
        labels = "shuffled labels" if self.shuffled else "true labels"
        flip = "flipped at random" if self.flip else "not flipped"
        shift = "not shifted"
        if self.shift:
            pixels = "pixel" if self.shift == 1 else "pixels"
            shift = f"shifted by up to {self.shift} {pixels}"
        size, depth, heads = self.patch_size, self.depth, self.heads
        layers = "layer" if depth == 1 else "layers"
        optimizer = {"muon": "Muon", "adamw": "AdamW"}[self.optimizer]
        return [
            f"Data: {self.images:,} images with {labels}, {flip}, {shift}",
            f"Model: patches of {size} × {size} pixels, {self.dim} dimensions, "
            f"{depth} {layers} of {heads} {'head' if heads == 1 else 'heads'},",
            f"{POSITIONS[self.position]}, predictions from {POOLS[self.pool]}",
            f"Run: {optimizer}, learning rate {in_powers(self.rate)}, "
            f"batches of {self.batch_size},",
            f"{self.steps:,} steps {'with' if self.warm_up else 'without'} "
            f"warm-up, seed {self.seed}",
            f"Attention maps of: {self.pictures[self.picture]['name']}",
        ]


def one_of_each_class() -> tuple[Tensor, list[str]]:
    """Read a held-out image of each class, and its name.

    They are the first that `training_data.py` holds out of each.
    """
    images, labels = load_dataset("fashion_mnist", "train", subset=10_000)
    names = FACTS["class_names"]
    first = [int((labels == i).nonzero()[-200]) for i in range(len(names))]
    return images[first], list(names)


def in_powers(rate: float) -> str:
    """Write a rate as a power of ten: 5 × 10⁻³."""
    digits, power = f"{rate:.0e}".split("e-")
    return f"{digits} × 10⁻{'⁰¹²³⁴'[int(power)]}"


def received(
    config: Mapping, names: Sequence, shapes: Sequence, buffers: Sequence
) -> ViT:
    """Build the ViT that a front end has trained.

    Args:
        config: its arguments, and the facts of its data.
        names, shapes: of its weights, as a checkpoint has them.
        buffers: float32 bytes of each.
    """
    known = inspect.signature(ViT).parameters
    vit = ViT(**{k: v for k, v in config.items() if k in known})
    vit.facts |= {k: v for k, v in config.items() if k not in known}
    vit.load_state_dict(
        {
            name: torch.frombuffer(
                bytearray(content), dtype=torch.float32
            ).view(*shape)
            for name, shape, content in zip(names, shapes, buffers, strict=True)
        }
    )
    return vit.eval()
