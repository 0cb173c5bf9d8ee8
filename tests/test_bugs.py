"""The gallery of bugs: each passes the shape test, and one property catches it."""

import pytest
import torch
from conftest import randomise

from vit_tutorial.bugs import BUGS, broken_copy, broken_vit
from vit_tutorial.cnn import CNN
from vit_tutorial.properties import PROPERTIES, check_all
from vit_tutorial.recipes import SMALL_CNN, TINY_VIT, Recipe
from vit_tutorial.train import train
from vit_tutorial.variants import create_vit
from vit_tutorial.vit import Attention, ViT

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


# All properties at once, as a reader asks for them: of a model as it is, fresh or trained.


@pytest.mark.parametrize("bug", BUGS)
def test_check_all_finds_each_bug_in_a_fresh_model(bug):
    found = check_all(broken_vit(bug, **CONFIG))
    assert [*found] == [*PROPERTIES]
    assert found[BUGS[bug].caught_by]


@pytest.mark.parametrize(
    "vit",
    [
        ViT(**CONFIG),
        ViT(**CONFIG, pool="mean", position="sincos_2d", dropout=0.3, emb_dropout=0.3),
        ViT(**CONFIG | {"image_size": (8, 12), "heads": 1, "dim_head": 16}),
        create_vit("Ti/16", num_classes=3, image_size=32),
    ],
)
def test_check_all_finds_nothing_in_a_right_model_and_leaves_it_alone(vit):
    state = {key: value.clone() for key, value in vit.state_dict().items()}
    assert check_all(vit) == dict.fromkeys(PROPERTIES, "")
    assert vit.training
    assert all(torch.equal(state[key], value) for key, value in vit.state_dict().items())


def test_check_all_does_not_ask_a_model_without_positions_whether_they_matter():
    assert [*check_all(ViT(**CONFIG, position="none"))] == [
        name for name in PROPERTIES if name != "places_matter"
    ]


def test_check_all_finds_a_mistake_that_the_zeros_of_a_fresh_model_hide():
    class BiasForTheFirst(Attention):
        def forward(self, x):
            out = super().forward(x)
            first = out[:, :1] + self.to_out[0].bias  # of zeros, until it has been trained
            return torch.cat((first, out[:, 1:]), dim=1)

    vit = ViT(**CONFIG)
    for attention, _ in vit.transformer.layers:
        attention.fn = BiasForTheFirst(16, heads=2, dim_head=8, qkv_bias=True)
    vit.init_weights()
    assert "reordering the tokens changes" in check_all(vit)["tokens_are_alike"]


def test_check_all_tells_of_code_that_fails_and_goes_on():
    vit = ViT(**CONFIG)
    vit.mlp_head[1] = torch.nn.Linear(7, 10)  # the encoder's vectors have 16 entries
    found = check_all(vit)
    assert "shapes cannot be multiplied" in found["logits_are_free"]
    assert found["patches_are_squares"] == ""


def test_check_all_says_what_it_can_read():
    with pytest.raises(TypeError, match="CNN has no to_patch_embedding, transformer, mlp_head"):
        check_all(CNN(**SMALL_CNN))


# A right model's weights in broken code


@pytest.mark.parametrize("bug", BUGS)
def test_a_broken_copy_has_the_same_weights_where_there_is_room_for_them(bug):
    vit = randomise(ViT(**CONFIG))
    state = {key: value.clone() for key, value in vit.state_dict().items()}
    broken = broken_copy(vit, bug)
    assert not broken.training
    lost = {key for key, value in broken.state_dict().items() if not same(value, state[key])}
    if bug == "one position for all":
        assert lost == {"pos_embedding"}
        assert torch.equal(broken.pos_embedding, vit.pos_embedding.mean(dim=1, keepdim=True))
    elif bug == "one layer repeated":
        assert {key.split(".")[2] for key in lost} == {"0"}
    else:
        assert not lost
    assert not torch.allclose(broken(images()), vit(images()), atol=1e-3)
    assert all(torch.equal(state[key], value) for key, value in vit.state_dict().items())


def same(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.shape == other.shape and torch.equal(one, other)


def test_a_bug_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match=r"bug is one of .*softmax twice, got 'typo'"):
        broken_copy(ViT(**CONFIG), "typo")
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
