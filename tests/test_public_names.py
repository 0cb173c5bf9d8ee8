"""The names that readers import, and the arguments of the model's classes, are all still there.

A name that moves or goes is a line here, and one in CHANGELOG.md.
"""

import importlib
import inspect

import pytest

import vit_tutorial

PACKAGE = """
    Attention FeedForward PreNorm Transformer ViT attention_on_grid attention_relevance
    attention_rollout change_temperature create_vit from_huggingface from_npz from_timm
    from_torchvision layer_predictions load_model load_pretrained mean_attention_distance patchify
    record_attention resize_pos_embedding save_model sincos_2d switch_off_heads unpatchify
"""
MODULES = {
    "patches": "patchify unpatchify",
    "positions": "POSITIONS resize_pos_embedding rows_and_columns sincos_2d",
    "vit": "Attention FeedForward PreNorm Transformer ViT",
    "variants": "SIZES VARIANTS create_vit",
    "adapt": "adapt",
    "cnn": "CNN convolution",
    "inside": "change_temperature record_attention switch_off_heads",
    "attention_maps": """attention_on_grid attention_relevance attention_rollout
        layer_predictions mean_attention_distance record_attention""",
    "data": "DATASETS PHOTOS load_dataset load_photo normalize",
    "preprocess": "Preprocess preprocess read_image",
    "saving": "load_model save_model",
    "weights": "from_huggingface from_npz from_timm from_torchvision",
    "pretrained": "BUNDLED CHECKPOINTS PUBLISHERS adapt imagenet_class_names load_pretrained",
    "recipes": "RECIPES Recipe SMALL_CNN SMALL_VIT",
    "records": "RUNS read_log read_runs",
    "folder": "list_folder read_folder",
    "exercises": "Reply check",
    "properties": "check_all",
    "verdicts": "MARGIN compare compare_over_images",
    "train": "evaluate train",
    "arms": "ARMS COUNTS EXPERIMENTS",
    "plots": "show_picture show_source tile use_style",
    "widgets": """AnyViT AttentionRow ClassToken Deletion EncoderWalk Figure PatchCost PatchCutter
        PatchOrder Playback Playground PositionSimilarity Shift SideBySide TrainHere WhereItLooks
        dequantised page_cnn page_vit""",
}
SIGNATURES = {
    "PreNorm": "dim, fn, *, eps=1e-06",
    "FeedForward": "dim, hidden_dim, dropout=0.0",
    "Attention": "dim, heads=8, dim_head=64, dropout=0.0, *, qkv_bias=False",
    "Transformer": "dim, depth, heads, dim_head, mlp_dim, dropout=0.0, *, qkv_bias=False, "
    "eps=1e-06",
    "ViT": "*, image_size, patch_size, num_classes, dim, depth, heads, mlp_dim, pool='cls', "
    "channels=3, dim_head=64, dropout=0.0, emb_dropout=0.0, qkv_bias=False, position='learned', "
    "eps=1e-06",
    "create_vit": "variant, *, num_classes=1000, image_size=224, **overrides",
    "patchify": "images, patch_size",
    "unpatchify": "patches, grid, patch_size",
    "resize_pos_embedding": "pos, old_grid, new_grid, num_prefix=1",
    "attention_rollout": "maps, *, head_fusion='mean', discard_ratio=0.0",
}


def test_the_package_s_own_names_are_these():
    assert sorted(vit_tutorial.__all__) == sorted(PACKAGE.split())
    assert all(hasattr(vit_tutorial, name) for name in PACKAGE.split())


@pytest.mark.parametrize("module", MODULES)
def test_every_module_has_its_public_names(module):
    """`__all__` is what the API page lists."""
    found = importlib.import_module(f"vit_tutorial.{module}")
    assert sorted(found.__all__) == sorted(MODULES[module].split())
    assert not [name for name in found.__all__ if not hasattr(found, name)]


@pytest.mark.parametrize("name", SIGNATURES)
def test_arguments_have_the_names_and_defaults_that_the_book_uses(name):
    signature = inspect.signature(getattr(vit_tutorial, name))
    plain = [
        each.replace(annotation=inspect.Parameter.empty) for each in signature.parameters.values()
    ]
    written = str(signature.replace(parameters=plain, return_annotation=inspect.Signature.empty))
    assert written == f"({SIGNATURES[name]})"


def test_a_model_s_arguments_are_all_checked_or_chosen_from_a_list():
    """A new argument of ViT or CNN gets a row in ARGUMENTS, or a check of its own."""
    from vit_tutorial.checks import ARGUMENTS
    from vit_tutorial.cnn import CNN

    names = {*inspect.signature(vit_tutorial.ViT).parameters, *inspect.signature(CNN).parameters}
    assert names - ARGUMENTS.keys() == {"pool", "position"}
