"""Attention from inside: recorded, changed, and summed up over layers and
pictures.

b pictures, h heads, n tokens: the class token, where there is one, and then the
patches row by row. A map is (b, h, n, n); row i of it holds how much token i
takes from each token.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from numbers import Real

import torch
import torch.nn.functional as F
from einops import einsum, rearrange, reduce, repeat
from torch import Tensor, nn

from vit_tutorial.checks import (
    check_classes,
    check_grid,
    check_tensor,
    is_whole,
)
from vit_tutorial.patches import pair
from vit_tutorial.vit import Attention, ViT

SHARPEST = 1e6  # the largest scale of scores at which float32 holds them and their differences


@contextmanager
def record_attention(vit: nn.Module) -> Iterator[list[Tensor]]:
    """Collect the attention maps of every forward pass made inside the `with`
    block.

        with record_attention(vit) as maps:
            logits = vit(images)

    Yields:
        A list over layers of (b, heads, n, n): row i holds how much token i
            takes from each
        token, and sums to 1. It is filled by the forward pass; a second pass
            replaces it. The maps
        keep their graph, so gradients reach them unless the pass ran under
            `torch.no_grad()`.

    Raises ValueError for a model that has no `Attention` layer of ours, and
    RuntimeError where a layer's map would be missing: a compiled model, or a
    block in which the model did not run. On leaving, also by an exception, the
    model is as it was.
    """
    layers = attention_layers(vit, "record")
    maps: list[Tensor | None] = [None] * len(layers)

    def listen(index):
        def hook(_module, _inputs, attention):
            maps[index] = attention

        return layers[index].attend.register_forward_hook(hook)

    handles = [listen(index) for index in range(len(layers))]
    try:
        yield maps
    finally:
        for handle in handles:
            handle.remove()
    missing = [
        index for index, attention in enumerate(maps) if attention is None
    ]
    if missing:
        raise RuntimeError(
            f"layers {missing} of {len(layers)} did not run inside record_attention, so there is "
            "no map of them; call the model itself inside the with block, not a function that "
            "torch.compile has made of it"
        )


@contextmanager
def switch_off_heads(
    vit: nn.Module, heads: Mapping[int, Iterable[int]]
) -> Iterator[None]:
    """Let some attention heads contribute nothing to any pass made inside the
    `with` block.

        with switch_off_heads(vit, {0: [1, 3]}):  # heads 1 and 3 of the first
            layer logits = vit(images)

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
    if not isinstance(heads, Mapping) or not all(
        isinstance(o, Iterable) for o in heads.values()
    ):
        raise TypeError(
            f"heads come as {{layer: [head, ...]}}, such as {{0: [1, 3]}}; got {heads!r}"
        )
    chosen = {index: list(off) for index, off in heads.items()}
    for index, off in chosen.items():
        if not is_whole(index) or index not in range(len(layers)):
            raise ValueError(
                f"there is no layer {index!r}; the layers are 0 to {len(layers) - 1}"
            )
        count = layers[index].heads
        if absent := [
            head
            for head in off
            if not is_whole(head) or head not in range(count)
        ]:
            raise ValueError(
                f"layer {index} has no heads {absent}; its heads are 0 to {count - 1}"
            )
    ran = set()

    def switch_off(index):
        def hook(_module, _inputs, attention):
            ran.add(index)
            off = torch.tensor(
                chosen[index], dtype=torch.long, device=attention.device
            )
            return attention.index_fill(1, off, 0.0)

        # In front of the hooks that are there: whoever listens is to hear what
        # is used.
        return layers[index].attend.register_forward_hook(hook, prepend=True)

    handles = [switch_off(index) for index in chosen]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
    if missing := [index for index in chosen if index not in ran]:
        raise RuntimeError(
            f"layers {missing} of {len(layers)} did not run inside switch_off_heads, so no head of "
            "theirs was off; call the model itself inside the with block, not a function that "
            "torch.compile has made of it"
        )


@contextmanager
def change_temperature(vit: nn.Module, temperature: float) -> Iterator[None]:
    """Divide the attention scores of all layers by one more number, inside the
    `with` block.

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
            f"a temperature of {temperature} makes attention scores too large to compare; "
            "all temperatures in force must multiply to 1e-6 or more"
        )
    try:
        for layer, scale in zip(layers, scales, strict=True):
            layer.scale = (
                scale / temperature
            )  # both branches of Attention.forward read it
        yield
    finally:
        for layer, scale in zip(layers, scales, strict=True):
            layer.scale = scale


def attention_on_grid(
    attention: Tensor,
    grid: tuple[int, int],
    patch: tuple[int, int] | None = None,
) -> Tensor:
    """Lay out what one token takes from each patch as the patches lie in the
    picture.

    Args:
        attention: (..., n, n), one map or many, a rollout or a relevance.
        grid: (rows, columns) of the patches.
        patch: (row, column) of the patch that looks; without it, the class
            token does.

    Returns:
        (..., rows, columns). What the token takes from the class token is left
            out and the rest is
        as it was, so it sums to 1 or less.

    Raises ValueError where the grid does not fit, where the patch is outside
    it, and where the class token is asked for and there is none.
    """
    prefix = tokens_before_patches(attention, grid)
    rows, columns = grid
    if patch is None:
        if not prefix:
            raise ValueError(
                "there is no class token here; name a patch=(row, column)"
            )
        token = 0
    else:
        if not is_place(patch, grid):
            raise ValueError(
                f"there is no patch {patch!r} in a grid of {rows} x {columns}"
            )
        row, column = patch
        token = prefix + row * columns + column
    return rearrange(
        attention[..., token, prefix:], "... (h w) -> ... h w", h=rows
    )


def attention_rollout(
    maps: Sequence[Tensor],
    *,
    head_fusion: str = "mean",
    discard_ratio: float = 0.0,
) -> Tensor:
    """Follow attention through all layers: how much of each output token comes
    from each input.

    Args:
        maps: a list over layers of (b, heads, n, n), as `record_attention`
            gives.
        head_fusion: "mean", "max" or "min" over the heads, the first as in the
            paper.
        discard_ratio: this share of each row, its smallest entries, counts as
            0, rounded down to whole entries: at least 0, below 1. Entries equal
            to the smallest that stays do stay. Each row is cut by itself, so
            none is ever emptied; no token is treated apart.

    Returns:
        (b, n, n): row i says from which tokens, before the first layer, token i
            is made after the
        last; row 0 is the class token's, where there is one. Each row sums to
            1, as it does after
        every layer: heads fused and entries discarded, a row is rescaled to sum
            to 1, then half of
        it and half of the residual connection, 0.5 A + 0.5 I, carry on. A row
            of zeros (all its
        heads switched off) leaves the residual alone.

    Raises ValueError for anything but such maps, a fusion that is not in the
    list, or a ratio outside [0, 1). Source: Abnar and Zuidema (2020), section
    3; the paper's appendix D.8 draws Figure 6 with it.
    """
    check_maps(maps)
    if not isinstance(head_fusion, str) or head_fusion not in (
        "mean",
        "max",
        "min",
    ):
        raise ValueError(
            f'head_fusion is "mean", "max" or "min", got {head_fusion!r}'
        )
    if not isinstance(discard_ratio, Real) or not 0 <= discard_ratio < 1:
        raise ValueError(
            f"discard_ratio is at least 0 and below 1, got {discard_ratio!r}"
        )
    b, _, _, n = maps[0].shape
    identity = torch.eye(n).to(maps[0])
    discarded = int(
        round(discard_ratio * n, 6)
    )  # 0.29 * 100 is 28.999999999999996
    discarded = min(discarded, n - 1)
    rollout = repeat(identity, "i j -> b i j", b=b)
    for attention in maps:
        fused = reduce(attention, "b h i j -> b i j", head_fusion)
        smallest_kept = fused.sort(dim=-1).values[
            ..., discarded : discarded + 1
        ]
        fused = F.normalize(
            fused * (fused >= smallest_kept), p=1, dim=-1
        )  # rows sum to 1, or 0
        mixed = F.normalize(
            fused + identity, p=1, dim=-1
        )  # 0.5 A + 0.5 I, or I where A is 0
        rollout = mixed @ rollout
    return rollout


def attention_relevance(
    vit: nn.Module, images: Tensor, classes: Tensor
) -> Tensor:
    """Follow through all layers the attention that spoke for a class: rollout,
    with gradients.

    Args:
        vit: in the mode it is to be judged in, usually `eval()`.
        images: (b, c, H, W).
        classes: (b,), whole numbers: the class of each picture whose logit is
            to be explained.

    Returns:
        (b, n, n): row i says how much each token, before the first layer,
            mattered for that logit
        through token i; row 0 is the class token's, where there is one. Nothing
            is negative. Each
        token starts with a relevance of 1 for itself, which stays in the
            diagonal; rows do not sum
        to 1. In each layer, A is the mean over heads of attention times the
            logit's gradient with
        respect to it, negative products left out, and R becomes R + A R.

    Works under `torch.no_grad()` and with frozen weights, and leaves every
    `.grad` as it was.

    Raises ValueError for images or classes that do not fit and for a model
    built under `torch.inference_mode()`, and what `record_attention` raises.
    Source: Chefer, Gur and Wolf (2021), Generic Attention-Model Explainability,
    equations 5 and 6.
    """
    check_tensor(images, "images")
    if not images.is_floating_point():
        raise ValueError(
            f"images are floating-point numbers here, got {images.dtype}; "
            "data.normalize makes float32 of bytes"
        )
    if isinstance(vit, nn.Module) and any(
        p.is_inference() for p in vit.parameters()
    ):
        raise ValueError(
            "this model was built under torch.inference_mode(), so no gradient passes through it; "
            "build or load it outside"
        )
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        record_attention(vit) as maps,
    ):
        # Pictures that want a gradient give the maps a graph, even where no
        # weight wants one.
        logits = vit(images.detach().clone().requires_grad_())
        classes = (
            check_classes(classes, *logits.shape).clone().to(logits.device)
        )
        gradients = torch.autograd.grad(
            logits.gather(1, classes[:, None]).sum(), maps
        )
    b, _, _, n = maps[0].shape
    relevance = repeat(torch.eye(n).to(maps[0]), "i j -> b i j", b=b)
    for attention, gradient in zip(maps, gradients, strict=True):
        spoke_for = (gradient * attention.detach()).relu()
        spoke_for = reduce(spoke_for, "b h i j -> b i j", "mean")  # their eq. 5
        relevance = relevance + spoke_for @ relevance  # their eq. 6
    return relevance


def mean_attention_distance(
    maps: Sequence[Tensor],
    grid: tuple[int, int],
    patch_size: int | tuple[int, int],
) -> Tensor:
    """Measure how far from itself a patch looks, on average: the size of what a
    head attends to.

    Args:
        maps: a list over layers of (b, heads, n, n), as `record_attention`
            gives.
        grid: (rows, columns) of the patches.
        patch_size: pixels, one number or (height, width).

    Returns:
        (layers, heads), in pixels: the distance between the centres of the
            patch that looks and of
        the patch looked at, weighted by attention, averaged over the patches
            that look and over
        the pictures. Over several batches of one size, take the mean of their
            results.

    The class token has no place: its row is left out, and what a patch takes
    from it too, after which the patch's row is rescaled to sum to 1 (else
    looking at the class token would count as a distance of 0). A row with
    nothing left is left out; a head with no row left is nan.

    Raises ValueError for anything but such maps, and where the grid or the
    patch does not fit. Source: section 4.5, Figure 7 (right), and appendix D.7.
    """
    check_maps(maps)
    prefix = tokens_before_patches(maps[0], grid)
    (rows, columns), (p1, p2) = grid, pair(patch_size)
    y = repeat(torch.arange(rows) * p1, "h -> (h w)", w=columns)
    x = repeat(torch.arange(columns) * p2, "w -> (h w)", h=rows)
    down, right = y[:, None] - y, x[:, None] - x
    pixels = torch.hypot(down.double(), right.double()).to(
        maps[0]
    )  # (patches, patches)

    def distance(attention):
        attention = attention[:, :, prefix:, prefix:]
        total = attention.sum(dim=-1)  # (b, heads, patches)
        nowhere = total == 0
        reach = einsum(attention, pixels, "b h i j, i j -> b h i") / total
        return reach.masked_fill(nowhere, 0).sum(dim=(0, 2)) / (~nowhere).sum(
            dim=(0, 2)
        )

    return torch.stack([distance(attention) for attention in maps])


def layer_predictions(vit: ViT, images: Tensor) -> Tensor:
    """Read an answer off the tokens before the first layer and after every one.

    Args:
        vit: a ViT in `eval()` mode, with a class token or without.
        images: (b, c, H, W).

    Returns:
        (depth + 1, b, classes), logits: the model's own head, which was trained
            on the last layer's
        tokens alone, applied to each layer's. The last are vit(images).

    Raises ValueError for anything but a `ViT` of this package, as for what
    torch.compile returns.
    """
    if not isinstance(vit, ViT):
        raise ValueError(
            f"{type(vit).__name__} is not a vit_tutorial.ViT; read a compiled model through "
            "compiled._orig_mod, and load another library's weights with the readers in weights.py"
        )
    stream = vit.transformer.stream(vit.embed(images))
    every_layer = islice(stream, 0, None, 2)  # not what is between its halves
    return torch.stack([vit.classify(tokens) for tokens in every_layer])


def attention_layers(vit: nn.Module, purpose: str) -> list[Attention]:
    """List a model's attention layers, or raise where they could not be
    hooked."""
    if not isinstance(vit, nn.Module):
        raise TypeError(
            f"a model is needed to {purpose}, such as a ViT; got {vit!r}"
        )
    layers = [
        module for module in vit.modules() if isinstance(module, Attention)
    ]
    if not layers:
        raise ValueError(
            f"{type(vit).__name__} has no vit_tutorial.vit.Attention layer to {purpose}; "
            "load its weights into a ViT of this package with the readers in weights.py"
        )
    if any(
        hasattr(m, "_orig_mod") or m._compiled_call_impl is not None
        for m in vit.modules()
    ):
        raise RuntimeError(
            f"a compiled model has fused its attention; {purpose} the model that went into "
            "torch.compile (compiled._orig_mod), or one that was not compiled"
        )
    return layers


def check_maps(maps: Sequence[Tensor]) -> None:
    """Raise ValueError unless `maps` is what `record_attention` gives,
    filled."""
    if not isinstance(maps, Sequence | Tensor) or not all(
        attention is None or isinstance(attention, Tensor) for attention in maps
    ):
        raise ValueError(
            f"maps are a list of tensors, as record_attention gives; got a {type(maps).__name__}"
        )
    shapes = [
        tuple(attention.shape) for attention in maps if attention is not None
    ]
    if (
        not shapes
        or len(shapes) < len(maps)
        or len(set(shapes)) > 1
        or len(shapes[0]) != 4
        or shapes[0][2] != shapes[0][3]
        or 0 in shapes[0][1:]
        or not all(attention.is_floating_point() for attention in maps)
    ):
        found = ", ".join(map(str, dict.fromkeys(shapes))) or "none"
        raise ValueError(
            "maps are a list over layers, each (b, heads, n, n), of floats and filled by a "
            f"forward pass inside record_attention; got {len(maps)} of shape {found}"
        )


def is_place(patch: object, grid: tuple[int, int]) -> bool:
    """Tell whether `patch` is a (row, column) of the grid."""
    return (
        isinstance(patch, tuple | list)
        and len(patch) == 2
        and all(
            is_whole(i) and i in range(n)
            for i, n in zip(patch, grid, strict=True)
        )
    )


def tokens_before_patches(attention: Tensor, grid: tuple[int, int]) -> int:
    """Tell from a map's size whether a class token stands before the patches: 1
    or 0."""
    rows, columns = check_grid(grid)
    check_tensor(attention, "attention maps")
    n = attention.shape[-1] if attention.ndim else 0
    if attention.shape[-2:] != (n, n) or n - rows * columns not in (0, 1):
        raise ValueError(
            f"a grid of {rows} x {columns} needs maps of {rows * columns} tokens, or of one more "
            f"with a class token; got a shape of {tuple(attention.shape)}"
        )
    return n - rows * columns
