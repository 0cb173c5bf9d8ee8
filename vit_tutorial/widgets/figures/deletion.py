"""Patches removed in the order that a map gives, and what becomes of the answer
(chapter 9)."""

import math
from collections.abc import Mapping, Sequence

import torch
import traitlets
from torch import Tensor

from vit_tutorial.attention_maps import attention_rollout
from vit_tutorial.checks import check_number
from vit_tutorial.patches import pair, patchify
from vit_tutorial.plots import ACCENT, INK
from vit_tutorial.vit import ViT
from vit_tutorial.widgets.base import Figure
from vit_tutorial.widgets.packing import page_vit, unpack
from vit_tutorial.widgets.page_model import (
    class_name,
    look,
    normalized,
    patch_count,
)
from vit_tutorial.widgets.pictures import pack_fitting, unpack_picture
from vit_tutorial.widgets.shuffle import random_numbers
from vit_tutorial.widgets.still import (
    attention_pixels,
    drawing,
    hatching,
    panel,
    picture_pixels,
)

METHODS = ("last layer", "rollout", "contrast", "at random")
STEPS = 7  # the area under a curve is taken from every seventh of the picture


class Deletion(Figure):
    """Do the maps tell the truth?

    Patches are removed, the most important first, in the order that one of four
    rankings gives: "last layer" is what the class token takes from each patch
    there, the mean over the heads; "rollout" is `attention_rollout`; "contrast"
    is the standard deviation of a patch's pixels and needs no model; "at
    random" draws an order for each picture, the same every time. Removed is the
    token: it does not enter the encoder. What is watched is the probability of
    the answer that the model gives to the whole picture. Relevance, the
    chapter's fifth ranking, needs gradients, and a page has none.

    Args:
        vit: the reader's own, with a class token; the figure computes with its
            weights in 8 bits (see `page_vit`).
        images: uint8 (n, c, H, W), of the model's size.
        names: what the figure calls each picture; without them they are
            numbered.
        picture: which of them, counted from 0.
        method: one of `METHODS`.
        fraction: the share of the patches that is removed, 0 to 1.

    Raises ValueError for a model, pictures, a method or a fraction that does
    not fit.
    """

    script = "deletion"

    vit = traitlets.Dict().tag(sync=True, model=True)
    pictures = traitlets.List().tag(sync=True)
    picture = traitlets.Int().tag(sync=True)
    method = traitlets.Unicode("last layer").tag(sync=True)
    fraction = traitlets.Float().tag(sync=True)

    def __init__(
        self,
        vit: ViT,
        images: Tensor,
        names: Sequence[str] | None = None,
        *,
        picture: int = 0,
        method: str = "last layer",
        fraction: float = 0.0,
    ):
        payload = page_vit(vit)
        if payload["config"]["pool"] != "cls":
            raise ValueError(
                "the orders here are what the class token takes; this model has none "
                f'(pool={payload["config"]["pool"]!r}), so give one with pool="cls"'
            )
        super().__init__(
            vit=payload,
            pictures=pack_fitting(payload["config"], images, names),
            picture=picture,
            method=method,
            fraction=fraction,
        )

    @traitlets.validate("picture")
    def _is_there(self, proposal):
        return check_number("picture", proposal["value"], len(self.pictures))

    @traitlets.validate("method")
    def _is_known(self, proposal):
        if proposal["value"] not in METHODS:
            raise ValueError(
                f"method is one of {', '.join(METHODS)}; got {proposal['value']!r}"
            )
        return proposal["value"]

    @traitlets.validate("fraction")
    def _is_a_share(self, proposal):
        if not 0 <= proposal["value"] <= 1:
            raise ValueError(
                f"fraction is a share from 0 to 1, got {proposal['value']}"
            )
        return proposal["value"]

    def still(self) -> tuple[str, str]:
        vit = unpack(self.vit).double()
        config, grid = self.vit["config"], vit.grid
        count, picture = patch_count(config), self.pictures[self.picture]
        shares, scores = rankings(vit, picture, self.picture)
        first = shares.argmax().item()
        orders = torch.stack([ranked(scores[name]) for name in METHODS])
        curves = left_over(vit, picture, orders, first)
        gone = math.floor(self.fraction * count + 0.5)
        dropped = orders[METHODS.index(self.method), :gone].tolist()

        pixels = picture_pixels(unpack_picture(picture))
        order = attention_pixels(scores[self.method].view(grid))
        parts = [
            panel(
                pixels, 0, 200, f"{gone} of {count} patches removed", grid=grid
            ),
            panel(order, 220, 200, f"the order: {self.method}"),
            hatching(grid, dropped, 0, 200),
            f'<text x="440" y="14" font-family="sans-serif" font-size="12" fill="{INK}">what is '
            f"left of the answer</text>"
            f'<path d="M440 22v200h200" fill="none" stroke="{INK}"/>',
        ]
        for name, curve in zip(METHODS, curves.tolist(), strict=True):
            points = [
                f"{440 + 200 * i / STEPS:.1f} {222 - 200 * y:.1f}"
                for i, y in enumerate(curve)
            ]
            look_ = (
                f'stroke="{ACCENT}" stroke-width="3"'
                if name == self.method
                else ""
            )
            parts.append(
                f'<path d="M{"L".join(points)}" fill="none" {look_ or f"stroke={INK!r}"}/>'
            )
        areas = [
            f"{name} {area:.2f}"
            for name, area in zip(METHODS, under(curves), strict=True)
        ]
        words = (
            f"{picture['name']}: the model says {class_name(config, first)}, {shares[first]:.0%}. "
            "Patches are removed, the most important first; the area under the curve of what is "
            f"left of that answer: {', '.join(areas)}."
        )
        return drawing(650, 228, *parts), words


@torch.no_grad()
def rankings(
    vit: ViT, picture: Mapping, number: int
) -> tuple[Tensor, dict[str, Tensor]]:
    """Score each patch in four ways: probabilities (classes,), and (patches,)
    for each method."""
    count = patch_count(vit.config)
    shares, maps = look(vit, picture, range(count))
    scores = {
        "last layer": maps[-1].mean(dim=1)[0, 0, 1:],
        "rollout": attention_rollout(maps)[0, 0, 1:],
        "contrast": contrast(picture, vit.config["patch_size"]),
        "at random": torch.tensor(
            random_numbers(number + 1, count), dtype=torch.double
        ),
    }
    return shares, scores


def contrast(picture: Mapping, patch_size: int | tuple[int, int]) -> Tensor:
    """Measure how much the pixels of each patch differ: their standard
    deviation, from 0 to 1.

    Equal patches come out equal to the last bit: the sums are whole numbers.
    """
    patches = patchify(unpack_picture(picture)[None].long(), pair(patch_size))[
        0
    ]
    n = patches.shape[1]
    spread = n * patches.square().sum(dim=1) - patches.sum(dim=1).square()
    return (spread.double() / max(n * (n - 1), 1)).sqrt() / 255


def ranked(scores: Tensor) -> Tensor:
    """Order patches by their scores, the highest first, equal ones as they
    stand."""
    return scores.argsort(descending=True, stable=True)


@torch.no_grad()
def left_over(
    vit: ViT, picture: Mapping, orders: Tensor, answer: int
) -> Tensor:
    """Remove patches in several orders: the answer's probability, (orders,
    STEPS + 1)."""
    tokens = vit.embed(normalized(vit, unpack_picture(picture)))
    cls, patches = tokens[:, :1], tokens[:, 1:]
    count, left = patches.shape[1], []
    for step in range(STEPS + 1):
        kept = patches[
            0, orders[:, gone_after(step, count) :]
        ]  # (orders, kept, D)
        x = torch.cat((cls.expand(len(orders), -1, -1), kept), dim=1)
        left.append(vit.classify(vit.transformer(x)).softmax(dim=1)[:, answer])
    return torch.stack(left, dim=1)


def gone_after(step: int, count: int) -> int:
    """Tell how many of `count` patches are removed at a step, halves rounded
    up."""
    return math.floor(step * count / STEPS + 0.5)


def under(curves: Tensor) -> Tensor:
    """Measure the areas under curves over steps of equal width: 1 where nothing
    is ever lost."""
    return torch.trapezoid(curves, dx=1 / STEPS)
