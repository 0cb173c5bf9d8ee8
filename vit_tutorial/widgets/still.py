"""Still images of figures, for readers without JavaScript.

They are small SVGs. matplotlib's PNGs differ from version to version, and a
notebook's stored text is compared to the letter, so these are written by hand,
the pixels in them as uncompressed bitmaps.
"""

import re
import struct
from base64 import b64encode
from collections.abc import Iterable
from xml.sax.saxutils import escape

import numpy as np
from einops import rearrange
from matplotlib import colormaps
from torch import Tensor

from vit_tutorial.plots import ACCENT, ATTENTION, INK, SIGNED

# Characters that XML cannot hold.
UNSPEAKABLE = re.compile(r"[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# Few colours, so that a rounding error on another CPU changes none.
LEVELS = 32  # of attention
SIGNED_LEVELS = 16  # of signed values, on either side of zero
TOP = 22  # of a panel's square, below its title


def speakable(text: str) -> str:
    """Replace characters that no document may hold, such as NUL."""
    return UNSPEAKABLE.sub("\ufffd", str(text))


def written(text: str) -> str:
    """Write any text into an SVG, so that it stays text."""
    return escape(speakable(text))


def bitmap(rgb: np.ndarray) -> str:
    """Write pixels, uint8 (H, W, 3), as the address of a bitmap (BMP)."""
    height, width, _ = rgb.shape
    padded = -(-3 * width // 4) * 4  # rows fill whole words
    rows = np.zeros((height, padded), np.uint8)
    upside_down = rgb[::-1, :, ::-1]  # rows from below, blue first
    rows[:, : 3 * width] = rearrange(upside_down, "h w rgb -> h (w rgb)")
    header = struct.pack("<2sIHHI", b"BM", 54 + rows.size, 0, 0, 54)
    header += struct.pack(
        "<IiiHHIIiiII", 40, width, height, 1, 24, 0, rows.size, 0, 0, 0, 0
    )
    data = b64encode(header + rows.tobytes()).decode()
    return f"data:image/bmp;base64,{data}"


def picture_pixels(image: Tensor) -> np.ndarray:
    """Turn an image, uint8 (1 or 3, H, W), into red, green and blue, (H, W,
    3)."""
    pixels = rearrange(image.numpy(), "c h w -> h w c")
    return np.broadcast_to(pixels, (*pixels.shape[:2], 3))


def attention_pixels(weights: Tensor) -> np.ndarray:
    """Colour attention, (rows, columns), from 0 to its highest."""
    shares = weights.double().numpy() / max(weights.max().item(), 1e-12)
    levels = np.round(shares * (LEVELS - 1)) / (LEVELS - 1)
    return np.round(colormaps[ATTENTION](levels)[..., :3] * 255).astype(
        np.uint8
    )


def signed_pixels(values: Tensor) -> np.ndarray:
    """Colour numbers from -1 to 1, (rows, columns); NaN becomes white."""
    levels = np.round(values.numpy() * SIGNED_LEVELS) / SIGNED_LEVELS
    colours = SIGNED(np.nan_to_num(levels) / 2 + 0.5)[..., :3]
    colours[np.isnan(levels)] = 1
    return np.round(colours * 255).astype(np.uint8)


def text(x: int, y: int, words: str) -> str:
    """Draw a line of text that begins at (x, y)."""
    return (
        f'<text x="{x}" y="{y}" font-family="sans-serif" font-size="12" '
        f'fill="{INK}">{written(words)}</text>'
    )


def square(rgb: np.ndarray, x: int, y: int, side: int) -> str:
    """Draw pixels as a square."""
    return (
        f'<image x="{x}" y="{y}" width="{side}" height="{side}" '
        'preserveAspectRatio="none" style="image-rendering:pixelated" '
        f'href="{bitmap(rgb)}"/>'
    )


def panel(
    rgb: np.ndarray,
    x: int,
    side: int,
    title: str,
    *,
    grid: tuple[int, int] | None = None,
    selected: int | None = None,
) -> str:
    """Draw pixels as a square with a title above it.

    Args:
        rgb: uint8 (H, W, 3).
        x, side: where the square begins, and its size, in the SVG's pixels.
        grid: (rows, columns) of patches, whose borders are drawn.
        selected: a patch, row by row, that is marked.
    """
    parts = [text(x, 14, title), square(rgb, x, TOP, side)]
    if grid is not None:
        rows, columns = grid
        high, wide = side / rows, side / columns
        lines = [f"M{x} {TOP + i * high:.1f}h{side}" for i in range(rows + 1)]
        lines += [
            f"M{x + i * wide:.1f} {TOP}v{side}" for i in range(columns + 1)
        ]
        parts.append(
            f'<path d="{"".join(lines)}" stroke="{INK}" stroke-width="0.8"/>'
        )
        if selected is not None:
            row, column = divmod(selected, columns)
            box = (
                f'<rect x="{x + column * wide:.1f}" y="{TOP + row * high:.1f}" '
                f'width="{wide:.1f}" height="{high:.1f}" fill="none"'
            )
            parts.append(f'{box} stroke="black" stroke-width="5"/>')
            parts.append(f'{box} stroke="{ACCENT}" stroke-width="2.5"/>')
    return "".join(parts)


def hatching(
    grid: tuple[int, int], dropped: Iterable[int], x: int, side: int
) -> str:
    """Draw dropped patches onto a panel: grey, with a stroke across."""
    rows, columns = grid
    high, wide = side / rows, side / columns
    parts = []
    for place in dropped:
        row, column = divmod(place, columns)
        left, top = x + column * wide, TOP + row * high
        parts.append(
            f'<path d="M{left:.1f} {top:.1f}h{wide:.1f}v{high:.1f}'
            f'h-{wide:.1f}z" fill="#d4d7da"/>'
            f'<path d="M{left:.1f} {top + high:.1f}l{wide:.1f} -{high:.1f}" '
            f'stroke="{INK}"/>'
        )
    return "".join(parts)


def drawing(width: int, height: int, *parts: str) -> str:
    """Put parts into one SVG."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" '
        f'height="{height}" viewBox="0 0 {width} {height}">{"".join(parts)}'
        "</svg>"
    )
