"""What position embeddings know of the picture's plane: how alike every two are
(chapter 4)."""

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
import traitlets
from einops import rearrange
from torch import Tensor

from vit_tutorial.patches import patch_grid
from vit_tutorial.vit import ViT
from vit_tutorial.widgets.base import Figure, check_model
from vit_tutorial.widgets.packing import page_vit, unpack
from vit_tutorial.widgets.still import drawing, panel, signed_pixels


class PositionSimilarity(Figure):
    """Does it know that the picture is flat?

    A small map for each position, laid out like the positions themselves: the
    cosine similarity of its embedding with all others, after what all have in
    common was taken off. One of them large, and its means over the rest of its
    row, of its column, and elsewhere.

    Args:
        vit: the reader's own, with positions; the figure computes with its
            weights in 8 bits (see `page_vit`).
        position: which one, counted row by row from 0; without it the middle
            one.

    Raises ValueError for a model without positions, and for a position that
    does not fit. Source: the paper's figure 7, middle.
    """

    script = "position_similarity"

    vit = traitlets.Dict().tag(sync=True, model=True)
    position = traitlets.Int().tag(sync=True)

    def __init__(self, vit: ViT, *, position: int | None = None):
        payload = page_vit(vit)
        rows, columns = vit.grid
        if position is None:
            position = rows // 2 * columns + columns // 2
        super().__init__(vit=payload, position=position)

    @traitlets.validate("vit")
    def _fits_the_rest(self, proposal):
        check_model("vit", proposal["value"])
        if proposal["value"]["config"]["position"] == "none":
            raise ValueError(
                'this ViT has position="none": there are no positions to compare; "learned", '
                '"learned_2d" and "sincos_2d" have some'
            )
        return self.checked(proposal)

    @traitlets.validate("position")
    def _fits(self, proposal):
        config = self.vit["config"]
        count = math.prod(
            patch_grid(config["image_size"], config["patch_size"])
        )
        if proposal["value"] not in range(count):
            raise ValueError(
                f"position is one of 0 to {count - 1}, got {proposal['value']!r}"
            )
        return proposal["value"]

    def still(self) -> tuple[str, str]:
        alike = similarity(self.vit)
        config = self.vit["config"]
        grid = rows, columns = patch_grid(
            config["image_size"], config["patch_size"]
        )
        place = torch.arange(rows * columns)
        row, column = place // columns, place % columns
        here_row, here_column = divmod(self.position, columns)
        kinds = {
            "the rest of its row": (row == here_row) & (column != here_column),
            "the rest of its column": (row != here_row)
            & (column == here_column),
            "those elsewhere": (row != here_row) & (column != here_column),
        }
        mine = alike[self.position]
        means = [
            f"{mine[k].mean():+.2f} with {name}"
            for name, k in kinds.items()
            if k.any()
        ]
        maps = rearrange(alike, "n (h w) -> n h w", h=rows)
        framed = F.pad(
            maps, (1, 1, 1, 1), value=torch.nan
        )  # a gap between the maps
        overview = rearrange(framed, "(r c) h w -> (r h) (c w)", r=rows)
        svg = drawing(
            420,
            226,
            panel(signed_pixels(overview), 0, 200, "one map a position"),
            panel(
                signed_pixels(maps[self.position]),
                220,
                200,
                f"position {self.position + 1} and all others",
                grid=grid,
                selected=self.position,
            ),
        )
        words = (
            f"How alike the position embeddings of {rows} by {columns} patches are, as cosines. "
            f"Position {self.position + 1}: {', '.join(means)}."
        )
        return svg, words.replace("-", "−")


def similarity(payload: Mapping) -> Tensor:
    """Compute the cosine of every two positions, (n, n), in double precision.

    What all positions have in common is taken off first: it says nothing about
    where.
    """
    with torch.no_grad():
        positions = unpack(payload).patch_positions().double()
    directions = F.normalize(positions - positions.mean(dim=0), dim=1)
    return directions @ directions.T
