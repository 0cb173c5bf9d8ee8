"""A recorded training run, played back epoch by epoch (chapter 7)."""

import math
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence

import numpy as np
import torch
import traitlets
from torch import Tensor

from vit_tutorial.patches import patch_grid
from vit_tutorial.plots import BLUE, INK
from vit_tutorial.widgets.base import Figure
from vit_tutorial.widgets.still import drawing, panel, signed_pixels


class Playback(Figure):
    """When does it learn what?

    A run from its log: accuracy on held-out and on training pictures, accuracy
    by class, and how alike the position embeddings have become, after every
    epoch. Epoch 0 is before training: of it the log says nothing, the record of
    the positions does.

    Args:
        log: the records of a run, as `experiments.read_log` gives them.
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
        rows, columns = run["grid"]
        super().__init__(
            run=run,
            epoch=len(run["held_out"]) if epoch is None else epoch,
            position=rows // 2 * columns + columns // 2
            if position is None
            else position,
        )

    @traitlets.validate("epoch", "position")
    def _fits(self, proposal):
        name, value = proposal["trait"].name, proposal["value"]
        last = {
            "epoch": len(self.run["held_out"]),
            "position": math.prod(self.run["grid"]) - 1,
        }
        if value not in range(last[name] + 1):
            raise ValueError(
                f"{name} is one of 0 to {last[name]}, got {value!r}"
            )
        return value

    def still(self) -> tuple[str, str]:
        run, alike = self.run, unpack_similarity(self.run)
        rows, columns = grid = run["grid"]
        structure = [row_and_column(each, columns) for each in alike]
        last = len(run["held_out"])
        known = list(enumerate(run["held_out"], start=1))
        svg = drawing(
            420,
            226,
            curve(
                known, last, 1, 22, "accuracy, held-out pictures", "100 %", BLUE
            ),
            curve(
                list(enumerate(structure)),
                last,
                ceiling(structure),
                130,
                "row and column: more alike by",
                f"{ceiling(structure):.1f}",
                INK,
            ),
            f'<path d="M{x_of(self.epoch, last):.1f} 22v182" stroke="{INK}"/>',
            f'<text x="0" y="222" font-family="sans-serif" font-size="12" fill="{INK}">'
            f"epoch 0 to {last}</text>",
            panel(
                signed_pixels(
                    alike[self.epoch, self.position].view(rows, columns) / 100
                ),
                236,
                184,
                f"position {self.position + 1}, epoch {self.epoch}",
                grid=grid,
                selected=self.position,
            ),
        )
        accuracy = f"{run['held_out'][-1]:.1%} of the held-out pictures are right at the end"
        if 0 < self.epoch < last:
            accuracy = (
                f"{run['held_out'][self.epoch - 1]:.1%} are right here, "
                + accuracy
            )
        words = (
            f"A training run of {last} epochs, at epoch {self.epoch}: {accuracy}. Positions in the "
            f"same row or column are more alike than others by {structure[self.epoch]:+.2f}, and "
            f"by {structure[0]:+.2f} before training."
        )
        return svg, words.replace("-0.", "−0.")


def pack_run(
    log: Sequence[Mapping], progress: Sequence[Mapping], names: Sequence[str]
) -> dict:
    """Put what the figure shows of a run into a trait; the similarities as
    signed bytes.

    Of each matrix, which is symmetric with ones on its diagonal, what is above
    the diagonal.
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
    n = math.prod(grid)
    if [record["epoch"] for record in progress] != list(range(len(epochs) + 1)):
        raise ValueError(
            f"a run of {len(epochs)} epochs needs a record of the positions for each of 0 to "
            f"{len(epochs)}, got {[record['epoch'] for record in progress]}"
        )
    if {len(record["validation_by_class"]) for record in epochs} != {
        len(names)
    }:
        raise ValueError(
            f"expected a name for each of {len(epochs[0]['validation_by_class'])} classes, got "
            f"{len(names)}"
        )
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
    return {
        "class_names": list(names),
        "grid": list(grid),
        "training": [record["train_accuracy"] for record in epochs],
        "held_out": [record["validation_accuracy"] for record in epochs],
        "by_class": [record["validation_by_class"] for record in epochs],
        "similarity": b64encode(
            alike[:, row, column].to(torch.int8).numpy().tobytes()
        ).decode(),
    }


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
    """Say how much more alike positions of one row or column are than others:
    cosines, means."""
    place = torch.arange(len(alike))
    row, column = place // columns, place % columns
    crossing = (row[:, None] == row) ^ (
        column[:, None] == column
    )  # both: the place itself
    neither = (row[:, None] != row) & (column[:, None] != column)
    return (alike[crossing].mean() - alike[neither].mean()).item() / 100


def ceiling(values: Sequence[float]) -> float:
    """The next tenth above all of them."""
    return max(math.ceil(10 * max(values)), 1) / 10


def x_of(epoch: int, last: int) -> float:
    return 2 + 200 * epoch / last


def curve(
    points, last: int, top: float, y: int, title: str, highest: str, colour: str
) -> str:
    """Draw a curve over the epochs, 70 pixels high from `top` to 0, under its
    title."""
    places = [
        f"{x_of(epoch, last):.1f} {y + 74 - 70 * np.clip(value / top, 0, 1):.1f}"
        for epoch, value in points
    ]
    small = f'font-family="sans-serif" font-size="12" fill="{INK}"'
    return (
        f'<text x="0" y="{y - 8}" {small}>{title}</text>'
        f'<text x="2" y="{y + 14}" font-family="sans-serif" font-size="9" fill="{INK}">{highest}'
        f'</text><path d="M2 {y + 4}h200M2 {y + 74}h200" stroke="{INK}" stroke-width="0.5"/>'
        f'<path d="M{"L".join(places)}" fill="none" stroke="{colour}" stroke-width="2"/>'
    )
