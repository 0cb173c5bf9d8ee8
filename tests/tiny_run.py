"""A run so small that a test can train it, and what tests ask of one."""

import json
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import cache

import pytest
import torch

from vit_tutorial import data, train
from vit_tutorial.recipes import Recipe

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


def content(folder) -> dict:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def assert_same_weights(a, b):
    a, b = a.state_dict(), b.state_dict()
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


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


def accuracy_on_the_test_set(model, load=few_test_pictures) -> tuple[float, float]:
    """Loss and accuracy, with the mean and std that the model's file carries."""
    images, labels = load("fashion_mnist", "test")
    mean, std = (torch.tensor(model.facts[key]).view(-1, 1, 1) for key in ("mean", "std"))
    with torch.no_grad():
        logits = torch.cat([model((part / 255 - mean) / std) for part in images.split(2_000)])
    chances = logits.double().softmax(dim=1)[range(len(labels)), labels]
    right = sum(a == b for a, b in zip(logits.argmax(dim=1).tolist(), labels.tolist(), strict=True))
    return -chances.log().mean().item(), right / len(labels)


# A program of its own, as a user starts it, but for its recipe, which is as small as TINY.
PROGRAM = f"""
import json, os, signal, sys
import torch
torch.set_num_threads(1)
from vit_tutorial import records, run, train
train.RECIPES["tiny"] = train.Recipe(**json.loads({json.dumps(asdict(TINY))!r}))
"""


def python(program: str, *arguments: str, **more) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, **more
    )
