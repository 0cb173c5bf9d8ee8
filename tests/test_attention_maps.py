"""Attention maps summed up as slow, literal computations have it."""

import contextlib
import copy
import math

import pytest
import torch
import torch.nn.functional as F
from test_inside import BODY, SIZE, compiled_as_a_whole, is_as_before, randomised_vit, recorded_maps
from torch import nn

from vit_tutorial import (
    ViT,
    attention_on_grid,
    attention_relevance,
    attention_rollout,
    change_temperature,
    layer_predictions,
    load_pretrained,
    mean_attention_distance,
    patchify,
    record_attention,
    switch_off_heads,
    unpatchify,
)
from vit_tutorial.data import load_dataset, normalize


@pytest.fixture
def vit():
    return randomised_vit()


@pytest.fixture
def images():
    return torch.randn(2, 1, 6, 8)


def random_maps(layers=3, b=2, heads=2, n=7, dtype=torch.float32):
    return [(3 * torch.randn(b, heads, n, n, dtype=dtype)).softmax(-1) for _ in range(layers)]


@pytest.mark.parametrize("prefix", [0, 1])
def test_a_row_lies_on_the_grid_as_its_patches_do(prefix):
    attention = torch.randn(2, 3, prefix + 6, prefix + 6)
    for row in range(2):
        for column in range(3):
            shown = attention_on_grid(attention, (2, 3), patch=(row, column))
            assert shown.shape == (2, 3, 2, 3)
            for i in range(2):
                for j in range(3):
                    looks, seen = prefix + row * 3 + column, prefix + i * 3 + j
                    assert torch.equal(shown[..., i, j], attention[..., looks, seen])


def test_the_class_token_looks_where_no_patch_is_named():
    attention = torch.arange(49.0).reshape(7, 7)
    assert attention_on_grid(attention, (2, 3)).tolist() == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize(
    ("n", "patch", "message"),
    [
        (6, None, r"no class token here; name a patch=\(row, column\)"),
        (7, (2, 0), r"no patch \(2, 0\) in a grid of 2 x 3"),
        (7, (0, -1), r"no patch \(0, -1\)"),
        (8, (0, 0), r"2 x 3 needs maps of 6 tokens, or of one more .*got a shape of \(8, 8\)"),
        (5, (0, 0), r"got a shape of \(5, 5\)"),
    ],
)
def test_a_place_that_is_not_there_is_named(n, patch, message):
    with pytest.raises(ValueError, match=message):
        attention_on_grid(torch.zeros(n, n), (2, 3), patch)


def test_one_row_is_no_map():
    with pytest.raises(ValueError, match=r"got a shape of \(6,\)"):
        attention_on_grid(torch.zeros(6), (2, 3), (0, 0))


def rollout_by_loops(maps, head_fusion="mean", discard_ratio=0.0):
    """In Python's numbers, entry by entry."""
    b, heads, n, _ = maps[0].shape
    fuse = {"mean": lambda values: sum(values) / heads, "max": max, "min": min}[head_fusion]
    result = torch.zeros(b, n, n, dtype=torch.float64)
    for picture in range(b):
        rollout = [[float(i == j) for j in range(n)] for i in range(n)]
        for attention in maps:
            step = []
            for i in range(n):
                row = [
                    fuse([attention[picture, head, i, j].item() for head in range(heads)])
                    for j in range(n)
                ]
                order = sorted(range(n), key=lambda j, row=row: row[j])
                for j in order[: math.floor(discard_ratio * n)]:
                    row[j] = 0.0
                total = sum(row)
                step.append([0.5 * row[j] / total + 0.5 * (i == j) for j in range(n)])
            rollout = [
                [sum(step[i][k] * rollout[k][j] for k in range(n)) for j in range(n)]
                for i in range(n)
            ]
        result[picture] = torch.tensor(rollout, dtype=torch.float64)
    return result


FUSIONS = ["mean", "max", "min"]


RATIOS = [0.0, 0.1, 0.5, 0.9, 0.999]


@pytest.mark.parametrize("discard_ratio", RATIOS)
@pytest.mark.parametrize("head_fusion", FUSIONS)
def test_rollout_is_that_of_loops(head_fusion, discard_ratio):
    maps = random_maps(dtype=torch.float64)
    rollout = attention_rollout(maps, head_fusion=head_fusion, discard_ratio=discard_ratio)
    expected = rollout_by_loops(maps, head_fusion, discard_ratio)
    torch.testing.assert_close(rollout, expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("pool", ["cls", "mean"])
def test_rollout_of_a_model_is_that_of_loops(images, pool):
    maps = recorded_maps(randomised_vit(pool=pool), images)
    rollout = attention_rollout(maps)
    assert rollout.dtype == torch.float32
    expected = rollout_by_loops(maps).float()
    torch.testing.assert_close(rollout, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("discard_ratio", RATIOS)
@pytest.mark.parametrize("head_fusion", FUSIONS)
def test_rows_of_the_rollout_sum_to_one_after_every_layer(head_fusion, discard_ratio):
    maps = random_maps(layers=4)
    for depth in range(1, 5):
        rollout = attention_rollout(
            maps[:depth], head_fusion=head_fusion, discard_ratio=discard_ratio
        )
        assert (rollout >= 0).all()
        torch.testing.assert_close(rollout.sum(-1), torch.ones(2, 7))


def test_where_every_token_keeps_to_itself_so_does_the_rollout():
    maps = [torch.eye(5).expand(2, 3, 5, 5)] * 4
    assert torch.equal(attention_rollout(maps), torch.eye(5).expand(2, 5, 5))


def test_one_layer_is_half_attention_and_half_residual():
    maps = random_maps(layers=1, heads=1)
    expected = 0.5 * maps[0][:, 0] + 0.5 * torch.eye(7)
    torch.testing.assert_close(attention_rollout(maps), expected)


def test_later_layers_read_what_earlier_ones_have_gathered():
    """Token 2 takes from 1, then 0 takes from 2: so 0 has something of 1, and 1 nothing of 0."""
    first, second = torch.eye(3), torch.eye(3)
    first[2] = torch.tensor([0.0, 1.0, 0.0])
    second[0] = torch.tensor([0.0, 0.0, 1.0])
    (rollout,) = attention_rollout([first[None, None], second[None, None]])
    assert rollout.tolist() == [[0.5, 0.25, 0.25], [0, 1, 0], [0, 0.5, 0.5]]


def test_each_row_loses_its_own_smallest_entries():
    rows = torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.97, 0.02, 0.01, 0.0], [0.25] * 4, [0, 0, 0, 1]])
    (rollout,) = attention_rollout([rows[None, None]], discard_ratio=0.5)
    kept = torch.tensor([[0, 0, 3 / 7, 4 / 7], [97 / 99, 2 / 99, 0, 0], [0.25] * 4, [0, 0, 0, 1]])
    torch.testing.assert_close(rollout, 0.5 * kept + 0.5 * torch.eye(4))


@pytest.mark.parametrize("head_fusion", FUSIONS)
def test_rollout_does_not_care_in_which_order_the_tokens_come(head_fusion):
    maps, order = random_maps(), torch.randperm(7)
    shuffled = [attention[..., order, :][..., order] for attention in maps]
    options = {"head_fusion": head_fusion, "discard_ratio": 0.5}
    expected = attention_rollout(maps, **options)[:, order][..., order]
    torch.testing.assert_close(attention_rollout(shuffled, **options), expected)


def test_heads_that_are_off_take_no_part_in_the_rollout(vit, images):
    with switch_off_heads(vit, {0: [1], 1: [0, 1], 2: [0]}):
        first, second, third = recorded_maps(vit, images)
    assert not second.any()
    expected = attention_rollout([first[:, :1], third[:, 1:]])  # the second layer: the residual
    torch.testing.assert_close(attention_rollout([first, second, third]), expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"head_fusion": "sum"}, r'"mean", "max" or "min", got \'sum\''),
        ({"discard_ratio": 1.0}, r"at least 0 and below 1, got 1.0"),
        ({"discard_ratio": -0.1}, r"got -0.1"),
        ({"discard_ratio": math.nan}, r"got nan"),
    ],
)
def test_options_that_rollout_does_not_have_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        attention_rollout(random_maps(), **options)


def distance(maps):
    return mean_attention_distance(maps, (2, 3), 4)


@pytest.mark.parametrize("function", [attention_rollout, distance])
@pytest.mark.parametrize(
    ("maps", "message"),
    [
        ([], "got 0 of shape none"),
        ([None, None], "filled by a forward pass inside record_attention; got 2 of shape none"),
        ([torch.ones(1, 2, 7, 7), None], r"got 2 of shape \(1, 2, 7, 7\)"),
        (torch.ones(1, 2, 7, 7), r"got 1 of shape \(2, 7, 7\)"),
        ([torch.ones(1, 2, 7, 6)], r"got 1 of shape \(1, 2, 7, 6\)"),
        ([torch.ones(1, 2, 7, 7), torch.ones(1, 2, 6, 6)], r"\(1, 2, 7, 7\), \(1, 2, 6, 6\)"),
    ],
)
def test_what_is_no_list_of_maps_is_named(function, maps, message):
    with pytest.raises(ValueError, match=message):
        function(maps)


def distance_by_loops(maps, grid, patch_size, prefix):
    """Every patch by its centre in pixels, one query, key, picture, head and layer at a time."""
    (rows, columns), (p1, p2) = grid, patch_size
    centres = [((i + 0.5) * p1, (j + 0.5) * p2) for i in range(rows) for j in range(columns)]
    b, heads = maps[0].shape[:2]
    result = torch.zeros(len(maps), heads, dtype=torch.float64)
    for layer, attention in enumerate(maps):
        for head in range(heads):
            means = []
            for picture in range(b):
                for query, looks in enumerate(centres):
                    row = attention[picture, head, prefix + query, prefix:].tolist()
                    far = [math.dist(looks, seen) for seen in centres]
                    means.append(math.fsum(map(math.prod, zip(row, far, strict=True))) / sum(row))
            result[layer, head] = sum(means) / len(means)
    return result


@pytest.mark.parametrize("prefix", [0, 1])
@pytest.mark.parametrize(
    ("grid", "patch_size"), [((3, 3), (4, 4)), ((2, 5), (3, 7)), ((5, 2), (3, 7)), ((1, 6), (2, 1))]
)
def test_distance_is_that_of_loops(grid, patch_size, prefix):
    maps = random_maps(n=prefix + grid[0] * grid[1], heads=3, dtype=torch.float64)
    distances = mean_attention_distance(maps, grid, patch_size)
    assert distances.shape == (3, 3)
    expected = distance_by_loops(maps, grid, patch_size, prefix)
    torch.testing.assert_close(distances, expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("pool", ["cls", "mean"])
def test_distance_in_a_model_is_that_of_loops(images, pool):
    vit = randomised_vit(pool=pool)
    maps = recorded_maps(vit, images)
    distances = mean_attention_distance(maps, vit.grid, 2)
    assert distances.dtype == torch.float32
    expected = distance_by_loops(maps, (3, 4), (2, 2), vit.num_prefix).float()
    torch.testing.assert_close(distances, expected)


@pytest.mark.parametrize("prefix", [0, 1])
def test_a_patch_that_looks_at_itself_looks_nowhere_else(prefix):
    n = prefix + 6
    itself = torch.eye(n).expand(2, 2, n, n)
    assert torch.equal(mean_attention_distance([itself], (2, 3), 4), torch.zeros(1, 2))


@pytest.mark.parametrize("columns", [2, 5, 14])
def test_a_patch_that_looks_everywhere_looks_a_third_of_the_row_away(columns):
    """Two places drawn from n in a row are (n * n - 1) / 3n places apart, on average."""
    n = columns
    everywhere = torch.full((1, 1, n, n), 1 / n)
    expected = torch.tensor([[16 * (n * n - 1) / (3 * n)]])
    torch.testing.assert_close(mean_attention_distance([everywhere], (1, n), (3, 16)), expected)
    torch.testing.assert_close(mean_attention_distance([everywhere], (n, 1), (16, 3)), expected)


def test_the_class_token_has_no_part_in_the_distance():
    """Neither where it looks nor how much of a patch's attention it takes."""
    maps = random_maps(n=7)
    expected = mean_attention_distance(maps, (2, 3), 4)
    for attention in maps:
        attention[:, :, 0] = torch.eye(7)[3]
        taken = torch.rand(2, 2, 6)
        attention[:, :, 1:, 1:] *= 1 - taken[..., None]
        attention[:, :, 1:, 0] = taken
    torch.testing.assert_close(mean_attention_distance(maps, (2, 3), 4), expected)
    without = [F.normalize(attention[:, :, 1:, 1:], p=1, dim=-1) for attention in maps]
    torch.testing.assert_close(mean_attention_distance(without, (2, 3), 4), expected)


def test_a_patch_that_looks_at_no_patch_has_no_distance():
    attention = torch.zeros(1, 3, 3, 3)
    attention[..., 0] = 1  # all to the class token ...
    attention[0, 0, 1] = torch.tensor([0.5, 0.0, 0.5])  # ... but one patch in one head
    attention[0, 1, 2] = torch.nan
    distances = mean_attention_distance([attention], (1, 2), 10)
    assert distances[0, 0] == 10
    assert distances[0, 1:].isnan().all()  # nan goes in; nothing is left to average


def test_the_distance_over_pictures_is_the_mean_of_each_picture_s():
    maps = random_maps(b=4, n=6)
    each = [mean_attention_distance([a[i : i + 1] for a in maps], (2, 3), 4) for i in range(4)]
    torch.testing.assert_close(mean_attention_distance(maps, (2, 3), 4), torch.stack(each).mean(0))


@pytest.mark.parametrize(
    ("grid", "patch_size", "message"),
    [
        ((3, 4), 4, r"3 x 4 needs maps of 12 tokens, or .* got a shape of \(2, 2, 7, 7\)"),
        ((1, 5), 4, r"1 x 5 needs maps of 5 tokens"),
        ((2, 3), 0, r"got 0"),
        ((2, 3), (4, 4, 4), r"got \(4, 4, 4\)"),
    ],
)
def test_a_grid_or_a_patch_that_does_not_fit_is_named(grid, patch_size, message):
    with pytest.raises(ValueError, match=message):
        mean_attention_distance(random_maps(), grid, patch_size)


@pytest.mark.parametrize("pool", ["cls", "mean"])
def test_each_prediction_is_that_of_a_model_which_ends_there(images, pool):
    vit = randomised_vit(pool=pool)
    predictions = layer_predictions(vit, images)
    assert predictions.shape == (4, 2, 3)
    tokens = vit.embed(images)
    read = tokens[:, 0] if pool == "cls" else tokens.mean(dim=1)
    torch.testing.assert_close(predictions[0], vit.mlp_head(read))
    for depth in (1, 2, 3):
        shorter = ViT(**(vit.config | {"depth": depth})).eval()
        kept = {name: vit.state_dict()[name] for name in shorter.state_dict()}
        shorter.load_state_dict(kept)
        assert torch.equal(predictions[depth], shorter(images))
    assert torch.equal(predictions[-1], vit(images))


def test_only_a_vit_has_layers_to_read_answers_off(vit, images):
    with pytest.raises(ValueError, match=r"Linear is not a vit_tutorial.ViT; .*weights.py"):
        layer_predictions(nn.Linear(2, 2), images)
    with pytest.raises(ValueError, match=r"OptimizedModule is not .*compiled._orig_mod"):
        layer_predictions(compiled_as_a_whole(vit), images)


def relevance_by_backward(vit, image, label):
    """One picture, the model walked through by hand: maps keep their gradients, loops add up."""
    vit = copy.deepcopy(vit)
    x, maps = vit.embed(image[None]), []
    for attention, feed_forward in vit.transformer.layers:
        normed, layer = attention.norm(x), attention.fn
        q, k, v = layer.to_qkv(normed).reshape(x.shape[1], 3, 2, 5).permute(1, 2, 0, 3)
        scores = torch.einsum("hid,hjd->hij", q, k) / math.sqrt(5)
        maps.append(scores.exp() / scores.exp().sum(-1, keepdim=True))
        maps[-1].retain_grad()
        gathered = torch.einsum("hij,hjd->ihd", maps[-1], v).reshape(1, -1, 10)
        x = x + layer.to_out(gathered)
        x = x + feed_forward(x)
    vit.classify(x)[0, label].backward()
    n = x.shape[1]
    relevance = [[float(i == j) for j in range(n)] for i in range(n)]
    for attention in maps:
        products = (attention * attention.grad).tolist()
        step = [
            [sum(max(head[i][j], 0.0) for head in products) / 2 for j in range(n)] for i in range(n)
        ]
        relevance = [
            [
                relevance[i][j] + sum(step[i][k] * relevance[k][j] for k in range(n))
                for j in range(n)
            ]
            for i in range(n)
        ]
    return torch.tensor(relevance, dtype=torch.float64)


@pytest.mark.parametrize("pool", ["cls", "mean"])
def test_relevance_is_that_of_backward_and_loops(images, pool):
    vit, images = randomised_vit(pool=pool).double(), images.double()
    relevance = attention_relevance(vit, images, torch.tensor([2, 0]))
    assert (relevance - torch.eye(12 + vit.num_prefix)).abs().max() > 1e-3
    for picture, label in enumerate([2, 0]):
        expected = relevance_by_backward(vit, images[picture], label)
        torch.testing.assert_close(relevance[picture], expected, atol=1e-10, rtol=1e-8)


def test_relevance_is_of_one_class(vit, images):
    one, other = (attention_relevance(vit, images, [label, label]) for label in (0, 1))
    assert not torch.allclose(one, other, atol=1e-3)
    assert (one >= 0).all()
    assert not one.requires_grad


def test_without_a_gradient_each_token_matters_for_itself(images):
    fresh = ViT(**SIZE, **BODY).eval()  # its head is zero
    relevance = attention_relevance(fresh, images, [0, 1])
    assert torch.equal(relevance, torch.eye(13).expand(2, 13, 13))


def test_heads_that_are_off_carry_no_relevance(vit, images):
    with switch_off_heads(vit, {layer: range(2) for layer in range(3)}):
        relevance = attention_relevance(vit, images, [0, 1])
    assert torch.equal(relevance, torch.eye(13).expand(2, 13, 13))


def test_without_positions_relevance_moves_with_the_patches(images):
    vit, order = randomised_vit(position="none"), torch.randperm(12)
    shuffled = unpatchify(patchify(images, 2)[:, order], (3, 4), 2)
    tokens = torch.cat((torch.tensor([0]), order + 1))
    expected = attention_relevance(vit, images, [0, 1])[:, tokens][..., tokens]
    torch.testing.assert_close(attention_relevance(vit, shuffled, [0, 1]), expected)


def frozen(vit):
    return vit.requires_grad_(False)


@pytest.mark.parametrize("around", [torch.no_grad, torch.inference_mode, contextlib.nullcontext])
@pytest.mark.parametrize("prepare", [frozen, nn.Module.eval])
def test_relevance_needs_no_gradients_switched_on(vit, around, prepare):
    pictures = torch.randn(2, 1, 6, 8)
    expected = attention_relevance(vit, pictures, [0, 1])
    prepare(vit)
    with around():
        relevance = attention_relevance(vit, pictures.clone(), [0, 1])
    assert torch.equal(relevance, expected)


def test_relevance_leaves_gradients_hooks_and_pictures_as_they_were(vit, images, fused_calls):
    for number, parameter in enumerate(vit.parameters()):
        parameter.grad = torch.full_like(parameter, number) if number % 2 else None
    images.requires_grad_()
    attention_relevance(vit, images, [0, 1])
    for number, parameter in enumerate(vit.parameters()):
        if number % 2:
            assert torch.equal(parameter.grad, torch.full_like(parameter, number))
        else:
            assert parameter.grad is None
    assert images.grad is None
    assert is_as_before(vit, images, fused_calls)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ([0, 3], r"classes are 0 to 2, got \[0, 3\]"),
        ([-1, 0], r"got \[-1, 0\]"),
        ([0], r"classes are 2 whole numbers, one an image; got torch.int64 of shape \(1,\)"),
        (1, r"of shape \(\)"),
        ([0.0, 1.0], r"got torch.float32"),
        ([True, False], r"got torch.bool"),
        ("ab", "classes are 2 whole numbers, one an image; got 'ab'"),
        ([10**30, 0], "classes are 2 whole numbers, one an image; got "),
        (torch.eye(3)[:2].long(), r"of shape \(2, 3\)"),
    ],
)
def test_classes_that_are_not_there_are_named(vit, images, fused_calls, classes, message):
    with pytest.raises(ValueError, match=message):
        attention_relevance(vit, images, classes)
    assert is_as_before(vit, images, fused_calls)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (torch.Tensor.byte, ValueError, r"floating-point .* got torch\.uint8; .*normalize"),
        (torch.Tensor.numpy, TypeError, r"got a ndarray; torch\.from_numpy"),
        (torch.Tensor.double, ValueError, r"reads float32 images, got torch\.float64"),
        (lambda images: None, TypeError, "got a NoneType"),
    ],
)
def test_relevance_names_images_of_another_type(vit, images, change, error, message):
    with pytest.raises(error, match=message):
        attention_relevance(vit, change(images), [0, 1])


def test_relevance_takes_what_was_made_under_inference_mode(vit, images):
    expected = attention_relevance(vit, images, torch.tensor([0, 1]))
    with torch.inference_mode():
        found = attention_relevance(vit, images + 0, torch.tensor([0, 1]))
    torch.testing.assert_close(found, expected)


def test_a_model_made_under_inference_mode_has_no_relevance(images):
    with torch.inference_mode():
        vit = ViT(**SIZE, **BODY)
    with pytest.raises(ValueError, match=r"built under torch\.inference_mode.*outside"):
        attention_relevance(vit, images, [0, 1])


@pytest.mark.parametrize("model", [None, "vit", torch.zeros(2)])
def test_what_is_no_model_is_named(model, images):
    for call in (
        lambda: record_attention(model).__enter__(),
        lambda: switch_off_heads(model, {}).__enter__(),
        lambda: change_temperature(model, 2).__enter__(),
        lambda: attention_relevance(model, images, [0, 1]),
    ):
        with pytest.raises(TypeError, match="a model is needed to"):
            call()


@pytest.mark.parametrize("patch", [7, (0,), (0.0, 1), "ab", (0, 1, 2), (0, -1)])
def test_what_is_no_patch_is_named(patch):
    with pytest.raises(ValueError, match=r"there is no patch .* in a grid of 2 x 3"):
        attention_on_grid(torch.rand(6, 6), (2, 3), patch)


@pytest.mark.parametrize(("n", "ratio", "count"), [(100, 0.29, 29), (50, 0.14, 7), (10, 0.29, 2)])
def test_a_share_is_rounded_down_from_what_it_says_not_from_its_binary(n, ratio, count):
    """0.29 * 100 is 28.999999999999996 in floating point."""
    row = torch.arange(1.0, n + 1)
    maps = [(row / row.sum()).expand(1, 1, n, n)]
    kept = attention_rollout(maps, discard_ratio=ratio)[0, 0, 1:] > 0
    assert (~kept).sum() == count - 1  # and the first entry, which holds the residual


def test_a_share_of_almost_all_keeps_the_largest():
    maps = [torch.rand(1, 1, 4, 4)]
    rollout = attention_rollout(maps, discard_ratio=math.nextafter(1, 0))
    assert torch.equal((rollout[0] > 0).sum(dim=-1) <= 2, torch.ones(4, dtype=torch.bool))
    torch.testing.assert_close(rollout.sum(dim=-1), torch.ones(1, 4))


def test_relevance_through_foreign_and_compiled_models_is_refused(vit, images):
    with pytest.raises(ValueError, match=r"Linear has no .*Attention layer"):
        attention_relevance(nn.Linear(2, 2), images, [0, 1])
    with pytest.raises(RuntimeError, match=r"compiled.*_orig_mod"):
        attention_relevance(compiled_as_a_whole(vit), images, [0, 1])


# The book's own model, on its own pictures and on pictures of another shape


@pytest.fixture(params=[(28, 28), (28, 20)], ids=["square", "not square"], scope="module")
def of_the_book(request):
    """Its maps, in double precision, on the first pictures of the test set; its grid."""
    vit = load_pretrained("fashion", image_size=request.param).double()
    images, _ = load_dataset("fashion_mnist", "test", subset=20)
    width = request.param[1]
    left = (28 - width) // 2
    pictures = normalize(images[:2], vit.facts["mean"], vit.facts["std"])
    pictures = pictures[..., left : left + width].double()
    with torch.no_grad(), record_attention(vit) as maps:
        vit(pictures)
    return maps, vit.grid


def test_the_books_rollout_is_that_of_loops(of_the_book):
    maps, _ = of_the_book
    torch.testing.assert_close(attention_rollout(maps), rollout_by_loops(maps))


def test_the_books_distance_is_that_of_loops(of_the_book):
    maps, grid = of_the_book
    expected = distance_by_loops(maps, grid, (4, 4), prefix=1)
    torch.testing.assert_close(mean_attention_distance(maps, grid, 4), expected)
