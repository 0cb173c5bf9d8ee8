"""The sizes that the paper and its official code name, in one table."""

from typing import Any

from vit_tutorial.checks import check_sizes
from vit_tutorial.vit import ViT

__all__ = ["SIZES", "VARIANTS", "create_vit"]

SIZES = {
    "Ti": {"dim": 192, "depth": 12, "heads": 3, "mlp_dim": 768},
    "S": {"dim": 384, "depth": 12, "heads": 6, "mlp_dim": 1536},
    "B": {"dim": 768, "depth": 12, "heads": 12, "mlp_dim": 3072},
    "L": {"dim": 1024, "depth": 24, "heads": 16, "mlp_dim": 4096},
    "H": {"dim": 1280, "depth": 32, "heads": 16, "mlp_dim": 5120},
}
"""The arguments of each named size of ViT.

Source: table 1 of the paper for B, L and H; Touvron et al. (2021) for Ti and S,
as the official code has them.
"""
VARIANTS = (
    "Ti/16",
    "S/32",
    "S/16",
    "B/32",
    "B/16",
    "B/8",
    "L/32",
    "L/16",
    "H/14",
)
"""The names that `create_vit` takes: size and patch, B/16 for example."""


def create_vit(
    variant: str,
    *,
    num_classes: int = 1000,
    image_size: int | tuple[int, int] = 224,
    **overrides,
) -> ViT:
    """Build a ViT by its name in the paper, "B/16" for the base size on patches
    of 16 pixels.

    Args:
        variant: one of VARIANTS, "size/patch".
        num_classes: length of the logits.
        image_size: pixels, one number or (height, width).
        overrides: any other argument of `ViT`. With another dim or heads,
            dim_head follows them, unless it is given too.

    Raises ValueError for a name that is not in the table, for arguments that
    ViT refuses, and for a dim that the heads do not divide where no dim_head is
    given. Source: table 1 and section 4.1; queries, keys and values have a
    bias, D_h = D / heads.
    """
    if not isinstance(variant, str) or variant not in VARIANTS:
        raise ValueError(
            f"no variant {variant!r}; there are {', '.join(VARIANTS)}"
        )
    size, patch = variant.split("/")
    arguments: dict[str, Any] = {
        **SIZES[size],
        "patch_size": int(patch),
        "qkv_bias": True,
    } | overrides
    if "dim_head" not in arguments:
        dim, heads = check_sizes(dim=arguments["dim"], heads=arguments["heads"])
        if dim % heads:
            raise ValueError(
                f"{heads} heads do not share a dim of {dim} equally; "
                f"use a multiple of {heads}, or give dim_head too"
            )
        arguments["dim_head"] = dim // heads
    return ViT(num_classes=num_classes, image_size=image_size, **arguments)
