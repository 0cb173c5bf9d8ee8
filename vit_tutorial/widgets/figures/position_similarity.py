"""How alike every two position embeddings are: rows and columns of the image
show in them (chapter 4)."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
import traitlets
from einops import rearrange
from torch import Tensor

from vit_tutorial.checks import check_number
from vit_tutorial.patches import patch_grid
from vit_tutorial.positions import POSITIONS
from vit_tutorial.vit import ViT
from vit_tutorial.widgets.base import Figure
from vit_tutorial.widgets.packing import page_vit, unpack
from vit_tutorial.widgets.still import drawing, panel, signed_pixels


class PositionSimilarity(Figure):
    """Do the position embeddings know rows and columns?

    A small map for each position, laid out like the positions themselves: the
    cosine similarity of its embedding to all others, after subtracting the mean
    position. One of them is drawn large, with its means over the rest of its
    row, the rest of its column, and elsewhere.

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
        embeddings(payload)  # refuses a ViT without positions
        if position is None:
            rows, columns = vit.grid
            position = rows // 2 * columns + columns // 2
        super().__init__(vit=payload, position=position)

    @traitlets.validate("position")
    def _fits(self, proposal):
        rows, columns = self._grid()
        return check_number("position", proposal["value"], rows * columns)

    def _grid(self) -> tuple[int, int]:
        config = self.vit["config"]
        return patch_grid(config["image_size"], config["patch_size"])

    def still(self) -> tuple[str, str]:
        rows, columns = grid = self._grid()
        alike = similarity(self.vit)
        maps = rearrange(alike, "n (h w) -> n h w", h=rows)
        framed = F.pad(maps, (1, 1, 1, 1), value=torch.nan)  # a gap around each
        overview = rearrange(framed, "(r c) h w -> (r h) (c w)", r=rows)
        svg = drawing(
            420,
            226,
            panel(signed_pixels(overview), 0, 200, "one map per position"),
            panel(
                signed_pixels(maps[self.position]),
                220,
                200,
                f"position {self.position + 1} and all others",
                grid=grid,
                selected=self.position,
            ),
        )
        means = [
            f"{mean:+.2f} to {name}"
            for name, mean in means_of(maps[self.position], self.position)
        ]
        words = (
            f"Cosine similarities of the position embeddings of {rows} by "
            f"{columns} patches. Position {self.position + 1} has mean "
            f"similarity {', '.join(means)}."
        )
        return svg, words.replace("-", "−")


@torch.no_grad()
def embeddings(payload: Mapping) -> Tensor:
    """Return a packed ViT's positions of the patches, (n, D), in double
    precision; ValueError where it has none."""
    vit = unpack(payload)
    positions = vit.patch_positions()
    if positions is None:
        kinds = ", ".join(f'"{name}"' for name in POSITIONS if name != "none")
        raise ValueError(
            f'this ViT has position="{vit.position}": there are no positions '
            f"to compare; use one of {kinds}"
        )
    return positions.double()


def similarity(payload: Mapping) -> Tensor:
    """Compute the cosine of every two positions, (n, n), in double precision.

    What all positions have in common is taken off first: it says nothing about
    where. Raises ValueError for a ViT without positions.
    """
    positions = embeddings(payload)
    directions = F.normalize(positions - positions.mean(dim=0), dim=1)
    return directions @ directions.T


def means_of(alike: Tensor, position: int) -> list[tuple[str, float]]:
    """Average one position's cosines, (rows, columns), over the rest of its row
    and of its column, and over those elsewhere, where there are any."""
    rows, columns = alike.shape
    here_row, here_column = divmod(position, columns)
    in_row = (torch.arange(rows) == here_row)[:, None]  # (rows, 1)
    in_column = torch.arange(columns) == here_column  # (columns,)
    kinds = {
        "the rest of its row": in_row & ~in_column,
        "the rest of its column": ~in_row & in_column,
        "those elsewhere": ~in_row & ~in_column,
    }
    return [
        (name, alike[places].mean().item())
        for name, places in kinds.items()
        if places.any()
    ]
