"""The experiments: what each arm changes, sets that were interrupted, what is made of the logs."""

import json
import os
import re
import signal
import subprocess
import sys
from collections import defaultdict
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path

import pytest
import torch
from conftest import randomise
from safetensors.torch import load_file

from vit_tutorial import ViT, experiments, load_model, measurements, save_model
from vit_tutorial.arms import ARMS, BASELINE, CNN_RATES, EXPERIMENTS, MUON_RATES, RATES
from vit_tutorial.arms import TINY as TINY_BASELINE
from vit_tutorial.cnn import CNN
from vit_tutorial.data import load_dataset
from vit_tutorial.positions import POSITIONS
from vit_tutorial.recipes import (
    RECIPES,
    SMALL_CNN,
    SMALL_VIT,
    TINY_CNN,
    TINY_VIT,
    Recipe,
    load_pictures,
)
from vit_tutorial.records import RUNS, is_finished, read_log, read_runs

MODEL = {"image_size": 28, "patch_size": 7, "num_classes": 10, "channels": 1, "dim_head": 8}
MODEL |= {"dim": 16, "depth": 1, "heads": 2, "mlp_dim": 16}
TINY = Recipe(model=MODEL, subset=300, validation=100, epochs=2, batch_size=20)


@pytest.fixture(scope="module", autouse=True)
def _few_test_pictures():
    """What trains in this process is tested on a tenth of the test set, read once for all."""

    @cache
    def load(name, split, subset=None):
        return load_dataset(name, split, 1_000 if split == "test" else subset)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vit_tutorial.train.load_dataset", load)
        patch.setattr("vit_tutorial.recipes.load_dataset", load)
        yield


# The arms


def flat(recipe: Recipe) -> dict:
    """Every field, those of the model as "model.dim"; what a ViT does unless it is told."""
    fields = asdict(recipe)
    model = fields.pop("model")
    if recipe.architecture == "ViT":
        model = {"pool": "cls", "position": "learned"} | model
    return fields | {f"model.{name}": value for name, value in model.items()}


def difference(a: Recipe, b: Recipe) -> dict:
    a, b = flat(a), flat(b)
    return {name: b.get(name) for name in a.keys() | b.keys() if a.get(name) != b.get(name)}


CHANGES = {  # arm: what of the baseline it changes, and to what
    "baseline": {},
    "mean": {"model.pool": "mean"},
    **{kind: {"model.position": kind} for kind in POSITIONS if kind != "learned"},
    "no-augmentation": {"flip": False, "shift": 0},
    "erase": {"erase": 8},
    "all-patches": {"drop_patches": 0.0},
    "adamw": {"matrix_lr": None},
    "no-warm-up": {"warm_up": 0.0},
    "no-smoothing": {"label_smoothing": 0.0},
    "no-decay": {"weight_decay": 0.0},
    "no-clipping": {"clip": None},
    "flips": {},
    "no-flips": {"flip": False},
    "figure-cls": {},
    "figure-mean": {"model.pool": "mean"},
    "figure-none": {"model.position": "none"},
}
PARTS = """
    no-augmentation erase all-patches no-warm-up no-smoothing no-decay no-clipping
""".split()
CHANGES_OF_TINY = {
    **{f"vit-adamw-{rate}": {"matrix_lr": None, "lr": rate} for rate in RATES},
    **{f"vit-muon-{rate}": {"matrix_lr": rate} for rate in MUON_RATES},
    **{arm: CHANGES[arm] for arm in (*PARTS, "mean", *POSITIONS) if arm in CHANGES},
    "learned": {},
    "no-flip": {"flip": False},
    "long": {"epochs": 20},
    "long-no-augmentation": {"epochs": 20, **CHANGES["no-augmentation"]},
    "long-erase": {"epochs": 20, **CHANGES["erase"]},
}
BOOK_ARMS = {
    "book": {},
    "book-taught": {"teacher": "teacher-0"},
    "book-better": {"teacher": "teacher-0", "model.pool": "mean"},
}
# The gallery's arms are tiny models on the bundled images, all but one with a bug.
AS_BUNDLED = {"subset": 10_000, "validation": 1_000, "epochs": 8, "drop_patches": 0.0}
AS_BUNDLED |= {"model.patch_size": 7}
BUG_ARMS = {
    "bug-none": None,
    "bug-shredded-patches": "shredded patches",
    "bug-one-position-for-all": "one position for all",
    "bug-scaled-by-dim": "scaled by dim",
    "bug-softmax-over-queries": "softmax over queries",
    "bug-across-the-batch": "across the batch",
    "bug-heads-by-view": "heads by view",
    "bug-dropout-for-ever": "dropout for ever",
    "bug-skips-from-the-norm": "skips from the norm",
    "bug-one-layer-repeated": "one layer repeated",
    "bug-softmax-twice": "softmax twice",
}
COUNTS = (500, 2_000, 10_000, 55_000)
# Of 10,000 images: what these arms change of the tiny models' other arms and of each other.
MIDDLE = {"shift": 0, "drop_patches": 0.0, "train_on": 10_000, "epochs": 11, "repeats": 3}
AS_A_CNN = {"architecture": "CNN", "matrix_lr": None}
CHANGES_OF_MIDDLE = {
    **{f"vit-10000-adamw-{rate}": {"matrix_lr": None, "lr": rate} for rate in RATES},
    **{f"vit-10000-muon-{rate}": {"matrix_lr": rate} for rate in MUON_RATES},
    **{f"cnn-10000-adamw-{rate}": {**AS_A_CNN, "lr": rate} for rate in CNN_RATES},
    **{f"vit-shift-{pixels}": {"shift": pixels} for pixels in (1, 2, 4)},
    **{f"cnn-shift-{pixels}": {**AS_A_CNN, "lr": 0.04, "shift": pixels} for pixels in (1, 2, 4)},
    **{f"vit-{n}": {"train_on": n} for n in COUNTS if n != 10_000},
    **{f"cnn-{n}": {**AS_A_CNN, "lr": 0.04, "train_on": n} for n in COUNTS if n != 10_000},
}


@pytest.mark.parametrize("arm", CHANGES)
def test_an_arm_changes_what_its_name_says_and_nothing_else(arm):
    assert difference(BASELINE, ARMS[arm]) == CHANGES[arm]


@pytest.mark.parametrize("name", CHANGES_OF_TINY)
def test_an_arm_of_tiny_models_changes_what_its_name_says(name):
    expected = {k: v for k, v in CHANGES_OF_TINY[name].items() if flat(TINY_BASELINE)[k] != v}
    assert difference(TINY_BASELINE, ARMS[f"tiny-{name}"]) == expected


@pytest.mark.parametrize("arm", BUG_ARMS)
def test_an_arm_of_the_gallery_has_the_bug_of_its_name_and_nothing_else(arm):
    bug = {} if BUG_ARMS[arm] is None else {"bug": BUG_ARMS[arm]}
    assert difference(TINY_BASELINE, ARMS[arm]) == AS_BUNDLED | bug


@pytest.mark.parametrize("arm", BOOK_ARMS)
def test_an_arm_of_the_book_s_model_is_its_recipe_with_what_its_name_says(arm):
    assert difference(RECIPES["fashion"], ARMS[arm]) == BOOK_ARMS[arm]


@pytest.mark.parametrize("name", CHANGES_OF_MIDDLE)
def test_an_arm_of_tiny_models_on_some_images_changes_what_its_name_says(name):
    recipe = ARMS[f"tiny-{name}"]
    expected = MIDDLE | CHANGES_OF_MIDDLE[name]
    expected = {k: v for k, v in expected.items() if flat(TINY_BASELINE)[k] != v}
    model = {f"model.{key}" for key in {**TINY_VIT, **TINY_CNN, "pool": 0, "position": 0}}
    found = difference(TINY_BASELINE, recipe)
    if recipe.train_on != 10_000:  # how often, the next test asks
        found |= {key: MIDDLE[key] for key in ("epochs", "repeats")}
    if recipe.architecture == "CNN":
        assert recipe.model == TINY_CNN
        found = {k: v for k, v in found.items() if k not in model}
    assert found == expected


@pytest.mark.parametrize("architecture", ["vit", "cnn"])
def test_whatever_their_number_as_many_images_are_shown_in_all(architecture):
    rate = {"vit": "muon-0.01", "cnn": "adamw-0.04"}[architecture]
    arms = [f"tiny-{architecture}-{n}" for n in COUNTS if n != 10_000]
    for recipe in (ARMS[arm] for arm in (*arms, f"tiny-{architecture}-10000-{rate}")):
        assert recipe.train_on * recipe.epochs * recipe.repeats == 330_000


@pytest.mark.parametrize("pixels", [0, 4])
@pytest.mark.parametrize(("kind", "model"), [("vit", SMALL_VIT), ("cnn", SMALL_CNN)])
def test_larger_models_are_shown_motion_by_the_tiny_ones_recipe(kind, model, pixels):
    unmoved = {"vit": "tiny-vit-10000-muon-0.01", "cnn": "tiny-cnn-10000-adamw-0.04"}
    tiny = ARMS[f"tiny-{kind}-shift-{pixels}" if pixels else unmoved[kind]]
    assert ARMS[f"{kind}-shift-{pixels}"] == replace(tiny, model=model)


def test_the_baseline_has_what_the_arms_take_away():
    assert BASELINE.flip
    assert BASELINE.shift
    assert BASELINE.clip is not None
    assert BASELINE.subset == 10_000  # what is bundled
    without = (BASELINE.drop_patches, BASELINE.matrix_lr, BASELINE.warm_up, BASELINE.weight_decay)
    assert all(without)


@pytest.mark.parametrize("n", COUNTS)
def test_sizes_differ_in_the_pictures_and_how_often_they_are_shown(n):
    vit, cnn = ARMS[f"vit-{n}"], ARMS[f"cnn-{n}"]
    often = {"epochs", "repeats"}
    assert vit.train_on == n
    assert difference(ARMS["vit-55000"], vit).keys() <= {"train_on"} | often
    models = {f"model.{name}" for name in {**SMALL_VIT, **SMALL_CNN, "pool": 0, "position": 0}}
    assert difference(vit, cnn).keys() <= {"architecture"} | models
    assert (vit.architecture, vit.model) == ("ViT", SMALL_VIT)
    assert (cnn.architecture, cnn.model) == ("CNN", SMALL_CNN)
    assert vit.validation == 5_000
    assert vit.shift == 0  # or the ViT would have been taught to bear what it is tested on
    assert vit.drop_patches == 0


def test_every_arm_belongs_to_an_experiment_and_the_other_way_round():
    assert {arm for arms in EXPERIMENTS.values() for arm in arms} == set(ARMS)
    tiny = {f"tiny-{name}" for name in (*CHANGES_OF_TINY, *CHANGES_OF_MIDDLE)}
    motion = {*EXPERIMENTS["motion"]}
    sizes = {f"{model}-{n}" for model in ("vit", "cnn") for n in COUNTS}
    assert set(ARMS) == {*CHANGES, *tiny, *sizes, *motion, *BUG_ARMS, *BOOK_ARMS}
    assert {*EXPERIMENTS["bugs"]} == {*BUG_ARMS}
    assert [*EXPERIMENTS["class_token"]] == ["baseline", "mean"]
    positions = {ARMS[arm].model.get("position", "learned") for arm in EXPERIMENTS["positions"]}
    assert {"none", "learned", "learned_2d", "sincos_2d"} <= positions == {*POSITIONS}
    for arms in EXPERIMENTS.values():
        assert len(arms) >= 2
        # A name means one recipe, whichever experiment asks for it.
        assert all(ARMS[arm] == recipe for arm, recipe in arms.items())


@pytest.mark.parametrize(("vit", "cnn"), [(SMALL_VIT, SMALL_CNN), (TINY_VIT, TINY_CNN)])
def test_the_opponents_are_of_a_size(vit, cnn):
    vit, cnn = (sum(p.numel() for p in model.parameters()) for model in (ViT(**vit), CNN(**cnn)))
    assert abs(vit - cnn) < 0.02 * min(vit, cnn)


@pytest.mark.parametrize("arm", ARMS)
def test_every_size_of_a_run_fits(arm):
    quick, book, full = (experiments.sized(ARMS[arm], size) for size in ("quick", "book", "full"))
    assert book == ARMS[arm]
    assert quick.epochs * quick.train_on * quick.repeats <= 1_000
    assert quick.subset == 10_000
    assert quick.train_on <= 9_000
    assert difference(book, full).keys() == {"epochs"} | (
        set() if book.subset is None else {"subset", "validation"}
    )
    assert full.epochs == 2 * book.epochs
    assert full.subset is None


# Runs


def test_a_set_that_was_interrupted_goes_on(tmp_path):
    for arm, seed in (("a", 0), ("a", 1)):
        line = experiments.run_arm(arm, seed, TINY, tmp_path, "cpu", "command")
        records = read_log(tmp_path / f"{arm}-{seed}")
        assert line == f"{tmp_path / arm}-{seed}: test accuracy {records[-1]['test_accuracy']:.2%}"
        assert records[0]["command"] == "command"
        assert records[0]["seed"] == seed
    half = tmp_path / "a-2"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vit_tutorial.run.write_log", stop)
        with pytest.raises(KeyboardInterrupt):
            experiments.run_arm("a", 2, TINY, tmp_path, "cpu", "command")
    assert is_finished(tmp_path / "a-0")
    assert not is_finished(half)
    assert not is_finished(tmp_path / "a-3")
    before = [(path, path.stat().st_mtime_ns) for path in tmp_path.glob("a-[01]/*")]
    assert len(before) == 6
    for seed in range(3):
        line = experiments.run_arm("a", seed, TINY, tmp_path, "cpu", "command")
        assert ("finished before" in line) == (seed < 2)
    assert [(path, path.stat().st_mtime_ns) for path in tmp_path.glob("a-[01]/*")] == before
    events = [record["event"] for record in read_log(half)]
    assert events == ["start", "epoch", "resume", "epoch", "test"]


def stop(*_):
    raise KeyboardInterrupt


def test_a_finished_run_of_another_recipe_is_not_taken_for_this_one(tmp_path):
    experiments.run_arm("a", 0, TINY, tmp_path, "cpu", "command")
    other = replace(TINY, label_smoothing=0.0)
    with pytest.raises(ValueError, match=r"a-0 holds a run .*label_smoothing was 0\.05, now 0\.0"):
        experiments.run_arm("a", 0, other, tmp_path, "cpu", "command")


def test_a_run_says_nothing_but_its_line(tmp_path, capsys):
    experiments.run_arm("a", 0, TINY, tmp_path, "cpu", "command")
    assert capsys.readouterr() == ("", "")


class NoPool:
    """Runs what is submitted at once, in this process."""

    def __init__(self, *_, **__):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def submit(self, call, *args):
        future = Future()
        try:
            future.set_result(call(*args))
        except Exception as error:
            future.set_exception(error)
        return future


@pytest.fixture
def in_this_process(monkeypatch):
    """Arms that take no time, and no processes of their own."""
    monkeypatch.setattr(experiments, "ProcessPoolExecutor", NoPool)
    monkeypatch.setattr(experiments, "sized", lambda recipe, _: recipe)
    arms = {"fine": TINY, "bad": replace(TINY, lr=1e30), "other": replace(TINY, epochs=1)}
    monkeypatch.setattr(experiments, "ARMS", arms)
    monkeypatch.setitem(EXPERIMENTS, "positions", tuple(arms))
    monkeypatch.setitem(EXPERIMENTS, "class_token", ("fine", "other"))


def test_a_run_that_fails_is_named_and_the_others_go_on(in_this_process, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        experiments.main(["positions", "--seeds", "2", "--out", str(tmp_path)])
    assert re.search(r"2 of 6 runs failed: bad-0, bad-1$", stopped.value.code)
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 4
    assert sorted(line[:6] for line in err.splitlines()) == ["bad-0:", "bad-1:"]
    assert "no longer a number" in err
    assert is_finished(tmp_path / "other-1")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (torch.OutOfMemoryError("CUDA out of memory.\nTried to"), "CUDA out of memory."),
        (KeyError("w"), "KeyError: 'w'"),
        (RuntimeError(), "RuntimeError: "),
        (OSError("cannot write a/checkpoint.pt: full"), "cannot write a/checkpoint.pt: full"),
        (BrokenProcessPool(), "not finished, for a worker was killed from outside"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_whatever_ends_a_run_is_a_line_and_the_summary_comes(
    error, line, in_this_process, tmp_path, capsys, monkeypatch
):
    def fail(arm, seed, *_):
        if arm == "fine":
            raise error
        return "done"

    monkeypatch.setattr(experiments, "run_arm", fail)
    with pytest.raises(SystemExit) as stopped:
        experiments.main(["class_token", "--seeds", "2", "--out", str(tmp_path)])
    assert re.search(r"2 of 4 runs failed: fine-0, fine-1$", stopped.value.code)
    out, err = capsys.readouterr()
    assert out == "done\ndone\n"
    first, second = sorted(err.splitlines())
    assert first.startswith("fine-0: ")
    assert second.startswith("fine-1: ")
    assert line in first


def experiment(folder, *more) -> list[str]:
    words = f"class_token --size quick --seeds 2 --jobs 1 --out {folder}".split()
    return [sys.executable, "-m", "vit_tutorial.experiments", *words, *more]


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_everything_at_once(number, tmp_path):
    """As a terminal does it, Ctrl-C reaches every process; a SIGTERM the command alone."""
    process = subprocess.Popen(
        experiment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert "baseline-0: test accuracy" in process.stdout.readline()
        if number == signal.SIGINT:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        out, said = process.communicate(timeout=60)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 128 + number
    assert out == ""
    how = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}[number]
    assert said == (
        f"python -m vit_tutorial.experiments: stopped by {how}; 1 of 4 runs finished. "
        "The same command goes on where it stopped\n"
    )
    assert not (tmp_path / "mean-1").exists()  # nothing that waited has begun
    assert is_finished(tmp_path / "baseline-0")


def test_a_worker_that_is_killed_fails_its_runs_and_the_summary_comes(tmp_path):
    process = subprocess.Popen(
        experiment(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert "baseline-0: test accuracy" in process.stdout.readline()
        children = f"/proc/{process.pid}/task/{process.pid}/children"
        for child in Path(children).read_text().split():
            words = Path(f"/proc/{child}/cmdline").read_bytes()
            if b"spawn_main" in words:
                os.kill(int(child), signal.SIGKILL)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 1
    *failed, summary = said.splitlines()
    assert sorted(line.split(":")[0] for line in failed) == ["baseline-1", "mean-0", "mean-1"]
    assert all("a worker was killed from outside" in line for line in failed)
    assert summary.endswith("3 of 4 runs failed: baseline-1, mean-0, mean-1")


def test_a_full_disk_fails_each_run_in_a_line(tmp_path):
    command = ["bash", "-c", 'ulimit -f 20; exec "$@"', "bash", *experiment(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    *failed, summary = done.stderr.splitlines()
    assert len(failed) == 4
    for line in failed:
        name = line.split(":")[0]
        path = tmp_path / name / "checkpoint.pt"
        assert line.startswith(f"{name}: cannot write {path}: File too large. What ")
        assert not list((tmp_path / name).iterdir())
    assert summary.endswith("4 of 4 runs failed: baseline-0, baseline-1, mean-0, mean-1")


def test_all_arms_come_with_one_seed_before_the_next(in_this_process, tmp_path, monkeypatch):
    """So that what an interrupted set has can be compared; an arm of two experiments comes once."""
    runs = []

    def note(arm, seed, *_):
        runs.append((arm, seed))
        return "done"

    monkeypatch.setattr(experiments, "run_arm", note)
    experiments.main(["class_token", "positions", "--seeds", "2", "--out", str(tmp_path)])
    assert runs == [(arm, seed) for seed in (0, 1) for arm in ("fine", "other", "bad")]


def test_some_arms_alone_are_trained_and_the_log_names_them(in_this_process, tmp_path, monkeypatch):
    runs = []
    monkeypatch.setattr(experiments, "run_arm", lambda *run: runs.append(run) or "done")
    experiments.main(["positions", "--arms", "bad", "--seeds", "2", "--out", str(tmp_path)])
    assert [run[:2] for run in runs] == [("bad", 0), ("bad", 1)]
    (command,) = {run[5] for run in runs}
    assert command.endswith("experiments positions --size book --arms bad")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nonesuch"], "nonesuch"),
        (
            ["class_token", "--arms", "mean", "erase"],
            "--arms: no erase in class_token; there are baseline, mean",
        ),
        ([], "name"),
        (["positions", "--seeds", "0"], "--seeds and --jobs must be at least 1"),
        (["positions", "--jobs", "0"], "--seeds and --jobs must be at least 1"),
        (["positions", "--size", "tiny"], "tiny"),
    ],
)
def test_arguments_that_do_not_fit_are_named(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        experiments.main(arguments)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_command_goes_on_where_a_kill_stopped_it(tmp_path):
    """A quick experiment, one seed; its worker ends with it, or `communicate` would wait on."""
    words = f"class_token --size quick --seeds 1 --jobs 1 --out {tmp_path}".split()
    command = [sys.executable, "-m", "vit_tutorial.experiments", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline().startswith(f"{tmp_path}/baseline-0: test accuracy ")
    finally:
        process.kill()
        process.communicate(timeout=60)
    assert process.returncode == -9
    assert not is_finished(tmp_path / "mean-0")
    before = [(path, path.stat().st_mtime_ns) for path in (tmp_path / "baseline-0").iterdir()]
    assert len(before) == 3
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    first, second = done.stdout.splitlines()
    assert first == f"{tmp_path}/baseline-0: finished before"
    assert second.startswith(f"{tmp_path}/mean-0: test accuracy ")
    after = [(path, path.stat().st_mtime_ns) for path in (tmp_path / "baseline-0").iterdir()]
    assert after == before
    start = read_runs("mean", tmp_path)[0][0]
    assert start["command"] == "python -m vit_tutorial.experiments class_token --size quick"
    assert Recipe(**start["recipe"]) == experiments.sized(ARMS["mean"], "quick")
    assert load_model(tmp_path / "mean-0" / "model.safetensors").pool == "mean"


# Robustness


def trained_run(folder, **overrides):
    """A run's folder as `train` leaves it, but for the training."""
    vit = randomise(ViT(**(MODEL | {"patch_size": 4} | overrides)))
    save_model(vit, folder / "model.safetensors")
    start = {"event": "start", "recipe": asdict(replace(TINY, model=vit.config)), "seed": 0}
    (folder / "log.jsonl").write_text(json.dumps(start) + "\n")
    return vit


def accuracy(model, images, labels) -> float:
    with torch.no_grad():
        guesses = model((images / 255 - 0.2860) / 0.3530).argmax(dim=1)
    return sum(a == b for a, b in zip(guesses.tolist(), labels.tolist(), strict=True)) / len(labels)


def shifted(images, down, right):
    moved = torch.zeros_like(images)
    for i in range(max(0, down), min(28, 28 + down)):
        for j in range(max(0, right), min(28, 28 + right)):
            moved[:, :, i, j] = images[:, :, i - down, j - right]
    return moved


def test_shifts_are_measured_on_the_held_out_pictures_in_four_directions(tmp_path):
    vit = trained_run(tmp_path)
    _, _, images, labels = load_pictures(TINY)
    *shifts, shuffle = experiments.measure_robustness(tmp_path, 4)
    assert [(record["event"], record["pixels"]) for record in shifts] == [
        ("shift", pixels) for pixels in range(5)
    ]
    assert shifts[0]["accuracy"] == pytest.approx(accuracy(vit, images, labels), abs=1e-6)
    assert len({record["accuracy"] for record in shifts}) > 1
    for pixels in (1, 4):
        moves = [(pixels, 0), (-pixels, 0), (0, pixels), (0, -pixels)]
        each = [accuracy(vit, shifted(images, *move), labels) for move in moves]
        assert shifts[pixels]["accuracy"] == pytest.approx(sum(each) / 4, abs=1e-6)
    assert shuffle["event"] == "shuffle"


def test_shuffling_is_nothing_to_a_model_without_positions(tmp_path):
    """With mean pooling the encoder is invariant; rounding may turn one picture of the 100."""
    trained_run(tmp_path, pool="mean", position="none")
    unshifted, *_, shuffle = experiments.measure_robustness(tmp_path, 1)
    assert shuffle["accuracy"] == pytest.approx(unshifted["accuracy"], abs=0.011)


def test_it_is_measured_once_beside_the_log_where_it_is_asked_for(tmp_path, monkeypatch):
    measured = []
    monkeypatch.setattr(
        experiments, "measure_robustness", lambda *given: measured.append(given) or [{"a": 1}]
    )
    experiments.run_arm("a", 0, TINY, tmp_path, "cpu", "command")
    assert not (tmp_path / "a-0" / "robustness.jsonl").exists()
    for _ in range(2):
        experiments.run_arm("a", 0, TINY, tmp_path, "cpu", "command", shifted=6)
    assert measured == [(tmp_path / "a-0", 6)]
    assert json.loads((tmp_path / "a-0" / "robustness.jsonl").read_text()) == {"a": 1}


def test_each_picture_s_patches_are_shuffled_in_their_own_order(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(measurements, "evaluate", lambda _, images, *__: (seen.append(images), 0.5))
    trained_run(tmp_path)
    experiments.measure_robustness(tmp_path, 2)
    assert len(seen) == 4 * 3 + 1
    before, after = seen[0], seen[-1]
    orders = set()
    for image, shuffled in zip(before, after, strict=True):
        cut, mixed = (
            [bytes(p[:, i : i + 4, j : j + 4]) for i in range(0, 28, 4) for j in range(0, 28, 4)]
            for p in (image.numpy().copy(), shuffled.numpy().copy())
        )
        assert sorted(cut) == sorted(mixed)
        assert cut != mixed
        blank = bytes(16)
        orders.add(tuple(mixed.index(patch) for patch in cut if patch != blank))
    assert len(orders) == 100


def test_an_arm_is_shifted_as_far_as_the_experiments_that_ask_for_it_say():
    shared = "tiny-vit-10000-muon-0.01"
    assert experiments.largest_shift(shared, ["tiny_data_rates"]) is None
    assert experiments.largest_shift(shared, ["tiny_data_rates", "tiny_motion"]) == 6
    assert experiments.largest_shift("vit-500", ["robustness", "tiny_motion"]) == 4
    assert experiments.largest_shift("mean", ["class_token", "robustness"]) is None


# The logs that come with the package


def test_the_logs_in_the_repository_are_whole_and_say_how_they_came_about():
    seeds = defaultdict(set)
    for path in sorted(RUNS.rglob("log.jsonl")):
        name = path.parent.name
        arm, seed = re.fullmatch(r"(.+)-(\d+)", name).groups()
        text = path.read_text(encoding="utf8")
        assert text.endswith("\n"), name
        start, *epochs, test = [json.loads(line) for line in text.splitlines()]
        epochs = [record for record in epochs if record["event"] != "resume"]
        assert (start["event"], test["event"]) == ("start", "test"), name
        assert [record["event"] for record in epochs] == ["epoch"] * len(epochs), name
        recipe = Recipe(**start["recipe"])
        assert [record["epoch"] for record in epochs] == list(range(1, recipe.epochs + 1)), name
        best = max(epochs, key=lambda record: record["validation_accuracy"])
        tested = best if recipe.choose_epoch else epochs[-1]
        assert test["epoch"] == tested["epoch"], name
        assert start["seed"] == int(seed), name
        seeds[arm].add(int(seed))
        words = start["command"].split()
        if arm in ARMS:
            assert words[:3] == ["python", "-m", "vit_tutorial.experiments"], name
            size = words[words.index("--size") + 1]
            assert size in ("book", "full"), name
            named = [word for word in words[3:] if word in EXPERIMENTS]
            assert any(arm in EXPERIMENTS[experiment] for experiment in named), name
            expected = experiments.sized(ARMS[arm], size)
        else:
            assert words[:3] == ["python", "-m", "vit_tutorial.train"], name
            expected = RECIPES[arm]
        # As JSON holds them: the log has lists where the recipe has tuples.
        now, then = (json.loads(json.dumps(asdict(each))) for each in (expected, recipe))
        assert then == now, f"{name} is not of the recipe that has its name today"
        if (path.parent / "robustness.jsonl").exists():
            lines = (path.parent / "robustness.jsonl").read_text(encoding="utf8").splitlines()
            records = [json.loads(line) for line in lines]
            pixels = experiments.largest_shift(arm, named)
            events = [record["event"] for record in records]
            assert events == ["shift"] * (pixels + 1) + ["shuffle"], name
    for arm, found in seeds.items():
        assert found == set(range(len(found))), arm
        alone = {*RECIPES, *EXPERIMENTS["figures"]}  # compared with nothing
        assert len(found) >= 3 or arm in alone, f"{arm}: only the seeds {found}"


def test_of_the_figures_first_model_every_epoch_is_kept(tmp_path):
    experiments.run_arm("figure-cls", 0, TINY, tmp_path, "cpu", "command")
    lines = (tmp_path / "figure-cls-0" / "progress.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [0, 1, 2]  # 0: before the first


def test_progress_is_the_likeness_of_positions_and_an_epoch_run_again_replaces_itself(tmp_path):
    vit = randomise(ViT(**MODEL))
    path = tmp_path / "progress.jsonl"
    for epoch in (0, 1, 2, 1):
        experiments.record_progress(path, epoch, vit)
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert [record["epoch"] for record in records] == [0, 1]
    similarity = torch.tensor(records[-1]["similarity"]) / 100
    one, two = vit.pos_embedding[0, 1], vit.pos_embedding[0, 6]  # of patches 0 and 5
    expected = torch.nn.functional.cosine_similarity(one, two, dim=0)
    assert similarity[0, 5] == pytest.approx(expected.item(), abs=0.0051)
    assert torch.equal(similarity, similarity.T)
    assert torch.equal(similarity.diagonal(), torch.ones(16))


def test_the_positions_that_are_kept_are_those_of_the_trained_model(tmp_path):
    experiments.run_arm("tiny-no-flip", 0, TINY, tmp_path, "cpu", "command")
    (record,) = [
        json.loads(line)
        for line in (tmp_path / "tiny-no-flip-0" / "positions.jsonl").read_text().splitlines()
    ]
    trained = load_file(tmp_path / "tiny-no-flip-0" / "model.safetensors")["pos_embedding"]
    kept = torch.tensor(record["embeddings"])
    torch.testing.assert_close(kept, trained[0, 1:], atol=6e-5, rtol=0)
    experiments.run_arm("tiny-mean", 0, TINY, tmp_path, "cpu", "command")
    assert not (tmp_path / "tiny-mean-0" / "positions.jsonl").exists()
