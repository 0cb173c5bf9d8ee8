"""What a patch size costs, in tokens, scores, operations and bytes
(chapter 1)."""

import math
from numbers import Integral

import traitlets
from torch import Tensor

from vit_tutorial.patches import patch_grid
from vit_tutorial.plots import ACCENT, BLUE, INK
from vit_tutorial.widgets.base import Figure
from vit_tutorial.widgets.pictures import as_image, pack_picture, unpack_picture
from vit_tutorial.widgets.still import drawing, panel, picture_pixels, text

DIM, HEADS = 768, 12  # of B/16
REFERENCE = 196  # tokens: patches of 16 pixels in an image of 224
LARGEST_IMAGE = 1024  # pixels: beyond, a double does not hold every count
LARGEST_PACKED = 64  # pixels of the image that travels
FINEST_GRID = 64  # patches to a side; finer lines would hide the image

WIDEST = 16 * REFERENCE  # tokens whose table of scores fills its room

COSTS = [  # a key of `layer_cost`, what the figure calls it, its colour
    ("tokens", "tokens", INK),
    ("each", "operations on tokens", INK),
    ("scores", "scores of one head", BLUE),
    ("pairs", "operations on pairs", BLUE),
    ("bytes", f"scores of {HEADS} heads", BLUE),
]


class PatchCost(Figure):
    """What does a finer patch cost?

    An image under the grid of its patches, the table of its n × n attention
    scores drawn to scale, and the cost of one layer of B/16 (D = 768, 12 heads,
    MLP of 3,072) beside that of patches of 16 pixels in an image of 224. See
    `layer_cost`.

    Args:
        image: uint8 (c, S, S), any square; of a large one every k-th pixel is
            kept, at most 64 to a side, since it is only looked at.
        image_size: pixels to a side that the image is taken to have, at most
            1,024.
        patch_size: pixels to a side, a divisor of `image_size`; 1 makes every
            pixel a token.

    Raises ValueError for an image that is not square and for sizes that do not
    fit.
    """

    script = "patch_cost"

    picture = traitlets.Dict().tag(sync=True)
    image_size = traitlets.Int(224).tag(sync=True)
    patch_size = traitlets.Int(8).tag(sync=True)

    def __init__(
        self, image: Tensor, *, image_size: int = 224, patch_size: int = 8
    ):
        check_sizes(image_size=image_size, patch_size=patch_size)
        super().__init__(
            picture=pack_small(image),
            image_size=image_size,
            patch_size=patch_size,
        )

    @traitlets.validate("image_size", "patch_size")
    def _fits(self, proposal):
        sizes = {"image_size": self.image_size, "patch_size": self.patch_size}
        check_sizes(**sizes | {proposal["trait"].name: proposal["value"]})
        return proposal["value"]

    @property
    def tokens(self) -> int:
        """The number of patches; no class token is counted."""
        return math.prod(patch_grid(self.image_size, self.patch_size))

    def still(self) -> tuple[str, str]:
        now, reference = layer_cost(self.tokens), layer_cost(REFERENCE)
        ratios = {key: now[key] / reference[key] for key in now}
        side = self.image_size // self.patch_size
        grid = (side, side) if side <= FINEST_GRID else None
        pixels = picture_pixels(unpack_picture(self.picture))
        title = f"patches of {self.patch_size} × {self.patch_size}"
        svg = drawing(
            640,
            226,
            panel(pixels, 0, 200, title, grid=grid),
            table_of_scores(now["tokens"]),
            *(
                line(row, f"{name}: × {times(ratios[key])}", colour)
                for row, (key, name, colour) in enumerate(COSTS)
            ),
        )
        words = (
            f"An image of {self.image_size} × {self.image_size} pixels in "
            f"{title}: {now['tokens']:,} tokens, {times(ratios['tokens'])} "
            f"times as many as with 16-pixel patches at 224, and "
            f"{times(ratios['scores'])} times the attention scores."
        )
        return svg, words


def layer_cost(tokens: int) -> dict[str, int]:
    """Count what one layer of B/16 takes for so many tokens, on paper.

    Returns the `tokens` n; the `scores` of one head, n²; the operations,
    additions counted beside multiplications, for every pair (`pairs`, 4n²D: the
    two products of attention) and for every token (`each`, 8nD² for the
    projections and 16nD² for the MLP); and the `bytes` of all heads' scores as
    float32, where they are written down. Norms, softmax and biases are left
    out.
    """
    return {
        "tokens": tokens,
        "scores": tokens**2,
        "pairs": 4 * tokens**2 * DIM,
        "each": 24 * tokens * DIM**2,
        "bytes": 4 * HEADS * tokens**2,
    }


def table_of_scores(tokens: int) -> str:
    """Draw tokens along two sides of the table of their scores, to scale, and
    outline the reference's table on it."""
    left, top, room = 228, 30, 192  # the strips of tokens lie before both
    scale = room / max(WIDEST, tokens)
    side, unit = max(1, tokens * scale), REFERENCE * scale
    return (
        text(220, 14, f"{tokens:,} × {tokens:,} scores")
        + f'<path d="M{left} {top}h{room}v{room}h-{room}z" fill="none" '
        f'stroke="{INK}" stroke-opacity="0.4"/>'
        f'<path d="M{left} {top - 8}h{side:.1f}v6h-{side:.1f}z'
        f'M{left - 8} {top}v{side:.1f}h6v-{side:.1f}z" fill="{INK}"/>'
        f'<rect x="{left}" y="{top}" width="{side:.1f}" height="{side:.1f}" '
        f'fill="{BLUE}"/>'
        f'<rect x="{left}" y="{top}" width="{unit:.1f}" height="{unit:.1f}" '
        f'fill="none" stroke="{ACCENT}" stroke-width="2"/>'
    )


def line(row: int, words: str, colour: str) -> str:
    """Write one cost, beside a mark in the colour of what it grows with."""
    y = 44 + 36 * row
    return (
        f'<path d="M438 {y - 13}v18" stroke="{colour}" stroke-width="4"/>'
        + text(448, y, words)
    )


def times(ratio: float) -> str:
    """Write how many times: whole where it is whole or large, else in three
    digits that count."""
    if ratio >= 100 or ratio == round(ratio):
        return f"{round(ratio):,}"
    decimals = 2 - math.floor(math.log10(ratio))
    return f"{ratio:.{decimals}f}".rstrip("0").rstrip(".")


def pack_small(image: Tensor) -> dict:
    """Pack every k-th pixel of a square image, so that at most 64 to a side
    travel.

    Raises ValueError for an image that is not square.
    """
    image = as_image(image)
    pack_picture(image)  # refuses what is no image
    height, width = image.shape[1:]
    if height != width or not height:
        raise ValueError(
            f"this figure needs a square image, got {height} x {width} "
            "pixels: crop it"
        )
    step = -(-height // LARGEST_PACKED)
    return pack_picture(image[:, ::step, ::step])


def check_sizes(image_size: int, patch_size: int) -> None:
    for name, value in [("image_size", image_size), ("patch_size", patch_size)]:
        if not isinstance(value, Integral) or not 1 <= value <= LARGEST_IMAGE:
            raise ValueError(
                f"{name} is a whole number of pixels from 1 to "
                f"{LARGEST_IMAGE}, got {value!r}"
            )
    patch_grid(image_size, patch_size)
