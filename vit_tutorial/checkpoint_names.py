"""What each library calls the weights of a Vision Transformer.

All of them hold the same model. The tables set their names side by side, and
an einops pattern puts the order of a weight's axes right.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping

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
# DINOv2 multiplies what each half of a layer adds by LayerScale's factors, one
# for each of the D entries; `fold_layer_scale` puts them into the weights.
TIMM_LAYER_SCALE = """
    …0.fn.to_out.0.gamma         …ls1.gamma
    …1.fn.net.3.gamma            …ls2.gamma
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
HUGGING_FACE_DINOV2 = """
    …                            encoder.layer.{i}.
    cls_token                    embeddings.cls_token
    pos_embedding                embeddings.position_embeddings
    to_patch_embedding.1.weight  embeddings.patch_embeddings.projection.weight
    …0.norm.weight               …norm1.weight
    …0.fn.to_qkv.weight          …attention.attention.{query,key,value}.weight
    …0.fn.to_qkv.weight          …attention.{q_proj,k_proj,v_proj}.weight
    …0.fn.to_out.0.weight        …attention.output.dense.weight
    …0.fn.to_out.0.weight        …attention.o_proj.weight
    …0.fn.to_out.0.gamma         …layer_scale1.lambda1
    …1.norm.weight               …norm2.weight
    …1.fn.net.0.weight           …mlp.fc1.weight
    …1.fn.net.3.weight           …mlp.fc2.weight
    …1.fn.net.3.gamma            …layer_scale2.lambda1
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
MORE_TABLES = {
    "from_timm": (TIMM + TIMM_LAYER_SCALE,),
    "from_huggingface": (HUGGING_FACE_DINOV2,),
}
# Hugging Face's classes put their own name in front of the model's names.
PREFIXES = ("vit.", "dinov2.", "deit.")
# Weights that no prediction depends on: the token that stands for a hidden
# patch in training, and the layer after what we read of a ViTModel.
UNUSED = (
    "mask_token",
    "embeddings.mask_token",
    "pooler.dense.weight",
    "pooler.dense.bias",
)
# Parts that our ViT has not, by a piece of their names.
FOREIGN = {
    "reg_token": "register tokens",
    "register_tokens": "register tokens",
    "dist_token": "a distillation token",
    "distillation_token": "a distillation token",
    "rel_pos": "relative positions",
    "relative_position": "relative positions",
    "attn_pool": "attention pooling",
    "MAPHead": "attention pooling",
    "q_norm": "a norm on its queries and keys",
    "gate_proj": "a gated MLP",
    "mlp.weights_in": "a gated MLP",
}


def nearest_spelling(reader: str, state: Mapping) -> dict[str, list[str]]:
    """Write a reader's table out, with biases and all layers, as {our name:
    their names}.

    Of several tables and spellings, take the one that leaves the fewest names
    of the state dict unexplained.
    """
    tables = (READERS[reader][0], *MORE_TABLES.get(reader, ()))
    written = [rows for table in tables for rows in write_out(table, state)]
    return min(written, key=lambda rows: len(names_in(rows) ^ state.keys()))


def write_out(table: str, state: Mapping) -> Iterator[dict[str, list[str]]]:
    """Yield a table in each of its spellings, for as many layers as the state
    dict has."""
    lines = defaultdict(list)
    words = table.split()
    for ours, theirs in zip(words[::2], words[1::2], strict=True):
        lines[ours].append(theirs)
    for choice in range(max(map(len, lines.values()))):
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
        yield rows


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


def bare(name: str) -> str:
    """Return a name without that of Hugging Face's class in front of it."""
    for prefix in PREFIXES:
        name = name.removeprefix(prefix)
    return name


def reader_of(state: Mapping) -> str | None:
    """Name the reader that knows these names, or more than half of those that
    a model has."""
    names = dict.fromkeys(map(bare, state))
    known = {}
    for reader in READERS:
        expected = names_in(nearest_spelling(reader, names))
        known[reader] = len(expected & names.keys()) / len(expected)
    best = max(known, key=known.get)
    return best if known[best] > 1 / 2 else None
