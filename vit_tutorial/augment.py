"""Augmentation: change each image a little every time it is shown.

A whole batch is changed at once, where it lies (on the GPU, if that is where).
What is drawn at random comes from a generator that the caller seeds.
"""

import torch
from einops import rearrange
from torch import Generator, Tensor

from vit_tutorial.checks import LARGEST, check_batch, check_tensor, is_whole


def random_flip(images: Tensor, generator: Generator) -> Tensor:
    """Mirror each image, (b, c, H, W), left to right with probability 1/2."""
    check_batch(images)
    check_generator(generator)
    b, device = len(images), images.device
    drawn = torch.rand(b, 1, 1, 1, generator=generator, device=device)
    return torch.where(drawn < 0.5, images.flip(-1), images)


def random_shift(images: Tensor, pixels: int, generator: Generator) -> Tensor:
    """Move each image by up to `pixels`, vertically and horizontally.

    images: (b, c, H, W). Every shift from -pixels to +pixels is as likely as
    any other; black comes in at the sides.
    """
    check_batch(images)
    check_pixels("pixels", pixels)
    check_generator(generator)
    b = len(images)
    down, right = torch.randint(
        -pixels, pixels + 1, (2, b), generator=generator, device=images.device
    )
    return shift(images, down, right)


def shift(images: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Move image i by down[i] and right[i] pixels; zeros come in at the sides.

    images: (b, c, H, W). down, right: whole numbers, (b,), negative for up and
    left.
    """
    check_batch(images)
    for name, shifts in (("down", down), ("right", right)):
        check_tensor(shifts, name)
        whole = not (shifts.is_floating_point() or shifts.is_complex())
        if shifts.shape != (len(images),) or not whole:
            raise ValueError(
                f"{name} holds {len(images)} whole numbers, one an image; "
                f"got {shifts.dtype} of shape {tuple(shifts.shape)}"
            )
    b, _, height, width = images.shape
    # Where each row and each column comes from: (b, H), (b, W).
    rows = torch.arange(height, device=images.device) - down[:, None]
    columns = torch.arange(width, device=images.device) - right[:, None]
    down_inside = ((rows >= 0) & (rows < height))[:, None, :, None]
    right_inside = ((columns >= 0) & (columns < width))[:, None, None, :]
    each = torch.arange(b, device=images.device)[:, None, None]
    rows = rows.clamp(0, height - 1)[:, :, None]
    columns = columns.clamp(0, width - 1)[:, None, :]
    moved = rearrange(images[each, :, rows, columns], "b h w c -> b c h w")
    return moved * (down_inside & right_inside)  # (b, 1, H, W)


def random_erase(images: Tensor, side: int, generator: Generator) -> Tensor:
    """Blacken a square in each image, its centre anywhere: (b, c, H, W) stays.

    side: of the square, in pixels. Source: Cutout (DeVries and Taylor, 2017).
    """
    check_batch(images)
    check_pixels("side", side)
    check_generator(generator)
    b, _, height, width = images.shape
    centre = torch.rand(2, b, 1, generator=generator, device=images.device)
    top, left = (
        (centre[axis] * size - side / 2).round()
        for axis, size in enumerate((height, width))
    )
    rows = torch.arange(height, device=images.device)
    columns = torch.arange(width, device=images.device)
    in_rows = ((rows >= top) & (rows < top + side))[:, None, :, None]
    in_columns = (columns >= left) & (columns < left + side)  # (b, W)
    return images * ~(in_rows & in_columns[:, None, None, :])  # (b, 1, H, W)


def check_pixels(name: str, pixels: int) -> None:
    """Raise ValueError unless `pixels` is a whole number of at least 0."""
    if not is_whole(pixels) or not 0 <= pixels <= LARGEST:
        raise ValueError(
            f"{name} is a whole number of pixels, at least 0; got {pixels!r}"
        )


def check_generator(generator: Generator) -> None:
    """Raise TypeError for anything but a torch.Generator."""
    if not isinstance(generator, Generator):
        raise TypeError(
            f"random numbers come from a torch.Generator, got {generator!r}"
        )
