"""Fit a trained model to another task: new classes, another image size."""

from collections.abc import Callable
from typing import Any

import torch

from vit_tutorial.positions import POSITIONS
from vit_tutorial.vit import ViT

__all__ = ["adapt"]

LARGEST = 2**28  # entries of one tensor: 1 GiB in float32


def adapt(
    vit: ViT,
    *,
    num_classes: int | None = None,
    image_size: int | tuple[int, int] | None = None,
) -> ViT:
    """Copy a ViT for another number of classes, another image size, or both.

    A head for another number of classes is new: zeros, as before training. For
    another grid of patches, learned positions are resized and computed ones
    computed; all other weights stay.

    Raises ValueError for sizes that do not fit.
    Source: section 3.2, fine-tuning.
    """
    asked = {"num_classes": num_classes, "image_size": image_size}
    changes: dict[str, Any] = {n: v for n, v in asked.items() if v is not None}
    arguments = vit.config | changes
    build_empty(ViT, **arguments)  # too large a size is found without memory
    with torch.random.fork_rng(devices=[]):  # the caller's stay as they were
        new = ViT(**arguments)
    new.facts = dict(vit.facts)
    state = vit.state_dict()
    with torch.no_grad():
        state |= POSITIONS[vit.position].resized(vit, new.grid)
    if new.config["num_classes"] != vit.config["num_classes"]:
        for key in ("mlp_head.1.weight", "mlp_head.1.bias"):
            state[key] = new.state_dict()[key]  # zeros
        new.facts.pop("class_names", None)
    new.load_state_dict(state)
    return new.to(next(vit.parameters())).train(vit.training)


def build_empty(make: Callable[..., ViT], *variant: str, **arguments) -> ViT:
    """Build a ViT on the meta device; ValueError for one too large to hold."""
    sizes = {key: arguments[key] for key in ("image_size", "num_classes")}
    try:
        with torch.device("meta"):
            vit = make(*variant, **arguments)
    except RuntimeError as error:  # more entries than PyTorch can count
        raise ValueError(f"a ViT of {sizes} is too large: {error}") from error
    for name, tensor in (*vit.named_parameters(), *vit.named_buffers()):
        if tensor.numel() > LARGEST:
            raise ValueError(
                f"a ViT of {sizes} is too large: {name} has {tensor.numel():,} "
                f"entries, and {LARGEST:,} is the most that is built here"
            )
    return vit
