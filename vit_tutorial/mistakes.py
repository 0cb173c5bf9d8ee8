"""Which held-out images of a folder a trained model gets wrong."""

import torch
from torch import nn

from vit_tutorial.data import normalize
from vit_tutorial.folder import Folder

SHOWN = 20  # in the printed table; the log has all of them


@torch.no_grad()
def find_mistakes(model: nn.Module, folder: Folder) -> list[dict]:
    """Return what the model gets wrong, the surest first: the file, its label,
    the prediction and its probability."""
    device = next(model.parameters()).device
    logits = torch.cat(
        [
            model(normalize(part.to(device), folder.mean, folder.std))
            for part in folder.held_out.split(500)
        ]
    )
    probabilities, predictions = logits.softmax(dim=1).cpu().max(dim=1)
    found = [
        {
            "file": folder.held_out_files[i],
            "label": folder.class_names[folder.held_out_labels[i]],
            "prediction": folder.class_names[predictions[i]],
            "probability": round(probabilities[i].item(), 4),
        }
        for i in range(len(predictions))
        if predictions[i] != folder.held_out_labels[i]
    ]
    return sorted(found, key=lambda mistake: -mistake["probability"])


def table_of(mistakes: list[dict], count: int) -> str:
    """Write the mistakes on `count` held-out images as a table: the image, what
    it is, what the model said."""
    lines = [f"mistakes on {count} held-out images: {len(mistakes)}"]
    rows = [
        (m["file"], m["label"], m["prediction"], f"{m['probability']:.1%}")
        for m in mistakes[:SHOWN]
    ]
    if rows:
        rows.insert(0, ("image", "label", "prediction", "probability"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines += ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    if more := mistakes[SHOWN:]:
        lines.append(f"and {len(more)} more, in log.jsonl")
    return "\n".join(lines)
