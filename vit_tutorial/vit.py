"""The Vision Transformer (Dosovitskiy et al., 2021), in one file.

b pictures, n patches, h heads of width d, D = dim. Equation numbers are those
of the paper's section 3.1 and appendix A.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor, nn

from vit_tutorial.checks import (
    check_choice,
    check_eps,
    check_images,
    check_rates,
    check_sizes,
    check_switch,
)
from vit_tutorial.patches import Patchify, as_given, pair, patch_grid
from vit_tutorial.positions import POSITIONS, rows_and_columns, sincos_2d


class PreNorm(nn.Module):
    """Normalise each token, then apply `fn`: the LN(.) inside equations 2 and
    3."""

    def __init__(self, dim: int, fn: nn.Module, *, eps: float = 1e-6):
        super().__init__()
        (dim,) = check_sizes(dim=dim)
        self.norm = nn.LayerNorm(dim, eps=check_eps(eps))
        self.fn = fn

    def forward(self, x: Tensor, **kwargs) -> Tensor:
        return self.fn(self.norm(x), **kwargs)


class FeedForward(nn.Module):
    """Two linear layers with a GELU between them, on each token alone: the MLP
    of equation 3.

    Shapes: (b, n, D) -> (b, n, D), through (b, n, hidden_dim).
    """

    def __init__(self, dim: int, hidden_dim: int, dropout: float = 0.0):
        super().__init__()
        dim, hidden_dim = check_sizes(dim=dim, hidden_dim=hidden_dim)
        (dropout,) = check_rates(dropout=dropout)
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

    Shapes: (b, n, D) -> (b, n, D), with attention weights of (b, h, n, n). The
    weights exist only while somebody listens to `attend` (see
    `record_attention`); otherwise PyTorch's fused kernel computes the same
    output without ever holding them, and mostly faster
    (benchmarks/attention.py).
    """

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
        dim, heads, dim_head = check_sizes(
            dim=dim, heads=heads, dim_head=dim_head
        )
        (dropout,) = check_rates(dropout=dropout)
        qkv_bias = check_switch(qkv_bias=qkv_bias)
        inner_dim = heads * dim_head
        self.heads = heads
        self.scale = dim_head**-0.5
        self.to_qkv = nn.Linear(dim, 3 * inner_dim, bias=qkv_bias)
        self.attend = nn.Softmax(dim=-1)
        one_full_head = (
            heads == 1 and dim_head == dim
        )  # then there is nothing to join
        self.to_out = (
            nn.Identity()
            if one_full_head
            else nn.Sequential(nn.Linear(inner_dim, dim), nn.Dropout(dropout))
        )

    def forward(self, x: Tensor) -> Tensor:
        qkv = self.to_qkv(x).chunk(3, dim=-1)  # eq. 5: three times (b, n, h*d)
        q, k, v = (
            rearrange(t, "b n (h d) -> b h n d", h=self.heads) for t in qkv
        )
        if self.attend._forward_hooks:
            scores = q @ k.transpose(-1, -2) * self.scale  # (b, h, n, n)
            out = self.attend(scores) @ v  # eq. 6 and 7
        else:
            out = F.scaled_dot_product_attention(
                q, k, v, scale=self.scale
            )  # the same, fused
        return self.to_out(rearrange(out, "b h n d -> b n (h d)"))  # eq. 8


class Transformer(nn.Module):
    """The encoder: `depth` times attention and MLP, each added to what came in.
    (b, n, D) stays."""

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
        (depth,) = check_sizes(depth=depth)
        self.layers = nn.ModuleList()
        for _ in range(depth):
            attention = Attention(
                dim, heads, dim_head, dropout, qkv_bias=qkv_bias
            )
            feed_forward = FeedForward(dim, mlp_dim, dropout)
            self.layers.append(
                nn.ModuleList(
                    [
                        PreNorm(dim, attention, eps=eps),
                        PreNorm(dim, feed_forward, eps=eps),
                    ]
                )
            )

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
    """Classify pictures with a Transformer encoder over their patches.

    forward(images) is classify(transformer(embed(images))): (b, c, H, W) -> (b,
    num_classes).

    Args:
        image_size, patch_size: pixels, one number or (height, width); the patch
            divides the image.
        num_classes, channels: of the labels and of the pictures.
        dim, depth, heads, dim_head, mlp_dim: the paper's D, L, heads, D_h and
            MLP size.
        pool: "cls" reads a class token; "mean" has none and averages the
            patches.
        dropout, emb_dropout: after every linear layer of a block but qkv; on
            the embedded tokens.
        qkv_bias: whether queries, keys and values have one (the official models
            do).
        position: "none", "learned", "learned_2d" or "sincos_2d"; see
            `positions.py`.
        eps: of every LayerNorm.

    `config` holds these arguments, as plain Python values. Raises ValueError
    for those that do not fit, of whatever type. Source: section 3.1, equations
    1 to 4.
    """

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
        num_classes, channels, dim, depth, heads, dim_head, mlp_dim = (
            check_sizes(
                num_classes=num_classes,
                channels=channels,
                dim=dim,
                depth=depth,
                heads=heads,
                dim_head=dim_head,
                mlp_dim=mlp_dim,
            )
        )
        dropout, emb_dropout = check_rates(
            dropout=dropout, emb_dropout=emb_dropout
        )
        qkv_bias = check_switch(qkv_bias=qkv_bias)
        eps = check_eps(eps)
        check_choice("pool", pool, ("cls", "mean"))
        check_choice("position", position, POSITIONS)
        self.config = {
            "image_size": as_given(image_size),
            "patch_size": as_given(patch_size),
            "num_classes": num_classes,
            "dim": dim,
            "depth": depth,
            "heads": heads,
            "mlp_dim": mlp_dim,
            "pool": pool,
            "channels": channels,
            "dim_head": dim_head,
            "dropout": dropout,
            "emb_dropout": emb_dropout,
            "qkv_bias": qkv_bias,
            "position": position,
            "eps": eps,
        }
        self.image_size = pair(image_size)
        self.grid = rows, columns = patch_grid(image_size, patch_size)
        self.pool = pool
        self.position = position
        p1, p2 = pair(patch_size)

        self.to_patch_embedding = nn.Sequential(
            Patchify(patch_size),  # (b, c, H, W) -> (b, n, p1*p2*c)
            nn.Linear(p1 * p2 * channels, dim),  # E of eq. 1
        )
        self.cls_token = (
            nn.Parameter(torch.zeros(1, 1, dim)) if pool == "cls" else None
        )
        tokens = self.num_prefix + rows * columns
        if position == "learned":
            self.pos_embedding = nn.Parameter(
                torch.empty(1, tokens, dim)
            )  # E_pos of eq. 1
        elif position == "learned_2d":
            if dim % 2:
                raise ValueError(
                    f'position="learned_2d" needs an even dim, got {dim}'
                )
            self.pos_rows = nn.Parameter(torch.empty(rows, dim // 2))
            self.pos_columns = nn.Parameter(torch.empty(columns, dim // 2))
        elif position == "sincos_2d":
            self.register_buffer(
                "pos_sincos", sincos_2d(self.grid, dim), persistent=False
            )
        self.dropout = nn.Dropout(emb_dropout)
        self.transformer = Transformer(
            dim,
            depth,
            heads,
            dim_head,
            mlp_dim,
            dropout,
            qkv_bias=qkv_bias,
            eps=eps,
        )
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
        """Make the encoder's tokens of pictures, equation 1: (b, c, H, W) ->
        (b, tokens, D)."""
        shape = ("b", self.config["channels"], *self.image_size)
        check_images(images, shape, self.to_patch_embedding[1].weight)
        x = self.to_patch_embedding(images)  # eq. 1: x_p E, (b, n, D)
        if self.position in (
            "learned_2d",
            "sincos_2d",
        ):  # the class token stands nowhere
            x = x + self.patch_positions()
        if self.cls_token is not None:
            cls = repeat(self.cls_token, "1 1 d -> b 1 d", b=len(x))
            x = torch.cat((cls, x), dim=1)  # eq. 1: x_class first, (b, n+1, D)
        if self.position == "learned":
            x = x + self.pos_embedding  # eq. 1: E_pos
        return self.dropout(x)

    def patch_positions(self) -> Tensor | None:
        """Give each patch's position embedding, (n, D), row by row; None
        without positions."""
        match self.position:
            case "learned":
                return self.pos_embedding[0, self.num_prefix :]
            case "learned_2d":
                return rows_and_columns(self.pos_rows, self.pos_columns)
            case "sincos_2d":
                return self.pos_sincos
        return None

    def classify(self, tokens: Tensor) -> Tensor:
        """Read the answer off the encoder's output, equation 4: (b, tokens, D)
        -> (b, classes)."""
        x = tokens.mean(dim=1) if self.pool == "mean" else tokens[:, 0]
        return self.mlp_head(x)  # eq. 4: LN, and the classifier that reads y

    def init_weights(self) -> None:
        """Draw fresh weights as the official code does: a zero head, so that
        training starts at equal odds, a zero class token, positions N(0, 0.02),
        Xavier inside the blocks."""
        patch_projection, head = self.to_patch_embedding[1], self.mlp_head[1]
        for module in self.transformer.modules():
            if isinstance(module, Attention):
                for weight in module.to_qkv.weight.chunk(
                    3
                ):  # three matrices that share a layer
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
        nn.init.trunc_normal_(
            patch_projection.weight, std=patch_projection.in_features**-0.5
        )
        nn.init.zeros_(patch_projection.bias)
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
        for name, parameter in self.named_parameters(recurse=False):
            if name.startswith("pos_"):
                nn.init.normal_(parameter, std=0.02)
