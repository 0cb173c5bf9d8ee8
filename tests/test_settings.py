"""NAME=VALUE on the command line changes a recipe, and the log's command makes the same run."""

import shlex
from dataclasses import replace

import pytest

from vit_tutorial import train
from vit_tutorial.recipes import RECIPES
from vit_tutorial.settings import with_settings

QUICK = RECIPES["quick"]


def test_settings_change_a_recipe_and_its_model():
    settings = "lr=1e-3 matrix_lr=None flip=False depth=2 position=none epochs=9 pool=mean".split()
    changed = with_settings(QUICK, [*settings, "epochs=3"])  # the last counts
    model = QUICK.model | {"depth": 2, "position": "none", "pool": "mean"}
    of_recipe = {"lr": 1e-3, "matrix_lr": None, "flip": False, "epochs": 3}
    assert changed == replace(QUICK, model=model, **of_recipe)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["lr"], r"a setting is NAME=VALUE, got 'lr'"),
        (["speed=3"], r"there is no setting 'speed', but batch_size, .*depth, dim"),
        (["dataset=cifar10"], r"there is no setting 'dataset'"),
        (["lr=fast"], r"lr must be a number, got 'fast'"),
        (["epochs=2.5"], r"epochs must be a whole number, got 2\.5"),
        (["lr=__import__('os')"], r"lr must be a number, got \"__import__\('os'\)\""),
    ],
)
def test_a_setting_that_cannot_be_is_named(settings, message):
    with pytest.raises(ValueError, match=message):
        with_settings(QUICK, settings)


def test_a_trained_model_keeps_its_size():
    with pytest.raises(ValueError, match="fashion is trained already, so depth cannot change"):
        with_settings(replace(QUICK, start="fashion"), ["depth=3", "lr=0.1"])


def test_the_command_that_is_logged_makes_the_same_run(monkeypatch):
    runs = []
    monkeypatch.setattr(train, "train", lambda recipe, out, **more: runs.append((recipe, more)))
    train.main(["--recipe", "page", "--seed", "3", "--set", "dim=48", "position=none"])
    [(recipe, more)] = runs
    train.main([*shlex.split(more["command"])[3:]])
    assert runs[1] == runs[0]
    assert (recipe.model["dim"], recipe.model["position"], more["seed"]) == (48, "none", 3)
