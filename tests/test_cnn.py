"""The CNN: its size, its layers written out, its equivariance to shifts, and what it refuses."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import randomise
from torch import nn

from vit_tutorial.cnn import CNN


def small_cnn(**overrides) -> CNN:
    """With statistics and scales that are not those of a fresh batch normalisation."""
    cnn = randomise(CNN(**({"num_classes": 5, "channels": 2, "widths": (3, 4, 6)} | overrides)))
    for module in cnn.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.running_mean, std=0.3)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return cnn


@pytest.mark.parametrize("size", [(4, 4), (5, 7), (28, 28), (32, 20)])
def test_pictures_of_many_sizes_give_logits(size):
    assert small_cnn()(torch.randn(3, 2, *size)).shape == (3, 5)


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        ({"channels": 1, "widths": (16, 32, 55)}, 60_309),
        ({"channels": 1}, 204_778),
    ],
)
def test_parameter_counts(arguments, count):
    cnn = CNN(num_classes=10, **arguments)
    assert sum(p.numel() for p in cnn.parameters()) == count


def test_the_layers_are_convolutions_normalised_and_cut_at_zero():
    """In eval mode, in float64, with each normalisation written out."""
    cnn = small_cnn().double()
    images = torch.randn(2, 2, 8, 12, dtype=torch.float64)
    weights = cnn.state_dict()
    x = images
    for name in ("0", "1", "pool", "3", "4", "pool", "6", "7"):
        if name == "pool":
            b, c, height, width = x.shape
            x = x.view(b, c, height // 2, 2, width // 2, 2).amax(dim=(3, 5))
            continue
        norm = {
            key: weights[f"stages.{name}.1.{key}"].view(-1, 1, 1)
            for key in ("weight", "bias", "running_mean", "running_var")
        }
        x = F.conv2d(F.pad(x, (1, 1, 1, 1)), weights[f"stages.{name}.0.weight"])
        x = (x - norm["running_mean"]) / (norm["running_var"] + 1e-5).sqrt()
        x = (x * norm["weight"] + norm["bias"]).relu()
    logits = x.flatten(2).mean(dim=2) @ weights["head.weight"].T + weights["head.bias"]
    assert logits.std() > 0.01
    torch.testing.assert_close(cnn(images), logits, atol=1e-12, rtol=0)


def test_shifting_the_picture_by_four_shifts_the_stages_by_one():
    """Away from the borders; a shift by less falls between the places of the pooling."""
    stages = small_cnn().double().stages
    images = torch.randn(1, 2, 80, 80, dtype=torch.float64)
    before = stages(images)[..., 6:14, 6:14]  # what these see ends before the borders
    assert before.std() > 0.01
    after = stages(images.roll((4, -8), dims=(2, 3)))[..., 7:15, 4:12]
    torch.testing.assert_close(after, before, atol=1e-12, rtol=0)
    between = stages(images.roll(1, dims=2))[..., 6:14, 6:14]
    assert (between - before).abs().max() > 0.01


def test_the_logits_forget_where_the_picture_is():
    """A small thing on black, far from the borders: the mean over all places stays."""
    cnn = small_cnn().double()
    images = torch.zeros(1, 2, 96, 96, dtype=torch.float64)
    images[..., 44:52, 44:52] = torch.randn(1, 2, 8, 8, dtype=torch.float64)
    moved = images.roll((8, -4), dims=(2, 3))
    torch.testing.assert_close(cnn(moved), cnn(images), atol=1e-12, rtol=0)
    assert (cnn(torch.zeros_like(images)) - cnn(images)).abs().max() > 1e-4


def test_config_builds_the_same_again():
    cnn = small_cnn()
    again = CNN(**cnn.config)
    again.load_state_dict(cnn.state_dict())
    images = torch.randn(2, 2, 8, 8)
    assert torch.equal(again.eval()(images), cnn(images))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_classes": 0}, "num_classes must be at least 1, got 0"),
        ({"channels": 0}, "channels must be at least 1, got 0"),
        ({"channels": "1"}, "channels must be a whole number of at least 1, got '1'"),
        ({"widths": (4, 4)}, r"widths are three whole numbers, got \(4, 4\)"),
        ({"widths": ()}, r"widths are three whole numbers, got \(\)"),
        ({"widths": 4}, "widths are three whole numbers, got 4"),
        ({"widths": (4, 4, 4, 4)}, r"widths are three .* got \(4, 4, 4, 4\)"),
        ({"widths": (4, 0, 4)}, r"widths\[1\] must be at least 1, got 0"),
        ({"widths": (4, 4, 4.0)}, r"widths\[2\] must be a whole number .* got 4\.0"),
    ],
)
def test_numbers_that_do_not_fit_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        CNN(**({"num_classes": 3} | arguments))


def test_numpy_numbers_become_plain_ones():
    widths = tuple(np.array([3, 4, 6]))
    config = CNN(num_classes=np.int64(5), channels=np.int8(2), widths=widths).config
    assert config == {"num_classes": 5, "channels": 2, "widths": (3, 4, 6)}
    assert {type(n) for n in (*config["widths"], config["num_classes"])} == {int}


@pytest.mark.parametrize(
    ("shape", "wanted"),
    [
        ((2, 3, 8, 8), r"\(b, 2, H, W\)"),
        ((2, 8, 8), r"\(b, 2, H, W\)"),
        ((1, 2, 3, 8), "4 x 4"),
        ((1, 2, 8, 3), "4 x 4"),
    ],
)
def test_images_of_another_shape_are_refused(shape, wanted):
    given = ", ".join(map(str, shape))
    with pytest.raises(ValueError, match=rf"{wanted}.*got \({given}\)"):
        small_cnn()(torch.randn(shape))


def test_images_of_another_dtype_are_refused():
    with pytest.raises(ValueError, match=r"reads float32 images, got torch\.uint8; .*normalize"):
        small_cnn()(torch.zeros(1, 2, 8, 8, dtype=torch.uint8))
