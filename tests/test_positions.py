"""Position embeddings: what each choice holds, and carrying learned ones over to another grid."""

import copy

import numpy as np
import pytest
import torch
from conftest import randomise
from einops import rearrange
from timm.layers import resample_abs_pos_embed
from torch import nn
from vit_pytorch.simple_vit import posemb_sincos_2d

from vit_tutorial import (
    ViT,
    attention_on_grid,
    load_model,
    resize_pos_embedding,
    save_model,
    sincos_2d,
    unpatchify,
)
from vit_tutorial.adapt import adapt
from vit_tutorial.positions import POSITIONS, NoPositions, rows_and_columns


@pytest.mark.parametrize("grid", [(4, 4), (3, 5), (1, 6), (7, 2)])
@pytest.mark.parametrize("dim", [8, 64, 196])
def test_sincos_is_that_of_vit_pytorch(grid, dim):
    expected = posemb_sincos_2d(torch.zeros(1, *grid, dim))
    torch.testing.assert_close(sincos_2d(grid, dim), expected, atol=1e-6, rtol=0)


def test_sincos_written_out_for_one_place():
    row, column, dim = 2, 3, 12
    omega = [10_000 ** -(k / 2) for k in range(3)]
    x = torch.tensor([column * w for w in omega], dtype=torch.float64)
    y = torch.tensor([row * w for w in omega], dtype=torch.float64)
    expected = torch.cat((x.sin(), x.cos(), y.sin(), y.cos())).float()
    torch.testing.assert_close(sincos_2d((4, 5), dim)[row * 5 + column], expected)


def test_sincos_of_the_shortest_length_has_one_wavelength():
    table = sincos_2d((2, 3), 4)
    column = torch.tensor([0.0, 1.0, 2.0, 0.0, 1.0, 2.0])
    row = torch.tensor([0.0, 0.0, 0.0, 1.0, 1.0, 1.0])
    expected = torch.stack((column.sin(), column.cos(), row.sin(), row.cos()), dim=1)
    torch.testing.assert_close(table, expected)


@pytest.mark.parametrize("dim", [0, -4, 2, 6, 63])
def test_sincos_needs_a_multiple_of_four(dim):
    with pytest.raises(ValueError, match=rf"multiple of 4, got {dim}"):
        sincos_2d((2, 2), dim)


def test_rows_and_columns_joins_the_two_halves_row_by_row():
    rows, columns = torch.randn(2, 4), torch.randn(3, 4)
    joined = rows_and_columns(rows, columns)
    assert joined.shape == (6, 8)
    for i in range(2):
        for j in range(3):
            assert torch.equal(joined[i * 3 + j], torch.cat((columns[j], rows[i])))


GRIDS = [
    ((4, 4), (8, 8)),
    ((7, 7), (3, 3)),
    ((2, 6), (4, 9)),
    ((6, 6), (4, 9)),  # 36 tokens either way
    ((5, 3), (3, 5)),
    ((1, 4), (3, 2)),
]


@pytest.mark.parametrize("num_prefix", [0, 1, 2])
@pytest.mark.parametrize(("old", "new"), GRIDS)
def test_resizing_is_that_of_timm(old, new, num_prefix):
    pos = torch.randn(1, num_prefix + old[0] * old[1], 10)
    expected = resample_abs_pos_embed(
        pos, new_size=list(new), old_size=list(old), num_prefix_tokens=num_prefix
    )
    resized = resize_pos_embedding(pos, old, new, num_prefix)
    torch.testing.assert_close(resized, expected, atol=1e-6, rtol=0)


def test_resizing_to_the_same_grid_changes_nothing():
    pos = torch.randn(1, 13, 8)
    assert torch.equal(resize_pos_embedding(pos, (3, 4), (3, 4)), pos)


@pytest.mark.parametrize(("old", "new"), GRIDS)
def test_what_is_the_same_everywhere_stays_the_same(old, new):
    everywhere = torch.randn(8)
    pos = everywhere.expand(1, 1 + old[0] * old[1], 8).contiguous()
    resized = resize_pos_embedding(pos, old, new)
    expected = everywhere.expand(1, 1 + new[0] * new[1], 8)
    torch.testing.assert_close(resized, expected, atol=1e-5, rtol=0)


def test_resizing_keeps_rows_and_columns_apart():
    """A table that changes with the row alone does so after resizing, on a non-square grid too."""
    rows = torch.linspace(-1, 1, 6)[:, None]
    pos = rows_and_columns(rows, torch.zeros(4, 1))[None]
    resized = resize_pos_embedding(pos, (6, 4), (9, 5), num_prefix=0).reshape(9, 5, 2)
    torch.testing.assert_close(resized, resized[:, :1].expand(9, 5, 2), atol=1e-6, rtol=0)
    assert (resized[1:, 0, 1] > resized[:-1, 0, 1]).all()


def test_the_class_token_keeps_its_position():
    pos = torch.randn(1, 17, 8)
    assert torch.equal(resize_pos_embedding(pos, (4, 4), (2, 7))[:, 0], pos[:, 0])


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_resizing_keeps_the_dtype(dtype):
    pos = torch.randn(1, 5, 8).to(dtype)
    assert resize_pos_embedding(pos, (2, 2), (3, 3)).dtype == dtype


@pytest.mark.parametrize(
    ("shape", "old", "new", "num_prefix", "message"),
    [
        ((1, 16, 8), (4, 4), (2, 2), 1, r"4 x 4 and 1 token.*\(1, 17, dim\), got \(1, 16, 8\)"),
        ((1, 17, 8), (4, 4), (2, 2), 0, r"\(1, 16, dim\), got \(1, 17, 8\)"),
        ((17, 8), (4, 4), (2, 2), 1, r"got \(17, 8\)"),
        ((2, 17, 8), (4, 4), (2, 2), 1, r"got \(2, 17, 8\)"),
        ((1, 17, 8), (4, 4), (0, 2), 1, r"a grid is \(rows, columns\).*at least 1; got \(0, 2\)"),
    ],
)
def test_a_grid_that_does_not_fit_is_named(shape, old, new, num_prefix, message):
    with pytest.raises(ValueError, match=message):
        resize_pos_embedding(torch.zeros(shape), old, new, num_prefix)


@pytest.mark.parametrize("grid", [(2.5, 2), 4, "ab", (-2, -2), (2, 2, 2), None, (True, 2)])
def test_what_is_no_grid_is_named_wherever_one_is_given(grid):
    pos = torch.zeros(1, 17, 8)
    for call in (
        lambda: sincos_2d(grid, 8),
        lambda: resize_pos_embedding(pos, grid, (2, 2)),
        lambda: resize_pos_embedding(pos, (4, 4), grid),
        lambda: unpatchify(torch.zeros(1, 4, 12), grid, 2),
        lambda: attention_on_grid(torch.zeros(4, 4), grid, (0, 0)),
    ):
        with pytest.raises(ValueError, match=r"a grid is \(rows, columns\), .* got") as error:
            call()
        assert repr(grid) in str(error.value)


@pytest.mark.parametrize("dim", [8.0, "8", None, True])
def test_sincos_needs_a_whole_number(dim):
    with pytest.raises(ValueError, match="multiple of 4, got"):
        sincos_2d((2, 2), dim)


def test_numpy_numbers_are_numbers():
    grid, dim = (np.int64(2), np.int32(3)), np.int64(8)
    assert torch.equal(sincos_2d(grid, dim), sincos_2d((2, 3), 8))


@pytest.mark.parametrize("num_prefix", [-1, 1.0, "1", None])
def test_a_number_of_tokens_in_front_that_is_none_is_named(num_prefix):
    with pytest.raises(ValueError, match="num_prefix must be a whole number from 0, got"):
        resize_pos_embedding(torch.zeros(1, 15, 8), (4, 4), (2, 2), num_prefix)


def test_positions_of_whole_numbers_are_refused():
    """Interpolated and rounded back they would be wrong without a word."""
    with pytest.raises(ValueError, match=r"floating-point numbers, got torch\.int64"):
        resize_pos_embedding(torch.zeros(1, 17, 8).long(), (4, 4), (2, 2))
    with pytest.raises(TypeError, match=r"got a ndarray; torch\.from_numpy"):
        resize_pos_embedding(np.zeros((1, 17, 8)), (4, 4), (2, 2))


def small_vit(position: str, **overrides) -> ViT:
    size = {"image_size": (6, 8), "patch_size": 2, "channels": 1, "num_classes": 3}
    body = {"dim": 8, "depth": 1, "heads": 2, "dim_head": 4, "mlp_dim": 16}
    return ViT(**size, **(body | overrides), position=position)


@pytest.mark.parametrize("pool", ["cls", "mean"])
@pytest.mark.parametrize("position", POSITIONS)
def test_embed_adds_what_patch_positions_gives(position, pool):
    """A blank picture leaves the tokens as biases alone, so what is added can be seen."""
    vit = small_vit(position, pool=pool)
    tokens = vit.embed(torch.zeros(1, 1, 6, 8))[0, vit.num_prefix :]
    positions = vit.patch_positions()
    if position == "none":
        assert positions is None
        assert torch.equal(tokens, torch.zeros(12, 8))
    else:
        assert positions.shape == (12, 8)
        assert positions.std() > 0.01
        torch.testing.assert_close(tokens, positions)


def test_learned_2d_shares_its_rows_and_its_columns():
    vit = small_vit("learned_2d")
    before = vit.patch_positions().reshape(3, 4, 8).detach().clone()
    with torch.no_grad():
        vit.pos_rows[1] += 1
    moved = (vit.patch_positions().reshape(3, 4, 8) - before) != 0
    assert moved[1, :, 4:].all()  # the second half, in every column of row 1 ...
    assert moved.sum() == 4 * 4  # ... and nowhere else
    with torch.no_grad():
        vit.pos_rows[1] -= 1
        vit.pos_columns[2] += 1
    moved = (vit.patch_positions().reshape(3, 4, 8) - before).abs() > 0.5
    assert moved[:, 2, :4].all()
    assert moved.sum() == 3 * 4


def test_learned_2d_has_one_vector_a_row_and_one_a_column():
    vit = small_vit("learned_2d")
    assert vit.pos_rows.shape == (3, 4)
    assert vit.pos_columns.shape == (4, 4)
    assert not hasattr(vit, "pos_embedding")


def test_learned_gives_a_position_to_the_class_token_too():
    assert small_vit("learned").pos_embedding.shape == (1, 13, 8)
    assert small_vit("learned", pool="mean").pos_embedding.shape == (1, 12, 8)


def test_sincos_is_not_learned_and_not_saved():
    vit = small_vit("sincos_2d")
    assert not any("pos" in name for name, _ in vit.named_parameters())
    assert not any("pos" in name for name in vit.state_dict())
    assert torch.equal(vit.pos_sincos, sincos_2d((3, 4), 8))


def test_learned_2d_needs_an_even_dim():
    with pytest.raises(ValueError, match=r"even dim, got 7"):
        small_vit("learned_2d", dim=7)


def test_sincos_needs_a_dim_that_it_can_divide():
    with pytest.raises(ValueError, match=r"multiple of 4, got 10"):
        small_vit("sincos_2d", dim=10)


class Diagonals(NoPositions):
    """A kind of this test's own: one learned vector for each diagonal of the grid."""

    def make(self, vit):
        rows, columns = vit.grid
        vit.pos_diagonals = nn.Parameter(torch.empty(rows + columns - 1, vit.config["dim"]))

    def of_patches(self, vit):
        rows, columns = (torch.arange(side) for side in vit.grid)
        return vit.pos_diagonals[rearrange(rows[:, None] + columns, "h w -> (h w)")]

    def resized(self, vit, grid):
        old, new = len(vit.pos_diagonals), sum(grid) - 1
        return {"pos_diagonals": vit.pos_diagonals[torch.arange(new) % old]}


def test_a_new_kind_is_one_class_and_one_row_of_the_table(monkeypatch, tmp_path):
    with pytest.raises(ValueError, match=r"position is one of none, .*, got 'diagonals'"):
        small_vit("diagonals")
    monkeypatch.setitem(POSITIONS, "diagonals", Diagonals())
    vit = randomise(small_vit("diagonals"))
    blank = torch.zeros(1, 1, 6, 8)
    tokens = vit.embed(blank) - small_vit_without(vit).embed(blank)
    assert torch.equal(tokens[0, 0], torch.zeros(8))  # the class token has no position
    torch.testing.assert_close(tokens[0, 1:], vit.patch_positions())
    save_model(vit, tmp_path / "diagonals.safetensors")
    images = torch.randn(2, 1, 6, 8)
    for again in (load_model(tmp_path / "diagonals.safetensors"), copy.deepcopy(vit)):
        assert torch.equal(again(images), vit(images))
    larger = adapt(vit, image_size=(10, 8))
    assert torch.equal(larger.pos_diagonals[:6], vit.pos_diagonals)
    torch.testing.assert_close(larger.patch_positions()[:12], vit.patch_positions())


def small_vit_without(vit: ViT) -> ViT:
    """The same model without positions."""
    without = small_vit("none")
    without.load_state_dict(vit.state_dict(), strict=False)
    return without


def test_a_kind_that_is_not_resized_is_not_adapted(monkeypatch):
    monkeypatch.setattr(Diagonals, "resized", NoPositions.resized)
    monkeypatch.setitem(POSITIONS, "diagonals", Diagonals())
    with pytest.raises(RuntimeError, match="pos_diagonals"):
        adapt(small_vit("diagonals"), image_size=(10, 8))


@pytest.mark.parametrize("new", [3, 5, 9])
def test_a_single_column_is_resized_like_one_of_several(new):
    column = torch.randn(1, 4, 6)
    columns = rearrange(column.expand(3, 4, 6), "w h d -> 1 (h w) d")
    resized = resize_pos_embedding(columns, (4, 3), (new, 3), num_prefix=0)
    expected = rearrange(resized, "1 (h w) d -> w 1 h d", w=3)
    found = resize_pos_embedding(column, (4, 1), (new, 1), num_prefix=0)
    for each in expected:
        torch.testing.assert_close(found, each, atol=1e-5, rtol=1e-5)
