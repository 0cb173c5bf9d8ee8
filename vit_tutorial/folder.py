"""Read a folder of images that has a subfolder for each class.

    photos/cat/tom.jpg    photos/cat/garfield.png    photos/dog/lassie.jpg

The subfolders' names are the class names, in alphabetical order, as
torchvision's ImageFolder has them. The last fifth of each class, by the files'
names, is held out to test on.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from vit_tutorial.data import DATASETS
from vit_tutorial.preprocess import Preprocess, read_image

__all__ = ["list_folder", "read_folder"]


@dataclass(frozen=True)
class Folder:
    """The images of a folder, resized and cut for one model.

    images, held_out: uint8 (n, c, h, w), and labels: int64 (n,), positions in
    class_names. held_out_files: where the held-out ones stand in the folder.
    skipped: a line for each file that was left out, with the reason.
    """

    class_names: tuple[str, ...]
    preprocess: Preprocess
    images: Tensor
    labels: Tensor
    held_out: Tensor
    held_out_labels: Tensor
    held_out_files: tuple[str, ...]
    skipped: tuple[str, ...]

    @property
    def parts(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Images, labels, held-out images and held-out labels."""
        return self.images, self.labels, self.held_out, self.held_out_labels

    @property
    def mean(self) -> tuple[float, ...]:
        """Of each channel, see `data.normalize`."""
        return self.preprocess.mean

    @property
    def std(self) -> tuple[float, ...]:
        """Of each channel, see `data.normalize`."""
        return self.preprocess.std

    def checksum(self) -> str:
        """Return the SHA-256 sum of all images and labels."""
        digest = hashlib.sha256()
        for part in self.parts:
            digest.update(part.numpy())
        return digest.hexdigest()


def list_folder(folder: Path | str) -> dict[str, list[Path]]:
    """Return the files of each class: {name of a subfolder: its files}.

    Files in subfolders of a class belong to it; hidden ones are left out.
    Raises ValueError where there are no two classes, or one has no two files.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(
            f"unknown data set {str(folder)!r}: choose from "
            f"{', '.join(DATASETS)}, or give a folder with a subfolder for "
            "each class"
        )
    classes = {
        each.name: sorted(
            path
            for path in each.rglob("*")
            if path.is_file() and not path.name.startswith(".")
        )
        for each in sorted(folder.iterdir())
        if each.is_dir() and not each.name.startswith(".")
    }
    if len(classes) < 2:
        raise ValueError(
            f"{folder} has {len(classes)} subfolders; it needs one for each "
            "class, two at least"
        )
    for name, files in classes.items():
        check_class(folder / name, len(files))
    return classes


def read_folder(folder: Path | str, preprocess: Preprocess) -> Folder:
    """Read all images of a folder into memory: c·h·w bytes each.

    A file that cannot be read, or lies beside the subfolders, is skipped.
    Raises ValueError as `list_folder` does; what cannot be read doesn't count.
    """
    folder, classes = Path(folder), list_folder(folder)
    skipped = [
        f"{path} is in no class's subfolder"
        for path in sorted(folder.iterdir())
        if path.is_file() and not path.name.startswith(".")
    ]
    bar = tqdm(
        total=sum(map(len, classes.values())),
        desc=f"reading {folder}",
        unit=" files",
        disable=None,  # unless in a terminal
    )
    learned, held_out = [], []  # (image, label, file)
    for label, (name, files) in enumerate(classes.items()):
        read = []
        for path in files:
            try:
                image = preprocess.cut(read_image(path))
            except ValueError as error:
                skipped.append(str(error))
            else:
                file = path.relative_to(folder).as_posix()
                read.append((image, label, file))
            bar.update()
        check_class(folder / name, len(read))
        last = max(1, len(read) // 5)
        learned += read[:-last]
        held_out += read[-last:]
    bar.close()
    images, labels, _ = zip(*learned, strict=True)
    test_images, test_labels, files = zip(*held_out, strict=True)
    return Folder(
        tuple(classes),
        preprocess,
        torch.stack(images),
        torch.tensor(labels),
        torch.stack(test_images),
        torch.tensor(test_labels),
        files,
        tuple(skipped),
    )


def check_class(folder: Path, count: int) -> None:
    """Raise ValueError for a class with fewer than two images."""
    if count < 2:
        raise ValueError(
            f"{folder} has {count} images that can be read; a class needs two "
            "at least, one to learn from and one to test on"
        )
