"""Check the exercises of chapter 1: from pixels to tokens."""

import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from vit_tutorial.exercises.answers import (
    Hint,
    exercise,
    number,
    numbers,
    recognise,
    yes_or_no,
)
from vit_tutorial.vit import Attention

DIM = 768  # of the paper's base model


def counted(n: int) -> int:
    """Count the operations of one attention layer for n tokens."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        Attention(DIM, heads=12, dim_head=64)(torch.empty(1, n, DIM))
    return counter.get_total_flops()


def costs() -> tuple[int, int]:
    """Return an attention layer's operations: for each pair, for each token."""
    one, two = counted(1), counted(2)  # a n² + b n, with n = 1 and n = 2
    each_pair = (two - 2 * one) // 2
    return each_pair, one - each_pair


@exercise("ex-tokens-crossing", "the side of a patch in pixels, a number")
def crossing(answer: object) -> str:
    """Judge the patch size at which pairs and tokens cost the same."""
    side = number(answer)
    each_pair, each_token = costs()
    tokens = each_token / each_pair  # where a n² = b n
    right = 224 / tokens**0.5
    if abs(side - right) <= 0.3:
        return (
            f"4n²D = 8nD² where n = 2D = {tokens:,.0f} tokens, which are "
            f"patches of {right:.1f} pixels."
        )
    recognise(
        side,
        [
            (tokens, "that is a number of tokens. How large is one patch?"),
            (DIM, "that is D, the dimension of a token."),
            (
                224 / tokens,
                "224 is the length of one side, but the tokens fill the "
                "whole image: along one side there are √n of them.",
            ),
        ],
    )
    if not 1 <= side <= 224:
        raise Hint("a patch of a 224 × 224 image has 1 to 224 pixels a side.")
    if abs(side - 224 / DIM**0.5) < 0.05:
        raise Hint("that is n = D. Divide both sides of 4n²D = 8nD² by 4nD.")
    if abs(side - 224 / (3 * tokens) ** 0.5) < 0.05:
        raise Hint(
            "that counts the MLP as well, as the figure does. The formula "
            "asks about attention alone."
        )
    ratio = (224 / side) ** 2 * each_pair / each_token
    size = "larger" if ratio > 1 else "smaller"
    raise Hint(
        f"with patches of {side:g} pixels, the pairs take {ratio:.2g} times "
        f"the tokens' work. Try a {size} patch."
    )


@exercise(
    "ex-tokens-resolution",
    "two factors, (from 224 to 448 pixels, from 1792 to 3584)",
)
def resolution(answer: object) -> str:
    """Judge how an attention layer's work grows with the resolution."""
    given = numbers(answer, 2)
    sizes = [(side // 16) ** 2 for side in (224, 1792)]
    right = [counted(4 * n) / counted(n) for n in sizes]

    def fits(factors: list[float]) -> bool:
        pairs = zip(given, factors, strict=True)
        return all(abs(one - other) <= 0.1 for one, other in pairs)

    if fits(right):
        few, many = right
        return (
            f"{few:.1f} times, then {many:.1f} times: the projections grow "
            "4-fold and the pairs 16-fold, and the more tokens there are, the "
            "more of the work is in the pairs."
        )
    if fits(right[::-1]):
        raise Hint("the two are in the other order: the small images first.")
    mlp = 16 * DIM**2  # operations for each token
    with_mlp = [
        (counted(4 * n) + 4 * n * mlp) / (counted(n) + n * mlp) for n in sizes
    ]
    if fits(with_mlp):
        raise Hint(
            "that counts the MLP as well. The question is about attention "
            "alone."
        )
    if fits([16, 16]):
        raise Hint(
            "that is how the pairs grow. But the projections treat each token "
            "alone, and there are only 4 times as many tokens."
        )
    if fits([4, 4]):
        raise Hint("that is how the tokens grow, but pairs grow faster.")
    if any(not 4 <= factor <= 16 for factor in given):
        raise Hint(
            "one part of the work grows 4-fold and the other 16-fold, so the "
            "whole grows by something in between."
        )
    ordinal = "second" if abs(given[0] - right[0]) <= 0.1 else "first"
    raise Hint(
        f"look at the {ordinal} factor: divide counted(4 * n) by counted(n), "
        "with n the tokens of the smaller image."
    )


@exercise(
    "ex-tokens-pool",
    "True or False twice, (equivariant by one pixel, by two pixels)",
)
def pool(answer: object) -> str:
    """Judge whether max pooling moves along with the image."""
    by_one, by_two = yes_or_no(answer, 2)
    image = torch.rand(1, 1, 28, 28)

    def pooled(by: int) -> torch.Tensor:
        return F.max_pool2d(image.roll((by, by), dims=(2, 3)), 2)

    still = pooled(0)
    places = [still.roll((by, by), dims=(2, 3)) for by in (0, 1)]
    one, two = (
        any(torch.equal(pooled(by), place) for place in places) for by in (1, 2)
    )
    if (by_one, by_two) == (one, two):
        return (
            "a shift by the stride moves whole windows; a shift by less puts "
            "other pixels together."
        )
    if by_two != two:
        raise Hint(
            "look at the move by two pixels. The windows are columns 1–2, "
            "3–4, …: which pixels share a window after the move?"
        )
    raise Hint(
        "look at the move by one pixel. Columns 1 and 2 shared a window; "
        "which columns share one after the move?"
    )
