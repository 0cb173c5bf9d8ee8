"""Training: the recipe's parts, the same numbers after every interruption, and bad input."""

import io
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from conftest import randomise

from vit_tutorial import ViT, data, load_model, optimizers, recipes, train
from vit_tutorial import run as runs
from vit_tutorial.cnn import CNN
from vit_tutorial.patch_dropout import SomePatches, draw_patches
from vit_tutorial.recipes import RECIPES, Recipe
from vit_tutorial.records import is_finished

MODEL = {"image_size": 28, "patch_size": 7, "num_classes": 10, "channels": 1, "qkv_bias": True}
MODEL |= {"dim": 16, "depth": 2, "heads": 2, "dim_head": 8, "mlp_dim": 24}
TINY = Recipe(
    model=MODEL,
    subset=300,
    validation=100,
    epochs=4,
    repeats=1,
    batch_size=20,
    lr=2e-3,
    matrix_lr=0.02,
    weight_decay=0.05,
    warm_up=0.2,
    label_smoothing=0.05,
    clip=1.0,
    flip=True,
    shift=1,
    erase=5,
    drop_patches=0.5,
)
CNN_MODEL = {"num_classes": 10, "channels": 1, "widths": (2, 3, 4)}
TINY_CNN = replace(TINY, architecture="CNN", model=CNN_MODEL, drop_patches=0.0)


def run(recipe, folder, **more):
    return train.train(recipe, folder, **more)


def read_log(folder) -> list[dict]:
    """Each line by itself; NaN, which is no JSON, is refused."""
    lines = (folder / "log.jsonl").read_text("utf8").split("\n")
    assert lines.pop() == ""  # the last line ends too

    def no_json(constant):
        raise AssertionError(f"{constant} is not JSON")

    return [json.loads(line, parse_constant=no_json) for line in lines]


def numbers(records, *, but=("resume",)) -> list[dict]:
    """What has to be the same when a run is repeated: all but the time that it took."""
    timed = ("seconds", "images_per_second")
    return [
        {key: value for key, value in record.items() if key not in timed}
        for record in records
        if record["event"] not in but
    ]


def assert_same_weights(a, b):
    a, b = a.state_dict(), b.state_dict()
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


@pytest.fixture(scope="module")
def whole(tmp_path_factory, _few_test_pictures):
    """A run that nothing interrupted: its folder, model and records."""
    folder = tmp_path_factory.mktemp("whole")
    return (folder, *run(TINY, folder, command="python a command"))


@contextmanager
def interrupted(name, calls):
    """Let a function of the module fail when it has been called so often."""
    real, left = getattr(train, name), calls

    def counted(*args, **kwargs):
        nonlocal left
        if not left:
            raise KeyboardInterrupt
        left -= 1
        return real(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, name, counted)
        with pytest.raises(KeyboardInterrupt):
            yield


@cache
def few_test_pictures(name, split, subset=None):
    return data.load_dataset(name, split, 1_000 if split == "test" else subset)


@pytest.fixture(scope="module", autouse=True)
def _few_test_pictures():
    """What trains in this process reads a tenth of the test set, and no file twice."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "load_dataset", few_test_pictures)
        patch.setattr(recipes, "load_dataset", few_test_pictures)
        yield


# The parts of the recipe


@pytest.mark.parametrize("warm_up", [0.0, 0.05, 0.3])
def test_the_learning_rate_rises_straight_and_falls_as_half_a_cosine(warm_up):
    rates = [optimizers.learning_rate(step / 1_000, warm_up) for step in range(1_001)]
    top = round(1_000 * warm_up)
    assert rates[top] == max(rates) == 1
    assert rates[-1] == pytest.approx(0, abs=1e-12)
    assert rates[:top] == pytest.approx([step / top for step in range(top)])
    falling = rates[top:]
    assert all(after < before for before, after in pairwise(falling))
    # A cosine from 1 to -1, scaled: half the way down in the middle, and the same about it.
    assert falling == pytest.approx([1 - rate for rate in falling[::-1]])
    third = optimizers.learning_rate(warm_up + (1 - warm_up) / 3, warm_up)
    assert third == pytest.approx(0.75)  # cos(60 degrees) = 1/2


def test_every_step_of_a_run_has_its_learning_rate(tmp_path, monkeypatch):
    """Ten steps in an epoch, each with the rate of its middle: the first has one, and the last."""
    seen = []
    real = torch.optim.AdamW.step, torch.optim.Muon.step

    def watch(self, *args, _real):
        seen.append((type(self).__name__, [group["lr"] for group in self.param_groups]))
        return _real(self, *args)

    for kind, step in zip((torch.optim.AdamW, torch.optim.Muon), real, strict=True):
        watched = lambda self, *args, step=step: watch(self, *args, _real=step)  # noqa: E731
        monkeypatch.setattr(kind, "step", watched)
    run(replace(TINY, epochs=2, lr=0.004, matrix_lr=0.03), tmp_path)
    for name, groups, highest in (("AdamW", 2, 0.004), ("Muon", 1, 0.03)):
        rates = [rates for kind, rates in seen if kind == name]
        shares = [(k + 0.5) / 4 for k in range(4)]
        shares += [math.cos(math.pi * (k + 0.5) / 32) ** 2 for k in range(16)]  # (1 + cos 2x) / 2
        assert rates == [pytest.approx([share * highest] * groups) for share in shares]


def test_matrices_decay_and_the_blocks_are_muon_s():
    recipe = replace(TINY, weight_decay=0.07, lr=0.002, matrix_lr=0.03)
    vit = ViT(**MODEL)
    adamw, muon = optimizers.build_optimizers(vit, recipe)
    assert isinstance(adamw, torch.optim.AdamW)
    assert isinstance(muon, torch.optim.Muon)
    name_of = {parameter: name for name, parameter in vit.named_parameters()}
    groups = {
        (type(optimizer).__name__, group["lr"], group["weight_decay"]): {
            name_of[parameter] for parameter in group["params"]
        }
        for optimizer in (adamw, muon)
        for group in optimizer.param_groups
    }
    block = "transformer.layers.{}.{}"
    matrices = ["0.fn.to_qkv", "0.fn.to_out.0", "1.fn.net.0", "1.fn.net.3"]
    norms = ["0.norm.weight", "0.norm.bias", "1.norm.weight", "1.norm.bias"]
    assert groups == {
        ("Muon", 0.03, 0.07): {
            block.format(i, name) + ".weight" for i in (0, 1) for name in matrices
        },
        ("AdamW", 0.002, 0.07): {"to_patch_embedding.1.weight", "mlp_head.1.weight"},
        ("AdamW", 0.002, 0.0): {
            "cls_token",
            "pos_embedding",
            "to_patch_embedding.1.bias",
            "mlp_head.0.weight",
            "mlp_head.0.bias",
            "mlp_head.1.bias",
        }
        | {block.format(i, name) + ".bias" for i in (0, 1) for name in matrices}
        | {block.format(i, name) for i in (0, 1) for name in norms},
    }


@pytest.mark.parametrize(
    ("model", "decaying"),
    [
        (ViT(**MODEL | {"position": "learned_2d"}), 10),
        (CNN(**CNN_MODEL), 7),  # six convolutions and the head
    ],
    ids=["ViT", "CNN"],
)
def test_without_muon_adamw_has_every_parameter_once(model, decaying):
    (adamw,) = optimizers.build_optimizers(model, replace(TINY, matrix_lr=None, weight_decay=0.07))
    decay, rest = adamw.param_groups
    assert (decay["weight_decay"], rest["weight_decay"]) == (0.07, 0.0)
    assert len(decay["params"]) == decaying
    assert all(parameter.ndim >= 2 for parameter in decay["params"])
    found = [id(p) for p in decay["params"] + rest["params"]]
    assert sorted(found) == sorted(id(p) for p in model.parameters())


def test_a_cnn_has_nothing_for_muon():
    (only,) = optimizers.build_optimizers(CNN(**CNN_MODEL), replace(TINY_CNN, matrix_lr=0.02))
    assert isinstance(only, torch.optim.AdamW)


# The split


def test_the_last_of_each_class_are_held_out():
    images, labels = data.load_dataset("fashion_mnist", "train", 400)
    kept, kept_labels, held_out, held_out_labels = recipes.load_pictures(
        replace(TINY, subset=400, validation=50)
    )
    for number in range(10):
        own = images[labels == number]
        assert torch.equal(kept[kept_labels == number], own[:35])
        assert torch.equal(held_out[held_out_labels == number], own[35:])
    together = torch.cat((kept, held_out)).flatten(1)
    assert len(together.unique(dim=0)) == len(images.flatten(1).unique(dim=0)) == 400
    assert not torch.equal(kept_labels, kept_labels.sort().values)  # the original order


@pytest.mark.parametrize("train_on", [10, 60, 350])
def test_what_is_held_out_does_not_depend_on_how_many_train(train_on):
    recipe = replace(TINY, subset=400, validation=50)
    most, most_labels, *expected = recipes.load_pictures(recipe)
    images, labels, *held_out = recipes.load_pictures(replace(recipe, train_on=train_on))
    assert all(map(torch.equal, held_out, expected))
    assert len(images) == len(labels) == train_on
    for number in range(10):
        first = most[most_labels == number][: train_on // 10]
        assert torch.equal(images[labels == number], first)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"validation": 0}, "validation must be .* from 10 to 290, got 0"),
        ({"validation": 55}, "validation must be a multiple of 10 .*got 55"),
        ({"validation": 300}, "validation must be .* from 10 to 290, got 300"),
        ({"validation": -10}, "validation must be .* from 10 to 290, got -10"),
        ({"train_on": 0}, "train_on must be .* from 10 to 200, got 0"),
        ({"train_on": 15}, "train_on must be a multiple of 10 .*got 15"),
        ({"train_on": 210}, "train_on must be .* from 10 to 200, got 210"),
        ({"subset": 7}, "cannot take a subset of 7"),
        ({"dataset": "mnist"}, "unknown data set 'mnist'"),
        ({"batch_size": 201}, "batch_size must be at most .*200.*got 201"),
        ({"model": MODEL | {"patch_size": 5}}, "patches of 5 x 5"),
        ({"shift": 28}, "shift must be less than the images' 28 pixels, got 28"),
        ({"erase": 100}, "erase must be less than the images' 28 pixels, got 100"),
        ({"drop_patches": 0.995}, "drop_patches=0.995 would show none of the 16 patches .*0.93"),
    ],
)
def test_a_recipe_that_does_not_fit_its_data_is_refused(change, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        run(replace(TINY, **change), tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architecture": "MLP"}, "architecture is ViT or CNN, got 'MLP'"),
        ({"architecture": "CNN"}, "drop_patches must be 0 for a CNN"),
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"repeats": 0}, "repeats must be at least 1, got 0"),
        ({"drop_patches": 1.0}, "drop_patches must be 0 or more, below 1; got 1.0"),
        ({"warm_up": 1.5}, "warm_up .*got 1.5"),
        ({"label_smoothing": -0.1}, "label_smoothing .*got -0.1"),
        ({"clip": -1}, "clip must be a number above 0, or None to do without it; got -1"),
        ({"clip": 0.0}, "clip must be a number above 0, or None .*got 0.0"),
        ({"clip": math.nan}, "clip must be a number above 0, or None .*got nan"),
        ({"lr": -1}, "lr must be a number above 0; got -1"),
        ({"lr": math.inf}, "lr must be a number above 0; got inf"),
        ({"matrix_lr": -0.1}, "matrix_lr must be a number above 0, or None .*got -0.1"),
        ({"weight_decay": -0.1}, "weight_decay must be 0 or more, got -0.1"),
        ({"shift": -1}, "shift must be at least 0, got -1"),
        ({"erase": -3}, "erase must be at least 0, got -3"),
        ({"erase": 2.5}, "erase must be a whole number, got 2.5"),
        ({"epochs": "4"}, "epochs must be a whole number, got '4'"),
        ({"lr": "fast"}, "lr must be a number, got 'fast'"),
        ({"lr": None}, "lr must be a number, got None"),
        ({"choose_epoch": "last"}, "choose_epoch must be True or False, got 'last'"),
        (
            {"model": MODEL | {"num_classes": 5}},
            "fashion_mnist has 10 classes: the model's num_classes must be 10, got 5",
        ),
    ],
)
def test_a_recipe_that_fits_nothing_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(TINY, **change)


def test_as_many_patches_may_be_dropped_as_the_refusal_says():
    """Of 16 patches one is left at first, of 0.93, and none is of 0.97."""
    vit, images = ViT(**MODEL), torch.zeros(1, 1, 28, 28)
    train.check_fit(replace(TINY, drop_patches=0.93), vit, images)
    with pytest.raises(ValueError, match=r"use at most 0\.93"):
        train.check_fit(replace(TINY, drop_patches=0.97), vit, images)


# Some of the patches


def some_patches(**overrides) -> SomePatches:
    return SomePatches(randomise(ViT(**(MODEL | overrides)).double()))


@pytest.mark.parametrize("pool", ["cls", "mean"])
@pytest.mark.parametrize("position", ["none", "learned", "learned_2d", "sincos_2d"])
def test_all_patches_in_any_order_give_the_model_s_logits(pool, position):
    """The encoder is equivariant; where a patch stands, its position embedding has said before."""
    net = some_patches(pool=pool, position=position)
    images = torch.randn(3, 1, 28, 28, dtype=torch.float64)
    everything = torch.rand(3, 16).argsort(dim=1)
    torch.testing.assert_close(net(images, everything), net.vit(images), atol=1e-12, rtol=0)


@pytest.mark.parametrize("pool", ["cls", "mean"])
def test_some_patches_are_the_encoder_on_their_tokens_alone(pool):
    net = some_patches(pool=pool)
    vit = net.vit
    images = torch.randn(2, 1, 28, 28, dtype=torch.float64)
    kept = torch.tensor([[3, 0, 11], [15, 7, 8]])
    logits = net(images, kept)
    weights = vit.state_dict()
    for image, chosen, result in zip(images, kept.tolist(), logits, strict=True):
        tokens = [weights["cls_token"][0, 0]] if pool == "cls" else []
        positions = weights["pos_embedding"][0]
        if pool == "cls":
            tokens[0] = tokens[0] + positions[0]
            positions = positions[1:]
        for n in chosen:
            patch = image[0, 7 * (n // 4) : 7 * (n // 4 + 1), 7 * (n % 4) : 7 * (n % 4 + 1)]
            projected = weights["to_patch_embedding.1.weight"] @ patch.flatten()
            tokens.append(projected + weights["to_patch_embedding.1.bias"] + positions[n])
        expected = vit.classify(vit.transformer(torch.stack(tokens)[None]))[0]
        torch.testing.assert_close(result, expected, atol=1e-12, rtol=0)
    assert (logits - vit(images)).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("share", "done", "kept"),
    [(0.5, 0, 8), (0.5, 0.5, 12), (0.5, 1, 16), (0.25, 0, 12), (0.9, 0, 2), (0.9, 0.9, 15)],
)
def test_each_picture_shows_so_many_patches_of_its_own(share, done, kept):
    recipe = replace(TINY, drop_patches=share)
    drawn = draw_patches(ViT(**MODEL), 500, recipe, done, torch.Generator().manual_seed(0))
    assert drawn.shape == (500, kept)
    assert all(len(set(row)) == kept and set(row) <= set(range(16)) for row in drawn.tolist())
    often = Counter(drawn.flatten().tolist())
    assert [often[n] / 500 for n in range(16)] == pytest.approx([kept / 16] * 16, abs=0.09)
    if kept < 16:
        assert len({tuple(sorted(row)) for row in drawn.tolist()}) > 10
    again = draw_patches(ViT(**MODEL), 500, recipe, done, torch.Generator().manual_seed(0))
    assert torch.equal(again, drawn)


# A run


def test_a_run_is_the_same_twice_and_another_with_another_seed(whole, tmp_path):
    _, model, records = whole
    torch.manual_seed(12345)  # what the caller draws changes nothing
    torch.randn(3)
    again, again_records = run(TINY, tmp_path / "again", command="python a command")
    assert_same_weights(again, model)
    assert numbers(again_records) == numbers(records)
    other, _ = run(TINY, tmp_path / "other", seed=1)
    weight = "mlp_head.1.weight"
    assert not torch.equal(other.state_dict()[weight], model.state_dict()[weight])


def test_one_step_is_the_one_written_out(tmp_path, monkeypatch):
    """One epoch of one step on all pictures, by AdamW alone: the first step is rate * sign(g).

    A step has the rate of its middle: of a run of one step, half the highest.
    """
    recipe = replace(
        TINY, epochs=1, batch_size=200, warm_up=0.0, matrix_lr=None, weight_decay=0.0, lr=2e-4
    )
    recipe = replace(recipe, flip=False, shift=0, erase=0, drop_patches=0.0, clip=None)
    # A fresh head is zero: its loss is log(10) whatever the labels, and no gradient passes it.
    monkeypatch.setitem(recipes.ARCHITECTURES, "ViT", lambda **given: randomise(ViT(**given)))
    images, labels, *_ = recipes.load_pictures(recipe)
    torch.manual_seed(0)
    before = randomise(ViT(**MODEL))
    logits = before((images / 255 - 0.2860) / 0.3530)
    smooth = 0.95 * F.one_hot(labels, 10) + 0.05 / 10
    loss = -(smooth * logits.log_softmax(dim=1)).sum(dim=1).mean()
    loss.backward()
    monkeypatch.setattr(runs, "save_model", lambda *_: None)  # it knows ViT by its own name
    after, records = run(recipe, tmp_path)
    assert records[1]["train_loss"] == pytest.approx(loss.item(), abs=2e-5)
    after = dict(after.named_parameters())
    for name, parameter in before.named_parameters():
        strong = parameter.grad.abs() > 1e-4
        assert strong.any(), name
        change = (after[name] - parameter)[strong]
        expected = -1e-4 * parameter.grad[strong].sign()
        torch.testing.assert_close(change, expected, rtol=0.01, atol=0)


@pytest.mark.parametrize("clip", [None, 0.01])
def test_the_gradient_is_no_longer_than_the_clip(clip, tmp_path, monkeypatch):
    lengths = []
    real = torch.optim.AdamW.step

    def step(self, *args):
        gradients = [p.grad.flatten() for group in self.param_groups for p in group["params"]]
        lengths.append(torch.cat(gradients).norm().item())
        return real(self, *args)

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    run(replace(TINY, epochs=1, matrix_lr=None, clip=clip), tmp_path)
    if clip is None:
        assert min(lengths) > 0.1
    else:
        assert lengths == pytest.approx([clip] * 10, rel=1e-3)


def test_augmentation_is_what_the_recipe_says():
    images = torch.randint(1, 256, (300, 1, 28, 28), dtype=torch.uint8)
    plain = replace(TINY, flip=False, shift=0, erase=0)

    def augmented(**change):
        return train.augment(images, replace(plain, **change), torch.Generator().manual_seed(0))

    assert torch.equal(augmented(), images)
    flipped = augmented(flip=True)
    moved = (flipped != images).flatten(1).any(dim=1)
    assert 100 < moved.sum() < 200
    assert torch.equal(flipped[moved], images[moved].flip(-1))
    shifted = augmented(shift=3) == 0
    assert shifted.any()
    assert not shifted[:, :, 3:-3, 3:-3].any()
    assert shifted[:, :, 2].all(dim=-1).any()  # three rows, of some
    erased = augmented(erase=6)
    assert (erased == 0).sum(dim=(1, 2, 3)).max() == 36
    assert torch.equal(torch.where(erased == 0, images, erased), images)


def test_each_picture_is_shown_at_most_once_in_an_epoch_and_in_another_order_in_the_next(
    tmp_path, monkeypatch
):
    shown = []
    monkeypatch.setattr(train, "augment", lambda images, *_: shown.append(images) or images)
    recipe = replace(TINY, epochs=2, batch_size=30)  # 6 steps of 30 from 200: 20 are left over
    run(recipe, tmp_path)
    assert [len(batch) for batch in shown] == [30] * 12
    first, second = (torch.cat(half).flatten(1) for half in (shown[:6], shown[6:]))
    assert len(first.unique(dim=0)) == len(second.unique(dim=0)) == 180
    assert not torch.equal(first, second)
    known = {bytes(image.numpy()) for image in recipes.load_pictures(recipe)[0]}
    assert {bytes(image.numpy()) for image in first} <= known


def test_repeats_are_whole_passes_each_in_its_own_order(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(train, "augment", lambda images, *_: shown.append(images) or images)
    _, records = run(replace(TINY, epochs=1, repeats=3, batch_size=90), tmp_path)
    assert len(shown) == 6  # 540 of 600
    passes = torch.cat(shown).flatten(1).split(200)
    assert [len(part.unique(dim=0)) for part in passes] == [200, 200, 140]
    assert not torch.equal(passes[0], passes[1])
    assert records[1]["train_loss"] == pytest.approx(2.2, abs=0.2)  # a mean over the pictures


def test_the_log_tells_all(whole):
    folder, model, records = whole
    assert read_log(folder) == records
    start, *epochs, test = records
    assert start["event"] == "start"
    assert start["command"] == "python a command"
    assert Recipe(**start["recipe"]) == TINY
    assert start["seed"] == 0
    assert start["parameters"] == sum(p.numel() for p in model.parameters())
    assert start["pictures"] == {"training": 200, "validation": 100}
    assert start["versions"]["torch"] == torch.__version__
    assert start["hardware"]["device"] == ("cuda" if torch.cuda.is_available() else "cpu")
    assert start["hardware"]["name"]
    assert start["hardware"]["processes"] == 1
    assert [record["event"] for record in epochs] == ["epoch"] * 4
    assert [record["epoch"] for record in epochs] == [1, 2, 3, 4]
    for record in epochs:
        shares = record["validation_by_class"]
        assert sum(shares) / 10 == pytest.approx(record["validation_accuracy"], abs=1e-4)
        assert record["seconds"] >= 0
        assert record["images_per_second"] > 0
    assert epochs[-1]["train_loss"] < epochs[0]["train_loss"] < 2.4
    assert test["event"] == "test"
    assert test["chosen_by"] == "validation_accuracy"


def accuracy_on_the_test_set(model, load=few_test_pictures) -> tuple[float, float]:
    """Loss and accuracy, with the mean and std that the model's file carries."""
    images, labels = load("fashion_mnist", "test")
    mean, std = (torch.tensor(model.facts[key]).view(-1, 1, 1) for key in ("mean", "std"))
    with torch.no_grad():
        logits = torch.cat([model((part / 255 - mean) / std) for part in images.split(2_000)])
    chances = logits.double().softmax(dim=1)[range(len(labels)), labels]
    right = sum(a == b for a, b in zip(logits.argmax(dim=1).tolist(), labels.tolist(), strict=True))
    return -chances.log().mean().item(), right / len(labels)


@pytest.mark.parametrize("recipe", [TINY, TINY_CNN], ids=["ViT", "CNN"])
def test_the_written_model_is_the_tested_one(recipe, tmp_path):
    returned, records = run(replace(recipe, epochs=2), tmp_path)
    model = load_model(tmp_path / "model.safetensors")
    assert_same_weights(model, returned)
    assert (model.config, model.facts) == (returned.config, returned.facts)
    assert not returned.training
    assert model.facts["dataset"] == "fashion_mnist"
    assert model.facts["class_names"][9] == "Ankle boot"
    assert model.facts["mean"] == (0.2860,)
    assert model.facts["std"] == (0.3530,)
    loss, accuracy = accuracy_on_the_test_set(model)
    assert records[-1]["test_accuracy"] == accuracy
    assert records[-1]["test_loss"] == pytest.approx(loss, abs=2e-5)


@pytest.mark.parametrize(
    ("choose", "epoch", "by"), [(True, 2, "validation_accuracy"), (False, 4, "last")]
)
def test_the_epoch_that_is_tested_is_the_best_on_held_out_images_or_the_last(
    choose, epoch, by, tmp_path, monkeypatch
):
    """The first of the best, whatever the loss there and whatever the test set would say."""
    weights, counts = [], []

    def scripted(model, images, *_):
        counts.append(len(images))
        weights.append({name: tensor.clone() for name, tensor in model.state_dict().items()})
        scores = [(2.0, 0.3), (9.0, 0.6), (1.0, 0.6), (0.5, 0.2), (0.1, 0.9)]
        return *scores[len(weights) - 1], [0.0] * 10

    monkeypatch.setattr(train, "evaluate", scripted)
    model, records = run(replace(TINY, choose_epoch=choose), tmp_path)
    assert counts == [100, 100, 100, 100, 1_000]
    assert (records[-1]["epoch"], records[-1]["chosen_by"]) == (epoch, by)
    assert records[-1]["test_accuracy"] == 0.9
    for state in (model.state_dict(), load_model(tmp_path / "model.safetensors").state_dict()):
        for name, tensor in state.items():
            assert torch.equal(tensor, weights[epoch - 1][name]), name
    assert not torch.equal(weights[1]["cls_token"], weights[3]["cls_token"])


def test_the_test_set_is_read_once_and_after_everything_else(tmp_path, monkeypatch):
    events = []

    def note(owner, name, describe):
        real = getattr(owner, name)

        def noted(*args, **kwargs):
            events.append(describe(*args))
            return real(*args, **kwargs)

        monkeypatch.setattr(owner, name, noted)

    for owner in (recipes, train):
        monkeypatch.setattr(owner, "load_dataset", data.load_dataset)
        note(owner, "load_dataset", lambda name, split, *_: f"load {split}")
    note(train, "augment", lambda *_: "step")
    note(train, "evaluate", lambda model, images, *_: f"evaluate on {len(images)}")
    note(runs, "write_checkpoint", lambda *_: "write checkpoint")
    note(runs, "write_log", lambda path, _: f"write {path.name}")
    note(runs, "save_model", lambda *_: "save model")
    run(replace(TINY, epochs=2), tmp_path)
    epoch = ["step"] * 10 + ["evaluate on 100", "write checkpoint", "write log.jsonl"]
    end = ["load test", "evaluate on 10000", "save model", "write log.jsonl"]
    assert events == ["load train", *epoch, *epoch, *end]


def test_a_model_is_evaluated_as_by_hand():
    model = randomise(CNN(**CNN_MODEL)).train()
    images, labels = data.load_dataset("fashion_mnist", "test", 1_200)
    loss, accuracy, by_class = train.evaluate(model, images, labels, (0.5,), (0.25,))
    assert not model.training
    with torch.no_grad():
        logits = model((images / 255 - 0.5) / 0.25)
    guesses = logits.argmax(dim=1)
    assert loss == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-5)
    assert accuracy == pytest.approx((guesses == labels).double().mean().item())
    for number in range(10):
        assert by_class[number] == pytest.approx((guesses == number)[labels == number].sum() / 120)


def test_the_quick_recipe_learns_in_a_few_seconds(tmp_path):
    """A sixth of its steps, on a ninth of its pictures; guessing gives 10 %."""
    shortened = replace(RECIPES["quick"], train_on=1_000, validation=500, epochs=3)
    _, records = run(shortened, tmp_path)
    assert records[-1]["test_accuracy"] > 0.25
    assert records[3]["train_loss"] < records[1]["train_loss"] - 0.2


# Interruptions


@pytest.mark.parametrize(
    ("recipe", "epochs"),
    [(TINY, 0), (TINY, 1), (TINY, 3), (TINY, 4), (TINY_CNN, 3)],
    ids=["ViT-0", "ViT-1", "ViT-3", "ViT-4", "CNN-3"],
)
def test_a_resumed_run_is_one_that_never_stopped(recipe, epochs, whole, tmp_path):
    """To the bit; after all epochs too, when the test was still to come."""
    if recipe is TINY:
        _, model, records = whole
    else:
        model, records = run(recipe, tmp_path / "whole", command="python a command")
    folder = tmp_path / "stopped"
    with interrupted("evaluate" if epochs == 4 else "augment", 4 if epochs == 4 else 10 * epochs):
        run(recipe, folder, command="python a command")
    if epochs:
        assert numbers(read_log(folder)) == numbers(records[: 1 + epochs])
    else:
        assert not list(folder.iterdir())
    resumed, resumed_records = run(recipe, folder, resume=True, command="python a command")
    assert_same_weights(resumed, model)
    assert_same_weights(load_model(folder / "model.safetensors"), model)
    assert numbers(resumed_records) == numbers(records)
    assert resumed_records == read_log(folder)
    marks = [r for r in resumed_records if r["event"] == "resume"]
    assert [mark["after_epoch"] for mark in marks] == ([epochs] if epochs else [])
    assert all("hardware" in mark and "versions" in mark for mark in marks)


def test_a_run_may_be_resumed_more_than_once(whole, tmp_path):
    _, model, records = whole
    for batches in (13, 8, 12):  # stopped in epoch 2, again in epoch 2, in epoch 3
        with interrupted("augment", batches):
            run(TINY, tmp_path, resume=True, command="python a command")
    resumed, resumed_records = run(TINY, tmp_path, resume=True, command="python a command")
    assert_same_weights(resumed, model)
    assert numbers(resumed_records) == numbers(records)
    marks = [r["after_epoch"] for r in resumed_records if r["event"] == "resume"]
    assert marks == [1, 2]  # what was not kept is not told


def test_a_finished_run_is_left_and_returned(whole, tmp_path, capsys):
    folder, model, records = whole
    before = content(folder)
    again, again_records = run(TINY, folder, resume=True)
    assert capsys.readouterr().out == (
        f"{folder} holds this run, finished before; test: {records[-1]['test_accuracy']:.2%}\n"
    )
    assert content(folder) == before
    assert again_records == records
    assert_same_weights(again, model)
    assert not again.training


def test_a_finished_run_without_its_checkpoint_is_left_as_well(command, whole, tmp_path, capsys):
    for name, file in content(whole[0]).items():
        if name != "checkpoint.pt":
            (tmp_path / name).write_bytes(file)
    before = content(tmp_path)
    command("--out", tmp_path, "--resume", fails=False)
    assert "finished before; test: " in capsys.readouterr().out
    assert content(tmp_path) == before
    message = command("--out", tmp_path, "--resume", "--seed", 7)
    assert "holds a run by another recipe (seed was 0, now 7)" in message
    assert content(tmp_path) == before


def test_a_log_without_a_checkpoint_is_not_overwritten(command, whole, tmp_path):
    log = (whole[0] / "log.jsonl").read_bytes()
    for lines in (5, 6):  # unfinished; finished, but the model is gone too
        text = b"".join(log.splitlines(keepends=True)[:lines])
        (tmp_path / "log.jsonl").write_bytes(text)
        message = command("--out", tmp_path, "--resume")
        assert f"{tmp_path} holds a log but no checkpoint.pt" in message
        assert "put checkpoint.pt back, or give another folder" in message
        assert content(tmp_path) == {"log.jsonl": text}


def test_a_finished_run_whose_model_is_gone_writes_it_again(whole, tmp_path):
    _, model, records = whole
    for name in ("checkpoint.pt", "log.jsonl"):
        (tmp_path / name).write_bytes((whole[0] / name).read_bytes())
    _, again = run(TINY, tmp_path, resume=True)
    assert numbers(again) == numbers(records)
    assert_same_weights(load_model(tmp_path / "model.safetensors"), model)


def test_a_damaged_log_is_written_again_from_the_checkpoint(whole, tmp_path):
    _, _, records = whole
    (tmp_path / "checkpoint.pt").write_bytes((whole[0] / "checkpoint.pt").read_bytes())
    (tmp_path / "log.jsonl").write_text("garbage")
    run(TINY, tmp_path, resume=True)
    assert numbers(read_log(tmp_path)) == numbers(records)


def test_a_flipped_bit_costs_an_epoch_and_no_more(whole, tmp_path, capsys):
    _, model, records = whole
    with interrupted("augment", 30):
        run(TINY, tmp_path, command="python a command")
    path = tmp_path / "checkpoint.pt"
    damaged = bytearray(path.read_bytes())
    weight = torch.load(path, weights_only=True)["model"]["cls_token"].numpy().tobytes()
    at = bytes(damaged).index(weight)
    damaged[at + 2] ^= 1
    path.write_bytes(damaged)
    assert torch.load(path, weights_only=True)["model"].keys()  # PyTorch sees nothing
    resumed, resumed_records = run(TINY, tmp_path, resume=True, command="python a command")
    said = capsys.readouterr().err
    assert f"{path} is damaged or no checkpoint (ValueError); going on from " in said
    assert "checkpoint.previous.pt" in said
    assert [r["after_epoch"] for r in resumed_records if r["event"] == "resume"] == [2]
    assert_same_weights(resumed, model)
    assert numbers(resumed_records) == numbers(records)
    assert sorted(content(tmp_path)) == ["checkpoint.pt", "log.jsonl", "model.safetensors"]


# A program of its own, as a user starts it, but for its recipe, which is as small as TINY.
PROGRAM = f"""
import json, os, signal, sys
import torch
torch.set_num_threads(1)
from vit_tutorial import records, run, train
train.RECIPES["tiny"] = train.Recipe(**json.loads({json.dumps(asdict(TINY))!r}))
"""

# Dies, by a SIGKILL that it cannot see coming, at the n-th call of a function or in the middle of
# what that writes.
KILLER = """
def kill(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def kill_at(owner, name, n, before):
    real, left = getattr(owner, name), [n]
    def counted(*args, **kwargs):
        left[0] -= 1
        if left[0] == 0:
            before(*args, **kwargs)
            kill()
        return real(*args, **kwargs)
    setattr(owner, name, counted)

def half(path, content, keep=None):
    path.with_name(path.name + ".part").write_bytes(content[: len(content) // 2])

nothing = lambda *_: None
POINTS = {
    "first step": (train, "augment", 1, nothing),
    "half of the first checkpoint": (records, "write_whole", 1, half),
    "half of the first log": (records, "write_whole", 2, half),
    "middle of the second epoch": (train, "augment", 16, nothing),
    "half of the third checkpoint": (records, "write_whole", 5, half),
    # Renamed are: checkpoint, log; old checkpoint, new one, log; old one, new one
    "old checkpoint's renaming": (type(train.Path()), "replace", 6, nothing),
    "third checkpoint's renaming": (type(train.Path()), "replace", 7, nothing),
    "between checkpoint and log": (run, "write_log", 3, nothing),
    "test": (train, "evaluate", 5, nothing),
    "model": (run, "save_model", 1, lambda model, path: path.write_bytes(b"half")),
    "half of the last log": (records, "write_whole", 9, half),
}
import torch._dynamo  # or each child's first optimiser would, for a second
for number, point in enumerate(POINTS.values()):
    child = os.fork()  # to import PyTorch once for all
    if not child:
        kill_at(*point)
        train.main(["--recipe", "tiny", "--out", f"{sys.argv[1]}/{number}", "--device", "cpu"])
        os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, number
print(json.dumps(list(POINTS)))
"""


def python(program: str, *arguments: str, **more) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, **more
    )


def test_a_kill_at_any_moment_loses_at_most_an_epoch(whole, tmp_path):
    _, model, records = whole
    done = python(PROGRAM + KILLER, str(tmp_path))
    assert done.returncode == 0, done.stderr
    points = json.loads(done.stdout.splitlines()[-1])
    kept = []
    for number, point in enumerate(points):
        folder = tmp_path / str(number)
        written = read_log(folder) if (folder / "log.jsonl").exists() else []
        assert numbers(written)[1:] == numbers(records[1 : len(written)]), point
        resumed, resumed_records = run(TINY, folder, resume=True)
        assert_same_weights(resumed, model)
        assert_same_weights(load_model(folder / "model.safetensors"), model)
        assert numbers(resumed_records)[1:] == numbers(records)[1:], point
        assert read_log(folder) == resumed_records
        marks = [r["after_epoch"] for r in resumed_records if r["event"] == "resume"]
        kept.append((point, *marks))
    assert kept == [
        ("first step",),
        ("half of the first checkpoint",),
        ("half of the first log", 1),
        ("middle of the second epoch", 1),
        ("half of the third checkpoint", 2),
        ("old checkpoint's renaming", 2),
        ("third checkpoint's renaming", 2),
        ("between checkpoint and log", 3),
        ("test", 4),
        ("model", 4),
        ("half of the last log", 4),
    ]


def test_the_command_killed_from_outside_goes_on(whole, tmp_path):
    """Wherever the kill finds it: the first epoch is on record, there are thousands to come."""
    endless = PROGRAM + "train.main(sys.argv[1:])"
    command = ["--recipe", "tiny", "--out", str(tmp_path), "--device", "cpu", "--epochs"]
    process = subprocess.Popen(
        [sys.executable, "-c", endless, *command, "100000"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline().startswith("epoch 1/100000: training loss 2.")
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == -9
    before = read_log(tmp_path)
    assert before[0]["command"] == (
        "python -m vit_tutorial.train --recipe tiny --seed 0 --epochs 100000"
    )
    recipe = replace(TINY, epochs=100_000)
    with interrupted("augment", 30):  # three epochs more
        run(recipe, tmp_path, resume=True)
    after = read_log(tmp_path)
    with interrupted("augment", 10 * sum(r["event"] == "epoch" for r in after)):
        run(recipe, tmp_path / "whole")
    assert numbers(after)[1:] == numbers(read_log(tmp_path / "whole"))[1:]
    stopped, never = (
        torch.load(folder / "checkpoint.pt", weights_only=True)
        for folder in (tmp_path, tmp_path / "whole")
    )
    for name, tensor in never["model"].items():
        assert torch.equal(stopped["model"][name], tensor), name


# Ends in one line, and an intact last state

ENDLESS = ["--recipe", "tiny", "--device", "cpu", "--epochs", "100000", "--out"]


@contextmanager
def endless_run(folder, *more):
    """Train in a process of its own until the block ends; its first epoch is on record."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM + "train.main(sys.argv[1:])", *ENDLESS, str(folder), *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert "training loss" in process.stdout.readline()
        yield process
    finally:
        process.kill()
        process.communicate()


def test_of_two_runs_in_one_folder_the_second_is_refused(tmp_path, command):
    """Given anew or to be resumed; a kill of the first sets the folder free."""
    with endless_run(tmp_path) as first:
        for more in ([], ["--resume"]):
            message = command("--out", tmp_path, *more)
            assert f"another process is writing a run into {tmp_path}: wait until" in message
            assert "(--out DIR)" in message
        assert "training loss" in first.stdout.readline()  # undisturbed
        first.kill()
        first.wait()
    with interrupted("augment", 10):
        run(replace(TINY, epochs=100_000), tmp_path, resume=True)
    read_log(tmp_path)


def test_two_fresh_runs_in_one_folder_at_once_leave_one(tmp_path):
    program = PROGRAM + "train.main(sys.argv[1:])"
    command = [sys.executable, "-c", program, "--recipe", "tiny", "--device", "cpu"]
    both = [
        subprocess.Popen(
            [*command, "--out", str(tmp_path), "--seed", str(seed)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for seed in (0, 1)
    ]
    said = [process.communicate()[1] for process in both]
    assert sorted(process.returncode for process in both) == [0, 1]
    (refused,) = (seed for seed in (0, 1) if both[seed].returncode)
    assert len(said[refused].splitlines()) == 1
    assert str(tmp_path) in said[refused]
    start = read_log(tmp_path)[0]
    assert start["seed"] == 1 - refused
    assert is_finished(tmp_path)


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_in_one_line_that_names_resume(number, tmp_path):
    with endless_run(tmp_path) as process:
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    (line,) = said.splitlines()
    how = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}[number]
    assert line == (
        f"python -m vit_tutorial.train: stopped by {how}; {tmp_path} keeps every epoch that "
        "ended. The same command with --resume goes on"
    )
    assert set(content(tmp_path)) <= {"checkpoint.pt", "checkpoint.previous.pt", "log.jsonl"}
    epochs = sum(record["event"] == "epoch" for record in read_log(tmp_path))
    with interrupted("augment", 10):
        run(replace(TINY, epochs=100_000), tmp_path, resume=True)
    assert read_log(tmp_path)[-1]["epoch"] >= epochs + 1


# From a certain call of a function on, no file may grow beyond so many bytes.
FULL = """
import resource

def full_from(name, calls, size):
    owner = run if name == "save_model" else train
    real, left = getattr(owner, name), [calls]
    def counted(*args, **kwargs):
        left[0] -= 1
        if left[0] == 0:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
        return real(*args, **kwargs)
    setattr(owner, name, counted)

full_from(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
train.main(sys.argv[4:])
"""


@pytest.mark.parametrize(
    ("name", "calls", "file", "epochs"),
    [
        ("augment", 1, "checkpoint.pt", 0),
        ("augment", 25, "checkpoint.pt", 2),
        ("save_model", 1, "model.safetensors", 4),
    ],
)
def test_a_full_disk_leaves_the_last_state(name, calls, file, epochs, whole, tmp_path):
    _, model, records = whole
    arguments = ["--recipe", "tiny", "--device", "cpu", "--out", str(tmp_path)]
    done = python(PROGRAM + FULL, name, str(calls), "5000", *arguments)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert f"cannot write {tmp_path / file}: File too large. What {tmp_path} held" in line
    assert "once there is room" in line
    assert "--resume" in line
    kept = ["checkpoint.previous.pt", "checkpoint.pt", "log.jsonl"] if epochs else []
    assert sorted(content(tmp_path)) == kept
    if epochs:
        assert numbers(read_log(tmp_path))[1:] == numbers(records)[1 : 1 + epochs]
    resumed, resumed_records = run(TINY, tmp_path, resume=True)
    assert_same_weights(resumed, model)
    assert numbers(resumed_records)[1:] == numbers(records)[1:]
    assert sorted(content(tmp_path)) == ["checkpoint.pt", "log.jsonl", "model.safetensors"]


def test_a_folder_that_is_removed_is_named(tmp_path):
    out = tmp_path / "out"
    with endless_run(out) as process:
        shutil.rmtree(out)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    (line,) = said.splitlines()
    assert re.fullmatch(
        rf"python -m vit_tutorial.train: cannot write {out}/(checkpoint\.pt|log\.jsonl): "
        rf"the folder {out} was removed. Start the run again",
        line,
    )
    assert not out.exists()


# Many processes


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"WORLD_SIZE": "2"}, "WORLD_SIZE is 2, but RANK is not set: start many .* by torchrun"),
        ({"WORLD_SIZE": "2", "RANK": "0"}, "LOCAL_RANK is not set"),
        (
            {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0"},
            "MASTER_ADDR is not set",
        ),
        ({"WORLD_SIZE": "two"}, "RANK is not set"),
        (
            dict.fromkeys(("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"), "0")
            | {"WORLD_SIZE": "two"},
            "WORLD_SIZE is no whole number, 'two'",
        ),
        (
            dict.fromkeys(("LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"), "0")
            | {"WORLD_SIZE": "2", "RANK": "2"},
            "RANK is 2 of WORLD_SIZE 2",
        ),
    ],
)
def test_half_of_what_torchrun_says_is_refused(given, message, command, tmp_path, monkeypatch):
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert re.search(message, command("--out", tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_mps_is_not_shared_by_processes(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    for name in ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match=r"cannot train in 2 processes on mps: .*--device cpu"):
        train.find_device("mps")


def test_after_an_epoch_one_process_calls(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        PROGRAM
        + """
from dataclasses import replace

def note(epoch, model):
    assert not model.training
    open(f"{sys.argv[1]}/{epoch} by {os.environ['RANK']}", "x").close()

recipe = replace(train.RECIPES["tiny"], epochs=2)
train.train(recipe, sys.argv[1] + "/out", device="cpu", after_epoch=note)
train.dist.destroy_process_group()
"""
    )
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    done = subprocess.run(
        [*torchrun, "--nproc_per_node=2", str(program), str(tmp_path)],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert sorted(p.name for p in tmp_path.glob("* by *")) == ["0 by 0", "1 by 0", "2 by 0"]


def test_two_processes_train_as_one(whole, tmp_path):
    """Each takes every other picture of a batch, and sums come out in another order.

    Muon orthogonalises in bfloat16, where rounding is coarse: losses of about 2 agree to 0.001.
    """
    _, _, records = whole
    program = tmp_path / "program.py"
    program.write_text(PROGRAM + "train.main(sys.argv[1:])")
    out = tmp_path / "out"
    done = subprocess.run(
        f"{sys.executable} -m torch.distributed.run --standalone --nproc_per_node=2 "
        f"{program} --recipe tiny --out {out} --device cpu",
        shell=True,
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("epoch 1/4") == 1  # one of them talks
    together = read_log(out)
    assert len(together) == len(records)
    assert together[0]["hardware"]["processes"] == 2
    for one, two in zip(records[1:-1], together[1:-1], strict=True):
        assert two["train_loss"] == pytest.approx(one["train_loss"], abs=1e-3)
        assert two["validation_loss"] == pytest.approx(one["validation_loss"], abs=1e-3)
    model = load_model(out / "model.safetensors")
    accuracy = accuracy_on_the_test_set(model, data.load_dataset)[1]
    assert together[-1]["test_accuracy"] == accuracy


def test_a_batch_that_the_processes_cannot_share_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(train, "find_device", lambda _: (torch.device("cpu"), 0, 3))
    with pytest.raises(ValueError, match=r"batch_size must be .* multiple of the processes \(3\)"):
        run(TINY, tmp_path)


# Bad input, through the command


@pytest.fixture
def command(monkeypatch, capsys):
    """Run the command in this process; what it says when it fails, and that it says so."""
    monkeypatch.setitem(RECIPES, "tiny", TINY)

    def start(*arguments, fails=True):
        given = ["--recipe", "tiny", "--device", "cpu", *map(str, arguments)]
        if not fails:
            return train.main(given)
        with pytest.raises(SystemExit) as stopped:
            train.main(given)
        assert isinstance(stopped.value.code, str)  # Python prints it and exits with 1
        assert "\n" not in stopped.value.code
        return stopped.value.code

    return start


def content(folder) -> dict:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_failure_is_one_line_and_a_status():
    done = subprocess.run(
        [sys.executable, "-m", "vit_tutorial.train", "--out", "nowhere", "--device", "abacus"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("python -m vit_tutorial.train: no device 'abacus' here: there are ")
    assert line.endswith("cpu")
    assert not Path("nowhere").exists()


@pytest.mark.parametrize("device", ["cuda", "mps", "CPU", "cpu:1", ""])
def test_a_device_that_is_not_there_is_named(device, command, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    message = command("--out", tmp_path / "out", "--device", device)
    assert f"no device {device!r} here: there are cpu" in message
    assert not (tmp_path / "out").exists()


def test_help_names_every_recipe(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "1000")  # no line is broken
    with pytest.raises(SystemExit) as stopped:
        train.main(["--help"])
    assert stopped.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    for name, recipe in RECIPES.items():
        assert f"{name} {recipe.epochs}" in text
    assert "{" + ",".join(RECIPES) + "}" in text
    for option in ("--recipe", "--out DIR", "--seed N", "--device", "--epochs N", "--resume"):
        assert option in text


def test_an_unknown_recipe_is_answered_with_the_known(capsys):
    with pytest.raises(SystemExit) as stopped:
        train.main(["--recipe", "nonesuch"])
    assert stopped.value.code == 2
    assert "'nonesuch' (choose from" in capsys.readouterr().err


def test_without_a_folder_the_command_as_logged_writes_into_runs(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(RECIPES, "tiny", replace(TINY, epochs=1))
    train.main(["--recipe", "tiny", "--device", "cpu"])
    command = read_log(tmp_path / "runs/tiny-0")[0]["command"]
    assert command == "python -m vit_tutorial.train --recipe tiny --seed 0"
    train.main([*command.split()[3:], "--resume"])  # and can be given again


@pytest.mark.parametrize("seed", [-1, 2**32, 99999999999999999999])
def test_a_seed_that_cannot_be_is_refused(seed, command, tmp_path):
    message = command("--out", tmp_path / "out", "--seed", seed)
    assert f"seed must be a whole number from 0 to 4294967295, got {seed}" in message
    assert not (tmp_path / "out").exists()


def test_the_largest_seed_trains(tmp_path):
    run(replace(TINY, epochs=1), tmp_path, seed=2**32 - 1)
    start, *_, test = read_log(tmp_path)
    assert (start["seed"], test["event"]) == (2**32 - 1, "test")


def test_no_epochs_are_refused(command, tmp_path):
    assert "epochs must be at least 1, got 0" in command("--out", tmp_path, "--epochs", 0)


@contextmanager
def as_nobody():
    """Root may write anywhere."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def test_a_folder_that_cannot_be_written_is_named(command, tmp_path):
    (tmp_path / "file").write_text("something")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        assert f"cannot write into {out}: " in command("--out", out)
    (tmp_path / "locked").mkdir(mode=0o500)
    for out in (tmp_path / "locked", tmp_path / "locked" / "below"):
        with as_nobody():
            message = command("--out", out)
        assert f"cannot write into {out}: " in message
        assert "Give another folder" in message
    assert (tmp_path / "file").read_text() == "something"
    assert not list((tmp_path / "locked").iterdir())


def test_a_run_is_not_overwritten(command, whole, tmp_path):
    folder, *_ = whole
    before = content(folder)
    message = command("--out", folder)
    assert f"{folder} holds a run already: resume it (--resume), or give another folder" in message
    assert "(--out DIR)" in message
    assert content(folder) == before
    (tmp_path / "log.jsonl").write_bytes(before["log.jsonl"])  # a log alone is one, too
    assert "holds a run already" in command("--out", tmp_path)
    assert content(tmp_path) == {"log.jsonl": before["log.jsonl"]}


def saved(value) -> bytes:
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


DAMAGES = {
    "empty": lambda whole: b"",
    "a byte": lambda whole: whole[:1],
    "cut short": lambda whole: whole[:3000],
    "cut in half": lambda whole: whole[: len(whole) // 2],
    "cut by a byte": lambda whole: whole[:-1],
    "zeros": lambda whole: bytes(len(whole)),
    "text": lambda whole: b"<html>404</html>",
    "pickle": lambda whole: b"\x80\x04cos\nsystem\n.",
    "a tensor": lambda whole: saved(torch.zeros(3)),
    "a number": lambda whole: saved(3),
    "weights alone": lambda whole: saved(ViT(**MODEL).state_dict()),
}


@pytest.mark.filterwarnings("ignore:.*pickle protocol")
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_checkpoint_is_named_and_left(damage, command, whole, tmp_path):
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(damage((whole[0] / "checkpoint.pt").read_bytes()))
    before = content(tmp_path)
    message = command("--out", tmp_path, "--resume")
    assert f"{path} is damaged or no checkpoint" in message
    assert f"remove {tmp_path} to begin anew" in message
    assert content(tmp_path) == before


CRAFTED = {  # what stands in a checkpoint in place of what belongs there
    "no records": {"records": []},
    "no start": {"records": [{"event": "epoch"}]},
    "records of nothing": {"records": None},
    "no best": {"best": None},
    "a best without a model": {"best": {"epoch": 1, "validation_accuracy": 0.5}},
    "a best of another model": {
        "best": {"epoch": 1, "validation_accuracy": 0.5, "model": {"w": torch.zeros(3)}}
    },
    "another model": {"model": {"w": torch.zeros(3)}},
    "no optimizers": {"optimizers": []},
    "optimizers of nothing": {"optimizers": [{}, {}]},
}


@pytest.mark.parametrize("change", CRAFTED.values(), ids=CRAFTED)
def test_a_crafted_checkpoint_is_named_and_left(change, command, whole, tmp_path):
    checkpoint = torch.load(whole[0] / "checkpoint.pt", weights_only=True)
    (tmp_path / "checkpoint.pt").write_bytes(saved(checkpoint | change))
    before = content(tmp_path)
    message = command("--out", tmp_path, "--resume")
    assert "checkpoint" in message
    assert f"remove {tmp_path} to begin anew" in message
    assert content(tmp_path) == before


def test_a_run_is_resumed_by_its_own_recipe_and_seed(command, whole, monkeypatch):
    folder, *_ = whole
    before = content(folder)
    message = command("--out", folder, "--resume", "--seed", 7)
    assert f"{folder} holds a run by another recipe (seed was 0, now 7)" in message
    changed = replace(TINY, model=MODEL | {"dim": 8}, lr=0.5)
    monkeypatch.setitem(RECIPES, "tiny", changed)
    message = command("--out", folder, "--resume", "--epochs", 9)
    assert "epochs was 4, now 9; lr was 0.002, now 0.5; model was {" in message
    assert "'dim': 16" in message
    assert "'dim': 8" in message
    monkeypatch.setitem(RECIPES, "tiny", TINY_CNN)
    assert "architecture was 'ViT', now 'CNN'" in command("--out", folder, "--resume")
    assert content(folder) == before


def test_a_missing_data_set_says_what_works_offline(command, tmp_path, monkeypatch):
    monkeypatch.delenv("VIT_TUTORIAL_DATA", raising=False)
    monkeypatch.setattr(data, "DEBIAN", tmp_path / "no-debian")
    monkeypatch.setattr(data, "CACHE", tmp_path / "cache")
    fashion = replace(data.DATASETS["fashion_mnist"], mirrors=("http://127.0.0.1:9/",))
    monkeypatch.setitem(data.DATASETS, "fashion_mnist", fashion)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setitem(RECIPES, "tiny", replace(TINY, subset=None))
    with pytest.raises(ConnectionError):
        run(RECIPES["tiny"], tmp_path / "out")
    with pytest.raises(SystemExit) as stopped:
        train.main(["--recipe", "tiny", "--out", str(tmp_path / "out")])
    message = stopped.value.code
    assert "http://127.0.0.1:9/" in message
    assert "subset=10000" in message
    assert "VIT_TUTORIAL_DATA" in message
    assert not list((tmp_path / "out").iterdir())


def test_a_loss_that_is_no_number_stops_the_run(command, tmp_path, monkeypatch):
    monkeypatch.setitem(RECIPES, "tiny", replace(TINY, lr=1e30))
    message = command("--out", tmp_path)
    assert "the loss is no longer a number in epoch 1" in message
    assert "lr=1e+30" in message
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("step", [21, 29], ids=["early in epoch 3", "in its last step"])
def test_the_checkpoint_before_the_loss_was_no_number_stays(
    step, command, whole, tmp_path, monkeypatch
):
    _, model, records = whole
    with interrupted("augment", 20):
        run(TINY, tmp_path)
    before = content(tmp_path)
    assert sorted(before) == ["checkpoint.previous.pt", "checkpoint.pt", "log.jsonl"]
    real = train.set_learning_rates

    def explode(optimizers, recipe, done):
        real(optimizers, recipe, done)
        if int(40 * done) == step:
            for optimizer in optimizers:
                for group in optimizer.param_groups:
                    group["lr"] = 1e30

    with monkeypatch.context() as patch:
        patch.setattr(train, "set_learning_rates", explode)
        message = command("--out", tmp_path, "--resume")
    assert "the loss is no longer a number in epoch 3" in message
    assert f"{tmp_path} keeps what it held" in message
    assert content(tmp_path) == before
    command("--out", tmp_path, "--resume", fails=False)
    assert_same_weights(load_model(tmp_path / "model.safetensors"), model)
    assert numbers(read_log(tmp_path))[1:] == numbers(records)[1:]
