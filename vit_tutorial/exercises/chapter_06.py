"""Check the exercises of chapter 6: the encoder."""

from contextlib import suppress

import torch

from vit_tutorial.exercises.answers import (
    Hint,
    NoAnswer,
    Unreadable,
    call,
    exercise,
    numbers,
    table,
)
from vit_tutorial.variants import create_vit
from vit_tutorial.vit import Transformer


@exercise(
    "ex-encoder-drop",
    "a function that takes tokens of shape (b, 50, D) and returns the class "
    "token and half of the patches",
)
def drop(answer: object) -> str:
    """Judge tokens of which half of the patches are left out."""
    tokens = torch.randn(2, 50, 8)
    result = call(answer, tokens.clone())
    if not isinstance(result, torch.Tensor):
        raise Unreadable(result)
    if result.shape == tokens.shape:
        raise Hint(
            "there are still 50 tokens. Choose those that stay by indexing: "
            "a token of zeros would still be attended to."
        )
    if result.ndim == 3 and result.shape[1] == 50:
        raise Hint("that drops entries of every token: the wrong axis.")
    if result.ndim != 3 or result.shape[1] not in (24, 25, 26):
        raise Hint(
            f"its shape is {tuple(result.shape)}. Of the 49 patches, 24 or 25 "
            "should be left, and the class token."
        )
    kept = table(result, (2, result.shape[1], 8)).float()
    apart = torch.cdist(
        kept, tokens, compute_mode="donot_use_mm_for_euclid_dist"
    )
    if apart.amin(dim=2).max() > 1e-5:
        raise Hint("some of these tokens did not come in.")
    places = apart.argmin(dim=2)  # (2, kept)
    if not (places == 0).any(dim=1).all():
        raise Hint("the class token is missing, and with it what is read.")
    if places[0].unique().numel() < places.shape[1]:
        raise Hint("a token is there twice.")
    if places[0, 0] != 0:
        raise Hint("the class token is there, but classify reads place 0.")
    if places.shape[1] == 24:
        raise Hint("one patch short: the class token is none of them.")
    return (
        "only the number of tokens changes. No weight knows how many there "
        "are, so the logits keep their shape."
    )


@exercise(
    "ex-encoder-heads",
    "the split of the two that changes the number of parameters, as "
    "(heads, dim_head)",
)
def heads(answer: object) -> str:
    """Judge which split into heads changes the number of parameters."""
    number, width = numbers(answer, 2)
    given = (number, width)

    def parameters(heads: int, dim_head: int) -> int:
        with torch.device("meta"):
            vit = create_vit("B/16", heads=heads, dim_head=dim_head)
        return sum(p.numel() for p in vit.parameters())

    usual = parameters(12, 64)
    changes: dict[tuple[float, float], int] = {
        split: parameters(*split) - usual for split in ((6, 128), (12, 32))
    }
    if given not in changes:
        raise Hint("choose (6, 128) or (12, 32).")
    if not changes[given]:
        raise Hint(
            "to_qkv has 3 · heads · dim_head rows. Multiply, for the usual "
            "split and for yours."
        )
    return (
        "heads times dim_head is the width that to_qkv and to_out have. Half "
        f"of it saves {-changes[given]:,} parameters; dividing the same width "
        "among fewer heads saves none."
    )


@exercise(
    "ex-encoder-shortcut",
    "a function that takes a Transformer and zeros what its output layers hold",
)
def shortcut(answer: object) -> str:
    """Judge an encoder whose attention and MLPs add nothing."""
    encoder = Transformer(16, 2, heads=2, dim_head=8, mlp_dim=32)
    for parameter in encoder.parameters():
        torch.nn.init.normal_(parameter, 1.0, 0.2)
    before = {k: p.clone() for k, p in encoder.named_parameters()}
    with suppress(NoAnswer):  # it may return nothing, and change the encoder
        call(answer, encoder)
    changed = {
        name
        for name, p in encoder.named_parameters()
        if p.shape != before[name].shape or not torch.equal(p, before[name])
    }
    if not changed:
        raise NoAnswer
    outputs = {name for name in before if "to_out" in name or "net.3" in name}
    if changed - outputs:
        raise Hint(
            "more than the output layers has changed. "
            f"{min(changed - outputs)} should stay: where all is zero, no "
            "gradient comes back."
        )
    left = {name for name in outputs if encoder.get_parameter(name).any()}
    if all("to_out" in name for name in left) and left:
        raise Hint("the MLPs are silent. The attention layers still add.")
    if all("net.3" in name for name in left) and left:
        raise Hint("attention is silent. The MLPs still add something.")
    if all(name.endswith("bias") for name in left) and left:
        raise Hint("the weights are zero, but a bias is added without them.")
    if left:
        raise Hint(f"{min(left)} is not zero. There is one in each layer.")
    return (
        "the encoder is the identity. Training starts from a model that "
        "changes nothing, and each layer learns what to add."
    )
