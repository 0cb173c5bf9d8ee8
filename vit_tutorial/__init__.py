"""The Vision Transformer, taken apart: the code that the book reads."""

from vit_tutorial.attention_maps import (
    attention_on_grid,
    attention_relevance,
    attention_rollout,
    layer_predictions,
    mean_attention_distance,
)
from vit_tutorial.inside import (
    change_temperature,
    record_attention,
    switch_off_heads,
)
from vit_tutorial.patches import patchify, unpatchify
from vit_tutorial.positions import resize_pos_embedding, sincos_2d
from vit_tutorial.pretrained import load_pretrained
from vit_tutorial.saving import load_model, save_model
from vit_tutorial.variants import create_vit
from vit_tutorial.vit import Attention, FeedForward, PreNorm, Transformer, ViT
from vit_tutorial.weights import (
    from_huggingface,
    from_npz,
    from_timm,
    from_torchvision,
)

__all__ = [
    "Attention",
    "FeedForward",
    "PreNorm",
    "Transformer",
    "ViT",
    "attention_on_grid",
    "attention_relevance",
    "attention_rollout",
    "change_temperature",
    "create_vit",
    "from_huggingface",
    "from_npz",
    "from_timm",
    "from_torchvision",
    "layer_predictions",
    "load_model",
    "load_pretrained",
    "mean_attention_distance",
    "patchify",
    "record_attention",
    "resize_pos_embedding",
    "save_model",
    "sincos_2d",
    "switch_off_heads",
    "unpatchify",
]
