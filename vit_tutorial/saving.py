"""Save a model to one file, and load it again.

The file is safetensors: numbers and text alone, so loading one runs no code of
its writer.
"""

import inspect
import json
import os
import tempfile
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from vit_tutorial.cnn import CNN
from vit_tutorial.vit import ViT

ARCHITECTURES = {"ViT": ViT, "CNN": CNN}  # what can be saved and loaded


def save_model(model: ViT | CNN, path: str | os.PathLike) -> None:
    """Write a model's weights and its `config` into one safetensors file.

    Until it is complete the file has another name, in the same folder.

    Raises ValueError for anything but a ViT or our CNN, for weights that its config would not
    build, and for a config of more than strings, numbers, lists, tuples and dictionaries.
    """
    kind = type(model).__name__
    if ARCHITECTURES.get(kind) is not type(model):
        raise ValueError(
            f"save_model takes a {' or a '.join(ARCHITECTURES)}, not a {kind}; a wrapper holds it "
            "inside (compiled._orig_mod, parallel.module)"
        )
    path = Path(path)
    known = inspect.signature(type(model)).parameters
    arguments = {name: value for name, value in model.config.items() if name in known}
    facts = {name: value for name, value in model.config.items() if name not in known}
    metadata = {
        "format": "pt",
        "architecture": kind,
        "arguments": to_json(arguments),
        "facts": to_json(facts),
    }
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    try:
        with torch.device("meta"):  # names and shapes, no memory
            type(model)(**arguments).load_state_dict(state, assign=True)
    except RuntimeError as error:
        raise ValueError(
            f"not written: this {kind} is not what its config builds: {error}"
        ) from error
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as folder:
        unfinished = Path(folder, path.name)
        unfinished.write_bytes(save(state, metadata))
        os.replace(unfinished, path)


def load_model(path: str | os.PathLike) -> ViT | CNN:
    """Build the model that `save_model` wrote: in eval mode, on the CPU, in the dtype it had.

    Raises ValueError, naming the file and the keys, for a file that is damaged, was not written by
    `save_model` or does not fit itself; FileNotFoundError where there is none.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            # clone: the tensors are windows into the file, and would change with it
            state = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(
            f"{path} is damaged, cut short or no safetensors file ({error}); fetch it again, "
            "or write it again with save_model"
        ) from error
    if "arguments" not in metadata:
        raise ValueError(
            f"{path} was not written by save_model: it does not say which model to build. Read "
            "another library's file with safetensors.torch.load_file, then convert it with "
            "from_timm, from_torchvision or from_huggingface"
        )
    try:
        arguments, facts = (from_json(metadata.get(key, "{}")) for key in ("arguments", "facts"))
        architecture = ARCHITECTURES[metadata.get("architecture", "ViT")]
        with torch.random.fork_rng(devices=[]):  # leaves the caller's random numbers as they were
            model = architecture(**arguments)
        model.load_state_dict(state, assign=True)
        model.config |= facts
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"{path} does not hold the model that it describes: {error}") from error
    if isinstance(model, ViT) and model.position == "sincos_2d":  # computed, so not in the file
        model.pos_sincos = model.pos_sincos.to(model.mlp_head[1].weight)  # the dtype of the rest
    return model.eval()


def to_json(value: object) -> str:
    """Write plain values as JSON, tuples marked, so that `from_json` gives back the very same."""

    def mark_tuples(value):
        if isinstance(value, dict):
            return {key: mark_tuples(item) for key, item in value.items()}
        if isinstance(value, tuple):
            return {"tuple": [mark_tuples(item) for item in value]}
        return [mark_tuples(item) for item in value] if isinstance(value, list) else value

    try:
        text = json.dumps(mark_tuples(value))
    except TypeError as error:
        raise ValueError(f"a config holds plain Python values only: {error}") from error
    if from_json(text) != value:
        raise ValueError(f"JSON cannot hold this config (are all keys strings?): {value}")
    return text


def from_json(text: str) -> object:
    return json.loads(text, object_hook=lambda d: tuple(d["tuple"]) if [*d] == ["tuple"] else d)
