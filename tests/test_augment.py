"""Augmentation: against loops over pixels, and every outcome that can be drawn is drawn."""

import pytest
import torch

from vit_tutorial.augment import random_erase, random_flip, random_shift, shift

B, C, H, W = 5, 2, 6, 9


def bytes_without_zero(*shape) -> torch.Tensor:
    """Pixels that cannot be taken for what an augmentation blackens."""
    return torch.randint(1, 256, shape, dtype=torch.uint8)


def random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def shifted_by_loop(image: torch.Tensor, down: int, right: int) -> torch.Tensor:
    moved = torch.zeros_like(image)
    for i in range(image.shape[1]):
        for j in range(image.shape[2]):
            if 0 <= i + down < image.shape[1] and 0 <= j + right < image.shape[2]:
                moved[:, i + down, j + right] = image[:, i, j]
    return moved


def test_shift_moves_each_picture_by_its_own_pixels():
    """All there are, further than the picture is high or wide too."""
    moves = [(down, right) for down in range(-H - 1, H + 2) for right in range(-W - 1, W + 2)]
    images = bytes_without_zero(len(moves), C, H, W)
    down, right = torch.tensor(moves).T
    moved = shift(images, down, right)
    for image, result, move in zip(images, moved, moves, strict=True):
        assert torch.equal(result, shifted_by_loop(image, *move)), move


def test_a_flip_reverses_each_row_or_leaves_all():
    images = bytes_without_zero(200, C, H, W)
    flipped = random_flip(images, random())
    stayed = 0
    for image, result in zip(images, flipped, strict=True):
        mirrored = torch.stack([image[:, :, W - 1 - j] for j in range(W)], dim=-1)
        assert torch.equal(result, image) or torch.equal(result, mirrored)
        stayed += torch.equal(result, image)
    assert 70 < stayed < 130  # 100 expected; 30 are more than four standard deviations


def test_every_shift_occurs_and_no_other():
    n, pixels = 2_500, 2
    image = bytes_without_zero(1, 1, H, W)
    results = random_shift(image.expand(n, -1, -1, -1), pixels, random())
    moves = [(i, j) for i in range(-pixels, pixels + 1) for j in range(-pixels, pixels + 1)]
    counts = {
        move: (results == shifted_by_loop(image[0], *move)).all(dim=(1, 2, 3)).sum().item()
        for move in moves
    }
    assert sum(counts.values()) == n
    assert min(counts.values()) > 50  # 100 expected of each; the standard deviation is 10
    assert max(counts.values()) < 150


@pytest.mark.parametrize("side", [1, 3, 4])
def test_erasing_blackens_a_square_cut_at_the_borders(side):
    n = 3_000
    images = bytes_without_zero(n, C, H, W)
    erased = random_erase(images, side, random())
    corners = set()
    for image, result in zip(images, erased, strict=True):
        black = (result == 0).all(dim=0)
        assert torch.equal(result, torch.where(black, 0, image))
        rows, columns = (black.any(dim=axis).nonzero().flatten() for axis in (1, 0))
        assert black.sum() == len(rows) * len(columns)  # a rectangle
        for places, size in ((rows, H), (columns, W)):
            whole = places[0] > 0 and places[-1] < size - 1
            assert len(places) == side if whole else side // 2 <= len(places) <= side
            assert places[-1] - places[0] == len(places) - 1
        corners.add((rows[0].item(), columns[0].item(), len(rows), len(columns)))
    inside = {corner[:2] for corner in corners if corner[2:] == (side, side)}
    assert inside == {(i, j) for i in range(H - side + 1) for j in range(W - side + 1)}


def test_squares_are_centred_anywhere():
    """A square centred on the border blackens half of its area, at a corner a quarter."""
    erased = random_erase(bytes_without_zero(4_000, 1, 8, 8), 4, random()) == 0
    # Each axis: five whole places of 1/8, and at both ends 3 rows of 1/8, 2 rows of 1/16.
    expected = (5 / 8 * 4 + 2 * (3 / 8 + 2 / 16)) ** 2
    assert erased.sum(dim=(1, 2, 3)).double().mean().item() == pytest.approx(expected, rel=0.02)


AUGMENTATIONS = {
    "flip": random_flip,
    "shift": lambda images, generator: random_shift(images, 2, generator),
    "erase": lambda images, generator: random_erase(images, 3, generator),
}


@pytest.mark.parametrize("augment", AUGMENTATIONS.values(), ids=AUGMENTATIONS)
def test_the_generator_decides_and_nothing_else(augment):
    images = bytes_without_zero(B, C, H, W)
    before = images.clone()
    state = torch.get_rng_state()
    first = augment(images, random(1))
    torch.manual_seed(99)
    assert torch.equal(augment(images, random(1)), first)
    assert any(not torch.equal(augment(images, random(seed)), first) for seed in range(2, 12))
    torch.set_rng_state(state)
    augment(images, random(1))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(images, before)


@pytest.mark.parametrize("augment", AUGMENTATIONS.values(), ids=AUGMENTATIONS)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_shape_and_dtype_stay(augment, dtype):
    result = augment(bytes_without_zero(B, C, H, W).to(dtype), random())
    assert result.shape == (B, C, H, W)
    assert result.dtype == dtype


@pytest.mark.parametrize("augment", AUGMENTATIONS.values(), ids=AUGMENTATIONS)
def test_the_channels_of_a_picture_stay_together(augment):
    """What happens to one happens to the other: equal channels stay equal."""
    one = bytes_without_zero(50, 1, H, W)
    result = augment(one.expand(-1, 3, -1, -1), random())
    assert torch.equal(result[:, 0], result[:, 1])
    assert torch.equal(result[:, 0], result[:, 2])
    assert torch.equal(result[:, :1], augment(one, random()))


IMAGES = torch.zeros(2, 1, 6, 8)


@pytest.mark.parametrize("pixels", [-1, 1.5, "2", None, True, 10**30])
def test_pixels_that_are_none_are_named(pixels):
    for change in (random_shift, random_erase):
        with pytest.raises(ValueError, match="whole number of pixels, at least 0; got "):
            change(IMAGES, pixels, random())


@pytest.mark.parametrize("images", [IMAGES[0], IMAGES.numpy(), None])
def test_what_is_no_batch_of_images_is_named(images):
    whole = torch.tensor([0, 1])
    for change in (
        lambda: random_flip(images, random()),
        lambda: random_shift(images, 1, random()),
        lambda: random_erase(images, 1, random()),
        lambda: shift(images, whole, whole),
    ):
        with pytest.raises((TypeError, ValueError), match="images come as "):
            change()


def test_a_generator_and_one_shift_an_image_are_needed():
    for change in (
        lambda: random_flip(IMAGES, 7),
        lambda: random_shift(IMAGES, 1, None),
        lambda: random_erase(IMAGES, 1, "seed"),
    ):
        with pytest.raises(TypeError, match=r"from a torch\.Generator, got "):
            change()
    whole = torch.tensor([0, 1])
    for down, right in ((whole[:1], whole), (whole, whole.float()), (whole, whole[None])):
        with pytest.raises(ValueError, match="holds 2 whole numbers, one an image; got torch"):
            shift(IMAGES, down, right)
