"""Check the exercises of chapter 4: position embeddings."""

import torch

from vit_tutorial.exercises.answers import (
    Hint,
    NoAnswer,
    call,
    exercise,
    number,
    recognise,
    same,
    table,
    yes_or_no,
)
from vit_tutorial.positions import resize_pos_embedding, sincos_2d
from vit_tutorial.pretrained import load_pretrained


@exercise(
    "ex-position-mean",
    "position embeddings of shape (1, 50, 64), those of the patches all alike",
)
def mean(answer: object) -> str:
    """Judge a table in which all patches have the mean of their positions."""
    own = load_pretrained("fashion").get_parameter("pos_embedding").double()
    answer = table(answer, own.shape)
    if same(answer, own):
        raise NoAnswer
    right = own.clone()
    right[:, 1:] = own[:, 1:].mean(dim=1, keepdim=True)
    if same(answer, right):
        return (
            "with the same vector everywhere, a shuffle changes nothing: what "
            "is left is a bag of patches, and the accuracy of shuffled images."
        )
    of_all = own.mean(dim=1, keepdim=True)
    per_vector = own.clone()
    per_vector[:, 1:] = own[:, 1:].mean(dim=2, keepdim=True)
    recognise(
        answer,
        [
            (
                per_vector,
                "that is each vector's own mean: the wrong axis. Average over "
                "the patches.",
            ),
        ],
    )
    if not same(answer[:, 0], own[:, 0]):
        raise Hint(
            "the class token's embedding has changed as well. Row 0 is no "
            "patch, and keeps its own."
        )
    if same(answer[:, 1:], of_all.expand(-1, 49, -1)):
        raise Hint("the class token's embedding went into the mean as well.")
    if same(answer[:, 1:], torch.zeros_like(own[:, 1:])):
        raise Hint("those are zeros. The mean of the 49 vectors is not zero.")
    if same(answer[:, 1:], answer[:, 1:2].expand(-1, 49, -1)):
        raise Hint("all patches are alike, but not the mean of all 49.")
    raise Hint("the patches' vectors still differ from each other.")


@exercise(
    "ex-position-offset",
    "a function of (rows apart, columns apart) that returns the dot product "
    "of two such places' vectors, D = 64",
)
def offset(answer: object) -> str:
    """Judge the dot product of two places' sine-cosine vectors."""
    vectors = sincos_2d((7, 7), 64).double().view(7, 7, 64)
    apart = [(0, 0), (1, 0), (0, 1), (2, 3), (3, 2), (6, 1), (5, 5)]
    found = torch.tensor(
        [number(call(answer, down, along)) for down, along in apart]
    ).double()
    right = torch.stack(
        [vectors[0, 0] @ vectors[down, along] for down, along in apart]
    )
    if same(found, right):
        return (
            "each wave contributes the cosine of its frequency times the "
            "offset, and where the two places lie drops out."
        )
    down, along = torch.tensor(apart).double().T[..., None]
    waves = 10_000 ** -(torch.arange(16.0).double() / 15)
    shifted = 10_000 ** -(torch.arange(16.0).double() / 16)

    def total(of: torch.Tensor) -> torch.Tensor:
        return of.sum(dim=1)

    cosines = (down * waves).cos(), (along * waves).cos()
    one_axis = "that is the sum over one axis. The vectors hold two of them."
    recognise(
        found,
        [
            (total(cosines[0]), one_axis),
            (total(cosines[1]), one_axis),
            (
                total(cosines[0]) * total(cosines[1]),
                "a dot product of joined vectors is the sum of both halves' "
                "dot products, not their product.",
            ),
            (
                total((down * waves).sin() + (along * waves).sin()),
                "cos a cos b + sin a sin b is a cosine; you have a sine.",
            ),
            (
                total(((down + along) * waves).cos()),
                "rows and columns have waves of their own: take the cosine "
                "for each, then add.",
            ),
            (
                total((down * shifted).cos() + (along * shifted).cos()),
                "the frequencies run from 1 down to 1/10,000, both included: "
                "16 of them have 15 steps between.",
            ),
            (
                right / 32,
                "that is the cosine similarity. The dot product is larger by "
                "the product of both norms.",
            ),
            (right / 16, "that is a mean over the waves. Add them up."),
        ],
    )
    if not same(found[0], right[0]):
        raise Hint(
            "begin with a place and itself, (0, 0): sin² + cos² is 1 for each "
            "wave. How many waves are there, over both axes?"
        )
    if not same(found[1], found[2]):
        raise Hint("one row apart and one column apart should give the same.")
    raise Hint(
        "(0, 0) is right. Put the offset into the formula: a is a frequency "
        "times one place, b the same frequency times the other."
    )


@exercise(
    "ex-position-grid",
    "True or False twice, (the shapes tell, the numbers differ)",
)
def grid(answer: object) -> str:
    """Judge whether a resized table shows which grid it was taken for."""
    tell, differ = yes_or_no(answer, 2)
    pos = torch.randn(1, 37, 64)
    square, wide = (
        resize_pos_embedding(pos, old, (8, 8)) for old in ((6, 6), (4, 9))
    )
    found = square.shape != wide.shape, not torch.allclose(square, wide)
    if (tell, differ) == found:
        return (
            "both come out as 65 vectors, but under the wrong assumption each "
            "row of the grid is torn: a fault that no shape shows."
        )
    if tell != found[0]:
        raise Hint("how many vectors has an 8 × 8 grid, and a class token?")
    raise Hint(
        "in which row and column does vector 7 lie on a 6 × 6 grid, and on a "
        "4 × 9 one? Its neighbours are what it is blended with."
    )
