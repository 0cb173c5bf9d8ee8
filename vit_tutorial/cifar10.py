"""The binary form of CIFAR-10: files of records, as a folder or in an archive.

A record is a label (1 byte) and an image (3 x 32 x 32 bytes).
"""

import tarfile
from pathlib import Path

import torch
from einops import rearrange
from torch import Tensor

UNPACKED, ARCHIVE = "cifar-10-batches-bin", "cifar-10-binary.tar.gz"
FILES = {
    "train": [f"data_batch_{number}.bin" for number in range(1, 6)],
    "test": ["test_batch.bin"],
}


def read_records(source: Path, split: str, count: int) -> tuple[Tensor, Tensor]:
    """Read a split: uint8 (count, 3, 32, 32) and int64 (count,).

    Args:
        source: the unpacked folder or the archive.
        split: "train" or "test".
        count: how many images the split has, a tenth of them in each class.

    Raises ValueError for files that do not hold just this split.
    """
    content = read_files(source, split)
    expected = (
        f"{source}: expected {count} records of 3073 bytes, the first byte a "
        "label from 0 to 9"
    )
    if len(content) != count * 3073:
        raise ValueError(f"{expected}, found {len(content)} bytes")
    records = torch.frombuffer(content, dtype=torch.uint8).view(-1, 3073)
    labels = records[:, 0].long()
    if labels.max() > 9:
        raise ValueError(f"{expected}, found a label {labels.max()}")
    counts = labels.bincount(minlength=10).tolist()
    if len(set(counts)) > 1:
        raise ValueError(
            f"{source}: expected {count // 10} images of each class, found "
            f"{counts}, in the classes' order"
        )
    return rearrange(records[:, 1:], "n (c h w) -> n c h w", c=3, h=32), labels


def read_files(source: Path, split: str) -> bytearray:
    """Return the bytes of a split's files, one file after the other."""
    if source.name == UNPACKED:
        return bytearray().join(
            (source / name).read_bytes() for name in FILES[split]
        )
    names = [f"{UNPACKED}/{name}" for name in FILES[split]]
    with tarfile.open(source) as tar:  # in its order: seeking is slow
        members = (member for member in tar if member.name in names)
        opened = ((each.name, tar.extractfile(each)) for each in members)
        content = {name: file.read() for name, file in opened if file}
    return bytearray().join(content[name] for name in names)
