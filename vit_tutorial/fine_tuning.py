"""Fine-tune a trained model on a folder of images: section 3.2 of the paper.

What `python -m vit_tutorial.train --from CHECKPOINT --data FOLDER` adds to the
training loop: a recipe of its own, and a model to begin with.
"""

from dataclasses import replace
from typing import Any

from torch import nn

from vit_tutorial.adapt import adapt
from vit_tutorial.bugs import broken_vit
from vit_tutorial.data import DATASETS
from vit_tutorial.folder import list_folder
from vit_tutorial.pretrained import load_pretrained
from vit_tutorial.recipes import Recipe
from vit_tutorial.saving import ARCHITECTURES
from vit_tutorial.vit import ViT

# Few epochs. The last one is tested, so that no image is spared for choosing.
FINE_TUNING = Recipe(
    epochs=10,
    batch_size=32,
    matrix_lr=None,
    warm_up=0.1,
    label_smoothing=0.0,
    drop_patches=0.0,
    choose_epoch=False,
)


def recipe_for(
    folder: str, start: str | None, image_size: int | None, otherwise: Recipe
) -> Recipe:
    """Return the recipe for a folder of images.

    start: the trained model to begin from, as `load_pretrained` names it; None
    trains the ViT of the recipe `otherwise` from nothing, by that recipe.
    image_size: pixels, where it should not be the model's own.
    Raises ValueError for a folder that `list_folder` refuses, or another model
    than a ViT, and what `load_pretrained` raises.
    """
    classes = list_folder(folder)
    if folder in DATASETS:
        folder = f"./{folder}"
    model = otherwise.model
    if start is not None:
        model = load_vit(start).config
    model = model | {"num_classes": len(classes)}
    if image_size is not None:
        model |= {"image_size": image_size}
    recipe = otherwise
    if start is not None:
        # The weights are good already, so steps are small: 1e-3 for the book's
        # model, 8e-5 for a ViT-B.
        recipe = replace(FINE_TUNING, lr=round(0.064 / model["dim"], 6))
    files = sum(map(len, classes.values()))
    return replace(
        recipe,
        model=model,
        start=start,
        dataset=folder,
        subset=None,
        train_on=None,
        # A small folder has several steps in an epoch, too.
        batch_size=max(1, min(recipe.batch_size, files // 4)),
        choose_epoch=False,
    )


def load_vit(start: str) -> ViT:
    """Load the model to begin from; ValueError unless it is a ViT."""
    vit = load_pretrained(start)
    if not isinstance(vit, ViT):
        raise ValueError(
            f"{start} is a {type(vit).__name__}, and fine-tuning takes a ViT"
        )
    return vit


def start_model(recipe: Recipe) -> Any:
    """Build the model that a run begins with: untrained, perhaps with a bug, or
    a trained one with a new head of zeros."""
    if recipe.bug is not None:
        return broken_vit(recipe.bug, **recipe.model)
    if recipe.start is None:
        return ARCHITECTURES[recipe.architecture](**recipe.model)
    vit = adapt(
        load_vit(recipe.start),
        num_classes=recipe.model["num_classes"],
        image_size=recipe.model["image_size"],
    )
    for parameter in vit.mlp_head[1].parameters():
        nn.init.zeros_(parameter)  # even for as many classes: they are others
    return vit
