"""Prepare a photograph as a checkpoint expects it.

Every model was trained on images of one size, cut from photographs in one way,
and normalised with one mean and standard deviation. Other values give no error,
only worse predictions.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from PIL import Image, ImageOps
from torch import Tensor

from vit_tutorial.cnn import CNN
from vit_tutorial.data import normalize
from vit_tutorial.vit import ViT

__all__ = ["Preprocess", "preprocess", "read_image"]

LONGEST = 100  # times the shorter side; resized, such an image fills the memory
WHITE = (255, 255, 255, 255)


@dataclass(frozen=True)
class Preprocess:
    """Resize, cut out the centre, scale to [0, 1], normalise.

    Args:
        size: height and width that the model reads.
        channels: 3 for colour, 1 for grey.
        crop: the share of the resized image that is cut out, along each side.
        stretch: whether both sides are resized, each by its own factor; else
            the image keeps its shape.
        interpolation: Pillow's name for it.
        mean, std: of each channel, see `data.normalize`.

    Raises ValueError for values that fit no image.
    """

    size: tuple[int, int]
    channels: int
    crop: float = 1.0
    stretch: bool = False
    interpolation: str = "bicubic"
    mean: tuple[float, ...] = (0.5,)
    std: tuple[float, ...] = (0.5,)

    def __post_init__(self):
        names = [method.name.lower() for method in Image.Resampling]
        if self.interpolation not in names:
            raise ValueError(
                f"interpolation is one of {', '.join(names)}, got "
                f"{self.interpolation!r}"
            )
        if not isinstance(self.crop, int | float) or not 0.1 <= self.crop <= 1:
            raise ValueError(
                f"crop is a share from 0.1 to 1, got {self.crop!r}"
            )
        if self.channels not in (1, 3):
            raise ValueError(
                "a photograph has 1 channel (grey) or 3 (colour), and this "
                f"model reads {self.channels}"
            )
        one = torch.zeros(1, self.channels, 1, 1, dtype=torch.uint8)
        normalize(one, self.mean, self.std)  # raises for what does not fit

    def __call__(self, image: Image.Image | Tensor) -> Tensor:
        """Return what the model reads: float32 (c, h, w), of a batch
        (b, c, h, w).

        image: Pillow's, of any kind; or uint8 (c, H, W), of a batch
        (b, c, H, W), c being 1 or 3.
        Raises TypeError or ValueError for anything else.
        """
        if isinstance(image, Tensor) and image.ndim == 4:
            return torch.stack([self(each) for each in image])
        return normalize(self.cut(image)[None], self.mean, self.std)[0]

    def cut(self, image: Image.Image | Tensor) -> Tensor:
        """Resize one image and cut out its centre: uint8 (c, h, w)."""
        if isinstance(image, Tensor):
            image = from_tensor(image)
        if not isinstance(image, Image.Image):
            raise TypeError(
                "an image is Pillow's or a uint8 tensor (c, H, W), got a "
                f"{type(image).__name__}; PIL.Image.fromarray takes NumPy's"
            )
        image = flatten(image, "L" if self.channels == 1 else "RGB")
        image = image.resize(
            self.resized(*image.size),
            Image.Resampling[self.interpolation.upper()],
        )
        height, width = self.size
        left = round((image.width - width) / 2)
        top = round((image.height - height) / 2)
        image = image.crop((left, top, left + width, top + height))
        pixels = np.array(image).reshape(height, width, self.channels)
        return rearrange(
            torch.from_numpy(pixels), "h w c -> c h w"
        ).contiguous()

    def resized(self, width: int, height: int) -> tuple[int, int]:
        """Return the width and height to which an image is resized."""
        # A share such as 224/256 gives 256 again, whatever is rounded.
        rows, columns = (math.floor(n / self.crop + 1e-6) for n in self.size)
        if self.stretch:
            return columns, rows
        if max(width, height) > LONGEST * min(width, height):
            raise ValueError(
                f"an image of {height} x {width} pixels is too long: cut it to "
                f"at most {LONGEST} times its shorter side"
            )
        if width * rows < height * columns:
            return columns, int(columns * height / width)
        return int(rows * width / height), rows


def preprocess(model: ViT) -> Preprocess:
    """Return what prepares photographs for a model: preprocess(vit)(photo) is
    an image that `vit` reads.

    What the model's publisher says stands in `model.facts`: "mean", "std",
    "crop", "stretch", "interpolation". Where it says nothing, the image is
    resized without cutting more than its shape demands, bicubically, to values
    from -1 to 1.

    Raises ValueError for a CNN, which reads images of any size, and for facts
    that fit no image.
    """
    if not isinstance(model, ViT):
        kind = type(model).__name__
        reads = "; a CNN reads images of any size" * isinstance(model, CNN)
        raise ValueError(f"preprocess takes a ViT, not a {kind}{reads}")
    channels = model.config["channels"]
    expected = {"mean": (0.5,) * channels, "std": (0.5,) * channels}
    names = ("mean", "std", "crop", "stretch", "interpolation")
    expected |= {
        name: model.facts[name] for name in names if name in model.facts
    }
    return Preprocess(model.image_size, channels, **expected)


def read_image(path: Path) -> Image.Image:
    """Read an image file, turned as its camera was held.

    Raises ValueError, naming the file, for one that Pillow cannot read.
    """
    try:
        with Image.open(path) as image:
            image.load()
            return ImageOps.exif_transpose(image)
    except Exception as error:  # a damaged file may raise anything
        advice = ""
        if path.suffix.lower() in (".heic", ".heif"):
            advice = "; save it as JPEG or PNG first"
        raise ValueError(
            f"{path} is no image that can be read ({error}){advice}"
        ) from error


def from_tensor(image: Tensor) -> Image.Image:
    """Turn uint8 (c, H, W) into an image of Pillow's."""
    if (
        image.dtype != torch.uint8
        or image.ndim != 3
        or image.shape[0] not in (1, 3)
        or 0 in image.shape
    ):
        raise ValueError(
            "an image is uint8 (c, H, W) with 1 or 3 channels, got "
            f"{image.dtype} {tuple(image.shape)}"
        )
    pixels = rearrange(image.cpu(), "c h w -> h w c").numpy()
    return Image.fromarray(pixels[:, :, 0] if len(image) == 1 else pixels)


def flatten(image: Image.Image, mode: str) -> Image.Image:
    """Turn an image as its camera was held, and give it Pillow's mode "L" or
    "RGB"; what is transparent shows white."""
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16"):  # of which Pillow would cut off the top
        image = Image.fromarray((np.array(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(
            Image.new("RGBA", image.size, WHITE), image
        )
    return image.convert(mode)
