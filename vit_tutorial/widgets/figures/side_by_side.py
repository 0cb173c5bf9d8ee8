"""Which of two models is broken? (Chapter 11)"""

from collections.abc import Mapping, Sequence

import torch
import traitlets
from torch import Tensor

from vit_tutorial.bugs import BUGS, broken_copy
from vit_tutorial.checks import check_choice, check_number
from vit_tutorial.patches import patch_grid
from vit_tutorial.plots import INK
from vit_tutorial.vit import ViT
from vit_tutorial.widgets.base import Figure
from vit_tutorial.widgets.packing import page_vit, unpack
from vit_tutorial.widgets.page_model import (
    best_answer,
    class_name,
    normalized,
)
from vit_tutorial.widgets.pictures import pack_fitting, unpack_picture
from vit_tutorial.widgets.shuffle import SEEDS, random_numbers
from vit_tutorial.widgets.still import drawing, panel, picture_pixels, text

SHOWN = (  # in the order of side_by_side_bugs.js
    "scaled by dim",
    "shredded patches",
    "softmax twice",
    "one layer repeated",
    "softmax over queries",
    "one position for all",
    "across the batch",
    "heads by view",
    "skips from the norm",
)
GUESSES = ("none", "A", "B")
NEEDED = {"pool": "cls", "position": "learned"}
HIGH = 18  # of a bar with its name, in the still image's pixels


class SideBySide(Figure):
    """Which one is broken?

    Two models with the same weights read the same image, and the code of one
    has a bug: what both predict, and what their class tokens attend to. Whoever
    guesses which one it is learns what the bug was.

    Args:
        vit: the right model, the reader's own, with pool="cls" and
            position="learned"; the figure computes with its weights in 8 bits
            (see `page_vit`).
        images: uint8 (n, c, H, W), of the model's size.
        names: n of them, each image's label.
        bug: which of `SHOWN`, counted from 0.
        picture: which of the images, counted from 0.
        layer: whose attention is shown, counted from 0; without it the last.
        seed: decides which of the two is broken, for each bug anew.
        guess: "A", "B", or "none".

    Raises ValueError for a model, images or choices that do not fit.
    """

    script = "side_by_side"

    vit = traitlets.Dict().tag(sync=True, model=True)
    pictures = traitlets.List().tag(sync=True)
    bug = traitlets.Int().tag(sync=True)
    picture = traitlets.Int().tag(sync=True)
    layer = traitlets.Int().tag(sync=True)
    seed = traitlets.Int().tag(sync=True)
    guess = traitlets.Unicode("none").tag(sync=True)

    def __init__(
        self,
        vit: ViT,
        images: Tensor,
        names: Sequence[str],
        *,
        bug: int = 0,
        picture: int = 0,
        layer: int | None = None,
        seed: int = 0,
        guess: str = "none",
    ):
        payload = page_vit(vit)
        config = payload["config"]
        check_needed(config)
        super().__init__(
            vit=payload,
            pictures=pack_fitting(config, images, names),
            bug=bug,
            picture=picture,
            layer=config["depth"] - 1 if layer is None else layer,
            seed=seed,
            guess=guess,
        )

    @traitlets.validate("bug", "picture", "layer", "seed")
    def _fits(self, proposal):
        counts = {
            "bug": len(SHOWN),
            "picture": len(self.pictures),
            "layer": self.vit["config"]["depth"],
            "seed": SEEDS,
        }
        name = proposal["trait"].name
        return check_number(name, proposal["value"], counts[name])

    @traitlets.validate("guess")
    def _is_a_guess(self, proposal):
        check_choice("guess", proposal["value"], GUESSES)
        return proposal["value"]

    def still(self) -> tuple[str, str]:
        shown, config = self.pictures[self.picture], self.vit["config"]
        check_needed(config)
        image = unpack_picture(shown)
        grid = patch_grid(config["image_size"], config["patch_size"])
        right = unpack(self.vit)
        with torch.random.fork_rng(devices=[]):  # the caller's stay as they are
            broken = broken_copy(right, SHOWN[self.bug])
        side = broken_side(self.seed, self.bug)
        models = [broken, right] if side == "A" else [right, broken]
        both = dict(zip("AB", (predict(m, image) for m in models), strict=True))
        label = shown["name"]
        svg = drawing(
            620,
            226,
            panel(
                picture_pixels(image), 0, 200, f"labelled {label}", grid=grid
            ),
            *(
                self.bars(letter, shares, x)
                for (letter, shares), x in zip(
                    both.items(), (220, 430), strict=True
                )
            ),
        )
        a, b = (best_answer(config, shares) for shares in both.values())
        words = (
            f"An image, labelled {label}, that two models with the same "
            f"weights read: A predicts {a}, B predicts {b}. The code of one of "
            f"them has bug {self.bug + 1} of {len(SHOWN)}"
        )
        if self.guess == "none":
            return svg, f"{words}. Which one is broken?"
        name = SHOWN[self.bug]
        return svg, (
            f"{words}: it is {side}, not {self.guess}"
            if side != self.guess
            else f"{words}: it is {side}, as guessed"
        ) + f". The bug is “{name}”; {BUGS[name].caught_by} catches it."

    def bars(self, letter: str, shares: Tensor, x: int) -> str:
        """Draw a model's likeliest classes, ten at most, as bars."""
        parts = [text(x, 14, f"model {letter}")]
        for row, i in enumerate(shares.argsort(descending=True)[:10].tolist()):
            y = 40 + HIGH * row
            name = class_name(self.vit["config"], i)
            parts.append(text(x, y, f"{shares[i]:.0%}  {name}"))
            parts.append(
                f'<rect x="{x}" y="{y + 2}" width="{180 * shares[i]:.0f}" '
                f'height="2" fill="{INK}"/>'
            )
        return "".join(parts)


def check_needed(config: Mapping) -> None:
    """Raise ValueError for a model that the bugs have no place in."""
    for name, value in NEEDED.items():
        if config[name] != value:
            raise ValueError(
                f'this figure reads a model with {name}="{value}", got '
                f'{name}="{config[name]}"'
            )


def broken_side(seed: int, bug: int) -> str:
    """Tell which of the two models has the bug, "A" or "B"."""
    return "A" if random_numbers(seed, bug + 1)[bug] < 0.5 else "B"


@torch.no_grad()
def predict(vit: ViT, image: Tensor) -> Tensor:
    """Compute the probabilities of one image, (classes,), in double
    precision."""
    vit = vit.double()
    return vit(normalized(vit, image))[0].softmax(dim=0)
