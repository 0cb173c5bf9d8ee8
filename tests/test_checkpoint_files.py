"""Files that timm, torchvision and transformers write themselves: the same outputs, the same
preprocessing."""

import json

import numpy as np
import pytest
import timm
import timm.data
import torch
from conftest import randomise
from safetensors.torch import load_file, save_file
from test_preprocess import photo
from test_weights import SQUARE, ClassToken, Logits, google_arrays, huggingface_config, timm_vit
from timm.models._hub import save_for_hf
from torchvision.models import VisionTransformer as TorchvisionViT
from torchvision.models import resnet18
from transformers import (
    BitImageProcessorPil,
    Dinov2Config,
    Dinov2Model,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessorPil,
    ViTModel,
)

from vit_tutorial import ViT, from_npz, load_pretrained, save_model
from vit_tutorial.cnn import CNN
from vit_tutorial.preprocess import preprocess

SIZES = {"embed_dim": 48, "depth": 2, "num_heads": 3}


def assert_same_outputs(vit, theirs):
    images = torch.randn(2, 3, *vit.image_size)
    with torch.no_grad():
        expected = theirs(images)
        assert expected.std() > 0.05
        torch.testing.assert_close(vit(images), expected, atol=1e-5, rtol=0)


TIMM = {  # names of timm's own, each of them small enough here
    "DINO": ("vit_small_patch16_224.dino", {"img_size": 32}),
    "DINOv2": ("vit_small_patch14_dinov2.lvd142m", {"img_size": 42}),
    "DeiT": ("deit_tiny_patch16_224.fb_in1k", {"img_size": 32, "num_classes": 7}),
    "ViT": ("vit_tiny_patch16_224", {"img_size": 32, "num_classes": 5}),
}


@pytest.mark.parametrize("what", TIMM)
def test_a_file_of_timm_gives_its_outputs_and_its_preprocessing(what, tmp_path):
    name, changes = TIMM[what]
    model = randomise(timm.create_model(name, **SIZES, **changes), std=0.1)
    save_for_hf(model, tmp_path, safe_serialization=True)
    config = json.loads((tmp_path / "config.json").read_text())
    config["model_args"] = {"num_heads": 3}  # 48 would be less than one head of 64
    (tmp_path / "config.json").write_text(json.dumps(config))
    vit = load_pretrained(str(tmp_path / "model.safetensors"))
    assert not vit.training
    assert vit.config["eps"] == model.norm.eps
    assert_same_outputs(vit, model)
    side = changes["img_size"]
    expected = timm.data.create_transform(
        **timm.data.resolve_data_config(model.pretrained_cfg) | {"input_size": (3, side, side)}
    )(photo())
    torch.testing.assert_close(preprocess(vit)(photo()), expected, atol=1e-5, rtol=0)
    save_model(vit, tmp_path / "ours.safetensors")
    again = load_pretrained(str(tmp_path / "ours.safetensors"))
    assert_same_outputs(again, model)
    assert preprocess(again) == preprocess(vit)


def huggingface_files(what, folder):
    """A small model and its processor, written by their own code, and what gives its outputs."""
    sizes = {"image_size": 32, "patch_size": 8, "hidden_size": 24, "num_hidden_layers": 2}
    sizes |= {"num_attention_heads": 3}
    if what == "DINOv2":
        model = randomise(Dinov2Model(Dinov2Config(**sizes, mlp_ratio=2)))
        processor = BitImageProcessorPil(
            size={"shortest_edge": 40}, crop_size={"height": 32, "width": 32}
        )
        theirs = ClassToken(model)
    else:
        names = {0: "a cat", 1: "a dog", 2: "a hat"}
        config = ViTConfig(**sizes, intermediate_size=48, id2label=names)
        kind = ViTModel if what == "DINO" else ViTForImageClassification
        model = randomise(kind(config))
        processor = ViTImageProcessorPil(size={"height": 32, "width": 32})
        theirs = ClassToken(model) if what == "DINO" else Logits(model)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return theirs, processor


@pytest.mark.parametrize("what", ["DINO", "DINOv2", "ViT"])
def test_a_file_of_hugging_face_gives_its_outputs_and_its_preprocessing(what, tmp_path):
    theirs, processor = huggingface_files(what, tmp_path)
    vit = load_pretrained(str(tmp_path / "model.safetensors"))
    assert_same_outputs(vit, theirs)
    assert vit.config["eps"] == theirs.model.config.layer_norm_eps
    expected = processor(photo(), return_tensors="pt").pixel_values[0]
    torch.testing.assert_close(preprocess(vit)(photo()), expected, atol=1e-5, rtol=0)
    if what == "ViT":
        assert vit.facts["class_names"] == ["a cat", "a dog", "a hat"]
    else:
        assert "class_names" not in vit.facts


def test_files_of_torchvision_and_google_need_no_config(tmp_path):
    model = randomise(TorchvisionViT(32, 16, 1, 2, 128, 96, num_classes=3), std=0.1)
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    vit = load_pretrained(str(tmp_path / "model.safetensors"))
    assert vit.config["heads"] == 2  # 128 / 64
    assert_same_outputs(vit, model)
    sizes = SQUARE | {"dim": 128, "heads": 2, "dim_head": 64}
    np.savez(tmp_path / "google.npz", **google_arrays(sizes, "published"))
    vit = load_pretrained(str(tmp_path / "google.npz"), image_size=12)
    assert (vit.image_size, vit.config["heads"]) == ((12, 12), 2)
    expected = from_npz(tmp_path / "google.npz")["mlp_head.1.weight"]
    assert torch.equal(vit.mlp_head[1].weight, expected)


def test_the_heads_of_a_known_width_are_the_variant_s(tmp_path):
    """ViT-H has 16 of them, and not 1280/64."""
    sizes = {"dim": 1280, "depth": 1, "heads": 16, "mlp_dim": 8, "num_classes": 2}
    state = timm_vit(SQUARE | sizes | {"dim_head": 80}).state_dict()
    save_file(state, tmp_path / "huge.safetensors")
    vit = load_pretrained(str(tmp_path / "huge.safetensors"))
    assert (vit.config["heads"], vit.config["dim_head"]) == (16, 80)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_becomes_float32(dtype, tmp_path):
    theirs, _ = huggingface_files("ViT", tmp_path)
    theirs.model.to(dtype).save_pretrained(tmp_path)
    vit = load_pretrained(str(tmp_path / "model.safetensors"))
    assert_same_outputs(vit, Logits(theirs.model.float()))


def test_positions_tell_the_image_size_and_the_config_its_shape(tmp_path):
    config = huggingface_config(SQUARE | {"image_size": (8, 16)})
    ViTModel(config).save_pretrained(tmp_path)
    path = str(tmp_path / "model.safetensors")
    assert load_pretrained(path).image_size == (8, 16)
    (tmp_path / "config.json").write_text('{"num_attention_heads": 3}')
    with pytest.raises(ValueError, match=r"positions for 8 patches.*config.json should say"):
        load_pretrained(path)


@pytest.mark.parametrize(
    ("written", "crop", "stretch"),
    [
        ({"size": 8}, 1, True),  # as the first versions of transformers wrote it
        ({"size": {"height": 8, "width": 8}, "do_center_crop": False, "crop_size": 4}, 1, True),
        ({"size": {"shortest_edge": 10}, "do_center_crop": True, "crop_size": 8}, 0.8, False),
        ({"size": 16, "do_center_crop": True, "crop_size": {"height": 8, "width": 8}}, 0.5, True),
    ],
)
def test_older_preprocessor_files_are_read(written, crop, stretch, tmp_path):
    small_file(tmp_path)
    written |= {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6], "resample": 3}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(written))
    found = preprocess(load_pretrained(str(tmp_path / "model.safetensors")))
    assert (found.crop, found.stretch, found.interpolation) == (crop, stretch, "bicubic")
    assert (found.mean, found.std) == ([0.1, 0.2, 0.3], [0.4, 0.5, 0.6])


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ({"do_normalize": False}, "do_normalize false"),
        ({"rescale_factor": 1 / 127.5}, "preprocess divides by 255"),
        ({"resample": 9}, "is not as its library writes it"),
        ({"size": "large"}, "is not as its library writes it|dictionary"),
    ],
)
def test_other_preprocessing_is_refused(written, message, tmp_path):
    small_file(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(written))
    with pytest.raises(ValueError, match=f"model.safetensors: .*{message}"):
        load_pretrained(str(tmp_path / "model.safetensors"))


def small_file(folder) -> dict:
    state = timm_vit(SQUARE).state_dict()
    save_file(state, folder / "model.safetensors")
    (folder / "config.json").write_text('{"num_attention_heads": 3}')
    return state


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("", r"config.json is not JSON"),
        ("[" * 100_000, r"config.json is not JSON"),
        ("[]", r"config.json should hold a dictionary"),
        ("{}", r"0 heads do not share 24 entries.*num_attention_heads"),
        ('{"num_attention_heads": 1}', r"one head of all 24 entries"),
        ('{"num_attention_heads": 5}', r"5 heads do not share 24 entries"),
        ('{"num_attention_heads": "3"}', r"a number of heads: '3'"),
        ('{"num_attention_heads": 3, "hidden_act": "quick_gelu"}', r"'quick_gelu'.*ViT 'gelu'"),
        ('{"num_attention_heads": 3, "layer_norm_eps": 0}', r"eps must be a small number"),
        ('{"num_attention_heads": 3, "image_size": [1, 2, 3]}', r"got \[1, 2, 3\]"),
        ('{"num_attention_heads": 3, "pretrained_cfg": 3}', r"is not as its library writes it"),
        (
            '{"num_attention_heads": 3, "pretrained_cfg": {"interpolation": "any"}}',
            r"interpolation is one of .*'any'",
        ),
        (
            '{"num_attention_heads": 3, "pretrained_cfg": {"crop_mode": "border"}}',
            r"crop_mode is 'border'",
        ),
        (
            '{"num_attention_heads": 3, "pretrained_cfg": {"mean": [0.5]}}',
            r"3 channels need as many numbers",
        ),
    ],
)
def test_a_bad_config_is_named(config, message, tmp_path):
    small_file(tmp_path)
    assert load_pretrained(str(tmp_path / "model.safetensors")).config["heads"] == 3
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(ValueError, match=f"(?s)model.safetensors.*{message}"):
        load_pretrained(str(tmp_path / "model.safetensors"))


def test_another_model_is_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    state = small_file(tmp_path)
    for change, message in (
        ({"reg_token": torch.zeros(1, 2, 24)}, r"unknown: reg_token.*register tokens"),
        ({"pos_embed": torch.zeros(1, 8, 24)}, r"7 patches, which make no square"),
        ({"patch_embed.proj.weight": torch.zeros(24, 2, 4, 4)}, r"32 entries.*1 or 3 channels"),
        ({"norm.weight": torch.full((24,), torch.nan)}, r"mlp_head.0.weight holds NaN"),
        ({"blocks.1.attn.qkv.weight": torch.zeros(24, 24)}, r"size mismatch"),
    ):
        save_file(state | change, path)
        with pytest.raises(ValueError, match=f"(?s)model.safetensors.*{message}"):
            load_pretrained(str(path))
    save_file(resnet18().state_dict(), path)
    with pytest.raises(ValueError, match=r"holds no ViT.*first weights are bn1.bias"):
        load_pretrained(str(path))
    save_file(ViT(**SQUARE).state_dict(), path)
    with pytest.raises(ValueError, match=r"holds no ViT"):
        load_pretrained(str(path))


def test_files_of_other_kinds_are_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    for content in (b"", b"\xff" * 40, (200).to_bytes(8, "little") + b"{}"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"damaged, cut short or no safetensors file"):
            load_pretrained(str(path))
    with pytest.raises(FileNotFoundError):
        load_pretrained(str(tmp_path / "nowhere.safetensors"))
    with pytest.raises(FileNotFoundError):
        load_pretrained(str(tmp_path / "nowhere.npz"))
    save_model(CNN(num_classes=2, channels=1, widths=(2, 3, 4)), path)
    assert load_file(path)
    with pytest.raises(ValueError, match=r"is a CNN: it is loaded as it is"):
        load_pretrained(str(path), image_size=32)
    for name in ("vit.pth", "pytorch_model.bin"):
        with pytest.raises(ValueError, match=rf"{name} is a pickle.*save_file"):
            load_pretrained(str(tmp_path / name))
