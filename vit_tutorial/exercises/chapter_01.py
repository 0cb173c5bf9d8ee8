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
    "two factors, (how many times the tokens, how many times the pairs)",
)
def resolution(answer: object) -> str:
    """Judge what twice the resolution does to tokens and pairs."""
    tokens, pairs = numbers(answer, 2)
    before, after = (224 // 16) ** 2, (448 // 16) ** 2
    _, each_token = costs()
    times = after / before
    pair_times = (counted(after) - after * each_token) / (
        counted(before) - before * each_token
    )
    if (tokens, pairs) == (times, pair_times):
        return (
            "twice the rows times twice the columns, and n tokens make n² "
            "pairs."
        )
    if (tokens, pairs) == (pair_times, times):
        raise Hint("the two are in the other order: tokens first, then pairs.")
    if tokens == 2:
        raise Hint(
            "that is what happens along one side. How many patches lie in "
            "the whole image, before and after?"
        )
    if tokens != times:
        raise Hint(
            "count the patches of a 224 × 224 image, then those of a 448 × "
            "448 one, and divide."
        )
    if pairs == tokens:
        raise Hint("the tokens are right, but n tokens make n · n pairs.")
    if pairs == 2 * tokens:
        raise Hint(
            "the tokens are right. A pair has two tokens, and each of the "
            "two can be any of the new ones."
        )
    raise Hint("the tokens are right. How does n · n grow when n does?")


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
