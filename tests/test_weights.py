"""The checkpoints of timm, torchvision, Hugging Face and Google, both ways."""

import copy
import os
import pickle

import numpy as np
import pytest
import torch
from conftest import randomise
from einops import rearrange
from safetensors.torch import load_file, save_file
from timm.layers import SwiGLUPacked
from timm.layers.attention import Attention as TimmAttention
from timm.models.vision_transformer import VisionTransformer as TimmViT
from torch import nn
from torchvision.models import resnet18
from torchvision.models.vision_transformer import VisionTransformer as TorchvisionViT
from transformers import (
    DeiTConfig,
    DeiTForImageClassification,
    Dinov2Config,
    Dinov2ForImageClassification,
    Dinov2Model,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
    ViTConfig,
    ViTForImageClassification,
    ViTModel,
)

from vit_tutorial import (
    ViT,
    from_huggingface,
    from_npz,
    from_timm,
    from_torchvision,
)

SQUARE = {"image_size": (8, 8), "patch_size": (4, 4), "channels": 3, "num_classes": 5}
SQUARE |= {"dim": 24, "depth": 2, "heads": 3, "dim_head": 8, "mlp_dim": 48}
ONE_CHANNEL = SQUARE | {"patch_size": (2, 2), "channels": 1, "depth": 1}
NOT_SQUARE = {"image_size": (8, 15), "patch_size": (4, 3), "channels": 2, "num_classes": 7}
NOT_SQUARE |= {"dim": 16, "depth": 3, "heads": 4, "dim_head": 4, "mlp_dim": 40}
OTHER_HEADS = {"image_size": (6, 4), "patch_size": (3, 2), "channels": 3, "num_classes": 5}
OTHER_HEADS |= {"dim": 20, "depth": 2, "heads": 3, "dim_head": 5, "mlp_dim": 25}  # 3 * 5 is not 20


def name_of(value) -> str | None:
    if isinstance(value, dict) and "image_size" in value:
        height, width = value["image_size"]
        return f"{height}x{width}x{value['channels']}-dim{value['dim']}-heads{value['heads']}"
    return None


def pictures(config: dict) -> torch.Tensor:
    return torch.randn(3, config["channels"], *config["image_size"])


def assert_same_logits(ours: nn.Module, theirs, images: torch.Tensor):
    """In float32 to 1e-5; in float64 to 1e-10, where no rounding hides a difference."""
    with torch.no_grad():
        expected = theirs(images)
        assert expected.std() > 0.05
        torch.testing.assert_close(ours(images), expected, atol=1e-5, rtol=0)
        ours, theirs, images = ours.double(), theirs.double(), images.double()
        torch.testing.assert_close(ours(images), theirs(images), atol=1e-10, rtol=0)


def assert_same_state(a: dict, b: dict):
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


def through_a_file(state: dict, folder) -> dict:
    save_file(state, folder / "theirs.safetensors")
    return load_file(folder / "theirs.safetensors")


# The inverse of each reader, written out once more, without its tables.


def to_convolution(weight: torch.Tensor, config: dict) -> torch.Tensor:
    p1, p2 = config["patch_size"]
    return rearrange(weight, "d (p1 p2 c) -> d c p1 p2", p1=p1, p2=p2).contiguous()


def to_timm(ours: dict, config: dict) -> dict:
    norm = "norm" if "cls_token" in ours else "fc_norm"
    theirs = {
        "pos_embed": ours["pos_embedding"],
        "patch_embed.proj.weight": to_convolution(ours["to_patch_embedding.1.weight"], config),
        "patch_embed.proj.bias": ours["to_patch_embedding.1.bias"],
        f"{norm}.weight": ours["mlp_head.0.weight"],
        f"{norm}.bias": ours["mlp_head.0.bias"],
        "head.weight": ours["mlp_head.1.weight"],
        "head.bias": ours["mlp_head.1.bias"],
    }
    if "cls_token" in ours:
        theirs["cls_token"] = ours["cls_token"]
    for i in range(config["depth"]):
        mine, block = f"transformer.layers.{i}", f"blocks.{i}"
        for leaf in ("weight", "bias"):
            if f"{mine}.0.fn.to_qkv.{leaf}" in ours:
                theirs[f"{block}.attn.qkv.{leaf}"] = ours[f"{mine}.0.fn.to_qkv.{leaf}"]
            theirs[f"{block}.norm1.{leaf}"] = ours[f"{mine}.0.norm.{leaf}"]
            theirs[f"{block}.attn.proj.{leaf}"] = ours[f"{mine}.0.fn.to_out.0.{leaf}"]
            theirs[f"{block}.norm2.{leaf}"] = ours[f"{mine}.1.norm.{leaf}"]
            theirs[f"{block}.mlp.fc1.{leaf}"] = ours[f"{mine}.1.fn.net.0.{leaf}"]
            theirs[f"{block}.mlp.fc2.{leaf}"] = ours[f"{mine}.1.fn.net.3.{leaf}"]
    return theirs


def to_torchvision(ours: dict, config: dict, *, first="0", second="3") -> dict:
    theirs = {
        "class_token": ours["cls_token"],
        "encoder.pos_embedding": ours["pos_embedding"],
        "conv_proj.weight": to_convolution(ours["to_patch_embedding.1.weight"], config),
        "conv_proj.bias": ours["to_patch_embedding.1.bias"],
        "encoder.ln.weight": ours["mlp_head.0.weight"],
        "encoder.ln.bias": ours["mlp_head.0.bias"],
        "heads.head.weight": ours["mlp_head.1.weight"],
        "heads.head.bias": ours["mlp_head.1.bias"],
    }
    for i in range(config["depth"]):
        mine, block = f"transformer.layers.{i}", f"encoder.layers.encoder_layer_{i}"
        for leaf in ("weight", "bias"):
            qkv = ours[f"{mine}.0.fn.to_qkv.{leaf}"]
            theirs[f"{block}.self_attention.in_proj_{leaf}"] = qkv
            theirs[f"{block}.self_attention.out_proj.{leaf}"] = ours[f"{mine}.0.fn.to_out.0.{leaf}"]
            theirs[f"{block}.ln_1.{leaf}"] = ours[f"{mine}.0.norm.{leaf}"]
            theirs[f"{block}.ln_2.{leaf}"] = ours[f"{mine}.1.norm.{leaf}"]
            theirs[f"{block}.mlp.{first}.{leaf}"] = ours[f"{mine}.1.fn.net.0.{leaf}"]
            theirs[f"{block}.mlp.{second}.{leaf}"] = ours[f"{mine}.1.fn.net.3.{leaf}"]
    return theirs


def to_huggingface(ours: dict, config: dict) -> dict:
    """The names on disk."""
    projection = "vit.embeddings.patch_embeddings.projection"
    theirs = {
        "vit.embeddings.cls_token": ours["cls_token"],
        "vit.embeddings.position_embeddings": ours["pos_embedding"],
        f"{projection}.weight": to_convolution(ours["to_patch_embedding.1.weight"], config),
        f"{projection}.bias": ours["to_patch_embedding.1.bias"],
        "vit.layernorm.weight": ours["mlp_head.0.weight"],
        "vit.layernorm.bias": ours["mlp_head.0.bias"],
        "classifier.weight": ours["mlp_head.1.weight"],
        "classifier.bias": ours["mlp_head.1.bias"],
    }
    for i in range(config["depth"]):
        mine, block = f"transformer.layers.{i}", f"vit.encoder.layer.{i}"
        for leaf in ("weight", "bias"):
            if f"{mine}.0.fn.to_qkv.{leaf}" in ours:
                three = ours[f"{mine}.0.fn.to_qkv.{leaf}"].chunk(3)
                for name, part in zip(("query", "key", "value"), three, strict=True):
                    theirs[f"{block}.attention.attention.{name}.{leaf}"] = part.clone()
            theirs[f"{block}.attention.output.dense.{leaf}"] = ours[f"{mine}.0.fn.to_out.0.{leaf}"]
            theirs[f"{block}.layernorm_before.{leaf}"] = ours[f"{mine}.0.norm.{leaf}"]
            theirs[f"{block}.layernorm_after.{leaf}"] = ours[f"{mine}.1.norm.{leaf}"]
            theirs[f"{block}.intermediate.dense.{leaf}"] = ours[f"{mine}.1.fn.net.0.{leaf}"]
            theirs[f"{block}.output.dense.{leaf}"] = ours[f"{mine}.1.fn.net.3.{leaf}"]
    return theirs


# timm


def timm_attention(dim_head: int) -> type[TimmAttention]:
    class Attention(TimmAttention):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs, attn_head_dim=dim_head)

    return Attention


def timm_vit(config: dict, *, qkv_bias=True, **more) -> TimmViT:
    more = {"global_pool": "token", "num_classes": config["num_classes"]} | more
    return TimmViT(
        img_size=config["image_size"],
        patch_size=config["patch_size"],
        in_chans=config["channels"],
        embed_dim=config["dim"],
        depth=config["depth"],
        num_heads=config["heads"],
        mlp_ratio=config["mlp_dim"] / config["dim"],
        attn_layer=timm_attention(config["dim_head"]),
        qkv_bias=qkv_bias,
        **more,
    )


TIMM_MODELS = [
    (SQUARE, {}, {}),
    (ONE_CHANNEL, {}, {}),
    (NOT_SQUARE, {}, {}),
    (OTHER_HEADS, {}, {}),
    (SQUARE, {"qkv_bias": False}, {"qkv_bias": False}),
    (SQUARE, {"pos_embed": "none"}, {"position": "none"}),
    (SQUARE, {"class_token": False, "global_pool": "avg"}, {"pool": "mean"}),
    (OTHER_HEADS, {"class_token": False, "global_pool": "avg"}, {"pool": "mean"}),
]


@pytest.mark.parametrize(("config", "theirs", "ours"), TIMM_MODELS, ids=name_of)
def test_weights_of_timm_give_its_logits(config, theirs, ours, tmp_path):
    model = randomise(timm_vit(config, **theirs))
    vit = ViT(**(config | {"qkv_bias": True} | ours)).eval()
    vit.load_state_dict(from_timm(through_a_file(model.state_dict(), tmp_path)), strict=True)
    assert_same_logits(vit, model, pictures(config))


@pytest.mark.parametrize("pool", ["cls", "mean"])
@pytest.mark.parametrize("qkv_bias", [True, False])
@pytest.mark.parametrize("config", [SQUARE, NOT_SQUARE, OTHER_HEADS], ids=name_of)
def test_our_weights_give_our_logits_in_timm(config, qkv_bias, pool):
    vit = randomise(ViT(**config, qkv_bias=qkv_bias, pool=pool))
    mean = {"class_token": False, "global_pool": "avg"} if pool == "mean" else {}
    model = timm_vit(config, qkv_bias=qkv_bias, **mean).eval()
    theirs = to_timm(vit.state_dict(), config)
    model.load_state_dict(theirs, strict=True)
    assert_same_state(from_timm(theirs), vit.state_dict())
    assert_same_logits(vit, model, pictures(config))


# torchvision


def torchvision_vit(config: dict) -> TorchvisionViT:
    model = TorchvisionViT(
        image_size=config["image_size"][0],
        patch_size=config["patch_size"][0],
        num_layers=config["depth"],
        num_heads=config["heads"],
        hidden_dim=config["dim"],
        mlp_dim=config["mlp_dim"],
        num_classes=config["num_classes"],
    )
    if config["channels"] != 3:  # which it has no argument for
        model.conv_proj = nn.Conv2d(
            config["channels"], config["dim"], config["patch_size"], config["patch_size"]
        )
    return model


TORCHVISION_SIZES = [  # square ones, with as many channels in all heads as in dim, alone exist
    SQUARE,
    ONE_CHANNEL,
    NOT_SQUARE | {"image_size": (6, 6), "patch_size": (3, 3)},
]


@pytest.mark.parametrize("config", TORCHVISION_SIZES, ids=name_of)
def test_weights_of_torchvision_give_its_logits(config, tmp_path):
    model = randomise(torchvision_vit(config))
    vit = ViT(**config, qkv_bias=True).eval()
    vit.load_state_dict(from_torchvision(through_a_file(model.state_dict(), tmp_path)))
    assert_same_logits(vit, model, pictures(config))


@pytest.mark.parametrize("config", TORCHVISION_SIZES, ids=name_of)
def test_our_weights_give_our_logits_in_torchvision(config):
    vit = randomise(ViT(**config, qkv_bias=True))
    model = torchvision_vit(config).eval()
    theirs = to_torchvision(vit.state_dict(), config)
    assert_same_state(from_torchvision(theirs), vit.state_dict())
    older = to_torchvision(vit.state_dict(), config, first="linear_1", second="linear_2")
    assert_same_state(from_torchvision(older), vit.state_dict())
    model.load_state_dict(theirs, strict=True)
    assert_same_logits(vit, model, pictures(config))


# Hugging Face


def huggingface_config(config: dict, *, qkv_bias=True, eps=1e-12) -> ViTConfig:
    theirs = ViTConfig(
        image_size=config["image_size"],
        patch_size=config["patch_size"],
        num_channels=config["channels"],
        hidden_size=config["dim"],
        num_hidden_layers=config["depth"],
        num_attention_heads=config["heads"],
        intermediate_size=config["mlp_dim"],
        num_labels=config["num_classes"],
        qkv_bias=qkv_bias,
        layer_norm_eps=eps,
    )
    if config["heads"] * config["dim_head"] != config["dim"]:
        theirs.head_dim = config["dim_head"]
    return theirs


class Logits(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, images):
        return self.model(images).logits


HUGGING_FACE_MODELS = [
    (SQUARE, {}),
    (ONE_CHANNEL, {"eps": 1e-6}),
    (NOT_SQUARE, {}),
    (OTHER_HEADS, {}),
    (SQUARE, {"qkv_bias": False}),
]


@pytest.mark.parametrize(("config", "more"), HUGGING_FACE_MODELS, ids=name_of)
def test_weights_of_hugging_face_give_its_logits(config, more, tmp_path):
    more = {"qkv_bias": True, "eps": 1e-12} | more
    model = randomise(ViTForImageClassification(huggingface_config(config, **more)))
    vit = ViT(**config, **more).eval()
    vit.load_state_dict(from_huggingface(model.state_dict()), strict=True)
    model.save_pretrained(tmp_path)
    on_disk = load_file(tmp_path / "model.safetensors")
    assert "vit.encoder.layer.0.attention.attention.query.weight" in on_disk
    assert_same_state(from_huggingface(on_disk), vit.state_dict())
    bare = {name.removeprefix("vit."): tensor for name, tensor in on_disk.items()}
    assert_same_state(from_huggingface(bare), vit.state_dict())
    assert_same_logits(vit, Logits(model), pictures(config))


@pytest.mark.parametrize(("config", "more"), HUGGING_FACE_MODELS, ids=name_of)
def test_our_weights_give_our_logits_in_hugging_face(config, more, tmp_path):
    more = {"qkv_bias": True, "eps": 1e-12} | more
    vit = randomise(ViT(**config, **more))
    theirs = to_huggingface(vit.state_dict(), config)
    assert_same_state(from_huggingface(theirs), vit.state_dict())
    huggingface_config(config, **more).save_pretrained(tmp_path)
    save_file(theirs, tmp_path / "model.safetensors", {"format": "pt"})
    model, report = ViTForImageClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert_same_logits(vit, Logits(model.eval()), pictures(config))


# Google's .npz

SPELLINGS = {
    "published": {
        "attention": "MultiHeadDotProductAttention_1",
        "second norm": "LayerNorm_2",
        "mlp": "MlpBlock_3",
        "positions": "Transformer/posembed_input/pos_embedding",
    },
    "flax": {
        "attention": "MultiHeadDotProductAttention_0",
        "second norm": "LayerNorm_1",
        "mlp": "MlpBlock_0",
        "positions": "Transformer/posembed_input/pos_embedding",
    },
    "big_vision": {
        "attention": "MultiHeadDotProductAttention_0",
        "second norm": "LayerNorm_1",
        "mlp": "MlpBlock_0",
        "positions": "pos_embedding",
    },
}


def google_shapes(config: dict, spelling: str) -> dict[str, tuple[int, ...]]:
    """Every array of such a file, in Flax's order of axes."""
    (height, width), (p1, p2) = config["image_size"], config["patch_size"]
    n, dim, mlp_dim = (height // p1) * (width // p2), config["dim"], config["mlp_dim"]
    heads, dim_head = config["heads"], config["dim_head"]
    words = SPELLINGS[spelling]
    shapes = {
        "cls": (1, 1, dim),
        words["positions"]: (1, n if spelling == "big_vision" else n + 1, dim),
        "embedding/kernel": (p1, p2, config["channels"], dim),
        "embedding/bias": (dim,),
        "Transformer/encoder_norm/scale": (dim,),
        "Transformer/encoder_norm/bias": (dim,),
        "head/kernel": (dim, config["num_classes"]),
        "head/bias": (config["num_classes"],),
    }
    for i in range(config["depth"]):
        block = f"Transformer/encoderblock_{i}"
        for norm in ("LayerNorm_0", words["second norm"]):
            shapes |= {f"{block}/{norm}/scale": (dim,), f"{block}/{norm}/bias": (dim,)}
        for name in ("query", "key", "value"):
            shapes[f"{block}/{words['attention']}/{name}/kernel"] = (dim, heads, dim_head)
            shapes[f"{block}/{words['attention']}/{name}/bias"] = (heads, dim_head)
        shapes[f"{block}/{words['attention']}/out/kernel"] = (heads, dim_head, dim)
        shapes[f"{block}/{words['attention']}/out/bias"] = (dim,)
        shapes[f"{block}/{words['mlp']}/Dense_0/kernel"] = (dim, mlp_dim)
        shapes[f"{block}/{words['mlp']}/Dense_0/bias"] = (mlp_dim,)
        shapes[f"{block}/{words['mlp']}/Dense_1/kernel"] = (mlp_dim, dim)
        shapes[f"{block}/{words['mlp']}/Dense_1/bias"] = (dim,)
    return shapes


def google_arrays(config: dict, spelling: str) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {
        name: random.normal(name.endswith("scale"), 0.2, shape).astype(np.float32)
        for name, shape in google_shapes(config, spelling).items()
    }


def google_forward(arrays: dict, config: dict, spelling: str, images: torch.Tensor) -> torch.Tensor:
    """The paper's equations over Flax's arrays: (b, c, H, W) -> logits, in float64."""
    a = {name: torch.from_numpy(array).double() for name, array in arrays.items()}
    words = SPELLINGS[spelling]

    def norm(x, name):
        x = x - x.mean(-1, keepdim=True)
        x = x / ((x * x).mean(-1, keepdim=True) + 1e-6).sqrt()
        return x * a[f"{name}/scale"] + a[f"{name}/bias"]

    (height, width), (p1, p2) = config["image_size"], config["patch_size"]
    images = images.double().permute(0, 2, 3, 1)  # Flax has the channel last
    x = torch.stack(
        [
            torch.einsum(
                "bijc,ijcd->bd", images[:, top : top + p1, left : left + p2], a["embedding/kernel"]
            )
            for top in range(0, height, p1)
            for left in range(0, width, p2)
        ],
        dim=1,
    )
    x = x + a["embedding/bias"]
    cls = a["cls"].expand(len(x), 1, -1)
    if spelling == "big_vision":  # adds positions, then puts the class token in front
        x = torch.cat((cls, x + a["pos_embedding"]), dim=1)
    else:
        x = torch.cat((cls, x), dim=1) + a[words["positions"]]
    for i in range(config["depth"]):
        block = f"Transformer/encoderblock_{i}"
        msa, mlp = f"{block}/{words['attention']}", f"{block}/{words['mlp']}"
        y = norm(x, f"{block}/LayerNorm_0")
        q, k, v = (
            torch.einsum("bnd,dhe->bnhe", y, a[f"{msa}/{name}/kernel"]) + a[f"{msa}/{name}/bias"]
            for name in ("query", "key", "value")
        )
        scores = torch.einsum("bqhe,bkhe->bhqk", q, k) / config["dim_head"] ** 0.5
        y = torch.einsum("bhqk,bkhe->bqhe", scores.softmax(-1), v)
        x = x + torch.einsum("bqhe,hed->bqd", y, a[f"{msa}/out/kernel"]) + a[f"{msa}/out/bias"]
        y = norm(x, f"{block}/{words['second norm']}")
        y = y @ a[f"{mlp}/Dense_0/kernel"] + a[f"{mlp}/Dense_0/bias"]
        y = y * (1 + torch.erf(y / 2**0.5)) / 2
        x = x + y @ a[f"{mlp}/Dense_1/kernel"] + a[f"{mlp}/Dense_1/bias"]
    x = norm(x, "Transformer/encoder_norm")[:, 0]
    return x @ a["head/kernel"] + a["head/bias"]


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("config", [SQUARE, ONE_CHANNEL, NOT_SQUARE, OTHER_HEADS], ids=name_of)
def test_weights_of_google_give_the_logits_of_the_equations(config, spelling, tmp_path):
    arrays = google_arrays(config, spelling)
    np.savez(tmp_path / "google.npz", **arrays)
    vit = ViT(**config, qkv_bias=True).eval()
    vit.load_state_dict(from_npz(tmp_path / "google.npz"), strict=True)
    images = pictures(config)
    expected = google_forward(arrays, config, spelling, images)
    assert expected.std() > 0.05
    with torch.no_grad():
        torch.testing.assert_close(vit(images).double(), expected, atol=1e-5, rtol=0)
        logits = vit.double()(images.double())
    torch.testing.assert_close(logits, expected, atol=1e-10, rtol=0)


@pytest.mark.parametrize("config", [SQUARE, ONE_CHANNEL], ids=name_of)
def test_timm_reads_the_published_npz_as_we_do(config, tmp_path):
    np.savez(tmp_path / "google.npz", **google_arrays(config, "published"))
    model = timm_vit(config)
    model.load_pretrained(str(tmp_path / "google.npz"))
    assert_same_state(from_npz(tmp_path / "google.npz"), from_timm(model.state_dict()))


def test_our_weights_come_back_from_a_published_npz(tmp_path):
    config = NOT_SQUARE
    vit = randomise(ViT(**config, qkv_bias=True))
    ours = {name: tensor.numpy() for name, tensor in vit.state_dict().items()}
    p1, p2 = config["patch_size"]
    kernel = ours["to_patch_embedding.1.weight"].T.reshape(p1, p2, config["channels"], -1)
    arrays = {
        "cls": ours["cls_token"],
        "Transformer/posembed_input/pos_embedding": ours["pos_embedding"],
        "embedding/kernel": kernel,
        "embedding/bias": ours["to_patch_embedding.1.bias"],
        "Transformer/encoder_norm/scale": ours["mlp_head.0.weight"],
        "Transformer/encoder_norm/bias": ours["mlp_head.0.bias"],
        "head/kernel": ours["mlp_head.1.weight"].T,
        "head/bias": ours["mlp_head.1.bias"],
    }
    for i in range(config["depth"]):
        mine, block = f"transformer.layers.{i}", f"Transformer/encoderblock_{i}"
        heads = config["heads"], config["dim_head"]
        msa, mlp = f"{block}/MultiHeadDotProductAttention_1", f"{block}/MlpBlock_3"
        weights = np.split(ours[f"{mine}.0.fn.to_qkv.weight"], 3)
        biases = np.split(ours[f"{mine}.0.fn.to_qkv.bias"], 3)
        for name, weight, bias in zip(("query", "key", "value"), weights, biases, strict=True):
            arrays[f"{msa}/{name}/kernel"] = weight.T.reshape(-1, *heads)
            arrays[f"{msa}/{name}/bias"] = bias.reshape(heads)
        arrays[f"{msa}/out/kernel"] = ours[f"{mine}.0.fn.to_out.0.weight"].T.reshape(*heads, -1)
        arrays[f"{msa}/out/bias"] = ours[f"{mine}.0.fn.to_out.0.bias"]
        arrays[f"{mlp}/Dense_0/kernel"] = ours[f"{mine}.1.fn.net.0.weight"].T
        arrays[f"{mlp}/Dense_0/bias"] = ours[f"{mine}.1.fn.net.0.bias"]
        arrays[f"{mlp}/Dense_1/kernel"] = ours[f"{mine}.1.fn.net.3.weight"].T
        arrays[f"{mlp}/Dense_1/bias"] = ours[f"{mine}.1.fn.net.3.bias"]
        for theirs, norm in (("LayerNorm_0", "0.norm"), ("LayerNorm_2", "1.norm")):
            arrays[f"{block}/{theirs}/scale"] = ours[f"{mine}.{norm}.weight"]
            arrays[f"{block}/{theirs}/bias"] = ours[f"{mine}.{norm}.bias"]
    np.savez_compressed(tmp_path / "ours.npz", **arrays)
    assert_same_state(from_npz(tmp_path / "ours.npz"), vit.state_dict())


@pytest.mark.parametrize("prefix", ["opt/target/", "params/"])
def test_the_model_is_found_inside_a_training_state(prefix, tmp_path):
    arrays = google_arrays(SQUARE, "published")
    np.savez(tmp_path / "model.npz", **arrays)
    state = {prefix + name: array for name, array in arrays.items()}
    state |= {"opt/state/step": np.array(3), "opt/state/mu/head/kernel": arrays["head/kernel"]}
    np.savez(tmp_path / "training.npz", **state)
    assert_same_state(from_npz(tmp_path / "training.npz"), from_npz(tmp_path / "model.npz"))


def test_positions_of_the_patches_alone_leave_the_class_token_none(tmp_path):
    """As big_vision has them. timm has such models too, which settles what they mean."""
    np.savez(tmp_path / "big_vision.npz", **google_arrays(SQUARE, "big_vision"))
    state = from_npz(tmp_path / "big_vision.npz")
    assert state["pos_embedding"].shape == (1, 5, 24)
    assert not state["pos_embedding"][:, 0].any()
    vit = ViT(**SQUARE, qkv_bias=True).eval()
    vit.load_state_dict(state)
    model = timm_vit(SQUARE, no_embed_class=True).eval()
    model.load_pretrained(str(tmp_path / "big_vision.npz"))
    assert model.pos_embed.shape == (1, 4, 24)
    assert_same_logits(vit, model, pictures(SQUARE))


def test_a_file_without_positions_is_for_a_model_that_computes_them(tmp_path):
    arrays = google_arrays(SQUARE, "flax")
    del arrays["Transformer/posembed_input/pos_embedding"]
    np.savez(tmp_path / "model.npz", **arrays)
    vit = ViT(**SQUARE, qkv_bias=True, position="sincos_2d")
    vit.load_state_dict(from_npz(tmp_path / "model.npz"), strict=True)
    torch.testing.assert_close(vit.cls_token, torch.from_numpy(arrays["cls"]))


# DINO, DINOv2


class ClassToken(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, images):
        return self.model(images).last_hidden_state[:, 0]


@pytest.mark.parametrize("pool", ["cls", "mean"])
def test_a_timm_model_without_a_head_gives_its_features(pool):
    mean = {"class_token": False, "global_pool": "avg"} if pool == "mean" else {}
    model = randomise(timm_vit(SQUARE | {"num_classes": 0}, **mean))
    vit = ViT(**SQUARE | {"num_classes": 24}, qkv_bias=True, pool=pool).eval()
    vit.load_state_dict(from_timm(model.state_dict()))
    assert_same_logits(vit, model, pictures(SQUARE))


def test_a_vit_model_of_hugging_face_gives_its_class_token(tmp_path):
    """What its pooler would make of it is a matter of the task that it was trained for."""
    model = randomise(ViTModel(huggingface_config(SQUARE), use_mask_token=True))
    model.save_pretrained(tmp_path)
    on_disk = load_file(tmp_path / "model.safetensors")
    assert {"pooler.dense.weight", "embeddings.mask_token"} < on_disk.keys()
    vit = ViT(**SQUARE | {"num_classes": 24}, qkv_bias=True, eps=1e-12).eval()
    vit.load_state_dict(from_huggingface(on_disk))
    assert_same_logits(vit, ClassToken(model), pictures(SQUARE))


@pytest.mark.parametrize("library", ["timm", "hugging face"])
def test_layer_scale_goes_into_the_weights_exactly(library):
    """In float64, where no rounding hides a difference."""
    if library == "timm":
        model = randomise(timm_vit(SQUARE, init_values=1e-5)).double()
        vit, theirs = ViT(**SQUARE, qkv_bias=True), model
        state = from_timm(model.state_dict())
    else:
        model = randomise(Dinov2Model(Dinov2Config(**SMALL_DINOV2))).double()
        vit = ViT(**SQUARE | {"num_classes": 24}, qkv_bias=True)
        theirs, state = ClassToken(model), from_huggingface(model.state_dict())
    vit.double().eval().load_state_dict(state)
    images = pictures(SQUARE).double()
    with torch.no_grad():
        expected = theirs(images)
        assert expected.std() > 0.05
        torch.testing.assert_close(vit(images), expected, atol=1e-10, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_layer_scale_in_half_precision_loses_nothing(dtype):
    state = randomise(timm_vit(SQUARE, init_values=1e-5)).to(dtype).state_dict()
    as_float = {name: tensor.float() for name, tensor in state.items()}
    assert_same_state(from_timm(state), from_timm(as_float))


# Every reader


def test_the_wrong_order_within_a_patch_is_seen():
    """It has the right shape and loads: only the logits tell. 'd c p1 p2 -> d (c p1 p2)' is it."""
    model = randomise(timm_vit(SQUARE))
    vit = ViT(**SQUARE, qkv_bias=True).eval()
    state = from_timm(model.state_dict())
    state["to_patch_embedding.1.weight"] = model.patch_embed.proj.weight.detach().flatten(1)
    vit.load_state_dict(state, strict=True)
    images = pictures(SQUARE)
    with torch.no_grad():
        assert (vit(images) - model(images)).abs().max() > 1e-3


def published(name: str) -> tuple:
    """A reader and a small state in one of the spellings it reads."""
    format_, spelling = name.split(", ")
    if format_ == "google":
        return from_npz, google_arrays(SQUARE, spelling)
    if spelling == "in memory":
        return from_huggingface, ViTForImageClassification(huggingface_config(SQUARE)).state_dict()
    pool = "mean" if spelling == "mean" else "cls"
    ours = randomise(ViT(**SQUARE, qkv_bias=True, pool=pool)).state_dict()
    if format_ == "timm":
        return from_timm, to_timm(ours, SQUARE)
    if format_ == "hugging face":
        return from_huggingface, to_huggingface(ours, SQUARE)
    names = {"first": "linear_1", "second": "linear_2"} if spelling == "older" else {}
    return from_torchvision, to_torchvision(ours, SQUARE, **names)


PUBLISHED = [
    "timm, class token",
    "timm, mean",
    "torchvision, newer",
    "torchvision, older",
    "hugging face, on disk",
    "hugging face, in memory",
    "google, published",
    "google, flax",
    "google, big_vision",
]
MAY_BE_ABSENT = {"pos_embed", "pos_embedding", "Transformer/posembed_input/pos_embedding"}


def read(reader, state: dict, folder) -> dict:
    if reader is not from_npz:
        return reader(state)
    np.savez(folder / "model.npz", **state)
    return from_npz(folder / "model.npz")


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_missing_weight_is_named(name, tmp_path):
    reader, state = published(name)
    state = {name: state[name] for name in state if name not in MAY_BE_ABSENT}
    for absent in state:
        rest = {name: tensor for name, tensor in state.items() if name != absent}
        with pytest.raises(ValueError, match=reader.__name__) as error:
            read(reader, rest, tmp_path)
        if absent == "cls_token":
            assert "no class token and fc_norm" in str(error.value)
        else:
            assert f"missing: {absent.removeprefix('vit.')})" in str(error.value)


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_unknown_weight_is_named(name, tmp_path):
    reader, state = published(name)
    like = state[next(iter(state))]
    for extra in ("blocks.0.ls1.gamma", "dist_token", "pre_logits/kernel", "heads.pre_logits.bias"):
        with pytest.raises(ValueError, match=rf"{reader.__name__}.*unknown: {extra}\)"):
            read(reader, {**state, extra: like}, tmp_path)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_missing_block_is_named(name, tmp_path):
    reader, state = published(name)
    first = ("blocks.0.", "encoder.layers.encoder_layer_0.", "vit.encoder.layer.0.")
    first += ("vit.layers.0.", "Transformer/encoderblock_0/")
    rest = {name: tensor for name, tensor in state.items() if not name.startswith(first)}
    assert len(rest) < len(state)
    with pytest.raises(ValueError, match=rf"{reader.__name__}.*missing: .*0.*unknown: .*1"):
        read(reader, rest, tmp_path)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_reader_leaves_what_it_reads_alone_and_hands_out_its_own(name, tmp_path):
    reader, state = published(name)
    if reader is not from_npz:  # as dict(model.named_parameters()) has them
        state = {name: nn.Parameter(tensor) for name, tensor in state.items()}
    before = copy.deepcopy(state)
    ours = read(reader, state, tmp_path)
    for tensor in ours.values():
        assert tensor.is_contiguous()
        assert not tensor.requires_grad
        tensor.zero_()
    assert state.keys() == before.keys()
    assert all((state[name] == before[name]).all() for name in state)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", PUBLISHED[:6])
def test_a_reader_keeps_the_dtype(name, dtype):
    reader, state = published(name)
    ours = reader({name: tensor.to(dtype) for name, tensor in state.items()})
    assert {tensor.dtype for tensor in ours.values()} == {dtype}


@pytest.mark.parametrize("dtype", [np.float64, np.float16])
def test_the_npz_reader_keeps_the_dtype(dtype, tmp_path):
    arrays = {name: a.astype(dtype) for name, a in google_arrays(SQUARE, "flax").items()}
    ours = read(from_npz, arrays, tmp_path)
    assert {tensor.numpy().dtype for tensor in ours.values()} == {np.dtype(dtype)}


def test_the_npz_reader_knows_bfloat16(tmp_path):
    """numpy writes it as two bytes without a meaning ("V2")."""
    arrays = google_arrays(SQUARE, "big_vision")
    expected = {
        name: tensor.bfloat16() for name, tensor in read(from_npz, arrays, tmp_path).items()
    }
    halves = {
        name: torch.from_numpy(a).bfloat16().view(torch.int16).numpy().view("V2")
        for name, a in arrays.items()
    }
    assert_same_state(read(from_npz, halves, tmp_path), expected)


@pytest.mark.parametrize("reader", [from_timm, from_torchvision, from_huggingface])
def test_a_model_in_place_of_its_state_dict_is_refused(reader):
    with pytest.raises(
        ValueError, match=rf"{reader.__name__} takes model.state_dict\(\), not a Lin"
    ):
        reader(nn.Linear(2, 2))


@pytest.mark.parametrize("reader", [from_timm, from_torchvision, from_huggingface])
@pytest.mark.parametrize("key", [1, None, b"cls_token"])
def test_a_key_that_is_no_name_is_refused(key, reader):
    with pytest.raises(ValueError, match=f"{reader.__name__}.*the key {key!r}"):
        reader({key: torch.zeros(2)})


READERS = [from_timm, from_torchvision, from_huggingface, from_npz]


@pytest.mark.parametrize("name", PUBLISHED)
def test_weights_of_another_library_are_sent_to_their_reader(name, tmp_path):
    right, state = published(name)
    if right is from_npz:
        state = {name: torch.from_numpy(array) for name, array in state.items()}
    for wrong in READERS:
        if wrong is not right:
            message = f"{wrong.__name__} cannot read.*that {right.__name__} reads"
            with pytest.raises(ValueError, match=message):
                read(wrong, state, tmp_path)


@pytest.mark.parametrize("reader", READERS)
def test_our_own_weights_need_no_reader(reader, tmp_path):
    state = ViT(**SQUARE).state_dict()
    with pytest.raises(ValueError, match=r"this package's names already.*load_state_dict"):
        read(reader, state, tmp_path)


OTHER_TIMM_MODELS = [
    ({"qk_norm": True}, r"unknown: blocks.0.attn.q_norm.weight"),
    ({"reg_tokens": 2}, r"unknown: reg_token\).*has register tokens, which our ViT does not have"),
    ({"mlp_layer": SwiGLUPacked}, r"blocks.0.mlp.fc1.weight: .*48 entries.*\(24,\); a gated MLP"),
    ({"pre_norm": True}, r"missing: patch_embed.proj.bias; unknown: norm_pre.weight"),
    ({"proj_bias": False}, r"missing: blocks.0.attn.proj.bias"),
    ({"global_pool": "map"}, r"attn_pool"),
    # mean pooling that is not ours: a class token in the encoder, or the norm before the mean
    ({"global_pool": "avg"}, r"a class token followed by norm.*other logits"),
    ({"global_pool": "avg", "class_token": False, "fc_norm": False}, r"after its last norm"),
]


@pytest.mark.parametrize(("theirs", "message"), OTHER_TIMM_MODELS)
def test_other_models_of_timm_are_refused(theirs, message):
    model = timm_vit(SQUARE, **theirs)
    with pytest.raises(ValueError, match=message):
        from_timm(model.state_dict())


def test_other_models_of_torchvision_are_refused():
    model = TorchvisionViT(8, 4, 1, 2, 8, 12, num_classes=3, representation_size=5)
    with pytest.raises(ValueError, match=r"unknown: heads.pre_logits.weight"):
        from_torchvision(model.state_dict())
    with pytest.raises(ValueError, match=r"unknown: conv1.weight.*Only the plain ViT"):
        from_torchvision(resnet18().state_dict())


SMALL_DINOV2 = {"image_size": 8, "patch_size": 4, "hidden_size": 24, "num_hidden_layers": 2}
SMALL_DINOV2 |= {"num_attention_heads": 3, "mlp_ratio": 2, "num_labels": 5}
OTHER_HUGGING_FACE_MODELS = [
    (
        Dinov2WithRegistersModel(Dinov2WithRegistersConfig(**SMALL_DINOV2)),
        r"unknown: embeddings.register_tokens\).*register tokens, which our ViT does not have",
    ),
    (
        DeiTForImageClassification(DeiTConfig(**SMALL_DINOV2)),
        r"unknown: embeddings.distillation_token\).*a distillation token",
    ),
    (  # its head reads the mean of the patches, too
        Dinov2ForImageClassification(Dinov2Config(**SMALL_DINOV2)),
        r"classifier.weight: it has the shape \(5, 48\).*the class token's 24 entries alone",
    ),
    (Dinov2Model(Dinov2Config(**SMALL_DINOV2, use_swiglu_ffn=True)), "has a gated MLP"),
]


@pytest.mark.parametrize(("model", "message"), OTHER_HUGGING_FACE_MODELS)
def test_other_models_of_hugging_face_are_refused(model, message):
    with pytest.raises(ValueError, match=message):
        from_huggingface(model.state_dict())


def test_a_name_with_and_without_its_prefix_is_refused():
    _, state = published("hugging face, on disk")
    state["layernorm.weight"] = state["vit.layernorm.weight"]
    with pytest.raises(ValueError, match=r"both with 'vit\.' in front and without"):
        from_huggingface(state)


@pytest.mark.parametrize("prefix", ["", "params/"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pre_logits/kernel": (24, 24)}, "unknown: pre_logits/kernel"),
        ({"MAPHead_0/probe": (1, 1, 24)}, "unknown: MAPHead_0/probe"),
        ({"conv_root/kernel": (7, 7, 3, 64)}, "unknown: conv_root/kernel"),
        ({"cls": None}, "missing: cls"),
        ({"embedding/kernel": (48, 24)}, "embedding/kernel.*expected 4 dims"),
    ],
)
def test_other_models_of_google_are_refused(change, message, prefix, tmp_path):
    arrays = google_arrays(SQUARE, "big_vision")
    arrays |= {name: np.zeros(shape, np.float32) for name, shape in change.items() if shape}
    arrays = {prefix + name: a for name, a in arrays.items() if change.get(name, True)}
    with pytest.raises(ValueError, match=f"(?s){message}"):
        read(from_npz, arrays, tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"patch_embed.proj.weight": torch.zeros(24, 48)}, "patch_embed.proj.weight.*4 dims"),
        ({"norm.weight": torch.ones(24, dtype=torch.int64)}, "floating-point numbers: norm.weight"),
        ({"norm.weight": [1.0] * 24}, "floating-point numbers: norm.weight"),
        ({"norm.weight": torch.tensor(1.0)}, "cannot read norm.weight"),
        ({"norm.weight": torch.ones(24).to_sparse()}, "floating-point numbers: norm.weight"),
    ],
)
def test_a_misshapen_weight_is_named(change, message):
    _, state = published("timm, class token")
    with pytest.raises(ValueError, match=f"(?s)from_timm.*{message}"):
        from_timm({**state, **change})


class Trap:
    """Unpickling it would leave a trace."""

    def __init__(self, folder):
        self.trace = folder / "unpickled"

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


def test_a_damaged_npz_is_named(tmp_path):
    np.savez(tmp_path / "whole.npz", **google_arrays(ONE_CHANNEL, "published"))
    whole = (tmp_path / "whole.npz").read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    np.save(tmp_path / "array.npy", np.zeros(3))
    damaged = {
        "half": whole[: len(whole) // 2],
        "end missing": whole[:-10],
        "one byte": whole[:1],
        "empty": b"",
        "a flipped byte": bytes(flipped),
        "a page in its place": b"<html>404</html>",
        "one array": (tmp_path / "array.npy").read_bytes(),
    }
    for what, content in damaged.items():
        path = tmp_path / f"{what}.npz"
        path.write_bytes(content)
        with pytest.raises(ValueError, match=rf"{what}.npz is damaged, cut short or no .npz file"):
            from_npz(path)


def test_a_missing_npz_is_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.npz"):
        from_npz(tmp_path / "nowhere.npz")


def test_a_folder_and_a_pipe_are_no_npz(tmp_path):
    with pytest.raises(IsADirectoryError, match=r"is a folder.*model\.npz"):
        from_npz(tmp_path)
    if os.name != "nt":
        os.mkfifo(tmp_path / "pipe.npz")
        with pytest.raises(OSError, match=r"pipe\.npz is not a regular file"):
            from_npz(tmp_path / "pipe.npz")


def test_an_npz_is_never_unpickled(tmp_path):
    trap = Trap(tmp_path)
    arrays = google_arrays(SQUARE, "published") | {"cls": np.array([trap], dtype=object)}
    np.savez(tmp_path / "trap.npz", **arrays)
    (tmp_path / "pickle.npz").write_bytes(pickle.dumps(trap))
    for name in ("trap.npz", "pickle.npz"):
        with pytest.raises(ValueError, match=f"{name} is damaged.*plain numbers"):
            from_npz(tmp_path / name)
    assert not trap.trace.exists()
