"""Keeping a run: what is kept is whole and made by the command it names; the rest is refused."""

import json
import re
import shutil
import subprocess

import keep
import pytest
from conftest import randomise
from notebooks import ROOT, chapters

from vit_tutorial.data import ASSETS
from vit_tutorial.pretrained import BUNDLED, load_pretrained
from vit_tutorial.records import RUNS, read_log
from vit_tutorial.saving import save_model
from vit_tutorial.widgets import Figure, packing

README = (ASSETS / "README.md").read_text("utf8")
MODELS = sorted(path.stem for path in ASSETS.glob("*.safetensors"))


def content(folder) -> dict:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An empty package to keep things in: its runs, its assets, the README's empty table."""
    for name in ("RUNS", "ASSETS"):
        (tmp_path / "package" / name).mkdir(parents=True)
        monkeypatch.setattr(keep, name, tmp_path / "package" / name)
    rows = [line for line in README.splitlines(keepends=True) if ".safetensors` | a " in line]
    assert len(rows) == len(MODELS)
    empty = "".join(line for line in README.splitlines(keepends=True) if line not in rows)
    (tmp_path / "package" / "ASSETS" / "README.md").write_text(empty, "utf8")
    return tmp_path / "package"


@pytest.fixture
def run(tmp_path):
    """Lay a recorded run out as training leaves it, perhaps with another log."""

    def lay(name, change=lambda records: records, into="runs"):
        folder = tmp_path / into / name
        shutil.copytree(RUNS / name, folder)
        if name in MODELS:
            shutil.copy(ASSETS / f"{name}.safetensors", folder / "model.safetensors")
        (folder / "checkpoint.pt").write_bytes(b"large")
        records = change(read_log(folder))
        lines = [json.dumps(record, ensure_ascii=False) + "\n" for record in records]
        (folder / "log.jsonl").write_text("".join(lines), "utf8")
        return folder

    return lay


# What the package holds


@pytest.mark.parametrize(
    "folder",
    sorted(path.parent for path in RUNS.rglob("log.jsonl")),
    ids=lambda folder: folder.relative_to(RUNS).as_posix(),
)
def test_every_run_of_the_package_could_be_kept(folder):
    keep.check_run(folder)
    assert {path.name for path in folder.iterdir()} <= {*keep.FILES}


@pytest.mark.parametrize("name", MODELS)
def test_a_model_s_row_in_the_readme_is_the_one_that_its_log_gives(name):
    """Its checksum too, so a file that is changed by hand fails here."""
    (found,) = (line for line in README.splitlines() if line.startswith(f"| `{name}.safetensors`"))
    (run,) = re.findall(r"`\.\./runs/([\w-]+)`", found)
    model = (ASSETS / f"{name}.safetensors").read_bytes()
    assert found == keep.row(name, model, run, keep.check_run(RUNS / run))
    assert run in (name, f"{name}-0")
    assert name in BUNDLED  # so load_pretrained knows it


# Keeping


def test_a_run_its_model_and_its_row_are_kept_and_the_checkpoint_is_not(package, run):
    keep.keep([run("figure-cls-0"), run("erase-1")])
    for name in ("figure-cls-0", "erase-1"):
        assert content(package / "RUNS" / name) == content(RUNS / name)
    assert [*content(package / "ASSETS")] == ["README.md"]
    folder = package.parent / "runs"
    keep.keep([folder / "figure-cls-0"], models=True)
    keep.keep([run("figure-none-0")], name="nowhere")
    assets = content(package / "ASSETS")
    assert sorted(assets) == ["README.md", "figure-cls-0.safetensors", "nowhere.safetensors"]
    assert assets["nowhere.safetensors"] == (ASSETS / "figure-none-0.safetensors").read_bytes()
    readme = assets["README.md"].decode()
    assert re.findall(r"^\| (`.*?`) \|.*\| (`\.\./runs/.*?`) \|.*(\d\d\.\d\d%)", readme, re.M) == [
        ("`figure-cls-0.safetensors`", "`../runs/figure-cls-0`", "85.76%"),
        ("`nowhere.safetensors`", "`../runs/figure-none-0`", "82.39%"),
    ]
    lines = [line for line in readme.splitlines() if ".safetensors` | a " not in line]
    assert lines == [line for line in README.splitlines() if ".safetensors` | a " not in line]


def test_what_is_kept_again_stays_and_what_differs_is_replaced_only_if_asked(package, run):
    folder = run("figure-none-0")
    keep.keep([folder], models=True)
    before = content(package)
    keep.keep([folder], models=True)
    assert content(package) == before

    def faster(records):
        return [r | ({"seconds": 1.0} if r["event"] == "epoch" else {}) for r in records]

    other = run("figure-none-0", faster, into="elsewhere")
    with pytest.raises(keep.Refused, match=r"RUNS/figure-none-0 is there, and different: .*--repl"):
        keep.keep([other])
    assert content(package) == before
    keep.keep([other], replace=True)
    changed = package / "RUNS" / "figure-none-0" / "log.jsonl"
    assert changed.read_bytes() == (other / "log.jsonl").read_bytes()
    assert content(package).keys() == before.keys()
    (package / "ASSETS" / "figure-none-0.safetensors").write_bytes(b"other")
    with pytest.raises(keep.Refused, match=r"ASSETS/figure-none-0.safetensors is there, and diff"):
        keep.keep([other], models=True)


def start(**change):
    return lambda records: [records[0] | change, *records[1:]]


def recipe(**change):
    return lambda records: [
        records[0] | {"recipe": records[0]["recipe"] | change},
        *records[1:],
    ]


COMMAND = "python -m vit_tutorial."
REFUSED = {
    "unfinished": (lambda records: records[:-1], "holds no finished run"),
    "no start": (lambda records: records[1:], "does not begin with the run's start"),
    "another recipe": (recipe(lr=0.1), r"makes another run: lr was 0\.1, now 0\.005"),
    "another field": (recipe(mixup=1), r"makes another run: mixup was 1, now None"),
    "another seed": (start(seed=2), "makes another run: seed was 2, now 1"),
    "no command": (start(command=None), "names no command that trains: None"),
    "another command": (start(command="python x.py"), r"no command that trains: 'python x\.py'"),
    "no module": (start(command="python -m"), "no command that trains"),
    "another experiment": (start(command=COMMAND + "experiments figures"), "but not erase-1"),
    "fewer seeds": (start(command=COMMAND + "experiments recipe --seeds 1"), "but not erase-1"),
    "no such option": (start(command=COMMAND + "experiments recipe --fast"), "arguments: --fast"),
    "a try": (start(command=COMMAND + "experiments recipe --size quick"), "of --size quick"),
    "twice as long": (start(command=COMMAND + "experiments recipe --size full"), "epochs was 20"),
    "training": (start(command=COMMAND + "train --recipe fashion --seed 1"), "but not erase-1"),
    "no epochs": (start(command=COMMAND + "train --epochs 0"), "epochs must be at least 1"),
    "a lost epoch": (lambda records: [*records[:5], *records[6:]], "not every epoch from 1 to 20"),
    "another epoch": (
        lambda records: [*records[:-1], records[-1] | {"epoch": 1}],
        "was tested after epoch 1, not",
    ),
}


@pytest.mark.parametrize(("change", "message"), REFUSED.values(), ids=REFUSED)
def test_a_run_that_its_command_does_not_make_is_refused(change, message, package, run, capsys):
    before = content(package)
    good, bad = run("erase-0"), run("erase-1", change)
    with pytest.raises(SystemExit) as stopped:
        keep.main([str(good), str(bad)])
    assert re.search(message, stopped.value.code)
    assert "erase-1" in stopped.value.code
    assert stopped.value.code.endswith("Nothing was written")
    assert capsys.readouterr() == ("", "")
    assert content(package) == before


def test_a_run_under_another_name_or_with_a_damaged_log_is_refused(package, run, tmp_path):
    folder = run("erase-1")
    with pytest.raises(keep.Refused, match="but not better-1"):
        keep.keep([folder.rename(tmp_path / "better-1")])
    (tmp_path / "better-1" / "log.jsonl").write_text("{")
    for path, message in ((tmp_path / "better-1", "is not JSON"), (tmp_path / "x", "no finished")):
        with pytest.raises(keep.Refused, match=message):
            keep.keep([path])
    assert not content(package / "RUNS")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (None, "cannot be loaded"),
        (b"half", "cannot be loaded"),
        ("figure-mean-0", "is a ViT of 60,634 parameters, not the log's"),
        ("cnn-500-0", "is a CNN of 60,309 parameters, not the log's"),
    ],
)
def test_a_model_that_is_not_the_log_s_is_refused(model, message, package, run):
    folder, before = run("figure-cls-0"), content(package)
    path = folder / "model.safetensors"
    path.unlink()
    if isinstance(model, bytes):
        path.write_bytes(model)
    elif model:
        shutil.copy(ASSETS / f"{model}.safetensors", path)
    with pytest.raises(keep.Refused, match=message):
        keep.keep([folder], models=True)
    assert content(package) == before


@pytest.mark.parametrize("name", ["../climbed", "a/b", "", "a b"])
def test_a_name_that_is_no_name_is_refused(name, package, run):
    folder = run("figure-cls-0")
    with pytest.raises(keep.Refused, match="a model's name is letters"):
        keep.keep([folder], name=name)
    with pytest.raises(keep.Refused, match=r"--as names the model of one run, but 2 were given"):
        keep.keep([folder, folder], name="one")


@pytest.mark.parametrize("calls", range(1, 5))
def test_a_full_disk_leaves_no_half_of_a_run(calls, package, run, monkeypatch):
    """Whatever write fails, a folder is there with all its files or not at all."""
    real, left = keep.write_whole, [calls]

    def full(path, each):
        left[0] -= 1
        if not left[0]:
            raise OSError("No space left on device")
        real(path, each)

    monkeypatch.setattr(keep, "write_whole", full)
    with pytest.raises(SystemExit, match="No space left"):
        keep.main([str(run("figure-cls-0")), "--models"])
    kept = content(package)
    assert ("RUNS/figure-cls-0/log.jsonl" in kept) == (calls > 2)
    assert ("RUNS/figure-cls-0/progress.jsonl" in kept) == (calls > 2)
    assert ("ASSETS/figure-cls-0.safetensors" in kept) == (calls > 3)
    monkeypatch.setattr(keep, "write_whole", real)
    keep.main([str(package.parent / "runs" / "figure-cls-0"), "--models"])
    assert len(content(package)) == 4
    assert not list(package.rglob(".*"))


# A model in another's place


def stored():
    """Every figure that a chapter stores, as the chapter's name and the figure's HTML."""
    for path in chapters():
        for cell in json.loads(path.read_text("utf8"))["cells"]:
            for output in cell.get("outputs", []):
                html = "".join(output.get("data", {}).get("text/html", ""))
                if 'class="vt-live"' in html:
                    yield path.stem, html


def redrawn(html):
    """The same figure, with the models that the package has now."""
    state = json.loads(re.search(r'<script type="application/json">(.*?)</script>', html)[1])
    for trait, value in state.items():
        if isinstance(value, dict) and "bundled" in value:
            path = packing.ASSETS / f"{value['bundled']}.safetensors"
            state[trait] = packing.packed_checkpoint(path, path.stat().st_mtime_ns)
    script = re.search(r'data-figure="(\w+)"', html)[1]
    kinds = Figure.__subclasses__()
    kind = next(kind for kind in kinds if getattr(kind, "script", None) == script)
    figure = kind.__new__(kind)
    Figure.__init__(figure, **state)  # the model and the images are packed already
    return figure.to_html()


def stale():
    return [(chapter, html) for chapter, html in stored() if redrawn(html) != html]


def test_no_chapter_s_figure_is_stale_and_with_another_model_all_that_show_it_are(
    package, run, monkeypatch
):
    assert stale() == []
    for name in MODELS:
        shutil.copy(ASSETS / f"{name}.safetensors", package / "ASSETS")
    folder = run("fashion-0")
    other = randomise(load_pretrained("fashion"), std=0.4)
    save_model(other, folder / "model.safetensors")
    keep.keep([folder], name="fashion", replace=True)
    monkeypatch.setattr(packing, "ASSETS", package / "ASSETS")
    shown = [(chapter, html) for chapter, html in stored() if '{"bundled":"fashion"}' in html]
    assert {chapter for chapter, _ in shown} > {"intro", "09_attention_maps", "12_playground"}
    assert stale() == shown


def test_replacing_a_model_is_one_command():
    command = ["make", "replace", "RUNS=runs/fashion-0", "AS=fashion"]
    plan = [*command, "--dry-run", "--always-make"]  # a book that is built already, too
    done = subprocess.run(plan, cwd=ROOT, capture_output=True, text=True, check=True)
    steps = re.findall(r"(keep\.py .*|notebooks\.py.*|jupyter-book build .*)", done.stdout)
    kept, executed, built = (step.split() for step in steps)
    assert kept == ["keep.py", "runs/fashion-0", "--as", "fashion", "--replace"]
    assert executed == ["notebooks.py"]  # all of them
    assert built[:3] == ["jupyter-book", "build", "."]
    assert " ".join(command) in (ROOT / "CONTRIBUTING.md").read_text("utf8")


def test_make_hands_over_what_it_is_given():
    def said(*words):
        done = subprocess.run(
            ["make", "-n", "keep", *words], cwd=ROOT, capture_output=True, text=True, check=True
        )
        (line,) = (line for line in done.stdout.splitlines() if "keep.py" in line)
        return line.split("keep.py")[1].split()

    assert said("RUNS=runs/a-0 runs/a-1") == ["runs/a-0", "runs/a-1"]
    assert said("RUNS=runs/a-0", "AS=a") == ["runs/a-0", "--as", "a"]
    assert said("RUNS=a-0", "MODELS=1", "REPLACE=1") == ["a-0", "--models", "--replace"]
