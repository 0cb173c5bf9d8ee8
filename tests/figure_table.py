"""One row for each figure: how to build it small, and what to try on it.

`test_every_figure.py` asks the same of every row, so a new figure is one row here, its own files
and its chapter. What only one figure does is asked in a file of its own, beside that one.
"""

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from conftest import randomise
from playwright.sync_api import expect

from vit_tutorial import ViT
from vit_tutorial.cnn import CNN
from vit_tutorial.data import PHOTOS, load_dataset, load_photo
from vit_tutorial.widgets import (
    AnyViT,
    AttentionRow,
    ClassToken,
    Deletion,
    EncoderWalk,
    Figure,
    PatchCost,
    PatchCutter,
    PatchOrder,
    Playback,
    Playground,
    PositionSimilarity,
    Shift,
    SideBySide,
    TrainHere,
    WhereItLooks,
    page_cnn,
    page_vit,
)
from vit_tutorial.widgets.figures.playback import pack_run
from vit_tutorial.widgets.pictures import pack_picture, pack_pictures

SIZES = {"image_size": 28, "patch_size": 4, "channels": 1, "num_classes": 3}
SIZES |= {"dim": 16, "depth": 2, "heads": 2, "dim_head": 8, "mlp_dim": 16}
NAMES = ["Top", "Bag", "Boot"]  # of the classes, and of the images
FACTS = {"mean": (0.286,), "std": (0.353,), "class_names": NAMES}


@dataclass(frozen=True)
class Row:
    """What `test_every_figure.py` has to know of a figure.

    chapters: the pages that show it.
    build: makes a small one; takes traits of its state by their names.
    state: a second value for every trait of the state. Each fits alone, too.
    inputs: a function that gives a second value for every trait that the state has to fit: a
        model, an image, a run.
    misfits: (trait, value, message), each to be refused, one or more for every trait of the state.
        Where the page words it differently, its message comes fourth; None for a message means
        that the value is tried in the other of the two worlds alone.
    guess: one of the answers that it asks for before it shows anything; "" if it does not ask.
    fixed: traits that are neither state nor followed.
    unseen: traits of the state that its still image does not show.
    views: a function that gives what to look at, in the light and in the dark, besides these two.
    pointed: a selector of what is pointed at besides buttons, selects and grid cells.
    longest: the seconds that a transition in it may take.
    ready: a function that waits until a card has computed everything.
    elsewhere: traits that its own file changes by keyboard, and buttons that it presses there.
    """

    chapters: Sequence[str]
    build: Callable[..., Figure]
    state: Mapping[str, object]
    inputs: Callable[[], Mapping[str, object]]
    misfits: Sequence[tuple]
    guess: str = ""
    fixed: Sequence[str] = ()
    unseen: Sequence[str] = ()
    views: Callable[[], Sequence[Figure]] = list
    pointed: str = ""
    longest: float = 0.15
    ready: Callable = lambda card: None
    elsewhere: Sequence[str] = ()


# What the figures are built from


@functools.cache
def small_vit(seed=0, **changes):
    torch.manual_seed(seed)
    vit = randomise(ViT(**SIZES | changes), std=0.5)
    vit.facts |= FACTS
    return vit


@functools.cache
def small_cnn(seed=0):
    torch.manual_seed(seed)
    cnn = randomise(CNN(num_classes=3, channels=1, widths=(3, 4, 6)), std=0.5)
    for module in cnn.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    cnn.facts |= FACTS
    return cnn


def other_vit(**changes):
    return page_vit(small_vit(seed=1, **changes))


@functools.cache
def images():
    return load_dataset("fashion_mnist", "test", subset=10)[0][:3]


def other_pictures():
    return pack_pictures(images().flip(0), NAMES[::-1])


@functools.cache
def photo():
    return load_photo(56)


@functools.cache
def uneven(channels=3):
    """An image that is not square; patches of (3, 5) pixels tile it."""
    torch.manual_seed(0)
    return torch.randint(0, 256, (channels, 12, 20), dtype=torch.uint8)


def made_up_run(seed=0, epochs=4, rows=4, columns=3, classes=3):
    """Make up the log of a run, and what its positions became; not square: a row is no column."""
    random = np.random.default_rng(seed)
    by_class = random.integers(20, 100, (epochs, classes)) / 100
    model = {"image_size": [4 * rows, 4 * columns], "patch_size": 4}
    log = [{"event": "start", "recipe": {"model": model}}]
    for epoch, shares in enumerate(by_class, start=1):
        log.append(
            {
                "event": "epoch",
                "epoch": epoch,
                "train_accuracy": random.integers(200, 999).item() / 1000,
                "validation_accuracy": round(shares.mean(), 5),
                "validation_by_class": shares.tolist(),
            }
        )
    log.append({"event": "test", "test_accuracy": 0.5})
    progress = []
    for epoch in range(epochs + 1):
        of_row, of_column = random.normal(size=(rows, 1, 6)), random.normal(size=(1, columns, 6))
        vectors = random.normal(size=(rows * columns, 6))
        vectors += 0.5 * epoch * (of_row + of_column).reshape(-1, 6)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        table = (100 * vectors @ vectors.T).round().astype(int).tolist()
        progress.append({"event": "progress", "epoch": epoch, "similarity": table})
    return log, progress


def robustness(top, loss, shuffled):
    """Make up what `measure_robustness` records of one model."""
    shifts = [{"event": "shift", "pixels": p, "accuracy": top - p * loss} for p in range(5)]
    return [*shifts, {"event": "shuffle", "accuracy": shuffled}]


ROBUSTNESS = {
    50: (robustness(0.74, 0.05, 0.46), robustness(0.83, 0.03, 0.11)),
    9000: (robustness(0.91, 0.06, 0.31), robustness(0.95, 0.02, 0.13)),
}


# The figures, in the order of the chapters


def shift(**state):
    models = {50: (small_vit(), small_cnn()), 9000: (small_vit(2), small_cnn(2))}
    return Shift(models, images(), NAMES, records=ROBUSTNESS, held_out=1_200, **state)


def other_shift():
    few, many = shift().averages
    return {
        "vit_few": other_vit(),
        "cnn_few": page_cnn(small_cnn(1)),
        "vit_many": page_vit(small_vit(3)),
        "cnn_many": page_cnn(small_cnn(3)),
        "sizes": [60, 8000],
        "pictures": other_pictures(),
        "averages": [many, few],
        "held_out": 900,
    }


def any_vit(name="cat", **state):
    return AnyViT(small_vit(), images(), {name: PHOTOS[name]}, **{"overlay": "head"} | state)


def playground(own="", **state):
    figure = Playground(small_vit(), images(), [0, 1, 2], **state)
    figure.own = own
    return figure


def has_all_curves(card):
    for curve in card.locator(".vt-curve-own").all():
        expect(curve).to_have_attribute("d", re.compile(r"^M([\d.]+ [\d.]+L?){50}$"))


FIRST_TO_LAST = "picture is one of 0 to 2, got 3"


def experiments():
    """Name the trainer's guided experiments, whose buttons train."""
    guided = Path(find_spec("vit_tutorial").origin).parent.rglob("guided.js")
    return re.findall(r'^    name: "(.*)",$', next(guided).read_text("utf8"), re.M)


ROWS = {
    "patch_cost": Row(
        chapters=["01_pixels_to_tokens"],
        build=lambda **state: PatchCost(photo(), **{"image_size": 384, "patch_size": 12} | state),
        state={"image_size": 192, "patch_size": 16},
        inputs=lambda: {"picture": PatchCost(255 - photo()).picture},
        misfits=[
            ("patch_size", 5, "patches of 5 x 5 pixels do not tile an image of 384 x 384",
             "patches of 5 pixels do not tile 384 pixels"),
            ("patch_size", 0, "patch_size is a whole number of pixels from 1 to 1024, got 0",
             "patch_size is a whole number from 1 to 1024, got 0"),
            ("patch_size", "8", None, "“patch_size” has the wrong type"),
            ("image_size", 2048, "image_size is a whole number of pixels from 1 to 1024, got 2048",
             "image_size is a whole number from 1 to 1024, got 2048"),
            ("image_size", 225, "patches of 12 x 12 pixels do not tile",
             "patches of 12 pixels do not tile 225 pixels"),
        ],
        guess="16 times",
        views=lambda: [PatchCost(photo(), patch_size=1)],  # with a part enlarged
    ),
    "cutter": Row(
        chapters=["02_patches"],
        build=lambda **state: PatchCutter(uneven(), patch_size=(3, 5), **state),
        state={"patch": 8, "way": "view"},
        inputs=lambda: {"picture": pack_picture(255 - uneven()), "patch_size": [4, 4]},
        misfits=[
            ("patch", 16, "patch is one of 0 to 15, got 16"),
            ("patch", 1.5, None, "patch is one of 0 to 15, got 1.5"),
            ("way", "reshape", "way is one of rearrange, view, got 'reshape'",
             "way is one of rearrange, view, got reshape"),
            ("way", "toString", None, "way is one of rearrange, view, got toString"),
        ],
        views=lambda: [PatchCutter(uneven(1), patch_size=(2, 2))],
    ),
    "class_token": Row(
        chapters=["03_class_token"],
        build=lambda **state: ClassToken(
            small_vit(), small_vit(pool="mean"), images(), NAMES, **state
        ),
        state={"picture": 2, "pooling": "mean", "layer": 1},
        inputs=lambda: {
            "cls_vit": other_vit(),
            "mean_vit": other_vit(pool="mean"),
            "pictures": other_pictures(),
        },
        misfits=[
            ("picture", 3, FIRST_TO_LAST),
            ("picture", -1, "picture is one of 0 to 2, got -1"),
            ("layer", 3, "layer is one of 0 to 2, got 3"),
            ("layer", "2", None, "“layer” has the wrong type"),
            ("pooling", "max", "pooling is \"cls\" or \"mean\", got 'max'",
             'pooling is “cls” or “mean”, got "max"'),
        ],
        guess="it does not",
    ),
    "patch_order": Row(
        chapters=["04_position_embeddings"],
        build=lambda **state: PatchOrder(
            small_vit(), small_vit(position="none"), images(), NAMES, **state
        ),
        state={"picture": 2, "seed": 3, "positions": False},
        inputs=lambda: {
            "with_positions": other_vit(),
            "without": other_vit(position="none"),
            "pictures": other_pictures(),
        },
        misfits=[
            ("picture", 3, FIRST_TO_LAST),
            ("seed", -1, "seed is one of 0 to 2147483647, got -1"),
            ("seed", 0.5, None, "seed is one of 0 to 2147483647, got 0.5"),
            ("positions", 1, None, "“positions” has the wrong type"),
        ],
        guess="neither",
    ),
    "position_similarity": Row(
        chapters=["04_position_embeddings"],
        build=lambda **state: PositionSimilarity(small_vit(), **state),
        state={"position": 8},
        inputs=lambda: {"vit": other_vit()},
        misfits=[
            ("position", 49, "position is one of 0 to 48, got 49"),
            ("position", -1, "position is one of 0 to 48, got -1"),
            ("position", 1.5, None, "position is one of 0 to 48, got 1.5"),
        ],
        guess="a direct neighbour",
    ),
    "attention_row": Row(
        chapters=["05_attention"],
        build=lambda **state: AttentionRow(small_vit(), images()[0], **{"key": 5} | state),
        state={"layer": 1, "head": 1, "query": 9, "key": 3, "temperature": 2.0},
        inputs=lambda: {"vit": other_vit(), "picture": pack_picture(images()[1])},
        misfits=[
            ("layer", 2, "layer is one of 0 to 1, got 2"),
            ("head", -1, "head is one of 0 to 1, got -1"),
            ("head", 7, "head is one of 0 to 1, got 7"),
            ("head", "1", None, "“head” has the wrong type"),
            ("query", 50, "query is one of 0 to 49, got 50"),
            ("key", 50, "key is one of 0 to 49, got 50"),
            ("temperature", 0.0, "a temperature is positive and finite, got 0.0",
             "temperature is positive, got 0"),
        ],
    ),
    "encoder_walk": Row(
        chapters=["06_encoder"],
        build=lambda **state: EncoderWalk(small_vit(), images(), NAMES, **state),
        state={"picture": 2, "token": 9, "stage": 7},
        inputs=lambda: {"vit": other_vit(), "pictures": other_pictures()},
        misfits=[
            ("picture", 3, FIRST_TO_LAST),
            ("token", 50, "token is one of 0 to 49, got 50"),
            ("token", 1.5, None, "token is one of 0 to 49, got 1.5"),
            ("stage", 16, "stage is one of 0 to 15, got 16"),
            ("stage", -1, "stage is one of 0 to 15, got -1"),
        ],
        guess="not every time",
        unseen=["stage"],
    ),
    "train_here": Row(
        chapters=["trainer", "07_training"],
        build=lambda **state: TrainHere(**state),
        state={
            "images": 500,
            "shuffled": True,
            "flip": False,
            "shift": 2,
            "patch_size": 4,
            "dim": 48,
            "depth": 4,
            "heads": 4,
            "position": "none",
            "pool": "mean",
            "optimizer": "adamw",
            "rate": 0.001,
            "batch_size": 32,
            "steps": 300,
            "warm_up": False,
            "seed": 5,
            "picture": 2,
        },
        inputs=lambda: {
            "pictures": pack_pictures(images(), NAMES),
            "facts": {"mean": [0.5], "std": [0.2], "class_names": [*NAMES, *"abcdefg"]},
        },
        misfits=[
            ("images", 60_000, "images is one of 100, 500, 2000, 6000; got 60000"),
            ("shuffled", 1, None, "“shuffled” has the wrong type"),
            ("flip", 1, None, "“flip” has the wrong type"),
            ("shift", 4, "shift is one of 0, 1, 2, 3; got 4"),
            ("patch_size", 14, "patch_size is one of 4, 7; got 14"),
            ("dim", 33, "dim is one of 32, 48, 64; got 33"),
            ("depth", 5, "depth is one of 1, 2, 3, 4, 6; got 5"),
            ("heads", 5, "heads is one of 1, 2, 3, 4, 6, 8; got 5"),
            ("heads", 3, "3 heads do not divide 32 dimensions"),
            ("position", "rope", "is one of none, learned, learned_2d, sincos_2d; got rope"),
            ("pool", "max", "pool is one of cls, mean; got max"),
            ("optimizer", "sgd", "optimizer is one of muon, adamw; got sgd"),
            ("rate", 1.0, "rate is one of 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.2; got 1"),
            ("batch_size", 128, "batch_size is one of 16, 32, 64; got 128"),
            ("steps", 0, "steps is one of 300, 1000, 2000, 3000, 6000, 10000; got 0"),
            ("warm_up", 1, None, "“warm_up” has the wrong type"),
            ("seed", -1, "seed is one of 0 to 2147483647, got -1"),
            ("picture", 10, "picture is one of 0 to 9, got 10"),
        ],
        elsewhere=["Train", "Step", *experiments()],
    ),
    "playback": Row(
        chapters=["07_training"],
        build=lambda **state: Playback(*made_up_run(), NAMES, **state),
        state={"epoch": 1, "position": 2},
        inputs=lambda: {"run": pack_run(*made_up_run(1), NAMES)},
        misfits=[
            ("epoch", 5, "epoch is one of 0 to 4, got 5"),
            ("epoch", -1, "epoch is one of 0 to 4, got -1"),
            ("epoch", 1.5, None, "epoch is one of 0 to 4, got 1.5"),
            ("position", 12, "position is one of 0 to 11, got 12"),
        ],
        guess="its accuracy",
        elsewhere=["Play"],
    ),
    "shift": Row(
        chapters=["08_inductive_bias"],
        build=shift,
        state={"picture": 1, "right": -3, "down": 2, "seed": 7, "size": 1},
        inputs=other_shift,
        misfits=[
            ("picture", 3, FIRST_TO_LAST),
            ("picture", -1, "picture is one of 0 to 2, got -1"),
            ("right", 5, "right is one of -4 to 4, got 5"),
            ("down", -5, "down is one of -4 to 4, got -5"),
            ("down", 0.5, None, "down is one of -4 to 4, got 0.5"),
            ("seed", 1000, "seed is one of 0 to 999, got 1000"),
            ("seed", -1, "seed is one of 0 to 999, got -1"),
            ("size", 2, "size is one of 0 to 1, got 2"),
        ],
        guess="the CNN",
    ),
    "where_it_looks": Row(
        chapters=["09_attention_maps"],
        build=lambda **state: WhereItLooks(small_vit(), images(), **state),
        state={
            "picture": 2,
            "layer": 0,
            "head": 1,
            "query": 3,
            "dropped": [4, 9],
            "heads_off": [[1, 0]],
        },
        inputs=lambda: {"vit": other_vit(), "pictures": other_pictures()},
        misfits=[
            ("picture", 3, FIRST_TO_LAST),
            ("layer", 2, "layer is one of 0 to 1, got 2"),
            ("head", -1, "head is one of 0 to 1, got -1"),
            ("query", 50, "query is one of 0 to 49, got 50"),
            ("dropped", [3, 49], "a dropped patch is one of 0 to 48, got 49"),
            ("dropped", [3, 3], "each dropped patch is named once, got [3, 3]",
             "each dropped patch is named once"),
            ("dropped", "all", None, "“dropped” has the wrong type"),
            ("heads_off", [1], "named (layer, head), got 1",
             "a head that is off is a layer and a head, got 1"),
            ("heads_off", [[2, 0]], "the layer of a head that is off is one of 0 to 1, got 2"),
            ("heads_off", [[1, 2]], "a head that is off is one of 0 to 1, got 2"),
        ],
        views=lambda: [WhereItLooks(small_vit(depth=12, dim=8, dim_head=2), images())],
        longest=0,
    ),
    "deletion": Row(
        chapters=["09_attention_maps"],
        build=lambda **state: Deletion(small_vit(), images(), **state),
        state={"picture": 1, "method": "contrast", "fraction": 0.5},
        inputs=lambda: {"vit": other_vit(), "pictures": other_pictures()},
        misfits=[
            ("picture", 3, FIRST_TO_LAST),
            ("picture", -1, "picture is one of 0 to 2, got -1"),
            ("method", "relevance", "method is one of last layer, rollout, contrast, at random"),
            ("fraction", 1.5, "fraction is a share from 0 to 1, got 1.5"),
            ("fraction", float("nan"), "fraction is a share from 0 to 1, got nan", None),
            ("fraction", "all", None, "“fraction” has the wrong type"),
        ],
        guess="contrast",
        pointed=".vt-order",
        ready=has_all_curves,
    ),
    "any_vit": Row(
        chapters=["10_pretrained"],
        build=any_vit,
        state={
            "picture": 3,
            "query": 3,
            "dropped": [4, 9],
            "layer": 1,
            "head": 1,
            "overlay": "mean",
            "smooth": True,
        },
        inputs=lambda: {
            "vit": other_vit(),
            "pictures": other_pictures(),
            "photos": any_vit("coffee").photos,
        },
        misfits=[
            ("picture", 4, "picture is one of 0 to 3, got 4"),
            ("query", 50, "query is one of 0 to 49, got 50"),
            ("dropped", [49], "a dropped patch is one of 0 to 48, got 49"),
            ("dropped", [1, 1], "each dropped patch is named once", "dropped names a patch once"),
            ("dropped", "all", None, "“dropped” has the wrong type"),
            ("layer", 2, "layer is one of 0 to 1, got 2"),
            ("head", -1, "head is one of 0 to 1, got -1"),
            ("overlay", "all", "overlay is one of rollout, head, mean, none, got all"),
            ("smooth", 1, None, "“smooth” has the wrong type"),
        ],
        unseen=["smooth"],
        # What it opens is no state, and changes what the model gets.
        elsewhere=["Preprocessing"],
        views=lambda: [any_vit(overlay="rollout", dropped=range(49))],
        ready=lambda card: expect(card).not_to_have_attribute("aria-busy", "true"),
    ),
    "side_by_side": Row(
        chapters=["11_bug_gallery"],
        build=lambda **state: SideBySide(small_vit(), images(), NAMES, **state),
        state={"bug": 4, "picture": 2, "layer": 0, "seed": 3, "guess": "A"},
        inputs=lambda: {"vit": other_vit(), "pictures": other_pictures()},
        misfits=[
            ("bug", 9, "bug is one of 0 to 8, got 9"),
            ("bug", "scaled by dim", None, "“bug” has the wrong type"),
            ("picture", 3, FIRST_TO_LAST),
            ("layer", 2, "layer is one of 0 to 1, got 2"),
            ("seed", -1, "seed is one of 0 to 2147483647, got -1"),
            ("guess", "C", "guess is one of none, A, B, got 'C'",
             "guess is one of none, A, B; got C"),
        ],
        unseen=["layer"],
    ),
    "playground": Row(
        chapters=["12_playground", "intro"],
        build=playground,
        state={
            "picture": -1,
            "own": "////" * 261 + "/w==",  # all white
            "dropped": [4, 9],
            "seed": 3,
            "positions": False,
            "temperature": 2.0,
            "heads_off": [[1, 0]],
            "query": 3,
            "challenge": True,
        },
        inputs=lambda: {"vit": other_vit(), "pictures": other_pictures()},
        misfits=[
            ("picture", 3, FIRST_TO_LAST),
            ("own", "AAAA", "got 3 bytes", "own, your image, has 784 bytes, got 3"),
            ("own", "é", None, "own, your image, is damaged"),
            ("dropped", [49], "a dropped patch is one of 0 to 48, got 49",
             "dropped is one of 0 to 48, got 49"),
            ("dropped", [1.5], None, "dropped is one of 0 to 48, got 1.5"),
            ("dropped", [1, 1], "each dropped patch is named once", "dropped names a patch once"),
            ("dropped", "all", None, "“dropped” has the wrong type"),
            ("seed", -1, "seed is one of 0 to 2147483647, got -1"),
            ("positions", 1, None, "“positions” has the wrong type"),
            ("temperature", 0.0, "a temperature is positive and finite, got 0.0",
             "temperature is positive, got 0"),
            ("heads_off", [[1]], "heads_off holds (layer, head), got [1]",
             "heads_off holds layer and head, got 1"),
            ("heads_off", [[2, 0]], "a layer of heads_off is one of 0 to 1, got 2",
             "heads_off, layer is one of 0 to 1, got 2"),
            ("heads_off", [[0, 2]], "a head of heads_off is one of 0 to 1, got 2",
             "heads_off, head is one of 0 to 1, got 2"),
            ("query", 50, "query is one of 0 to 49, got 50"),
            ("challenge", 1, None, "“challenge” has the wrong type"),
        ],
        fixed=["small"],
        unseen=["own", "query"],
        views=lambda: [
            Playground(small_vit(), images(), [0, 1, 2], small=True),
            Playground(small_vit(), images(), [0, 1, 2], challenge=True, dropped=range(49)),
        ],
        ready=lambda card: expect(card).not_to_have_attribute("aria-busy", "true"),
        elsewhere=[
            *("own", "challenge", "Draw", "Upload image", "Challenge me", "Today’s challenge"),
            *("Undo", "Redo"),
        ],
    ),
}  # fmt: skip


def chapters_figures():
    """List each chapter's figures, in the order in which it shows them."""
    found = {}
    for name, row in ROWS.items():
        for chapter in row.chapters:
            found.setdefault(chapter, []).append(name)
    return found
