"""Our own files: what is saved is loaded as it was, and nothing else loads."""

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

from vit_tutorial import ViT, from_npz, load_model, save_model
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
    vit.config |= {
        "mean": (0.2860406,),
        "std": (0.35302424,),
        "class names": ["T-shirt/top", "Ärmel", "包"],
        "data": {"name": "fashion_mnist", "splits": [("train", 55_000), ("test", 10_000)]},
        "licence": None,
    }
    save_model(vit, path)
    assert load_model(path).config == vit.config


def test_the_metadata_can_be_read_without_us(path):
    vit = ViT(**SQUARE)
    vit.config["classes"] = ["a", "b"]
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


@pytest.mark.parametrize(
    "fact", [torch.zeros(2), {1: "one"}, {"a", "b"}, np.float32(1), float("nan")]
)
def test_a_fact_that_json_cannot_hold_is_not_saved(fact, path):
    vit = ViT(**SQUARE)
    vit.config["fact"] = fact
    with pytest.raises(ValueError, match="config"):
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
    """A saved file with other weights or other metadata."""
    with safe_open(path, framework="pt") as file:
        state = state or {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        save_file(state, path, file.metadata() | metadata)


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
        ("3", "must be a mapping"),
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
    cnn.config |= {"mean": (0.5, 0.25), "class_names": ["a", "b", "c"]}
    save_model(cnn.train(), path)
    loaded = load_model(path)
    assert isinstance(loaded, CNN)
    assert loaded.config == cnn.config
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
        metadata = {key: value for key, value in file.metadata().items() if key != "architecture"}
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
