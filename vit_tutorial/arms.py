"""The arms of the book's experiments: recipes that differ in one thing.

Some questions are asked of a tiny model, which one CPU core trains in a minute
or two, so that an arm can have many seeds; the others of a larger one.
`experiments.py` trains them.
"""

from dataclasses import replace

from vit_tutorial.bugs import BUGS
from vit_tutorial.positions import POSITIONS
from vit_tutorial.recipes import (
    RECIPES,
    SMALL_CNN,
    SMALL_VIT,
    TINY_CNN,
    TINY_VIT,
    Recipe,
)

__all__ = ["ARMS", "COUNTS", "EXPERIMENTS"]

SEEDS = 3  # of each arm, unless more are asked for

# Tiny models, on all images. The last epoch is tested: to choose one would add
# chance to what is compared. Of all rates in "tiny_rates", those that a recipe
# has by default were the best.
TINY = Recipe(model=TINY_VIT, epochs=5, choose_epoch=False)
TINY_LONG = replace(TINY, epochs=20)
RATES = (0.00125, 0.0025, 0.005, 0.01, 0.02)  # AdamW's, on all parameters
CNN_RATES = (*RATES, 0.04)  # the same of a CNN, which bears more
MUON_RATES = (0.0025, 0.005, 0.01, 0.02, 0.04)  # on the blocks' matrices

# For the gallery of bugs: the bundled images alone and larger patches, so that
# a reader can train any of these models within a minute. All patches are shown,
# as in the code that the bugs were found in.
BUG_FREE = replace(
    TINY,
    model=TINY_VIT | {"patch_size": 7},
    subset=10_000,
    validation=1_000,
    epochs=8,
    drop_patches=0.0,
)

# Data apart from time: however many images there are, 330,000 are shown in all,
# the fewer the more often each. Nothing here may teach a model to bear shifts,
# for that is what the ViT and a CNN of its size are compared in.
TINY_PLAIN = replace(TINY, shift=0, drop_patches=0.0)
TINY_MIDDLE = replace(TINY_PLAIN, train_on=10_000, epochs=11, repeats=3)
TINY_MIDDLE_CNN = replace(
    TINY_MIDDLE,
    architecture="CNN",
    model=TINY_CNN,
    matrix_lr=None,
    lr=0.04,
)
TINY_COUNTS = {  # images trained on beside 10,000, and how often
    500: {"epochs": 11, "repeats": 60},
    2_000: {"epochs": 11, "repeats": 15},
    55_000: {"epochs": 6, "repeats": 1},
}

# Larger models, on fewer images.
BASELINE = Recipe(model=SMALL_VIT, subset=10_000, validation=1_000, epochs=20)
# Nothing here may teach a model to bear shifts, for that is what the ViT and
# the CNN are compared in.
PLAIN = replace(
    BASELINE, subset=None, validation=5_000, shift=0, drop_patches=0.0
)
PLAIN_CNN = replace(PLAIN, architecture="CNN", model=SMALL_CNN)
# As long as the tiny models' runs.
MIDDLE = replace(TINY_MIDDLE, model=SMALL_VIT)
MIDDLE_CNN = replace(TINY_MIDDLE_CNN, model=SMALL_CNN)
COUNTS = {
    500: {"epochs": 8, "repeats": 20},
    2_000: {"epochs": 10, "repeats": 5},
    10_000: {"epochs": 12},
    55_000: {"epochs": 3},
}
"""The numbers of training images that are compared, each with its epochs.

The fewer images there are, the more often each is shown.
"""


def changed(recipe: Recipe, **changes) -> Recipe:
    """Return a recipe with these fields, or arguments of its model, changed."""
    model = {k: changes.pop(k) for k in ("pool", "position") if k in changes}
    return replace(recipe, model=recipe.model | model, **changes)


def adamw_rates(name: str, recipe: Recipe, rates=RATES) -> dict[str, Recipe]:
    """Give all weights to AdamW, at each of these rates, one an arm."""
    return {
        f"{name}-adamw-{rate}": changed(recipe, matrix_lr=None, lr=rate)
        for rate in rates
    }


def muon_rates(name: str, recipe: Recipe) -> dict[str, Recipe]:
    """Give the blocks' matrices to Muon, at each of its rates, one an arm."""
    return {
        f"{name}-muon-{rate}": changed(recipe, matrix_lr=rate)
        for rate in MUON_RATES
    }


def parts_of(recipe: Recipe) -> dict[str, Recipe]:
    """Take a recipe's parts away, all but its optimiser, one an arm."""
    return {
        "no-augmentation": changed(recipe, flip=False, shift=0),
        "erase": changed(recipe, erase=8),
        "all-patches": changed(recipe, drop_patches=0.0),
        "no-warm-up": changed(recipe, warm_up=0.0),
        "no-smoothing": changed(recipe, label_smoothing=0.0),
        "no-decay": changed(recipe, weight_decay=0.0),
        "no-clipping": changed(recipe, clip=None),
    }


def other_positions(recipe: Recipe) -> dict[str, Recipe]:
    """Give a recipe every other kind of positions, one an arm."""
    return {
        position: changed(recipe, position=position)
        for position in POSITIONS
        if position != "learned"
    }


EXPERIMENTS = {
    "tiny_rates": {
        **adamw_rates("tiny-vit", TINY),
        **muon_rates("tiny-vit", TINY),
    },
    "tiny_recipe": {
        "tiny-vit-muon-0.01": TINY,  # the baseline
        "tiny-vit-adamw-0.005": changed(TINY, matrix_lr=None, lr=0.005),
        **{f"tiny-{arm}": recipe for arm, recipe in parts_of(TINY).items()},
    },
    "tiny_data_rates": {  # the rates for "tiny_data", chosen in its middle
        **adamw_rates("tiny-vit-10000", TINY_MIDDLE),
        **muon_rates("tiny-vit-10000", TINY_MIDDLE),
        **adamw_rates("tiny-cnn-10000", TINY_MIDDLE_CNN, CNN_RATES),
    },
    "tiny_data": {
        "tiny-vit-10000-muon-0.01": TINY_MIDDLE,
        "tiny-cnn-10000-adamw-0.04": TINY_MIDDLE_CNN,
        **{
            f"tiny-{name}-{count}": replace(recipe, train_on=count, **often)
            for count, often in TINY_COUNTS.items()
            for name, recipe in (("vit", TINY_MIDDLE), ("cnn", TINY_MIDDLE_CNN))
        },
    },
    "tiny_motion": {
        "tiny-vit-10000-muon-0.01": TINY_MIDDLE,
        "tiny-cnn-10000-adamw-0.04": TINY_MIDDLE_CNN,
        **{
            f"tiny-{name}-shift-{pixels}": replace(recipe, shift=pixels)
            for pixels in (1, 2, 4)
            for name, recipe in (("vit", TINY_MIDDLE), ("cnn", TINY_MIDDLE_CNN))
        },
    },
    "tiny_positions": {  # and the class token
        "tiny-learned": TINY,  # the baseline
        "tiny-mean": changed(TINY, pool="mean"),
        "tiny-no-flip": changed(TINY, flip=False),
        **{f"tiny-{k}": recipe for k, recipe in other_positions(TINY).items()},
    },
    "tiny_long": {  # four times as long
        "tiny-long": TINY_LONG,
        "tiny-long-no-augmentation": changed(TINY_LONG, flip=False, shift=0),
        "tiny-long-erase": changed(TINY_LONG, erase=8),
    },
    "motion": {  # the same question as "tiny_motion", of larger models
        f"{name}-shift-{pixels}": replace(recipe, shift=pixels)
        for pixels in (0, 4)
        for name, recipe in (("vit", MIDDLE), ("cnn", MIDDLE_CNN))
    },
    "bugs": {
        "bug-none": BUG_FREE,
        **{
            f"bug-{name.replace(' ', '-')}": replace(BUG_FREE, bug=name)
            for name in BUGS
        },
    },
    "class_token": {
        "baseline": BASELINE,
        "mean": changed(BASELINE, pool="mean"),
    },
    "positions": {  # the baseline's are "learned"
        "baseline": BASELINE,
        **other_positions(BASELINE),
    },
    "flips": {  # what they leave in the positions
        "flips": BASELINE,
        "no-flips": changed(BASELINE, flip=False),
    },
    "recipe": {
        "baseline": BASELINE,
        "adamw": changed(BASELINE, matrix_lr=None),
        **parts_of(BASELINE),
    },
    "data_size": {
        f"{name}-{count}": replace(recipe, train_on=count, **often)
        for count, often in COUNTS.items()
        for name, recipe in (("vit", PLAIN), ("cnn", PLAIN_CNN))
    },
    "teacher": {  # the book's own model, and what a CNN can teach it
        "book": RECIPES["fashion"],
        "book-taught": changed(RECIPES["fashion"], teacher="teacher-0"),
    },
    "better": {  # mean pooling, which was better in smaller models, as well
        "book": RECIPES["fashion"],
        "book-better": changed(
            RECIPES["fashion"], pool="mean", teacher="teacher-0"
        ),
    },
    # Compared with nothing: readers play with these models in the book's pages.
    "figures": {
        "figure-cls": BASELINE,
        "figure-mean": changed(BASELINE, pool="mean"),
        "figure-none": changed(BASELINE, position="none"),
    },
}
"""The arms of each experiment: {experiment: {arm: its recipe}}.

A new arm is a row here. An arm of several experiments is trained once.
"""
EXPERIMENTS["robustness"] = EXPERIMENTS["data_size"]
ARMS = {
    arm: recipe for arms in EXPERIMENTS.values() for arm, recipe in arms.items()
}
"""The recipe of every arm, of all experiments together."""
# Tested also on shuffled images and on images shifted by up to so many pixels.
MEASURED = {"robustness": 4, "tiny_data": 6, "tiny_motion": 6, "motion": 6}
# How similar their positions are after every epoch is kept.
PROGRESS = ("figure-cls", "book", "book-taught", "book-better")
# Their positions at the end are kept.
TABLES = ("tiny-learned", "tiny-no-flip", "flips", "no-flips")
