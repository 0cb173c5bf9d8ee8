"""Read the checkpoints that other libraries publish.

All of them hold the same model. What differs are the names, which the tables
below set side by side, and the order of a weight's axes, which an einops
pattern puts right.
"""

import os
import re
from collections import defaultdict
from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from einops import EinopsError, rearrange
from torch import Tensor

from vit_tutorial.checks import check_path
from vit_tutorial.saving import check_is_file

# Ours on the left, theirs on the right. "…" stands for what precedes the names
# of layer {i}, given in the first line; with us it is
# "transformer.layers.{i}.". Only weights are listed: the bias of each has the
# same name but for "bias" at the end. {query,key,value} are three weights of
# theirs that make one of ours. Where ours is repeated, the first lines are one
# spelling of the whole table, the second lines another.
TIMM = """
    …                            blocks.{i}.
    cls_token                    cls_token
    pos_embedding                pos_embed
    to_patch_embedding.1.weight  patch_embed.proj.weight
    …0.norm.weight               …norm1.weight
    …0.fn.to_qkv.weight          …attn.qkv.weight
    …0.fn.to_out.0.weight        …attn.proj.weight
    …1.norm.weight               …norm2.weight
    …1.fn.net.0.weight           …mlp.fc1.weight
    …1.fn.net.3.weight           …mlp.fc2.weight
    mlp_head.0.weight            norm.weight
    mlp_head.0.weight            fc_norm.weight
    mlp_head.1.weight            head.weight
"""
TORCHVISION = """
    …                            encoder.layers.encoder_layer_{i}.
    cls_token                    class_token
    pos_embedding                encoder.pos_embedding
    to_patch_embedding.1.weight  conv_proj.weight
    …0.norm.weight               …ln_1.weight
    …0.fn.to_qkv.weight          …self_attention.in_proj_weight
    …0.fn.to_out.0.weight        …self_attention.out_proj.weight
    …1.norm.weight               …ln_2.weight
    …1.fn.net.0.weight           …mlp.0.weight
    …1.fn.net.0.weight           …mlp.linear_1.weight
    …1.fn.net.3.weight           …mlp.3.weight
    …1.fn.net.3.weight           …mlp.linear_2.weight
    mlp_head.0.weight            encoder.ln.weight
    mlp_head.1.weight            heads.head.weight
"""
HUGGING_FACE = """
    …                            encoder.layer.{i}.
    …                            layers.{i}.
    cls_token                    embeddings.cls_token
    pos_embedding                embeddings.position_embeddings
    to_patch_embedding.1.weight  embeddings.patch_embeddings.projection.weight
    …0.norm.weight               …layernorm_before.weight
    …0.fn.to_qkv.weight          …attention.attention.{query,key,value}.weight
    …0.fn.to_qkv.weight          …attention.{q_proj,k_proj,v_proj}.weight
    …0.fn.to_out.0.weight        …attention.output.dense.weight
    …0.fn.to_out.0.weight        …attention.o_proj.weight
    …1.norm.weight               …layernorm_after.weight
    …1.fn.net.0.weight           …intermediate.dense.weight
    …1.fn.net.0.weight           …mlp.fc1.weight
    …1.fn.net.3.weight           …output.dense.weight
    …1.fn.net.3.weight           …mlp.fc2.weight
    mlp_head.0.weight            layernorm.weight
    mlp_head.1.weight            classifier.weight
"""
GOOGLE = """
    …                            Transformer/encoderblock_{i}/
    cls_token                    cls
    pos_embedding                Transformer/posembed_input/pos_embedding
    pos_embedding                Transformer/posembed_input/pos_embedding
    pos_embedding                pos_embedding
    to_patch_embedding.1.weight  embedding/kernel
    …0.norm.weight               …LayerNorm_0/scale
    …0.fn.to_qkv.weight …MultiHeadDotProductAttention_1/{query,key,value}/kernel
    …0.fn.to_qkv.weight …MultiHeadDotProductAttention_0/{query,key,value}/kernel
    …0.fn.to_out.0.weight        …MultiHeadDotProductAttention_1/out/kernel
    …0.fn.to_out.0.weight        …MultiHeadDotProductAttention_0/out/kernel
    …1.norm.weight               …LayerNorm_2/scale
    …1.norm.weight               …LayerNorm_1/scale
    …1.fn.net.0.weight           …MlpBlock_3/Dense_0/kernel
    …1.fn.net.0.weight           …MlpBlock_0/Dense_0/kernel
    …1.fn.net.3.weight           …MlpBlock_3/Dense_1/kernel
    …1.fn.net.3.weight           …MlpBlock_0/Dense_1/kernel
    mlp_head.0.weight            Transformer/encoder_norm/scale
    mlp_head.1.weight            head/kernel
"""
CONVOLUTION = {"to_patch_embedding.1.weight": "d c p1 p2 -> d (p1 p2 c)"}
FLAX_AXES = {
    "to_patch_embedding.1.weight": "p1 p2 c d -> d (p1 p2 c)",
    "to_qkv.weight": "i h d -> (h d) i",
    "to_qkv.bias": "h d -> (h d)",
    "to_out.0.weight": "h d o -> o (h d)",
    "net.0.weight": "i o -> o i",
    "net.3.weight": "i o -> o i",
    "mlp_head.1.weight": "i o -> o i",
}
READERS = {
    "from_timm": (TIMM, CONVOLUTION),
    "from_torchvision": (TORCHVISION, CONVOLUTION),
    "from_huggingface": (HUGGING_FACE, CONVOLUTION),
    "from_npz": (GOOGLE, FLAX_AXES),
}


def from_timm(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of a timm `VisionTransformer` as those of `ViT`.

    timm's class_token=False with global_pool="avg" is our pool="mean". Build
    the ViT with qkv_bias=True and eps=1e-6, timm's defaults.

    Raises ValueError, naming the keys, for anything but the plain ViT.
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

    Raises ValueError, naming the keys, for anything but the plain ViT.
    """
    return convert("from_torchvision", state_dict)


def from_huggingface(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of a transformers `ViTForImageClassification` as those
    of `ViT`.

    Takes the names on disk and those in the memory of transformers 5, with or
    without "vit." in front. Build the ViT with config.qkv_bias and
    eps=config.layer_norm_eps, which is 1e-12 unless somebody said otherwise.

    Raises ValueError, naming the keys, for anything but the plain ViT.
    """
    return convert(
        "from_huggingface", state_dict, prefix="vit.", optional=("qkv.bias",)
    )


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
    reader: str,
    state_dict: Mapping,
    *,
    prefix: str = "",
    optional: tuple[str, ...] = (),
) -> dict[str, Tensor]:
    """Return their weights with our names and our order of axes.

    Args:
        prefix: taken off their names where it is there.
        optional: ends of our names; a model may have been built without these.
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
    state = {
        name.removeprefix(prefix): tensor for name, tensor in state_dict.items()
    }
    if len(state) < len(state_dict):
        raise ValueError(
            f"{reader} found a name both with {prefix!r} in front and without"
        )
    table, axes = READERS[reader]
    rows = nearest_spelling(table, state)
    for end in optional:
        group = {
            ours: theirs for ours, theirs in rows.items() if ours.endswith(end)
        }
        if not names_in(group) & state.keys():
            rows = {
                ours: theirs
                for ours, theirs in rows.items()
                if ours not in group
            }
    if problem := difference(rows, state):
        raise ValueError(
            f"{reader} cannot read these weights ({problem}). "
            f"{advice(reader, state)}"
        )
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
    return converted


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


def nearest_spelling(table: str, state: Mapping) -> dict[str, list[str]]:
    """Write out a table, with biases and all layers, as {our name: their
    names}.

    Of several spellings, that one which leaves the fewest names of the state
    dict unexplained.
    """
    lines = defaultdict(list)
    for line in table.strip().splitlines():
        ours, theirs = line.split()
        lines[ours].append(theirs)

    def write_out(choice):
        spelling = {
            ours: theirs[min(choice, len(theirs) - 1)]
            for ours, theirs in lines.items()
        }
        before, after = spelling.pop("…").split("{i}")
        layers = {
            n.removeprefix(before).split(after)[0]
            for n in state
            if n.startswith(before)
        }
        rows = {}
        for i in range(max(len(layers), 1)):
            for ours, theirs in spelling.items():
                ours = ours.replace("…", f"transformer.layers.{i}.")
                theirs = theirs.replace("…", f"{before}{i}{after}")
                rows[ours] = in_braces(theirs)
                rows[to_bias(ours)] = in_braces(to_bias(theirs))
        return rows

    spellings = map(write_out, range(max(map(len, lines.values()))))
    return min(spellings, key=lambda rows: len(names_in(rows) ^ state.keys()))


def to_bias(weight: str) -> str:
    return re.sub("(weight|kernel|scale)$", "bias", weight)


def in_braces(name: str) -> list[str]:
    """As a shell reads them: "{q,k}.weight" is "q.weight" and "k.weight"."""
    before, *rest = re.split("[{}]", name)
    return (
        [before + part + rest[1] for part in rest[0].split(",")]
        if rest
        else [name]
    )


def names_in(rows: Mapping[str, list[str]]) -> set[str]:
    return {name for theirs in rows.values() for name in theirs}


def advice(reader: str, state: Mapping) -> str:
    """Return a sentence that says which reader takes these weights."""
    if "to_patch_embedding.1.weight" in state:
        return (
            "They have this package's names already: give them to "
            "ViT.load_state_dict"
        )
    names = dict.fromkeys(name.removeprefix("vit.") for name in state)
    for other, (table, _) in READERS.items():
        expected = names_in(nearest_spelling(table, names))
        if other != reader and len(expected & names.keys()) > len(expected) / 2:
            return f"Their names are those that {other} reads"
    return (
        "Only the plain ViT with its head can be read; load another model "
        "where it comes from"
    )
