"""What experiments measure beside accuracy: positions and robustness."""

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from vit_tutorial.augment import shift
from vit_tutorial.data import DATASETS
from vit_tutorial.patches import patchify, unpatchify
from vit_tutorial.recipes import Recipe, load_pictures
from vit_tutorial.records import read_log, write_log
from vit_tutorial.saving import load_model
from vit_tutorial.train import evaluate
from vit_tutorial.vit import ViT


def record_progress(path: Path, epoch: int, vit: ViT) -> None:
    """Add to a file how similar a ViT's position embeddings have become.

    "similarity" holds the cosine of every two patches' position embeddings, row
    by row, in hundredths. What an earlier run wrote for this epoch or later
    ones is replaced.
    """
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    records = [json.loads(line) for line in text.splitlines()]
    before = [record for record in records if record["epoch"] < epoch]
    positions = vit.pos_embedding[0, vit.num_prefix :].detach().cpu()  # (n, D)
    positions = F.normalize(positions, dim=-1)
    similarity = (100 * positions @ positions.T).round().int().tolist()
    now = {"event": "progress", "epoch": epoch, "similarity": similarity}
    write_log(path, [*before, now])


def read_positions(folder: Path) -> list[dict]:
    """Read a trained ViT's position embeddings of the patches: (n, dim)."""
    vit = load_model(folder / "model.safetensors")
    assert isinstance(vit, ViT)
    positions = vit.pos_embedding[0, vit.num_prefix :].tolist()
    rounded = [[round(value, 4) for value in each] for each in positions]
    return [{"event": "positions", "embeddings": rounded}]


def measure_robustness(folder: Path, most: int) -> list[dict]:
    """Test a trained model on held-out images, shifted or shuffled.

    They are the images that its epoch was chosen on; the test set is not read.
    Each shift, from 0 to `most` pixels, is the mean of four directions.
    Shuffling moves patches of 4 x 4 pixels, in each image in its own way.
    """
    start, model = read_log(folder)[0], load_model(folder / "model.safetensors")
    recipe = Recipe(**start["recipe"])
    _, _, images, labels = load_pictures(recipe)
    data = DATASETS[recipe.dataset]

    def accuracy(changed: Tensor) -> float:
        _, share, *_ = evaluate(model, changed, labels, data.mean, data.std)
        return round(share, 5)

    records = []
    still = torch.zeros(len(images), dtype=torch.int64)
    for pixels in range(most + 1):
        along = still + pixels
        moves = [
            (along, still),
            (-along, still),
            (still, along),
            (still, -along),
        ]
        each = [accuracy(shift(images, down, right)) for down, right in moves]
        mean = sum(each) / 4
        records.append({"event": "shift", "pixels": pixels, "accuracy": mean})
    patches = patchify(images, 4)  # (n, 49, 16)
    random = torch.Generator().manual_seed(0)
    order = torch.rand(patches.shape[:2], generator=random).argsort(dim=1)
    patches = patches.take_along_dim(order[:, :, None], dim=1)
    shuffled = unpatchify(patches, (7, 7), 4)
    records.append({"event": "shuffle", "accuracy": accuracy(shuffled)})
    return records
