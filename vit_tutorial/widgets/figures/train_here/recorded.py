"""The trainer's recorded run: what its still image shows of training."""

import json
from pathlib import Path

from vit_tutorial.plots import ACCENT, BLUE, INK
from vit_tutorial.widgets.still import text

# The page shows the same, so it stands in a module of the page's.
MODULE = Path(__file__).with_name("train_recorded.js")
WIDTH, HEIGHT = 430, 100  # of the plot, in pixels
LEFT = 40  # of it stands what its lines mean


def recorded() -> dict:
    """Read the recorded run: its steps, and a row an epoch.

    A row has the step that ends the epoch, loss and accuracy on the images
    that the model learned from, and loss and accuracy on those held out.
    """
    _, _, after = MODULE.read_text("utf8").partition("RECORDED = ")
    return json.loads(after[: after.index(";\n")])


def curves(y: int) -> str:
    """Draw the accuracy of the recorded run, its axis at the top at `y`."""
    run = recorded()
    lines = []
    for share in (0, 0.5, 1):
        height = y + HEIGHT * (1 - share)
        lines.append(text(0, round(height) + 4, f"{share:.0%}"))
        lines.append(
            f'<path d="M{LEFT} {height:.1f}H{LEFT + WIDTH}" stroke="{INK}" '
            'stroke-width="0.5"/>'
        )
    below = y + HEIGHT + 18
    for place, (what, column, colour, look) in enumerate(
        [
            ("training", 2, ACCENT, 'stroke-dasharray="3 2"'),
            ("held out", 4, BLUE, 'stroke-width="2"'),
        ]
    ):
        points = [(0, 0.1), *((row[0], row[column]) for row in run["rows"])]
        places = " ".join(
            f"{LEFT + WIDTH * step / run['steps']:.1f},"
            f"{y + HEIGHT * (1 - accuracy):.1f}"
            for step, accuracy in points
        )
        x, look = LEFT + 110 * place, f'fill="none" stroke="{colour}" {look}'
        lines.append(f'<polyline points="{places}" {look}/>')
        lines.append(f'<path d="M{x} {below - 4}h26" {look}/>')
        lines.append(text(x + 32, below, what))
    lines.append(text(LEFT + WIDTH - 95, below, f"step 0 to {run['steps']:,}"))
    return "".join(lines)


def in_words() -> str:
    """Say what the recorded run came to."""
    run = recorded()
    return (
        "A recorded run with the default choices reached "
        f"{run['rows'][-1][-1]:.0%} held-out accuracy"
    )
