"""A model's weights for a page: a byte each, in text that a script can carry.

The standard library is all this file needs, for it also runs where the book is
built, and there is no PyTorch there.
"""

import json
import math
import struct
import sys
from array import array
from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path

COUNTER = ".num_batches_tracked"  # of BatchNorm, which no page needs
NOTHING = 1e-30  # rows below this become zeros: float32 has no scale for them
# name -> shape, values row by row
Tensors = Mapping[str, tuple[tuple[int, ...], array]]


def quantise(tensors: Tensors, config: Mapping) -> dict:
    """Put weights into what `vit.js` reads.

    Args:
        tensors: name -> (shape, float32 numbers). Each row, along the last
            axis, gets a scale, a float32, and each of its numbers becomes a
            whole one from -127 to 127. A convolution's row is a whole filter,
            (c, 3, 3). A tensor of a single row (a bias, say) stays float32:
            there is little of it.
        config: what JSON can hold, and NumPy's numbers; it goes along.

    Returns:
        {"config", "tensors": name -> shape, "data": base64 of first every
            float32, then the bytes}.

    The same weights give the same text on every machine. Raises ValueError for
    a number that is not finite, and for a config that JSON cannot hold.
    """
    floats, integers = array("f"), array("b")
    for name, (shape, numbers) in tensors.items():
        if not all(map(math.isfinite, numbers)):
            raise ValueError(
                f"{name} holds a value that is not finite: no page can show "
                "this model"
            )
        length = row_length(shape)
        if len(numbers) == length:
            floats.extend(numbers)
            continue
        for start in range(0, len(numbers), length):
            row = numbers[start : start + length]
            largest = max(map(abs, row))
            floats.append(largest / 127 if largest > NOTHING else 1.0)
            scale = floats[-1]  # as float32 has it
            integers.extend([round(number / scale) for number in row])
    if sys.byteorder == "big":
        floats.byteswap()
    return {
        "config": {key: plain(key, value) for key, value in config.items()},
        "tensors": {name: list(shape) for name, (shape, _) in tensors.items()},
        "data": b64encode(floats.tobytes() + integers.tobytes()).decode(),
    }


def plain(key: str, value: object) -> object:
    """Return a value as JSON gives it back: a tuple is a list there, NumPy's 28
    a plain 28."""
    try:
        return json.loads(
            json.dumps(
                value, allow_nan=False, default=lambda each: each.tolist()
            )
        )
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(
            f"no page can read {key} = {value!r:.80} of the model's config or "
            f"facts: {error}"
        ) from None


def row_length(shape: Sequence[int]) -> int:
    """Say how many numbers of a tensor share a scale: a row, or a convolution's
    whole filter."""
    return math.prod(shape[1:]) if len(shape) == 4 else math.prod(shape[-1:])


def read_checkpoint(path: Path) -> tuple[Tensors, dict]:
    """Read what `save_model` wrote: its tensors, which must be float32, and,
    in one, its arguments and facts.

    Raises ValueError for a file that is something else.
    """
    content = path.read_bytes()
    try:
        (length,) = struct.unpack_from("<Q", content)
        header = json.loads(content[8 : 8 + length])
        metadata = header.pop("__metadata__")
        config = {
            key: value
            for part in ("arguments", "facts")
            for key, value in json.loads(
                metadata[part], object_hook=untag
            ).items()
        }
        tensors = {}
        for name in sorted(header):
            if name.endswith(COUNTER):
                continue
            if header[name]["dtype"] != "F32":
                raise ValueError(f"{name} is {header[name]['dtype']}")
            start, end = header[name]["data_offsets"]
            numbers = array("f", content[8 + length + start : 8 + length + end])
            if sys.byteorder == "big":
                numbers.byteswap()
            tensors[name] = tuple(header[name]["shape"]), numbers
    except (KeyError, ValueError, struct.error) as error:
        raise ValueError(
            f"{path} is no float32 checkpoint of save_model's: {error}"
        ) from error
    return tensors, config


def untag(value: dict) -> dict | list:
    return value["tuple"] if [*value] == ["tuple"] else value


def model_script(name: str, payload: Mapping) -> str:
    """Write the script that hands a model to the book's pages, which a page may
    load as a file."""
    models = "(globalThis.vitTutorialModels ??= {})"
    return f"{models}[{json.dumps(name)}] = {json.dumps(payload)};\n"
