"""The models that `peers.py` compares: one size, built by five libraries, with equal arithmetic."""

from dataclasses import dataclass

import torch
from torch import nn

EPS = 1e-6  # of every LayerNorm


@dataclass(frozen=True)
class Setting:
    """One size of model and, for each device it is timed on, the number of pictures in a batch."""

    image: int
    patch: int
    channels: int
    classes: int
    dim: int
    depth: int
    heads: int
    mlp_dim: int
    batch: dict[str, int]


SETTINGS = {
    "S/16": Setting(224, 16, 3, 1000, 384, 12, 6, 1536, {"cpu": 8, "cuda": 128}),
    "B/16": Setting(224, 16, 3, 1000, 768, 12, 12, 3072, {"cuda": 64}),
    "28x28": Setting(28, 4, 1, 10, 64, 6, 4, 128, {"cpu": 256}),
}


def arguments_of_a_vit(s: Setting) -> dict:
    """What vit-pytorch's constructor and ours both take."""
    sizes = {"dim": s.dim, "depth": s.depth, "heads": s.heads, "mlp_dim": s.mlp_dim}
    pictures = {"image_size": s.image, "patch_size": s.patch, "channels": s.channels}
    return {**sizes, **pictures, "num_classes": s.classes, "dim_head": s.dim // s.heads}


def ours(s: Setting) -> nn.Module:
    from vit_tutorial import ViT

    return ViT(**arguments_of_a_vit(s), qkv_bias=True, eps=EPS)


def vit_pytorch(s: Setting) -> nn.Module:
    from vit_pytorch import ViT

    model = ViT(**arguments_of_a_vit(s))
    for attention, _ in model.transformer.layers:  # it has no option for the bias of qkv
        attention.fn.to_qkv = nn.Linear(s.dim, 3 * s.dim)
    return model


def timm(s: Setting) -> nn.Module:
    from timm.models.vision_transformer import VisionTransformer

    return VisionTransformer(
        img_size=s.image,
        patch_size=s.patch,
        in_chans=s.channels,
        num_classes=s.classes,
        embed_dim=s.dim,
        depth=s.depth,
        num_heads=s.heads,
        mlp_ratio=s.mlp_dim / s.dim,
    )


def torchvision(s: Setting) -> nn.Module:
    from torchvision.models import VisionTransformer

    model = VisionTransformer(
        s.image, s.patch, s.depth, s.heads, s.dim, s.mlp_dim, num_classes=s.classes
    )
    model.conv_proj = nn.Conv2d(s.channels, s.dim, s.patch, s.patch)  # no option but 3 channels
    return model


def huggingface(s: Setting) -> nn.Module:
    from transformers import ViTConfig, ViTForImageClassification

    config = ViTConfig(
        image_size=s.image,
        patch_size=s.patch,
        num_channels=s.channels,
        num_labels=s.classes,
        hidden_size=s.dim,
        num_hidden_layers=s.depth,
        num_attention_heads=s.heads,
        intermediate_size=s.mlp_dim,
        attn_implementation="sdpa",
    )
    return ViTForImageClassification(config)


MODELS = {
    "ours": ours,
    "timm": timm,
    "vit-pytorch": vit_pytorch,
    "torchvision": torchvision,
    "Hugging Face": huggingface,
}


def declare_torchvision_operators() -> None:
    """Let torchvision, which timm and vit-pytorch import, load beside a torch it was not built for.

    Next to a CPU build of torch its compiled library stays out, and its import stops at an operator
    from there. No ViT uses those operators: it is enough that their names exist.
    """
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms", "deform_conv2d", "ps_roi_align", "ps_roi_pool", "roi_align"):
            library.define(f"{name}(Tensor x) -> Tensor")
        declare_torchvision_operators.library = library  # gone with the object, so keep it


def build(name: str, setting: Setting) -> nn.Module:
    """Make one library's model, its LayerNorms and its head like everybody's."""
    model = MODELS[name](setting)
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = EPS
        if isinstance(module, nn.Linear):  # a head of zeros would send only zeros back
            nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, nn.Dropout) and module.p > 0:
            raise ValueError(f"{name} drops out with p = {module.p}")
    return model
