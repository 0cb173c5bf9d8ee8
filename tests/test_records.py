"""Runs read back: finished ones in order, damage named, what is taken of them."""

import json
import re

import numpy as np
import pytest

from vit_tutorial.records import (
    column,
    images_shown,
    is_finished,
    points,
    read_log,
    read_runs,
    slope,
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
