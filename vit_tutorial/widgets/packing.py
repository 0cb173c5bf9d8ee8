"""Pack a model for a page, and unpack what the page makes of it."""

from array import array
from base64 import b64decode
from collections.abc import Mapping, Sequence
from functools import cache
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vit_tutorial.checks import ARGUMENTS
from vit_tutorial.cnn import CNN
from vit_tutorial.data import ASSETS
from vit_tutorial.pretrained import BUNDLED
from vit_tutorial.vit import ViT
from vit_tutorial.widgets.quantise import (
    COUNTER,
    quantise,
    read_checkpoint,
    row_length,
)

# What a model's config holds, and its facts must not be called.
CONFIG = {*ARGUMENTS, "pool", "position"}


def page_vit(vit: ViT) -> dict:
    """Pack a ViT for `vit.js`: see `page_model`. Raises ValueError for any
    other model."""
    if not isinstance(vit, ViT) or hasattr(vit, "_orig_mod"):
        raise ValueError(
            f"a page runs a vit_tutorial.ViT, not a {type(vit).__name__}; a "
            "compiled model holds it in _orig_mod"
        )
    return page_model(vit)


def page_cnn(cnn: CNN) -> dict:
    """Pack the small CNN for `cnn.js`: see `page_model`. Raises ValueError for
    any other model."""
    if not isinstance(cnn, CNN):
        raise ValueError(
            "a page runs the CNN of vit_tutorial.cnn, not a "
            f"{type(cnn).__name__}"
        )
    return page_model(cnn)


def page_model(model: ViT | CNN) -> dict:
    """Pack a model for a page: its weights in 8 bits with a scale a row, and
    its arguments and facts in one, as the page's `config`.

    In a page, images are scaled to [0, 1], and normalised if `model.facts` has
    the "mean" and "std" of the data. Dropout plays no part.

    Raises ValueError for weights that are not finite, and for class names or
    other facts that a page cannot read.
    """
    if twice := [name for name in model.facts if name in CONFIG]:
        raise ValueError(
            f"no fact can be called {', '.join(twice)}, as an argument is"
        )
    tensors = {
        name: (
            tuple(tensor.shape),
            array("f", tensor.detach().cpu().float().numpy().tobytes()),
        )
        for name, tensor in sorted(model.state_dict().items())
        if not name.endswith(COUNTER)
    }
    facts = dict(model.facts)
    names = facts.get("class_names")
    if names is not None:
        facts["class_names"] = checked_names(names, model.config["num_classes"])
    return quantise(tensors, model.config | facts)


def checked_names(names: Sequence[str], count: int) -> list[str]:
    """Return the classes' names as strings; ValueError unless there is one for
    each class."""
    if (
        isinstance(names, str)
        or not isinstance(names, Sequence)
        or len(names) != count
    ):
        found = (
            f"{len(names)} of them"
            if isinstance(names, list | tuple)
            else f"{names!r:.80}"
        )
        raise ValueError(
            f"class_names is a list with a name for each of {count} classes, "
            f"got {found}"
        )
    return [str(name) for name in names]


def unpack(payload: Mapping) -> Any:
    """Build the model that a page makes of what `page_model` packed, in eval
    mode."""
    architecture = CNN if "widths" in payload["config"] else ViT
    data, shapes = b64decode(payload["data"]), payload["tensors"]
    rows = {
        name: prod(shape) // row_length(shape) for name, shape in shapes.items()
    }
    counts = [
        prod(shape) if rows[name] == 1 else rows[name]
        for name, shape in shapes.items()
    ]
    floats = iter(
        np.split(
            np.frombuffer(data, "<f4", sum(counts)), np.cumsum(counts)[:-1]
        )
    )
    integers = np.frombuffer(data, "i1", offset=4 * sum(counts))
    state = {}
    for name, shape in shapes.items():
        numbers = next(floats)
        if rows[name] > 1:
            whole, integers = np.split(integers, [prod(shape)])
            numbers = whole.reshape(rows[name], -1) * numbers[:, None]
        state[name] = torch.tensor(numbers.astype(np.float32).reshape(shape))
    arguments, facts = {}, {}
    for name, value in payload["config"].items():
        (arguments if name in CONFIG else facts)[name] = value
    with torch.random.fork_rng(devices=[]):  # the caller's stay as they were
        model = architecture(**arguments)
    model.facts = facts
    state |= {
        name: t
        for name, t in model.state_dict().items()
        if name.endswith(COUNTER)
    }
    model.load_state_dict(state)
    return model.eval()


def dequantised(model: ViT | CNN) -> ViT | CNN:
    """Copy a model with the weights that a page will use, rounded to 8 bits."""
    is_cnn = isinstance(model, CNN)
    return unpack(page_cnn(model) if is_cnn else page_vit(model))


def bundled_name(payload: Mapping) -> str | None:
    """Name the bundled checkpoint that holds just these weights; None where
    none does."""
    for name in BUNDLED:
        path = ASSETS / f"{name}.safetensors"
        if (
            path.exists()
            and packed_checkpoint(path, path.stat().st_mtime_ns) == payload
        ):
            return name
    return None


@cache
def packed_checkpoint(path: Path, _changed_at: int) -> dict:
    return quantise(*read_checkpoint(path))
