"""Draw the image that a pasted link to the book shows: a sneaker that dissolves.

    python .ci/sneaker.py

It is made from the bundled model: a test image of a sneaker that loses its patches in a random
order, and what the model predicts from the rest. What it shows stands in its metadata, and a test
compares: after the model was replaced, draw it again.
"""

from pathlib import Path

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
import torch

from vit_tutorial import load_pretrained
from vit_tutorial.data import load_dataset, normalize

TARGET = Path(__file__).resolve().parents[1] / "book" / "_static" / "sneaker.png"
SEED = 0
VISIBLE = [49, 33, 17, 9, 5]  # patches
GROUND, INK, BLUE, GREY = "#121212", "#f3f4f5", "#2f86c8", "#7b838c"


@torch.no_grad()
def frames():
    """Return for each number of visible patches: pixels, visible patches, class, probability."""
    vit = load_pretrained("fashion")
    images, labels = load_dataset("fashion_mnist", "test", subset=500)
    names = vit.facts["class_names"]
    image = images[labels == names.index("Sneaker")][0]
    order = torch.randperm(49, generator=torch.Generator().manual_seed(SEED))
    tokens = vit.embed(normalize(image[None], vit.facts["mean"], vit.facts["std"]))
    for visible in VISIBLE:
        kept = order[:visible].sort().values
        left = tokens[:, torch.cat([torch.zeros(1, dtype=torch.long), 1 + kept])]
        shares = vit.classify(vit.transformer(left))[0].softmax(0)
        best = shares.argmax().item()
        yield image[0].numpy(), kept.tolist(), names[best], shares[best].item()


def words(found) -> str:
    return "; ".join(f"{len(kept)} patches: {name} {share:.0%}" for _, kept, name, share in found)


def draw(found):
    figure = plt.figure(figsize=(12, 6.3), dpi=100, facecolor=GROUND)
    figure.text(0.04, 0.86, "The Vision Transformer, line by line", color=INK, size=30)
    figure.text(0.04, 0.78, "How few patches do you need?", color=INK, size=20)
    width = 0.92 / len(found)
    for i, (pixels, kept, name, share) in enumerate(found):
        axes = figure.add_axes((0.04 + i * width, 0.28, width - 0.02, 0.42))
        axes.set_axis_off()
        axes.imshow(pixels, cmap="gray", vmin=0, vmax=255, extent=(0, 7, 7, 0))
        for patch in {*range(49)} - {*kept}:
            corner = (patch % 7, patch // 7)
            look = {"facecolor": GROUND, "edgecolor": GREY, "hatch": "////", "linewidth": 0.5}
            axes.add_patch(plt.Rectangle(corner, 1, 1, **look))
        x = 0.04 + i * width
        figure.text(x, 0.205, f"{name} {share:.0%}", color=INK, size=17, weight="bold")
        look = {"transform": figure.transFigure, "figure": figure}
        figure.add_artist(plt.Rectangle((x, 0.16), width - 0.02, 0.025, color="#333", **look))
        length = (width - 0.02) * share
        figure.add_artist(plt.Rectangle((x, 0.16), length, 0.025, color=BLUE, **look))
        figure.text(x, 0.1, f"{len(kept)} of 49 patches", color="#b0b5ba", size=14)
    return figure


if __name__ == "__main__":
    found = list(frames())
    plt.rcParams["hatch.linewidth"] = 0.5
    draw(found).savefig(TARGET, metadata={"Description": words(found), "Software": None})
    print(words(found))
