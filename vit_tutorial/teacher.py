"""A teacher: a trained model whose predictions another model learns, too.

Hinton et al. (2015) call it distillation. Where a label says "shirt" and no
more, a teacher says how much like a coat this shirt looks. In DeiT (Touvron et
al., 2021) a CNN teaches a ViT.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from vit_tutorial.data import Dataset, normalize
from vit_tutorial.folder import Folder
from vit_tutorial.pretrained import load_pretrained
from vit_tutorial.recipes import Recipe


def learn_from_teacher(
    recipe: Recipe, data: Dataset | Folder, images: Tensor, labels: Tensor
) -> Tensor:
    """Return what a model is to predict of each image: half of it the label,
    half what the recipe's teacher predicts.

    images: uint8 (n, c, H, W). labels: (n,).
    Returns probabilities, (n, num_classes), none larger than the label's.
    Raises ValueError for a teacher of other classes or other channels than the
    recipe's model, and what `load_pretrained` raises.
    """
    teacher = load_teacher(recipe).to(images.device)
    predicted = torch.cat(
        [
            predict(teacher, normalize(part, data.mean, data.std), recipe.flip)
            for part in images.split(500)
        ]
    )
    return (one_hot(labels, predicted.shape[1]) + predicted) / 2


@torch.no_grad()
def predict(teacher: nn.Module, images: Tensor, flip: bool) -> Tensor:
    """Return a teacher's probabilities: (b, c, H, W) -> (b, num_classes).

    flip: average those of an image and of its mirror image, for a model that is
    shown both is to predict the same of them.
    """
    views = [images, images.flip(-1)] if flip else [images]
    return torch.stack([teacher(x).softmax(dim=1) for x in views]).mean(dim=0)


def load_teacher(recipe: Recipe) -> nn.Module:
    """Load a recipe's teacher; ValueError unless it fits the recipe's model."""
    assert recipe.teacher is not None  # who asks has one
    teacher = load_pretrained(recipe.teacher)
    for name in ("num_classes", "channels", "image_size"):
        given, wanted = (
            config.get(name) for config in (teacher.config, recipe.model)
        )
        if None not in (given, wanted) and given != wanted:
            raise ValueError(
                f"the teacher {recipe.teacher!r} has {name}={given}, and the "
                f"model that is to learn from it {wanted}: they must be equal"
            )
    return teacher.eval()
