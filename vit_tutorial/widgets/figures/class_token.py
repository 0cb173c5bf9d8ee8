"""Who answers for the picture: a class token or the mean of the patches, layer
by layer (ch. 3)."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import traitlets
from einops import rearrange
from torch import Tensor

from vit_tutorial.attention_maps import layer_predictions, record_attention
from vit_tutorial.patches import patch_grid
from vit_tutorial.vit import ViT
from vit_tutorial.widgets.base import Figure, unpack_picture
from vit_tutorial.widgets.page_model import (
    check_number,
    class_name,
    normalized,
    pack_fitting,
)
from vit_tutorial.widgets.packing import page_vit, unpack
from vit_tutorial.widgets.still import (
    attention_pixels,
    drawing,
    panel,
    picture_pixels,
)

READ = {"cls": "the class token", "mean": "the mean of the patches"}


class ClassToken(Figure):
    """Who answers for the picture?

    Two models, one that reads its answer off a class token and one that reads
    the mean of its patches: what each answers after every layer, and how much
    each patch has to do with it.

    Args:
        cls_vit, mean_vit: the reader's own, with pool="cls" and pool="mean",
            alike in their grid, channels, classes and depth; the figure
            computes with their weights in 8 bits (see `page_vit`).
        images: uint8 (n, c, H, W), of the models' size.
        names: what each picture truly is, one of the classes' names.
        picture: which of the pictures, from 0.
        pooling: "cls" or "mean", whose answer is shown.
        layer: after how many layers it is read, 0 to the depth.

    Raises ValueError for models, pictures or choices that do not fit.
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
        name, value = proposal["trait"].name, proposal["value"]
        return check_number(
            name,
            value,
            {
                "picture": len(self.pictures),
                "layer": self.cls_vit["config"]["depth"] + 1,
            }[name],
        )

    @traitlets.validate("pooling")
    def _is_a_way(self, proposal):
        if proposal["value"] not in READ:
            raise ValueError(
                f'pooling is "cls" or "mean", got {proposal["value"]!r}'
            )
        return proposal["value"]

    def still(self) -> tuple[str, str]:
        rows, columns = patch_grid(
            self.cls_vit["config"]["image_size"],
            self.cls_vit["config"]["patch_size"],
        )
        shown = self.pictures[self.picture]
        image = unpack_picture(shown)
        maps, answers_of_cls = read(self.cls_vit, image)
        answers = {"cls": answers_of_cls, "mean": read(self.mean_vit, image)[1]}
        if self.pooling == "cls" and self.layer == 0:
            title, taken = (
                "token 0: no pixels yet",
                np.full((rows, columns, 3), 154, np.uint8),
            )
        else:
            even = torch.full(
                (1, rows * columns), 1 / (rows * columns), dtype=torch.float64
            )
            shares = (
                maps[self.layer - 1, None, 1:]
                if self.pooling == "cls"
                else even
            )
            # One scale for all layers and both ways: their highest share, put
            # in as a last row.
            highest = max(maps.max(), even.max()).expand(1, columns)
            shares = rearrange(shares, "1 (h w) -> h w", h=rows)
            title = (
                "what token 0 takes"
                if self.pooling == "cls"
                else "what the mean takes"
            )
            taken = attention_pixels(torch.cat((shares, highest)))[:-1]
        picture = panel(
            picture_pixels(image), 0, 200, shown["name"], grid=(rows, columns)
        )
        svg = drawing(420, 226, picture, panel(taken, 220, 200, title))
        now, end = (
            answers[self.pooling][self.layer],
            {way: a[-1] for way, a in answers.items()},
        )
        when = f"after layer {self.layer}" if self.layer else "before layer 1"
        words = (
            f"A picture ({shown['name']}), and what is answered {when} from {READ[self.pooling]}: "
            f"{self.said(now)}. In the end {READ['cls']} answers {self.said(end['cls'])}, "
            f"{READ['mean']} {self.said(end['mean'])}."
        )
        return svg, words

    def said(self, shares: Tensor) -> str:
        best = shares.argmax().item()
        return (
            f"{class_name(self.cls_vit['config'], best)} ({shares[best]:.0%})"
        )


def read(payload: Mapping, image: Tensor) -> tuple[Tensor, Tensor]:
    """Compute as the page does, in double precision: what token 0 takes, and
    what is answered.

    Returns (depth, tokens), the mean over the heads, and (depth + 1, classes),
    shares.
    """
    vit = unpack(payload).double()
    with torch.no_grad(), record_attention(vit) as maps:
        logits = layer_predictions(vit, normalized(vit, image))
    return torch.stack([each[0, :, 0].mean(dim=0) for each in maps]), logits[
        :, 0
    ].softmax(dim=-1)


def check_pair(cls: Mapping, mean: Mapping) -> None:
    for config, pool, place in (
        (cls, "cls", "first"),
        (mean, "mean", "second"),
    ):
        if config["pool"] != pool:
            raise ValueError(
                f'the {place} model is one with pool="{pool}", got pool="{config["pool"]}"'
            )
    for name in (
        "image_size",
        "patch_size",
        "channels",
        "num_classes",
        "depth",
    ):
        if cls[name] != mean[name]:
            raise ValueError(
                f"the two models must have the same {name}, got {cls[name]} and {mean[name]}"
            )
