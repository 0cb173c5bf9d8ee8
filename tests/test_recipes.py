"""What a recipe trains on and holds out, and recipes that fit their data or nothing at all."""

import math
from dataclasses import replace

import pytest
import torch
from tiny_run import MODEL, TINY, run

from vit_tutorial import ViT, data, recipes, train

pytestmark = pytest.mark.usefixtures("a_tenth_of_the_test_set")


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
