"""Check inputs: a model's arguments, grids and tensors, each kind in one place.

A function here returns what it was given as plain Python values, or raises an
error that says what was given and what would work.
"""

import functools
import inspect
import operator
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import TypeVar, cast

import numpy as np
import torch
from torch import Tensor

Constructor = TypeVar("Constructor", bound=Callable)
LARGEST = 2**31 - 1  # of a size; some of PyTorch's kernels count no further


def is_whole(value: object) -> bool:
    """Tell whether `value` is a whole number; here, True and False are not."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def check_size(name: str, size: int) -> int:
    """Return a size as an int; ValueError unless it is whole and from 1."""
    if not is_whole(size):
        raise ValueError(
            f"{name} must be a whole number of at least 1, got {size!r}"
        )
    if size < 1:
        raise ValueError(f"{name} must be at least 1, got {size}")
    if size > LARGEST:
        raise ValueError(f"{name} must be at most {LARGEST:,}, got {size}")
    return operator.index(size)


def check_sizes(**sizes: int) -> tuple[int, ...]:
    """Check several sizes: `dim, heads = check_sizes(dim=8, heads=2)`."""
    return tuple(check_size(name, size) for name, size in sizes.items())


def check_pixels(name: str, size: int | tuple[int, ...]) -> int | tuple:
    """Return a size in pixels in the form it was given: one int, or a pair.

    Raises ValueError for anything but whole numbers of at least 1.
    """
    is_pair = isinstance(size, tuple | list)
    sides = tuple(size) if is_pair else (size, size)
    if len(sides) != 2 or not all(
        is_whole(side) and 1 <= side <= LARGEST for side in sides
    ):
        raise ValueError(
            f"{name} is one whole number of pixels, at least 1, or "
            f"(height, width); got {size!r}"
        )
    height, width = map(operator.index, sides)
    return (height, width) if is_pair else height


def check_rate(name: str, rate: float) -> float:
    """Return a dropout rate; ValueError unless it is a number from 0 to 1."""
    if not isinstance(rate, Real) or not 0 <= rate <= 1:
        raise ValueError(f"{name} must be a number from 0 to 1, got {rate!r}")
    return rate if isinstance(rate, int) else float(rate)


def check_eps(name: str, eps: float) -> float:
    """Return a LayerNorm's eps as a float; ValueError unless float32 can tell
    it from 0 and infinity."""
    bounds = torch.finfo(torch.float32)
    if not isinstance(eps, Real) or not bounds.tiny <= eps <= bounds.max:
        raise ValueError(
            f"{name} must be a small number above 0, such as 1e-6, got {eps!r}"
        )
    return float(eps)


def check_switch(name: str, value: bool) -> bool:
    """Return a bool, NumPy's as Python's; ValueError for anything else."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def check_widths(name: str, widths: Sequence[int]) -> tuple[int, ...]:
    """Return three sizes; ValueError for anything else."""
    if not isinstance(widths, tuple | list) or len(widths) != 3:
        raise ValueError(f"{name} are three whole numbers, got {widths!r}")
    return tuple(check_size(f"{name}[{i}]", w) for i, w in enumerate(widths))


# What the arguments of our models are, by their names.
ARGUMENTS = {
    "image_size": check_pixels,
    "patch_size": check_pixels,
    "num_classes": check_size,
    "channels": check_size,
    "dim": check_size,
    "depth": check_size,
    "heads": check_size,
    "dim_head": check_size,
    "hidden_dim": check_size,
    "mlp_dim": check_size,
    "widths": check_widths,
    "dropout": check_rate,
    "emb_dropout": check_rate,
    "qkv_bias": check_switch,
    "eps": check_eps,
}


def checked(constructor: Constructor) -> Constructor:
    """Check a constructor's arguments before it runs, each by its name.

    They reach it as plain Python values; names that ARGUMENTS does not list
    pass as they are. Used as a decorator, `@checked`.
    """
    signature = inspect.signature(constructor)

    @functools.wraps(constructor)
    def check_first(*args, **kwargs):
        try:
            given = signature.bind(*args, **kwargs)
        except TypeError:  # Python's own message names the class
            return constructor(*args, **kwargs)
        for name, value in given.arguments.items():
            if name in ARGUMENTS:
                given.arguments[name] = ARGUMENTS[name](name, value)
        return constructor(*given.args, **given.kwargs)

    return cast(Constructor, check_first)


def arguments_of(names: Mapping) -> dict:
    """Return a constructor's arguments by name, from its `locals()`."""
    hidden = ("self", "__class__")  # which super() adds
    return {name: names[name] for name in names if name not in hidden}


def check_choice(name: str, choice: str, choices: Collection[str]) -> None:
    """Raise ValueError unless `choice` is one of the names in `choices`."""
    if not isinstance(choice, str) or choice not in choices:
        raise ValueError(
            f"{name} is one of {', '.join(choices)}, got {choice!r}"
        )


def check_number(name: str, value: int, count: int) -> int:
    """Return a whole number from 0 to count - 1 as an int, NumPy's and
    PyTorch's as well.

    Raises ValueError for any other, 1.0 included: it is no index.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = -1
    if number not in range(count):
        raise ValueError(f"{name} is one of 0 to {count - 1}, got {value!r}")
    return number


def check_grid(grid: tuple[int, int]) -> tuple[int, int]:
    """Return a grid's rows and columns; ValueError unless they are two whole
    numbers from 1."""
    if (
        not isinstance(grid, tuple | list)
        or len(grid) != 2
        or not all(is_whole(side) and 1 <= side <= LARGEST for side in grid)
    ):
        raise ValueError(
            "a grid is (rows, columns), whole numbers that are at least 1; "
            f"got {grid!r}"
        )
    rows, columns = map(operator.index, grid)
    return rows, columns


def check_path(path: str | os.PathLike) -> Path:
    """Return `path` as a Path; TypeError for anything but a string or a path.

    Raises ValueError for a name that no system allows.
    """
    try:
        found = Path(path)
    except TypeError as error:
        kind = type(path).__name__
        raise TypeError(
            f"a path is a string or a pathlib.Path, got a {kind}"
        ) from error
    if "\0" in str(found):
        raise ValueError(f"a path has no null character, got {path!r}")
    return found


def check_tensor(tensor: Tensor, what: str) -> None:
    """Raise TypeError unless `tensor` is one; `what` is its name, in plural."""
    if not isinstance(tensor, Tensor):
        advice = (
            "; torch.from_numpy makes one"
            if isinstance(tensor, np.ndarray)
            else ""
        )
        raise TypeError(
            f"{what} come as a torch.Tensor, got a "
            f"{type(tensor).__name__}{advice}"
        )


def check_batch(images: Tensor) -> None:
    """Raise TypeError unless `images` is a tensor, ValueError unless it has
    the axes (b, c, H, W)."""
    check_tensor(images, "images")
    if images.ndim != 4:
        raise ValueError(
            f"images come as (b, c, H, W), got a shape of {tuple(images.shape)}"
        )


def check_images(
    images: Tensor, shape: tuple[str | int, ...], weight: Tensor
) -> None:
    """Raise unless a model can read `images`.

    Args:
        images: what was given to the model.
        shape: the axes it reads, such as ("b", 3, "H", "W"): a name stands for
            any length.
        weight: of the model's first layer; images have its dtype, except under
            autocast.

    Raises TypeError for anything but a tensor, ValueError for another shape,
    dtype or device.
    """
    check_tensor(images, "images")
    fits = images.ndim == len(shape) and all(
        isinstance(axis, str) or length == axis
        for axis, length in zip(shape, images.shape, strict=True)
    )
    if not fits:
        raise ValueError(
            f"this model reads images of shape ({', '.join(map(str, shape))}), "
            f"got {tuple(images.shape)}"
        )
    if images.device != weight.device:
        raise ValueError(
            f"the images are on {images.device} and the model on "
            f"{weight.device}; images.to({str(weight.device)!r}) moves them"
        )
    if images.dtype != weight.dtype and not (
        images.is_floating_point() and autocasts(images)
    ):
        wanted = str(weight.dtype).removeprefix("torch.")
        advice = (
            "data.normalize makes float32 of bytes"
            if images.dtype == torch.uint8
            else f"images.to(torch.{wanted}) converts them"
        )
        raise ValueError(
            f"this model reads {wanted} images, got {images.dtype}; {advice}"
        )


def autocasts(tensor: Tensor) -> bool:
    """Tell whether `torch.autocast` is on for the device of `tensor`."""
    kind = tensor.device.type
    return torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(
        kind
    )


def check_classes(classes: Tensor, images: int, count: int) -> Tensor:
    """Return one class per image as int64; ValueError unless they are `images`
    of 0 to count - 1.

    Args:
        classes: (images,), a tensor or a list of whole numbers.
    """
    wanted = f"classes are {images} whole numbers, one an image"
    try:
        found = torch.as_tensor(classes)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise ValueError(f"{wanted}; got {classes!r}") from error
    whole = not (
        found.is_floating_point()
        or found.is_complex()
        or found.dtype == torch.bool
    )
    if not whole or found.shape != (images,):
        raise ValueError(
            f"{wanted}; got {found.dtype} of shape {tuple(found.shape)}"
        )
    found = found.long()
    if not ((found >= 0) & (found < count)).all():
        raise ValueError(
            f"this model's classes are 0 to {count - 1}, got {found.tolist()}"
        )
    return found
