"""A run that was interrupted, killed or damaged goes on as if it had never stopped."""

import io
import json
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from tiny_run import (
    MODEL,
    PROGRAM,
    TINY,
    TINY_CNN,
    assert_same_weights,
    content,
    interrupted,
    numbers,
    python,
    read_log,
    run,
)

from vit_tutorial import ViT, load_model
from vit_tutorial.recipes import RECIPES

pytestmark = pytest.mark.usefixtures("a_tenth_of_the_test_set")


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
