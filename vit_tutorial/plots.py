"""The book's static figures: one look, legible on a light and on a dark page.

Figures have no background of their own. Ink is a middle grey, attention is
cividis, signed values run from orange over grey to blue, and one accent marks
what is selected.
"""

import inspect
import re
from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from IPython import get_ipython
from IPython.display import Markdown
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import (
    Circle,
    FancyArrowPatch,
    FancyBboxPatch,
    Rectangle,
)
from matplotlib.ticker import MaxNLocator, PercentFormatter
from matplotlib_inline.config import InlineBackend

from vit_tutorial.checks import check_sizes, check_tensor, is_whole
from vit_tutorial.patches import pair, patch_grid, patchify
from vit_tutorial.records import column
from vit_tutorial.vit import Transformer, ViT

INK = "#7b838c"
ACCENT = "#d9660a"
BLUE = "#2f86c8"
ATTENTION = "cividis"
SIGNED = LinearSegmentedColormap.from_list("signed", [ACCENT, "#9aa0a6", BLUE])


def use_style() -> None:
    """Give every figure that follows the book's look; call it once, at the top
    of a notebook."""
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
            "axes.prop_cycle": plt.cycler(color=[BLUE, ACCENT, INK]),
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
    """Return an image as matplotlib draws it, (H, W, c); ValueError unless it
    is (1 or 3, H, W)."""
    pixels = as_array(image, "an image")
    if pixels.ndim != 3 or pixels.shape[0] not in (1, 3) or pixels.size == 0:
        raise ValueError(f"an image is (1 or 3, H, W), got {pixels.shape}")
    return np.moveaxis(pixels, 0, -1)


def as_array(values, what: str) -> np.ndarray:
    """Return `values` as an array; ValueError for anything but real numbers in
    equal rows."""
    try:
        array = np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{what} is an array of numbers: {error}") from error
    if array.dtype.kind not in "buif":
        raise ValueError(
            f"{what} is an array of numbers, got a {type(values).__name__}"
        )
    return array


def show_patch_grid(
    ax: Axes, image, patch_size, *, selected: int | None = None, title=""
) -> None:
    """Draw an image, (c, H, W), with its patch grid; patch `selected` is
    outlined and marked.

    Raises ValueError for patches that do not tile the image, and for one that
    is not there.
    """
    height, width, _ = pixels_of(image).shape
    (rows, columns), (p1, p2) = (
        patch_grid((height, width), patch_size),
        pair(patch_size),
    )
    if selected is not None and not (
        is_whole(selected) and selected in range(rows * columns)
    ):
        raise ValueError(
            f"there is no patch {selected!r}; the patches are 0 to {rows * columns - 1}, "
            f"{rows} rows of {columns}"
        )
    show_picture(ax, image, title)
    line = {"color": INK, "linewidth": 0.8}
    ax.hlines(np.arange(1, rows) * p1 - 0.5, -0.5, columns * p2 - 0.5, **line)
    ax.vlines(np.arange(1, columns) * p2 - 0.5, -0.5, rows * p1 - 0.5, **line)
    if selected is not None:
        row, column = divmod(selected, columns)
        corner = (column * p2 - 0.5, row * p1 - 0.5)
        for colour, width in (
            ("black", 5),
            (ACCENT, 2.5),
        ):  # a dark rim, for bright images
            outline = {"fill": False, "edgecolor": colour, "linewidth": width}
            ax.add_patch(Rectangle(corner, p2, p1, **outline))
        ax.plot(
            corner[0] + p2 / 2, corner[1] + p1 / 2, marker="x", color=ACCENT
        )


def show_matrix(
    ax: Axes, matrix, *, title="", signed=False, label="", limit=None
) -> None:
    """Draw a matrix with its colour bar: cividis from 0, or the signed colours
    around 0."""
    matrix = as_array(matrix, "a matrix")
    if matrix.ndim != 2 or matrix.size == 0:
        raise ValueError(
            f"a matrix has rows and columns, got a shape of {matrix.shape}"
        )
    limit = limit or np.abs(matrix).max()
    colours = (
        {"cmap": SIGNED, "vmin": -limit}
        if signed
        else {"cmap": ATTENTION, "vmin": 0}
    )
    drawn = ax.imshow(matrix, vmax=limit, **colours)
    ax.set_title(title)
    ax.set(xticks=[], yticks=[])
    ax.figure.colorbar(drawn, ax=ax, label=label, shrink=0.8)


def draw_architecture(image, patch_size: int, answer: str) -> Figure:
    """Draw the whole model on one image: image, patches, tokens, encoder,
    class.

    Args:
        image: a tensor (c, H, W), few patches (9 read best).
        patch_size: pixels.
        answer: the class name at the end, the picture's label.
    """
    check_tensor(image, "images")
    (patch_size,) = check_sizes(patch_size=patch_size)
    pixels = pixels_of(image)
    rows, columns = patch_grid(pixels.shape[:2], patch_size)
    n = rows * columns
    patches = patchify(image[None], patch_size)[0]  # (n, p*p*c)
    figure, ax = plt.subplots(figsize=(6.4, 7.0))
    ax.axis("off")

    def arrow(start, end):
        style = {
            "arrowstyle": "-|>",
            "mutation_scale": 12,
            "color": INK,
            "linewidth": 1.2,
        }
        ax.add_patch(FancyArrowPatch(start, end, shrinkA=0, shrinkB=0, **style))

    def box(x, y, width, height, text, colour=INK):
        shape = FancyBboxPatch(
            (x, y), width, height, boxstyle="round,pad=0,rounding_size=0.15", fill=False,
            edgecolor=colour, linewidth=1.6,
        )  # fmt: skip
        ax.add_patch(shape)
        ax.text(x + width / 2, y + height / 2, text, ha="center", va="center")

    # The picture, and the same cut apart.
    ax.imshow(pixels, extent=(0.6, 3.3, 9.1, 11.8), cmap="gray")
    ax.text(
        1.95, 8.6, f"picture {image.shape[-2]} × {image.shape[-1]}", ha="center"
    )
    arrow((3.6, 10.45), (5.0, 10.45))
    for index in range(n):
        row, column = divmod(index, columns)
        size, gap = 2.4 / columns, 0.3
        x, y = 5.3 + column * (size + gap), 11.8 - size - row * (size + gap / 2)
        part = np.asarray(patches[index]).reshape(patch_size, patch_size, -1)
        extent = (x, x + size, y, y + size)
        ax.imshow(part, extent=extent, cmap="gray", vmin=0, vmax=pixels.max())
        ax.text(
            x + size + 0.04,
            y + size / 2,
            str(index + 1),
            fontsize=9,
            va="center",
        )
    ax.text(
        6.8, 8.6, f"{n} patches of {patch_size} × {patch_size}", ha="center"
    )

    # Projected, with the class token in front and a position added to each.
    arrow((6.8, 8.5), (6.8, 8.17))
    box(1.5, 7.5, 8.8, 0.65, "linear projection of each flattened patch")
    for token in range(n + 1):
        x = 0.75 + token * 9.1 / n
        if token == 0:
            ax.add_patch(Circle((x, 6.35), 0.36, color=ACCENT))
            ax.text(
                x,
                6.35,
                "class",
                ha="center",
                va="center",
                color="white",
                fontsize=8,
            )
        else:
            arrow((x, 7.45), (x, 6.85))
            ax.add_patch(Rectangle((x - 0.22, 5.95), 0.44, 0.8, color=BLUE))
        ax.text(x, 5.6, f"+ p{token}", ha="center", va="center", fontsize=9)
        arrow((x, 5.35), (x, 4.95))

    # The encoder, and what is read off it.
    box(0.3, 2.4, 10.0, 2.5, "")
    box(0.8, 3.05, 2.1, 1.1, "norm →\nattention", BLUE)
    box(5.1, 3.05, 2.1, 1.1, "norm →\nMLP", BLUE)
    for x, start in ((4.0, 2.9), (8.3, 7.2)):
        ax.add_patch(
            Circle((x, 3.6), 0.22, fill=False, edgecolor=INK, linewidth=1.4)
        )
        ax.text(x, 3.6, "+", ha="center", va="center")
        arrow((start, 3.6), (x - 0.22, 3.6))
    arrow((4.22, 3.6), (5.1, 3.6))
    for left, right in ((0.55, 4.0), (4.6, 8.3)):  # the residual connections
        ax.plot([left, left, right], [3.6, 4.5, 4.5], color=INK, linewidth=1.2)
        arrow((right, 4.5), (right, 3.82))
    ax.plot([0.3, 0.8], [3.6, 3.6], color=INK, linewidth=1.2)
    arrow((8.52, 3.6), (9.1, 3.6))
    ax.text(9.15, 3.6, "L times", ha="left", va="center", fontsize=10)
    ax.text(
        5.3, 2.65, "Transformer encoder", ha="center", va="center", fontsize=10
    )
    arrow((0.75, 2.4), (0.75, 1.65))
    ax.add_patch(Circle((0.75, 1.25), 0.36, color=ACCENT))
    ax.text(
        0.75, 1.25, "class", ha="center", va="center", color="white", fontsize=8
    )
    arrow((1.15, 1.25), (2.0, 1.25))
    box(2.0, 0.85, 3.0, 0.8, "norm → linear")
    arrow((5.0, 1.25), (5.9, 1.25))
    ax.text(
        6.1, 1.25, answer, ha="left", va="center", fontsize=13, color=ACCENT
    )
    ax.set(xlim=(0.1, 10.5), ylim=(0.7, 11.9), aspect="equal")
    return figure


# Equations 1 to 4 of section 3.1; the model's source is searched for the lines
# that name them.
EQUATIONS = {
    1: r"\mathbf{z}_0 = [\mathbf{x}_\mathrm{class};\, \mathbf{x}_p^1\mathbf{E};\, \dots;\, "
    r"\mathbf{x}_p^N\mathbf{E}] + \mathbf{E}_{pos}",
    2: r"\mathbf{z}'_\ell = \mathrm{MSA}(\mathrm{LN}(\mathbf{z}_{\ell-1})) + \mathbf{z}_{\ell-1}",
    3: r"\mathbf{z}_\ell = \mathrm{MLP}(\mathrm{LN}(\mathbf{z}'_\ell)) + \mathbf{z}'_\ell",
    4: r"\mathbf{y} = \mathrm{LN}(\mathbf{z}_L^0)",
}


def equations_beside_code() -> Markdown:
    """Lay equations 1 to 4 beside the lines of `vit.py` that name them in a
    comment."""
    source = "\n".join(
        map(inspect.getsource, (ViT.embed, Transformer.forward, ViT.classify))
    )
    table = ["| eq. | the paper | `vit.py` |", "|---|---|---|"]
    for number, equation in EQUATIONS.items():
        lines = re.findall(
            rf"^ *(.*?) +# eq\. {number}\b.*$", source, flags=re.MULTILINE
        )
        if not lines:
            raise ValueError(
                f"no line of the model's source is marked '# eq. {number}'"
            )
        table.append(
            f"| {number} | ${equation}$ | {'<br>'.join(f'`{line}`' for line in lines)} |"
        )
    return Markdown("\n".join(table))


def show_source(thing) -> Markdown:
    """Print the source of a function or class as it stands, so that what is
    read is what runs."""
    try:
        source = inspect.getsource(thing)
    except (TypeError, OSError) as error:
        raise TypeError(
            f"a function or a class has a source, {thing!r} has none: {error}"
        ) from error
    return Markdown(f"```python\n{source}```")


def check_key(runs: Mapping[str, list], key: str) -> None:
    """Raise ValueError unless every epoch's record has `key`, TypeError for
    what is no record."""
    for label, logs in runs.items():
        for run in logs if isinstance(logs, list | tuple) else [logs]:
            if not isinstance(run, list | tuple) or not all(
                isinstance(r, Mapping) for r in run
            ):
                raise TypeError(
                    f"{label!r} needs a list of runs, each a list of records"
                )
            for record in run:
                if record.get("event") == "epoch" and key not in record:
                    known = ", ".join(
                        name for name in record if name != "event"
                    )
                    raise ValueError(
                        f"no {key!r} in the runs of {label!r}; there are {known}"
                    )


LINES = ("-", "--", ":", "-.")  # so that colour is not the only difference


def show_curves(
    ax: Axes, runs: dict[str, list], key: str, *, title: str = ""
) -> None:
    """Draw a quantity by epoch: for each label the mean of its runs, and every
    run thin behind it.

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
                f"{label!r} needs runs of one length to average, got {len(curves)} of "
                f"{sorted(lengths)} epochs"
            )
        epochs = range(1, lengths.pop() + 1)
        (mean,) = ax.plot(
            epochs, np.mean(curves, axis=0), LINES[number % 4], label=label
        )
        for curve in curves:
            ax.plot(
                epochs, curve, color=mean.get_color(), linewidth=0.8, alpha=0.5
            )
    if key.endswith("accuracy"):
        ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set(xlabel="epoch", title=title)
    ax.legend()
