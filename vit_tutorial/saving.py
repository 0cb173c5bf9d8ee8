"""Save a model to one file, and load it again.

The file is safetensors, which holds numbers and text alone, so loading it runs
none of its author's code. Its metadata says which model to build, and holds a
checksum.
"""

import errno
import hashlib
import json
import math
import os
import stat
import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from vit_tutorial.adapt import LARGEST
from vit_tutorial.checks import check_path
from vit_tutorial.cnn import CNN
from vit_tutorial.positions import POSITIONS
from vit_tutorial.vit import ViT

__all__ = ["load_model", "save_model"]

ARCHITECTURES = {"ViT": ViT, "CNN": CNN}  # what can be saved and loaded
KNOWN = " or a ".join(ARCHITECTURES)
DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


def save_model(model: ViT | CNN, path: str | os.PathLike) -> None:
    """Write a model's weights, `config` and `facts` into one safetensors file.

    The file appears only when it is complete; until then it is written under
    another name in the same folder. A symbolic link stays, and the file it
    points to is replaced. A file that is replaced passes on its permissions.

    Raises ValueError for anything but a ViT or our CNN, for weights that its
    config would not build, that hold NaN or that are tied, and for facts that
    are more than strings, finite numbers, lists, tuples and dictionaries;
    OSError, naming the path, for a read-only file, a folder, or a disk that is
    full.
    """
    kind = type(model).__name__
    if ARCHITECTURES.get(kind) is not type(model):
        raise ValueError(
            f"save_model takes a {KNOWN}, not a {kind}; a wrapper holds it "
            "inside (compiled._orig_mod, parallel.module)"
        )
    path = check_path(path)
    target = file_to_write(path)
    metadata = {
        "format": "pt",
        "architecture": kind,
        "arguments": to_json(model.config, "config"),
        "facts": to_json(model.facts, "facts"),
    }
    state = model.state_dict()
    try:
        empty = build(kind, model.config, state)
        check_facts(model.facts, model)
    except ValueError as error:
        raise ValueError(
            f"not written: this {kind} is not what its config builds: {error}"
        ) from error
    try:
        check_numbers(state, empty.state_dict())
        check_not_tied(state)
    except ValueError as error:
        raise ValueError(f"not written: {error}") from error
    # clone: safetensors takes no tensors that share memory, as views may
    state = {name: t.cpu().contiguous().clone() for name, t in state.items()}
    metadata["sha256"] = checksum(metadata, state)
    try:
        with tempfile.TemporaryDirectory(
            dir=target.parent, prefix=".saving-"
        ) as folder:
            unfinished = Path(folder, target.name)
            unfinished.write_bytes(save(state, metadata))
            if target.exists():
                unfinished.chmod(stat.S_IMODE(target.stat().st_mode))
            os.replace(unfinished, target)
    except OSError as error:  # names the temporary file, or none
        reason = error.strerror or str(error)
        raise OSError(error.errno, reason, str(path)) from error


def load_model(path: str | os.PathLike) -> ViT | CNN:
    """Build the model that `save_model` wrote: in eval mode, on the CPU, in the
    dtype it had.

    Raises ValueError, naming the file and the keys, for a file that is damaged,
    was not written by `save_model` or contradicts itself; FileNotFoundError
    where there is none, and another OSError for a folder or a pipe. The
    checksum reveals a flipped bit; the very first files have none.
    """
    path = check_path(path)
    metadata, state = read_file(path)
    expected = metadata.pop("sha256", None)
    if expected not in (None, checksum(metadata, state)):
        raise ValueError(
            f"{path} is damaged: what it holds does not have the SHA-256 sum "
            "that it gives; fetch it again, or write it again with save_model"
        )
    if "arguments" not in metadata:
        raise ValueError(
            f"{path} was not written by save_model: it does not say which "
            "model to build. Read another library's file with "
            "safetensors.torch.load_file, then convert it with from_timm, "
            "from_torchvision or from_huggingface"
        )
    try:
        arguments = from_json(metadata["arguments"])
        facts = from_json(metadata.get("facts", "{}"))
        model = build(metadata.get("architecture", "ViT"), arguments, state)
        check_facts(facts, model)
        check_numbers(state, model.state_dict())
    except (RecursionError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} does not hold the model that it describes: {error}"
        ) from error
    if isinstance(model, ViT):  # what is computed is in no file
        POSITIONS[model.position].make(model)
    model.load_state_dict(state, assign=True)
    model.facts = facts
    return model.to(next(model.parameters()).dtype).eval()


def file_to_write(path: Path) -> Path:
    """Return the file that a path leads to, through symbolic links.

    Raises OSError where it cannot or should not be replaced.
    """
    target = Path(os.path.realpath(path))
    if target.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    if not target.parent.is_dir():
        raise FileNotFoundError(
            f"there is no folder {target.parent}; create it first"
        )
    if target.exists():
        check_is_file(target, path)
        writable = stat.S_IMODE(target.stat().st_mode) & 0o222
        if not writable or not os.access(target, os.W_OK):
            raise PermissionError(
                f"{path} is read-only; make it writable (chmod u+w), or save "
                "under another name"
            )
    return target


def check_is_file(target: Path, path: Path, name="model.safetensors") -> None:
    """Raise OSError for a folder, and for a pipe, where a read would wait."""
    if target.is_dir():
        raise IsADirectoryError(
            f"{path} is a folder; give the path of a file, such as "
            f"{path / name}"
        )
    if not target.is_file():
        raise OSError(f"{path} is not a regular file, but a pipe or a device")


def read_file(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Return the metadata and the tensors of a safetensors file.

    Raises ValueError, naming the file, for anything else.
    """
    if path.exists():
        check_is_file(path, path)
    content = path.read_bytes()
    try:
        state = load(content)
        end = 8 + int.from_bytes(content[:8], "little")
        metadata = json.loads(content[8:end]).get("__metadata__") or {}
    except (  # by what is wrong with it
        AssertionError,
        KeyError,
        RuntimeError,
        SafetensorError,
        TypeError,
        ValueError,
    ) as error:
        raise ValueError(
            f"{path} is damaged, cut short or no safetensors file ({error}); "
            "fetch it again, or write it again with save_model"
        ) from error
    return metadata, state


def build(
    architecture: str, arguments: object, state: dict[str, Tensor]
) -> ViT | CNN:
    """Build a model without numbers, on the meta device, for these weights.

    This takes neither time nor memory, whatever the arguments say. Raises
    ValueError where names or shapes do not fit.
    """
    if architecture not in ARCHITECTURES:
        raise ValueError(
            f"its architecture is {architecture!r}, and load_model builds a "
            f"{KNOWN}"
        )
    if not isinstance(arguments, dict):
        raise ValueError(
            f"its arguments should be a dict, not {type(arguments).__name__}"
        )
    layers = {
        name.split(".")[2]
        for name in state
        if name.startswith("transformer.layers.")
    }
    depth = arguments.get("depth")
    if isinstance(depth, int) and depth > len(layers):
        raise ValueError(
            f"its depth is {depth}, and the file holds {len(layers)} layers"
        )
    try:
        with torch.device("meta"):
            model = ARCHITECTURES[architecture](**arguments)
            model.load_state_dict({n: t.to("meta") for n, t in state.items()})
    except Exception as error:  # what arguments of any kind may raise
        raise ValueError(str(error)) from error
    for name, table in model.named_buffers():
        if name not in state and table.numel() > LARGEST:
            assert isinstance(model, ViT)  # a CNN computes no table
            rows, columns = model.grid
            raise ValueError(
                f"{name}, positions for {rows} x {columns} patches, is too "
                "large to compute"
            )
    return model


def check_facts(facts: object, model: ViT | CNN) -> None:
    """Raise ValueError for facts that are no dict or name an argument."""
    if not isinstance(facts, dict):
        raise ValueError(
            f"its facts should be a dict, not {type(facts).__name__}"
        )
    if twice := [name for name in facts if name in model.config]:
        raise ValueError(
            f"it gives {', '.join(twice)} twice, as an argument and as a fact"
        )


def check_numbers(state: dict[str, Tensor], like: dict[str, Tensor]) -> None:
    """Raise ValueError for weights that no model could compute with.

    Args:
        like: the weights of a model that was just built, whose order decides
            what is named first: a file's own order is arbitrary.
    """
    first = None
    for name in like:
        tensor = state[name]
        if tensor.is_meta:
            raise ValueError(
                f"{name} is on the meta device, so it holds no numbers"
            )
        if not like[name].is_floating_point():
            if tensor.dtype != like[name].dtype:
                raise ValueError(
                    f"{name} is {short(tensor)}, and should be "
                    f"{short(like[name])}"
                )
            continue
        if tensor.dtype not in DTYPES:
            raise ValueError(
                f"{name} is {short(tensor)}; weights are float64, float32, "
                "float16 or bfloat16"
            )
        first = first or name
        if tensor.dtype != state[first].dtype:
            raise ValueError(
                f"{name} is {short(tensor)}, but {first} is "
                f"{short(state[first])}; convert the model to one dtype"
            )
        if not tensor.isfinite().all():
            raise ValueError(f"{name} holds NaN or infinity")


def short(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def check_not_tied(state: dict[str, Tensor]) -> None:
    """Raise ValueError for one tensor with two names: it would load as two."""
    names = {}
    for name, tensor in state.items():
        one = names.setdefault((tensor.device, tensor.data_ptr()), name)
        if one != name:
            raise ValueError(
                f"{one} and {name} are one tensor, and would be loaded as two; "
                "give each its own (clone) first"
            )


def checksum(metadata: dict[str, str], state: dict[str, Tensor]) -> str:
    """Return the SHA-256 sum of all that a file says, in alphabetical order:
    safetensors writes metadata in no fixed order."""
    digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name, tensor in sorted(state.items()):
        what = [name, short(tensor), list(tensor.shape)]
        digest.update(json.dumps(what).encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def to_json(values: dict, name: str) -> str:
    """Return plain values as JSON, with tuples marked, so that `from_json`
    gives back the very same.

    Raises ValueError, saying where in `name`, for what JSON cannot hold.
    """

    def mark(value, where):
        if isinstance(value, dict):
            for key in value:
                if not isinstance(key, str):
                    raise ValueError(
                        f"{where} has the key {key!r}; only strings can be keys"
                    )
            if [*value] == ["tuple"]:
                raise ValueError(
                    f"{where} has the only key 'tuple', which stands for a "
                    "tuple in the file; choose another"
                )
            return {k: mark(v, f"{where}[{k!r}]") for k, v in value.items()}
        if isinstance(value, list | tuple):
            items = [mark(v, f"{where}[{i}]") for i, v in enumerate(value)]
            return {"tuple": items} if isinstance(value, tuple) else items
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(
                f"{where} is {value}; only finite numbers are kept"
            )
        if value is None or isinstance(value, str | int | float):
            return value
        raise ValueError(
            f"{where} is a {type(value).__name__}; {name} holds strings, "
            "numbers, lists, tuples and dictionaries only"
        )

    return json.dumps(mark(values, name))


def from_json(text: str) -> Any:
    def unmark(value):
        if [*value] != ["tuple"]:
            return value
        if not isinstance(value["tuple"], list):
            raise ValueError(
                f"a tuple should be written as a list, got {value}"
            )
        return tuple(value["tuple"])

    def refuse(constant):
        raise ValueError(f"{constant} is no number of JSON")

    return json.loads(text, object_hook=unmark, parse_constant=refuse)
