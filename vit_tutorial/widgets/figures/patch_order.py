"""What shuffling its patches does to a ViT, with positions and without
(chapter 4)."""

from collections.abc import Mapping, Sequence

import traitlets
from torch import Tensor

from vit_tutorial.checks import check_number
from vit_tutorial.patches import pair, patch_grid, patchify, unpatchify
from vit_tutorial.vit import ViT
from vit_tutorial.widgets.base import Figure
from vit_tutorial.widgets.packing import page_vit, unpack
from vit_tutorial.widgets.page_model import best_answer, predict
from vit_tutorial.widgets.pictures import (
    as_images,
    pack_pictures,
    unpack_picture,
)
from vit_tutorial.widgets.shuffle import SEEDS, shuffled
from vit_tutorial.widgets.still import drawing, panel, picture_pixels

SHARED = ("image_size", "patch_size", "channels", "num_classes")


class PatchOrder(Figure):
    """Does order matter?

    An image, its patches in a different order, and what two models predict for
    either: one trained with position embeddings, which can be switched off, and
    one trained without.

    Args:
        with_positions, without: two ViTs for the same images, patches and
            classes; the figure computes with their weights in 8 bits (see
            `page_vit`).
        images: uint8 (n, c, H, W), of the models' size.
        names: n of them, what the figure calls the images.
        picture: which image, counted from 0.
        seed: decides the order; 0 leaves the patches in place.
        positions: whether the first model adds its position embeddings.

    Raises ValueError for models, images or numbers that do not fit.
    """

    script = "patch_order"

    with_positions = traitlets.Dict().tag(sync=True, model=True)
    without = traitlets.Dict().tag(sync=True, model=True)
    pictures = traitlets.List().tag(sync=True)
    picture = traitlets.Int().tag(sync=True)
    seed = traitlets.Int(1).tag(sync=True)
    positions = traitlets.Bool(True).tag(sync=True)

    def __init__(
        self,
        with_positions: ViT,
        without: ViT,
        images: Tensor,
        names: Sequence[str],
        *,
        picture: int = 0,
        seed: int = 1,
        positions: bool = True,
    ):
        packed = page_vit(with_positions), page_vit(without)
        configs = [payload["config"] for payload in packed]
        check_models(*configs)
        images = as_images(images)
        check_images(configs[0], images)
        super().__init__(
            with_positions=packed[0],
            without=packed[1],
            pictures=pack_pictures(images, names),
            picture=picture,
            seed=seed,
            positions=positions,
        )

    @traitlets.validate("picture", "seed")
    def _fits(self, proposal):
        name, value = proposal["trait"].name, proposal["value"]
        count = SEEDS if name == "seed" else len(self.pictures)
        return check_number(name, value, count)

    def still(self) -> tuple[str, str]:
        config = self.with_positions["config"]
        size = config["patch_size"]
        rows, columns = grid = patch_grid(config["image_size"], size)
        picture = self.pictures[self.picture]
        image = unpack_picture(picture)
        order = shuffled(rows * columns, self.seed)
        patches = patchify(image[None], size)[:, order]
        moved = unpatchify(patches, grid, size)[0]
        before, after = picture_pixels(image), picture_pixels(moved)
        svg = drawing(
            420,
            226,
            panel(before, 0, 200, "the original image", grid=grid),
            panel(after, 220, 200, "what the models receive", grid=grid),
        )
        off = "" if self.positions else ", now switched off,"
        words = (
            f"{picture['name']} in {rows} by {columns} patches, and the same "
            f"patches {'shuffled' if self.seed else 'in the same order'}. The "
            f"model trained with positions{off} predicts "
            f"{self._answers(self.with_positions, image)}, the one trained "
            f"without them {self._answers(self.without, image)}."
        )
        return svg, words

    def _answers(self, payload: Mapping, image: Tensor) -> str:
        """Tell a model's prediction in this order and in the image's own."""
        vit = unpack(payload).double()
        after, before = (
            predict(vit, image, seed=seed, positions=self.positions)[-1]
            for seed in (self.seed, 0)
        )
        now = best_answer(payload["config"], after)
        return f"{now} (in order: {best_answer(payload['config'], before)})"


def check_models(one: Mapping, other: Mapping) -> None:
    kinds = one["position"], other["position"]
    if kinds[0] == "none" or kinds[1] != "none":
        raise ValueError(
            "the first model is one with position embeddings, the second one "
            f'with position="none", got {kinds[0]!r} and {kinds[1]!r}'
        )
    for name in SHARED:
        if one[name] != other[name]:
            raise ValueError(
                f"both models must have the same {name}, got {one[name]} and "
                f"{other[name]}"
            )


def check_images(config: Mapping, images: Tensor) -> None:
    size = (config["channels"], *pair(config["image_size"]))
    if not isinstance(images, Tensor) or images.shape[1:] != size:
        given = tuple(images.shape) if isinstance(images, Tensor) else images
        raise ValueError(
            f"these models read images of shape (n, "
            f"{', '.join(map(str, size))}), got {given!r:.80}"
        )
