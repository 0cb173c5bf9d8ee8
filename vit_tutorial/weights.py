"""Read the checkpoints that other libraries publish.

All of them hold the same model. What differs are the names and the order of a
weight's axes; both stand in the tables of `checkpoint_names`.

A model without a head, such as DINO, gives the class token as its last norm
leaves it, D features of the image. Here the identity is its head, so that its
"logits" are these features.
"""

import os
from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from einops import EinopsError, rearrange
from torch import Tensor

from vit_tutorial.checkpoint_names import (
    FOREIGN,
    PREFIXES,
    READERS,
    UNUSED,
    bare,
    names_in,
    nearest_spelling,
    reader_of,
)
from vit_tutorial.checkpoint_names import in_braces as in_braces
from vit_tutorial.checkpoint_names import to_bias as to_bias
from vit_tutorial.checks import check_path
from vit_tutorial.saving import check_is_file

__all__ = ["from_huggingface", "from_npz", "from_timm", "from_torchvision"]


def from_timm(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of a timm `VisionTransformer` as those of `ViT`.

    DINO, DINOv2 and DeiT are such models; so are the files that Meta publishes.
    timm's class_token=False with global_pool="avg" is our pool="mean". Build
    the ViT with qkv_bias=True and eps=1e-6, timm's defaults. Without a head,
    num_classes is dim.

    Raises ValueError, naming the keys, for parts that our ViT lacks.
    """
    state = convert(
        "from_timm",
        state_dict,
        optional=("cls_token", "pos_embedding", "qkv.bias"),
    )
    if ("cls_token" in state_dict) == ("fc_norm.weight" in state_dict):
        raise ValueError(
            "from_timm reads a class token followed by norm.*, or no class "
            "token and fc_norm.*: a model that averages beside a class token, "
            "or after its last norm, has other logits"
        )
    return state


def from_torchvision(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of a torchvision `VisionTransformer` as those of
    `ViT`.

    Build the ViT with qkv_bias=True and eps=1e-6, as torchvision does.

    Raises ValueError, naming the keys, for parts that our ViT lacks.
    """
    return convert("from_torchvision", state_dict)


def from_huggingface(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of a transformers `ViTForImageClassification`,
    `ViTModel` or `Dinov2Model` as those of `ViT`.

    Takes the names on disk and those in the memory of transformers 5, with or
    without "vit." in front. Build the ViT with config.qkv_bias and
    eps=config.layer_norm_eps, which is 1e-12 unless somebody said otherwise
    (1e-6 for DINOv2). Without a classifier, num_classes is dim, and what the
    ViT gives is last_hidden_state[:, 0]. For smaller images `adapt` resizes
    the positions with antialiasing, as timm does, and transformers without.

    Raises ValueError, naming the keys, for parts that our ViT lacks.
    """
    return convert("from_huggingface", state_dict, optional=("qkv.bias",))


def from_npz(path: str | os.PathLike) -> dict[str, Tensor]:
    """Read the weights of an official .npz file as those of `ViT`.

    Takes the names of the published files, of today's Flax and of big_vision,
    which gives the class token no position: here it gets zeros. Build the ViT
    with qkv_bias=True and eps=1e-6, as the official code does.

    Raises ValueError for a damaged file and, naming the keys, for anything but
    the plain ViT with a class token; FileNotFoundError where there is no file,
    and another OSError for a folder or a pipe.
    """
    path = check_path(path)
    if path.exists():
        check_is_file(path, path, "model.npz")
    with open(path, "rb") as file:
        try:
            archive = np.load(file, allow_pickle=False)
            state = {name: as_tensor(archive[name]) for name in archive.files}
        except Exception as error:  # numpy and zipfile raise a dozen kinds
            raise ValueError(
                f"{path} is damaged, cut short or no .npz file of plain "
                f"numbers ({error}); fetch it again"
            ) from error
    # In a training state, the model is a part.
    for prefix in ("opt/target/", "params/"):
        if any(name.startswith(prefix) for name in state):
            state = {
                n.removeprefix(prefix): t
                for n, t in state.items()
                if n.startswith(prefix)
            }
    converted = convert("from_npz", state, optional=("pos_embedding",))
    if (
        "pos_embedding" in state
    ):  # of the patches alone, so says its place outside "Transformer/"
        converted["pos_embedding"] = F.pad(
            converted["pos_embedding"], (0, 0, 1, 0)
        )
    return converted


def as_tensor(array: np.ndarray) -> Tensor:
    if array.dtype == "V2":  # bfloat16, for which numpy has no name
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def convert(
    reader: str, state_dict: Mapping, *, optional: tuple[str, ...] = ()
) -> dict[str, Tensor]:
    """Return their weights with our names and our order of axes.

    optional: pieces of our names; a model may have been built without these.
    """
    state = check_names(reader, state_dict)
    rows = nearest_spelling(reader, state)
    for piece in (*optional, "mlp_head.1."):
        group = {ours: theirs for ours, theirs in rows.items() if piece in ours}
        if not names_in(group) & state.keys():
            rows = {ours: rows[ours] for ours in rows if ours not in group}
    if problem := difference(rows, state):
        raise ValueError(
            f"{reader} cannot read these weights ({problem}). "
            f"{advice(reader, state)}"
        )
    _, axes = READERS[reader]
    converted = {}
    for ours, theirs in rows.items():
        pattern = next((axes[end] for end in axes if ours.endswith(end)), None)
        parts = [state[name].detach() for name in theirs]
        try:
            converted[ours] = torch.cat(
                [rearrange(t, pattern) if pattern else t for t in parts]
            )
        except (EinopsError, RuntimeError) as error:
            raise ValueError(
                f"{reader} cannot read {', '.join(theirs)}: {error}"
            ) from error
    converted = fold_layer_scale(converted)
    if "mlp_head.1.weight" not in converted:
        norm = converted["mlp_head.0.weight"]
        converted["mlp_head.1.weight"] = torch.eye(*norm.shape).to(norm)
        converted["mlp_head.1.bias"] = torch.zeros_like(norm)
    check_widths(reader, rows, converted)
    return converted


def check_names(reader: str, state_dict: Mapping) -> dict:
    """Return a state dict with the names as the tables have them.

    Raises ValueError for anything but a state dict.
    """
    if not isinstance(state_dict, Mapping):
        raise ValueError(
            f"{reader} takes model.state_dict(), not a "
            f"{type(state_dict).__name__}"
        )
    if other := [key for key in state_dict if not isinstance(key, str)]:
        raise ValueError(
            f"{reader} takes model.state_dict(), whose keys are names; found "
            f"the key {other[0]!r}"
        )
    plain = bare if reader == "from_huggingface" else str
    state = {plain(name): tensor for name, tensor in state_dict.items()}
    if len(state) < len(state_dict):
        prefix = next(p for p in PREFIXES if any(p in n for n in state_dict))
        raise ValueError(
            f"{reader} found a name both with {prefix!r} in front and without"
        )
    return {name: t for name, t in state.items() if name not in UNUSED}


def fold_layer_scale(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Multiply LayerScale's factors g into the layer before them: g(Wx + b) is
    (gW)x + gb.

    Half precision becomes float32, which holds these products exactly.
    """
    scales = [name for name in state if name.endswith(".gamma")]
    if not scales:
        return state
    state = {
        name: tensor.to(torch.promote_types(tensor.dtype, torch.float32))
        for name, tensor in state.items()
    }
    for name in scales:
        gamma, layer = state.pop(name), name.removesuffix("gamma")
        state[f"{layer}weight"] = gamma[:, None] * state[f"{layer}weight"]
        state[f"{layer}bias"] = gamma * state[f"{layer}bias"]
    return state


def check_widths(
    reader: str, rows: Mapping[str, list[str]], state: Mapping[str, Tensor]
) -> None:
    """Raise ValueError for two layers whose names fit, but not their widths:
    parts that our ViT lacks may hide behind known names."""
    dim = state["mlp_head.0.weight"].shape[0]
    head = state["mlp_head.1.weight"]
    if head.shape[1:] != (dim,):
        raise ValueError(
            f"{reader} cannot read {', '.join(rows['mlp_head.1.weight'])}: it "
            f"has the shape {tuple(head.shape)}, and a head reads the class "
            f"token's {dim} entries alone"
        )
    first = "transformer.layers.0.1.fn.net.0.weight"
    second = "transformer.layers.0.1.fn.net.3.weight"
    if state[first].shape[:1] != state[second].shape[1:]:
        raise ValueError(
            f"{reader} cannot read {rows[first][0]}: it gives "
            f"{state[first].shape[0]} entries, and {rows[second][0]} takes "
            f"{tuple(state[second].shape)[1:]}; a gated MLP is no part of our "
            "ViT"
        )


def difference(rows: Mapping[str, list[str]], state: Mapping) -> str:
    """Return the first few differences between a state dict and a table, or
    ""."""
    expected = names_in(rows)
    problems = {
        "missing": [
            name
            for theirs in rows.values()
            for name in theirs
            if name not in state
        ],
        "unknown": [name for name in state if name not in expected],
        "not floating-point numbers": [
            name
            for name, tensor in state.items()
            if not (
                isinstance(tensor, Tensor)
                and tensor.is_floating_point()
                and tensor.layout == torch.strided  # neither sparse nor nested
            )
        ],
    }
    return "; ".join(
        f"{problem}: {', '.join(names[:3])}"
        + (f" and {len(names) - 3} more" if names[3:] else "")
        for problem, names in problems.items()
        if names
    )


def advice(reader: str, state: Mapping) -> str:
    """Return a sentence that says which reader takes these weights, or why
    none does."""
    if "to_patch_embedding.1.weight" in state:
        return (
            "They have this package's names already: give them to "
            "ViT.load_state_dict"
        )
    other = reader_of(state)
    if other not in (None, reader):
        return f"Their names are those that {other} reads"
    for piece, part in FOREIGN.items():
        if any(piece in name for name in state):
            return f"This model has {part}, which our ViT does not have"
    return (
        "Only the plain ViT can be read; load another model where it comes from"
    )
