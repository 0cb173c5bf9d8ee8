"""The command: its help, what it writes where, and bad input, refused in one line."""

import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_run import TINY, content, read_log, run

from vit_tutorial import data, train
from vit_tutorial.recipes import RECIPES

pytestmark = pytest.mark.usefixtures("a_tenth_of_the_test_set")


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
