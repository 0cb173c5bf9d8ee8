"""Augmentation: change each picture a little every time it is shown.

A whole batch is changed at once, where it lies (on the GPU, if that is where). What is drawn at
random comes from a generator that the caller seeds.
"""

import torch
from torch import Generator, Tensor


def random_flip(images: Tensor, generator: Generator) -> Tensor:
    """Mirror every other picture, at random, left to right: (b, c, H, W) stays."""
    flipped = torch.rand(len(images), 1, 1, 1, generator=generator, device=images.device) < 0.5
    return torch.where(flipped, images.flip(-1), images)


def random_shift(images: Tensor, pixels: int, generator: Generator) -> Tensor:
    """Move each picture by up to so many pixels, down or up and left or right; black comes in.

    (b, c, H, W) stays. Every shift from -pixels to +pixels is as likely as any other.
    """
    b = len(images)
    down, right = torch.randint(
        -pixels, pixels + 1, (2, b), generator=generator, device=images.device
    )
    return shift(images, down, right)


def shift(images: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Move picture i by down[i] and right[i] pixels; zeros come in at the sides.

    images: (b, c, H, W). down, right: whole numbers, (b,), negative for up and left.
    """
    b, _, height, width = images.shape
    rows = torch.arange(height, device=images.device) - down[:, None]  # (b, H): where from
    columns = torch.arange(width, device=images.device) - right[:, None]  # (b, W)
    inside = ((rows >= 0) & (rows < height))[:, None, :, None]
    inside = inside & ((columns >= 0) & (columns < width))[:, None, None, :]  # (b, 1, H, W)
    each = torch.arange(b, device=images.device)[:, None, None]
    moved = images[
        each, :, rows.clamp(0, height - 1)[:, :, None], columns.clamp(0, width - 1)[:, None, :]
    ]  # (b, H, W, c)
    return moved.permute(0, 3, 1, 2) * inside


def random_erase(images: Tensor, side: int, generator: Generator) -> Tensor:
    """Blacken a square in each picture, its centre anywhere: (b, c, H, W) stays.

    side: of the square, in pixels. Source: Cutout (DeVries and Taylor, 2017).
    """
    b, _, height, width = images.shape
    centre = torch.rand(2, b, 1, generator=generator, device=images.device)
    top, left = (
        (centre[axis] * size - side / 2).round() for axis, size in enumerate((height, width))
    )
    rows = torch.arange(height, device=images.device)
    columns = torch.arange(width, device=images.device)
    erased = ((rows >= top) & (rows < top + side))[:, None, :, None]
    erased = erased & ((columns >= left) & (columns < left + side))[:, None, None, :]
    return images * ~erased
