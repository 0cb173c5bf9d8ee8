"""Each exercise takes the right answer, and says of a wrong one what is wrong with it.

Right answers are those of the solutions in the chapters, where nbval runs each through its check.
"""

import re
from functools import partial

import nbformat
import notebooks
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from einops import rearrange
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from vit_tutorial import load_pretrained
from vit_tutorial.bugs import broken_copy
from vit_tutorial.exercises import EXERCISES, check
from vit_tutorial.records import column


def convert(weight, pattern="d (c p1 p2) -> d (p1 p2 c)", **sizes):
    return rearrange(weight, pattern, **({"c": 3, "p1": 32} | sizes))


def class_last(tokens):
    return torch.cat((tokens[:, 1:], tokens[:, :1]), dim=1)


def alike(axis=1, first=1, own=None):
    """The book's position embeddings, from row `first` replaced by a mean."""
    table = load_pretrained("fashion").pos_embedding.detach().clone()
    mean = table[:, 1 if own is None else own :].mean(dim=axis, keepdim=True)
    table[:, first:] = mean if axis == 1 else mean.expand(-1, -1, table.shape[2])
    return table


def product(down, along, waves=15, wave=torch.cos, sum_up=torch.sum):
    frequency = 10_000 ** (-torch.arange(16) / waves)
    return sum_up(wave(down * frequency)) + sum_up(wave(along * frequency))


def growth(q, c, power=0.5):
    return q @ c / q.shape[-1] ** power


def keep_half(tokens, *, first=(0,), count=24):
    kept = torch.cat((torch.tensor(first), 1 + torch.randperm(49)[:count]))
    return tokens[:, kept.long()]


def silence(encoder, parts=("attention", "mlp"), names=("weight", "bias"), everything=False):
    for attention, feed_forward in encoder.layers:
        layers = {"attention": attention.fn.to_out[0], "mlp": feed_forward.fn.net[3]}
        for part in parts:
            for name in names:
                getattr(layers[part], name).zero_()
    if everything:
        for parameter in encoder.parameters():
            parameter.zero_()


def choices(run, shift=1, loss=np.argmin):
    by_loss = int(loss(column(run, "validation_loss"))) + shift
    by_training = int(np.argmax(column(run, "train_accuracy"))) + shift
    return run[-1]["epoch"] - 1 + shift, by_loss, by_training


def bag_of(kernel, average=(2, 3)):
    torch.manual_seed(0)
    filters = torch.randn(10, 1, kernel, kernel)

    def model(x):
        maps = F.conv2d(x, filters, padding=kernel // 2).relu()
        return maps.mean(dim=average) if average else maps

    return model


def mix(maps, keep=0.0, order=1):
    rows = torch.eye(maps[0].shape[-1], dtype=maps[0].dtype)
    for attention in maps[::order]:
        step = (1 - keep) * attention.mean(dim=0) + keep * torch.eye(len(rows))
        rows = step @ rows
    return rows


def is_alone(model, images):
    alone = torch.cat([model(image[None]) for image in images])
    return torch.allclose(model(images), alone, atol=1e-4)


def is_deterministic(model, images):
    return torch.equal(model(images), model(images))


def after_the_mlp(vit, layer=None):
    for _, feed_forward in vit.transformer.layers:
        feed_forward.fn.net.append(layer or nn.GELU())


def silence_all(vit):
    silence(vit.transformer)


def broken_by(bug):
    return lambda vit: broken_copy(vit, bug)


# For each exercise: the solution's answer; what no hint may say, a pattern; and wrong answers, each
# with words of the hint that fits its mistake.
EXPECTED = {
    "ex-tokens-crossing": (
        224 / (2 * 768) ** 0.5,
        r"5\.7|1,?536|2D",
        [
            (1536, "number of tokens"),
            (224 / 1536, "√n"),
            (224 / 768**0.5, "Divide both sides"),
            (224 / (6 * 768) ** 0.5, "MLP"),
            (16, "Try a smaller patch"),
            (4, "Try a larger patch"),
            (-3, "1 to 224"),
        ],
    ),
    "ex-tokens-resolution": (
        (5.36, 14.69),
        r"5\.[34]|14\.7",
        [
            ((16, 16), "how the pairs grow"),
            ((4, 4), "how the tokens grow"),
            ((14.69, 5.36), "other order"),
            ((4.49, 12.78), "MLP"),
            ((2, 4), "in between"),
            ((5.36, 16), "second factor"),
            ((8, 14.69), "first factor"),
        ],
    ),
    "ex-tokens-pool": (
        (False, True),
        r"whole windows|\bstays?\b",
        [((True, True), "by one pixel"), ((False, False), "by two pixels")],
    ),
    "ex-patches-count": (
        (576, 768),
        r"\b(576|768|24)\b",
        [
            ((24, 768), "one side"),
            ((577, 768), "class token"),
            ((196, 768), "224 × 224"),
            ((576, 256), "three colours"),
            ((768, 576), "other order"),
            ((576, 1000), "flatten one patch"),
        ],
    ),
    "ex-patches-order": (
        convert,
        r"p1 p2 c|c=3",
        [
            (lambda weight: weight, "nothing has moved"),
            (partial(convert, pattern="d (p1 p2 c) -> d (c p1 p2)"), "way back"),
            (partial(convert, pattern="d (c p1 p2) -> d (p2 p1 c)"), "p1 must stay before p2"),
            (partial(convert, pattern="d (c p1 p2) -> (p1 p2 c) d"), "D comes first"),
            (partial(convert, pattern="d (c p1 p2) -> d (c p2 p1)"), "another order"),
            (lambda weight: 2 * weight, "only reordered"),
            (lambda weight: weight[:, :768], "shape"),
        ],
    ),
    "ex-patches-shift": (
        (49, 0, [32]),
        r"\b(49|0|none|all)\b(?! 3072)|\[32\]",
        [
            ((42, 0, [32]), "where do they go"),
            ((0, 0, [32]), "neighbour"),
            ((49, 48, [32]), "whole patches"),
            ((49, 0, [16, 32]), "moved by 16 pixels"),
            ((49, 0, []), "missing in your list"),
        ],
    ),
    "ex-class-last": (
        class_last,
        r"cat|\[:",
        [
            (lambda tokens: tokens, "still the last patch"),
            (lambda tokens: tokens[:, 1:], "left out"),
            (lambda tokens: torch.cat((tokens, tokens[:, :1]), dim=1), "twice"),
            (lambda tokens: tokens.roll(1, dims=1), "other way"),
            (lambda tokens: class_last(tokens) + 1, "not the class token"),
        ],
    ),
    "ex-class-twice": (
        (False, True),
        r"\bequal\b|\bsame\b|\b51\b",
        [((True, True), "two copies"), ((False, False), "one more token")],
    ),
    "ex-class-wrong": (
        0.794,
        r"0\.79|79",
        [
            (79.4, "percentage"),
            (397, "counts the images"),
            (0.934, "on token 0"),
            (0.9, "probe"),
            (0.3, "too low"),
            (-1, "between 0 and 1"),
        ],
    ),
    "ex-position-mean": (
        alike(),
        r"\[:|dim=1|keepdim",
        [
            (alike(axis=2, own=1, first=1), "wrong axis"),
            (alike(first=0), "class token's embedding has changed"),
            (alike(own=0), "went into the mean"),
            (alike()[0], "shape"),
            (torch.cat((alike()[:, :1], torch.zeros(1, 49, 64)), dim=1), "zeros"),
        ],
    ),
    "ex-position-offset": (
        product,
        r"\b32\b|arange",
        [
            (lambda down, along: product(down, 0) - 16, "two of them"),
            (partial(product, wave=torch.sin), "a sine"),
            (partial(product, waves=16), "15 steps"),
            (partial(product, sum_up=torch.mean), "mean over the waves"),
            (lambda down, along: product(down, along) / 32, "cosine similarity"),
            (lambda down, along: 0, r"(0, 0)"),
        ],
    ),
    "ex-position-grid": (
        (False, True),
        r"\b65\b|\bsame\b|torn",
        [((True, True), "how many vectors"), ((False, False), "vector 7")],
    ),
    "ex-attention-equal": (
        ([5, 5], [0, 10]),
        r"\b(5|10)\b|\bmean\b",
        [
            (([15, 15], [0, 10]), "sum to 1"),
            (([0, 0], [0, 10]), "Softmax comes first"),
            (([5, 5], [0, 1000]), "the score as the weight"),
            (([5, 5], [5, 5]), "far from equal"),
        ],
    ),
    "ex-attention-shift": (
        growth,
        r"q · c\b|q @ c|0\.5",
        [
            (partial(growth, power=0), "off by √d"),
            (partial(growth, power=1), "off by √d"),
            (lambda q, c: q @ c[:, None] + torch.zeros(6), "every pair"),
            (lambda q, c: (c @ c).expand(6), "depends on its query"),
            (lambda q, c: c.sum().expand(6), "same for every row"),
        ],
    ),
    "ex-attention-order": (
        lambda out, order: out[:, order],
        r"\[:|index",
        [
            (lambda out, order: out, "invariance"),
            (lambda out, order: out[:, order.argsort()], "way back"),
            (lambda out, order: out[..., order], "wrong axis"),
            (lambda out, order: out.flip(1), "only its place"),
        ],
    ),
    "ex-encoder-drop": (
        keep_half,
        r"\[:|cat|randperm",
        [
            (lambda tokens: tokens * (torch.arange(50) < 25)[:, None], "still 50"),
            (partial(keep_half, first=(), count=25), "class token is missing"),
            (partial(keep_half, count=23), "one patch short"),
            (lambda tokens: tokens[..., :4], "wrong axis"),
            (lambda tokens: tokens[:, [*range(1, 25), 0]], "place 0"),
            (lambda tokens: tokens[:, [0] + [3] * 24], "twice"),
        ],
    ),
    "ex-encoder-heads": (
        (12, 32),
        r"14,|12 heads|\(12, 32\)(?<!or \(12, 32\))",
        [((6, 128), "Multiply"), ((12, 64), "choose")],
    ),
    "ex-encoder-shortcut": (
        silence,
        r"to_out\[0\]|net\[3\]|zero_",
        [
            (partial(silence, parts=["attention"]), "MLPs still add"),
            (partial(silence, parts=["mlp"]), "attention layers still add"),
            (partial(silence, names=["weight"]), "a bias"),
            (partial(silence, everything=True), "no gradient"),
        ],
    ),
    "ex-training-choose": (
        choices,
        r"arg(min|max)",
        [
            (partial(choices, shift=0), "epochs at 1"),
            (partial(choices, loss=np.argmax), "the worst epoch"),
            (lambda run: (choices(run)[0], 1e9, 1), "validation_loss"),
            (lambda run: (choices(run)[0], min(column(run, "validation_loss")), 1), "the value"),
        ],
    ),
    "ex-training-shuffled": (
        (0.03, 0.06),
        r"0\.0|ln 10",
        [
            ((2.3, 0.1), "the same 64 images again"),
            ((0.03, 6), "between 0 and 1"),
            ((0.03, 0.8), "Are the images new"),
            ((0.03, 0.4), "more images"),
            ((-1, 0.1), "never negative"),
        ],
    ),
    "ex-training-schedule": (
        (0.54, 0.0),
        r"0\.54|0\.0",
        [
            ((0.0, 0.54), "other order"),
            ((0.80, 0.50), "mean over the run"),
            ((54, 0), "shares"),
            ((0.54, 0.54), "by its own schedule"),
            ((0.3, 0.0), "half of its schedule"),
        ],
    ),
    "ex-bias-pixels": (
        bag_of(1),
        r"Conv2d|1 × 1",
        [
            (bag_of(3), "sees neighbours"),
            (bag_of(1, average=None), "average over all places"),
            (nn.Sequential(nn.Flatten(), nn.Linear(784, 10)), "sees neighbours"),
            (lambda x: torch.zeros(len(x), 10), "reads no pixels"),
            (lambda x: torch.randn(len(x), 10), "two answers"),
        ],
    ),
    "ex-bias-taught": (
        (0.4, 5.2, 40.2),
        r"\b40\b",
        [
            ((-0.4, -5.2, -40.2), "positive"),
            ((0.004, 0.052, 0.402), "shares"),
            ((93.0, 88.2, 53.2), "accuracy that is left"),
            ((0.4, 5.2, 10), "move by 4"),
        ],
    ),
    "ex-bias-vote": (
        (13.0, 9),
        r"\b(9|nine|13)\b",
        [
            ((13.0, 8), "(0, 0)"),
            ((13.0, 3), "two directions"),
            ((13.0, 1), "how many passes"),
            ((0.13, 9), "a share"),
            ((-13.0, 9), "the sign"),
            ((65.0, 9), "Subtract"),
        ],
    ),
    "ex-maps-residual": (
        mix,
        r"mean\(|@ rows",
        [
            (partial(mix, keep=0.5), "still in it"),
            (partial(mix, order=-1), "on the left"),
            (lambda maps: maps[-1].mean(dim=0), "last layer alone"),
            (lambda maps: sum(maps).mean(dim=0), "Multiply"),
            (lambda maps: maps[0] @ maps[1], "Average over the heads"),
        ],
    ),
    "ex-maps-heads": (
        (4, 1),
        r"layer 4|head 1|\(4, 1\)",
        [
            ((3, 0), "count from 1"),
            ((1, 4), "other order"),
            ((7, 1), "6 layers"),
            ((1, 3), "number 2 of 24"),
        ],
    ),
    "ex-maps-least": (
        "both",
        r"\bboth notice\b",
        [("first", "last-ranked"), ("last", "first-ranked"), ("neither", "measure both")],
    ),
    "ex-pretrained-head": (
        (0.5, 0.5),
        r"0\.5|\bhalf\b",
        [((0, 0), "its logits"), ((0.9, 0.9), "sum to 1"), ((1, 0), "prefers one")],
    ),
    "ex-pretrained-eps": (
        (0.0, 0.133),
        r"0\.00|0\.1",
        [
            ((0.133, 0.0), "other order"),
            ((0.1, 0.133), "it's another number"),
            ((0.0, 0.00836), "mean move"),
            ((0.0, 0.00691), "first image alone"),
            ((0.0, 0.5), "the first is right"),
        ],
    ),
    "ex-pretrained-grid": (
        (False, 0.38),
        r"0\.3|3\d%",
        [
            ((True, 0.1), "try it"),
            ((False, 38.0), "as a share"),
            ((False, 0.87), "right way round"),
            ((False, 0.1), "copy the resized embeddings"),
        ],
    ),
    "ex-bugs-after": (
        ["scores_are_scaled", "weights_sum_to_one"],
        r"weights_sum_to_one|scores_are_scaled",
        [
            (["weights_sum_to_one"], "something else does, too"),
            (["tokens_are_alike"], "tokens_are_alike holds"),
            (["rows_sum_to_one"], "no property is called 'rows_sum_to_one'"),
        ],
    ),
    "ex-bugs-any": (
        (is_alone, is_deterministic),
        r"torch\.|\[None\]",
        [
            ((lambda model, images: True, is_deterministic), "is_alone says True"),
            ((is_alone, lambda model, images: True), "is_deterministic says True"),
            ((lambda model, images: False, is_deterministic), "is_alone says False"),
        ],
    ),
    "ex-bugs-eleventh": (
        after_the_mlp,
        r"GELU",
        [
            (silence_all, "Leave the weights alone"),
            (partial(after_the_mlp, layer=torch.nn.Dropout(0.0)), "nothing is wrong"),
            (partial(after_the_mlp, layer=torch.nn.Flatten()), "stops with"),
            (broken_by("softmax over queries"), "weights_sum_to_one catches it"),
        ],
    ),
    "ex-playground-few": (
        [27, 43, 25],
        r"\b(27|43|25)\b",
        [
            ([0, 1, 2], "the model says"),
            ([49], "0 to 48"),
            ([27, 27], "twice"),
            ([(4, 7)], "one number"),
            (range(49), "fewer than half"),
        ],
    ),
    "ex-playground-fool": (
        [17, 14, 25, 24, 23, 26, 27, 16],
        r"\b(17|14|25|24|23|26|27|16)\b(?!%)",
        [
            ([0], "still a Sneaker"),
            ([-1], "0 to 48"),
            (
                [p for p in range(49) if p not in (17, 14, 25, 24, 23, 26, 27, 16)],
                "those that stay",
            ),
            (list(range(49)), "more than half"),
        ],
    ),
}


def test_every_exercise_is_expected_here():
    assert EXPECTED.keys() == EXERCISES.keys()


@pytest.mark.parametrize("name", EXPECTED)
def test_the_solution_is_right(name):
    reply = check(name, EXPECTED[name][0])
    assert reply
    assert reply.text.startswith("Right: ")


@pytest.mark.parametrize(
    ("name", "answer", "words"),
    [(name, answer, words) for name, (_, _, wrong) in EXPECTED.items() for answer, words in wrong],
)
def test_a_typical_mistake_gets_the_hint_that_fits(name, answer, words):
    reply = check(name, answer)
    assert not reply
    assert reply.text.startswith("Not yet: ")
    assert words in reply.text


@pytest.mark.parametrize("name", EXPECTED)
def test_no_hint_gives_the_answer_away(name):
    hints = {check(name, answer).text for answer, _ in EXPECTED[name][2]}
    said = [*hints, check(name).text, check(name, "nonsense").text]
    assert not [text for text in said if re.search(EXPECTED[name][1], text)]
    assert len(hints) > 1  # nor is there one hint for all mistakes


@pytest.mark.parametrize("name", EXPECTED)
@pytest.mark.parametrize("nothing", [None, ..., (), "default"], ids=str)
def test_no_answer_is_no_mistake(name, nothing):
    reply = check(name) if nothing == "default" else check(name, nothing or (..., 1))
    assert not reply
    assert reply.text.startswith("No answer yet: give ")


@pytest.mark.parametrize("name", [n for n in EXPECTED if callable(EXPECTED[n][0])])
def test_a_function_that_is_still_to_be_written_is_no_mistake(name):
    def empty(*arguments): ...

    assert check(name, empty).text.startswith("No answer yet: ")


# What nobody should give: of the wrong kind or shape, not a number, or a function that fails.
NUMBERS = st.one_of(
    st.integers(-3, 5), st.floats(), st.sampled_from([1j, True, 10**5000, np.float32(0.5)])
)
TENSORS = st.builds(
    lambda shape, kind: torch.ones(shape, dtype=kind),
    st.lists(st.integers(0, 4), max_size=4),
    st.sampled_from([torch.uint8, torch.bool, torch.float32, torch.bfloat16, torch.complex64]),
)
SIMPLE = st.one_of(
    NUMBERS,
    TENSORS,
    st.text(max_size=50),
    st.sampled_from([
        object(), {}, {"a": 1}, set(), b"", int, torch.full((1, 50, 64), torch.nan),
        np.array(["a"]), np.array([None]), torch.empty(3, device="meta"),
        torch.eye(2).to_sparse(), nn.Linear(3, 3), ValueError("no"),
    ]),
)  # fmt: skip
NONSENSE = st.one_of(SIMPLE, st.lists(SIMPLE, max_size=4), st.lists(NUMBERS, max_size=3).map(tuple))


def failing(error):
    def function(*arguments):
        raise error

    return function


FUNCTIONS = st.one_of(
    NONSENSE.map(lambda result: lambda *arguments: result),
    st.sampled_from([KeyError("a"), RuntimeError(""), RecursionError(), StopIteration()]).map(
        failing
    ),
    st.sampled_from([lambda: 0, lambda a, b, c, d: 0, len, str, torch.cat, dict]),
)


# Two numbers that are right here are easily hit: half and half, and any two near zero.
BY_CHANCE = {"ex-pretrained-head", "ex-training-shuffled"}
NOT_BY_CHANCE = sorted(EXPECTED.keys() - BY_CHANCE)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(NOT_BY_CHANCE), st.one_of(NONSENSE, FUNCTIONS))
def test_nonsense_gets_a_friendly_line(name, answer):
    reply = check(name, answer)
    assert not reply
    assert reply.text.startswith(("No answer yet: ", "Not yet: ", "Give "))
    assert max(map(len, str(reply).splitlines())) <= 80


@pytest.mark.parametrize(
    ("name", "answer", "words"),
    [
        ("ex-tokens-crossing", True, "this is True"),
        ("ex-tokens-crossing", "5.7", "this is '5.7'"),
        ("ex-tokens-crossing", torch.ones(2), "this is a Tensor of shape (2,)"),
        ("ex-tokens-crossing", 10**400, "a very large int"),
        ("ex-tokens-crossing", float("nan"), "nan is not a number to compare with"),
        ("ex-tokens-pool", (0, 1), "this is 0"),
        ("ex-patches-count", (576, 768, 3), "this is a tuple of 3"),
        ("ex-position-mean", alike().to(torch.complex64), "this is a Tensor of shape (1, 50, 64)"),
        ("ex-position-mean", alike().bool(), "this is a Tensor of shape (1, 50, 64)"),
        ("ex-position-mean", alike() / 0, "nan or infinity"),
        ("ex-position-mean", convert, "this is an object of type function"),
        ("ex-patches-order", torch.ones(2, 3072), "this is a Tensor of shape (2, 3072)"),
    ],
)
def test_what_is_of_another_kind_is_named(name, answer, words):
    assert words in check(name, answer).text


def test_a_function_that_fails_is_quoted():
    reply = check("ex-patches-order", failing(KeyError("p2")))
    assert "it stops with KeyError: 'p2'" in reply.text
    reply = check("ex-patches-order", lambda weight: "weight")
    assert "yours returns 'weight'" in reply.text


@pytest.mark.parametrize("name", ["ex-patches-cuont", "ex-patches", "ex-patches-42"])
def test_an_unknown_name_gets_the_names_of_its_chapter(name):
    reply = check(name, 1)
    assert not reply
    assert f"There is no exercise '{name}'." in reply.text
    named = set(re.findall(r"ex-[a-z-]+", reply.text.split(".", 1)[1]))
    assert named == {"ex-patches-count", "ex-patches-order", "ex-patches-shift"}


@pytest.mark.parametrize("name", ["", 3, None, check])
def test_a_name_that_is_none_gets_a_reply(name):
    assert "exercise" in check(name, 1).text


def test_a_check_draws_no_random_number_of_the_notebook():
    before = torch.get_rng_state()
    assert check("ex-encoder-drop", keep_half)
    assert check("ex-attention-order", EXPECTED["ex-attention-order"][0])
    assert torch.equal(before, torch.get_rng_state())


# The chapters


def chapters():
    """The numbered chapters: number -> notebook."""
    files = (notebooks.ROOT / "book").glob("[01]*.ipynb")
    return {int(path.name[:2]): nbformat.read(path, 4) for path in files}


def labelled(notebook):
    """The places of its exercises: label -> index of the cell that asks."""
    found = {}
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown":
            for label in re.findall(r"^### Exercise `(ex-\S+)`$", cell.source, re.M):
                found[label] = index
    return found


def said(cell):
    """What the cell's last output says, as text."""
    return cell.outputs[-1].get("data", {}).get("text/plain", "")


def test_every_exercise_of_the_chapters_has_a_check_and_the_other_way_round():
    in_book = {(label, n) for n, notebook in chapters().items() for label in labelled(notebook)}
    assert in_book == {(name, each.chapter) for name, each in EXERCISES.items()}
    assert min(len(labelled(notebook)) for notebook in chapters().values()) >= 2


@pytest.mark.parametrize("number", sorted(chapters()))
def test_a_cell_for_the_answer_and_then_the_solution_follow_each_exercise(number):
    notebook = chapters()[number]
    for label, index in labelled(notebook).items():
        answer, solution = notebook.cells[index + 1 : index + 3]
        # Not on the page, which cannot run it; open in JupyterLab, where it waits.
        assert answer.metadata.tags == ["remove-input", "remove-output"]
        assert "jupyter" not in answer.metadata
        assert f'check("{label}", ' in answer.source
        assert said(answer).startswith("No answer yet: ")
        assert solution.metadata.tags == ["hide-cell"]
        # JupyterLab shows a folded cell's first line, so that must not be the explanation.
        source = solution.source.removeprefix("# NBVAL_IGNORE_OUTPUT\n")
        assert source.startswith("# The solution.\n# ")
        assert f'check("{label}", ' in solution.source
        assert said(solution).startswith("Right: ")
        if "NBVAL_IGNORE_OUTPUT" in solution.source:
            assert "assert reply.right" in solution.source


@pytest.mark.parametrize("number", sorted(chapters()))
def test_a_chapter_s_first_figure_has_a_name_to_read_and_to_set_it_by(number):
    code = [cell for cell in chapters()[number].cells if cell.cell_type == "code"]
    (place,) = (i for i, cell in enumerate(code) if re.search(r"^fig = ", cell.source, re.M))
    assert code[place].source.endswith("\nfig")
    assert "text/html" in code[place].outputs[-1].data
    beside = code[place + 1]
    assert beside.metadata.tags == ["remove-input", "remove-output"]
    assert re.search(r"^print\(.*fig\.\w+", beside.source, re.M)
    assert re.search(r"^fig\.\w+ = ", beside.source, re.M)
