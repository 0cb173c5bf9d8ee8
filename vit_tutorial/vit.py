"""The Vision Transformer (Dosovitskiy et al., 2021), in one file.

b images, n tokens (the patches, and the class token before them), h heads of
width d, D = dim. Equation numbers are those of the paper's section 3.1 and
appendix A.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor, nn

from vit_tutorial.checks import (
    arguments_of,
    check_choice,
    check_images,
    checked,
)
from vit_tutorial.patches import Patchify, pair, patch_grid
from vit_tutorial.positions import POSITIONS

__all__ = ["Attention", "FeedForward", "PreNorm", "Transformer", "ViT"]


class PreNorm(nn.Module):
    """Normalise each token, then apply `fn`: LN(.) in equations 2 and 3."""

    @checked
    def __init__(self, dim: int, fn: nn.Module, *, eps: float = 1e-6):
        super().__init__()
        self.norm = nn.LayerNorm(dim, eps=eps)
        self.fn = fn

    def forward(self, x: Tensor, **kwargs) -> Tensor:
        return self.fn(self.norm(x), **kwargs)


class FeedForward(nn.Module):
    """Transform each token by itself, with the MLP of equation 3: two linear
    layers and a GELU between them.

    Shapes: (b, n, D) -> (b, n, D), through (b, n, hidden_dim).
    """

    @checked
    def __init__(self, dim: int, hidden_dim: int, dropout: float = 0.0):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(dim, hidden_dim),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(hidden_dim, dim),
            nn.Dropout(dropout),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class Attention(nn.Module):
    """Let every token gather from every token: the MSA of equation 2, written
    out in appendix A.

    Shapes: (b, n, D) -> (b, n, D), with attention weights of (b, h, n, n).

    While `fused` is True, PyTorch's fused kernel computes the output without
    ever holding the weights, and mostly faster (benchmarks/attention.py). Set
    it to False to have the weights pass through `attend`, where a hook can
    read or change them; `record_attention` does both for you.
    """

    @checked
    def __init__(
        self,
        dim: int,
        heads: int = 8,
        dim_head: int = 64,
        dropout: float = 0.0,
        *,
        qkv_bias: bool = False,
    ):
        super().__init__()
        inner_dim = heads * dim_head
        self.heads = heads
        self.scale = dim_head**-0.5
        self.fused = True
        self.to_qkv = nn.Linear(dim, 3 * inner_dim, bias=qkv_bias)
        self.attend = nn.Softmax(dim=-1)
        if heads == 1 and dim_head == dim:
            self.to_out = nn.Identity()  # one full head: nothing to join
        else:
            self.to_out = nn.Sequential(
                nn.Linear(inner_dim, dim), nn.Dropout(dropout)
            )

    def forward(self, x: Tensor) -> Tensor:
        qkv = self.to_qkv(x).chunk(3, dim=-1)  # eq. 5: three times (b, n, h*d)
        q, k, v = (
            rearrange(t, "b n (h d) -> b h n d", h=self.heads) for t in qkv
        )
        if self.fused:  # eq. 6 and 7 at once
            out = F.scaled_dot_product_attention(q, k, v, scale=self.scale)
        else:
            scores = q @ k.transpose(-1, -2) * self.scale  # (b, h, n, n)
            out = self.attend(scores) @ v  # eq. 6 and 7
        return self.to_out(rearrange(out, "b h n d -> b n (h d)"))  # eq. 8


class Transformer(nn.Module):
    """Encode tokens: `depth` layers of attention and an MLP, each of which
    adds to what came in.

    Shapes: (b, n, D) -> (b, n, D).
    """

    @checked
    def __init__(
        self,
        dim: int,
        depth: int,
        heads: int,
        dim_head: int,
        mlp_dim: int,
        dropout: float = 0.0,
        *,
        qkv_bias: bool = False,
        eps: float = 1e-6,
    ):
        super().__init__()
        self.layers = nn.ModuleList()
        for _ in range(depth):
            attention = Attention(
                dim, heads, dim_head, dropout, qkv_bias=qkv_bias
            )
            feed_forward = FeedForward(dim, mlp_dim, dropout)
            halves = [
                PreNorm(dim, fn, eps=eps) for fn in (attention, feed_forward)
            ]
            self.layers.append(nn.ModuleList(halves))

    def forward(self, x: Tensor) -> Tensor:
        for stage in self.stream(x):
            x = stage
        return x

    def stream(self, x: Tensor) -> Iterator[Tensor]:
        """Yield the residual stream as it comes in, then after every attention
        and every MLP.

        Shapes: (b, n, D) -> (1 + 2 * depth) times (b, n, D).
        """
        yield x
        for attention, feed_forward in self.layers:
            x = attention(x) + x  # eq. 2
            yield x
            x = feed_forward(x) + x  # eq. 3
            yield x


class ViT(nn.Module):
    """Classify images with a Transformer encoder over their patches.

    `forward(images)` is `classify(transformer(embed(images)))`: (b, c, H, W) ->
    (b, num_classes).

    Args:
        image_size, patch_size: pixels, one number or (height, width); the patch
            divides the image.
        num_classes, channels: of the labels and of the images.
        dim, depth, heads, dim_head, mlp_dim: the paper's D, L, heads, D_h and
            MLP size.
        pool: "cls" reads a class token; "mean" has none and averages the
            patches.
        dropout, emb_dropout: after every linear layer of a block but qkv; on
            the embedded tokens.
        qkv_bias: whether queries, keys and values have one (the official models
            do).
        position: a kind of position embedding, by its name in `POSITIONS`.
        eps: of every LayerNorm.

    `config` holds these arguments, as plain Python values; `facts`, empty in a
    new model, what it was trained on ("mean", "std", "class_names" …). Raises
    ValueError for arguments that do not fit. Source: equations 1 to 4.
    """

    @checked
    def __init__(
        self,
        *,
        image_size: int | tuple[int, int],
        patch_size: int | tuple[int, int],
        num_classes: int,
        dim: int,
        depth: int,
        heads: int,
        mlp_dim: int,
        pool: str = "cls",
        channels: int = 3,
        dim_head: int = 64,
        dropout: float = 0.0,
        emb_dropout: float = 0.0,
        qkv_bias: bool = False,
        position: str = "learned",
        eps: float = 1e-6,
    ):
        super().__init__()
        self.config, self.facts = arguments_of(locals()), {}
        check_choice("pool", pool, ("cls", "mean"))
        check_choice("position", position, POSITIONS)
        self.image_size = pair(image_size)
        self.grid = patch_grid(image_size, patch_size)  # (rows, columns)
        self.pool, self.position = pool, position
        p1, p2 = pair(patch_size)

        self.to_patch_embedding = nn.Sequential(
            Patchify(patch_size),  # (b, c, H, W) -> (b, patches, p1*p2*c)
            nn.Linear(p1 * p2 * channels, dim),  # E of eq. 1
        )
        cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.cls_token = cls_token if pool == "cls" else None
        POSITIONS[position].make(self)  # E_pos of eq. 1
        self.dropout = nn.Dropout(emb_dropout)
        self.transformer = Transformer(
            dim, depth, heads, dim_head, mlp_dim, dropout,
            qkv_bias=qkv_bias, eps=eps,
        )  # fmt: skip
        self.mlp_head = nn.Sequential(
            nn.LayerNorm(dim, eps=eps), nn.Linear(dim, num_classes)
        )
        self.init_weights()

    @property
    def num_prefix(self) -> int:
        """Tokens in front of the patches: 1 with a class token, else 0."""
        return 0 if self.cls_token is None else 1

    def forward(self, images: Tensor) -> Tensor:
        return self.classify(self.transformer(self.embed(images)))

    def embed(self, images: Tensor) -> Tensor:
        """Turn images into the encoder's tokens, equation 1: (b, c, H, W) ->
        (b, n, D)."""
        shape = ("b", self.config["channels"], *self.image_size)
        check_images(images, shape, self.to_patch_embedding[1].weight)
        x = self.to_patch_embedding(images)  # eq. 1: x_p E, (b, patches, D)
        if self.cls_token is not None:
            cls = repeat(self.cls_token, "1 1 d -> b 1 d", b=len(x))
            x = torch.cat((cls, x), dim=1)  # eq. 1: x_class first, (b, n, D)
        positions = self.token_positions()
        if positions is not None:
            x = x + positions  # eq. 1: E_pos
        return self.dropout(x)

    def token_positions(self) -> Tensor | None:
        """Return each token's position embedding, (1, n, D); None without."""
        return POSITIONS[self.position].of_tokens(self)

    def patch_positions(self) -> Tensor | None:
        """Return each patch's, (patches, D), row by row; None without."""
        return POSITIONS[self.position].of_patches(self)

    def classify(self, tokens: Tensor) -> Tensor:
        """Read the prediction off the encoder's output, equation 4: (b, n, D)
        -> (b, num_classes)."""
        x = tokens.mean(dim=1) if self.pool == "mean" else tokens[:, 0]
        return self.mlp_head(x)  # eq. 4: LN, and the classifier that reads y

    def init_weights(self) -> None:
        """Draw fresh weights as the official code does: a zero head, so that
        training starts at equal odds, a zero class token, positions N(0, 0.02),
        Xavier inside the layers."""
        for module in self.transformer.modules():
            if isinstance(module, Attention):
                for weight in module.to_qkv.weight.chunk(3):  # three in one
                    nn.init.xavier_uniform_(weight)
                if module.to_qkv.bias is not None:
                    nn.init.zeros_(module.to_qkv.bias)
                if isinstance(module.to_out, nn.Sequential):
                    nn.init.xavier_uniform_(module.to_out[0].weight)
                    nn.init.zeros_(module.to_out[0].bias)
            elif isinstance(module, FeedForward):
                for linear in (module.net[0], module.net[3]):
                    nn.init.xavier_uniform_(linear.weight)
                    nn.init.normal_(linear.bias, std=1e-6)
        projection, head = self.to_patch_embedding[1], self.mlp_head[1]
        nn.init.trunc_normal_(
            projection.weight, std=projection.in_features**-0.5
        )
        nn.init.zeros_(projection.bias)
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
        for name, parameter in self.named_parameters(recurse=False):
            if name.startswith("pos_"):
                nn.init.normal_(parameter, std=0.02)
