"""Attention recorded and changed for one `with` block, after which a model is as it was."""

import contextlib
import copy
import math

import pytest
import torch
from torch import nn

from vit_tutorial import (
    Attention,
    Transformer,
    ViT,
    change_temperature,
    record_attention,
    switch_off_heads,
)

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
    with pytest.raises(ValueError, match="reads images of shape"), record_attention(vit):
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


def test_other_hooks_stay_and_so_does_the_way_their_layer_computes(vit, images):
    """A reader's own hook hears a layer that is not fused, as Attention's docstring says."""
    seen = []
    first = vit.transformer.layers[0][0].fn
    first.fused = False
    handle = first.attend.register_forward_hook(lambda *_: seen.append(1))
    with record_attention(vit):
        vit(images)
    vit(images)
    with switch_off_heads(vit, {0: [1]}), change_temperature(vit, 2.0):
        vit(images)
    vit(images)
    assert len(seen) == 4
    handle.remove()
    assert [layer[0].fn.fused for layer in vit.transformer.layers] == [False, True, True]


def test_what_a_hook_returns_is_used(vit, images):
    layer = vit.transformer.layers[0][0].fn
    layer.fused = False
    with layer.attend.register_forward_hook(lambda *heard: torch.zeros_like(heard[2])):
        without_any = vit(images)
    with switch_off_heads(vit, {0: [0, 1]}):
        torch.testing.assert_close(without_any, vit(images))
    assert not torch.allclose(without_any, vit(images), atol=1e-3)


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


def recorded_maps(vit, images):
    with torch.no_grad(), record_attention(vit) as maps:
        vit(images)
    return maps


def test_a_head_that_is_off_is_one_whose_output_is_multiplied_by_zero(vit, images):
    twin = copy.deepcopy(vit)
    with torch.no_grad():
        twin.transformer.layers[0][0].fn.to_out[0].weight[:, 5:] = 0  # reads head 1 no more
        twin.transformer.layers[2][0].fn.to_out[0].weight[:] = 0  # reads no head
    with switch_off_heads(vit, {0: [1], 2: range(2)}):
        logits = vit(images)
    torch.testing.assert_close(logits, twin(images))
    assert not torch.allclose(logits, vit(images), atol=1e-2)


def test_the_maps_are_recorded_as_used_wherever_the_recording_starts(vit, images):
    as_it_is = recorded_maps(vit, images)
    with record_attention(vit) as outer, switch_off_heads(vit, {1: [0]}):  # noqa: SIM117
        with record_attention(vit) as inner:
            vit(images)
    for maps in (outer, inner):
        assert torch.equal(maps[0], as_it_is[0])
        assert not maps[1][:, 0].any()
        assert torch.equal(maps[1][:, 1], as_it_is[1][:, 1])
        torch.testing.assert_close(maps[2].sum(-1), torch.ones(2, 2, 13))


def test_heads_switched_off_inside_and_outside_are_all_off(vit, images):
    with switch_off_heads(vit, {0: [0]}), switch_off_heads(vit, {0: [1], 1: [1]}):
        nested = recorded_maps(vit, images)
    with switch_off_heads(vit, {0: [0, 1], 1: [1]}):
        at_once = recorded_maps(vit, images)
    assert not nested[0].any()
    assert all(torch.equal(a, b) for a, b in zip(nested, at_once, strict=True))


def test_with_no_head_to_switch_off_nothing_changes(vit, images, fused_calls):
    expected = vit(images)
    with switch_off_heads(vit, {}):
        assert is_as_before(vit, images, fused_calls)
    with switch_off_heads(vit, {1: []}):
        logits = vit(images)
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("heads", "message"),
    [
        ({3: [0]}, "no layer 3; the layers are 0 to 2"),
        ({-1: [0]}, "no layer -1"),
        ({"1": [0]}, "no layer '1'"),
        ({1: [0, 2, -1]}, r"layer 1 has no heads \[2, -1\]; its heads are 0 to 1"),
    ],
)
def test_layers_and_heads_that_are_not_there_are_named(vit, images, fused_calls, heads, message):
    with pytest.raises(ValueError, match=message), switch_off_heads(vit, heads):
        pass
    assert is_as_before(vit, images, fused_calls)


def test_heads_that_could_not_be_switched_off_are_an_error(vit, images, fused_calls):
    message = r"layers \[0, 2\] of 3 did not run inside switch_off_heads"
    heads = {0: [1], 1: [1], 2: [0]}
    with pytest.raises(RuntimeError, match=message), switch_off_heads(vit, heads):
        vit.transformer.layers[1][0](torch.randn(1, 4, 8))
    assert is_as_before(vit, images, fused_calls)


def test_a_function_compiled_around_the_model_switches_off_or_raises(images):
    vit = randomised_vit(depth=1)
    compiled = torch.compile(lambda x: vit(x), backend="eager")
    compiled(images)
    with switch_off_heads(vit, {0: [0]}):
        expected = vit(images)
    logits = expected
    with contextlib.suppress(RuntimeError):
        with switch_off_heads(vit, {0: [0]}):
            changed = compiled(images)
        logits = changed
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("temperature", [0.25, 1.0, 3])
def test_a_temperature_is_queries_divided_by_it(images, temperature):
    vit = randomised_vit(qkv_bias=True)
    cooled = copy.deepcopy(vit)
    for attention, _ in cooled.transformer.layers:
        with torch.no_grad():
            attention.fn.to_qkv.weight[:10] /= temperature
            attention.fn.to_qkv.bias[:10] /= temperature
    with change_temperature(vit, temperature):
        fused = vit(images)
        maps = recorded_maps(vit, images)
    torch.testing.assert_close(fused, cooled(images))
    for attention, expected in zip(maps, recorded_maps(cooled, images), strict=True):
        torch.testing.assert_close(attention, expected)
    assert torch.allclose(fused, vit(images), atol=1e-2) == (temperature == 1)


def test_far_above_one_every_token_is_heard_equally_and_near_zero_one_is(vit, images):
    with change_temperature(vit, 1e6):
        maps = recorded_maps(vit, images)
    for attention in maps:
        torch.testing.assert_close(attention, torch.full_like(attention, 1 / 13))
    with change_temperature(vit, 1e-6):
        maps = recorded_maps(vit, images)
    assert all((attention.amax(-1) > 0.999).all() for attention in maps)


def test_temperatures_inside_each_other_multiply(vit, images):
    with change_temperature(vit, 6.0):
        expected = vit(images)
    with change_temperature(vit, 2.0):
        with change_temperature(vit, 3.0):
            nested = vit(images)
        outer = vit(images)
    torch.testing.assert_close(nested, expected)
    assert not torch.allclose(outer, expected, atol=1e-2)


def test_a_temperature_and_heads_switched_off_go_together_in_either_order(vit, images):
    with change_temperature(vit, 0.5), switch_off_heads(vit, {0: [1]}):
        one = recorded_maps(vit, images)
    with switch_off_heads(vit, {0: [1]}), change_temperature(vit, 0.5):
        other = recorded_maps(vit, images)
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    with change_temperature(vit, 0.5):
        assert torch.equal(one[0][:, 0], recorded_maps(vit, images)[0][:, 0])
    assert not one[0][:, 1].any()


def test_a_function_compiled_around_the_model_has_the_temperature_too(images):
    vit = randomised_vit(depth=1)
    compiled = torch.compile(lambda x: vit(x), backend="eager")
    compiled(images)
    with change_temperature(vit, 4.0):
        torch.testing.assert_close(compiled(images), vit(images))
    torch.testing.assert_close(compiled(images), vit(images))


@pytest.mark.parametrize("temperature", [0, -1.0, math.inf, math.nan])
def test_a_temperature_that_is_none_is_refused(vit, temperature):
    message = f"positive and finite, got {temperature}"
    with pytest.raises(ValueError, match=message), change_temperature(vit, temperature):
        pass


def colder(vit):
    return change_temperature(vit, 0.5)


def one_headed(vit):
    return switch_off_heads(vit, {0: [0], 1: [1], 2: [0]})


@pytest.mark.parametrize("change", [colder, one_headed])
def test_a_change_is_undone_on_leaving(vit, images, fused_calls, change):
    expected = vit(images)
    with change(vit):
        changed = vit(images)
    assert not torch.allclose(changed, expected, atol=1e-2)
    assert torch.equal(vit(images), expected)
    assert is_as_before(vit, images, fused_calls)


@pytest.mark.parametrize("change", [colder, one_headed])
def test_a_change_is_undone_by_an_exception_too(vit, images, fused_calls, change):
    expected = vit(images)
    with pytest.raises(ValueError, match="reads images of shape"), change(vit):
        vit(images[:, :, 1:])
    assert torch.equal(vit(images), expected)
    assert is_as_before(vit, images, fused_calls)


@pytest.mark.parametrize("change", [colder, one_headed])
def test_foreign_and_compiled_models_are_not_changed(vit, change):
    foreign = nn.TransformerEncoderLayer(8, 2)
    message = r"TransformerEncoderLayer has no .*Attention layer to change.*weights.py"
    with pytest.raises(ValueError, match=message), change(foreign):
        pass
    compiled = compiled_as_a_whole(vit)
    with pytest.raises(RuntimeError, match=r"compiled.*change.*_orig_mod"), change(compiled):
        pass


def test_gradients_pass_through_the_heads_that_are_on(vit, images):
    with switch_off_heads(vit, {0: [0], 1: [0], 2: [0]}):
        vit(images).sum().backward()
    for attention, _ in vit.transformer.layers:
        off, on = attention.fn.to_qkv.weight.grad[20:].chunk(2)  # the values of each head
        assert not off.any()
        assert on.any()


@pytest.mark.parametrize("temperature", [1e-300, 1e-45, 1e-12])
def test_a_temperature_so_low_that_scores_overflow_is_refused(vit, images, temperature):
    message = "attention scores too large to compare; all .* 1e-6 or more"
    with pytest.raises(ValueError, match=message), change_temperature(vit, temperature):
        pass
    half = change_temperature(vit, 1e-4)
    with half, pytest.raises(ValueError, match=message), change_temperature(vit, 1e-4):
        pass
    with change_temperature(vit, 1e-6), torch.no_grad():
        assert vit(images).isfinite().all()


@pytest.mark.parametrize("temperature", ["1", None, 1j])
def test_a_temperature_is_a_number(vit, temperature):
    message = "positive and finite, got"
    with pytest.raises(ValueError, match=message), change_temperature(vit, temperature):
        pass


@pytest.mark.parametrize(
    ("heads", "error", "message"),
    [
        ([0], TypeError, r"heads come as \{layer: \[head, \.\.\.\]\}, .* got \[0\]"),
        ({0: 1}, TypeError, r"got \{0: 1\}"),
        ({0.0: [1]}, ValueError, r"no layer 0\.0"),
        ({0: [1.0]}, ValueError, r"layer 0 has no heads \[1\.0\]"),
        ({"0": [1]}, ValueError, "no layer '0'"),
    ],
)
def test_heads_in_another_form_are_named(vit, heads, error, message):
    with pytest.raises(error, match=message), switch_off_heads(vit, heads):
        pass
