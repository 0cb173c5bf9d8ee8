"""The book's static figures: one look, legible on a light and on a dark page.

Figures have no background of their own. Ink is a middle grey, attention is
cividis, signed values run from orange over grey to blue, and one accent marks
what is selected.
"""

import inspect
import math
import re
from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from einops import rearrange
from IPython import get_ipython
from IPython.display import Markdown
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator, PercentFormatter
from matplotlib_inline.config import InlineBackend

from vit_tutorial.checks import is_whole
from vit_tutorial.patches import pair, patch_grid
from vit_tutorial.records import column
from vit_tutorial.vit import Transformer, ViT

__all__ = ["show_picture", "show_source", "tile", "use_style"]

INK = "#7b838c"
ACCENT = "#d9660a"
BLUE = "#2f86c8"
PLUM = "#8e4f8f"
ATTENTION = "cividis"
SIGNED = LinearSegmentedColormap.from_list("signed", [ACCENT, "#9aa0a6", BLUE])


def use_style() -> None:
    """Give every figure that follows the book's look: once, in a notebook."""
    plt.rcParams.update(
        {
            "figure.facecolor": "none",
            "axes.facecolor": "none",
            "savefig.facecolor": "none",
            "figure.dpi": 110,
            "figure.figsize": (6.4, 3.6),
            "figure.constrained_layout.use": True,
            "font.size": 11,
            "text.color": INK,
            "axes.edgecolor": INK,
            "axes.labelcolor": INK,
            "axes.titlecolor": INK,
            "axes.titlesize": 11,
            "xtick.color": INK,
            "ytick.color": INK,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.prop_cycle": plt.cycler(color=[BLUE, ACCENT, INK, PLUM]),
            "lines.linewidth": 2,
            "legend.frameon": False,
            "image.cmap": ATTENTION,
            "image.interpolation": "nearest",
        }
    )
    shell = get_ipython()
    if shell is not None:
        # For a figure without a background Jupyter guesses from the ink whether
        # it needs a dark one, and paints a box behind it. So there the figure
        # has one, which isn't stored.
        plt.rcParams["figure.facecolor"] = "white"
        backend = InlineBackend.instance(parent=shell)
        backend.print_figure_kwargs = {
            **backend.print_figure_kwargs,
            "facecolor": "none",
        }


def show_picture(ax: Axes, image, title: str = "") -> None:
    """Draw one image, (c, H, W) with one channel or three, without axes."""
    ax.imshow(pixels_of(image), cmap="gray")
    ax.set_title(title)
    ax.axis("off")


def pixels_of(image) -> np.ndarray:
    """Return an image, (1 or 3, H, W), as matplotlib draws it: (H, W, c)."""
    pixels = as_array(image, "an image")
    if pixels.ndim != 3 or pixels.shape[0] not in (1, 3) or pixels.size == 0:
        raise ValueError(f"an image is (1 or 3, H, W), got {pixels.shape}")
    return np.moveaxis(pixels, 0, -1)


def as_array(values, what: str) -> np.ndarray:
    """Return `values` as an array; ValueError unless it is one of numbers."""
    try:
        array = np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{what} is an array of numbers: {error}") from error
    if array.dtype.kind not in "buif":
        raise ValueError(
            f"{what} is an array of numbers, got a {type(values).__name__}"
        )
    return array


def tile(images, columns: int, *, gap: float | None = None) -> np.ndarray:
    """Lay images of one size side by side, a line one pixel wide between them.

    Args:
        images: (n, h, w), or (n, h, w, c) with colours; n is a multiple of
            `columns`.
        columns: images in a row.
        gap: the value of the lines. By default it is NaN, which is drawn as
            nothing in an image without colours.

    Returns:
        floats, ((h + 1) * rows - 1, (w + 1) * columns - 1), or so with c.

    Raises ValueError for images of another shape, or that fill no whole rows.
    """
    array = as_array(images, "a set of images").astype(float)
    if array.ndim not in (3, 4) or array.size == 0:
        raise ValueError(
            f"images are (n, h, w) or (n, h, w, c), got {array.shape}"
        )
    if not is_whole(columns) or columns < 1 or len(array) % columns:
        raise ValueError(
            f"{len(array)} images fill no whole rows of {columns!r}: "
            "columns must be a whole number that divides them"
        )
    around = [(0, 0), (0, 1), (0, 1), (0, 0)][: array.ndim]  # below, right
    line = math.nan if gap is None else gap
    apart = np.pad(array, around, constant_values=line)
    tiled = rearrange(apart, "(r k) h w ... -> (r h) (k w) ...", k=columns)
    return tiled[:-1, :-1]


def show_patch_grid(
    ax: Axes, image, patch_size, *, selected: int | None = None, title=""
) -> None:
    """Draw an image, (c, H, W), with its patch grid; mark patch `selected`.

    Raises ValueError for patches that do not tile the image, and for one that
    is not there.
    """
    height, width, _ = pixels_of(image).shape
    rows, columns = patch_grid((height, width), patch_size)
    p1, p2 = pair(patch_size)
    there = range(rows * columns)
    if selected is not None and not (is_whole(selected) and selected in there):
        raise ValueError(
            f"there is no patch {selected!r}; the patches are 0 to "
            f"{there[-1]}, {rows} rows of {columns}"
        )
    show_picture(ax, image, title)
    line: dict[str, Any] = {"color": INK, "linewidth": 0.8}
    ax.hlines(np.arange(1, rows) * p1 - 0.5, -0.5, columns * p2 - 0.5, **line)
    ax.vlines(np.arange(1, columns) * p2 - 0.5, -0.5, rows * p1 - 0.5, **line)
    if selected is not None:
        row, column = divmod(selected, columns)
        corner = (column * p2 - 0.5, row * p1 - 0.5)
        # A dark rim, for bright images.
        for colour, width in (("black", 5), (ACCENT, 2.5)):
            outline = Rectangle(
                corner, p2, p1, fill=False, edgecolor=colour, linewidth=width
            )
            ax.add_patch(outline)
        x, y = corner
        ax.plot(x + p2 / 2, y + p1 / 2, marker="x", color=ACCENT)


def show_matrix(
    ax: Axes, matrix, *, title="", signed=False, label="", limit=None
) -> None:
    """Draw a matrix and its colour bar.

    The colours are cividis from 0 to `limit`, or, where values are signed,
    orange over grey to blue from -limit to limit. Without a limit it is the
    largest size of an entry.
    """
    matrix = as_array(matrix, "a matrix")
    if matrix.ndim != 2 or matrix.size == 0:
        raise ValueError(
            f"a matrix has rows and columns, got a shape of {matrix.shape}"
        )
    limit = limit or np.abs(matrix).max()
    colours, lowest = (SIGNED, -limit) if signed else (ATTENTION, 0)
    drawn = ax.imshow(matrix, cmap=colours, vmin=lowest, vmax=limit)
    ax.set_title(title)
    ax.set(xticks=[], yticks=[])
    ax.figure.colorbar(drawn, ax=ax, label=label, shrink=0.8)


# Equations 1 to 4 of section 3.1; the model's source is searched for the lines
# that name them.
EQUATIONS = {
    1: r"\mathbf{z}_0 = [\mathbf{x}_\mathrm{class};\, "
    r"\mathbf{x}_p^1\mathbf{E};\, \dots;\, "
    r"\mathbf{x}_p^N\mathbf{E}] + \mathbf{E}_{pos}",
    2: r"\mathbf{z}'_\ell = \mathrm{MSA}(\mathrm{LN}(\mathbf{z}_{\ell-1})) + "
    r"\mathbf{z}_{\ell-1}",
    3: r"\mathbf{z}_\ell = \mathrm{MLP}(\mathrm{LN}(\mathbf{z}'_\ell)) + "
    r"\mathbf{z}'_\ell",
    4: r"\mathbf{y} = \mathrm{LN}(\mathbf{z}_L^0)",
}


def equations_beside_code() -> Markdown:
    """Lay equations 1 to 4 beside the lines of `vit.py` that name them."""
    parts = (ViT.embed, Transformer, ViT.classify)
    source = "\n".join(map(inspect.getsource, parts))
    table = ["| eq. | the paper | `vit.py` |", "|---|---|---|"]
    for number, equation in EQUATIONS.items():
        marked = rf"^ *(.*?) +# eq\. {number}\b.*$"
        lines = re.findall(marked, source, flags=re.MULTILINE)
        if not lines:
            raise ValueError(
                f"no line of the model's source is marked '# eq. {number}'"
            )
        code = "<br>".join(f"`{line}`" for line in lines)
        table.append(f"| {number} | ${equation}$ | {code} |")
    return Markdown("\n".join(table))


def show_source(thing) -> Markdown:
    """Show the source of a function or class: what is read is what runs."""
    try:
        source = inspect.getsource(thing)
    except (TypeError, OSError) as error:
        raise TypeError(
            f"a function or a class has a source, {thing!r} has none: {error}"
        ) from error
    return Markdown(f"```python\n{source}```")


def check_key(runs: Mapping[str, list], key: str) -> None:
    """Raise ValueError unless every epoch's record has `key`.

    What is no list of runs is a TypeError.
    """
    for label, logs in runs.items():
        for run in logs if isinstance(logs, list | tuple) else [logs]:
            listed = isinstance(run, list | tuple)
            if not listed or not all(isinstance(r, Mapping) for r in run):
                raise TypeError(
                    f"{label!r} needs a list of runs, each a list of records"
                )
            for record in run:
                if record.get("event") == "epoch" and key not in record:
                    known = [each for each in record if each != "event"]
                    raise ValueError(
                        f"no {key!r} in the runs of {label!r}; there are "
                        f"{', '.join(known)}"
                    )


LINES = ("-", "--", ":", "-.")  # so that colour is not the only difference


def show_curves(
    ax: Axes, runs: dict[str, list], key: str, *, title: str = ""
) -> None:
    """Draw a quantity by epoch: each label's mean, its runs thin behind it.

    Args:
        runs: {label: logs}, as `records.read_runs` gives them; a label's are
            equally long.
        key: of an epoch's record, such as "validation_accuracy"; accuracies are
            drawn in percent.

    Raises ValueError for a label without runs, or with runs of different
    lengths, and for a key that is not in their records; TypeError for runs in
    another form.
    """
    if not isinstance(runs, Mapping):
        raise TypeError(
            f"runs are {{label: logs}}, as read_runs gives; got {runs!r}"
        )
    if not isinstance(key, str):
        raise TypeError(
            f"key is the name of a quantity, such as 'loss'; got {key!r}"
        )
    check_key(runs, key)
    for number, (label, logs) in enumerate(runs.items()):
        curves = [column(run, key) for run in logs]
        lengths = {len(curve) for curve in curves}
        if len(lengths) != 1:
            raise ValueError(
                f"{label!r} needs runs of one length to average, got "
                f"{len(curves)} of {sorted(lengths)} epochs"
            )
        epochs = range(1, lengths.pop() + 1)
        mean, style = np.mean(curves, axis=0), LINES[number % 4]
        (line,) = ax.plot(epochs, mean, style, label=label)
        colour = line.get_color()
        for curve in curves:
            ax.plot(epochs, curve, color=colour, linewidth=0.8, alpha=0.5)
    if key.endswith("accuracy"):
        ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set(xlabel="epoch", title=title)
    ax.legend()
