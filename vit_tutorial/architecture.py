"""The drawing of the whole model in the book's introduction.

From top to bottom: the image and its patches, the tokens, the encoder, and what
is read off the class token. The drawing is 10.4 units wide and 11.2 high.
"""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from einops import rearrange
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import (
    Circle,
    FancyArrowPatch,
    FancyBboxPatch,
    Rectangle,
)

from vit_tutorial.checks import check_sizes, check_tensor
from vit_tutorial.patches import patch_grid, patchify
from vit_tutorial.plots import ACCENT, BLUE, INK, pixels_of

CENTRED: dict[str, Any] = {"ha": "center", "va": "center"}


def draw_architecture(image, patch_size: int, answer: str) -> Figure:
    """Draw the whole model on one image: patches, tokens, encoder, class.

    Args:
        image: a tensor (c, H, W), few patches (9 read best).
        patch_size: pixels.
        answer: the class name at the end, the image's label.
    """
    check_tensor(image, "images")
    (patch_size,) = check_sizes(patch_size=patch_size)
    pixels = pixels_of(image)
    _, columns = patch_grid(pixels.shape[:2], patch_size)
    patches = np.asarray(patchify(image[None], patch_size)[0])
    p = patch_size
    patches = rearrange(patches, "n (p1 p2 c) -> n p1 p2 c", p1=p, p2=p)
    figure, ax = plt.subplots(figsize=(6.4, 7.0))
    ax.axis("off")
    draw_patches(ax, pixels, patches, columns)
    draw_tokens(ax, len(patches))
    draw_encoder(ax)
    draw_readout(ax, answer)
    ax.set(xlim=(0.1, 10.5), ylim=(0.7, 11.9), aspect="equal")
    return figure


def draw_patches(ax: Axes, pixels, patches, columns: int) -> None:
    """Draw the image, (H, W, c), and beside it its patches, (n, p, p, c)."""
    ax.imshow(pixels, extent=(0.6, 3.3, 9.1, 11.8), cmap="gray")
    height, width, _ = pixels.shape
    ax.text(1.95, 8.6, f"image {height} × {width}", ha="center")
    draw_arrow(ax, (3.6, 10.45), (5.0, 10.45))
    size, gap = 2.4 / columns, 0.3
    for index, patch in enumerate(patches):
        row, column = divmod(index, columns)
        x, y = 5.3 + column * (size + gap), 11.8 - size - row * (size + gap / 2)
        extent = (x, x + size, y, y + size)
        ax.imshow(patch, extent=extent, cmap="gray", vmin=0, vmax=pixels.max())
        number = str(index + 1)
        ax.text(x + size + 0.04, y + size / 2, number, fontsize=9, va="center")
    n, p = patches.shape[:2]
    ax.text(6.8, 8.6, f"{n} patches of {p} × {p}", ha="center")


def draw_tokens(ax: Axes, n: int) -> None:
    """Draw n projected patches, the class token first, a position for each."""
    draw_arrow(ax, (6.8, 8.5), (6.8, 8.17))
    projection = "linear projection of each flattened patch"
    draw_box(ax, (1.5, 7.5), 8.8, 0.65, projection)
    for token in range(n + 1):
        x = 0.75 + token * 9.1 / n
        if token == 0:
            draw_class_token(ax, x, 6.35)
        else:
            draw_arrow(ax, (x, 7.45), (x, 6.85))
            ax.add_patch(Rectangle((x - 0.22, 5.95), 0.44, 0.8, color=BLUE))
        ax.text(x, 5.6, f"+ p{token}", **CENTRED, fontsize=9)
        draw_arrow(ax, (x, 5.35), (x, 4.95))


def draw_encoder(ax: Axes) -> None:
    """Draw one block of the encoder, with its two skip connections."""
    draw_box(ax, (0.3, 2.4), 10.0, 2.5, "")
    draw_box(ax, (0.8, 3.05), 2.1, 1.1, "norm →\nattention", BLUE)
    draw_box(ax, (5.1, 3.05), 2.1, 1.1, "norm →\nMLP", BLUE)
    for x, start in ((4.0, 2.9), (8.3, 7.2)):
        ring = {"fill": False, "edgecolor": INK, "linewidth": 1.4}
        ax.add_patch(Circle((x, 3.6), 0.22, **ring))
        ax.text(x, 3.6, "+", **CENTRED)
        draw_arrow(ax, (start, 3.6), (x - 0.22, 3.6))
    draw_arrow(ax, (4.22, 3.6), (5.1, 3.6))
    for left, right in ((0.55, 4.0), (4.6, 8.3)):  # the skip connections
        ax.plot([left, left, right], [3.6, 4.5, 4.5], color=INK, linewidth=1.2)
        draw_arrow(ax, (right, 4.5), (right, 3.82))
    ax.plot([0.3, 0.8], [3.6, 3.6], color=INK, linewidth=1.2)
    draw_arrow(ax, (8.52, 3.6), (9.1, 3.6))
    ax.text(9.15, 3.6, "L times", ha="left", va="center", fontsize=10)
    ax.text(5.3, 2.65, "Transformer encoder", **CENTRED, fontsize=10)


def draw_readout(ax: Axes, answer: str) -> None:
    """Draw the way from the encoder's class token to the class."""
    draw_arrow(ax, (0.75, 2.4), (0.75, 1.65))
    draw_class_token(ax, 0.75, 1.25)
    draw_arrow(ax, (1.15, 1.25), (2.0, 1.25))
    draw_box(ax, (2.0, 0.85), 3.0, 0.8, "norm → linear")
    draw_arrow(ax, (5.0, 1.25), (5.9, 1.25))
    ax.text(
        6.1, 1.25, answer, ha="left", va="center", fontsize=13, color=ACCENT
    )


def draw_class_token(ax: Axes, x: float, y: float) -> None:
    ax.add_patch(Circle((x, y), 0.36, color=ACCENT))
    ax.text(x, y, "class", **CENTRED, color="white", fontsize=8)


def draw_arrow(ax: Axes, start, end) -> None:
    style: dict[str, Any] = {"arrowstyle": "-|>", "mutation_scale": 12}
    style |= {"linewidth": 1.2, "color": INK, "shrinkA": 0, "shrinkB": 0}
    ax.add_patch(FancyArrowPatch(start, end, **style))


def draw_box(ax: Axes, corner, width, height, text: str, colour=INK) -> None:
    box = "round,pad=0,rounding_size=0.15"
    style: dict[str, Any] = {"boxstyle": box, "fill": False}
    style |= {"edgecolor": colour, "linewidth": 1.6}
    ax.add_patch(FancyBboxPatch(corner, width, height, **style))
    x, y = corner
    ax.text(x + width / 2, y + height / 2, text, **CENTRED)
