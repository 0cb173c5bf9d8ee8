"""Another number of classes, another image size: what is new, and what stays as it was."""

import pytest
import torch
from conftest import randomise
from test_weights import SQUARE
from timm.layers import resample_abs_pos_embed

from vit_tutorial import ViT
from vit_tutorial.adapt import adapt
from vit_tutorial.positions import POSITIONS


def test_class_names_stay_with_their_head():
    vit = randomise(ViT(**SQUARE))
    vit.facts |= {"class_names": list("abcde"), "mean": (0.5,)}
    assert adapt(vit, num_classes=5).facts["class_names"] == list("abcde")
    assert "class_names" not in adapt(vit, num_classes=4).facts
    assert adapt(vit, num_classes=4).facts["mean"] == (0.5,)


@pytest.mark.parametrize("pool", ["cls", "mean"])
@pytest.mark.parametrize("position", POSITIONS)
def test_every_kind_of_position_can_be_resized(position, pool):
    vit = randomise(ViT(**SQUARE, position=position, pool=pool)).double()
    vit.train()
    larger = adapt(vit, image_size=(12, 20))
    assert larger.training
    assert larger(torch.randn(2, 3, 12, 20, dtype=torch.float64)).shape == (2, 5)
    if position == "learned_2d":
        grid = vit.patch_positions()[None]
        expected = resample_abs_pos_embed(grid, [3, 5], [2, 2], num_prefix_tokens=0)[0]
        torch.testing.assert_close(larger.patch_positions(), expected)
    if position == "sincos_2d":
        fresh = ViT(**SQUARE | {"image_size": (12, 20)}, position=position)
        torch.testing.assert_close(larger.pos_sincos, fresh.pos_sincos.double())


def test_adapting_leaves_the_model_it_was_given_alone():
    vit = randomise(ViT(**SQUARE))
    before = {name: tensor.clone() for name, tensor in vit.state_dict().items()}
    copy = adapt(vit, image_size=16)
    with torch.no_grad():
        for parameter in copy.parameters():
            parameter.zero_()
    assert all(torch.equal(before[name], tensor) for name, tensor in vit.state_dict().items())
    assert vit.config["image_size"] == SQUARE["image_size"]
