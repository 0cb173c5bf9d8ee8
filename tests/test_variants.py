"""The named sizes, counted to the last parameter. Nothing here takes memory: all is on "meta"."""

import inspect

import pytest
import timm
import torch

from vit_tutorial import ViT, create_vit
from vit_tutorial.variants import SIZES, VARIANTS

TIMM_NAMES = {
    "Ti/16": "vit_tiny_patch16_224",
    "S/32": "vit_small_patch32_224",
    "S/16": "vit_small_patch16_224",
    "B/32": "vit_base_patch32_224",
    "B/16": "vit_base_patch16_224",
    "B/8": "vit_base_patch8_224",
    "L/32": "vit_large_patch32_224",
    "L/16": "vit_large_patch16_224",
    "H/14": "vit_huge_patch14_224",
}


@pytest.fixture(autouse=True)
def _no_memory():
    with torch.device("meta"):
        yield


def parameters(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_no_variant_escapes():
    assert set(VARIANTS) == set(TIMM_NAMES)
    assert {variant.split("/")[0] for variant in VARIANTS} == set(SIZES)


@pytest.mark.parametrize(
    ("variant", "count"),
    [
        ("Ti/16", 5_717_416),
        ("S/16", 22_050_664),
        ("B/16", 86_567_656),
        ("L/16", 304_326_632),
    ],
)
def test_the_count_is_the_published_one(variant, count):
    assert parameters(create_vit(variant)) == count


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_count_is_that_of_timm(variant):
    theirs = timm.create_model(TIMM_NAMES[variant], num_classes=1000)
    ours = create_vit(variant)
    assert parameters(ours) == parameters(theirs)
    assert ours.config["heads"] == theirs.blocks[0].attn.num_heads  # which no count would show
    assert ours.config["depth"] == len(theirs.blocks)
    assert ours.config["eps"] == theirs.norm.eps


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_head_is_a_share_of_dim_and_qkv_have_a_bias(variant):
    config = create_vit(variant).config
    assert config["heads"] * config["dim_head"] == config["dim"]
    assert config["qkv_bias"] is True
    assert config["patch_size"] == int(variant.split("/")[1])


def test_the_paper_s_table_1():
    """Layers, hidden size D, MLP size, heads of B, L and H."""
    for size, row in {
        "B": (12, 768, 3072, 12),
        "L": (24, 1024, 4096, 16),
        "H": (32, 1280, 5120, 16),
    }.items():
        entry = SIZES[size]
        assert (entry["depth"], entry["dim"], entry["mlp_dim"], entry["heads"]) == row


def test_logits_have_the_asked_for_shape():
    images = torch.empty(2, 1, 32, 48)
    vit = create_vit("Ti/16", num_classes=10, image_size=(32, 48), channels=1)
    assert vit(images).shape == (2, 10)
    assert create_vit("Ti/16").config["image_size"] == 224


def test_any_argument_of_vit_can_be_overridden():
    vit = create_vit("S/16", depth=1, pool="mean", position="sincos_2d", qkv_bias=False, dim_head=7)
    assert vit.config["depth"] == len(vit.transformer.layers) == 1
    assert vit.cls_token is None
    assert vit.config["dim_head"] == 7
    assert vit.config["heads"] == 6
    assert set(vit.config) == set(inspect.signature(ViT).parameters)


@pytest.mark.parametrize(
    ("overrides", "dim_head"),
    [({"dim": 192}, 32), ({"heads": 12}, 32), ({"dim": 192, "heads": 3}, 64), ({}, 64)],
)
def test_another_dim_or_number_of_heads_keeps_a_head_their_quotient(overrides, dim_head):
    assert create_vit("S/16", depth=1, **overrides).config["dim_head"] == dim_head
    assert create_vit("S/16", depth=1, dim_head=7, **overrides).config["dim_head"] == 7


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"heads": 5}, "5 heads do not share a dim of 384 equally; use a multiple of 5, or give"),
        ({"heads": 0}, "heads must be at least 1, got 0"),
        ({"dim": "192"}, "dim must be a whole number of at least 1, got '192'"),
    ],
)
def test_a_dim_that_heads_cannot_share_is_named(overrides, message):
    with pytest.raises(ValueError, match=message):
        create_vit("S/16", **overrides)


@pytest.mark.parametrize("name", ["B/15", "b/16", "B16", "XL/16", "", "B/16/16", "H/16", None, 16])
def test_an_unknown_name_is_told_the_known_ones(name):
    with pytest.raises(ValueError, match=r"no variant .*Ti/16.*H/14") as error:
        create_vit(name)
    assert repr(name) in str(error.value)


def test_an_unknown_argument_is_refused():
    with pytest.raises(TypeError, match="width"):
        create_vit("B/16", width=3)
