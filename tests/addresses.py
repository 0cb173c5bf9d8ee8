"""What stands in the address of a page: read here as page/address.js says that it is written."""

from base64 import b64decode, b64encode
from urllib.parse import parse_qsl, urlencode, urlparse

import numpy as np
import traitlets


def fragment(address) -> dict:
    """The names and texts in an address's fragment; none for an address without one."""
    return dict(parse_qsl(urlparse(address).fragment, keep_blank_values=True, strict_parsing=False))


def state_in(address, figure) -> dict:
    """The part of a figure's state that an address holds: what differs from its beginning."""
    head = {"vt": "2", "figure": figure.script}
    parts = fragment(address)
    assert {name: parts.pop(name, None) for name in head} == head
    parts.pop("number", None)
    return {name: value(text, figure.class_traits()[name], name) for name, text in parts.items()}


def fragment_for(figure, state, version="2", number=0) -> str:
    """Write the fragment of a link that gives a figure this state."""
    parts = {"vt": version, "figure": figure.script} | ({"number": number} if number else {})
    return urlencode(parts | {name: written(value, name) for name, value in state.items()})


def written(value, name):
    if name == "own":
        pixels = np.frombuffer(b64decode(value), np.uint8)
        assert len({*pixels}) == 1  # of one grey, so that all its bits are 0
        letters = b64encode(bytes(-(-len(pixels) // 8))).decode().rstrip("=")
        return f"{len(pixels)}.{pixels[0]:02x}.{letters}"
    if isinstance(value, list):
        return ".".join(
            "_".join(map(str, each)) if isinstance(each, list) else str(each) for each in value
        )
    return str(value).lower() if isinstance(value, bool) else str(value)


def value(text, trait, name):
    if name == "own":
        return image(text)
    if isinstance(trait, traitlets.List):
        return [number for part in text.split(".") if part for number in numbers(part)]
    if isinstance(trait, traitlets.Bool):
        return {"true": True, "false": False}[text]
    if isinstance(trait, traitlets.Unicode):
        return text
    return float(text) if isinstance(trait, traitlets.Float) else int(text)


def numbers(part):
    if "_" in part:
        return [[int(number) for number in part.split("_")]]
    first, _, last = part.partition("-")
    return range(int(first), int(last or first) + 1)


def image(text):
    """An image's bytes, in base64: their number, its greys, and which grey each pixel has."""
    if not text:
        return ""
    count, greys, letters = text.split(".")
    greys = np.frombuffer(bytes.fromhex(greys), np.uint8)
    bits = 1 if len(greys) <= 2 else 2 if len(greys) <= 4 else 4
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    stream = "".join(f"{alphabet.index(letter):06b}" for letter in letters)
    packed = [int(stream[i : i + 8], 2) for i in range(0, len(stream) // 8 * 8, 8)]
    which = [byte >> shift & (2**bits - 1) for byte in packed for shift in range(0, 8, bits)]
    return b64encode(greys[which[: int(count)]].tobytes()).decode()
