"""Make the files of Fashion-MNIST that come with the package, from the four original ones.

    python .ci/bundle_data.py --from /usr/share/datasets/fashion-mnist --to vit_tutorial/assets

The test set is copied; of the training set, the first 1,000 images of each class are kept.
"""

import argparse
import gzip
import io
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from vit_tutorial.data import BUNDLED_IMAGES, DATASETS, first_of_each_class
from vit_tutorial.idx import idx_header, idx_pair, read_idx_pair
from vit_tutorial.records import write_whole


def bundle(source: Path, target: Path) -> None:
    """Write the bundled files into `target`, from the four original ones in `source`.

    Raises ValueError, and writes nothing, where an original is damaged.
    """
    sizes = DATASETS["fashion_mnist"].sizes
    read_idx_pair(*idx_pair(source, "t10k"), sizes["test"])  # so that nothing damaged is copied
    test = [path.read_bytes() for path in idx_pair(source, "t10k")]
    images, labels = read_idx_pair(*idx_pair(source, "train"), sizes["train"])
    images, labels = first_of_each_class(images, labels, BUNDLED_IMAGES)
    train = [compose_idx(images.squeeze(1)), compose_idx(labels.byte())]

    target.mkdir(parents=True, exist_ok=True)
    paths = idx_pair(target, "fashion-mnist-t10k") + idx_pair(target, "fashion-mnist-train10k")
    for path, content in zip(paths, test + train, strict=True):
        write_whole(path, content)


def compose_idx(values: Tensor) -> bytes:
    """Compose an IDX file of bytes, compressed; it holds no date, so it is the same each time."""
    file = io.BytesIO()
    with gzip.GzipFile("", "wb", compresslevel=6, fileobj=file, mtime=0) as compressor:
        compressor.write(idx_header(values.shape) + values.numpy().tobytes())
    return file.getvalue()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser("bundle_data.py", description=__doc__.splitlines()[0])
    parser.add_argument("--from", dest="source", type=Path, required=True, metavar="DIR")
    parser.add_argument("--to", dest="target", type=Path, required=True, metavar="DIR")
    given = parser.parse_args(arguments)
    bundle(given.source, given.target)


if __name__ == "__main__":
    main()
