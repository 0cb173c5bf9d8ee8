"""The images that a page trains on, and those that it holds out.

Both are taken from the bundled part of Fashion-MNIST's training set; the test
set is not touched. They are the ones of `Recipe(subset=10_000,
validation=2_000, train_on=6_000)`: of each class the first 600 and the last
200. The standard library is all this file needs, for it also runs where the
book is built.
"""

import gzip
import json
from base64 import b64encode
from pathlib import Path
from typing import Any

ASSETS = Path(__file__).parents[1] / "assets"
CLASSES = 10
TRAIN, HELD_OUT = 6_000, 2_000  # images
SIDE = 28  # pixels
FACTS: dict[str, Any] = {  # as data.py has them
    "dataset": "fashion_mnist",
    "class_names": (
        "T-shirt/top, Trouser, Pullover, Dress, Coat, Sandal, Shirt, "
        "Sneaker, Bag, Ankle boot".split(", ")
    ),
    "mean": [0.286],
    "std": [0.353],
}


def files() -> list[Path]:
    """Return the paths of the bundled images and of their labels."""
    return sorted(ASSETS.glob("fashion-mnist-train10k-*.gz"))


def packed() -> tuple[dict, bytes]:
    """Return what there is to know of the images, and the bytes, gzipped.

    They are the images to train on, those that are held out, and both lists of
    labels, a byte each. The classes take turns, so the first n images have as
    many of each class as any.
    """
    images, labels = (gzip.decompress(path.read_bytes()) for path in files())
    images, labels = images[16:], labels[8:]  # behind the files' headers
    of_class = [
        [i for i, label in enumerate(labels) if label == number]
        for number in range(CLASSES)
    ]
    first, last = TRAIN // CLASSES, HELD_OUT // CLASSES
    chosen = [
        *in_turns([each[:first] for each in of_class]),
        *in_turns([each[-last:] for each in of_class]),
    ]
    size = SIDE * SIDE
    pixels = b"".join(images[i * size : (i + 1) * size] for i in chosen)
    numbers = bytes(labels[i] for i in chosen)
    about = {"train": TRAIN, "heldOut": HELD_OUT, "facts": FACTS}
    return about, gzip.compress(pixels + numbers, mtime=0)


def in_turns(lists: list[list[int]]) -> list[int]:
    """Take the first of each list, then the second of each, and so on."""
    return [i for turn in zip(*lists, strict=True) for i in turn]


def script() -> str:
    """Write the script that hands the images to the book's pages, which a page
    may load as a file."""
    about, content = packed()
    data = json.dumps(about | {"data": b64encode(content).decode()})
    return f"globalThis.vitTutorialTrainingData = {data};\n"


def send_when_asked(figure) -> None:
    """Let a figure in a notebook have the images when it asks for them.

    They go by message, so no notebook stores them.
    """

    def answer(_, question, buffers):
        if question == {"asks": "training data"}:
            about, content = packed()
            figure.send({"answers": "training data", **about}, [content])

    figure.on_msg(answer)
