"""What the order of the patches means to a model with positions and to one
without (chapter 4)."""

from collections.abc import Sequence

import traitlets
from torch import Tensor

from vit_tutorial.patches import patch_grid, patchify, unpatchify
from vit_tutorial.vit import ViT
from vit_tutorial.widgets.base import (
    Figure,
    as_images,
    pack_pictures,
    unpack_picture,
)
from vit_tutorial.widgets.page_model import best_answer, check_number, predict
from vit_tutorial.widgets.packing import page_vit, unpack
from vit_tutorial.widgets.shuffle import SEEDS, shuffled
from vit_tutorial.widgets.still import drawing, panel, picture_pixels

SHARED = ("image_size", "patch_size", "channels", "num_classes")


class PatchOrder(Figure):
    """Does order matter?

    A picture, the same patches in another order, and what two models answer to
    either: one trained with position embeddings, which can be switched off, and
    one trained without.

    Args:
        with_positions, without: two ViTs for the same pictures, patches and
            classes; the figure computes with their weights in 8 bits (see
            `page_vit`).
        images: uint8 (n, c, H, W), of the models' size.
        names: n of them, what the figure calls the pictures.
        picture: which one, counted from 0.
        seed: decides the order; 0 is the picture's own.
        positions: whether the first model adds its position embeddings.

    Raises ValueError for models, pictures or numbers that do not fit.
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
        one, other = page_vit(with_positions), page_vit(without)
        for payload, allowed in ((one, True), (other, False)):
            if (payload["config"]["position"] != "none") != allowed:
                raise ValueError(
                    "the first model is one with position embeddings, the second one with "
                    f'position="none", got {one["config"]["position"]!r} and '
                    f"{other['config']['position']!r}"
                )
        for name in SHARED:
            if one["config"][name] != other["config"][name]:
                raise ValueError(
                    f"both models must have the same {name}, got {one['config'][name]} and "
                    f"{other['config'][name]}"
                )
        expected = (one["config"]["channels"], *with_positions.image_size)
        images = as_images(images)
        if (
            not isinstance(images, Tensor)
            or tuple(images.shape[1:]) != expected
        ):
            found = (
                tuple(images.shape)
                if isinstance(images, Tensor)
                else repr(images)
            )
            raise ValueError(
                f"these models read pictures of shape (n, {', '.join(map(str, expected))}), "
                f"got {found}"
            )
        super().__init__(
            with_positions=one,
            without=other,
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
        rows, columns = grid = patch_grid(
            config["image_size"], config["patch_size"]
        )
        image = unpack_picture(self.pictures[self.picture])
        order = shuffled(rows * columns, self.seed)
        patches = patchify(image[None], config["patch_size"])[:, order]
        moved = unpatchify(patches, grid, config["patch_size"])[0]
        svg = drawing(
            420,
            226,
            panel(picture_pixels(image), 0, 200, "as it is", grid=grid),
            panel(
                picture_pixels(moved),
                220,
                200,
                "what the models receive",
                grid=grid,
            ),
        )
        says = []
        for payload in (self.with_positions, self.without):
            vit = unpack(payload).double()
            before, after = (
                best_answer(
                    vit.config,
                    predict(vit, image, seed=seed, positions=self.positions)[
                        -1
                    ],
                )
                for seed in (0, self.seed)
            )
            says.append(f"{after} (as it is: {before})")
        off = "" if self.positions else ", its positions switched off,"
        words = (
            f"{self.pictures[self.picture]['name']} in {rows} by {columns} patches, and the same "
            f"patches {'shuffled' if self.seed else 'in the same order'}. The model trained with "
            f"positions{off} answers {says[0]}, the one trained without {says[1]}."
        )
        return svg, words
