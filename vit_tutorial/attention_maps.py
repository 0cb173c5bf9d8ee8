"""What attention maps say: summed up over layers, measured in pixels, and what
the model would predict after each layer.

b images, h heads, n tokens: the class token, where there is one, and then the
patches row by row. A map is (b, h, n, n); row i of it holds how much token i
takes from each token. `record_attention` in `inside.py` collects them.
"""

from collections.abc import Sequence
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
from vit_tutorial.inside import record_attention
from vit_tutorial.patches import pair
from vit_tutorial.vit import ViT

__all__ = [
    "attention_on_grid",
    "attention_relevance",
    "attention_rollout",
    "layer_predictions",
    "mean_attention_distance",
    "record_attention",
]


def attention_on_grid(
    attention: Tensor,
    grid: tuple[int, int],
    patch: tuple[int, int] | None = None,
) -> Tensor:
    """Lay out what one token takes from each patch, as the patches lie in the
    image.

    Args:
        attention: (..., n, n), one map or many, a rollout or a relevance.
        grid: (rows, columns) of the patches.
        patch: (row, column) of the patch that attends; without it, the class
            token does.

    Returns:
        (..., rows, columns). What the token takes from the class token is left
        out and the rest is as it was, so it sums to 1 or less.

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
        is made after the last; row 0 is the class token's, where there is one.
        Each row sums to 1, as it does after every layer: heads fused and
        entries discarded, a row is rescaled to sum to 1, then half of it and
        half of the skip connection, 0.5 A + 0.5 I, carry on. A row of zeros
        (all its heads switched off) leaves the skip connection alone.

    Raises ValueError for anything but such maps, a fusion that is not in the
    list, or a ratio outside [0, 1). Source: Abnar and Zuidema (2020), section
    3; the paper's appendix D.8 draws Figure 6 with it.
    """
    check_maps(maps)
    fusions = ("mean", "max", "min")
    if not isinstance(head_fusion, str) or head_fusion not in fusions:
        raise ValueError(
            f'head_fusion is "mean", "max" or "min", got {head_fusion!r}'
        )
    if not isinstance(discard_ratio, Real) or not 0 <= discard_ratio < 1:
        raise ValueError(
            f"discard_ratio is at least 0 and below 1, got {discard_ratio!r}"
        )
    b, _, _, n = maps[0].shape
    identity = torch.eye(n).to(maps[0])
    # Rounded first, for 0.29 * 100 is 28.999999999999996.
    discarded = min(int(round(discard_ratio * n, 6)), n - 1)
    rollout = repeat(identity, "i j -> b i j", b=b)
    for attention in maps:
        fused = reduce(attention, "b h i j -> b i j", head_fusion)
        smallest_kept = fused.sort(dim=-1).values[..., discarded, None]
        fused = fused * (fused >= smallest_kept)
        fused = F.normalize(fused, p=1, dim=-1)  # rows sum to 1, or 0
        # 0.5 A + 0.5 I, or I where A is 0
        mixed = F.normalize(fused + identity, p=1, dim=-1)
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
        classes: (b,), whole numbers: the class of each image whose logit is to
            be explained.

    Returns:
        (b, n, n): row i says how much each token, before the first layer,
        mattered for that logit through token i; row 0 is the class token's,
        where there is one. Nothing is negative. Each token starts with a
        relevance of 1 for itself, which stays in the diagonal; rows do not sum
        to 1. In each layer, A is the mean over heads of attention times the
        logit's gradient with respect to it, negative products left out, and R
        becomes R + A R.

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
            "this model was built under torch.inference_mode(), so no gradient "
            "passes through it; build or load it outside"
        )
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        record_attention(vit) as maps,
    ):
        # Images that want a gradient give the maps a graph, even where no
        # weight wants one.
        logits = vit(images.detach().clone().requires_grad_())
        classes = check_classes(classes, *logits.shape).clone()
        explained = logits.gather(1, classes.to(logits.device)[:, None])
        gradients = torch.autograd.grad(explained.sum(), maps)
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
    """Measure how far a patch attends on average: a head's receptive field.

    Args:
        maps: a list over layers of (b, heads, n, n), as `record_attention`
            gives.
        grid: (rows, columns) of the patches.
        patch_size: pixels, one number or (height, width).

    Returns:
        (layers, heads), in pixels: the distance between the centre of the patch
        that attends and that of the patch attended to, weighted by attention,
        averaged over patches and images. Over several batches of one size, take
        the mean of their results.

    The class token has no place: its row is left out, and what a patch takes
    from it too, after which the patch's row is rescaled to sum to 1 (else
    attention to the class token would count as a distance of 0). A row with
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
    pixels = torch.hypot(down.double(), right.double())  # (patches, patches)
    pixels = pixels.to(maps[0])

    def distance(attention):
        attention = attention[:, :, prefix:, prefix:]
        total = attention.sum(dim=-1)  # (b, heads, patches)
        reach = einsum(attention, pixels, "b h i j, i j -> b h i") / total
        reach = reach.masked_fill(total == 0, 0)
        return reach.sum(dim=(0, 2)) / (total != 0).sum(dim=(0, 2))

    return torch.stack([distance(attention) for attention in maps])


def layer_predictions(vit: ViT, images: Tensor) -> Tensor:
    """Read a prediction off the tokens before the first layer and after every
    layer.

    Args:
        vit: a ViT in `eval()` mode, with a class token or without.
        images: (b, c, H, W).

    Returns:
        (depth + 1, b, classes), logits: the model's own head, which was trained
        on the last layer's tokens alone, applied to each layer's. The last are
        vit(images).

    Raises ValueError for anything but a `ViT` of this package, as for what
    torch.compile returns.
    """
    if not isinstance(vit, ViT):
        raise ValueError(
            f"{type(vit).__name__} is not a vit_tutorial.ViT; read a compiled "
            "model through compiled._orig_mod, and load another library's "
            "weights with the readers in weights.py"
        )
    stream = vit.transformer.stream(vit.embed(images))
    layers = islice(stream, 0, None, 2)  # not what is within one
    return torch.stack([vit.classify(tokens) for tokens in layers])


def check_maps(maps: Sequence[Tensor]) -> None:
    """Raise ValueError unless `maps` is what `record_attention` fills."""
    if not isinstance(maps, Sequence | Tensor) or not all(
        attention is None or isinstance(attention, Tensor) for attention in maps
    ):
        raise ValueError(
            "maps are a list of tensors, as record_attention gives; got a "
            f"{type(maps).__name__}"
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
            "maps are a list over layers, each (b, heads, n, n), of floats and "
            "filled by a forward pass inside record_attention; got "
            f"{len(maps)} of shape {found}"
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
            f"a grid of {rows} x {columns} needs maps of {rows * columns} "
            "tokens, or of one more with a class token; got a shape of "
            f"{tuple(attention.shape)}"
        )
    return n - rows * columns
