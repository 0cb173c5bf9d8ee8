"""Where does the prediction come from, a class token or the mean of the
patches? (Chapter 3)"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import traitlets
from einops import rearrange
from torch import Tensor

from vit_tutorial.attention_maps import layer_predictions
from vit_tutorial.checks import check_number
from vit_tutorial.inside import record_attention
from vit_tutorial.patches import patch_grid
from vit_tutorial.vit import ViT
from vit_tutorial.widgets.base import Figure
from vit_tutorial.widgets.packing import page_vit, unpack
from vit_tutorial.widgets.page_model import class_name, normalized
from vit_tutorial.widgets.pictures import pack_fitting, unpack_picture
from vit_tutorial.widgets.still import (
    attention_pixels,
    drawing,
    panel,
    picture_pixels,
)

READ = {"cls": "the class token", "mean": "the mean of the patches"}
ALIKE = ("image_size", "patch_size", "channels", "num_classes", "depth")


class ClassToken(Figure):
    """Where does the prediction come from?

    Two models, one that reads its prediction off a class token and one that
    reads it off the mean of its patches: what each predicts after every layer,
    and how much each patch contributes.

    Args:
        cls_vit, mean_vit: the reader's own, with pool="cls" and pool="mean",
            alike in their grid, channels, classes and depth; the figure
            computes with their weights in 8 bits (see `page_vit`).
        images: uint8 (n, c, H, W), of the models' size.
        names: what each image shows, one of the classes' names.
        picture: which of the images, counted from 0.
        pooling: "cls" or "mean", whose prediction is shown.
        layer: after how many layers it is read, 0 to the depth.

    Raises ValueError for models, images or choices that do not fit.
    """

    script = "class_token"

    cls_vit = traitlets.Dict().tag(sync=True, model=True)
    mean_vit = traitlets.Dict().tag(sync=True, model=True)
    pictures = traitlets.List().tag(sync=True)
    picture = traitlets.Int().tag(sync=True)
    pooling = traitlets.Unicode("cls").tag(sync=True)
    layer = traitlets.Int().tag(sync=True)

    def __init__(
        self,
        cls_vit: ViT,
        mean_vit: ViT,
        images: Tensor,
        names: Sequence[str],
        *,
        picture: int = 0,
        pooling: str = "cls",
        layer: int = 0,
    ):
        packed = {"cls": page_vit(cls_vit), "mean": page_vit(mean_vit)}
        check_pair(packed["cls"]["config"], packed["mean"]["config"])
        pictures = pack_fitting(packed["cls"]["config"], images, names)
        super().__init__(
            cls_vit=packed["cls"],
            mean_vit=packed["mean"],
            pictures=pictures,
            picture=picture,
            pooling=pooling,
            layer=layer,
        )

    @traitlets.validate("picture", "layer")
    def _fits(self, proposal):
        counts = {
            "picture": len(self.pictures),
            "layer": self.cls_vit["config"]["depth"] + 1,
        }
        name = proposal["trait"].name
        return check_number(name, proposal["value"], counts[name])

    @traitlets.validate("pooling")
    def _is_a_way(self, proposal):
        if proposal["value"] not in READ:
            raise ValueError(
                f'pooling is "cls" or "mean", got {proposal["value"]!r}'
            )
        return proposal["value"]

    def still(self) -> tuple[str, str]:
        shown = self.pictures[self.picture]
        image = unpack_picture(shown)
        taken, of_cls = read(self.cls_vit, image)
        _, of_mean = read(self.mean_vit, image)
        grid = patch_grid(
            self.cls_vit["config"]["image_size"],
            self.cls_vit["config"]["patch_size"],
        )
        pixels = picture_pixels(image)
        svg = drawing(
            420,
            226,
            panel(pixels, 0, 200, shown["name"], grid=grid),
            self.shares_panel(taken, grid),
        )
        answers = {"cls": of_cls, "mean": of_mean}
        return svg, self.words(shown["name"], answers)

    def shares_panel(self, taken: Tensor, grid: tuple[int, int]) -> str:
        """Draw how much each patch contributes to what is read."""
        rows, columns = grid
        even = 1 / (rows * columns)  # what each patch gives to the mean
        if self.pooling == "mean":
            title = "each patch’s weight in the mean"
            shares = torch.full((rows, columns), even, dtype=torch.float64)
        elif self.layer:
            title = "token 0’s attention weights"
            shares = taken[self.layer - 1, 1:]
            shares = rearrange(shares, "(h w) -> h w", h=rows)
        else:
            title = "token 0: nothing attended to yet"
            grey = np.full((rows, columns, 3), 154, np.uint8)
            return panel(grey, 220, 200, title)
        # A last row, cut off again, holds the highest share of all: so one
        # scale serves all layers and both models.
        highest = taken.max().clamp(min=even).expand(1, columns)
        colours = attention_pixels(torch.cat((shares, highest)))[:-1]
        return panel(colours, 220, 200, title)

    def words(self, name: str, answers: Mapping[str, Tensor]) -> str:
        when = f"after layer {self.layer}" if self.layer else "before layer 1"
        now = self.said(answers[self.pooling][self.layer])
        return (
            f"An image ({name}). The prediction {when} from "
            f"{READ[self.pooling]} is {now}. In the end, it is "
            f"{self.said(answers['cls'][-1])} from {READ['cls']} and "
            f"{self.said(answers['mean'][-1])} from {READ['mean']}."
        )

    def said(self, shares: Tensor) -> str:
        best = int(shares.argmax())
        name = class_name(self.cls_vit["config"], best)
        return f"{name} ({shares[best]:.0%})"


def read(payload: Mapping, image: Tensor) -> tuple[Tensor, Tensor]:
    """Compute what token 0 attends to and what the model predicts, as the page
    does.

    Returns:
        (depth, tokens), the weight of each token, the mean over the heads; and
        (depth + 1, classes), probabilities before the first layer and after
        each. Both in double precision.
    """
    vit = unpack(payload).double()
    with torch.no_grad(), record_attention(vit) as maps:
        logits = layer_predictions(vit, normalized(vit, image))
    taken = torch.stack([each[0, :, 0].mean(dim=0) for each in maps])
    return taken, logits[:, 0].softmax(dim=-1)


def check_pair(cls: Mapping, mean: Mapping) -> None:
    """Raise ValueError unless two models differ in how they pool alone."""
    for config, pool, place in (cls, "cls", "first"), (mean, "mean", "second"):
        if config["pool"] != pool:
            raise ValueError(
                f'the {place} model is one with pool="{pool}", got '
                f'pool="{config["pool"]}"'
            )
    for name in ALIKE:
        if cls[name] != mean[name]:
            raise ValueError(
                f"the two models must have the same {name}, got {cls[name]} "
                f"and {mean[name]}"
            )
