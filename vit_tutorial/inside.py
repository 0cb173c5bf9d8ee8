"""Look inside a model, or change what happens there, for one `with` block.

b images, h heads, n tokens. A layer's attention weights, its map, are (b, h, n,
n): row i holds how much token i takes from each token.
"""

import math
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from numbers import Real
from typing import Any

import torch
from torch import Tensor, nn

from vit_tutorial.checks import is_whole
from vit_tutorial.vit import Attention

__all__ = ["change_temperature", "record_attention", "switch_off_heads"]

SHARPEST = 1e6  # of the scores' scale: float32 still tells them apart


@contextmanager
def record_attention(vit: nn.Module) -> Generator[list[Tensor]]:
    """Collect the attention maps of every forward pass made inside the `with`
    block.

        with record_attention(vit) as maps:
            logits = vit(images)

    Yields:
        A list over layers of (b, heads, n, n): row i holds how much token i
        takes from each token, and sums to 1. The forward pass fills it; a
        second pass replaces the maps. They keep their graph, so gradients reach
        them unless the pass ran under `torch.no_grad()`.

    Raises ValueError for a model that has no `Attention` layer of ours, and
    RuntimeError where a layer's map would be missing: a compiled model, or a
    block in which the model did not run. On leaving, also by an exception, the
    model is as it was.
    """
    layers = attention_layers(vit, "record")
    maps: list[Any] = [None] * len(layers)  # the forward pass fills it

    def keep(index, attention):
        maps[index] = attention

    with hooked(dict(enumerate(layers)), keep):
        yield maps
    missing = [i for i, attention in enumerate(maps) if attention is None]
    if missing:
        raise RuntimeError(
            f"layers {missing} of {len(layers)} did not run inside "
            "record_attention, so there is no map of them; call the model "
            "itself inside the with block, not a function that torch.compile "
            "has made of it"
        )


@contextmanager
def switch_off_heads(
    vit: nn.Module, heads: Mapping[int, Iterable[int]]
) -> Generator[None]:
    """Let some attention heads contribute nothing to any pass made inside the
    `with` block.

        with switch_off_heads(vit, {0: [1, 3]}):  # of the first layer
            logits = vit(images)

    Args:
        heads: which heads of which layers, both counted from 0.

    A head that is off has a map of zeros, after the softmax: it sends nothing,
    and the other heads are as they were. `record_attention`, outside this block
    or inside, records the maps as used, so these rows sum to 0.

    Raises ValueError for a layer or a head that is not there and for a model
    that has no `Attention` layer of ours; TypeError for heads in another form;
    RuntimeError for a compiled model, and for a block in which a layer that has
    heads to switch off did not run. On leaving, also by an exception, the model
    is as it was.
    """
    layers = attention_layers(vit, "change")
    chosen = check_heads(heads, layers)
    ran = set()

    def switch_off(index, attention):
        ran.add(index)
        off = torch.tensor(chosen[index], dtype=torch.long)
        return attention.index_fill(1, off.to(attention.device), 0.0)

    # First, so that a hook that records hears what is used.
    with hooked({i: layers[i] for i in chosen}, switch_off, first=True):
        yield
    if missing := [index for index in chosen if index not in ran]:
        raise RuntimeError(
            f"layers {missing} of {len(layers)} did not run inside "
            "switch_off_heads, so no head of theirs was off; call the model "
            "itself inside the with block, not a function that torch.compile "
            "has made of it"
        )


@contextmanager
def change_temperature(vit: nn.Module, temperature: float) -> Generator[None]:
    """Divide the attention scores of all layers once more, inside the `with`
    block.

        with change_temperature(vit, 4.0):
            logits = vit(images)

    Args:
        temperature: 1 changes nothing; near 0 each token attends to one token,
            far above 1 to all of them equally. Inside another such block the
            two multiply.

    Raises ValueError for a temperature that is not positive and finite, or so
    small that scores overflow, and for a model that has no `Attention` layer of
    ours; RuntimeError for a compiled model. On leaving, also by an exception,
    the model is as it was.
    """
    if not isinstance(temperature, Real) or not 0 < temperature < math.inf:
        raise ValueError(
            f"a temperature is positive and finite, got {temperature!r}"
        )
    layers = attention_layers(vit, "change")
    scales = [layer.scale for layer in layers]
    if max(scales) > SHARPEST * temperature:
        raise ValueError(
            f"a temperature of {temperature} makes attention scores too large "
            "to compare; all temperatures in force must multiply to 1e-6 or "
            "more"
        )
    try:
        for layer, scale in zip(layers, scales, strict=True):
            layer.scale = scale / temperature  # read fused or not
        yield
    finally:
        for layer, scale in zip(layers, scales, strict=True):
            layer.scale = scale


@contextmanager
def hooked(
    layers: Mapping[int, Attention],
    hook: Callable[[int, Tensor], Tensor | None],
    *,
    first: bool = False,
) -> Generator[None]:
    """Let `hook(index, attention)` see the maps of some layers, which are off
    the fused kernel meanwhile; a map that it returns replaces the layer's.

    first: before the hooks that are there already.
    """
    fused = {index: layer.fused for index, layer in layers.items()}
    handles = []
    try:
        for index, layer in layers.items():
            layer.fused = False
            handles.append(
                layer.attend.register_forward_hook(
                    lambda _module, _inputs, attention, index=index: hook(
                        index, attention
                    ),
                    prepend=first,
                )
            )
        yield
    finally:
        for handle in handles:
            handle.remove()
        for index, layer in layers.items():
            layer.fused = fused[index]


def attention_layers(vit: nn.Module, purpose: str) -> list[Attention]:
    """List a model's attention layers, or raise where they have no maps."""
    if not isinstance(vit, nn.Module):
        raise TypeError(
            f"a model is needed to {purpose}, such as a ViT; got {vit!r}"
        )
    layers = [
        module for module in vit.modules() if isinstance(module, Attention)
    ]
    if not layers:
        raise ValueError(
            f"{type(vit).__name__} has no vit_tutorial.vit.Attention layer to "
            f"{purpose}; load its weights into a ViT of this package with the "
            "readers in weights.py"
        )
    if any(
        hasattr(m, "_orig_mod") or m._compiled_call_impl is not None
        for m in vit.modules()
    ):
        raise RuntimeError(
            f"a compiled model has fused its attention; {purpose} the model "
            "that went into torch.compile (compiled._orig_mod), or one that "
            "was not compiled"
        )
    return layers


def check_heads(
    heads: Mapping[int, Iterable[int]], layers: list[Attention]
) -> dict[int, list[int]]:
    """Return heads by layer as lists; raise for one that is not there."""
    if not isinstance(heads, Mapping) or not all(
        isinstance(off, Iterable) for off in heads.values()
    ):
        raise TypeError(
            "heads come as {layer: [head, ...]}, such as {0: [1, 3]}; "
            f"got {heads!r}"
        )
    chosen = {index: list(off) for index, off in heads.items()}
    for index, off in chosen.items():
        if not is_whole(index) or index not in range(len(layers)):
            raise ValueError(
                f"there is no layer {index!r}; the layers are "
                f"0 to {len(layers) - 1}"
            )
        there = range(layers[index].heads)
        absent = [h for h in off if not is_whole(h) or h not in there]
        if absent:
            raise ValueError(
                f"layer {index} has no heads {absent}; its heads are "
                f"0 to {there[-1]}"
            )
    return chosen
