"""Recording attention: the maps are the true ones, and the model is left as it was."""

import contextlib
import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vit_tutorial import Attention, Transformer, ViT, record_attention

SIZE = {"image_size": (6, 8), "patch_size": 2, "channels": 1, "num_classes": 3}
BODY = {"dim": 8, "depth": 3, "heads": 2, "dim_head": 5, "mlp_dim": 16}


def randomised_vit(**overrides) -> ViT:
    vit = ViT(**SIZE, **(BODY | overrides)).eval()
    with torch.no_grad():
        for parameter in vit.parameters():
            parameter.normal_(std=0.5)
    return vit


@pytest.fixture
def vit():
    return randomised_vit()


@pytest.fixture
def images():
    return torch.randn(2, 1, 6, 8)


@pytest.fixture
def fused_calls(monkeypatch):
    """Counts the calls of PyTorch's fused attention."""
    calls = []
    fused = F.scaled_dot_product_attention

    def spy(*args, **kwargs):
        calls.append(args)
        return fused(*args, **kwargs)

    monkeypatch.setattr(F, "scaled_dot_product_attention", spy)
    return calls


def is_as_before(model: nn.Module, images, fused_calls) -> bool:
    """No hook is left anywhere, and every layer takes the fused road."""
    fused_calls.clear()
    model(images)
    hooks = [hook for module in model.modules() for hook in module._forward_hooks]
    layers = [module for module in model.modules() if isinstance(module, Attention)]
    return not hooks and len(fused_calls) == len(layers)


@pytest.mark.parametrize("pool", ["cls", "mean"])
def test_one_map_a_layer_with_rows_that_sum_to_one(images, pool):
    vit = randomised_vit(pool=pool)
    with record_attention(vit) as maps:
        vit(images)
    n = 12 + vit.num_prefix
    assert [tuple(attention.shape) for attention in maps] == [(2, 2, n, n)] * 3
    for attention in maps:
        assert (attention >= 0).all()
        torch.testing.assert_close(attention.sum(-1), torch.ones(2, 2, n))
    assert not torch.allclose(maps[0], maps[1])


def test_the_maps_are_the_softmax_written_out(vit, images):
    """From each layer's own input: softmax(q k^T / sqrt(d)), one head after the other."""
    inputs = []
    layers = [layer[0].fn for layer in vit.transformer.layers]
    handles = [a.register_forward_pre_hook(lambda _, args: inputs.append(args[0])) for a in layers]
    with record_attention(vit) as maps:
        vit(images)
    for handle in handles:
        handle.remove()
    for attention, layer, x in zip(maps, layers, inputs, strict=True):
        q, k, _ = layer.to_qkv(x).split(10, dim=-1)
        for head in range(2):
            own = slice(5 * head, 5 * head + 5)
            scores = q[..., own] @ k[..., own].mT / 5**0.5
            expected = scores.exp() / scores.exp().sum(-1, keepdim=True)
            torch.testing.assert_close(attention[:, head], expected)


def test_recording_does_not_change_the_logits(vit, images):
    expected = vit(images)
    with record_attention(vit):
        recorded = vit(images)
    torch.testing.assert_close(recorded, expected, atol=1e-5, rtol=0)


def test_no_layer_is_fused_while_recording_and_every_one_after(vit, images, fused_calls):
    with record_attention(vit):
        vit(images)
    assert not fused_calls
    assert is_as_before(vit, images, fused_calls)


def test_an_exception_passes_and_leaves_the_model_as_it_was(vit, images, fused_calls):
    def interrupted():
        with record_attention(vit):
            vit(images)
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        interrupted()
    assert is_as_before(vit, images, fused_calls)


def test_an_exception_inside_the_model_does_too(vit, images, fused_calls):
    with pytest.raises(ValueError, match="reads pictures of shape"), record_attention(vit):
        vit(images[:, :, 1:])
    assert is_as_before(vit, images, fused_calls)


def test_gradients_reach_the_maps(vit, images):
    with record_attention(vit) as maps:
        logits = vit(images)
    gradients = torch.autograd.grad(logits[:, 0].sum(), maps)
    assert all(gradient.abs().sum() > 0 for gradient in gradients)


def test_without_grad_the_maps_hold_no_graph(vit, images):
    with torch.no_grad(), record_attention(vit) as maps:
        vit(images)
    assert not any(attention.requires_grad for attention in maps)


def test_a_second_pass_replaces_the_first(vit, images):
    with record_attention(vit) as maps:
        vit(torch.randn(5, 1, 6, 8))
        vit(images)
    with record_attention(vit) as expected:
        vit(images)
    assert len(maps) == 3
    for attention, once in zip(maps, expected, strict=True):
        assert torch.equal(attention, once)


def test_a_recording_inside_a_recording(vit, images, fused_calls):
    others = torch.randn(4, 1, 6, 8)
    with record_attention(vit) as outer:
        with record_attention(vit) as inner:
            vit(images)
        assert all(torch.equal(a, b) for a, b in zip(outer, inner, strict=True))
        vit(others)  # the outer one still listens, the inner one no longer
    assert {len(attention) for attention in inner} == {2}
    assert {len(attention) for attention in outer} == {4}
    assert is_as_before(vit, images, fused_calls)


def test_other_hooks_stay(vit, images):
    seen = []
    attend = vit.transformer.layers[0][0].fn.attend
    handle = attend.register_forward_hook(lambda *_: seen.append(1))
    with record_attention(vit):
        vit(images)
    vit(images)
    handle.remove()
    assert len(seen) == 2


def test_a_copy_made_while_recording_does_not_write_into_the_maps(vit, images):
    with record_attention(vit) as maps:
        vit(images)
    twin = copy.deepcopy(vit)
    before = [attention.clone() for attention in maps]
    twin(torch.randn(2, 1, 6, 8))
    assert all(torch.equal(a, b) for a, b in zip(maps, before, strict=True))


def test_part_of_a_model_can_be_recorded(vit):
    tokens = torch.randn(1, 4, 8)
    with record_attention(vit.transformer) as maps:
        vit.transformer(tokens)
    assert [attention.shape for attention in maps] == [(1, 2, 4, 4)] * 3
    layer = Attention(8, 2, 5)
    with record_attention(layer) as maps:
        layer(tokens)
    assert len(maps) == 1


def test_a_foreign_model_is_refused():
    foreign = nn.TransformerEncoderLayer(8, 2)
    message = r"TransformerEncoderLayer has no .*Attention"
    with pytest.raises(ValueError, match=message), record_attention(foreign):
        pass


def compiled_as_a_whole(vit):
    return torch.compile(vit, backend="eager")


def compiled_in_place(vit):
    vit.compile(backend="eager")
    return vit


def with_a_compiled_part(vit):
    vit.transformer = torch.compile(vit.transformer, backend="eager")
    return vit


def with_a_part_compiled_in_place(vit):
    vit.transformer.layers[1][0].compile(backend="eager")
    return vit


@pytest.mark.parametrize(
    "compiled",
    [
        compiled_as_a_whole,
        compiled_in_place,
        with_a_compiled_part,
        with_a_part_compiled_in_place,
    ],
)
def test_a_compiled_model_is_refused(vit, compiled):
    model = compiled(vit)
    with pytest.raises(RuntimeError, match=r"compiled.*_orig_mod"), record_attention(model):
        pass


def test_what_went_into_torch_compile_can_be_recorded(vit, images):
    compiled = torch.compile(vit, backend="eager")
    expected = compiled(images)
    with record_attention(compiled._orig_mod) as maps:
        logits = compiled._orig_mod(images)
    assert len(maps) == 3
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=0)


def test_a_function_compiled_around_the_model_records_or_raises(vit, images):
    """Which of the two depends on whether PyTorch compiles it again; never a list without maps."""
    compiled = torch.compile(lambda x: vit(x), backend="eager")
    compiled(images)
    with record_attention(vit) as expected:
        vit(images)
    recorded = expected
    with contextlib.suppress(RuntimeError):
        with record_attention(vit) as maps:
            compiled(images)
        recorded = maps
    for attention, uncompiled in zip(recorded, expected, strict=True):
        torch.testing.assert_close(attention, uncompiled)


def test_a_block_in_which_nothing_ran_raises(vit, images, fused_calls):
    message = r"layers \[0, 1, 2\] of 3 did not run"
    with pytest.raises(RuntimeError, match=message), record_attention(vit):
        pass
    assert is_as_before(vit, images, fused_calls)


def test_a_block_in_which_some_layers_ran_names_the_others():
    encoder = Transformer(8, 3, 2, 5, 16)
    first_two = nn.Sequential(*(attention for attention, _ in list(encoder.layers)[:2]))
    message = r"layers \[2\] of 3 did not run"
    with pytest.raises(RuntimeError, match=message), record_attention(encoder):
        first_two(torch.randn(1, 4, 8))
