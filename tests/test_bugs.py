"""The gallery of bugs: each passes the shape test, and one property catches it."""

import pytest
import torch
from conftest import randomise

from vit_tutorial.bugs import BUGS, broken_vit
from vit_tutorial.properties import PROPERTIES
from vit_tutorial.recipes import SMALL_CNN, TINY_VIT, Recipe
from vit_tutorial.train import train
from vit_tutorial.vit import ViT

CONFIG = {
    "image_size": 12, "patch_size": 4, "channels": 2, "num_classes": 10, "dim": 16, "depth": 2,
    "heads": 2, "dim_head": 8, "mlp_dim": 24, "qkv_bias": True,
}  # fmt: skip


def images() -> torch.Tensor:
    return torch.randn(3, 2, 12, 12, generator=torch.Generator().manual_seed(1))


def broken(bug: str) -> ViT:
    return randomise(broken_vit(bug, **CONFIG))


@pytest.mark.parametrize("bug", BUGS)
def test_a_broken_model_passes_the_shape_test_and_learns(bug):
    vit = broken_vit(bug, **CONFIG)
    logits = vit(images())
    assert logits.shape == (3, 10)
    torch.nn.functional.cross_entropy(logits, torch.tensor([1, 2, 3])).backward()
    assert all(p.grad.isfinite().all() for p in vit.parameters() if p.grad is not None)


@pytest.mark.parametrize("bug", BUGS)
def test_the_property_that_the_gallery_names_catches_the_bug(bug):
    with pytest.raises(AssertionError):
        PROPERTIES[BUGS[bug].caught_by](broken(bug), images())


@pytest.mark.parametrize("position", ["learned", "learned_2d", "sincos_2d"])
@pytest.mark.parametrize("pool", ["cls", "mean"])
@pytest.mark.parametrize("name", PROPERTIES)
def test_a_right_model_has_every_property(name, pool, position):
    vit = randomise(ViT(**CONFIG, pool=pool, position=position))
    state = {key: value.clone() for key, value in vit.state_dict().items()}
    PROPERTIES[name](vit, images())
    assert all(torch.equal(state[key], value) for key, value in vit.state_dict().items())


def test_each_property_catches_a_bug_and_each_bug_is_another_property_s():
    assert sorted(bug.caught_by for bug in BUGS.values()) == sorted(PROPERTIES)


def test_a_bug_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match=r"bug is one of .*softmax twice, got 'typo'"):
        broken_vit("typo", **CONFIG)


def test_a_recipe_with_a_bug_trains_the_broken_model_and_leaves_its_log_alone(tmp_path):
    few = {"subset": 200, "validation": 100, "epochs": 1, "choose_epoch": False}
    recipe = Recipe(model=TINY_VIT, bug="one layer repeated", **few)
    vit, records = train(recipe, tmp_path, device="cpu")
    assert vit.transformer.layers[0] is vit.transformer.layers[1]
    assert records[0]["recipe"]["bug"] == "one layer repeated"
    assert records[-1]["event"] == "test"
    assert not (tmp_path / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"bug": "typo"}, "bug is one of shredded patches, .* got 'typo'"),
        ({"bug": "softmax twice", "start": "fashion"}, "'softmax twice' is one of an untrained"),
        (
            {
                "bug": "softmax twice",
                "architecture": "CNN",
                "model": SMALL_CNN,
                "drop_patches": 0.0,
            },
            "'softmax twice' is one of an untrained ViT",
        ),
    ],
)
def test_a_recipe_refuses_a_bug_that_its_model_cannot_have(given, message):
    with pytest.raises(ValueError, match=message):
        Recipe(**given)
