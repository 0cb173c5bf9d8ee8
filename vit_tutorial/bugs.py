"""Ten broken Vision Transformers. Each has a mistake that was made in a public
repository, not always in a ViT, and still returns logits of the right shape.

    vit = broken_vit("shredded patches", **config)
    vit = broken_copy(trained, "shredded patches")  # with these weights

Each function here breaks a ViT in place, in the way of the mistake, and
`BUGS` says where it was seen and which property (properties.py) catches it.

b images, n tokens, h heads of width d, D = dim.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from vit_tutorial.checks import check_choice
from vit_tutorial.patches import Patchify
from vit_tutorial.vit import Attention, Transformer, ViT


@dataclass(frozen=True)
class Bug:
    """A mistake: how to make it, where it was seen, what catches it."""

    make: Callable[[ViT], None]
    seen: str  # an address
    caught_by: str  # a name in PROPERTIES


def broken_vit(bug: str, **config) -> ViT:
    """Build a ViT with a mistake in it; config is that of `ViT`.

    Raises ValueError for a bug that `BUGS` does not have.
    """
    check_choice("bug", bug, BUGS)
    vit = ViT(**config)
    BUGS[bug].make(vit)
    return vit


def broken_copy(vit: ViT, bug: str) -> ViT:
    """Build a ViT with a mistake in it and the weights of another ViT.

    Where the mistake leaves room for less, some are lost: one position for all
    tokens is the mean of all positions; one layer for all is the last.

    Returns it in eval mode. Raises ValueError for a bug that `BUGS` does not
    have.
    """
    broken, weights = broken_vit(bug, **vit.config), vit.state_dict()
    for name, there in broken.state_dict().items():
        if weights[name].shape != there.shape:
            weights[name] = weights[name].mean(dim=1, keepdim=True)
    broken.load_state_dict(weights)
    broken.facts = vit.facts
    return broken.eval()


# The patches


class ShreddedPatches(Patchify):
    def forward(self, images: Tensor) -> Tensor:
        b, c, height, width = images.shape
        p1, p2 = self.patch_size
        n = (height // p1) * (width // p2)
        return images.reshape(b, n, p1 * p2 * c)  # runs, not squares


def shred_patches(vit: ViT) -> None:
    patch_size = vit.to_patch_embedding[0].patch_size
    vit.to_patch_embedding[0] = ShreddedPatches(patch_size)


# The positions


def one_position_for_all(vit: ViT) -> None:
    position = torch.randn(1, 1, vit.config["dim"])
    vit.pos_embedding = nn.Parameter(0.02 * position)  # no row for each token


# Attention


class ScaledByDim(Attention):
    def __init__(self, dim: int, *args, **kwargs):
        super().__init__(dim, *args, **kwargs)
        self.scale = dim**-0.5  # a head is dim_head wide


class SoftmaxOverQueries(Attention):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.attend = nn.Softmax(dim=-2)  # columns sum to 1, rows do not
        self.fused = False


class AcrossTheBatch(Attention):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.transpose(0, 1)).transpose(0, 1)


class HeadsByView(Attention):
    def forward(self, x: Tensor) -> Tensor:
        b, n, _ = x.shape
        q, k, v = (
            t.reshape(b, self.heads, n, -1)  # heads cut out of several tokens
            for t in self.to_qkv(x).chunk(3, dim=-1)
        )
        out = F.scaled_dot_product_attention(q, k, v, scale=self.scale)
        return self.to_out(rearrange(out, "b h n d -> b n (h d)"))


class DropoutForEver(Attention):
    def forward(self, x: Tensor) -> Tensor:
        qkv = self.to_qkv(x).chunk(3, dim=-1)
        q, k, v = (
            rearrange(t, "b n (h d) -> b h n d", h=self.heads) for t in qkv
        )
        out = F.scaled_dot_product_attention(
            q, k, v, scale=self.scale, dropout_p=0.1
        )  # active in eval mode too
        return self.to_out(rearrange(out, "b h n d -> b n (h d)"))


def with_attention(kind: type[Attention]) -> Callable[[ViT], None]:
    """Return a function that replaces every layer's attention by `kind`."""

    def put(vit: ViT) -> None:
        names = ("dim", "heads", "dim_head", "dropout")
        sizes = {name: vit.config[name] for name in names}
        for attention, _ in vit.transformer.layers:
            attention.fn = kind(**sizes, qkv_bias=vit.config["qkv_bias"])
        vit.init_weights()

    return put


# The encoder


class SkipsFromTheNorm(Transformer):
    def stream(self, x: Tensor) -> Iterator[Tensor]:
        yield x
        for layer in self.layers:
            for half in layer:
                x = half.norm(x)  # the skip carries the normed input
                x = half.fn(x) + x
                yield x


def skip_from_the_norm(vit: ViT) -> None:
    names = ("dim", "depth", "heads", "dim_head", "mlp_dim", "dropout")
    names += ("qkv_bias", "eps")
    sizes = {name: vit.config[name] for name in names}
    vit.transformer = SkipsFromTheNorm(**sizes)
    vit.init_weights()


def repeat_one_layer(vit: ViT) -> None:
    layers = vit.transformer.layers
    vit.transformer.layers = nn.ModuleList([layers[0]] * len(layers))


# The head


def end_in_probabilities(vit: ViT) -> None:
    vit.mlp_head.append(nn.Softmax(dim=-1))  # the loss has a softmax of its own


ISSUES = "https://github.com/{}/issues/{}"
LABML = "labmlai/annotated_deep_learning_paper_implementations"
BUGS = {
    "shredded patches": Bug(
        make=shred_patches,
        seen=ISSUES.format("duoan/TorchCode", 21),
        caught_by="patches_are_squares",
    ),
    "one position for all": Bug(
        make=one_position_for_all,
        seen=ISSUES.format("pytorch/examples", 1178),
        caught_by="places_matter",
    ),
    "scaled by dim": Bug(
        make=with_attention(ScaledByDim),
        seen=ISSUES.format("lucidrains/vit-pytorch", 65),
        caught_by="scores_are_scaled",
    ),
    "softmax over queries": Bug(
        make=with_attention(SoftmaxOverQueries),
        seen=ISSUES.format(LABML, 146),
        caught_by="weights_sum_to_one",
    ),
    "across the batch": Bug(
        make=with_attention(AcrossTheBatch),
        seen=ISSUES.format("Exorust/TorchLeet", 5),
        caught_by="images_are_alone",
    ),
    "heads by view": Bug(
        make=with_attention(HeadsByView),
        seen=ISSUES.format("reczoo/FuxiCTR", 30),
        caught_by="tokens_are_alike",
    ),
    "dropout for ever": Bug(
        make=with_attention(DropoutForEver),
        seen=ISSUES.format("pytorch/pytorch", 124464),
        caught_by="evaluation_is_deterministic",
    ),
    "skips from the norm": Bug(
        make=skip_from_the_norm,
        seen=ISSUES.format("pytorch/pytorch", 61165),
        caught_by="skips_carry_the_stream",
    ),
    "one layer repeated": Bug(
        make=repeat_one_layer,
        seen=ISSUES.format("zalandoresearch/pytorch-vq-vae", 2),
        caught_by="layers_are_their_own",
    ),
    "softmax twice": Bug(
        make=end_in_probabilities,
        seen=ISSUES.format("bkitano/llama-from-scratch", 5),
        caught_by="logits_are_free",
    ),
}
