"""What a page's model computes, in PyTorch: predictions, attention maps."""

import math
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from vit_tutorial.checks import check_number
from vit_tutorial.cnn import CNN
from vit_tutorial.data import normalize
from vit_tutorial.inside import (
    change_temperature,
    record_attention,
    switch_off_heads,
)
from vit_tutorial.patches import patch_grid, patchify, unpatchify
from vit_tutorial.vit import ViT
from vit_tutorial.widgets.pictures import unpack_picture
from vit_tutorial.widgets.shuffle import shuffled


def normalized(model: ViT | CNN, image: Tensor) -> Tensor:
    """Normalize an image, uint8 (c, H, W), to (1, c, H, W) in double
    precision."""
    channels = model.config["channels"]
    mean = model.facts.get("mean", [0.0] * channels)
    std = model.facts.get("std", [1.0] * channels)
    return normalize(image[None], mean, std).double()


@torch.no_grad()
def look(
    vit: ViT,
    picture: Mapping,
    keep: Sequence[int],
    heads_off: Iterable[Sequence[int]] = (),
) -> tuple[Tensor, list[Tensor]]:
    """Show a model some patches of a packed image.

    Returns the probabilities (classes,), and each layer's maps (1, heads, n,
    n).
    """
    tokens = vit.embed(normalized(vit, unpack_picture(picture)))
    kept = [*range(vit.num_prefix), *(vit.num_prefix + place for place in keep)]
    off = switch_off_heads(vit, by_layer(heads_off))
    with record_attention(vit) as maps, off:
        logits = vit.classify(vit.transformer(tokens[:, kept]))
    return logits[0].softmax(dim=0), maps


@torch.no_grad()
def predict(
    vit: ViT,
    image: Tensor,
    *,
    dropped: Iterable[int] = (),
    seed: int = 0,
    positions: bool = True,
    temperature: float = 1.0,
    heads_off: Iterable[Sequence[int]] = (),
) -> Tensor:
    """Predict as the page does, before the first layer and after each.

    Args:
        vit: in double precision.
        image: uint8 (c, H, W).
        dropped, seed, positions, temperature, heads_off: see `Playground`.

    Returns probabilities, (depth + 1, classes).
    """
    x = normalized(vit, image)
    order = shuffled(patch_count(vit.config), seed)
    patch_size = vit.config["patch_size"]
    x = unpatchify(patchify(x, patch_size)[:, order], vit.grid, patch_size)
    tokens = vit.embed(x)
    if not positions and vit.position != "none":
        tokens = tokens - vit.token_positions()
    gone = set(dropped)
    keep = [
        vit.num_prefix + place
        for place, patch in enumerate(order)
        if patch not in gone
    ]
    tokens = tokens[:, [*range(vit.num_prefix), *keep]]
    off = switch_off_heads(vit, by_layer(heads_off))
    with change_temperature(vit, temperature), off:
        stream = list(vit.transformer.stream(tokens))
    answers = [vit.classify(tokens) for tokens in stream[::2]]  # every layer's
    return torch.cat(answers).softmax(dim=1)


def by_layer(heads_off: Iterable[Sequence[int]]) -> dict[int, list[int]]:
    """Group (layer, head) pairs as `switch_off_heads` takes them."""
    off: dict[int, list[int]] = {}
    for layer, head in heads_off:
        off.setdefault(layer, []).append(head)
    return off


def class_name(config: Mapping, index: int) -> str:
    names = config.get("class_names")
    return str(names[index]) if names else f"class {index + 1}"


def token_name(token: int, prefix: int) -> str:
    """Name a token as sentences do; the first `prefix` are no patches."""
    return (
        "the class token" if token < prefix else f"patch {token - prefix + 1}"
    )


def best_answer(config: Mapping, shares: Tensor) -> str:
    """Return the first prediction in words: "Sneaker 83%"."""
    return f"{class_name(config, int(shares.argmax()))} {shares.max():.0%}"


def patch_count(config: Mapping) -> int:
    return math.prod(patch_grid(config["image_size"], config["patch_size"]))


def check_dropped(dropped: Iterable[int], config: Mapping) -> list[int]:
    """Return the dropped patches as a list; raises ValueError for one that the
    model does not have, or that is named twice."""
    count = patch_count(config)
    dropped = [check_number("a dropped patch", each, count) for each in dropped]
    if len(set(dropped)) < len(dropped):
        raise ValueError(f"each dropped patch is named once, got {dropped}")
    return dropped
