"""Check properties that every correct Vision Transformer has.

    for name, wrong in check_all(vit).items():
        print(f"{name}: {wrong or 'holds'}")

Each function takes a ViT and images that it can read, (b, c, H, W) with two of
them or more, and raises an AssertionError that says what does not hold. They
find mistakes that a look at shapes cannot find: `bugs.py` has ten, and the one
of these that catches each. Randomise all weights first: in a fresh model the
head and the biases are zero, and a mistake in them would go unnoticed.

b images, n tokens, h heads of width d, D = dim.
"""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from vit_tutorial.inside import record_attention
from vit_tutorial.vit import ViT

__all__ = ["check_all"]

# For float32, a few layers deep.
CLOSE: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-5}


def patches_are_squares(vit: ViT, images: Tensor) -> None:
    """Check that a pixel changes the token of its own patch, and no other."""
    p1, p2 = vit.to_patch_embedding[0].patch_size
    changed = images.clone()
    changed[..., :p1, :p2] += 1  # all of the first patch
    before, after = (
        vit.to_patch_embedding(images),
        vit.to_patch_embedding(changed),
    )
    moved = (after - before).abs().amax(dim=-1) > 1e-6  # (b, patches)
    first = torch.zeros_like(moved)
    first[:, 0] = True
    assert torch.equal(moved, first), (
        "a change of the first patch's pixels reaches the tokens "
        f"{moved[0].nonzero().flatten().tolist()}, not token 0 alone"
    )


def places_matter(vit: ViT, images: Tensor) -> None:
    """Check that the order of the patches matters: the model has positions.

    Holds of every kind of positions but "none".
    """
    p1, p2 = vit.to_patch_embedding[0].patch_size
    moved = images.roll((p1, p2), dims=(-2, -1))  # by one patch, around
    before, after = read_out(vit, images), read_out(vit, moved)
    assert not torch.allclose(before, after, **CLOSE), (
        "the patches have moved, but the output is the same: their order is "
        "lost"
    )


def images_are_alone(vit: ViT, images: Tensor) -> None:
    """Check that an image's output does not depend on the rest of its batch."""
    together = vit.transformer(vit.embed(images))
    alone = [vit.transformer(vit.embed(image[None])) for image in images]
    alone = torch.cat(alone)
    assert torch.allclose(together, alone, **CLOSE), (
        "an image's output changes when other images share its batch"
    )


def tokens_are_alike(vit: ViT, images: Tensor) -> None:
    """Check that attention is equivariant: tokens in another order give the
    same outputs, in that order."""
    x = vit.embed(images)
    order = torch.randperm(
        x.shape[1], generator=torch.Generator().manual_seed(0)
    )
    for attention, _ in vit.transformer.layers:
        assert torch.allclose(
            attention(x[:, order]), attention(x)[:, order], **CLOSE
        ), "reordering the tokens changes what attention gives each of them"


def weights_sum_to_one(vit: ViT, images: Tensor) -> None:
    """Check that each token's attention weights sum to 1, equation 6."""
    with record_attention(vit) as maps:
        vit(images)
    for attention in maps:
        taken = attention.sum(dim=-1)  # (b, h, n)
        assert torch.allclose(taken, torch.ones_like(taken), **CLOSE), (
            f"attention weights sum to {taken.min():.2f} to {taken.max():.2f} "
            "per token, not to 1"
        )


def scores_are_scaled(vit: ViT, images: Tensor) -> None:
    """Check that scores are q k^T / sqrt(d), d a head's width, equation 6."""
    with record_attention(vit) as maps:
        vit(images)
    x, first = vit.embed(images), vit.transformer.layers[0][0]
    q, k, _ = rearrange(
        first.fn.to_qkv(first.norm(x)),
        "b n (three h d) -> three b h n d",
        three=3,
        h=vit.config["heads"],
    )
    expected = (
        q @ k.transpose(-1, -2) * vit.config["dim_head"] ** -0.5
    ).softmax(dim=-1)
    apart = (maps[0] - expected).abs().max()
    assert torch.allclose(maps[0], expected, **CLOSE), (
        f"the weights are not those of equation 6: up to {apart:.2f} apart"
    )


def skips_carry_the_stream(vit: ViT, images: Tensor) -> None:
    """Check that the stream is unchanged where attention and the MLP add
    nothing, equations 2 and 3."""
    silent = [
        module
        for attention, feed_forward in vit.transformer.layers
        for module in (attention, feed_forward)
    ]
    hooks = [
        each.fn.register_forward_hook(lambda *_: torch.zeros(()))
        for each in silent
    ]
    try:
        x = vit.embed(images)
        assert torch.allclose(vit.transformer(x), x, **CLOSE), (
            "attention and MLP add nothing, but the stream changes"
        )
    finally:
        for hook in hooks:
            hook.remove()


def layers_are_their_own(vit: ViT, images: Tensor) -> None:
    """Check that each layer has weights of its own, by counting them."""
    a_layer, found = (
        sum(weight.numel() for weight in part.parameters())  # each once
        for part in (vit.transformer.layers[0], vit.transformer.layers)
    )
    depth = vit.config["depth"]
    assert found == depth * a_layer, (
        f"{depth} layers of {a_layer:,} weights should have "
        f"{depth * a_layer:,}; here are {found:,}"
    )


def logits_are_free(vit: ViT, images: Tensor) -> None:
    """Check that a large logit for the right class brings the loss near 0."""
    sure = vit.mlp_head[1]
    with torch.no_grad():
        before = sure.bias.clone()
        sure.bias[0] += 1000
        loss = F.cross_entropy(vit(images), torch.zeros(len(images)).long())
        sure.bias.copy_(before)
    assert loss < 0.01, (
        f"with a very large logit for the right class, the loss is {loss:.2f}"
    )


def evaluation_is_deterministic(vit: ViT, images: Tensor) -> None:
    """Check that in eval mode the same images give the same output twice."""
    vit.eval()
    assert torch.equal(read_out(vit, images), read_out(vit, images)), (
        "two passes in eval mode differ: something random is still active"
    )


@torch.no_grad()
def read_out(vit: ViT, images: Tensor) -> Tensor:
    """Return the vector that the head receives, (b, D), before its norm."""
    x = vit.transformer(vit.embed(images))
    return x.mean(dim=1) if vit.pool == "mean" else x[:, 0]


PROPERTIES: dict[str, Callable[[ViT, Tensor], None]] = {
    each.__name__: each
    for each in (
        patches_are_squares,
        places_matter,
        images_are_alone,
        tokens_are_alike,
        weights_sum_to_one,
        scores_are_scaled,
        skips_carry_the_stream,
        layers_are_their_own,
        logits_are_free,
        evaluation_is_deterministic,
    )
}


def check_all(vit: ViT) -> dict[str, str]:
    """Check every property of a ViT, on a copy with random weights.

    The copy is on the CPU, in eval mode and in double precision. A model that
    is meant to have no positions is not asked whether they matter.

    Returns {property: what is wrong}, an empty text where it holds. Raises
    TypeError for a model that is not made of this package's parts.
    """
    parts = ("to_patch_embedding", "transformer", "mlp_head", "embed", "config")
    if missing := [name for name in parts if not hasattr(vit, name)]:
        raise TypeError(
            "check_all reads a ViT of this package, or one with the same "
            f"parts; {type(vit).__name__} has no {', '.join(missing)}. What "
            "needs no more than model(images) is in chapter 11's exercises"
        )
    vit = deepcopy(vit).cpu().double().eval()
    randomise(vit)
    shape = (4, vit.config["channels"], *vit.image_size)
    random = torch.Generator().manual_seed(0)
    images = torch.randn(shape, generator=random, dtype=torch.float64)
    found = {}
    for name, check in PROPERTIES.items():
        if name == "places_matter" and vit.position == "none":
            continue
        try:
            check(vit, images)
            found[name] = ""
        except Exception as error:  # broken code may raise anything
            found[name] = str(error) or type(error).__name__
    return found


@torch.no_grad()
def randomise(model: nn.Module) -> None:
    """Give every weight of a model a random value, in place.

    Matrices keep the size of what they multiply; scales are around 1, all else
    around 0.
    """
    random = torch.Generator().manual_seed(0)
    for module in model.modules():
        for name, weight in module.named_parameters(recurse=False):
            is_scale = isinstance(module, nn.LayerNorm) and name == "weight"
            spread = 0.2 if weight.ndim < 2 else weight.shape[-1] ** -0.5
            weight.normal_(float(is_scale), spread, generator=random)
