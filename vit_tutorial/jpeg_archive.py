"""CIFAR-10 as JPEG files in one archive: a lossy copy, a ninth of the original.

A file is called `train/frog/0123.jpg`: its split, its class, its number.
"""

import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pooch
import torch
from einops import rearrange
from PIL import Image
from torch import Tensor

NAME = "cifar10-jpeg.tar.xz"
SHA256 = "e07e0e30715fb42d2d644bc9d2516ff610c9f7afb891c5e29e2a428db7951aae"


def read_jpeg_archive(
    path: Path, split: str, class_names: Sequence[str]
) -> tuple[Tensor, Tensor]:
    """Read a split, class after class: uint8 (n, 3, 32, 32) and int64 (n,).

    Raises ValueError for an archive that is not this one to the last byte.
    """
    if pooch.file_hash(path) != SHA256:
        raise ValueError(
            f"{path} is corrupt: its SHA-256 checksum should be {SHA256}"
        )
    images, labels = [], []
    with tarfile.open(path) as tar:  # in its order: seeking is slow
        for member in tar:
            if not member.name.startswith(f"{split}/"):
                continue
            file = tar.extractfile(member)
            if file is None:  # a folder
                continue
            with Image.open(file) as image:
                images.append(np.asarray(image.convert("RGB")))
            labels.append(class_names.index(Path(member.name).parent.name))
    pixels = torch.from_numpy(np.stack(images))
    channels_first = rearrange(pixels, "n h w c -> n c h w").contiguous()
    return channels_first, torch.tensor(labels)
