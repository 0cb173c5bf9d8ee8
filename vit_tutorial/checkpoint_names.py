"""What each library calls the weights of a Vision Transformer.

All of them hold the same model. The tables set their names side by side, and
an einops pattern puts the order of a weight's axes right.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

# The pages read the same tables, so they stand in a module of theirs: that is
# where to look, and where to add a name.
MODULE = Path(__file__).parent / "widgets" / "engine" / "checkpoint_names.js"
TABLES = dict(
    re.findall(
        r"^export const (\w+) = `\n(.*?)`;",
        MODULE.read_text("utf8"),
        re.M | re.S,
    )
)
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
    "from_timm": (TABLES["TIMM"], CONVOLUTION),
    "from_torchvision": (TABLES["TORCHVISION"], CONVOLUTION),
    "from_huggingface": (TABLES["HUGGING_FACE"], CONVOLUTION),
    "from_npz": (TABLES["GOOGLE"], FLAX_AXES),
}
MORE_TABLES = {
    "from_timm": (TABLES["TIMM"] + TABLES["TIMM_LAYER_SCALE"],),
    "from_huggingface": (TABLES["HUGGING_FACE_DINOV2"],),
}
PREFIXES = tuple(TABLES["PREFIXES"].split())
UNUSED = tuple(TABLES["UNUSED"].split())
FOREIGN = dict(
    line.split(maxsplit=1) for line in TABLES["FOREIGN"].strip().splitlines()
)


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
    best = max(known, key=known.__getitem__)
    return best if known[best] > 1 / 2 else None
