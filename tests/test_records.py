"""Runs written and read back: one writer, whole files, damage named, what is taken of them."""

import errno
import json
import os
import re
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch

from vit_tutorial import records
from vit_tutorial.records import (
    column,
    has_model,
    images_shown,
    is_finished,
    lock_folder,
    points,
    prepare_folder,
    read_checkpoint,
    read_log,
    read_runs,
    slope,
    write_checkpoint,
    write_whole,
)


def write_run(folder, *epochs, finished=True, training=105, repeats=1):
    """Write a log with one "a" an epoch; batches of 10."""
    folder.mkdir(parents=True)
    start = {"event": "start", "pictures": {"training": training}}
    start["recipe"] = {"batch_size": 10, "repeats": repeats}
    records = [start]
    for epoch, a in enumerate(epochs, start=1):
        records.append({"event": "epoch", "epoch": epoch, "a": a})
    if finished:
        records.append({"event": "test", "test_accuracy": 0.5})
    text = "".join(json.dumps(record) + "\n" for record in records)
    (folder / "log.jsonl").write_text(text)
    return records


def test_runs_are_read_in_the_order_of_their_seeds(tmp_path):
    written = [write_run(tmp_path / f"mean-{seed}", seed, 2 * seed) for seed in range(3)]
    write_run(tmp_path / "mean-3", 9, finished=False)
    write_run(tmp_path / "meaner-0", 9)
    runs = read_runs("mean", tmp_path)
    assert runs == written
    assert [column(run, "a") for run in runs] == [[0, 0], [1, 2], [2, 4]]
    assert points(runs) == [50, 50, 50]


def test_an_arm_without_finished_runs_is_named(tmp_path):
    write_run(tmp_path / "mean-0", 1, finished=False)
    message = f"no finished run of 'mean' in {re.escape(str(tmp_path))}; .*--help"
    with pytest.raises(FileNotFoundError, match=message):
        read_runs("mean", tmp_path)


def test_what_resumed_is_no_epoch():
    run = [
        {"event": "epoch", "a": 1},
        {"event": "resume"},
        {"event": "epoch", "a": 3},
    ]
    assert column(run, "a") == [1, 3]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '{"event": "start"}\n{"event": "ep',
            "line 2 of .*log.jsonl is not JSON",
        ),
        ("garbage\n", "line 1 of .*log.jsonl is not JSON"),
        ("[1, 2]\n", "line 1 of .*log.jsonl is not a record"),
        ('{"epoch": 1}\n', "line 1 of .*log.jsonl is not a record"),
        ("\0\xff\n", "line 1 of .*log.jsonl is not JSON"),
    ],
)
def test_a_damaged_log_is_named_with_its_line(tmp_path, text, message):
    (tmp_path / "mean-0").mkdir()
    (tmp_path / "mean-0" / "log.jsonl").write_text(text, encoding="latin-1")
    for read in (read_log, is_finished):
        with pytest.raises(ValueError, match=message):
            read(tmp_path / "mean-0")
    with pytest.raises(ValueError, match=message):
        read_runs("mean", tmp_path)


def test_an_empty_log_is_not_finished(tmp_path):
    (tmp_path / "log.jsonl").touch()
    assert not is_finished(tmp_path)
    assert not has_model(tmp_path)
    (tmp_path / "mean-0").mkdir()
    (tmp_path / "mean-0" / "log.jsonl").touch()
    with pytest.raises(FileNotFoundError, match="no finished run of 'mean'"):
        read_runs("mean", tmp_path)
    assert not is_finished(tmp_path / "nowhere")


def test_an_epoch_shows_whole_batches_of_all_its_rounds(tmp_path):
    run = write_run(tmp_path / "a-0", 1, 2)
    assert images_shown(run) == [
        100,
        200,
    ]  # 10 batches of 10; 5 images are left over
    run = write_run(tmp_path / "b-0", 1, 2, repeats=3)
    assert images_shown(run) == [310, 620]  # 31 of 3 * 105 / 10


def test_the_slope_is_that_of_a_line_through_the_last_epochs(tmp_path):
    run = write_run(tmp_path / "a-0", *range(7), training=1_000)
    accuracies = [0.1, 0.9, 0.5, 0.52, 0.55, 0.53, 0.6]
    for record, accuracy in zip(run[1:-1], accuracies, strict=True):
        record["validation_accuracy"] = accuracy
    an_epoch = 100 * np.polyfit(range(5), accuracies[-5:], 1)[0]
    assert slope(run) == pytest.approx(10 * an_epoch)  # 10 epochs show 10,000
    assert slope(run, last=2) == pytest.approx(10 * 7)


# One writer

HOLD = """
import sys, time
from pathlib import Path
from vit_tutorial.records import lock_folder
with lock_folder(Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(600)
"""


def test_a_folder_is_locked_once_and_a_kill_frees_it(tmp_path):
    out = tmp_path / "a" / "run"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(out)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout.readline() == "locked\n"
        message = f"another process is writing a run into {re.escape(str(out))}: wait until"
        with pytest.raises(FileExistsError, match=message), lock_folder(out):
            pass
        with lock_folder(tmp_path / "a" / "other"):
            pass
    finally:
        holder.kill()
        holder.communicate()
    with lock_folder(out):
        pass
    assert not list(out.iterdir())


def test_a_lock_ends_with_its_block_however_that_ends(tmp_path):
    def interrupted():
        with lock_folder(tmp_path):
            with pytest.raises(FileExistsError), lock_folder(tmp_path):
                pass  # two threads of one notebook, say
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with lock_folder(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


# Checkpoints


def checkpoint(value: float) -> dict:
    model = {"weight": torch.full((3, 5), value), "bias": torch.arange(4)}
    return {
        "model": model,
        "optimizers": [{"state": {0: torch.ones(2)}, "lr": 0.1}],
        "best": {"epoch": 1, "validation_accuracy": 0.5, "model": model},
        "records": [{"event": "start", "recipe": {"lr": 0.1}, "seed": 3}],
    }


def same(a: object, b: object) -> bool:
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and (torch.equal(a, b) if torch.is_tensor(a) else a == b)


def test_a_flipped_bit_in_any_byte_of_a_checkpoint_is_noticed(tmp_path):
    write_checkpoint(tmp_path, checkpoint(0.25))
    path = tmp_path / "checkpoint.pt"
    intact = path.read_bytes()
    for at in range(len(intact)):
        damaged = bytearray(intact)
        damaged[at] ^= 1 << (at % 8)
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="is damaged or no checkpoint"):
            read_checkpoint(path)
    for end in range(0, len(intact), 7):
        path.write_bytes(intact[:end])
        with pytest.raises(ValueError, match="is damaged or no checkpoint"):
            read_checkpoint(path)


def test_a_checkpoint_is_still_a_file_that_pytorch_reads(tmp_path):
    """And one from before there were checksums is read as before."""
    path = tmp_path / "checkpoint.pt"
    write_checkpoint(tmp_path, checkpoint(0.25))
    assert same(torch.load(path, weights_only=True), checkpoint(0.25))
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert re.fullmatch(rb"sha256:[0-9a-f]{64}", archive.comment)
    torch.save(checkpoint(0.5), path)
    assert same(read_checkpoint(path), checkpoint(0.5))


def test_of_two_checkpoints_the_older_serves_when_the_newer_is_damaged(tmp_path, capsys):
    for value in (1.0, 2.0, 3.0):
        write_checkpoint(tmp_path, checkpoint(value))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint.previous.pt", "checkpoint.pt"]
    assert same(prepare_folder(tmp_path, resume=True), checkpoint(3.0))
    assert capsys.readouterr().err == ""
    newest = tmp_path / "checkpoint.pt"
    newest.write_bytes(newest.read_bytes()[:-30])
    assert same(prepare_folder(tmp_path, resume=True), checkpoint(2.0))
    assert re.fullmatch(
        f"{newest} is damaged or no checkpoint .*; going on from checkpoint.previous.pt\n",
        capsys.readouterr().err,
    )
    # What comes next does not put the damaged one in the place of the intact one.
    write_checkpoint(tmp_path, checkpoint(4.0))
    assert same(read_checkpoint(newest), checkpoint(4.0))
    assert same(read_checkpoint(tmp_path / "checkpoint.previous.pt"), checkpoint(2.0))


def test_an_older_checkpoint_alone_serves(tmp_path):
    """A kill between two renamings leaves it so."""
    for value in (1.0, 2.0):
        write_checkpoint(tmp_path, checkpoint(value))
    (tmp_path / "checkpoint.pt").unlink()
    assert same(prepare_folder(tmp_path, resume=True), checkpoint(1.0))
    with pytest.raises(FileExistsError, match="holds a run already"):
        prepare_folder(tmp_path, resume=False)


def test_two_damaged_checkpoints_are_named_and_left(tmp_path):
    names = ("checkpoint.previous.pt", "checkpoint.pt")
    for name in names:
        (tmp_path / name).write_bytes(b"junk")
    with pytest.raises(ValueError, match=r"checkpoint\.pt is damaged .*; put back an intact copy"):
        prepare_folder(tmp_path, resume=True)
    assert all((tmp_path / name).read_bytes() == b"junk" for name in names)


# Whole files


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_disk_is_named_and_the_file_before_stays(tmp_path):
    path = tmp_path / "log.jsonl"
    write_whole(path, b"before")
    (tmp_path / "log.jsonl.part").symlink_to("/dev/full")
    message = f"cannot write {re.escape(str(path))}: No space left on device. What .* is intact"
    with pytest.raises(OSError, match=message):
        write_whole(path, b"after")
    assert path.read_bytes() == b"before"
    assert [p.name for p in tmp_path.iterdir()] == ["log.jsonl"]
    write_whole(path, b"after")
    assert path.read_bytes() == b"after"


def test_a_disk_that_is_full_only_at_the_end_is_named_as_well(tmp_path, monkeypatch):
    """Over a network, or with a quota, a write may succeed and the flush to disk fail."""

    def full(_):
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    monkeypatch.setattr(records.os, "fsync", full)
    with pytest.raises(OSError, match=r"cannot write .*a\.txt: Disk quota exceeded"):
        write_whole(tmp_path / "a.txt", b"something")
    assert not list(tmp_path.iterdir())


def test_an_interrupt_leaves_no_half_of_a_file(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    write_whole(path, b"before")

    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(records.os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_whole(path, b"after")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("a.txt", b"before")]


def test_a_removed_folder_is_named(tmp_path):
    folder = tmp_path / "gone"
    message = f"cannot write .*a.txt: the folder {re.escape(str(folder))} was removed"
    with pytest.raises(OSError, match=message):
        write_whole(folder / "a.txt", b"something")
