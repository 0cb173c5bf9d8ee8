"""Many processes train as one, and what they cannot share is refused."""

import os
import re
import subprocess
import sys

import pytest
import torch
from tiny_run import PROGRAM, TINY, accuracy_on_the_test_set, read_log, run

from vit_tutorial import data, load_model, train

pytestmark = pytest.mark.usefixtures("a_tenth_of_the_test_set")


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
