"""An image moved and shuffled, read by a ViT and by a CNN (chapter 8)."""

from collections.abc import Mapping, Sequence

import torch
import traitlets
from torch import Tensor

from vit_tutorial import augment
from vit_tutorial.checks import check_number
from vit_tutorial.cnn import CNN
from vit_tutorial.patches import pair, patch_grid, patchify, unpatchify
from vit_tutorial.vit import ViT
from vit_tutorial.widgets.base import Figure
from vit_tutorial.widgets.packing import page_cnn, page_vit, unpack
from vit_tutorial.widgets.page_model import best_answer, normalized
from vit_tutorial.widgets.pictures import (
    as_images,
    pack_pictures,
    unpack_picture,
)
from vit_tutorial.widgets.shuffle import shuffled
from vit_tutorial.widgets.still import drawing, panel, picture_pixels

FARTHEST = 4  # pixels
SEEDS = 1000
MODELS = ("vit_few", "cnn_few", "vit_many", "cnn_many")


class Shift(Figure):
    """Which model does a shift hurt more?

    An image is moved by up to 4 pixels, its patches are shuffled on request,
    and a ViT and a CNN predict its class: a pair that was trained on few
    images, and a pair that was trained on many.

    Args:
        models: {training images: (ViT, CNN)}, two sizes; all for the same
            images and classes, both ViTs with the same patches. The figure
            computes with their weights in 8 bits.
        images: uint8 (n, c, H, W), of the models' size.
        names: what each image is called.
        records: what `experiments.measure_robustness` found for each model:
            {training images: (the ViT's, the CNN's)}. Without it the figure
            tells of one image only.
        held_out: how many images that was measured on.
        picture, size: which image, and which pair (0 or 1), counted from 0.
        right, down: pixels, from -4 to 4; black comes in at the edges, as in
            `augment.shift`.
        seed: of the patches' order, below 1,000; 0 leaves it as it is.

    Raises ValueError for models, images, records or numbers that do not fit.
    """

    script = "shift"

    vit_few = traitlets.Dict().tag(sync=True, model=True)
    cnn_few = traitlets.Dict().tag(sync=True, model=True)
    vit_many = traitlets.Dict().tag(sync=True, model=True)
    cnn_many = traitlets.Dict().tag(sync=True, model=True)
    sizes = traitlets.List().tag(sync=True)
    pictures = traitlets.List().tag(sync=True)
    averages = traitlets.List().tag(sync=True)
    held_out = traitlets.Int().tag(sync=True)
    picture = traitlets.Int().tag(sync=True)
    right = traitlets.Int().tag(sync=True)
    down = traitlets.Int().tag(sync=True)
    seed = traitlets.Int().tag(sync=True)
    size = traitlets.Int().tag(sync=True)

    def __init__(
        self,
        models: Mapping[int, tuple[ViT, CNN]],
        images: Tensor,
        names: Sequence[str],
        *,
        records: Mapping[int, tuple[Sequence, Sequence]] | None = None,
        held_out: int = 5_000,
        picture: int = 0,
        right: int = 0,
        down: int = 0,
        seed: int = 0,
        size: int = 0,
    ):
        packed = pack_models(models)
        pictures = pack_pictures(as_images(images), names)
        check_models(packed, pictures)
        sizes = list(models)
        averages = [] if records is None else pack_records(records, sizes)
        super().__init__(
            **dict(zip(MODELS, packed, strict=True)),
            sizes=sizes,
            pictures=pictures,
            averages=averages,
            held_out=held_out,
            picture=picture,
            right=right,
            down=down,
            seed=seed,
            size=size,
        )

    @traitlets.validate("picture", "seed", "size")
    def _counts(self, proposal):
        name = proposal["trait"].name
        counts = {"picture": len(self.pictures), "seed": SEEDS, "size": 2}
        return check_number(name, proposal["value"], counts[name])

    @traitlets.validate("right", "down")
    def _is_near(self, proposal):
        name, pixels = proposal["trait"].name, proposal["value"]
        if abs(pixels) > FARTHEST:
            raise ValueError(
                f"{name} is one of {-FARTHEST} to {FARTHEST}, got {pixels!r}"
            )
        return pixels

    def still(self) -> tuple[str, str]:
        picture = self.pictures[self.picture]
        image = unpack_picture(picture)
        config = self.vit_few["config"]
        size = config["patch_size"]
        grid = patch_grid(config["image_size"], size)
        moved = change(image, size, self.right, self.down, self.seed)
        what = where(self.right, self.down, self.seed)
        svg = drawing(
            420,
            226,
            panel(picture_pixels(image), 0, 200, "the image", grid=grid),
            panel(picture_pixels(moved), 220, 200, what, grid=grid),
        )
        models = {
            "ViT": (self.vit_few, self.vit_many)[self.size],
            "CNN": (self.cnn_few, self.cnn_many)[self.size],
        }
        said = [
            f"the {kind} predicts {answer(payload, moved)} "
            f"(before: {answer(payload, image)})"
            for kind, payload in models.items()
        ]
        words = (
            f"{picture['name']}, {what}. Trained on "
            f"{self.sizes[self.size]:,} images, {' and '.join(said)}."
        )
        return svg, words


def change(
    image: Tensor, patch_size, right: int, down: int, seed: int
) -> Tensor:
    """Move an image, uint8 (c, H, W), and shuffle its patches, as the page
    does."""
    moved = augment.shift(
        image[None], torch.tensor([down]), torch.tensor([right])
    )
    patches = patchify(moved, patch_size)  # (1, n, p1*p2*c)
    order = shuffled(patches.shape[1], seed)
    grid = patch_grid(image.shape[-2:], patch_size)
    return unpatchify(patches[:, order], grid, patch_size)[0]


def where(right: int, down: int, seed: int) -> str:
    """Say what is done to an image: "moved by 3 to the right and 1 up"."""
    ways = ((right, "to the right", "to the left"), (down, "down", "up"))
    steps = [
        f"{abs(by)} {plus if by > 0 else minus}"
        for by, plus, minus in ways
        if by
    ]
    moved = f"moved by {' and '.join(steps)}" if steps else "not moved"
    return moved + (", its patches shuffled" if seed else "")


@torch.no_grad()
def answer(payload: Mapping, image: Tensor) -> str:
    """Say what a model of the page predicts for an image, uint8 (c, H, W)."""
    model = unpack(payload).double()
    shares = model(normalized(model, image))[0].softmax(dim=0)
    return best_answer(payload["config"], shares)


def pack_models(models: Mapping[int, tuple[ViT, CNN]]) -> list[dict]:
    """Pack two pairs for the page, in the order of MODELS."""
    counts = {size: len(both) for size, both in models.items()}
    if list(counts.values()) != [2, 2]:
        raise ValueError(
            "models are two pairs, {training images: (ViT, CNN)}; got "
            f"{counts} of them"
        )
    return [
        packed
        for vit, cnn in models.values()
        for packed in (page_vit(vit), page_cnn(cnn))
    ]


def check_models(
    packed: Sequence[Mapping], pictures: Sequence[Mapping]
) -> None:
    configs = [payload["config"] for payload in packed]
    vit, _, other, _ = configs
    for name in ("image_size", "patch_size"):
        if pair(vit[name]) != pair(other[name]):
            raise ValueError(
                f"both ViTs need one {name}, got {vit[name]} and {other[name]}"
            )
    for name in ("num_classes", "channels", "class_names"):
        found = [config.get(name) for config in configs]
        if any(each != found[0] for each in found):
            raise ValueError(
                f"all four models need the same {name}, got {found}"
            )
    expected = [vit["channels"], *pair(vit["image_size"])]
    if pictures[0]["shape"] != expected:
        raise ValueError(
            f"these models read images of shape {tuple(expected)}, got "
            f"{tuple(pictures[0]['shape'])}"
        )


def pack_records(records: Mapping, sizes: Sequence[int]) -> list[dict]:
    """Turn robustness records into what the page shows: shares, by pixels and
    when shuffled."""
    if list(records) != list(sizes):
        raise ValueError(
            f"records are of {list(sizes)} training images, got {list(records)}"
        )
    return [
        {
            kind: pack_record(each)
            for kind, each in zip(("vit", "cnn"), records[size], strict=True)
        }
        for size in sizes
    ]


def pack_record(records: Sequence[Mapping]) -> dict:
    shifts = {
        r["pixels"]: r["accuracy"] for r in records if r["event"] == "shift"
    }
    shuffle = [r["accuracy"] for r in records if r["event"] == "shuffle"]
    if sorted(shifts) != [*range(FARTHEST + 1)] or len(shuffle) != 1:
        raise ValueError(
            f"expected the accuracy for shifts of 0 to {FARTHEST} pixels and "
            f"for shuffled patches, got shifts of {sorted(shifts)} and "
            f"{len(shuffle)} for shuffled patches"
        )
    return {
        "shift": [round(shifts[pixels], 3) for pixels in sorted(shifts)],
        "shuffle": round(shuffle[0], 3),
    }
