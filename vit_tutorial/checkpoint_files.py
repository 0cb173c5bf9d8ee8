"""Build the ViT that a checkpoint file holds, whoever wrote it.

The weights' shapes tell most of it. The rest stands in the files that the hub
keeps beside a checkpoint, config.json and preprocessor_config.json.
"""

import json
from collections.abc import Callable
from math import isqrt
from pathlib import Path

from torch import Tensor

from vit_tutorial.adapt import build_empty
from vit_tutorial.checkpoint_names import reader_of
from vit_tutorial.checks import check_path, check_pixels, is_whole
from vit_tutorial.cnn import CNN
from vit_tutorial.patches import pair
from vit_tutorial.preprocess import preprocess
from vit_tutorial.saving import check_numbers, load_model, read_file
from vit_tutorial.variants import SIZES
from vit_tutorial.vit import ViT
from vit_tutorial.weights import (
    from_huggingface,
    from_npz,
    from_timm,
    from_torchvision,
)

READERS: dict[str, Callable] = {
    "from_timm": from_timm,
    "from_torchvision": from_torchvision,
    "from_huggingface": from_huggingface,
}
PICKLES = (".pth", ".pt", ".bin", ".ckpt", ".pkl", ".pickle")
# Of 64 entries each, but for ViT-H.
HEADS = {sizes["dim"]: sizes["heads"] for sizes in SIZES.values()}
# In the order of Pillow's numbers, which Hugging Face's files hold.
RESAMPLING = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")


def read_checkpoint(path: Path) -> ViT | CNN:
    """Build the model of a .safetensors or .npz file: in eval mode, on the CPU,
    float32 where another library wrote it.

    Heads come from config.json beside it, else from the table of variants, else
    they are D/64. `facts` holds what the two files say of preprocessing, see
    `preprocess`, and of class names.

    Raises ValueError, naming the file, for one that is damaged, or holds
    another model; FileNotFoundError where there is none.
    """
    path = check_path(path)
    if path.suffix in PICKLES:
        raise ValueError(
            f"{path} is a pickle, which can run its author's code: keep the "
            "weights alone, safetensors.torch.save_file(torch.load(path, "
            "weights_only=True), 'model.safetensors')"
        )
    if path.suffix == ".npz":
        reader, state = "from_npz", from_npz(path)
    else:
        metadata, state = read_file(path)
        if "arguments" in metadata:  # save_model wrote it
            return load_model(path)
        reader = reader_of(state)
        if reader not in READERS:
            raise ValueError(
                f"{path} holds no ViT that can be read: its first weights are "
                f"{', '.join(sorted(state)[:3])}"
            )
    try:
        if reader in READERS:
            state = READERS[reader](state)
        state = {name: tensor.float() for name, tensor in state.items()}
        config = read_json(path.with_name("config.json"))
        vit = build(state, sizes_from(config, reader))
        preparation = read_json(path.with_name("preprocessor_config.json"))
        vit.facts = facts_from(
            config, preparation, len(state["mlp_head.1.bias"])
        )
        preprocess(vit)  # do these facts fit an image?
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path}: config.json or preprocessor_config.json beside it is not "
            f"as its library writes it ({error!r})"
        ) from error
    return vit.eval()


def build(state: dict[str, Tensor], sizes: dict) -> ViT:
    """Build the ViT that has these weights.

    sizes: what its config says of image_size, heads and eps. Raises ValueError
    where that is not enough.
    """
    dim = len(state["mlp_head.0.weight"])
    inner = len(state["transformer.layers.0.0.fn.to_qkv.weight"]) // 3
    channels, patch = patch_of(state["to_patch_embedding.1.weight"].shape[1])
    heads = sizes.get("heads") or HEADS.get(dim) or dim // 64
    if not heads or inner % heads:
        raise ValueError(
            f"{heads} heads do not share {inner} entries: its config.json "
            "should say how many there are (num_attention_heads)"
        )
    if heads == 1 and inner == dim:
        raise ValueError(
            f"it has one head of all {dim} entries and joins its output, which "
            "our ViT does only with several heads"
        )
    arguments = {
        "image_size": image_size_of(state, patch, sizes.get("image_size")),
        "patch_size": patch,
        "num_classes": len(state["mlp_head.1.weight"]),
        "channels": channels,
        "dim": dim,
        "depth": sum(name.endswith("to_qkv.weight") for name in state),
        "heads": heads,
        "dim_head": inner // heads,
        "mlp_dim": len(state["transformer.layers.0.1.fn.net.0.weight"]),
        "pool": "cls" if "cls_token" in state else "mean",
        "position": "learned" if "pos_embedding" in state else "none",
        "qkv_bias": "transformer.layers.0.0.fn.to_qkv.bias" in state,
        "eps": sizes["eps"],
    }
    vit = build_empty(ViT, **arguments)
    empty = vit.state_dict()
    vit.load_state_dict(state, assign=True)
    check_numbers(state, empty)
    return vit


def patch_of(entries: int) -> tuple[int, int]:
    """Return the channels, 3 or 1, and the side of a square patch with so many
    entries: no number is both 3 p² and p²."""
    for channels in (3, 1):
        if (side := isqrt(entries // channels)) ** 2 * channels == entries:
            return channels, side
    raise ValueError(
        f"its patches have {entries} entries, which make no square of 1 or 3 "
        "channels"
    )


def image_size_of(
    state: dict[str, Tensor], patch: int, said: int | tuple | None
) -> int | tuple[int, int]:
    """Return the image size that the positions are for: what the config says
    if it fits them, else a square."""
    if "pos_embedding" not in state:
        if said is None:
            raise ValueError(
                "it has no position embeddings, which would tell the size of "
                "its images: its config.json should (image_size)"
            )
        return said
    patches = state["pos_embedding"].shape[1] - ("cls_token" in state)
    if said is not None:
        height, width = pair(said)
        if (height // patch) * (width // patch) == patches:
            return said
    if isqrt(patches) ** 2 != patches:
        raise ValueError(
            f"it has positions for {patches} patches, which make no square: "
            "its config.json should say the image_size"
        )
    return isqrt(patches) * patch


def read_json(path: Path) -> dict:
    """Read a file that stands beside a checkpoint; {} where there is none."""
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf8"))
    except (RecursionError, ValueError) as error:
        raise ValueError(f"{path.name} is not JSON ({error})") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path.name} should hold a dictionary")
    return content


def sizes_from(config: dict, reader: str) -> dict:
    """Return what a config says of image_size, heads and eps."""
    if (activation := config.get("hidden_act", "gelu")) != "gelu":
        raise ValueError(
            f"its MLPs have {activation!r} in them, and those of our ViT 'gelu'"
        )
    timm = config.get("pretrained_cfg", {})
    size = config.get("image_size") or timm.get("input_size", [])[1:] or None
    if size is not None:
        size = check_pixels("image_size", size)
    timm_heads = config.get("model_args", {}).get("num_heads")
    heads = config.get("num_attention_heads", timm_heads)
    if heads is not None and not (is_whole(heads) and heads > 0):
        raise ValueError(
            f"config.json should give a number of heads: {heads!r}"
        )
    default = 1e-12 if reader == "from_huggingface" else 1e-6
    return {
        "image_size": size,
        "heads": heads,
        "eps": config.get("layer_norm_eps", default),
    }


def facts_from(config: dict, preparation: dict, classes: int) -> dict:
    """Return what `preprocess` has to know, and the class names, if the files
    say so."""
    facts = {}
    check_preparation(config, preparation)
    if timm := config.get("pretrained_cfg", {}):
        facts = {
            "mean": timm.get("mean"),
            "std": timm.get("std"),
            "crop": timm.get("crop_pct"),
            "stretch": timm.get("crop_mode") == "squash",
            "interpolation": timm.get("interpolation"),
        }
    if preparation:
        facts = {
            "mean": preparation.get("image_mean"),
            "std": preparation.get("image_std"),
            "interpolation": RESAMPLING[preparation.get("resample", 2)],
        } | crop_from(preparation)
    names = config.get("id2label", {})
    if len(names) == classes and "LABEL_0" not in names.values():
        facts["class_names"] = [names[str(n)] for n in range(classes)]
    return {name: value for name, value in facts.items() if value is not None}


def check_preparation(config: dict, preparation: dict) -> None:
    """Raise ValueError for preprocessing that `Preprocess` does not do."""
    mode = config.get("pretrained_cfg", {}).get("crop_mode", "center")
    if mode not in ("center", "squash"):
        raise ValueError(
            f"its crop_mode is {mode!r}, and preprocess knows 'center' and "
            "'squash'"
        )
    for step in ("do_resize", "do_rescale", "do_normalize"):
        if preparation.get(step) is False:
            raise ValueError(
                f"preprocessor_config.json has {step} false, and preprocess "
                "does all three: resize, rescale, normalize"
            )
    factor = preparation.get("rescale_factor", 1 / 255)
    if abs(255 * factor - 1) > 1e-6:
        raise ValueError(
            f"its rescale_factor is {factor}, and preprocess divides by 255"
        )


def crop_from(preparation: dict) -> dict:
    """Return the share that Hugging Face's processor cuts out of the resized
    image, and whether it resizes each side by its own factor."""
    resized, cut = (
        {"height": size} if is_whole(size) else dict(size)
        for size in (
            preparation.get("size", {}),
            preparation.get("crop_size", {}),
        )
    )
    side = resized.get("shortest_edge") or resized.get("height")
    crop = 1.0
    if preparation.get("do_center_crop") and side:
        crop = (cut.get("height") or cut.get("shortest_edge") or side) / side
    return {"crop": crop, "stretch": "height" in resized}
