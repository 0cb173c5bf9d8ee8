"""Where does one attention weight come from? (Chapter 5)"""

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
import traitlets
from einops import rearrange
from torch import Tensor

from vit_tutorial.checks import check_number
from vit_tutorial.inside import record_attention
from vit_tutorial.patches import patch_grid
from vit_tutorial.vit import ViT
from vit_tutorial.widgets.base import Figure
from vit_tutorial.widgets.packing import page_vit, unpack
from vit_tutorial.widgets.page_model import (
    normalized,
    patch_count,
    token_name,
)
from vit_tutorial.widgets.pictures import pack_picture, unpack_picture
from vit_tutorial.widgets.still import (
    attention_pixels,
    drawing,
    panel,
    picture_pixels,
)


class AttentionRow(Figure):
    """Where does one attention weight come from?

    One row of one head: which token attends, how much it attends to each token,
    and the steps from a query and a key to that weight. The temperature divides
    the scores of this row alone.

    Args:
        vit: the reader's own; the figure computes with its weights in 8 bits
            (see `page_vit`).
        image: uint8 (c, H, W), of the model's size.
        layer, head, query, key: which weight, counted as in `maps[layer][0,
            head, query, key]` inside `record_attention`: token 0 is the class
            token, where there is one. The default query is the middle patch,
            the default key the token that it attends to most.
        temperature: positive; 1 is the model as it is.

    Raises ValueError for a model, an image or a number that does not fit.
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
        if query is None:
            rows, columns = vit.grid
            query = vit.num_prefix + rows // 2 * columns + columns // 2
        asked = {"layer": layer, "head": head, "query": query}
        for name, value in asked.items():
            check_index(payload["config"], name, value)
        shares = attention(payload, picture, **asked)
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
        # softmax(scores / T)
        shares = F.normalize(shares ** (1 / self.temperature), p=1, dim=0)
        config = self.vit["config"]
        grid = patch_grid(config["image_size"], config["patch_size"])
        prefix = len(shares) - math.prod(grid)
        asking = token_name(self.query, prefix)
        taken = rearrange(shares[prefix:], "(h w) -> h w", h=grid[0])
        svg = drawing(
            420,
            226,
            panel(
                picture_pixels(unpack_picture(self.picture)),
                0,
                200,
                f"query: {asking}",
                grid=grid,
                selected=self.query - prefix if self.query >= prefix else None,
            ),
            panel(
                attention_pixels(taken),
                220,
                200,
                "its attention weight for each patch",
            ),
        )
        heard = math.exp(torch.special.entr(shares).sum())
        words = (
            f"An image in {grid[0]} by {grid[1]} patches, and how much "
            f"{asking} attends to each: in layer {self.layer + 1}, head "
            f"{self.head + 1}, {shares[self.key]:.0%} to "
            f"{token_name(self.key, prefix)}. It effectively attends to "
            f"{heard:.1f} of {len(shares)} tokens."
        )
        return svg, words


def attention(
    payload: Mapping, picture: Mapping, layer: int, head: int, query: int
) -> Tensor:
    """Compute one row of attention, (tokens,), in double precision."""
    vit = unpack(payload).double()
    with torch.no_grad(), record_attention(vit) as maps:
        vit(normalized(vit, unpack_picture(picture)))
    return maps[layer][0, head, query]


def check_index(config: Mapping, name: str, value: int) -> int:
    """Return a layer, a head or a token; ValueError where there is none."""
    tokens = patch_count(config) + (config["pool"] == "cls")
    counts = {"layer": config["depth"], "head": config["heads"]}
    return check_number(name, value, counts.get(name, tokens))
