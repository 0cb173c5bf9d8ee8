"""An image cut into flat vectors, the right way and a way that shreds it
(chapter 2)."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import traitlets
from einops import rearrange
from torch import Tensor

from vit_tutorial.checks import check_choice, check_number
from vit_tutorial.patches import patch_grid, patchify, unpatchify
from vit_tutorial.plots import ACCENT
from vit_tutorial.widgets.base import Figure
from vit_tutorial.widgets.pictures import pack_picture, unpack_picture
from vit_tutorial.widgets.still import drawing, panel, picture_pixels

WAYS = ("rearrange", "view")
MOST_PATCHES, MOST_NUMBERS = 256, 768  # what a reader can still point at


class PatchCutter(Figure):
    """What does the model receive?

    One row of the table (n, p1*p2*c) into which an image is cut: its numbers in
    their order, where each of them comes from, and the patch that the model
    takes them for. `rearrange` is the right way, `patchify`; `view` cuts the
    memory (c, H, W) into runs of the same length.

    Args:
        image: uint8 (c, H, W).
        patch_size: pixels, one number or (height, width), which tiles the image
            in at most 256 patches of at most 768 numbers.
        patch: which row of the table, from 0. Without it, that of the patch in
            the middle.
        way: "rearrange" or "view".

    Raises ValueError for an image, a patch or a way that does not fit.
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
        is_pair = isinstance(patch_size, Sequence)
        sides = list(patch_size) if is_pair else [patch_size, patch_size]
        rows, columns = cut_grid(picture, sides)
        if patch is None:
            patch = rows // 2 * columns + columns // 2
        super().__init__(
            picture=picture, patch_size=sides, patch=patch, way=way
        )

    @traitlets.validate("patch")
    def _is_there(self, proposal):
        rows, columns = cut_grid(self.picture, self.patch_size)
        return check_number("patch", proposal["value"], rows * columns)

    @traitlets.validate("way")
    def _is_a_way(self, proposal):
        check_choice("way", proposal["value"], WAYS)
        return proposal["value"]

    def table(self) -> Tensor:
        """Return what the model receives: uint8 (n, p1*p2*c), cut this way."""
        image = unpack_picture(self.picture)
        right = patchify(image[None], tuple(self.patch_size))[0]
        return right if self.way == "rearrange" else image.reshape(right.shape)

    def still(self) -> tuple[str, str]:
        image = unpack_picture(self.picture)
        p1, p2 = self.patch_size
        rows, columns = grid = cut_grid(self.picture, self.patch_size)
        row = self.table()[self.patch]
        name = f"row {self.patch + 1} of {rows * columns}"
        selected, outline = self.patch, ""
        if self.way == "view":
            lines = self._sources() // image.shape[2] % image.shape[1]
            selected, outline = None, outlined(lines, image.shape[1])
        taken = unpatchify(row[None, None], (1, 1), (p1, p2))[0]
        numbers = rearrange(
            self._coloured(row), "(p1 p2c) rgb -> p1 p2c rgb", p1=p1
        )
        pixels = picture_pixels(image)
        svg = drawing(
            640,
            226,
            panel(pixels, 0, 200, "the image", grid=grid, selected=selected),
            outline,
            panel(picture_pixels(taken), 220, 200, f"{name}, as a patch"),
            panel(numbers, 440, 200, f"its {len(row)} values, in order"),
        )
        words = (
            f"An image in {rows} by {columns} patches of {p1} by {p2} pixels, "
            f"cut by {self.way}. {name.capitalize()} has {len(row)} values "
            f"and begins with {', '.join(map(str, row[:6].tolist()))}."
        )
        return svg, words

    def _sources(self) -> np.ndarray:
        """Number the places in memory that this row of `view`'s table holds."""
        length = self.table().shape[1]
        return np.arange(self.patch * length, (self.patch + 1) * length)

    def _coloured(self, row: Tensor) -> np.ndarray:
        """Show each number in the channel it comes from: uint8 (p1*p2*c, 3)."""
        channels, height, width = self.picture["shape"]
        numbers = row.numpy()[:, None]
        if channels == 1:
            return np.repeat(numbers, 3, axis=1)
        if self.way == "rearrange":
            channel = np.arange(len(row)) % channels
        else:
            channel = self._sources() // (height * width)
        return numbers * (channel[:, None] == np.arange(3))


def outlined(lines: np.ndarray, height: int) -> str:
    """Frame whole lines of pixels on a panel that shows `height` of them."""
    high = 200 / height
    return "".join(
        f'<rect x="0" y="{22 + line * high:.1f}" width="200" '
        f'height="{high:.1f}" fill="none" stroke="{ACCENT}"/>'
        for line in np.unique(lines)
    )


def cut_grid(picture: Mapping, patch_size: Sequence[int]) -> tuple[int, int]:
    """Return the grid that an image is cut into, (rows, columns).

    Raises ValueError for patches that do not tile the image, and for more than
    this figure can show.
    """
    channels, height, width = picture["shape"]
    p1, p2 = patch_size
    grid = patch_grid((height, width), (p1, p2))
    patches, length = math.prod(grid), p1 * p2 * channels
    if not 1 <= patches <= MOST_PATCHES or length > MOST_NUMBERS:
        raise ValueError(
            f"this figure shows 1 to {MOST_PATCHES} patches of at most "
            f"{MOST_NUMBERS} values; {height} x {width} pixels in patches of "
            f"{p1} x {p2} make {patches} of {length}"
        )
    return grid
