"""Patches removed in the order that a map gives: does the prediction go?
(Chapter 9)"""

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
    rankings gives. The figure shows what is left of the probability of the
    class that the model predicts for the whole image.

    "last layer" is how much the class token attends to each patch there,
    averaged over the heads; "rollout" is `attention_rollout`; "contrast" is the
    standard deviation of a patch's pixels and needs no model; "at random" draws
    an order for each image, the same every time. What is removed is the token:
    it does not enter the encoder. Relevance, the chapter's fifth ranking, needs
    gradients, and a page has none.

    Args:
        vit: the reader's own, with a class token; the figure computes with its
            weights in 8 bits (see `page_vit`).
        images: uint8 (n, c, H, W), of the model's size.
        names: what the figure calls each image; without them they are numbered.
        picture: which of them, counted from 0.
        method: one of `METHODS`.
        fraction: the share of the patches that is removed, 0 to 1.

    Raises ValueError for a model, images, a method or a fraction that does not
    fit.
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
                "this figure orders patches by the class token's attention; "
                "this model has no class token "
                f"(pool={payload['config']['pool']!r}), so give one with "
                'pool="cls"'
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
                f"method is one of {', '.join(METHODS)}; got "
                f"{proposal['value']!r}"
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
        picture = self.pictures[self.picture]
        shares, scores = rankings(vit, picture, self.picture)
        orders = torch.stack([ranked(scores[name]) for name in METHODS])
        predicted = int(shares.argmax())
        left = left_over(vit, picture, orders, predicted).tolist()
        curves = dict(zip(METHODS, left, strict=True))
        order = orders[METHODS.index(self.method)]
        svg = drawing(
            650,
            228,
            *self.panels(vit.grid, scores[self.method], order),
            *self.plot(curves),
        )
        areas = [f"{name} {area(curves[name]):.2f}" for name in METHODS]
        words = (
            f"{picture['name']}: the model predicts "
            f"{class_name(self.vit['config'], predicted)}, "
            f"{shares[predicted]:.0%}. As patches are removed, the most "
            "important first, the area under the curve of that class's "
            f"probability is, by order: {', '.join(areas)}."
        )
        return svg, words

    def panels(
        self, grid: tuple[int, int], scores: Tensor, order: Tensor
    ) -> tuple[str, ...]:
        """Draw the image without the patches that are gone, and beside it the
        map that gave their order."""
        count = len(order)
        gone = math.floor(self.fraction * count + 0.5)
        image = unpack_picture(self.pictures[self.picture])
        title = f"{gone} of {count} patches removed"
        return (
            panel(picture_pixels(image), 0, 200, title, grid=grid),
            panel(
                attention_pixels(scores.view(grid)),
                220,
                200,
                f"the order: {self.method}",
            ),
            hatching(grid, order[:gone].tolist(), 0, 200),
        )

    def plot(self, curves: Mapping[str, list[float]]) -> list[str]:
        """Draw all curves, and the method's own so that it stands out."""
        parts = [
            f'<text x="440" y="14" font-family="sans-serif" font-size="12" '
            f'fill="{INK}">probability of the prediction</text>'
            f'<path d="M440 22v200h200" fill="none" stroke="{INK}"/>'
        ]
        for name, curve in curves.items():
            points = [
                f"{440 + 200 * step / STEPS:.1f} {222 - 200 * share:.1f}"
                for step, share in enumerate(curve)
            ]
            stroke = (
                f'stroke="{ACCENT}" stroke-width="3"'
                if name == self.method
                else f"stroke={INK!r}"
            )
            parts.append(
                f'<path d="M{"L".join(points)}" fill="none" {stroke}/>'
            )
        return parts


@torch.no_grad()
def rankings(
    vit: ViT, picture: Mapping, number: int
) -> tuple[Tensor, dict[str, Tensor]]:
    """Score each patch by every method.

    Returns the probabilities of the whole image, (classes,), and a method's
    scores, (patches,), by its name.
    """
    count = patch_count(vit.config)
    shares, maps = look(vit, picture, range(count))
    drawn = random_numbers(number + 1, count)
    scores = {
        "last layer": maps[-1].mean(dim=1)[0, 0, 1:],
        "rollout": attention_rollout(maps)[0, 0, 1:],
        "contrast": contrast(picture, vit.config["patch_size"]),
        "at random": torch.tensor(drawn, dtype=torch.double),
    }
    return shares, scores


def contrast(picture: Mapping, patch_size: int | tuple[int, int]) -> Tensor:
    """Measure how much the pixels of each patch differ: their standard
    deviation, from 0 to 1.

    Equal patches come out equal to the last bit: the sums are whole numbers.
    """
    image = unpack_picture(picture).long()
    (patches,) = patchify(image[None], pair(patch_size))  # (patches, numbers)
    n = patches.shape[1]
    spread = n * patches.square().sum(dim=1) - patches.sum(dim=1).square()
    return (spread.double() / max(n * (n - 1), 1)).sqrt() / 255


def ranked(scores: Tensor) -> Tensor:
    """Order patches by their scores, the highest first, equal ones as they
    stand."""
    return scores.argsort(descending=True, stable=True)


@torch.no_grad()
def left_over(
    vit: ViT, picture: Mapping, orders: Tensor, predicted: int
) -> Tensor:
    """Remove patches in each of several orders, a seventh at a time.

    Returns the predicted class's probability, (orders, STEPS + 1).
    """
    tokens = vit.embed(normalized(vit, unpack_picture(picture)))
    cls, patches = tokens[:, :1], tokens[0, 1:]
    cls = cls.expand(len(orders), -1, -1)
    left = []
    for step in range(STEPS + 1):
        kept = patches[orders[:, gone_after(step, len(patches)) :]]
        x = torch.cat((cls, kept), dim=1)  # (orders, 1 + kept, D)
        shares = vit.classify(vit.transformer(x)).softmax(dim=1)
        left.append(shares[:, predicted])
    return torch.stack(left, dim=1)


def gone_after(step: int, count: int) -> int:
    """Return how many of `count` patches are removed at a step, halves rounded
    up."""
    return math.floor(step * count / STEPS + 0.5)


def area(curve: Sequence[float]) -> float:
    """Return the area under a curve, 1 where nothing is ever lost."""
    heights = torch.tensor(curve, dtype=torch.double)
    return torch.trapezoid(heights, dx=1 / STEPS).item()
