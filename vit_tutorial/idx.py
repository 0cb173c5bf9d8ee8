"""IDX, the format of Fashion-MNIST's files: a header, then bytes, gzipped.

The header is two zero bytes, 8 for unsigned bytes, the number of dimensions,
then each dimension as a big-endian 32-bit number.
"""

import gzip
import math
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor


def idx_pair(folder: Path, part: str) -> tuple[Path, Path]:
    """Return the paths of a part's two files, images and labels."""
    return (
        folder / f"{part}-images-idx3-ubyte.gz",
        folder / f"{part}-labels-idx1-ubyte.gz",
    )


def idx_header(shape: Sequence[int]) -> bytes:
    """Return how an IDX file of bytes of this shape begins."""
    return struct.pack(f">BBBB{len(shape)}I", 0, 0, 8, len(shape), *shape)


def read_idx(path: Path, shape: Sequence[int]) -> Tensor:
    """Read an IDX file of bytes into a uint8 tensor of this shape.

    However much the file would unpack to, no more than the shape's bytes and
    one are read. Raises ValueError for any other file.
    """
    header = idx_header(shape)
    size = len(header) + math.prod(shape)
    try:
        with gzip.open(path) as file:
            content = bytearray(file.read(size + 1))
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(
            f"{path} should be a whole gzip file: {error}"
        ) from error
    if not content.startswith(header):
        raise ValueError(
            f"{path} should be an IDX file of bytes of shape {tuple(shape)}: "
            f"expected it to begin with {header.hex(' ', -4)}, "
            f"found {content[: len(header)].hex(' ', -4)}"
        )
    if len(content) != size:
        more = " or more" if len(content) > size else ""
        raise ValueError(
            f"{path} should have {size} bytes for an IDX file of shape "
            f"{tuple(shape)}, found {len(content)}{more}"
        )
    values = torch.frombuffer(content, dtype=torch.uint8, offset=len(header))
    return values.view(*shape)


def read_idx_pair(
    images: Path, labels: Path, count: int
) -> tuple[Tensor, Tensor]:
    """Read images, uint8 (count, 1, 28, 28), and their labels, int64 (count,).

    Raises ValueError for a label above 9.
    """
    pixels = read_idx(images, (count, 28, 28)).unsqueeze(1)
    numbers = read_idx(labels, (count,)).long()
    if numbers.max() > 9:
        raise ValueError(f"{labels}: labels are 0 to 9, found {numbers.max()}")
    return pixels, numbers
