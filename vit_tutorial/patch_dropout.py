"""Show a ViT some of the patches only: fewer tokens, so cheaper steps.

A run begins with a share of the patches hidden, and ends with all of them.
Source: PatchDropout (Liu et al., 2023).
"""

import math

import torch
from torch import Generator, Tensor, nn

from vit_tutorial.recipes import Recipe
from vit_tutorial.vit import ViT


class SomePatches(nn.Module):
    """A ViT that sees some patches: (b, c, H, W), (b, kept) -> (b, classes).

    Position embeddings are added first, so that a token still says where it
    comes from.
    """

    def __init__(self, vit: ViT):
        super().__init__()
        self.vit = vit

    def forward(self, images: Tensor, kept: Tensor) -> Tensor:
        prefix = self.vit.num_prefix
        tokens = self.vit.embed(images)  # (b, prefix + n, D)
        patches = tokens[:, prefix:]  # (b, n, D)
        patches = patches.take_along_dim(kept[:, :, None], dim=1)
        tokens = torch.cat((tokens[:, :prefix], patches), dim=1)
        return self.vit.classify(self.vit.transformer(tokens))


def draw_patches(
    vit: ViT, b: int, recipe: Recipe, done: float, random: Generator
) -> Tensor:
    """Choose the patches that each of b images shows: their indices, (b, kept).

    There are more of them as the run goes on: done goes from 0 to 1.
    """
    n = math.prod(vit.grid)
    drawn = torch.rand(b, n, generator=random, device=random.device)
    return drawn.argsort(dim=1)[:, : count_kept(vit, recipe, done)]


def count_kept(vit: ViT, recipe: Recipe, done: float) -> int:
    """Return how many patches each image shows at a moment of the run."""
    n = math.prod(vit.grid)
    return n - round(recipe.drop_patches * (1 - done) * n)
