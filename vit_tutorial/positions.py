"""Where a patch was: the position embeddings a ViT can add to its tokens, and
their resizing."""

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor

from vit_tutorial.checks import check_grid, check_tensor, is_whole

POSITIONS = ("none", "learned", "learned_2d", "sincos_2d")


def sincos_2d(grid: tuple[int, int], dim: int) -> Tensor:
    """Write each place of a grid as sines and cosines of its row and of its
    column.

    Args:
        grid: (rows, columns).
        dim: length of one embedding, a multiple of 4: sine and cosine of the
            column, then of the row, each over dim/4 wavelengths from 2*pi to
            10,000 * 2*pi patches.

    Returns:
        (rows*columns, dim), float32, row by row.

    Raises ValueError where dim is not a positive multiple of 4, or the grid is
    none. Source: Vaswani et al. (2017), section 3.5, once for each axis.
    """
    rows, columns = check_grid(grid)
    if not is_whole(dim) or dim < 4 or dim % 4:
        raise ValueError(
            f"2-D sine-cosine positions need dim to be a multiple of 4, got {dim!r}"
        )
    frequencies = 10_000.0 ** -(torch.arange(dim // 4) / max(dim // 4 - 1, 1))
    y = torch.outer(torch.arange(rows).float(), frequencies)  # (rows, dim/4)
    x = torch.outer(
        torch.arange(columns).float(), frequencies
    )  # (columns, dim/4)
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
        (1, num_prefix + new rows * new columns, dim).

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
            f"a grid of {h} x {w} and {num_prefix} token(s) in front need positions of shape "
            f"(1, {num_prefix + h * w}, dim), got {tuple(pos.shape)}"
        )
    if (h, w) == (new_h, new_w):
        return pos
    prefix, places = pos[:, :num_prefix], pos[:, num_prefix:]
    places = rearrange(places, "1 (h w) d -> 1 d h w", h=h)
    bicubic = {"mode": "bicubic", "antialias": True, "align_corners": False}
    if (
        new_w == 1
    ):  # PyTorch 2.13 interpolates a single column wrongly, a single row rightly
        places = F.interpolate(
            places.float().mT.contiguous(), (1, new_h), **bicubic
        ).mT
    else:
        places = F.interpolate(places.float(), (new_h, new_w), **bicubic)
    places = rearrange(places, "1 d h w -> 1 (h w) d").to(pos.dtype)
    return torch.cat((prefix, places), dim=1)
