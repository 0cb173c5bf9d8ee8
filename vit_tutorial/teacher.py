"""A teacher: a trained model whose predictions another model learns, too.

Hinton et al. (2015) call it distillation. Where a label says "shirt" and no
more, a teacher says how much like a coat this shirt looks. In DeiT (Touvron et
al., 2021) a CNN teaches a ViT.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vit_tutorial.pretrained import load_pretrained
from vit_tutorial.recipes import Recipe


def load_teacher(recipe: Recipe, device: torch.device) -> nn.Module | None:
    """Load a recipe's teacher, which learns nothing itself; None without one.

    Raises ValueError for one of other classes or other channels than the
    recipe's model, and what `load_pretrained` raises.
    """
    if recipe.teacher is None:
        return None
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
    return teacher.to(device).eval().requires_grad_(False)


def loss_from_teacher(
    logits: Tensor, images: Tensor, teacher: nn.Module
) -> Tensor:
    """Return how far predictions are from the teacher's, averaged over images.

    logits: (b, num_classes), of the model that learns. images: normalised,
    (b, c, H, W), as that model saw them, but whole.
    Returns the cross-entropy with the teacher's probabilities in place of
    labels. It is least where both predict the same.
    """
    with torch.no_grad():
        probabilities = teacher(images).float().softmax(dim=1)
    return F.cross_entropy(logits, probabilities)
