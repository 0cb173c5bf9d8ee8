"""The Vision Transformer, taken apart: the code that the book reads line by line."""

from vit_tutorial.attention_maps import record_attention
from vit_tutorial.patches import patchify, unpatchify
from vit_tutorial.positions import resize_pos_embedding, sincos_2d
from vit_tutorial.variants import create_vit
from vit_tutorial.vit import Attention, FeedForward, PreNorm, Transformer, ViT
from vit_tutorial.weights import (
    from_huggingface,
    from_npz,
    from_timm,
    from_torchvision,
    load_model,
    save_model,
)

__all__ = [
    "Attention",
    "FeedForward",
    "PreNorm",
    "Transformer",
    "ViT",
    "create_vit",
    "from_huggingface",
    "from_npz",
    "from_timm",
    "from_torchvision",
    "load_model",
    "patchify",
    "record_attention",
    "resize_pos_embedding",
    "save_model",
    "sincos_2d",
    "unpatchify",
]
