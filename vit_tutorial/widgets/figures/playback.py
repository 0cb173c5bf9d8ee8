"""A recorded training run, played back epoch by epoch (chapter 7)."""

import math
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence

import numpy as np
import torch
import traitlets
from torch import Tensor

from vit_tutorial.checks import check_number
from vit_tutorial.patches import patch_grid
from vit_tutorial.plots import BLUE, INK
from vit_tutorial.widgets.base import Figure
from vit_tutorial.widgets.still import drawing, panel, signed_pixels


class Playback(Figure):
    """When does it learn what?

    A run from its log: accuracy on held-out and on training images, accuracy
    by class, and how similar the position embeddings have become, after every
    epoch.

    Epoch 0 is before training: the log has no accuracy for it, the
    record of the positions begins there.

    Args:
        log: the records of a run, as `records.read_log` returns them.
        progress: a record for epoch 0 and for every epoch of the log, with the
            cosine of every two position embeddings in hundredths, as
            `experiments.record_progress` writes them.
        class_names: in the order of the labels.
        epoch: the one to begin at; without it the last.
        position: whose similarities are shown, row by row from 0; without it
            the middle one.

    Raises ValueError for records that do not fit each other, and for a number
    that is not there.
    """

    script = "playback"

    run = traitlets.Dict().tag(sync=True)
    epoch = traitlets.Int().tag(sync=True)
    position = traitlets.Int().tag(sync=True)

    def __init__(
        self,
        log: Sequence[Mapping],
        progress: Sequence[Mapping],
        class_names: Sequence[str],
        *,
        epoch: int | None = None,
        position: int | None = None,
    ):
        run = pack_run(log, progress, class_names)
        if epoch is None:
            epoch = len(run["held_out"])
        if position is None:
            rows, columns = run["grid"]
            position = rows // 2 * columns + columns // 2
        super().__init__(run=run, epoch=epoch, position=position)

    @traitlets.validate("epoch", "position")
    def _fits(self, proposal):
        counts = {
            "epoch": len(self.run["held_out"]) + 1,
            "position": math.prod(self.run["grid"]),
        }
        name = proposal["trait"].name
        return check_number(name, proposal["value"], counts[name])

    def still(self) -> tuple[str, str]:
        held_out, grid = self.run["held_out"], self.run["grid"]
        alike = unpack_similarity(self.run)
        structure = [row_and_column(each, grid[1]) for each in alike]
        shown = alike[self.epoch, self.position].view(*grid) / 100
        svg = drawing(
            420,
            226,
            *curves(held_out, structure),
            epoch_mark(self.epoch, len(held_out)),
            panel(
                signed_pixels(shown),
                236,
                184,
                f"position {self.position + 1}, epoch {self.epoch}",
                grid=grid,
                selected=self.position,
            ),
        )
        return svg, self.words(held_out, structure)

    def words(self, held_out: list[float], structure: list[float]) -> str:
        last = len(held_out)
        accuracy = f"{held_out[-1]:.1%} at the end"
        if 0 < self.epoch < last:
            here = held_out[self.epoch - 1]
            accuracy = f"{here:.1%} here and {accuracy}"
        words = (
            f"A training run of {last} epochs, at epoch {self.epoch}: held-out "
            f"accuracy is {accuracy}. Positions in the same row or column are "
            f"more similar than others by {structure[self.epoch]:+.2f}, and by "
            f"{structure[0]:+.2f} before training."
        )
        return words.replace("-0.", "−0.")


def pack_run(
    log: Sequence[Mapping], progress: Sequence[Mapping], names: Sequence[str]
) -> dict:
    """Put what the figure shows of a run into a trait.

    Raises ValueError for records that do not fit each other.
    """
    epochs = [record for record in log if record["event"] == "epoch"]
    if (
        not epochs
        or log[0]["event"] != "start"
        or "patch_size" not in log[0]["recipe"]["model"]
    ):
        raise ValueError(
            "expected the log of a ViT's run: its start, then a record an epoch"
        )
    model = log[0]["recipe"]["model"]
    grid = patch_grid(model["image_size"], model["patch_size"])
    numbers = [record["epoch"] for record in progress]
    if numbers != list(range(len(epochs) + 1)):
        raise ValueError(
            f"a run of {len(epochs)} epochs needs a record of the positions "
            f"for each of 0 to {len(epochs)}, got {numbers}"
        )
    counts = {len(record["validation_by_class"]) for record in epochs}
    if counts != {len(names)}:
        raise ValueError(
            "expected a name for each of "
            f"{len(epochs[0]['validation_by_class'])} classes, got {len(names)}"
        )
    return {
        "class_names": list(names),
        "grid": list(grid),
        "training": [record["train_accuracy"] for record in epochs],
        "held_out": [record["validation_accuracy"] for record in epochs],
        "by_class": [record["validation_by_class"] for record in epochs],
        "similarity": pack_similarity(progress, math.prod(grid)),
    }


def pack_similarity(progress: Sequence[Mapping], n: int) -> str:
    """Write the similarities of n positions as signed bytes, in hundredths.

    Each matrix is symmetric with ones on its diagonal, so what is above the
    diagonal is enough.
    """
    try:
        alike = torch.tensor([record["similarity"] for record in progress])
    except (RuntimeError, TypeError, ValueError):
        alike = torch.empty(0)
    if (
        alike.shape[1:] != (n, n)
        or alike.is_floating_point()
        or alike.abs().max() > 100
    ):
        raise ValueError(
            f"a similarity is {n} times {n} whole numbers from -100 to 100"
        )
    row, column = torch.triu_indices(n, n, offset=1)
    above = alike[:, row, column].to(torch.int8)
    return b64encode(above.numpy().tobytes()).decode()


def unpack_similarity(run: Mapping) -> Tensor:
    """Read the similarities back, in hundredths: (epochs + 1, n, n)."""
    n = math.prod(run["grid"])
    above = torch.frombuffer(
        bytearray(b64decode(run["similarity"])), dtype=torch.int8
    ).double()
    row, column = torch.triu_indices(n, n, offset=1)
    above = above.view(-1, len(row))
    alike = torch.full((len(above), n, n), 100.0, dtype=torch.float64)
    alike[:, row, column] = alike[:, column, row] = above
    return alike


def row_and_column(alike: Tensor, columns: int) -> float:
    """Return how much more alike two positions of one row or column are than
    two others: the difference of the mean cosines, from (n, n) hundredths."""
    place = torch.arange(len(alike))
    row, column = place // columns, place % columns
    same_row = row[:, None] == row
    same_column = column[:, None] == column
    together = same_row ^ same_column  # both: the position itself
    apart = ~same_row & ~same_column
    return (alike[together].mean() - alike[apart].mean()).item() / 100


def curves(held_out: list[float], structure: list[float]) -> tuple[str, str]:
    """Draw accuracy and the row/column similarity gap, by epoch."""
    last = len(held_out)
    known = list(enumerate(held_out, start=1))
    accuracy = curve(known, last, 1, 22, "held-out accuracy", "100 %", BLUE)
    top = max(math.ceil(10 * max(structure)), 1) / 10
    more_alike = curve(
        list(enumerate(structure)),
        last,
        top,
        130,
        "row/column similarity gap",
        f"{top:.1f}",
        INK,
    )
    return accuracy, more_alike


def curve(
    points, last: int, top: float, y: int, title: str, highest: str, colour: str
) -> str:
    """Draw a curve over the epochs, 70 pixels high from 0 to `top`, under its
    title."""
    places = [
        f"{x_of(epoch, last):.1f} "
        f"{y + 74 - 70 * np.clip(value / top, 0, 1):.1f}"
        for epoch, value in points
    ]
    text = f'font-family="sans-serif" font-size="{{}}" fill="{INK}"'
    return (
        f'<text x="0" y="{y - 8}" {text.format(12)}>{title}</text>'
        f'<text x="2" y="{y + 14}" {text.format(9)}>{highest}</text>'
        f'<path d="M2 {y + 4}h200M2 {y + 74}h200" stroke="{INK}" '
        f'stroke-width="0.5"/>'
        f'<path d="M{"L".join(places)}" fill="none" stroke="{colour}" '
        f'stroke-width="2"/>'
    )


def epoch_mark(epoch: int, last: int) -> str:
    """Draw a line through both curves at an epoch, and name the axis."""
    return (
        f'<path d="M{x_of(epoch, last):.1f} 22v182" stroke="{INK}"/>'
        f'<text x="0" y="222" font-family="sans-serif" font-size="12" '
        f'fill="{INK}">epoch 0 to {last}</text>'
    )


def x_of(epoch: int, last: int) -> float:
    return 2 + 200 * epoch / last
