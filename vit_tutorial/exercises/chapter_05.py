"""Check the exercises of chapter 5: attention."""

import torch

from vit_tutorial.exercises.answers import (
    Hint,
    call,
    exercise,
    recognise,
    same,
    several,
    table,
)
from vit_tutorial.vit import Attention


@exercise(
    "ex-attention-equal",
    "two times two numbers, (what is received when the scores are equal, "
    "what when one is larger by 100)",
)
def equal(answer: object) -> str:
    """Judge what a token receives from three values."""
    scores = torch.tensor([[0.0, 0.0, 0.0], [0.0, 100.0, 0.0]]).double()
    values = torch.tensor([[10.0, 0.0], [0.0, 10.0], [5.0, 5.0]]).double()
    right = scores.softmax(dim=1) @ values
    equally, one_only = (table(part, (2,)) for part in several(answer, 2))
    recognise(
        equally,
        [
            (values.sum(dim=0), "equal scores: that is the sum of the values. "
             "The weights of a row sum to 1."),
            (scores[0] @ values, "equal scores: that takes the scores as "
             "weights. Softmax comes first; what does it make of three "
             "zeros?"),
        ],
    )  # fmt: skip
    if not same(equally, right[0]):
        raise Hint("equal scores: three equal weights that sum to 1.")
    recognise(
        one_only,
        [
            (scores[1] @ values, "the larger score: that takes the score as "
             "the weight. No weight is above 1."),
            (right[0], "the larger score: e to the 100 is far from equal."),
        ],
    )  # fmt: skip
    if not (one_only - right[1]).abs().max() < 0.01:
        raise Hint(
            "the larger score: how much of the sum of exponentials is its "
            "own, and which value has that weight?"
        )
    return (
        "equal scores give the mean of all values; a score that is far larger "
        "gives the value of its one token."
    )


@exercise(
    "ex-attention-shift",
    "a function of q, (n, d), and the constant c, (d,), that returns for each "
    "row by how much all its scores grow, (n,)",
)
def shift(answer: object) -> str:
    """Judge by how much each row's scores grow with a constant in the keys."""
    q, k = torch.randn(2, 6, 16).double()
    c = torch.randn(16).double()
    before, after = (q @ keys.T / 16**0.5 for keys in (k, k + c))
    result = call(answer, q.clone(), c.clone())
    if isinstance(result, torch.Tensor) and result.shape == (6, 6):
        raise Hint("that is a number for every pair. Is it not one a row?")
    result = table(result, (6,))
    right = (after - before)[:, 0]
    if same(result, right):
        return (
            "q · (k + c) = q · k + q · c, the same growth for all scores of a "
            "row, and softmax ignores what is added to a whole row."
        )
    recognise(
        result,
        [
            (right * 16**0.5, "off by √d: scores are divided by it."),
            (right / 16**0.5, "off by √d: the scores are divided once only."),
            (
                c.sum().expand(6),
                "that is the same for every row. Which part of a score does "
                "the constant meet?",
            ),
        ],
    )
    if same(result, result[:1].expand(6)):
        raise Hint("a row's growth depends on its query, so the rows differ.")
    raise Hint("write out q · (k + c), and take away q · k.")


@exercise(
    "ex-attention-order",
    "a function of what leaves the layer, (b, n, D), and the new order, (n,), "
    "that returns what leaves it when the tokens enter in that order",
)
def order(answer: object) -> str:
    """Judge what leaves an attention layer when its tokens are reordered."""
    layer = Attention(dim=8, heads=2, dim_head=4).double()
    x, new = torch.randn(2, 8, 8).double(), torch.randperm(8)
    out, right = layer(x), layer(x[:, new])
    result = table(call(answer, out.clone(), new.clone()), out.shape)
    if same(result, right):
        return (
            "they leave in the new order and are otherwise unchanged: "
            "attention is equivariant to the order of its tokens."
        )
    recognise(
        result,
        [
            (out, "nothing has moved. That would be invariance; does output i "
             "still belong to the token that now comes in at place i?"),
            (out[:, new.argsort()], "that is the way back, the inverse order."),
            (out[:, :, new], "that reorders the entries of each token: the "
             "wrong axis."),
            (layer(out[:, new]), "the layer has been applied twice."),
        ],
    )  # fmt: skip
    raise Hint(
        "no number changes, only its place. Which output belongs to the token "
        "that enters first now?"
    )
