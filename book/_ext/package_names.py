"""What the package offers for import, read from its files.

griffe reads them as text: nothing is imported, because the package needs
PyTorch and building does not.
"""

import functools
from pathlib import Path

import griffe

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "vit_tutorial"


@functools.cache
def package():
    """Read the package, without importing any of it."""
    return griffe.load(
        PACKAGE,
        search_paths=[ROOT],
        allow_inspection=False,
        docstring_parser="google",
        docstring_options={
            "warnings": False,  # "mean, std: …" describes two arguments at once
            "returns_multiple_items": False,
            "returns_named_value": False,
        },
    )


def exported():
    """Yield what each `__all__` names: (module, name, object)."""
    for module in [package(), *package().modules.values()]:
        for name in module.exports or []:
            member = module[name]
            yield (
                module,
                name,
                member.final_target if member.is_alias else member,
            )


@functools.cache
def addresses():
    """Return where each public object is imported from: {its path: address}.

    That is the package itself, where it has the name, or else the module that
    defines it; figures are imported from `widgets`.
    """
    found = {}
    for module, name, member in exported():
        found.setdefault(member.path, []).append(
            (len(module.path), module is not member.module, module, name)
        )
    return {
        path: f"{module.path}.{name}"
        for path, places in found.items()
        for *_, module, name in [min(places, key=lambda place: place[:2])]
    }


def members(module):
    """Return a module's public objects in their order, without those that it
    has from another module which makes them public itself."""
    own = [
        member
        for where, _, member in exported()
        if where is module
        and (member.module is module or not member.module.exports)
    ]
    # Figures come from files of their own, and keep the order of `__all__`.
    if all(member.module is module for member in own):
        own.sort(key=lambda member: member.lineno)
    return own


def public_address(name):
    """Find a public name as a docstring writes it, such as `data.normalize`."""
    for address in addresses().values():
        if f".{address}".endswith(f".{name}"):
            return address
    return None
