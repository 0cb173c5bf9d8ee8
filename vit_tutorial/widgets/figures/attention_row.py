"""One number of attention, opened: q · k, divided, exponentiated, normalised
(chapter 5)."""

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
import traitlets
from einops import rearrange
from torch import Tensor

from vit_tutorial.attention_maps import record_attention
from vit_tutorial.checks import check_number
from vit_tutorial.patches import patch_grid
from vit_tutorial.vit import ViT
from vit_tutorial.widgets.base import Figure
from vit_tutorial.widgets.packing import page_vit, unpack
from vit_tutorial.widgets.page_model import normalized, patch_count
from vit_tutorial.widgets.pictures import pack_picture, unpack_picture
from vit_tutorial.widgets.still import (
    attention_pixels,
    drawing,
    panel,
    picture_pixels,
)


class AttentionRow(Figure):
    """Where does one number of attention come from?

    One row of one head: who asks, what it takes from each token, and the steps
    from a query and a key to that share. The temperature divides the scores of
    this row alone.

    Args:
        vit: the reader's own; the figure computes with its weights in 8 bits
            (see `page_vit`).
        image: uint8 (c, H, W), of the model's size.
        layer, head, query, key: which number, counted as in `maps[layer][0,
            head, query, key]` inside `record_attention`: token 0 is the class
            token, where there is one. Without `query` the middle patch asks,
            without `key` the token answers that it takes most from.
        temperature: positive; 1 is the model as it is.

    Raises ValueError for a model, a picture or a number that does not fit.
    """

    script = "attention_row"

    vit = traitlets.Dict().tag(sync=True, model=True)
    picture = traitlets.Dict().tag(sync=True)
    layer = traitlets.Int().tag(sync=True)
    head = traitlets.Int().tag(sync=True)
    query = traitlets.Int().tag(sync=True)
    key = traitlets.Int().tag(sync=True)
    temperature = traitlets.Float(1.0).tag(sync=True)

    def __init__(
        self,
        vit: ViT,
        image: Tensor,
        *,
        layer: int = 0,
        head: int = 0,
        query: int | None = None,
        key: int | None = None,
        temperature: float = 1.0,
    ):
        payload, picture = page_vit(vit), pack_picture(image)
        rows, columns = vit.grid
        if query is None:
            query = vit.num_prefix + rows // 2 * columns + columns // 2
        for name, value in {
            "layer": layer,
            "head": head,
            "query": query,
        }.items():
            check_index(payload["config"], name, value)
        shares = attention(payload, picture, layer, head, query)
        super().__init__(
            vit=payload,
            picture=picture,
            layer=layer,
            head=head,
            query=query,
            key=shares.argmax().item() if key is None else key,
            temperature=temperature,
        )

    @traitlets.validate("layer", "head", "query", "key")
    def _fits(self, proposal):
        return check_index(
            self.vit["config"], proposal["trait"].name, proposal["value"]
        )

    @traitlets.validate("picture")
    def _is_a_picture(self, proposal):
        return self.checked(proposal)

    @traitlets.validate("temperature")
    def _is_positive(self, proposal):
        if not 0 < proposal["value"] < math.inf:
            raise ValueError(
                f"a temperature is positive and finite, got {proposal['value']}"
            )
        return proposal["value"]

    def still(self) -> tuple[str, str]:
        shares = attention(
            self.vit, self.picture, self.layer, self.head, self.query
        )
        shares = F.normalize(
            shares ** (1 / self.temperature), p=1, dim=0
        )  # softmax(scores / T)
        heard = math.exp(torch.special.entr(shares).sum())
        config = self.vit["config"]
        grid = rows, columns = patch_grid(
            config["image_size"], config["patch_size"]
        )
        prefix = len(shares) - rows * columns
        name = [
            *["the class token"] * prefix,
            *(f"patch {i + 1}" for i in range(rows * columns)),
        ]
        selected = self.query - prefix if self.query >= prefix else None
        asking = name[self.query]
        picture = picture_pixels(unpack_picture(self.picture))
        taken = attention_pixels(
            rearrange(shares[prefix:], "(h w) -> h w", h=rows)
        )
        svg = drawing(
            420,
            226,
            panel(
                picture, 0, 200, f"{asking} asks", grid=grid, selected=selected
            ),
            panel(taken, 220, 200, "what it takes from each patch"),
        )
        words = (
            f"A picture in {rows} by {columns} patches, and how much {asking} takes from each: in "
            f"layer {self.layer + 1}, head {self.head + 1}, {shares[self.key]:.0%} from "
            f"{name[self.key]}. It hears {heard:.1f} of {len(shares)} tokens."
        )
        return svg, words


def attention(
    payload: Mapping, picture: Mapping, layer: int, head: int, query: int
) -> Tensor:
    """Compute one row of attention as the page does, (tokens,), in double
    precision."""
    vit = unpack(payload).double()
    with torch.no_grad(), record_attention(vit) as maps:
        vit(normalized(vit, unpack_picture(picture)))
    return maps[layer][0, head, query]


def check_index(config: Mapping, name: str, value: int) -> int:
    tokens = patch_count(config) + (config["pool"] == "cls")
    count = {"layer": config["depth"], "head": config["heads"]}.get(
        name, tokens
    )
    return check_number(name, value, count)
