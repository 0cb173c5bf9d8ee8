"""A picture cut into flat vectors, the right way and the way that shreds it
(chapter 2)."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import traitlets
from einops import rearrange
from torch import Tensor

from vit_tutorial.patches import patch_grid, patchify, unpatchify
from vit_tutorial.plots import ACCENT
from vit_tutorial.widgets.base import Figure
from vit_tutorial.widgets.pictures import (
    check_packed,
    pack_picture,
    unpack_picture,
)
from vit_tutorial.widgets.still import drawing, panel, picture_pixels

WAYS = ("rearrange", "view")
MOST_PATCHES, MOST_NUMBERS = 256, 768  # what a reader can still point at


class PatchCutter(Figure):
    """What does the model receive?

    One row of the table (n, p1*p2*c) into which a picture is cut: its numbers
    in their order, where each of them comes from, and the patch that the model
    takes them for. `rearrange` is the right way, `patchify`; `view` cuts the
    memory (c, H, W) into runs of the same length.

    Args:
        image: uint8 (c, H, W).
        patch_size: pixels, one number or (height, width), which tiles the
            picture in at most 256 patches of at most 768 numbers.
        patch: which row of the table, from 0. Without it, that of the patch in
            the middle.
        way: "rearrange" or "view".

    Raises ValueError for a picture, a patch or a way that does not fit.
    """

    script = "cutter"

    picture = traitlets.Dict().tag(sync=True)
    patch_size = traitlets.List(traitlets.Int()).tag(sync=True)
    patch = traitlets.Int().tag(sync=True)
    way = traitlets.Unicode("rearrange").tag(sync=True)

    def __init__(
        self,
        image: Tensor,
        *,
        patch_size: int | Sequence[int] = 8,
        patch: int | None = None,
        way: str = "rearrange",
    ):
        picture = pack_picture(image)
        sides = (
            list(patch_size)
            if isinstance(patch_size, Sequence)
            else [patch_size] * 2
        )
        rows, columns = check_sizes(picture, sides)
        if patch is None:
            patch = rows // 2 * columns + columns // 2
        check_patch((rows, columns), patch)
        check_way(way)
        super().__init__(
            picture=picture, patch_size=sides, patch=patch, way=way
        )

    @traitlets.validate("picture", "patch_size")
    def _tiles(self, proposal):
        if proposal["trait"].name == "picture":
            check_packed("picture", [proposal["value"]])
        sizes = {"picture": self.picture, "patch_size": self.patch_size}
        grid = check_sizes(
            **sizes | {proposal["trait"].name: proposal["value"]}
        )
        check_patch(grid, self.patch)
        return proposal["value"]

    @traitlets.validate("patch")
    def _is_there(self, proposal):
        check_patch(
            check_sizes(self.picture, self.patch_size), proposal["value"]
        )
        return proposal["value"]

    @traitlets.validate("way")
    def _is_a_way(self, proposal):
        check_way(proposal["value"])
        return proposal["value"]

    def table(self) -> Tensor:
        """What the model receives: uint8 (n, p1*p2*c), cut in the way
        chosen."""
        image = unpack_picture(self.picture)
        right = patchify(image[None], tuple(self.patch_size))[0]
        return right if self.way == "rearrange" else image.reshape(right.shape)

    def still(self) -> tuple[str, str]:
        image = unpack_picture(self.picture)
        channels, height, width = image.shape
        p1, p2 = self.patch_size
        rows, columns = grid = check_sizes(self.picture, self.patch_size)
        row = self.table()[self.patch]
        taken = unpatchify(row[None, None], (1, 1), (p1, p2))[0]
        colours = np.zeros(
            (len(row), 3), np.uint8
        )  # each number in the channel it comes from
        outline = ""
        if self.way == "rearrange" or channels == 1:
            channel = np.arange(len(row)) % channels
        else:
            channel = source(self.patch, len(row)) // (height * width)
        for c in range(3):
            seen = (channel == c) | (channels == 1)
            colours[seen, c] = row.numpy()[seen]
        if self.way == "view":
            high = 200 / height
            for line in np.unique(
                source(self.patch, len(row)) // width % height
            ):
                outline += (
                    f'<rect x="0" y="{22 + line * high:.1f}" width="200" height="{high:.1f}" '
                    f'fill="none" stroke="{ACCENT}"/>'
                )
        name = f"row {self.patch + 1} of {rows * columns}"
        selected = self.patch if self.way == "rearrange" else None
        numbers = rearrange(colours, "(p1 p2c) rgb -> p1 p2c rgb", p1=p1)
        svg = drawing(
            640,
            226,
            panel(
                picture_pixels(image),
                0,
                200,
                "the picture",
                grid=grid,
                selected=selected,
            ),
            outline,
            panel(picture_pixels(taken), 220, 200, f"{name}, as a patch"),
            panel(numbers, 440, 200, f"its {len(row)} numbers, in order"),
        )
        words = (
            f"A picture in {rows} by {columns} patches of {p1} by {p2} pixels, cut by {self.way}. "
            f"{name.capitalize()} has {len(row)} numbers and begins with "
            f"{', '.join(str(number) for number in row[:6].tolist())}."
        )
        return svg, words


def source(patch: int, length: int) -> np.ndarray:
    """Number the places in memory that a row of `view`'s table holds."""
    return np.arange(patch * length, (patch + 1) * length)


def check_sizes(picture: Mapping, patch_size: Sequence[int]) -> tuple[int, int]:
    """Return the grid, (rows, columns)."""
    channels, *sides = picture["shape"]
    grid = patch_grid(tuple(sides), tuple(patch_size))
    length = math.prod(patch_size) * channels
    if (
        math.prod(grid) > MOST_PATCHES
        or length > MOST_NUMBERS
        or not math.prod(grid)
    ):
        raise ValueError(
            f"this figure shows 1 to {MOST_PATCHES} patches of at most {MOST_NUMBERS} numbers; "
            f"{sides[0]} x {sides[1]} pixels in patches of {patch_size[0]} x {patch_size[1]} make "
            f"{math.prod(grid)} of {length}"
        )
    return grid


def check_patch(grid: tuple[int, int], patch: int) -> None:
    if patch not in range(math.prod(grid)):
        raise ValueError(
            f"patch is one of 0 to {math.prod(grid) - 1}, got {patch!r}"
        )


def check_way(way: str) -> None:
    if way not in WAYS:
        raise ValueError(f"way is one of {', '.join(WAYS)}, got {way!r}")
