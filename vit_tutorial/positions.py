"""Where a patch was: every kind of position embedding that a ViT can add to its
tokens.

A kind is a class with a row in POSITIONS. The page's kinds are in
`widgets/engine/positions.js`.
"""

from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor, nn

from vit_tutorial.checks import check_grid, check_tensor, is_whole

__all__ = ["POSITIONS", "resize_pos_embedding", "rows_and_columns", "sincos_2d"]


class NoPositions:
    """Add nothing, and be the base of the kinds that do.

    The numbers of a kind are attributes of the ViT itself, which gives them
    their names in checkpoints, such as `pos_embedding`. A kind reads the ViT's
    `grid`, `num_prefix` (tokens before the patches) and `config`.
    """

    def make(self, vit: Any) -> None:
        """Give a ViT its parameters or buffers: `pos_` and a name."""

    def of_patches(self, vit: Any) -> Tensor | None:
        """Return an embedding for each patch, (patches, D), row by row."""
        return None

    def of_tokens(self, vit: Any) -> Tensor | None:
        """Return one for each token, (1, n, D): zeros for the class token."""
        patches = self.of_patches(vit)
        if patches is None:
            return None
        return F.pad(patches, (0, 0, vit.num_prefix, 0))[None]

    def resized(self, vit: Any, grid: tuple[int, int]) -> dict[str, Tensor]:
        """Return the parameters for another grid (rows, columns), by name."""
        return {}


class Learned(NoPositions):
    """A learned vector for each token, the class token too: E_pos of eq. 1."""

    def make(self, vit):
        rows, columns = vit.grid
        n, dim = vit.num_prefix + rows * columns, vit.config["dim"]
        vit.pos_embedding = nn.Parameter(torch.empty(1, n, dim))

    def of_patches(self, vit):
        return vit.pos_embedding[0, vit.num_prefix :]

    def of_tokens(self, vit):
        return vit.pos_embedding

    def resized(self, vit, grid):
        resized = resize_pos_embedding(
            vit.pos_embedding, vit.grid, grid, vit.num_prefix
        )
        return {"pos_embedding": resized}


class Learned2D(NoPositions):
    """A learned half for each row of patches and one for each column: appendix
    D.4."""

    def make(self, vit):
        (rows, columns), dim = vit.grid, vit.config["dim"]
        if dim % 2:
            raise ValueError(
                f'position="learned_2d" needs an even dim, got {dim}'
            )
        vit.pos_rows = nn.Parameter(torch.empty(rows, dim // 2))
        vit.pos_columns = nn.Parameter(torch.empty(columns, dim // 2))

    def of_patches(self, vit):
        return rows_and_columns(vit.pos_rows, vit.pos_columns)

    def resized(self, vit, grid):
        _, columns = grid  # resized as a whole; then a row and a column say it
        places = resize_pos_embedding(
            self.of_patches(vit)[None], vit.grid, grid, num_prefix=0
        )[0]
        first_row, _ = places[:columns].chunk(2, dim=-1)
        _, first_column = places[::columns].chunk(2, dim=-1)
        return {"pos_columns": first_row, "pos_rows": first_column}


class Sincos2D(NoPositions):
    """Sines and cosines of row and column, computed rather than learned."""

    def make(self, vit):
        table = sincos_2d(vit.grid, vit.config["dim"])
        vit.register_buffer("pos_sincos", table, persistent=False)

    def of_patches(self, vit):
        return vit.pos_sincos


POSITIONS = {
    "none": NoPositions(),
    "learned": Learned(),
    "learned_2d": Learned2D(),
    "sincos_2d": Sincos2D(),
}
"""The kinds of position embeddings by name: what `ViT` takes as `position`."""


def sincos_2d(grid: tuple[int, int], dim: int) -> Tensor:
    """Write each place of a grid as sines and cosines of its row and column.

    Args:
        grid: (rows, columns).
        dim: of one embedding, a multiple of 4: sine and cosine of the column,
            then of the row, each over dim/4 wavelengths from 2*pi to
            10,000 * 2*pi patches.

    Returns:
        (rows*columns, dim), float32, row by row.

    Raises ValueError where dim is not a positive multiple of 4, or the grid is
    none. Source: Vaswani et al. (2017), section 3.5, once for each axis.
    """
    rows, columns = check_grid(grid)
    if not is_whole(dim) or dim < 4 or dim % 4:
        raise ValueError(
            "2-D sine-cosine positions need dim to be a multiple of 4, "
            f"got {dim!r}"
        )
    frequencies = 10_000.0 ** -(torch.arange(dim // 4) / max(dim // 4 - 1, 1))
    y = torch.outer(torch.arange(rows).float(), frequencies)  # (rows, dim/4)
    x = torch.outer(torch.arange(columns).float(), frequencies)
    return rows_and_columns(
        torch.cat((y.sin(), y.cos()), dim=1),
        torch.cat((x.sin(), x.cos()), dim=1),
    )


def rows_and_columns(rows: Tensor, columns: Tensor) -> Tensor:
    """Join one embedding a column and one a row into one for each place of the
    grid.

    Args:
        rows: (h, dim/2), one for each row of patches.
        columns: (w, dim/2), one for each column of patches.

    Returns:
        (h*w, dim), row by row; the column's half first.

    Source: appendix D.4, "2-dimensional positional embedding".
    """
    h, w = len(rows), len(columns)
    x = repeat(columns, "w d -> (h w) d", h=h)
    y = repeat(rows, "h d -> (h w) d", w=w)
    return torch.cat((x, y), dim=1)


def resize_pos_embedding(
    pos: Tensor,
    old_grid: tuple[int, int],
    new_grid: tuple[int, int],
    num_prefix: int = 1,
) -> Tensor:
    """Carry learned positions over to another grid by bicubic interpolation in
    two dimensions.

    Args:
        pos: (1, num_prefix + rows*columns, dim).
        old_grid, new_grid: (rows, columns). The number of tokens does not tell
            the grid: 36 may be 6 x 6 or 4 x 9.
        num_prefix: tokens in front that stand for no place (the class token);
            they are kept.

    Returns:
        `(1, num_prefix + new rows * new columns, dim)`.

    Raises ValueError where pos does not hold num_prefix + rows*columns tokens,
    or is not of floating-point numbers. Source: section 3.2, fine-tuning at a
    higher resolution.
    """
    (h, w), (new_h, new_w) = check_grid(old_grid), check_grid(new_grid)
    check_tensor(pos, "position embeddings")
    if not pos.is_floating_point():
        raise ValueError(
            f"position embeddings are floating-point numbers, got {pos.dtype}"
        )
    if not is_whole(num_prefix) or num_prefix < 0:
        raise ValueError(
            f"num_prefix must be a whole number from 0, got {num_prefix!r}"
        )
    if pos.ndim != 3 or pos.shape[:2] != (1, num_prefix + h * w):
        raise ValueError(
            f"a grid of {h} x {w} and {num_prefix} token(s) in front need "
            f"positions of shape (1, {num_prefix + h * w}, dim), "
            f"got {tuple(pos.shape)}"
        )
    if (h, w) == (new_h, new_w):
        return pos
    prefix, places = pos[:, :num_prefix], pos[:, num_prefix:]
    places = rearrange(places, "1 (h w) d -> 1 d h w", h=h).float()
    bicubic: dict[str, Any] = {"mode": "bicubic", "antialias": True}
    bicubic |= {"align_corners": False}
    if new_w == 1:  # PyTorch 2.13 gets a single column wrong, a single row not
        turned = places.mT.contiguous()
        places = F.interpolate(turned, (1, new_h), **bicubic).mT
    else:
        places = F.interpolate(places, (new_h, new_w), **bicubic)
    places = rearrange(places, "1 d h w -> 1 (h w) d").to(pos.dtype)
    return torch.cat((prefix, places), dim=1)
