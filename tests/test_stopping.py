"""However a run ends, it says so in one line and leaves its last state intact."""

import re
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace

import pytest
from tiny_run import (
    PROGRAM,
    TINY,
    assert_same_weights,
    content,
    interrupted,
    numbers,
    python,
    read_log,
    run,
)

from vit_tutorial import load_model, train
from vit_tutorial.recipes import RECIPES
from vit_tutorial.records import is_finished

pytestmark = pytest.mark.usefixtures("a_tenth_of_the_test_set")


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
