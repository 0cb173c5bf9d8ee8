"""How gradients become steps: two optimisers, and a rate that rises and falls.

Muon moves the matrices of the encoder's blocks, AdamW everything else.
"""

import math

import torch
from torch import nn
from torch.optim import Optimizer

from vit_tutorial.recipes import Recipe


def build_optimizers(model: nn.Module, recipe: Recipe) -> list[Optimizer]:
    """Give each parameter its optimiser: Muon or AdamW, with or without decay.

    Muon gets the matrices of the blocks, unless the recipe's matrix_lr is None.
    Only matrices and convolutions decay: pulling a bias, a scale, the class
    token or a position towards zero has no use.
    """
    blocks, others, rest = [], [], []
    for name, parameter in model.named_parameters():
        weight = name.endswith(".weight") and parameter.ndim > 1
        in_block = weight and name.startswith("transformer.")
        if in_block and recipe.matrix_lr is not None:
            blocks.append(parameter)
        else:
            (others if weight else rest).append(parameter)
    decay = recipe.weight_decay
    optimizers = [
        torch.optim.AdamW(
            [{"params": others}, {"params": rest, "weight_decay": 0.0}],
            lr=recipe.lr,
            betas=(0.9, 0.98),
            weight_decay=decay,
        )
    ]
    if blocks and recipe.matrix_lr is not None:
        muon = torch.optim.Muon(blocks, lr=recipe.matrix_lr, weight_decay=decay)
        optimizers.append(muon)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["highest_lr"] = group["lr"]
    return optimizers


def set_learning_rates(
    optimizers: list[Optimizer], recipe: Recipe, done: float
) -> None:
    """Set every learning rate for a moment of the run, done: from 0 to 1."""
    share = learning_rate(done, recipe.warm_up)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["highest_lr"] * share


def learning_rate(done: float, warm_up: float) -> float:
    """Return the share of the highest rate: a rise, then half a cosine down.

    done: the share of the run that is over. warm_up: where the rise ends.
    """
    if done < warm_up:
        return done / warm_up
    return 0.5 * (1 + math.cos(math.pi * (done - warm_up) / (1 - warm_up)))
