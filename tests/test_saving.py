"""Our own files: what is saved is loaded as it was, and nothing else loads."""

import errno
import json
import os
import stat
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from conftest import randomise
from safetensors import safe_open
from safetensors.torch import save_file
from test_weights import (
    NOT_SQUARE,
    SQUARE,
    Trap,
    assert_same_state,
    google_arrays,
    pictures,
)
from torch import nn

from vit_tutorial import ViT, from_npz, load_model, save_model, saving
from vit_tutorial.cnn import CNN
from vit_tutorial.positions import POSITIONS


@pytest.fixture
def path(tmp_path):
    return tmp_path / "folder" / "model.safetensors"


@pytest.fixture(autouse=True)
def _folder(path):
    path.parent.mkdir()


@pytest.mark.parametrize("pool", ["cls", "mean"])
@pytest.mark.parametrize("position", POSITIONS)
def test_a_saved_model_is_loaded_as_it_was(position, pool, path):
    vit = randomise(ViT(**NOT_SQUARE, position=position, pool=pool, qkv_bias=True, eps=1e-5))
    save_model(vit.train(), path)
    loaded = load_model(path)
    assert loaded.config == vit.config
    assert loaded.config["image_size"] == (8, 15)  # no list
    assert not loaded.training
    assert all(parameter.requires_grad for parameter in loaded.parameters())
    assert_same_state(loaded.state_dict(), vit.state_dict())
    images = pictures(NOT_SQUARE)
    assert torch.equal(loaded(images), vit.eval()(images))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("position", POSITIONS)
def test_the_dtype_is_kept(position, dtype, path):
    vit = randomise(ViT(**SQUARE, position=position)).to(dtype)
    save_model(vit, path)
    loaded = load_model(path)
    assert_same_state(loaded.state_dict(), vit.state_dict())
    images = pictures(SQUARE).to(dtype)
    logits = loaded(images)
    assert logits.dtype == dtype
    torch.testing.assert_close(logits, vit(images), atol=1e-6, rtol=0)


def test_converted_weights_can_be_saved(path):
    """Some come out of a reader with their axes turned round in memory."""
    vit = ViT(**SQUARE, qkv_bias=True)
    np.savez(path.parent / "google.npz", **google_arrays(SQUARE, "published"))
    vit.load_state_dict(from_npz(path.parent / "google.npz"), assign=True)
    vit.mlp_head[1].weight.data = vit.mlp_head[1].weight.data.T.contiguous().T
    save_model(vit, path)
    assert_same_state(load_model(path).state_dict(), vit.state_dict())


def test_facts_beside_the_arguments_come_back_too(path):
    vit = randomise(ViT(**SQUARE))
    vit.facts |= {
        "mean": (0.2860406,),
        "std": (0.35302424,),
        "class names": ["T-shirt/top", "Ärmel", "包"],
        "data": {"name": "fashion_mnist", "splits": [("train", 55_000), ("test", 10_000)]},
        "licence": None,
    }
    save_model(vit, path)
    loaded = load_model(path)
    assert loaded.facts == vit.facts
    assert loaded.config == vit.config


def test_the_metadata_can_be_read_without_us(path):
    vit = ViT(**SQUARE)
    vit.facts["classes"] = ["a", "b"]
    save_model(vit, path)
    with safe_open(path, framework="np") as file:
        metadata = file.metadata()
        assert set(file.keys()) == set(vit.state_dict())
    assert metadata["format"] == "pt"
    assert json.loads(metadata["arguments"])["dim"] == 24
    assert json.loads(metadata["facts"]) == {"classes": ["a", "b"]}


def test_loading_draws_no_random_numbers(path):
    save_model(ViT(**SQUARE), path)
    before = torch.get_rng_state()
    load_model(path)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_loaded_model_does_not_hang_on_its_file(path):
    vit = randomise(ViT(**SQUARE))
    save_model(vit, path)
    loaded = load_model(path)
    path.write_bytes(bytes(path.stat().st_size))  # all zeros
    assert_same_state(loaded.state_dict(), vit.state_dict())


def half_written(path, content):
    with open(path, "wb") as file:
        file.write(content[: len(content) // 2])
    raise OSError("No space left on device")


def not_replaced(*_):
    raise OSError("Permission denied")


@pytest.mark.parametrize(
    "broken", [(Path, "write_bytes", half_written), (os, "replace", not_replaced)]
)
def test_a_failed_save_leaves_the_old_file_and_nothing_else(broken, path, monkeypatch):
    vit = randomise(ViT(**SQUARE))
    save_model(vit, path)
    before = path.read_bytes()
    monkeypatch.setattr(*broken)
    with pytest.raises(OSError, match=r"No space left|Permission denied"):
        save_model(randomise(vit), path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_saving_replaces_and_leaves_nothing_else(path):
    vit = randomise(ViT(**SQUARE))
    save_model(vit, path)
    save_model(randomise(vit), str(path))
    assert_same_state(load_model(str(path)).state_dict(), vit.state_dict())
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_a_saved_file_may_be_read_by_whom_other_files_may(path):
    save_model(ViT(**SQUARE), path)
    (path.parent / "other").touch()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE((path.parent / "other").stat().st_mode)


def test_saving_into_a_folder_that_is_not_there_says_so(path):
    with pytest.raises(FileNotFoundError):
        save_model(ViT(**SQUARE), path.parent / "nowhere" / "model.safetensors")


@pytest.mark.parametrize(
    ("wrap", "message"),
    [
        (lambda vit: nn.Sequential(vit), "not a Sequential"),
        (lambda vit: torch.compile(vit, backend="eager"), "OptimizedModule.*_orig_mod"),
        (lambda vit: vit.state_dict(), "not a OrderedDict"),
    ],
)
def test_a_wrapped_model_is_not_saved(wrap, message, path):
    with pytest.raises(ValueError, match=f"save_model takes a ViT.*{message}"):
        save_model(wrap(ViT(**SQUARE)), path)
    assert not list(path.parent.iterdir())


def test_a_model_that_its_config_would_not_build_is_not_saved(path):
    vit = ViT(**SQUARE)
    vit.mlp_head[1] = nn.Linear(24, 10)
    with pytest.raises(ValueError, match=r"(?s)not what its config builds.*mlp_head\.1\.weight"):
        save_model(vit, path)
    assert not list(path.parent.iterdir())


def test_a_fact_among_the_arguments_or_named_as_one_is_not_saved(path):
    vit = ViT(**SQUARE)
    vit.config["mean"] = (0.5,)
    with pytest.raises(ValueError, match=r"not what its config builds.*unexpected.*'mean'"):
        save_model(vit, path)
    vit = ViT(**SQUARE)
    vit.facts["dim"] = 24
    with pytest.raises(ValueError, match="gives dim twice"):
        save_model(vit, path)
    assert not list(path.parent.iterdir())


@pytest.mark.parametrize("fact", [torch.zeros(2), {1: "one"}, {"a"}, np.float32(1), float("nan")])
def test_a_fact_that_json_cannot_hold_is_not_saved(fact, path):
    vit = ViT(**SQUARE)
    vit.facts["fact"] = fact
    with pytest.raises(ValueError, match="facts"):
        save_model(vit, path)
    assert not list(path.parent.iterdir())


def test_a_missing_file_is_a_missing_file(path):
    with pytest.raises(FileNotFoundError, match=r"model\.safetensors"):
        load_model(path)


def test_a_damaged_file_is_named(path):
    save_model(ViT(**SQUARE), path)
    whole = path.read_bytes()
    for content in (
        b"",
        whole[:5],
        whole[:100],
        whole[: len(whole) // 2],
        whole[:-1],
        b"<html>404",
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"model\.safetensors is damaged, cut short or no"):
            load_model(path)


def test_a_pickle_is_not_loaded(path, tmp_path):
    trap = Trap(tmp_path)
    torch.save({"weights": torch.zeros(2), "trap": trap}, path)
    with pytest.raises(ValueError, match=r"model\.safetensors is damaged, cut short or no"):
        load_model(path)
    assert not trap.trace.exists()


def test_a_file_of_somebody_else_is_sent_to_the_readers(path):
    for metadata in (None, {"format": "pt"}):
        save_file({"weight": torch.zeros(2)}, path, metadata)
        with pytest.raises(
            ValueError, match=r"model\.safetensors was not written by save_model.*from_t"
        ):
            load_model(path)


def rewritten(path, *, state=None, **metadata):
    """A saved file with other weights or other metadata, and no checksum."""
    with safe_open(path, framework="pt") as file:
        state = state or {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata() | metadata
    metadata.pop("sha256", None)
    save_file(state, path, metadata)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cls_token": None}, 'Missing key.*"cls_token"'),
        ({"extra.weight": torch.zeros(2)}, 'Unexpected key.*"extra.weight"'),
        ({"mlp_head.1.bias": torch.zeros(4)}, r"mismatch for mlp_head.1.bias.*\[4\].*\[5\]"),
    ],
)
def test_weights_that_do_not_fit_their_own_file_are_named(change, message, path):
    vit = ViT(**SQUARE)
    save_model(vit, path)
    state = {
        name: tensor for name, tensor in (vit.state_dict() | change).items() if tensor is not None
    }
    rewritten(path, state=state)
    with pytest.raises(ValueError, match=rf"(?s)model\.safetensors does not hold.*{message}"):
        load_model(path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("{", "Expecting property name"),
        ("3", "arguments should be a dict, not int"),
        ("{}", "missing 7 required"),
        ('{"width": 3}', "unexpected keyword argument 'width'"),
        (json.dumps(SQUARE | {"patch_size": 3}), "3 x 3.*8 x 8"),
        (json.dumps(SQUARE | {"dim": 10**18}), "."),
    ],
)
def test_arguments_that_build_no_vit_are_named(arguments, message, path):
    save_model(ViT(**SQUARE), path)
    rewritten(path, arguments=arguments)
    with pytest.raises(ValueError, match=rf"(?s)model\.safetensors does not hold.*{message}"):
        load_model(path)


# The CNN in a file of ours


def small_cnn() -> CNN:
    """With statistics that are not those of a fresh batch normalisation."""
    cnn = randomise(CNN(num_classes=3, channels=2, widths=(3, 4, 6)))
    for name, buffer in cnn.named_buffers():
        if "running" in name:
            buffer.uniform_(0.5, 1.5)
        else:
            buffer.fill_(7)  # batches seen
    return cnn


def test_a_saved_cnn_is_loaded_as_it_was(path):
    cnn = small_cnn()
    cnn.facts |= {"mean": (0.5, 0.25), "class_names": ["a", "b", "c"]}
    save_model(cnn.train(), path)
    loaded = load_model(path)
    assert isinstance(loaded, CNN)
    assert loaded.config == cnn.config
    assert loaded.facts == cnn.facts
    assert loaded.config["widths"] == (3, 4, 6)  # no list
    assert not loaded.training
    assert_same_state(loaded.state_dict(), cnn.state_dict())
    assert loaded.stages[0][1].num_batches_tracked.item() == 7
    images = torch.randn(2, 2, 9, 8)
    assert torch.equal(loaded(images), cnn.eval()(images))


def test_the_file_says_which_architecture_it_holds(path):
    for model, name in ((small_cnn(), "CNN"), (ViT(**SQUARE), "ViT")):
        save_model(model, path)
        with safe_open(path, framework="np") as file:
            assert file.metadata()["architecture"] == name


def test_a_file_that_names_no_architecture_holds_a_vit(path):
    """As the first ones did."""
    vit = randomise(ViT(**SQUARE))
    save_model(vit, path)
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    metadata = {key: metadata[key] for key in ("format", "arguments", "facts")}
    save_file(vit.state_dict(), path, metadata)
    assert_same_state(load_model(path).state_dict(), vit.state_dict())


def test_an_architecture_that_is_not_ours_is_named(path):
    save_model(small_cnn(), path)
    rewritten(path, architecture="MLP")
    with pytest.raises(ValueError, match=r"model\.safetensors does not hold.*'MLP'"):
        load_model(path)


def test_a_cnn_under_the_name_of_a_vit_is_refused(path):
    save_model(small_cnn(), path)
    rewritten(path, architecture="ViT")
    with pytest.raises(ValueError, match=r"model\.safetensors does not hold.*'widths'"):
        load_model(path)


def test_a_cnn_that_its_config_would_not_build_is_not_saved(path):
    cnn = small_cnn()
    cnn.head = nn.Linear(6, 10)
    with pytest.raises(ValueError, match=r"(?s)this CNN is not what its config builds.*head\."):
        save_model(cnn, path)
    assert not list(path.parent.iterdir())


def test_a_model_that_only_looks_like_ours_is_not_saved(path):
    class CNN(nn.Module):
        config: ClassVar = {}

    with pytest.raises(ValueError, match="save_model takes a ViT or a CNN"):
        save_model(CNN(), path)


# Damage


def with_flipped_bit(content: bytes, position: int, bit: int) -> bytes:
    flipped = bytearray(content)
    flipped[position] ^= 1 << bit
    return bytes(flipped)


def test_a_flipped_bit_never_goes_unnoticed(path):
    """One in every third byte: of the header, where a bit may change a word that
    still reads well, and of the tensors."""
    save_model(randomise(CNN(num_classes=2, channels=1, widths=(1, 2, 2))), path)
    whole = path.read_bytes()
    expected = load_model(path)
    end = 8 + int.from_bytes(whole[:8], "little")
    noticed = 0
    for position in range(0, len(whole), 3):
        path.write_bytes(with_flipped_bit(whole, position, position % 7))
        try:
            loaded = load_model(path)
        except ValueError as error:
            assert "model.safetensors" in str(error)  # noqa: PT017
            noticed += 1
            continue
        assert position < end  # padding, or the name of the checksum itself
        assert (loaded.config, loaded.facts) == (expected.config, expected.facts)
        assert_same_state(loaded.state_dict(), expected.state_dict())
    assert noticed > 0.9 * len(whole) / 3


def test_changed_weights_are_told_apart_by_their_checksum(path):
    save_model(randomise(ViT(**SQUARE)), path)
    whole = path.read_bytes()
    path.write_bytes(with_flipped_bit(whole, len(whole) - 4, 0))  # last float
    with pytest.raises(ValueError, match=r"model\.safetensors is damaged: .*SHA-256"):
        load_model(path)


def test_a_file_without_a_checksum_still_loads(path):
    """As the first ones were written."""
    vit = randomise(ViT(**SQUARE))
    save_model(vit, path)
    with safe_open(path, framework="pt") as file:
        assert "sha256" in file.metadata()
    rewritten(path)
    with safe_open(path, framework="pt") as file:
        assert "sha256" not in file.metadata()
    assert_same_state(load_model(path).state_dict(), vit.state_dict())


def test_the_checksum_does_not_depend_on_the_order_in_the_file(path):
    """safetensors writes its metadata in an order of its own choice."""
    vit = randomise(ViT(**SQUARE))
    save_model(vit, path)
    with safe_open(path, framework="pt") as file:
        metadata = dict(reversed(file.metadata().items()))
    state = dict(reversed(vit.state_dict().items()))
    save_file(state, path, metadata)
    assert_same_state(load_model(path).state_dict(), vit.state_dict())


# What a file says of itself


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ('{"dim": 99}', "gives dim twice"),
        ('{"dim": 24, "pool": "mean"}', "gives dim, pool twice"),
        ("[1]", "facts should be a dict, not list"),
        ("3", "facts should be a dict, not int"),
        ('{"tuple": [["dim", 99]]}', "facts should be a dict, not tuple"),
        ('{"mean": NaN}', "NaN"),
        ('{"mean": {"tuple": 3}}', "a tuple should be written as a list"),
        ("[" * 100_000, "recursion"),
    ],
)
def test_facts_that_say_too_much_are_refused(facts, message, path):
    save_model(ViT(**SQUARE), path)
    rewritten(path, facts=facts)
    with pytest.raises(ValueError, match=rf"model\.safetensors does not hold.*{message}"):
        load_model(path)


@pytest.mark.parametrize(
    "change",
    [
        {"depth": 10**9},
        {"depth": 3},
        {"dim_head": 10**400},
        {"patch_size": 0},
        {"patch_size": [0, 0]},
        {"image_size": {"height": 8}},
        {"image_size": [8]},
        {"heads": 10**9, "dim_head": 10**9},
        {"num_classes": 10**6},
        {"dim": None},
        {"pool": ["cls"]},
        {"position": {}},
        {"eps": "x"},
        {"eps": float("nan")},
        {"dropout": 2.0},
        {"qkv_bias": "no"},
    ],
    ids=str,
)
def test_arguments_that_do_not_fit_the_tensors_end_at_once(change, path):
    """Before anything of that size is built."""
    save_model(ViT(**SQUARE), path)
    rewritten(path, arguments=json.dumps(SQUARE | change))
    with pytest.raises(ValueError, match=r"(?s)model\.safetensors does not hold"):
        load_model(path)


def test_more_layers_than_the_file_holds_are_counted(path):
    save_model(ViT(**SQUARE), path)
    rewritten(path, arguments=json.dumps(SQUARE | {"depth": 10**9}))
    with pytest.raises(ValueError, match="depth is 1000000000, and the file holds 2 layers"):
        load_model(path)


def test_a_table_of_positions_larger_than_any_memory_is_not_computed(path):
    """No tensor in the file has its size."""
    save_model(ViT(**SQUARE, position="sincos_2d"), path)
    change = {"position": "sincos_2d", "image_size": 10**6}
    rewritten(path, arguments=json.dumps(SQUARE | change))
    with pytest.raises(ValueError, match="250000 x 250000 patches"):
        load_model(path)


@pytest.mark.parametrize("cause", ["architecture", "arguments"])
def test_metadata_that_is_no_text_of_ours_is_refused(cause, path):
    save_model(ViT(**SQUARE), path)
    rewritten(path, **{cause: "\x00\ud800".encode("utf8", "replace").decode()})
    with pytest.raises(ValueError, match=r"model\.safetensors does not hold"):
        load_model(path)


def test_an_unknown_architecture_is_told_which_there_are(path):
    save_model(ViT(**SQUARE), path)
    rewritten(path, architecture="Evil")
    with pytest.raises(
        ValueError,
        match=r"architecture is 'Evil', and load_model builds a ViT or a CNN",
    ):
        load_model(path)


NOT_THE_WEIGHTS_OF_A_MODEL = [
    ({"mlp_head.0.bias": torch.full((24,), torch.nan)}, r"mlp_head\.0\.bias .*NaN"),
    ({"cls_token": torch.full((1, 1, 24), -torch.inf)}, "cls_token .*infin"),
    (
        {"mlp_head.1.bias": torch.zeros(5, dtype=torch.float16)},
        r"mlp_head\.1\.bias is float16.*float32",
    ),
    (
        {"mlp_head.1.bias": torch.zeros(5, dtype=torch.int64)},
        r"mlp_head\.1\.bias is int64",
    ),
    (
        {"mlp_head.1.bias": torch.zeros(5, dtype=torch.complex64)},
        r"mlp_head\.1\.bias is complex64",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("change", "message"), NOT_THE_WEIGHTS_OF_A_MODEL)
def test_weights_that_no_model_computes_with_are_not_loaded(change, message, path):
    vit = randomise(ViT(**SQUARE))
    save_model(vit, path)
    rewritten(path, state=vit.state_dict() | change)
    with pytest.raises(ValueError, match=rf"(?s)model\.safetensors does not hold.*{message}"):
        load_model(path)


def test_a_file_s_own_order_does_not_decide_what_an_error_names():
    like = randomise(ViT(**SQUARE)).state_dict()
    state = like | {"mlp_head.1.bias": torch.zeros(5, dtype=torch.float16)}
    for order in (state, dict(reversed(state.items()))):
        with pytest.raises(ValueError, match=r"^mlp_head\.1\.bias is float16"):
            saving.check_numbers(order, like)


def test_float8_weights_are_not_loaded(path):
    vit = ViT(**SQUARE)
    save_model(vit, path)
    state = vit.state_dict()
    state = {name: t.to(torch.float8_e4m3fn) for name, t in state.items()}
    rewritten(path, state=state)
    with pytest.raises(ValueError, match="is float8_e4m3fn"):
        load_model(path)


def test_the_count_of_a_batch_norm_is_no_float(path):
    cnn = small_cnn()
    save_model(cnn, path)
    name = "stages.0.1.num_batches_tracked"
    state = {key: tensor.contiguous() for key, tensor in cnn.state_dict().items()}
    rewritten(path, state=state | {name: torch.tensor(7.0)})
    with pytest.raises(ValueError, match=f"{name} is float32.*int64"):
        load_model(path)


@pytest.mark.parametrize(("change", "message"), NOT_THE_WEIGHTS_OF_A_MODEL[:3])
def test_weights_that_would_not_be_loaded_are_not_saved(change, message, path):
    vit = randomise(ViT(**SQUARE))
    vit.load_state_dict(vit.state_dict() | change, assign=True)
    with pytest.raises(ValueError, match=f"(?s)not written: .*{message}"):
        save_model(vit, path)
    assert not list(path.parent.iterdir())


def test_a_model_without_numbers_is_not_saved(path):
    with torch.device("meta"):
        vit = ViT(**SQUARE)
    with pytest.raises(ValueError, match=r"not written: .*meta.*holds no numb"):
        save_model(vit, path)
    assert not list(path.parent.iterdir())


def test_tied_weights_are_named(path):
    vit = randomise(ViT(**SQUARE | {"dim": 5}))
    vit.mlp_head[1].bias = vit.mlp_head[0].bias
    with pytest.raises(
        ValueError,
        match=r"not written: mlp_head\.0\.bias and mlp_head\.1\.bias are one",
    ):
        save_model(vit, path)
    assert not list(path.parent.iterdir())


def test_weights_that_are_parts_of_one_tensor_can_be_saved(path):
    """As those of an optimizer that keeps all of them in one."""
    vit = randomise(ViT(**SQUARE))
    state = vit.state_dict()
    whole = torch.cat([tensor.flatten() for tensor in state.values()])
    parts = whole.split([tensor.numel() for tensor in state.values()])
    views = {
        name: part.view(tensor.shape)
        for (name, tensor), part in zip(state.items(), parts, strict=True)
    }
    vit.load_state_dict(views, assign=True)
    save_model(vit, path)
    assert_same_state(load_model(path).state_dict(), state)


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"mean": (0.5, float("nan"))}, r"facts\['mean'\]\[1\] is nan"),
        ({"std": float("-inf")}, r"facts\['std'\] is -inf"),
        ({"names": {1: "one"}}, r"facts\['names'\] has the key 1"),
        ({"names": {"tuple": [1]}}, r"facts\['names'\].*only key 'tuple'"),
        ({"names": {"a"}}, r"facts\['names'\] is a set"),
        ({"size": np.float32(1)}, r"facts\['size'\] is a float32"),
        ({1: "one"}, r"facts has the key 1"),
    ],
    ids=str,
)
def test_what_json_cannot_hold_is_named_with_its_place(facts, message, path):
    vit = ViT(**SQUARE)
    vit.facts |= facts
    with pytest.raises(ValueError, match=message):
        save_model(vit, path)
    assert not list(path.parent.iterdir())


# Paths that are no plain new file

on_unix = pytest.mark.skipif(
    os.name == "nt", reason="Windows has neither such files nor permissions"
)


@on_unix
def test_saving_writes_through_a_symbolic_link(path):
    folder = path.parent / "elsewhere"
    folder.mkdir()
    path.symlink_to(Path("elsewhere", "target.safetensors"))
    vit = randomise(ViT(**SQUARE))
    for _ in range(2):  # the link dangles at first
        save_model(vit, path)
        assert path.is_symlink()
        assert [*folder.iterdir()] == [folder / "target.safetensors"]
        loaded = load_model(folder / "target.safetensors")
        assert_same_state(loaded.state_dict(), vit.state_dict())
        assert_same_state(load_model(path).state_dict(), vit.state_dict())
        randomise(vit)
    assert sorted(path.parent.iterdir()) == sorted([folder, path])


@on_unix
def test_a_link_to_itself_is_named(path):
    path.symlink_to(path.name)
    with pytest.raises(OSError, match=r"model\.safetensors"):
        save_model(ViT(**SQUARE), path)
    with pytest.raises(OSError, match=r"model\.safetensors"):
        load_model(path)
    assert path.is_symlink()


@on_unix
def test_a_read_only_file_is_not_replaced(path):
    save_model(randomise(ViT(**SQUARE)), path)
    before = path.read_bytes()
    path.chmod(0o444)
    with pytest.raises(PermissionError, match=r"model\.safetensors is read-only"):
        save_model(ViT(**SQUARE), path)
    assert path.read_bytes() == before
    assert stat.S_IMODE(path.stat().st_mode) == 0o444
    assert list(path.parent.iterdir()) == [path]


@on_unix
@pytest.mark.parametrize("mode", [0o600, 0o664])
def test_a_replaced_file_keeps_its_permissions(mode, path):
    path.touch()
    path.chmod(mode)
    save_model(ViT(**SQUARE), path)
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_folder_is_no_file_to_save_to_or_load(path):
    for function in (lambda p: save_model(ViT(**SQUARE), p), load_model):
        with pytest.raises(IsADirectoryError, match=r"folder is a folder") as e:
            function(path.parent)
        assert f"{path.parent} is" in str(e.value)
    assert not list(path.parent.iterdir())


@on_unix
def test_a_pipe_is_neither_waited_for_nor_replaced(path):
    os.mkfifo(path)
    for function in (lambda p: save_model(ViT(**SQUARE), p), load_model):
        with pytest.raises(OSError, match=r"model\.safetensors is not a regul"):
            function(path)
    assert path.is_fifo()


@on_unix
@pytest.mark.parametrize("name", ["\udcff.safetensors", "n" * 255])
def test_a_name_that_the_system_takes_is_saved_and_loaded(name, path):
    """Bytes that are no UTF-8, and as many as there may be."""
    path = path.with_name(name)
    try:
        path.touch()
    except OSError:
        pytest.skip("this file system takes no such name")
    vit = randomise(ViT(**SQUARE))
    save_model(vit, path)
    assert_same_state(load_model(path).state_dict(), vit.state_dict())


def test_a_folder_that_is_not_there_is_named_and_no_temporary_one(path):
    missing = path.parent / "nowhere"
    with pytest.raises(FileNotFoundError) as error:
        save_model(ViT(**SQUARE), missing / "model.safetensors")
    assert f"there is no folder {missing.resolve()}" in str(error.value)


def test_a_full_disk_names_the_file_that_was_asked_for(path, monkeypatch):
    def full(path, content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left") as error:
        save_model(ViT(**SQUARE), path)
    assert error.value.errno == errno.ENOSPC
    assert f"'{path}'" in str(error.value)


@pytest.mark.parametrize("wrong", [None, 3, b"model.safetensors"])
def test_what_is_no_path_is_named(wrong):
    for function in (lambda p: save_model(ViT(**SQUARE), p), load_model):
        with pytest.raises(TypeError, match=type(wrong).__name__):
            function(wrong)
