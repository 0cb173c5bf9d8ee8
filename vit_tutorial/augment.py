"""Augmentation: change each image a little every time it is shown.

A whole batch is changed at once, where it lies (on the GPU, if that is where).
What is drawn at random comes from a generator that the caller seeds.
"""

import torch
from torch import Generator, Tensor

from vit_tutorial.checks import LARGEST, check_batch, check_tensor, is_whole


def random_flip(images: Tensor, generator: Generator) -> Tensor:
    """Mirror each image left to right with probability 1/2: (b, c, H, W)
    stays."""
    check_batch(images)
    check_generator(generator)
    flipped = (
        torch.rand(
            len(images), 1, 1, 1, generator=generator, device=images.device
        )
        < 0.5
    )
    return torch.where(flipped, images.flip(-1), images)


def random_shift(images: Tensor, pixels: int, generator: Generator) -> Tensor:
    """Move each image by up to `pixels`, down or up and left or right; black
    comes in.

    (b, c, H, W) stays. Every shift from -pixels to +pixels is as likely as any
    other.
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
        if (
            shifts.shape != (len(images),)
            or shifts.is_floating_point()
            or shifts.is_complex()
        ):
            raise ValueError(
                f"{name} holds {len(images)} whole numbers, one an image; "
                f"got {shifts.dtype} of shape {tuple(shifts.shape)}"
            )
    b, _, height, width = images.shape
    rows = (
        torch.arange(height, device=images.device) - down[:, None]
    )  # (b, H): where from
    columns = (
        torch.arange(width, device=images.device) - right[:, None]
    )  # (b, W)
    inside = ((rows >= 0) & (rows < height))[:, None, :, None]
    inside = (
        inside & ((columns >= 0) & (columns < width))[:, None, None, :]
    )  # (b, 1, H, W)
    each = torch.arange(b, device=images.device)[:, None, None]
    moved = images[
        each,
        :,
        rows.clamp(0, height - 1)[:, :, None],
        columns.clamp(0, width - 1)[:, None, :],
    ]  # (b, H, W, c)
    return moved.permute(0, 3, 1, 2) * inside


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
    erased = ((rows >= top) & (rows < top + side))[:, None, :, None]
    erased = (
        erased & ((columns >= left) & (columns < left + side))[:, None, None, :]
    )
    return images * ~erased


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
