"""Check the exercises of chapter 2: cutting an image into patches."""

import torch

from vit_tutorial.data import load_photo
from vit_tutorial.exercises.answers import (
    Hint,
    Unreadable,
    call,
    exercise,
    number,
    numbers,
    recognise,
    same,
    several,
    table,
)
from vit_tutorial.patches import patchify


@exercise(
    "ex-patches-count",
    "two numbers, (how many patches, how many entries in one flat patch)",
)
def count(answer: object) -> str:
    """Judge how many patches B/16 reads at 384 pixels, and their length."""
    patches, entries = numbers(answer, 2)
    _, n, length = patchify(torch.zeros(1, 3, 384, 384), 16).shape
    before = patchify(torch.zeros(1, 3, 224, 224), 16).shape[1]
    if (patches, entries) == (n, length):
        return (
            f"{n} patches instead of {before}, each still 16 · 16 · 3 entries "
            "long. A higher resolution makes the sequence longer, nothing else."
        )
    if (patches, entries) == (length, n):
        raise Hint("the two are in the other order: patches first.")
    recognise(
        patches,
        [
            (n**0.5, "that many patches lie along one side."),
            (n + 1, "that is one too many: the class token is no patch."),
            (before, "an image of 224 × 224 pixels has so many patches."),
        ],
    )
    recognise(
        entries,
        [
            (length / 3, "a pixel has three colours, and all are kept."),
            (16 * 3, "that is one row of a patch."),
            (384 * 384 * 3, "that is the whole image."),
        ],
    )
    if patches != n:
        raise Hint("divide 384 by the patch size; that is one side.")
    raise Hint("flatten one patch: rows, times columns, times colours.")


@exercise(
    "ex-patches-order",
    "a function that takes their weight, (D, 3072), and returns ours",
)
def order(answer: object) -> str:
    """Judge the exchange of a weight's columns from (c p1 p2) to ours."""
    index = patchify(torch.arange(3072).view(1, 3, 32, 32), 32)[0, 0]
    theirs = torch.arange(2.0 * 3072).view(2, 3072)
    result = call(answer, theirs.clone())
    if isinstance(result, torch.Tensor) and result.shape == (3072, 2):
        raise Hint("rows and columns have changed places: D comes first.")
    result = table(result, theirs.shape)
    if same(result, theirs[:, index]):
        return (
            "the same numbers in another order, so the same dot products: "
            "the weight must be reordered as the patches are."
        )
    turned = index.view(32, 32, 3).transpose(0, 1).flatten()
    as_it_lies = theirs.view(2, 3, 32, 32).reshape(2, 32, 32, 3).flatten(1)
    recognise(
        result,
        [
            (as_it_lies, "nothing has moved. Splitting and joining axes alone "
             "changes no order: an axis must go to another place."),
            (theirs[:, index.argsort()], "that is the way back: it takes a "
             "weight for our order and makes one for theirs."),
            (theirs[:, turned], "rows and columns of a patch have changed "
             "places: p1 must stay before p2."),
        ],
    )  # fmt: skip
    if same(result.sort(dim=1).values, theirs):
        raise Hint(
            "these are the right numbers in another order. Name the three "
            "axes on the left of the pattern as the colleague's patches have "
            "them, and on the right as ours do."
        )
    raise Hint("a weight's own numbers should come out, only reordered.")


@exercise(
    "ex-patches-shift",
    "three things, (how many occur again after a move by 32 pixels, how many "
    "after 1 pixel, [the moves that keep any patch])",
)
def shift(answer: object) -> str:
    """Judge which patches of a moved image also occur in the original."""
    by_patch, by_pixel, moves = several(answer, 3)
    by_patch, by_pixel = number(by_patch), number(by_pixel)
    if not isinstance(moves, tuple | list):
        raise Unreadable(moves)
    moves = sorted(numbers(moves))
    photo = load_photo(224)

    def patches(by: int) -> list[bytes]:
        rows = patchify(photo.roll(by, dims=-1)[None], 32)[0]
        return [row.numpy().tobytes() for row in rows]

    still = set(patches(0))
    kept = {by: sum(p in still for p in patches(by)) for by in range(1, 33)}
    right = [by for by in kept if kept[by]]
    if by_patch != kept[32]:
        if by_patch == kept[32] - 7:
            raise Hint(
                "seven patches leave on the right. With torch.roll, where do "
                "they go?"
            )
        raise Hint(
            "moved by a whole patch, each patch takes the place of its "
            "neighbour. Are there new ones among them?"
        )
    if by_pixel != kept[1]:
        raise Hint(
            "moved by one pixel, each patch loses one column and gets "
            "another. Compare whole patches, all 3072 entries."
        )
    if moves != right:
        wrong = [by for by in moves if by not in right]
        if wrong:
            raise Hint(
                f"the two counts are right. But moved by {wrong[0]:g} pixels, "
                "do the borders of the patches lie on the old borders?"
            )
        raise Hint(
            "the two counts are right, and one of them belongs to a move that "
            "is missing in your list."
        )
    return (
        "cutting into patches goes along with moves by whole patches, and "
        "with no others."
    )
