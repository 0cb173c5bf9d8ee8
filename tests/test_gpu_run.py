"""The run on a GPU, as far as it can be tried without one: its steps, and what it compiles."""

import json
import os
import re
import signal
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch._dynamo.testing import CompileCounter

from vit_tutorial import ViT, load_model
from vit_tutorial.arms import ARMS, EXPERIMENTS
from vit_tutorial.machine import compiled
from vit_tutorial.patch_dropout import SomePatches, draw_patches
from vit_tutorial.recipes import RECIPES

ROOT = Path(__file__).parents[1]


@pytest.fixture
def gpu_run(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import gpu_run

    return gpu_run


@pytest.fixture
def refused(gpu_run):
    """Give the command something that it must refuse: how it ends, a line or a number."""

    def start(*arguments):
        with pytest.raises(SystemExit) as stopped:
            gpu_run.main([str(argument) for argument in arguments])
        return stopped.value.code

    return start


# What is compiled


@pytest.fixture
def programs(monkeypatch):
    """Count what torch.compile compiles, and run it as it is."""
    torch.compiler.reset()
    monkeypatch.setattr("einops._backends._type2backend", {})  # as in a process that starts
    counter = CompileCounter()
    real = torch.compile
    monkeypatch.setattr(
        torch, "compile", lambda net, dynamic, mode: real(net, dynamic=dynamic, backend=counter)
    )
    yield counter
    torch.compiler.reset()


def shallow(recipe):
    """A layer is traced as fast as it runs, which is slow: one stands for all."""
    return replace(recipe, model=recipe.model | {"depth": 1})


def every_count(recipe, seed=0):
    """A step of training for each number of patches that a run of a recipe comes through."""
    torch.manual_seed(seed)
    vit = ViT(**recipe.model)
    net = compiled(SomePatches(vit), "default")
    random, counts = torch.Generator().manual_seed(seed), set()
    for step in range(0, 100, 4 if seed == 0 else 30):
        kept = draw_patches(vit, 3, recipe, step / 100, random)
        if kept.shape[1] in counts:
            continue
        counts.add(kept.shape[1])
        images = torch.randn(3, 1, 28, 28)
        with torch.autocast("cpu", torch.bfloat16):
            logits = net(images, kept)
        logits.float().sum().backward()
        assert logits.shape == (3, 10)
    return counts


def test_one_program_serves_every_number_of_patches_and_every_seed(programs):
    recipe = shallow(RECIPES["fashion-long"])
    assert len(every_count(recipe)) > torch._dynamo.config.recompile_limit
    every_count(recipe, seed=1)  # another run in the same process, as the experiments have them
    assert programs.frame_count == 1


def test_all_arms_in_one_process_stay_below_pytorch_s_limit(programs):
    recipes = {json.dumps(r.model): shallow(r) for r in ARMS.values() if r.drop_patches}
    for recipe in recipes.values():
        vit = ViT(**recipe.model)
        net = compiled(SomePatches(vit), "default")
        for kept in (25, 49):
            net(torch.randn(2, 1, 28, 28), torch.rand(2, 49).argsort(dim=1)[:, :kept])
    assert programs.frame_count <= len(recipes) < torch._dynamo.config.recompile_limit


def test_the_recipes_for_a_gpu_keep_to_their_sizes():
    sizes = {
        name: sum(p.numel() for p in ViT(**RECIPES[name].model).parameters())
        for name in ("fashion-long", "fashion-large")
    }
    assert sizes == {"fashion-long": 205_962, "fashion-large": 937_610}


# The steps


@pytest.mark.parametrize(("rehearse", "device"), [(False, "cuda"), (True, "cpu")])
def test_each_command_names_a_program_and_options_that_it_has(gpu_run, rehearse, device, tmp_path):
    for step in gpu_run.STEPS:
        for command in gpu_run.commands(step, tmp_path, rehearse):
            assert command[command.index("--device") + 1] == device
            options = [word for word in command[2:] if word.startswith("--")]
            file = command[0]
            if "--rehearse-a-run" in command:
                file = ROOT / "vit_tutorial/train.py"
            elif file == "-m":
                file = ROOT / (command[1].replace(".", "/") + ".py")
            text = Path(file).read_text("utf8")
            known = re.findall(r'\badd(?:_argument)?\(\s*"(--[a-z-]+)"', text)
            assert {*options} <= {*known}, command


def test_on_a_gpu_everything_is_run_with_all_its_seeds(gpu_run, tmp_path):
    for recipe in ("fashion-long", "fashion-large"):
        said = gpu_run.commands(recipe, tmp_path, rehearse=False)
        seeds = [words[words.index("--seed") + 1] for words in said]
        assert seeds == ["0", "1", "2"]
    (experiments,) = gpu_run.commands("experiments", tmp_path, rehearse=False)
    assert {*EXPERIMENTS} <= {*experiments}
    assert "--size full --seeds 5" in " ".join(experiments)


def test_a_step_is_rehearsed_packed_and_left_out_when_it_is_finished(gpu_run, tmp_path, capsys):
    out, packed = tmp_path / "out", tmp_path / "packed"
    asked = ["--rehearse", "--only", "fashion-long", "--out", str(out), "--pack", str(packed)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gpu_run, "SEEDS", 1)
        gpu_run.main(asked)
        first = capsys.readouterr().out
        assert "best on held-out images: epoch" in first
        assert "fashion-long: finished after" in first
        folder = out / "runs" / "fashion-long-0"
        start, *_, test = map(json.loads, (folder / "log.jsonl").read_text("utf8").splitlines())
        assert start["command"] == ("python -m vit_tutorial.train --recipe fashion-long --seed 0")
        assert test["event"] == "test"
        load_model(folder / "model.safetensors")
        (record,) = gpu_run.recorded(out)
        assert (record["step"], record["outcome"]) == ("fashion-long", "finished")
        with tarfile.open(packed / "part-1.tar.gz") as tar:
            assert sorted(tar.getnames()) == [
                "logs/fashion-long.log",
                "runs/fashion-long-0/log.jsonl",
                "runs/fashion-long-0/model.safetensors",
                "steps.jsonl",
            ]
            for name in tar.getnames():
                path = tmp_path / "elsewhere" / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(tar.extractfile(name).read())

        for where in (out, tmp_path / "elsewhere"):  # there without the checkpoint
            before = (where / "runs/fashion-long-0/log.jsonl").read_bytes()
            gpu_run.main([*asked[:-3], str(where)])
            assert capsys.readouterr().out == "fashion-long: finished before\n"
            assert (where / "runs/fashion-long-0/log.jsonl").read_bytes() == before
    # Of a step that is half done, only what is missing is run.
    left = gpu_run.commands("fashion-long", out, rehearse=True)
    assert [command[command.index("--seed") + 1] for command in left] == ["1", "2"]


def step_of(*programs):
    """A step that is so many Python programs, side by side."""
    return lambda *_: [["-c", program] for program in programs]


def test_a_step_that_fails_is_named_and_the_others_go_on(gpu_run, monkeypatch, tmp_path, capsys):
    programs = {"training": step_of("raise SystemExit('what went wrong')"), "limits": step_of("")}
    monkeypatch.setattr(gpu_run, "commands", lambda step, *_: programs[step]())
    asked = ["--rehearse", "--out", str(tmp_path), "--only", "limits", "training"]
    with pytest.raises(SystemExit) as stopped:
        gpu_run.main(asked)
    assert stopped.value.code == (
        f"gpu_run.py: not finished: training (failed); see {tmp_path / 'logs'}"
    )
    assert "what went wrong" in capsys.readouterr().out
    assert "what went wrong" in (tmp_path / "logs/training.log").read_text()
    assert [r["outcome"] for r in gpu_run.recorded(tmp_path)] == ["failed", "finished"]
    programs["training"] = step_of("print('now it goes')")
    gpu_run.main(asked)
    said = capsys.readouterr().out
    assert "now it goes" in said
    assert "limits: finished before" in said


def test_when_the_time_is_up_a_step_is_stopped_and_no_other_begun(
    gpu_run, monkeypatch, tmp_path, capsys
):
    monkeypatch.setattr(gpu_run, "commands", step_of("import time; time.sleep(600)"))
    asked = ["--rehearse", "--out", str(tmp_path / "out"), "--minutes", "0.02"]
    asked += ["--pack", str(tmp_path / "packed"), "--only", "training", "limits"]
    with pytest.raises(SystemExit) as stopped:
        gpu_run.main(asked)
    assert "not finished: training (stopped), limits (stopped)" in stopped.value.code
    assert [r["step"] for r in gpu_run.recorded(tmp_path / "out")] == ["training"]
    assert (tmp_path / "packed/part-1.tar.gz").exists()


def test_with_a_command_ends_all_that_it_started(gpu_run):
    """The experiments have processes of their own: they would go on writing."""
    grandchild = "print('there', flush=True); import time; time.sleep(600)"
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {grandchild!r}])"
    with subprocess.Popen(
        [sys.executable, "-c", child], stdout=subprocess.PIPE, text=True, process_group=0
    ) as process:
        assert process.stdout.readline() == "there\n"
        gpu_run.end(process)
        assert process.returncode == -signal.SIGTERM
        assert process.stdout.read() == ""  # it ends when nobody is left who could write


def test_archives_stay_small_and_hold_everything_once(gpu_run, monkeypatch, tmp_path):
    monkeypatch.setattr(gpu_run, "PART", 1_000)
    out, packed = tmp_path / "out", tmp_path / "out" / "packed"
    for number, size in enumerate((600, 300, 200, 5_000, 10)):
        path = out / "runs" / f"a-{number}" / "model.safetensors"
        path.parent.mkdir(parents=True)
        path.write_bytes(os.urandom(size))
    (out / "runs/a-0/checkpoint.pt").write_bytes(b"large")
    packed.mkdir()
    (packed / "part-9.tar.gz").write_bytes(b"of an earlier time")
    archives = gpu_run.pack(out, packed)
    assert sorted(packed.iterdir()) == archives
    found = []
    for path, count in zip(archives, (2, 1, 1, 1), strict=True):
        with tarfile.open(path) as tar:
            names = tar.getnames()
        assert len(names) == count
        found += names
    assert found == [f"runs/a-{n}/model.safetensors" for n in range(5)]


# Bad input


def test_without_a_gpu_it_says_so_and_how_to_rehearse(tmp_path):
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks/gpu_run.py", "--out", tmp_path / "out"],
        capture_output=True,
        text=True,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
    )
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("gpu_run.py: PyTorch sees no GPU here")
    assert "--rehearse" in line
    assert not (tmp_path / "out").exists()


def test_what_cannot_work_is_refused_before_anything_runs(
    gpu_run, refused, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(gpu_run, "run_step", lambda *_: pytest.fail("a step began"))
    (tmp_path / "file").write_text("something")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        assert f"cannot write into {out}: " in refused("--rehearse", "--out", out)
    assert refused("--rehearse", "--out", tmp_path / "a", "--only", "peers") == 2
    assert "'peers' (choose from" in capsys.readouterr().err
    assert refused("--rehearse") == 2
    assert not (tmp_path / "a").exists()
    (tmp_path / "real").mkdir()
    record = {"step": "limits", "outcome": "finished", "rehearsed": False}
    (tmp_path / "real/steps.jsonl").write_text(json.dumps(record) + "\n")
    message = refused("--rehearse", "--out", tmp_path / "real")
    assert f"{tmp_path / 'real'} holds a real run; give another folder" in message
    monkeypatch.setattr(gpu_run, "find_spec", lambda name: None if name == "timm" else name)
    assert "missing here: timm" in refused("--rehearse", "--out", tmp_path / "a")


def test_on_a_gpu_the_whole_training_set_is_looked_for_first(gpu_run, refused, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("VIT_TUTORIAL_DATA", "/no/such/folder")
    assert "VIT_TUTORIAL_DATA must name a folder" in refused("--out", "nowhere")
    assert not Path("nowhere").exists()
