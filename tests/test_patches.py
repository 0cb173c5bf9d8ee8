"""Cutting pictures into patches and putting them together again."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from einops import rearrange

from vit_tutorial import patchify, unpatchify
from vit_tutorial.patches import Patchify, pair, patch_grid

# (b, c, H, W), patch size: square and not, one channel, one patch, patches of one pixel
SHAPES = [
    ((2, 3, 8, 8), 4),
    ((1, 1, 6, 9), 3),
    ((3, 2, 4, 10), (2, 5)),
    ((2, 4, 5, 7), (5, 7)),
    ((1, 3, 3, 2), 1),
    ((2, 1, 12, 4), (3, 4)),
]


@pytest.mark.parametrize(("shape", "patch_size"), SHAPES)
def test_patchify_is_unfold_with_the_channel_last(shape, patch_size):
    images = torch.randn(shape)
    p1, p2 = pair(patch_size)
    unfolded = F.unfold(images, (p1, p2), stride=(p1, p2))  # (b, c*p1*p2, n)
    expected = rearrange(unfolded, "b (c p1 p2) n -> b n (p1 p2 c)", p1=p1, p2=p2)
    assert torch.equal(patchify(images, patch_size), expected)


@pytest.mark.parametrize(("shape", "patch_size"), SHAPES)
def test_patchify_and_a_product_are_a_convolution(shape, patch_size):
    images = torch.randn(shape, dtype=torch.float64)
    p1, p2 = pair(patch_size)
    kernel = torch.randn(5, shape[1], p1, p2, dtype=torch.float64)
    expected = F.conv2d(images, kernel, stride=(p1, p2)).flatten(2).transpose(1, 2)
    matrix = kernel.permute(0, 2, 3, 1).flatten(1)  # channel last
    torch.testing.assert_close(patchify(images, patch_size) @ matrix.T, expected)


def test_a_patch_holds_its_own_pixels_with_the_channel_fastest():
    images = torch.arange(2 * 4 * 6).reshape(1, 2, 4, 6)
    patches = patchify(images, (2, 3))
    assert patches.shape == (1, 4, 12)
    bottom_left = patches[0, 2]
    written_out = [images[0, c, 2 + i, j] for i in range(2) for j in range(3) for c in range(2)]
    assert bottom_left.tolist() == [int(pixel) for pixel in written_out]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
@pytest.mark.parametrize(("shape", "patch_size"), SHAPES)
def test_unpatchify_gives_the_pictures_back(shape, patch_size, dtype):
    images = torch.randint(0, 256, shape).to(dtype)
    grid = patch_grid(shape[-2:], patch_size)
    there_and_back = unpatchify(patchify(images, patch_size), grid, patch_size)
    assert there_and_back.dtype == dtype
    assert torch.equal(there_and_back, images)


def test_the_grid_decides_how_patches_are_laid_out():
    images = torch.randn(1, 1, 12, 12)
    patches = patchify(images, 2)  # 36 of them: 6 x 6 or 4 x 9
    assert unpatchify(patches, (4, 9), 2).shape == (1, 1, 8, 18)
    assert torch.equal(patchify(unpatchify(patches, (4, 9), 2), 2), patches)


def test_patchify_accepts_an_empty_batch():
    patches = patchify(torch.zeros(0, 3, 8, 8), 4)
    assert patches.shape == (0, 4, 48)
    assert unpatchify(patches, (2, 2), 4).shape == (0, 3, 8, 8)


def test_gradients_pass_through_both_ways():
    images = torch.randn(1, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: unpatchify(patchify(x, 2), (2, 2), 2), images)


@pytest.mark.parametrize(("shape", "patch_size"), SHAPES)
def test_the_layer_is_the_function(shape, patch_size):
    images = torch.randn(shape)
    layer = Patchify(patch_size)
    assert torch.equal(layer(images), patchify(images, patch_size))
    assert not layer.state_dict()  # so that checkpoints of vit-pytorch fit
    assert str(pair(patch_size)) in repr(layer)


def test_pair_reads_one_number_as_a_square():
    assert pair(16) == (16, 16)
    assert pair((2, 3)) == (2, 3)


def test_numpy_numbers_become_plain_ones():
    for size in (np.int64(16), (np.int32(2), np.uint8(3))):
        assert pair(size) == ((16, 16) if size == 16 else (2, 3))
        assert {type(side) for side in pair(size)} == {int}


@pytest.mark.parametrize("images", [np.zeros((1, 1, 4, 4)), [[1]], None, "images"])
def test_what_is_no_tensor_is_named(images):
    with pytest.raises(TypeError, match=r"images come as a torch\.Tensor, got a "):
        patchify(images, 2)
    with pytest.raises(TypeError, match=r"patches come as a torch\.Tensor, got a "):
        unpatchify(images, (2, 2), 2)


def test_patch_grid_counts_rows_and_columns():
    assert patch_grid(224, 16) == (14, 14)
    assert patch_grid((28, 42), (4, 6)) == (7, 7)
    assert patch_grid((6, 9), 3) == (2, 3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: patchify(torch.zeros(1, 3, 8, 9), 4), r"4 x 4.*8 x 9.*width a multiple of 4"),
        (lambda: patchify(torch.zeros(1, 3, 9, 8), (4, 2)), r"4 x 2.*9 x 8.*multiple of 4"),
        (lambda: patchify(torch.zeros(3, 8, 8), 4), r"\(b, c, H, W\).*\(3, 8, 8\)"),
        (lambda: patchify(torch.zeros(1, 3, 8, 8), 0), "at least 1, .*got 0"),
        (lambda: patchify(torch.zeros(1, 3, 8, 8), (4, -4)), r"at least 1, .*got \(4, -4\)"),
        (lambda: patchify(torch.zeros(1, 3, 8, 8), (4.5, 2)), r"whole number.*got \(4\.5, 2\)"),
        (lambda: patchify(torch.zeros(1, 3, 8, 8), (1, 2, 4)), r"whole number.*got \(1, 2, 4\)"),
        (lambda: patchify(torch.zeros(1, 3, 8, 8), None), "whole number.*got None"),
        (lambda: unpatchify(torch.zeros(1, 4, 12), (2, 3), 2), r"2 x 3.*6.*not the 4"),
        (lambda: unpatchify(torch.zeros(1, 4, 10), (2, 2), 2), "2 x 2.*multiple of 4.*not 10"),
        (lambda: unpatchify(torch.zeros(4, 12), (2, 2), 2), r"\(b, n, p\*p\*c\).*\(4, 12\)"),
        (lambda: patch_grid(30, 16), "16 x 16.*30 x 30"),
        (lambda: pair(True), "whole number.*got True"),
        (lambda: pair("ab"), "whole number.*got 'ab'"),
        (lambda: pair(10**30), "whole number.*got 1000"),
    ],
)
def test_what_does_not_fit_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
