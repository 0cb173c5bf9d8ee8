"""A picture moved and shuffled, read by a ViT and by a CNN (chapter 8)."""

from collections.abc import Mapping, Sequence

import torch
import traitlets
from torch import Tensor

from vit_tutorial import augment
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
    """Who minds a shift?

    A picture is moved by up to 4 pixels, its patches are shuffled if one likes,
    and a ViT and a CNN say what they see: a pair that was trained on few
    pictures, and a pair that was trained on many.

    Args:
        models: {training pictures: (ViT, CNN)}, two sizes; all for the same
            pictures and classes, both ViTs with the same patches. The figure
            computes with their weights in 8 bits.
        images: uint8 (n, c, H, W), of the models' size.
        names: what each picture is called.
        records: what `experiments.measure_robustness` found for each model:
            {training pictures: (the ViT's, the CNN's)}. Without it the figure
            tells of one picture only.
        held_out: how many pictures that was measured on.
        picture, size: which picture, and which pair (0 or 1), counted from 0.
        right, down: pixels, from -4 to 4; black comes in at the edges, as in
            `augment.shift`.
        seed: of the patches' order, below 1,000; 0 leaves it as it is.

    Raises ValueError for models, pictures, records or numbers that do not fit.
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
        records: Mapping[int, tuple[Sequence[Mapping], Sequence[Mapping]]]
        | None = None,
        held_out: int = 5_000,
        picture: int = 0,
        right: int = 0,
        down: int = 0,
        seed: int = 0,
        size: int = 0,
    ):
        if len(models) != 2 or any(len(both) != 2 for both in models.values()):
            raise ValueError(
                "models are two pairs, {training pictures: (ViT, CNN)}; got "
                f"{ {count: len(both) for count, both in models.items()} } of them"
            )
        packed = [pack(model) for both in models.values() for pack, model in zip(
            (page_vit, page_cnn), both, strict=True)]  # fmt: skip
        pictures = pack_pictures(as_images(images), names)
        check_models(packed, pictures)
        state = {
            "picture": picture,
            "right": right,
            "down": down,
            "seed": seed,
            "size": size,
        }
        for name, value in state.items():
            check_state(name, value, len(pictures))
        super().__init__(
            **dict(zip(MODELS, packed, strict=True)),
            sizes=list(models),
            pictures=pictures,
            averages=[]
            if records is None
            else pack_records(records, list(models)),
            held_out=held_out,
            **state,
        )

    @traitlets.validate("picture", "right", "down", "seed", "size")
    def _fits(self, proposal):
        check_state(
            proposal["trait"].name, proposal["value"], len(self.pictures)
        )
        return proposal["value"]

    def still(self) -> tuple[str, str]:
        picture = self.pictures[self.picture]
        image = unpack_picture(picture)
        config = self.vit_few["config"]
        grid = patch_grid(config["image_size"], config["patch_size"])
        moved = change(
            image, config["patch_size"], self.right, self.down, self.seed
        )
        what = where(self.right, self.down, self.seed)
        svg = drawing(
            420,
            226,
            panel(picture_pixels(image), 0, 200, "the picture", grid=grid),
            panel(picture_pixels(moved), 220, 200, what, grid=grid),
        )
        said = []
        for kind in ("vit", "cnn"):
            payload = getattr(self, f"{kind}_{('few', 'many')[self.size]}")
            before, after = (
                answer(payload, pixels) for pixels in (image, moved)
            )
            said.append(
                f"the {kind.upper().replace('VIT', 'ViT')} says {after} (before: {before})"
            )
        words = (
            f"{picture['name']}: the picture, and the same {what}. Trained on "
            f"{self.sizes[self.size]:,} pictures, {' and '.join(said)}."
        )
        return svg, words


def change(
    image: Tensor, patch_size, right: int, down: int, seed: int
) -> Tensor:
    """Move a picture, uint8 (c, H, W), then shuffle its patches, as the page
    does."""
    moved = augment.shift(
        image[None], torch.tensor([down]), torch.tensor([right])
    )
    patches = patchify(moved, patch_size)
    order = shuffled(patches.shape[1], seed)
    return unpatchify(
        patches[:, order], patch_grid(image.shape[-2:], patch_size), patch_size
    )[0]


def where(right: int, down: int, seed: int) -> str:
    """Say what is done to a picture: "moved by 3 to the right and 1 up"."""
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
    """Say what a model of the page takes a picture for, uint8 (c, H, W)."""
    model = unpack(payload).double()
    shares = model(normalized(model, image))[0].softmax(dim=0)
    return best_answer(payload["config"], shares)


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
            f"these models read pictures of shape {tuple(expected)}, got "
            f"{tuple(pictures[0]['shape'])}"
        )


def pack_records(records: Mapping, sizes: Sequence[int]) -> list[dict]:
    """Turn robustness records into what the page shows: shares, by pixels and
    when shuffled."""
    if list(records) != list(sizes):
        raise ValueError(
            f"records are of {list(sizes)} training pictures, got {list(records)}"
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
            f"expected the accuracy for shifts of 0 to {FARTHEST} pixels and for shuffled patches, "
            f"got shifts of {sorted(shifts)} and {len(shuffle)} for shuffled patches"
        )
    return {
        "shift": [round(shifts[pixels], 3) for pixels in sorted(shifts)],
        "shuffle": round(shuffle[0], 3),
    }


def check_state(name: str, value: int, pictures: int) -> None:
    low, high = {
        "picture": (0, pictures - 1),
        "size": (0, 1),
        "seed": (0, SEEDS - 1),
    }.get(name, (-FARTHEST, FARTHEST))
    if value not in range(low, high + 1):
        raise ValueError(f"{name} is one of {low} to {high}, got {value!r}")
