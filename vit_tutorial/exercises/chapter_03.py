"""Check the exercises of chapter 3: the class token."""

from functools import cache

import torch
from torch import Tensor

from vit_tutorial.data import load_dataset, normalize
from vit_tutorial.exercises.answers import (
    Hint,
    call,
    exercise,
    number,
    recognise,
    same,
    table,
    yes_or_no,
)
from vit_tutorial.pretrained import load_pretrained
from vit_tutorial.vit import ViT


@cache
def model_and_tokens(images: int) -> tuple[ViT, Tensor, Tensor]:
    """Return the book's ViT, the tokens of some test images, their labels."""
    vit = load_pretrained("fashion")
    assert isinstance(vit, ViT)
    pictures, labels = load_dataset("fashion_mnist", "test", subset=images)
    pictures = normalize(pictures, vit.facts["mean"], vit.facts["std"])
    return vit, vit.embed(pictures), labels


@exercise(
    "ex-class-last",
    "a function that takes tokens of shape (b, 50, D), the class token first, "
    "and returns them with the class token last",
)
def last(answer: object) -> str:
    """Judge tokens whose class token stands behind the patches."""
    vit, tokens, _ = model_and_tokens(10)
    result = call(answer, tokens.clone())
    if isinstance(result, Tensor) and result.ndim == 3:
        if result.shape[1] == 49:
            raise Hint("one token is missing. Was the class token left out?")
        if result.shape[1] == 51:
            raise Hint("one token is there twice: take it away in front.")
    result = table(result, tokens.shape)
    place = vit.get_parameter("pos_embedding")
    moved_only = tokens[:, 0] - place[:, 0] + place[:, -1]
    recognise(
        result[:, -1],
        [
            (tokens[:, -1], "the last token is still the last patch."),
            (
                tokens[:, -2],
                "the tokens have moved the other way: the last patch came to "
                "the front, and the class token is second.",
            ),
            (
                moved_only,
                "the class token has the last patch's position embedding. "
                "Move it with its own, after the positions are added.",
            ),
        ],
    )
    if not same(result[:, -1], tokens[:, 0]):
        raise Hint("the last token is not the class token as it came in.")
    apart = torch.cdist(result[:, :-1], tokens[:, 1:].double())
    if apart.amin(dim=1).max() > 1e-3 or apart.amin(dim=2).max() > 1e-3:
        raise Hint("the class token is right, but the patches have changed.")
    return (
        "read from there, the logits stay the same, because the encoder does "
        "not know its tokens' order: the position embedding moved along with "
        "the token."
    )


@exercise(
    "ex-class-twice",
    "True or False twice, (the copies differ, the logits change)",
)
def twice(answer: object) -> str:
    """Judge what a second class token does to the first, and to the logits."""
    differ, change = yes_or_no(answer, 2)
    vit, tokens, _ = model_and_tokens(10)
    out = vit.transformer(torch.cat((tokens[:, :1], tokens), dim=1))
    once = vit.classify(vit.transformer(tokens))
    found = (
        not torch.allclose(out[:, 0], out[:, 1], atol=1e-2),
        not torch.allclose(vit.classify(out), once, atol=1e-2),
    )
    if (differ, change) == found:
        return (
            "the copies start equal and every layer treats all tokens alike, "
            "so they stay equal. But each patch now divides its attention "
            "among 51 tokens instead of 50."
        )
    if differ != found[0]:
        raise Hint(
            "look at the two copies. They start out alike, and every layer "
            "treats all its tokens alike. What could make them differ?"
        )
    raise Hint(
        "look at one patch. It attends to one more token than before. What "
        "happens to the weights of the others?"
    )


@exercise(
    "ex-class-wrong",
    "the accuracy of the model's own head on the mean, between 0 and 1",
)
def wrong(answer: object) -> str:
    """Judge the accuracy of the head of token 0 on the patches' mean."""
    share = number(answer)
    vit, tokens, labels = model_and_tokens(500)
    out = encoded(500)

    def accuracy(features: Tensor) -> float:
        right = vit.mlp_head(features).argmax(dim=1) == labels
        return right.double().mean().item()

    found, first = accuracy(out[:, 1:].mean(dim=1)), accuracy(out[:, 0])
    if abs(share - found) < 0.015:
        return (
            "the head finds the class less often than on token 0, which it "
            "was trained on, and less often than the probe fitted to the mean."
        )
    if abs(share - 100 * found) < 1.5:
        raise Hint("that is a percentage: give the share, between 0 and 1.")
    if abs(share - 500 * found) < 7.5:
        raise Hint("that counts the images. Divide by their number.")
    if abs(share - first) < 0.015:
        raise Hint("that is the head on token 0. Feed it the patches' mean.")
    if not 0 <= share <= 1:
        raise Hint("an accuracy lies between 0 and 1.")
    before = accuracy(tokens[:, 1:].mean(dim=1))
    if abs(share - before) < 0.015:
        raise Hint("that is the mean before the encoder. Take it after.")
    if share > found:
        raise Hint(
            "that is too high. Is it the probe's accuracy? It was fitted to "
            "the mean; the model's head was not."
        )
    raise Hint(
        "that is too low. Average the 49 patches after the last layer, and "
        "give the mean to vit.mlp_head."
    )


@cache
def encoded(images: int) -> Tensor:
    """Return what the encoder makes of the tokens of some test images."""
    vit, tokens, _ = model_and_tokens(images)
    return vit.transformer(tokens)
