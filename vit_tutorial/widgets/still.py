"""Pictures of figures, for readers without JavaScript: small SVGs that are the
same everywhere.

matplotlib's PNGs differ from version to version, and a notebook's stored text
is compared to the letter. So these are written by hand, the pixels in them as
uncompressed bitmaps.
"""

import re
import struct
from base64 import b64encode
from collections.abc import Iterable
from xml.sax.saxutils import escape

import numpy as np
from matplotlib import colormaps
from torch import Tensor

from vit_tutorial.plots import ACCENT, ATTENTION, INK, SIGNED

UNSPEAKABLE = re.compile(
    r"[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
)  # not in XML
LEVELS = 32  # of attention's colours: a rounding error on another CPU then changes none
SIGNED_LEVELS = 16  # the same for signed values, on either side of zero


def speakable(text: str) -> str:
    """Put a mark in place of characters that no document may hold, such as
    NUL."""
    return UNSPEAKABLE.sub("\ufffd", str(text))


def written(text: str) -> str:
    """Write any text into an SVG, so that it stays text."""
    return escape(speakable(text))


def bitmap(rgb: np.ndarray) -> str:
    """Write pixels, uint8 (H, W, 3), as the address of an uncompressed bitmap
    (BMP)."""
    height, width, _ = rgb.shape
    row = np.zeros(
        (height, -(-3 * width // 4) * 4), np.uint8
    )  # rows fill whole words
    row[:, : 3 * width] = rgb[::-1, :, ::-1].reshape(
        height, -1
    )  # from below, blue first
    header = struct.pack("<2sIHHI", b"BM", 54 + row.size, 0, 0, 54)
    header += struct.pack(
        "<IiiHHIIiiII", 40, width, height, 1, 24, 0, row.size, 0, 0, 0, 0
    )
    return "data:image/bmp;base64," + b64encode(header + row.tobytes()).decode()


def picture_pixels(image: Tensor) -> np.ndarray:
    """Turn a picture, uint8 (1 or 3, H, W), into red, green and blue."""
    return np.broadcast_to(
        np.moveaxis(image.numpy(), 0, -1), (*image.shape[1:], 3)
    )


def attention_pixels(weights: Tensor) -> np.ndarray:
    """Colour attention, (rows, columns), from 0 to its highest."""
    shares = weights.double().numpy() / max(weights.max().item(), 1e-12)
    levels = np.round(shares * (LEVELS - 1)) / (LEVELS - 1)
    return np.round(colormaps[ATTENTION](levels)[..., :3] * 255).astype(
        np.uint8
    )


def signed_pixels(values: Tensor) -> np.ndarray:
    """Colour numbers from -1 to 1, (rows, columns); what is no number becomes
    white."""
    levels = np.round(values.numpy() * SIGNED_LEVELS) / SIGNED_LEVELS
    colours = SIGNED(np.nan_to_num(levels) / 2 + 0.5)[..., :3]
    colours[np.isnan(levels)] = 1
    return np.round(colours * 255).astype(np.uint8)


def panel(
    rgb: np.ndarray,
    x: int,
    side: int,
    title: str,
    *,
    grid=None,
    selected: int | None = None,
) -> str:
    """Draw pixels as a square with a title above it, and on them a patch grid
    with one marked.

    x, side: pixels. grid: (rows, columns) of the patches. selected: a patch,
    row by row.
    """
    parts = [
        f'<text x="{x}" y="14" font-family="sans-serif" font-size="12" fill="{INK}">'
        f"{written(title)}</text>",
        f'<image x="{x}" y="22" width="{side}" height="{side}" preserveAspectRatio="none" '
        f'style="image-rendering:pixelated" href="{bitmap(rgb)}"/>',
    ]
    if grid is not None:
        rows, columns = grid
        high, wide = side / rows, side / columns
        lines = [f"M{x} {22 + i * high:.1f}h{side}" for i in range(rows + 1)]
        lines += [f"M{x + i * wide:.1f} 22v{side}" for i in range(columns + 1)]
        parts.append(
            f'<path d="{"".join(lines)}" stroke="{INK}" stroke-width="0.8"/>'
        )
        if selected is not None:
            row, column = divmod(selected, columns)
            box = (
                f'<rect x="{x + column * wide:.1f}" y="{22 + row * high:.1f}" width="{wide:.1f}" '
                f'height="{high:.1f}" fill="none"'
            )
            parts.append(f'{box} stroke="black" stroke-width="5"/>')
            parts.append(f'{box} stroke="{ACCENT}" stroke-width="2.5"/>')
    return "".join(parts)


def hatching(
    grid: tuple[int, int], dropped: Iterable[int], x: int, side: int
) -> str:
    """Draw dropped patches onto a panel of `still.panel`: grey, with a stroke
    across."""
    rows, columns = grid
    high, wide = side / rows, side / columns
    parts = []
    for place in dropped:
        row, column = divmod(place, columns)
        left, top = x + column * wide, 22 + row * high
        parts.append(
            f'<path d="M{left:.1f} {top:.1f}h{wide:.1f}v{high:.1f}h-{wide:.1f}z" fill="#d4d7da"/>'
            f'<path d="M{left:.1f} {top + high:.1f}l{wide:.1f} -{high:.1f}" stroke="{INK}"/>'
        )
    return "".join(parts)


def drawing(width: int, height: int, *panels: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}">{"".join(panels)}</svg>'
    )
