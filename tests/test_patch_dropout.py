"""Training on some of the patches: the model's logits from the tokens that are left."""

from collections import Counter
from dataclasses import replace

import pytest
import torch
from conftest import randomise
from tiny_run import MODEL, TINY

from vit_tutorial import ViT
from vit_tutorial.patch_dropout import SomePatches, draw_patches


def some_patches(**overrides) -> SomePatches:
    return SomePatches(randomise(ViT(**(MODEL | overrides)).double()))


@pytest.mark.parametrize("pool", ["cls", "mean"])
@pytest.mark.parametrize("position", ["none", "learned", "learned_2d", "sincos_2d"])
def test_all_patches_in_any_order_give_the_model_s_logits(pool, position):
    """The encoder is equivariant; where a patch stands, its position embedding has said before."""
    net = some_patches(pool=pool, position=position)
    images = torch.randn(3, 1, 28, 28, dtype=torch.float64)
    everything = torch.rand(3, 16).argsort(dim=1)
    torch.testing.assert_close(net(images, everything), net.vit(images), atol=1e-12, rtol=0)


@pytest.mark.parametrize("pool", ["cls", "mean"])
def test_some_patches_are_the_encoder_on_their_tokens_alone(pool):
    net = some_patches(pool=pool)
    vit = net.vit
    images = torch.randn(2, 1, 28, 28, dtype=torch.float64)
    kept = torch.tensor([[3, 0, 11], [15, 7, 8]])
    logits = net(images, kept)
    weights = vit.state_dict()
    for image, chosen, result in zip(images, kept.tolist(), logits, strict=True):
        tokens = [weights["cls_token"][0, 0]] if pool == "cls" else []
        positions = weights["pos_embedding"][0]
        if pool == "cls":
            tokens[0] = tokens[0] + positions[0]
            positions = positions[1:]
        for n in chosen:
            patch = image[0, 7 * (n // 4) : 7 * (n // 4 + 1), 7 * (n % 4) : 7 * (n % 4 + 1)]
            projected = weights["to_patch_embedding.1.weight"] @ patch.flatten()
            tokens.append(projected + weights["to_patch_embedding.1.bias"] + positions[n])
        expected = vit.classify(vit.transformer(torch.stack(tokens)[None]))[0]
        torch.testing.assert_close(result, expected, atol=1e-12, rtol=0)
    assert (logits - vit(images)).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("share", "done", "kept"),
    [(0.5, 0, 8), (0.5, 0.5, 12), (0.5, 1, 16), (0.25, 0, 12), (0.9, 0, 2), (0.9, 0.9, 15)],
)
def test_each_picture_shows_so_many_patches_of_its_own(share, done, kept):
    recipe = replace(TINY, drop_patches=share)
    drawn = draw_patches(ViT(**MODEL), 500, recipe, done, torch.Generator().manual_seed(0))
    assert drawn.shape == (500, kept)
    assert all(len(set(row)) == kept and set(row) <= set(range(16)) for row in drawn.tolist())
    often = Counter(drawn.flatten().tolist())
    assert [often[n] / 500 for n in range(16)] == pytest.approx([kept / 16] * 16, abs=0.09)
    if kept < 16:
        assert len({tuple(sorted(row)) for row in drawn.tolist()}) > 10
    again = draw_patches(ViT(**MODEL), 500, recipe, done, torch.Generator().manual_seed(0))
    assert torch.equal(again, drawn)
