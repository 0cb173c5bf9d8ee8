"""Images in a figure's traits: packed as JSON can hold them, and read back."""

from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from vit_tutorial.patches import pair


def pack_picture(image: Tensor) -> dict:
    """Put an image into a trait: uint8 (c, H, W), with one channel or three.

    An image of PIL, and a NumPy array (H, W) or (H, W, c), will do as well.

    Raises ValueError for anything else.
    """
    image = as_image(image)
    if (
        not isinstance(image, Tensor)
        or image.dtype != torch.uint8
        or image.ndim != 3
        or image.shape[0] not in (1, 3)
    ):
        raise ValueError(
            "an image is uint8 of shape (1 or 3, H, W), as a PyTorch tensor, a "
            f"NumPy array or a PIL image; got {described(image)}"
        )
    pixels = image.cpu().contiguous().numpy().tobytes()
    return {"shape": list(image.shape), "pixels": b64encode(pixels).decode()}


def pack_pictures(images: Tensor, names: Sequence[str]) -> list[dict]:
    """Put images, uint8 (n, c, H, W), into a trait, each with its name."""
    if isinstance(names, str) or not isinstance(names, Sequence):
        raise TypeError(
            f"names are a list with a name for each image, got {names!r:.80}"
        )
    if len(images) != len(names) or not len(names):
        raise ValueError(
            f"expected a name for each image, got {len(names)} for "
            f"{len(images)}"
        )
    if wrong := [name for name in names if not isinstance(name, str)]:
        raise TypeError(f"an image's name is a string, got {wrong[0]!r:.80}")
    return [
        {**pack_picture(image), "name": name}
        for image, name in zip(images, names, strict=True)
    ]


def pack_fitting(
    config: Mapping, images: Tensor, names: Sequence[str] | None = None
) -> list[dict[str, object]]:
    """Put images for one model into a trait, named or numbered.

    Raises ValueError for anything but uint8 (n, c, H, W) of the model's size.
    """
    images = as_images(images)
    size = (config["channels"], *pair(config["image_size"]))
    shape = tuple(images.shape) if isinstance(images, Tensor) else None
    if shape is None or len(shape) != 4 or not len(images) or shape[1:] != size:
        wanted = f"(n, {', '.join(map(str, size))})"
        raise ValueError(
            f"this model reads images of shape {wanted}, n at least 1; got "
            f"{described(images) if shape is None else shape}"
        )
    if names is None:
        names = [f"image {i + 1}" for i in range(len(images))]
    return pack_pictures(images, names)


def unpack_picture(picture: Mapping) -> Tensor:
    """Read an image back from a trait: uint8 (c, H, W)."""
    pixels = torch.frombuffer(
        bytearray(b64decode(picture["pixels"])), dtype=torch.uint8
    )
    return pixels.view(*picture["shape"])


def check_packed(name: str, pictures: Sequence[Mapping]) -> None:
    """Raise ValueError unless `pictures` are as `pack_picture` packs them."""
    if not len(pictures):
        raise ValueError(f"{name} holds at least one image, got none")
    for each in pictures:
        try:
            channels, height, width = each["shape"]
            size = len(b64decode(each["pixels"], validate=True))
            fits = channels in (1, 3) and size == channels * height * width
        except (KeyError, TypeError, ValueError):
            fits = False
        if not fits:
            raise ValueError(
                f"{name}: expected an image as pack_picture packs it, got "
                f"{each!r:.80}"
            )


def as_image(image: Any) -> Any:
    """Turn an image of PIL or NumPy, (H, W) or (H, W, c), into a tensor (c, H,
    W); return anything else as it is."""
    if hasattr(image, "convert"):  # PIL's
        known = image.mode in ("L", "RGB")
        image = np.array(image if known else image.convert("RGB"))
    if not isinstance(image, np.ndarray):
        return image
    if image.ndim == 2:
        image = image[None]
    elif image.ndim == 3 and image.shape[0] not in (1, 3):
        last = image.shape[-1] in (1, 3)
        image = rearrange(image, "h w c -> c h w") if last else image
    return torch.from_numpy(np.ascontiguousarray(image))


def as_images(images: Any) -> Any:
    """Stack images of PIL, NumPy or PyTorch into one tensor; return anything
    else as it is."""
    if isinstance(images, np.ndarray) and images.ndim in (3, 4):
        images = list(images)
    if isinstance(images, list | tuple) and images:
        each = [as_image(image) for image in images]
        if all(
            isinstance(one, Tensor) and one.shape == each[0].shape
            for one in each
        ):
            return torch.stack(each)
    return images


def described(image) -> str:
    """Describe what was given: a tensor by its dtype and shape."""
    if isinstance(image, Tensor):
        return f"{image.dtype} {tuple(image.shape)}"
    return f"{image!r:.80}"
