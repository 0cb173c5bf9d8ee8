"""The model: both roads of attention, its symmetries, its start, and the one it descends from."""

import copy
import math
import weakref

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import randomise
from torch import nn
from vit_pytorch import vit as peer

from vit_tutorial import Attention, FeedForward, PreNorm, Transformer, ViT, record_attention
from vit_tutorial.positions import POSITIONS

SIZE = {"image_size": (6, 8), "patch_size": 2, "channels": 1, "num_classes": 5}
BODY = {"dim": 8, "depth": 2, "heads": 2, "dim_head": 5, "mlp_dim": 12}


def small_vit(**overrides) -> ViT:
    return ViT(**(SIZE | BODY | overrides))


def test_the_stages_are_the_equations():
    """Equations 1 to 4, written out with nothing but products and sums."""
    vit = randomise(small_vit(qkv_bias=True).double())
    image = torch.randn(1, 1, 6, 8, dtype=torch.float64)
    weights = vit.state_dict()

    def linear(x, name):
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def layer_norm(x, name):
        x = (x - x.mean(-1, keepdim=True)) / (x.var(-1, correction=0, keepdim=True) + 1e-6).sqrt()
        return x * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    patches = [image[0, :, i : i + 2, j : j + 2] for i in (0, 2, 4) for j in (0, 2, 4, 6)]
    flat = torch.stack([patch.permute(1, 2, 0).flatten() for patch in patches])
    z = torch.cat((weights["cls_token"][0], linear(flat, "to_patch_embedding.1")))  # eq. 1
    z = z + weights["pos_embedding"][0]
    for i in range(2):
        layer = f"transformer.layers.{i}"
        q, k, v = linear(layer_norm(z, f"{layer}.0.norm"), f"{layer}.0.fn.to_qkv").split(10, dim=1)
        heads = []
        for own in (slice(0, 5), slice(5, 10)):
            weight = (q[:, own] @ k[:, own].T / 5**0.5).softmax(dim=1)  # eq. 6
            heads.append(weight @ v[:, own])  # eq. 7
        z = linear(torch.cat(heads, dim=1), f"{layer}.0.fn.to_out.0") + z  # eq. 8 and 2
        hidden = linear(layer_norm(z, f"{layer}.1.norm"), f"{layer}.1.fn.net.0")
        hidden = hidden * (1 + torch.erf(hidden / 2**0.5)) / 2  # GELU
        z = linear(hidden, f"{layer}.1.fn.net.3") + z  # eq. 3
    logits = linear(layer_norm(z[0], "mlp_head.0"), "mlp_head.1")  # eq. 4
    torch.testing.assert_close(vit(image)[0], logits, atol=1e-12, rtol=0)


@pytest.mark.parametrize("qkv_bias", [False, True])
@pytest.mark.parametrize(("heads", "dim_head"), [(2, 5), (1, 8), (4, 2), (3, 1)])
def test_the_fused_and_the_explicit_road_agree(heads, dim_head, qkv_bias):
    """Outputs and all gradients, in float64."""
    layer = randomise(Attention(8, heads, dim_head, qkv_bias=qkv_bias).double())
    x = torch.randn(2, 7, 8, dtype=torch.float64, requires_grad=True)
    direction = torch.randn(2, 7, 8, dtype=torch.float64)

    def output_and_gradients():
        out = layer(x)
        return out, *torch.autograd.grad((out * direction).sum(), (x, *layer.parameters()))

    fused = output_and_gradients()
    with record_attention(layer):
        explicit = output_and_gradients()
    for a, b in zip(fused, explicit, strict=True):
        assert b.abs().sum() > 0
        torch.testing.assert_close(a, b, atol=1e-12, rtol=1e-10)


def test_the_scale_is_one_over_the_root_of_the_width_of_a_head():
    """Two tokens, one head of width 4, queries and keys known: the weights by hand."""
    layer = Attention(4, 1, 4)
    with torch.no_grad():
        layer.to_qkv.weight.copy_(torch.eye(4).repeat(3, 1))
    x = torch.tensor([[[2.0, 0, 0, 0], [0, 0, 0, 0]]])
    # the first one scores 2 * 2 / sqrt(4) = 2 on itself and 0 on the other, which scores 0 and 0
    first = 2 * torch.sigmoid(torch.tensor(2.0)).item()
    expected = torch.tensor([[[first, 0, 0, 0], [1.0, 0, 0, 0]]])
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize("pool", ["cls", "mean"])
@pytest.mark.parametrize("position", POSITIONS)
def test_forward_is_its_three_stages(position, pool):
    vit = randomise(small_vit(position=position, pool=pool))
    images = torch.randn(3, 1, 6, 8)
    tokens = vit.embed(images)
    assert tokens.shape == (3, 12 + vit.num_prefix, 8)
    encoded = vit.transformer(tokens)
    assert encoded.shape == tokens.shape
    assert torch.equal(vit.classify(encoded), vit(images))
    assert vit(images).shape == (3, 5)


def test_the_encoder_is_equivariant_to_the_order_of_tokens():
    encoder = randomise(Transformer(8, 2, 2, 5, 12).double())
    tokens = torch.randn(2, 9, 8, dtype=torch.float64)
    order = torch.randperm(9)
    torch.testing.assert_close(encoder(tokens[:, order]), encoder(tokens)[:, order])
    assert not torch.allclose(encoder(tokens[:, order]), encoder(tokens))  # not invariant


def shuffled_patches(images: torch.Tensor) -> torch.Tensor:
    """The same pictures with their 2 x 2 patches in another order."""
    patches = F.unfold(images, 2, stride=2)
    return F.fold(patches[..., torch.randperm(12)], (6, 8), 2, stride=2)


@pytest.mark.parametrize("pool", ["cls", "mean"])
def test_without_positions_the_answer_does_not_depend_on_the_order_of_patches(pool):
    vit = randomise(small_vit(position="none", pool=pool).double())
    images = torch.randn(2, 1, 6, 8, dtype=torch.float64)
    torch.testing.assert_close(vit(shuffled_patches(images)), vit(images))


@pytest.mark.parametrize("pool", ["cls", "mean"])
@pytest.mark.parametrize("position", [p for p in POSITIONS if p != "none"])
def test_with_positions_it_does(position, pool):
    vit = randomise(small_vit(position=position, pool=pool).double())
    images = torch.randn(2, 1, 6, 8, dtype=torch.float64)
    assert (vit(shuffled_patches(images)) - vit(images)).abs().max() > 1e-3


def test_patches_can_be_dropped_between_embed_and_transformer():
    """With its position added, a patch may stand anywhere: dropping is leaving out of the sums."""
    vit = randomise(small_vit().double())
    tokens = vit.embed(torch.randn(2, 1, 6, 8, dtype=torch.float64))
    kept = torch.tensor([0, 3, 4, 9])
    dropped = vit.classify(vit.transformer(tokens[:, kept]))
    assert dropped.shape == (2, 5)
    reordered = vit.classify(vit.transformer(tokens[:, kept[[0, 3, 1, 2]]]))
    torch.testing.assert_close(dropped, reordered)
    assert (dropped - vit.classify(vit.transformer(tokens))).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("image_size", "patch_size", "grid"),
    [(8, 4, (2, 2)), ((6, 8), 2, (3, 4)), ((6, 10), (3, 2), (2, 5)), ((4, 4), (4, 4), (1, 1))],
)
def test_pictures_and_patches_need_not_be_square(image_size, patch_size, grid):
    vit = randomise(small_vit(image_size=image_size, patch_size=patch_size, channels=2))
    assert vit.grid == grid
    images = torch.randn(2, 2, *vit.image_size)
    assert vit(images).shape == (2, 5)
    assert vit.embed(images).shape[1] == 1 + grid[0] * grid[1]
    pixel = images.clone()
    pixel[:, 1, -1, -1] += 1  # the last pixel is read too
    assert not torch.allclose(vit(pixel), vit(images))


def test_mean_pooling_has_no_class_token():
    vit = randomise(small_vit(pool="mean"))
    assert vit.cls_token is None
    assert vit.num_prefix == 0
    assert "cls_token" not in vit.state_dict()
    tokens = torch.randn(2, 7, 8)
    expected = vit.mlp_head[1](vit.mlp_head[0](tokens.sum(dim=1) / 7))
    torch.testing.assert_close(vit.classify(tokens), expected)


def test_the_class_token_alone_is_read():
    vit = randomise(small_vit())
    tokens = torch.randn(2, 7, 8)
    elsewhere = tokens.clone()
    elsewhere[:, 1:] = torch.randn(2, 6, 8)
    assert torch.equal(vit.classify(elsewhere), vit.classify(tokens))


def test_one_head_as_wide_as_the_model_has_no_output_projection():
    assert isinstance(Attention(8, 1, 8).to_out, nn.Identity)
    for heads, dim_head in [(1, 4), (2, 4), (2, 8)]:
        linear = Attention(8, heads, dim_head).to_out[0]
        assert (linear.in_features, linear.out_features) == (heads * dim_head, 8)


# How a fresh model starts


@pytest.mark.parametrize("position", POSITIONS)
def test_a_fresh_model_says_nothing(position):
    vit = small_vit(position=position)
    images = torch.randn(4, 1, 6, 8)
    assert torch.equal(vit(images), torch.zeros(4, 5))
    assert torch.equal(vit.cls_token, torch.zeros(1, 1, 8))
    assert vit.transformer(vit.embed(images)).std() > 0.1  # the body is not zero


@pytest.mark.parametrize(
    ("position", "names"),
    [("learned", ["pos_embedding"]), ("learned_2d", ["pos_rows", "pos_columns"])],
)
def test_positions_start_as_small_noise(position, names):
    vit = small_vit(image_size=128, dim=64, position=position)
    for name in names:
        values = getattr(vit, name)
        assert values.mean().abs() < 0.002
        assert values.std().item() == pytest.approx(0.02, rel=0.05)


@pytest.mark.parametrize("dim_head", [16, 5])
def test_queries_keys_values_start_as_three_matrices(dim_head):
    """Xavier's bound is that of each (D, h*d) matrix, not that of the three in one."""
    layers = small_vit(dim=64, heads=4, dim_head=dim_head, qkv_bias=True).transformer.layers
    inner = 4 * dim_head
    bound = (6 / (64 + inner)) ** 0.5
    for attention, _ in layers:
        for matrix in attention.fn.to_qkv.weight.split(inner):
            assert matrix.abs().max() <= bound
            assert matrix.abs().max() > 0.98 * bound
            assert matrix.std().item() == pytest.approx(bound / 3**0.5, rel=0.05)
        assert not attention.fn.to_qkv.bias.any()


def test_the_other_layers_start_as_in_the_official_code():
    vit = small_vit(patch_size=2, channels=16, dim=64, heads=4, dim_head=16, mlp_dim=128)
    for attention, feed_forward in vit.transformer.layers:
        out, first, second = attention.fn.to_out[0], feed_forward.fn.net[0], feed_forward.fn.net[3]
        for linear in (out, first, second):
            bound = (6 / (linear.in_features + linear.out_features)) ** 0.5
            assert 0.98 * bound < linear.weight.abs().max() <= bound
        assert not out.bias.any()
        for linear in (first, second):
            assert 0 < linear.bias.abs().max() < 1e-5
        for norm in (attention.norm, feed_forward.norm):
            assert (norm.weight == 1).all()
            assert not norm.bias.any()
    projection = vit.to_patch_embedding[1]
    assert projection.weight.std().item() == pytest.approx((1 / 64) ** 0.5, rel=0.05)
    assert not projection.bias.any()


@pytest.mark.parametrize("pool", ["cls", "mean"])
@pytest.mark.parametrize("position", POSITIONS)
def test_a_gradient_reaches_every_parameter(position, pool):
    vit = randomise(small_vit(position=position, pool=pool, qkv_bias=True)).train()
    loss = F.cross_entropy(vit(torch.randn(4, 1, 6, 8)), torch.tensor([0, 1, 2, 3]))
    loss.backward()
    without = [name for name, p in vit.named_parameters() if p.grad is None or not p.grad.any()]
    assert not without


def test_at_the_start_the_head_alone_gets_a_gradient():
    vit = small_vit()
    F.cross_entropy(vit(torch.randn(4, 1, 6, 8)), torch.tensor([0, 1, 2, 3])).backward()
    reached = {name for name, p in vit.named_parameters() if p.grad is not None and p.grad.any()}
    assert reached == {"mlp_head.1.weight", "mlp_head.1.bias"}


# How it behaves


@pytest.mark.parametrize("where", ["dropout", "emb_dropout"])
def test_dropout_acts_in_training_only(where):
    vit = randomise(small_vit(**{where: 0.5}))
    images = torch.randn(2, 1, 6, 8)
    assert torch.equal(vit(images), vit(images))
    plain = small_vit()
    plain.load_state_dict(vit.state_dict())
    torch.testing.assert_close(vit(images), plain.eval()(images))
    vit.train()
    assert not torch.allclose(vit(images), vit(images))


def test_dropout_stands_after_each_linear_layer_of_a_block_but_qkv():
    """With everything dropped, a block adds nothing: each of its branches ends in a dropout."""
    encoder = Transformer(8, 2, 2, 5, 12, 1.0).train()
    tokens = torch.randn(2, 7, 8)
    assert torch.equal(encoder(tokens), tokens)
    feed_forward, attention = FeedForward(8, 12, 0.3), Attention(8, 2, 5, 0.3)
    assert [m.p for m in feed_forward.modules() if isinstance(m, nn.Dropout)] == [0.3, 0.3]
    assert [m.p for m in attention.modules() if isinstance(m, nn.Dropout)] == [0.3]


def test_without_dropout_training_and_evaluation_agree():
    vit = randomise(small_vit())
    images = torch.randn(2, 1, 6, 8)
    assert torch.equal(vit.eval()(images), vit.train()(images))


def test_pictures_do_not_look_at_each_other():
    vit = randomise(small_vit().double())
    images = torch.randn(5, 1, 6, 8, dtype=torch.float64)
    one_by_one = torch.cat([vit(image[None]) for image in images])
    torch.testing.assert_close(vit(images), one_by_one)


def test_a_compiled_model_gives_the_same_logits():
    vit = randomise(small_vit())
    images = torch.randn(2, 1, 6, 8)
    compiled = torch.compile(vit, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(images), vit(images), atol=1e-6, rtol=0)


def test_the_stream_is_what_stands_before_the_encoder_and_after_each_half_of_a_layer():
    encoder = randomise(Transformer(8, 3, 2, 5, 12).double())
    x = torch.randn(2, 7, 8, dtype=torch.float64)
    halves = [half for layer in encoder.layers for half in layer]
    contributions = []
    handles = [
        half.register_forward_hook(lambda *heard: contributions.append(heard[2])) for half in halves
    ]
    stages = list(encoder.stream(x))
    for handle in handles:
        handle.remove()
    assert len(stages) == 7
    assert torch.equal(stages[0], x)
    for stage, contribution, after in zip(stages[:-1], contributions, stages[1:], strict=True):
        torch.testing.assert_close(after - stage, contribution)
    assert torch.equal(stages[-1], encoder(x))


def test_the_encoder_lets_go_of_what_it_has_read():
    """Without a graph, no layer's input is kept but the caller's and the last one's."""
    encoder = Transformer(8, 6, 2, 5, 12).eval()
    read = []
    for layer in encoder.layers:
        layer[1].register_forward_pre_hook(lambda _, given: read.append(weakref.ref(given[0])))
    kept = []
    last = encoder.layers[-1][1]
    last.register_forward_hook(lambda *_: kept.extend(x for x in read if x() is not None))
    with torch.no_grad():
        encoder(torch.randn(2, 7, 8))
    assert len(read) == 6
    assert kept == [read[-1]]


def test_a_copy_and_a_state_dict_round_trip_are_the_same_model():
    vit = randomise(small_vit(position="sincos_2d"))
    images = torch.randn(2, 1, 6, 8)
    twin = copy.deepcopy(vit)
    again = ViT(**vit.config).eval()
    again.load_state_dict(vit.state_dict())
    assert torch.equal(twin(images), vit(images))
    assert torch.equal(again(images), vit(images))
    with torch.no_grad():
        twin.cls_token += torch.randn(8)
    assert not torch.allclose(twin(images), vit(images))
    assert torch.equal(again(images), vit(images))


def test_config_holds_every_argument():
    given = {"image_size": (6, 8), "patch_size": (3, 2), "num_classes": 7, "dim": 12, "depth": 1}
    given |= {"heads": 3, "mlp_dim": 5, "pool": "mean", "channels": 2, "dim_head": 6}
    given |= {"dropout": 0.1, "emb_dropout": 0.2, "qkv_bias": True}
    given |= {"position": "sincos_2d", "eps": 1e-5}
    assert ViT(**given).config == given


def test_eps_reaches_every_norm():
    norms = [m for m in small_vit(eps=1e-3).modules() if isinstance(m, nn.LayerNorm)]
    assert len(norms) == 5
    assert {norm.eps for norm in norms} == {1e-3}
    assert {m.eps for m in small_vit().modules() if isinstance(m, nn.LayerNorm)} == {1e-6}


def test_an_empty_batch_gives_an_empty_answer():
    assert small_vit()(torch.zeros(0, 1, 6, 8)).shape == (0, 5)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"patch_size": 4}, "4 x 4.*6 x 8"),
        ({"patch_size": 0}, "at least 1, .*got 0"),
        ({"pool": "max"}, "pool is one of cls, mean, got 'max'"),
        ({"position": "learned_1d"}, "none, learned, learned_2d, sincos_2d, got 'learned_1d'"),
        ({"position": "learned_2d", "dim": 9}, "even dim, got 9"),
        ({"position": "sincos_2d", "dim": 10}, "multiple of 4, got 10"),
        *(
            ({name: wrong}, f"{name} must be at least 1, got {wrong}")
            for name in ("num_classes", "dim", "depth", "heads", "mlp_dim", "channels", "dim_head")
            for wrong in (0, -3)
        ),
    ],
)
def test_arguments_that_do_not_fit_are_named(overrides, message):
    with pytest.raises(ValueError, match=message):
        small_vit(**overrides)


SIZES = ("num_classes", "dim", "depth", "heads", "mlp_dim", "channels", "dim_head")


@pytest.mark.parametrize("wrong", [8.0, "8", None, True, [8], math.nan])
@pytest.mark.parametrize("name", SIZES)
def test_sizes_are_whole_numbers(name, wrong):
    with pytest.raises(ValueError, match=f"{name} must be a whole number of at least 1, got"):
        small_vit(**{name: wrong})


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Attention(8, heads=0), "heads must be at least 1, got 0"),
        (lambda: Attention(8.0), r"dim must be a whole number of at least 1, got 8\.0"),
        (lambda: Attention(8, dim_head=-1), "dim_head must be at least 1, got -1"),
        (lambda: Attention(8, dropout="0.1"), "dropout must be a number from 0 to 1, got '0.1'"),
        (lambda: Attention(8, qkv_bias="no"), "qkv_bias must be True or False, got 'no'"),
        (lambda: Transformer(8, -1, 2, 4, 12), "depth must be at least 1, got -1"),
        (lambda: Transformer(8, 1, 2, 4, "12"), "mlp_dim must be a whole number .* got '12'"),
        (lambda: FeedForward(8, 10**30), "hidden_dim must be at most 2,147,483,647, got 1000"),
        (lambda: FeedForward(8, 12, math.nan), "dropout must be a number from 0 to 1, got nan"),
        (lambda: PreNorm(8, nn.Identity(), eps=-1), "eps must be a small number above 0, .* -1"),
        *(
            (lambda eps=eps: small_vit(eps=eps), "eps must be a small number above 0")
            for eps in (-1, 0, math.nan, math.inf, "x", None, 1e-300)
        ),
        (lambda: small_vit(emb_dropout=1.5), r"emb_dropout must be a number from 0 to 1, got 1\.5"),
        (lambda: small_vit(pool=["cls"]), r"pool is one of cls, mean, got \['cls'\]"),
    ],
)
def test_arguments_of_every_module_are_looked_at(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_a_vit_of_numpy_numbers_has_a_config_of_plain_ones():
    given = SIZE | BODY | {"eps": 1e-5, "dropout": 0.25, "qkv_bias": True}
    of_numpy = {name: np.array(value)[()] for name, value in given.items()}
    of_numpy["image_size"] = tuple(of_numpy["image_size"])
    vit = ViT(**of_numpy)
    found = {name: vit.config[name] for name in given}
    assert found == given
    assert {name: type(value) for name, value in found.items()} == {
        name: type(value) for name, value in given.items()
    }
    assert {type(side) for side in vit.config["image_size"]} == {int}
    assert vit(torch.randn(2, 1, 6, 8)).shape == (2, 5)


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (
            torch.zeros(2, 1, 6, 8).byte(),
            ValueError,
            r"reads float32 images, got torch\.uint8; data",
        ),
        (
            torch.zeros(2, 1, 6, 8).double(),
            ValueError,
            r"got torch\.float64; images\.to\(torch\.float32",
        ),
        (
            torch.zeros(2, 1, 6, 8).long(),
            ValueError,
            r"got torch\.int64; images\.to\(torch\.float32",
        ),
        (
            np.zeros((2, 1, 6, 8), np.float32),
            TypeError,
            "images .* got a ndarray; torch.from_numpy",
        ),
        (None, TypeError, r"images come as a torch\.Tensor, got a NoneType"),
    ],
)
def test_images_of_another_type_are_named(images, error, message):
    with pytest.raises(error, match=message):
        small_vit()(images)


def test_under_autocast_images_may_have_another_dtype():
    vit = randomise(small_vit())
    images = torch.randn(2, 1, 6, 8)
    with torch.autocast("cpu", torch.bfloat16):
        found = vit(images.bfloat16())
    torch.testing.assert_close(found.float(), vit(images), atol=0.1, rtol=0.1)


@pytest.mark.parametrize("shape", [(2, 3, 6, 8), (2, 1, 8, 6), (1, 6, 8), (2, 1, 1, 6, 8), (6, 8)])
def test_pictures_that_do_not_fit_are_named(shape):
    message = rf"\(b, 1, 6, 8\), got \({', '.join(map(str, shape))}\)"
    with pytest.raises(ValueError, match=message):
        small_vit()(torch.zeros(shape))


# vit-pytorch 0.40.2, whose constructors, names and weights are ours

PEER_SIZES = [
    SIZE | BODY,
    SIZE | {"dim": 16, "depth": 3, "heads": 4, "mlp_dim": 10},  # dim_head is 64 with both
    SIZE | BODY | {"heads": 1, "dim_head": 8},  # no output projection
    SIZE | BODY | {"channels": 3, "image_size": 12, "patch_size": (3, 4), "depth": 1},
]


@pytest.mark.parametrize("size", PEER_SIZES)
@pytest.mark.parametrize("direction", ["theirs to ours", "ours to theirs"])
def test_weights_of_vit_pytorch_are_ours(size, direction):
    ours, theirs = ViT(**size, eps=1e-5).eval(), peer.ViT(**size).eval()
    source, target = (theirs, ours) if direction == "theirs to ours" else (ours, theirs)
    target.load_state_dict(randomise(source).state_dict(), strict=True)
    images = torch.randn(3, size["channels"], *ours.image_size)
    assert theirs(images).std() > 0.1
    torch.testing.assert_close(ours(images), theirs(images), atol=1e-5, rtol=0)
    images = images.double()
    torch.testing.assert_close(ours.double()(images), theirs.double()(images), atol=1e-10, rtol=0)


ATTENTION = [
    ((8,), {}),
    ((8, 2), {}),
    ((8, 2, 5), {}),
    ((8, 2, 5, 0.1), {}),
    ((8, 1, 8), {}),
    ((8,), {"heads": 3, "dim_head": 4, "dropout": 0.1}),
]
FEED_FORWARD = [((8, 12), {}), ((8, 12, 0.1), {}), ((8,), {"hidden_dim": 3, "dropout": 0.1})]
TRANSFORMER = [
    ((8, 2, 2, 5, 12), {}),
    ((8, 1, 1, 8, 12, 0.1), {}),
    ((8,), {"depth": 1, "heads": 3, "dim_head": 4, "mlp_dim": 5, "dropout": 0.1}),
]


@pytest.mark.parametrize(
    ("ours", "theirs", "args", "kwargs"),
    [
        *((Attention, peer.Attention, *form) for form in ATTENTION),
        *((FeedForward, peer.FeedForward, *form) for form in FEED_FORWARD),
        *((Transformer, peer.Transformer, *form) for form in TRANSFORMER),
    ],
)
def test_each_module_takes_the_arguments_of_vit_pytorch_and_computes_the_same(
    ours, theirs, args, kwargs
):
    eps = {"eps": 1e-5} if ours is Transformer else {}  # PyTorch's default, and theirs
    module = ours(*args, **kwargs, **eps).eval()
    twin = randomise(theirs(*args, **kwargs))
    module.load_state_dict(twin.state_dict(), strict=True)
    x = torch.randn(2, 7, 8)
    torch.testing.assert_close(module(x), twin(x), atol=1e-5, rtol=0)


def test_prenorm_takes_the_arguments_of_vit_pytorch_and_computes_the_same():
    module = PreNorm(8, FeedForward(8, 12), eps=1e-5)
    twin = randomise(peer.PreNorm(8, peer.FeedForward(8, 12)))
    module.load_state_dict(twin.state_dict(), strict=True)
    x = torch.randn(2, 7, 8)
    torch.testing.assert_close(module(x), twin(x), atol=1e-6, rtol=0)
    keyword = PreNorm(dim=8, fn=nn.Identity())
    torch.testing.assert_close(keyword(x), F.layer_norm(x, (8,), eps=1e-6))


def test_prenorm_hands_keyword_arguments_on():
    class Scaled(nn.Module):
        def forward(self, x, *, factor):
            return x * factor

    x = torch.randn(2, 7, 8)
    module = PreNorm(8, Scaled())
    torch.testing.assert_close(module(x, factor=3.0), 3 * F.layer_norm(x, (8,), eps=1e-6))
