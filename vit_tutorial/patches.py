"""Images to patches and back: the first step of equation 1."""

import torch
from einops import rearrange
from torch import Tensor, nn

from vit_tutorial.checks import (
    check_batch,
    check_grid,
    check_pixels,
    check_tensor,
)

__all__ = ["patchify", "unpatchify"]


def pair(size: int | tuple[int, ...]) -> tuple[int, int]:
    """Read one number as a square: 16 -> (16, 16); (height, width) stays.

    Raises ValueError for anything but whole numbers of pixels, at least 1.
    """
    size = check_pixels("a size", size)
    return size if isinstance(size, tuple) else (size, size)


def patch_grid(
    image_size: int | tuple[int, ...], patch_size: int | tuple[int, ...]
) -> tuple[int, int]:
    """Count the patches of an image as (rows, columns).

    Raises ValueError where the patch does not divide the image.
    """
    (height, width), (p1, p2) = pair(image_size), pair(patch_size)
    if height % p1 or width % p2:
        raise ValueError(
            f"patches of {p1} x {p2} pixels do not tile an image of {height} x "
            f"{width}: the height must be a multiple of {p1} and the width a "
            f"multiple of {p2}"
        )
    return height // p1, width // p2


def patchify(images: Tensor, patch_size: int | tuple[int, int]) -> Tensor:
    """Cut images into non-overlapping patches, row by row, and flatten each.

    Args:
        images: (b, c, H, W), any dtype.
        patch_size: pixels, one number or (height, width).

    Returns:
        (b, n, p1*p2*c) with n = (H/p1) * (W/p2); within a patch the channel
        runs fastest.

    Raises ValueError where the patch does not divide the image.
    Source: section 3.1, x -> x_p.
    """
    check_batch(images)
    p1, p2 = pair(patch_size)
    patch_grid(images.shape[-2:], patch_size)
    # Colours side by side in memory, as in a patch: the cut then copies runs,
    # not single numbers.
    images = images.contiguous(memory_format=torch.channels_last)
    return rearrange(
        images, "b c (h p1) (w p2) -> b (h w) (p1 p2 c)", p1=p1, p2=p2
    )


def unpatchify(
    patches: Tensor, grid: tuple[int, int], patch_size: int | tuple[int, int]
) -> Tensor:
    """Lay patches out as images again, the exact inverse of `patchify`.

    Args:
        patches: (b, n, p1*p2*c).
        grid: (rows, columns) with rows * columns = n; n alone cannot tell 6 x 6
            from 4 x 9.
        patch_size: pixels, one number or (height, width).

    Returns:
        (b, c, H, W).

    Raises ValueError where the grid or the patch does not fit.
    """
    check_tensor(patches, "patches")
    if patches.ndim != 3:
        raise ValueError(
            "patches come as (b, n, p*p*c), got a shape of "
            f"{tuple(patches.shape)}"
        )
    (rows, columns), (p1, p2) = check_grid(grid), pair(patch_size)
    n, length = patches.shape[1:]
    if rows * columns != n:
        raise ValueError(
            f"a grid of {rows} x {columns} holds {rows * columns} patches, "
            f"not the {n} given"
        )
    if length % (p1 * p2):
        raise ValueError(
            f"a patch of {p1} x {p2} pixels holds a multiple of {p1 * p2} "
            f"values, not {length}"
        )
    return rearrange(
        patches,
        "b (h w) (p1 p2 c) -> b c (h p1) (w p2)",
        h=rows,
        w=columns,
        p1=p1,
        p2=p2,
    )


class Patchify(nn.Module):
    """Apply `patchify` as a layer, which has no parameters."""

    def __init__(self, patch_size: int | tuple[int, int]):
        super().__init__()
        self.patch_size = pair(patch_size)

    def forward(self, images: Tensor) -> Tensor:
        return patchify(images, self.patch_size)

    def extra_repr(self) -> str:
        return f"patch_size={self.patch_size}"
