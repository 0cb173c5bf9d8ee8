"""Whether a recipe fits its images, its model and the processes that train."""

import math
from typing import Any

from torch import Tensor

from vit_tutorial.patch_dropout import count_kept
from vit_tutorial.recipes import Recipe


def check_batch_size(recipe: Recipe, count: int, world: int) -> None:
    """Raise ValueError unless `world` processes can share whole batches."""
    count *= recipe.repeats
    if recipe.batch_size > count or recipe.batch_size % world:
        raise ValueError(
            f"batch_size must be at most the images of an epoch ({count}) and "
            f"a multiple of the processes ({world}), got {recipe.batch_size}"
        )


def check_fit(recipe: Recipe, model: Any, images: Tensor) -> None:
    """Raise ValueError for a recipe that its model or images cannot follow."""
    side = min(images.shape[2:])
    for name in ("shift", "erase"):
        if (pixels := getattr(recipe, name)) >= side:
            raise ValueError(
                f"{name} must be less than the images' {side} pixels, "
                f"got {pixels}"
            )
    if recipe.drop_patches and count_kept(model, recipe, done=0) < 1:
        n = math.prod(model.grid)
        most = math.floor(100 * (n - 1) / n) / 100
        raise ValueError(
            f"drop_patches={recipe.drop_patches} would show none of the {n} "
            f"patches at first; use at most {most}"
        )
