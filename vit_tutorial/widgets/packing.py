"""The ViT that runs in a page, seen from Python: what it is given, and what it makes of that."""

import inspect
from array import array
from base64 import b64decode
from collections.abc import Mapping
from functools import cache
from math import prod
from pathlib import Path

import numpy as np
import torch

from vit_tutorial.data import ASSETS
from vit_tutorial.pretrained import BUNDLED
from vit_tutorial.vit import ViT
from vit_tutorial.widgets.quantise import quantise, read_checkpoint


def page_vit(vit: ViT) -> dict:
    """Pack a ViT for `vit.js`: its config, and its weights in 8 bits with a scale a row.

    In a page, pictures are scaled to [0, 1], and normalised if `vit.config` has the "mean" and
    "std" of the data. Dropout plays no part.

    Raises ValueError for anything but a `ViT` of this package and for weights that are not finite.
    """
    if not isinstance(vit, ViT) or hasattr(vit, "_orig_mod"):
        raise ValueError(
            f"a page runs a vit_tutorial.ViT, not a {type(vit).__name__}; a compiled model holds "
            "it in _orig_mod"
        )
    tensors = {
        name: (tuple(tensor.shape), array("f", tensor.detach().cpu().float().numpy().tobytes()))
        for name, tensor in sorted(vit.state_dict().items())
    }
    return quantise(tensors, vit.config)


def unpack(payload: Mapping) -> ViT:
    """Build the ViT that a page makes of what `page_vit` packed, in eval mode."""
    data, shapes = b64decode(payload["data"]), payload["tensors"]
    single = {name: prod(shape) == shape[-1] for name, shape in shapes.items()}
    counts = [shape[-1] if single[name] else prod(shape[:-1]) for name, shape in shapes.items()]
    floats = iter(np.split(np.frombuffer(data, "<f4", sum(counts)), np.cumsum(counts)[:-1]))
    integers = np.frombuffer(data, "i1", offset=4 * sum(counts))
    state = {}
    for name, shape in shapes.items():
        numbers = next(floats)
        if not single[name]:
            whole, integers = np.split(integers, [prod(shape)])
            numbers = whole.reshape(-1, shape[-1]) * numbers[:, None]
        state[name] = torch.tensor(numbers.astype(np.float32).reshape(shape))
    known = inspect.signature(ViT).parameters
    config = payload["config"]
    with torch.random.fork_rng(devices=[]):  # leaves the caller's random numbers as they were
        vit = ViT(**{name: value for name, value in config.items() if name in known})
    vit.load_state_dict(state)
    vit.config |= config
    return vit.eval()


def dequantised(vit: ViT) -> ViT:
    """Copy a ViT with the weights that a page will use: what is left of them after 8 bits."""
    return unpack(page_vit(vit))


def bundled_name(payload: Mapping) -> str | None:
    """Name the bundled checkpoint that holds just these weights; None where none does."""
    for name in BUNDLED:
        path = ASSETS / f"{name}.safetensors"
        if path.exists() and packed_checkpoint(path, path.stat().st_mtime_ns) == payload:
            return name
    return None


@cache
def packed_checkpoint(path: Path, _changed_at: int) -> dict:
    return quantise(*read_checkpoint(path))
