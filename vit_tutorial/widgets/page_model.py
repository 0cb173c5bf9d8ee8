"""What figures whose model looks at a picture share: the picture, and what the
page answers."""

import math
import operator
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from vit_tutorial.attention_maps import (
    change_temperature,
    record_attention,
    switch_off_heads,
)
from vit_tutorial.cnn import CNN
from vit_tutorial.data import normalize
from vit_tutorial.patches import pair, patch_grid, patchify, unpatchify
from vit_tutorial.plots import INK
from vit_tutorial.vit import ViT
from vit_tutorial.widgets.base import (
    as_images,
    described,
    pack_pictures,
    unpack_picture,
)
from vit_tutorial.widgets.shuffle import shuffled


def pack_fitting(
    config: Mapping, images: Tensor, names: Sequence[str] | None = None
) -> list[dict[str, object]]:
    """Put pictures for one model into a trait, each with a name; without names
    they are numbered.

    Raises ValueError for anything but uint8 (n, c, H, W) of the model's size.
    """
    images = as_images(images)
    size = (config["channels"], *pair(config["image_size"]))
    shape = tuple(images.shape) if isinstance(images, Tensor) else None
    if shape is None or len(shape) != 4 or not len(images) or shape[1:] != size:
        raise ValueError(
            f"this model reads pictures of shape (n, {', '.join(map(str, size))}), n at least 1; "
            f"got {described(images) if shape is None else shape}"
        )
    if names is None:
        names = [f"picture {i + 1}" for i in range(len(images))]
    return pack_pictures(images, names)


def check_number(name: str, value: int, count: int) -> int:
    """Return a whole number from 0 to count - 1 as an int, NumPy's and
    PyTorch's as well.

    Raises ValueError for any other, 1.0 included: it is no index.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = -1
    if number not in range(count):
        raise ValueError(f"{name} is one of 0 to {count - 1}, got {value!r}")
    return number


def check_numbers(name: str, values: Iterable[int], count: int) -> list[int]:
    return [check_number(name, value, count) for value in values]


def normalized(model: ViT | CNN, image: Tensor) -> Tensor:
    """Read a picture, uint8 (c, H, W), as the page's model does: (1, c, H, W),
    double precision."""
    config, channels = model.config, model.config["channels"]
    mean, std = (
        config.get("mean", [0.0] * channels),
        config.get("std", [1.0] * channels),
    )
    return normalize(image[None], mean, std).double()


@torch.no_grad()
def look(
    vit: ViT,
    picture: Mapping,
    keep: Sequence[int],
    heads_off: Iterable[Sequence[int]] = (),
) -> tuple[Tensor, list[Tensor]]:
    """Show a model some patches of a picture: probabilities (classes,), maps
    (1, heads, n, n)."""
    off: dict[int, list[int]] = {}
    for layer, head in heads_off:
        off.setdefault(layer, []).append(head)
    tokens = vit.embed(normalized(vit, unpack_picture(picture)))
    kept = [*range(vit.num_prefix), *(vit.num_prefix + place for place in keep)]
    with record_attention(vit) as maps, switch_off_heads(vit, off):
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
    """Answer as the page does, before the first layer and after each: (depth +
    1, classes).

    vit: in double precision. image: uint8 (c, H, W). The rest: see
    `Playground`.
    """
    x = normalized(vit, image)
    order = shuffled(patch_count(vit.config), seed)
    patch_size = vit.config["patch_size"]
    x = unpatchify(patchify(x, patch_size)[:, order], vit.grid, patch_size)
    tokens = vit.embed(x)
    if not positions and vit.position == "learned":
        tokens = tokens - vit.pos_embedding
    elif not positions and vit.position != "none":
        tokens[:, vit.num_prefix :] -= vit.patch_positions()
    gone = set(dropped)
    keep = [
        vit.num_prefix + place
        for place, patch in enumerate(order)
        if patch not in gone
    ]
    tokens = tokens[:, [*range(vit.num_prefix), *keep]]
    off: dict[int, list[int]] = {}
    for layer, head in heads_off:
        off.setdefault(layer, []).append(head)
    answers = [vit.classify(tokens)]
    with change_temperature(vit, temperature), switch_off_heads(vit, off):
        for attention, feed_forward in vit.transformer.layers:
            tokens = attention(tokens) + tokens  # eq. 2
            tokens = feed_forward(tokens) + tokens  # eq. 3
            answers.append(vit.classify(tokens))
    return torch.cat(answers).softmax(dim=1)


def class_name(config: Mapping, index: int) -> str:
    names = config.get("class_names")
    return str(names[index]) if names else f"class {index + 1}"


def best_answer(config: Mapping, shares: Tensor) -> str:
    """Say what a model takes a picture for: "Sneaker 83%"."""
    return f"{class_name(config, shares.argmax().item())} {shares.max():.0%}"


def patch_count(config: Mapping) -> int:
    return math.prod(patch_grid(config["image_size"], config["patch_size"]))


def hatching(
    grid: tuple[int, int], dropped: Iterable[int], x: int, side: int
) -> str:
    """Draw dropped patches onto a panel of `still.panel`: grey, with a stroke
    across."""
    rows, columns = grid
    high, wide = side / rows, side / columns
    parts = []
    for place in dropped:
        row, column = divmod(place, columns)
        left, top = x + column * wide, 22 + row * high
        parts.append(
            f'<path d="M{left:.1f} {top:.1f}h{wide:.1f}v{high:.1f}h-{wide:.1f}z" fill="#d4d7da"/>'
            f'<path d="M{left:.1f} {top + high:.1f}l{wide:.1f} -{high:.1f}" stroke="{INK}"/>'
        )
    return "".join(parts)
