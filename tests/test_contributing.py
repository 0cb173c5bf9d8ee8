"""The walks of CONTRIBUTING.md, followed in a copy: the files it names are all that is needed."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest
from notebooks import ROOT

TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf8")
COPIED = ["vit_tutorial", "tests", ".ci", "pyproject.toml"]


def named(title: str) -> set[str]:
    """The files that a section tells to write or change, but for the chapter, which is prose."""
    section = re.search(rf"^## {title}\n(.*?)^## ", TEXT, re.M | re.S)[1]
    paths = re.findall(r"`((?:vit_tutorial|tests)/[\w/]+\.(?:py|js|css))`", section)
    return set(paths)


def copied(folder):
    """Copy what the walks change; Python finds it first in there."""

    def ignore(folder, names):
        return {name for name in names if name == "__pycache__"}

    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=ignore)
        else:
            shutil.copy(source, folder / name)
    return folder


def edit(copy, changes: dict[str, dict | str]) -> None:
    """Change files: a text is a new file; a dict says which line gets which lines behind it."""
    for name, change in changes.items():
        path = copy / name
        if isinstance(change, str):
            assert not path.exists(), f"{name} is there"
            path.write_text(change, encoding="utf8")
        else:
            text = path.read_text(encoding="utf8")
            for line, more in change.items():
                assert text.count(f"{line}\n") == 1, f"{name}: {line!r}"
                text = text.replace(f"{line}\n", f"{line}\n{more}\n")
            path.write_text(text, encoding="utf8")


def run(copy, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=copy,
        env=os.environ | {"PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )


# Where is what?


def test_the_files_that_the_walks_name_are_there():
    titles = ["a chapter", "a figure", "a position kind", "an experiment arm"]
    files = {file for title in titles for file in named(f"To add {title}")}
    missing = {file for file in files if not (ROOT / file).exists()}
    assert missing == {name for name, change in FIGURE.items() if isinstance(change, str)}


def test_a_position_kind_takes_four_files_at_most():
    files = named("To add a position kind")
    assert 2 <= len({file for file in files if not file.startswith("tests/")}) <= 4


def test_the_readme_lists_every_module_below_those_that_it_imports():
    readme = (ROOT / "README.md").read_text(encoding="utf8")
    listed = re.search(r"^vit_tutorial/.*?^  widgets/", readme, re.M | re.S)[0]
    order = re.findall(r"\b(\w+)\.py\b", listed)
    sources = {path.stem: path for path in (ROOT / "vit_tutorial").glob("[!_]*.py")}
    assert sorted(order) == sorted(sources)
    for place, name in enumerate(order):
        text = sources[name].read_text(encoding="utf8")
        imported = set(re.findall(r"^\s*from vit_tutorial\.(\w+)", text, re.M))
        assert imported <= set(order[:place]), name


# An experiment's arm

ARM = {
    "vit_tutorial/arms.py": {
        '    "recipe": {': (
            '        "few-images": changed(BASELINE, subset=200, validation=100, epochs=1),'
        )
    },
    "tests/test_experiments.py": {
        "CHANGES = {  # arm: what of the baseline it changes, and to what": (
            '    "few-images": {"subset": 200, "validation": 100, "epochs": 1},'
        )
    },
}
ARM_TESTS = ["tests/test_experiments.py", "-k", "every_arm_belongs or few-images"]
TRAIN = ["-m", "vit_tutorial.experiments", "recipe", "--arms", "few-images"]
READ = """
from vit_tutorial.records import points, read_runs

runs = read_runs("few-images")
assert [run[0]["seed"] for run in runs] == [0, 1]
assert all(run[0]["pictures"] == {"training": 100, "validation": 100} for run in runs)
assert all(5 < accuracy < 100 for accuracy in points(runs))
"""


def test_an_arm_s_walk_names_the_files_that_it_takes():
    assert named("To add an experiment arm") == set(ARM)


def test_an_arm_is_a_row_that_trains_and_whose_runs_are_kept(followed):
    copy, status, said = followed["arm", "nothing"]
    assert status == 0, said
    assert f"\n   python {' '.join(TRAIN)}\n" in TEXT
    trained = run(copy, *TRAIN, "--seeds", "2", "--jobs", "1")
    assert trained.returncode == 0, trained.stderr
    assert trained.stdout.count("test accuracy") == 2
    kept = run(copy, ".ci/keep.py", "runs/few-images-0", "runs/few-images-1")
    assert kept.returncode == 0, kept.stderr
    read = run(copy, "-c", READ)
    assert read.returncode == 0, read.stderr


# A figure

MODULE = """\
// How many pixels are brighter than a threshold?

import { Figure, live } from "../page/live.js";
import { column, label, picture } from "../page/elements.js";
import { within } from "../page/checks.js";
import { fromBase64 } from "../engine/dequantise.js";

class Threshold extends Figure {
  static question = "How many pixels are brighter than this?";
  static state = ["level"];
  static inputs = ["picture"];

  build() {
    const { shape, pixels } = this.get("picture");
    this.shape = shape;
    this.values = fromBase64(pixels);
    this.shown = column();
    this.card.figure.replaceChildren(this.shown);
    this.card.controls.replaceChildren();
    this.slider = this.card.slider("level", {
      min: 0,
      max: 255,
      step: 1,
      oninput: (event) => this.change({ level: event.target.valueAsNumber }),
    });
    this.addResetAndLink();
  }

  draw() {
    const level = within("level", this.get("level"), 256);
    const brighter = this.values.map((value) => (value > level ? 255 : 0));
    const count = brighter.filter(Boolean).length;
    this.slider.show(level, String(level));
    this.shown.replaceChildren(
      picture(this.shape, brighter),
      label(`the pixels above ${level}`),
    );
    this.card.say(`${count} of ${brighter.length} pixels are brighter than ${level}.`);
    this.card.tabulate("pixels", ["level", "brighter"], () => [[level, count]]);
  }
}

export default live(Threshold);
"""
PYTHON = '''\
"""How many pixels are brighter than a threshold."""

import traitlets
from torch import Tensor

from vit_tutorial.checks import check_number
from vit_tutorial.widgets.base import Figure
from vit_tutorial.widgets.pictures import pack_picture, unpack_picture
from vit_tutorial.widgets.still import drawing, panel, picture_pixels


class Threshold(Figure):
    """How many pixels are brighter than a threshold?

    Raises ValueError for anything but an image and a level from 0 to 255.
    """

    script = "threshold"

    picture = traitlets.Dict().tag(sync=True)
    level = traitlets.Int(128).tag(sync=True)

    def __init__(self, image: Tensor, *, level: int = 128):
        super().__init__(picture=pack_picture(image), level=level)

    @traitlets.validate("level")
    def _fits(self, proposal):
        return check_number("level", proposal["value"], 256)

    def still(self) -> tuple[str, str]:
        brighter = unpack_picture(self.picture) > self.level
        pixels = picture_pixels(255 * brighter.byte())
        count = f"{brighter.sum()} of {brighter.numel()}"
        words = f"An image in black and white: {count} pixels are brighter than {self.level}."
        return drawing(200, 226, panel(pixels, 0, 200, f"above {self.level}")), words
'''
ROW = """\
    "threshold": Row(
        chapters=[],
        build=lambda **state: Threshold(images()[0], **state),
        state={"level": 40},
        inputs=lambda: {"picture": pack_picture(images()[1])},
        misfits=[
            ("level", 256, "level is one of 0 to 255, got 256"),
            ("level", -1, "level is one of 0 to 255, got -1"),
        ],
    ),"""
FIGURE = {
    "vit_tutorial/widgets/figures/threshold.js": MODULE,
    "vit_tutorial/widgets/figures/threshold.py": PYTHON,
    "tests/figure_table.py": {
        "from vit_tutorial.widgets.figures.playback import pack_run": (
            "from vit_tutorial.widgets.figures.threshold import Threshold"
        ),
        "ROWS = {": ROW,
    },
}
FIGURE_TESTS = ["tests/figures/test_every_figure.py", "-k", "threshold or the_table"]


def test_a_figure_s_walk_names_the_files_that_it_takes():
    tests = {"tests/figures/test_every_figure.py"}  # named to be run
    assert named("To add a figure") - tests == set(FIGURE)


def test_a_figure_is_its_files_and_a_row_and_passes_what_every_figure_has_to(followed):
    _, status, said = followed["figure", "nothing"]
    assert status == 0, said
    assert int(re.search(r"(\d+) passed", said)[1]) >= 10


# All walks at once

WALKS = {"arm": (ARM, ARM_TESTS), "figure": (FIGURE, FIGURE_TESTS)}
# Asks pytest in one copy after another, each time in a process that has imported already what is
# the same everywhere and takes long.
PYTEST = """
import json, os, sys
import nbformat, playwright.sync_api, pytest, torchvision_operators

torchvision_library = torchvision_operators.declare()
for folder, arguments in json.loads(sys.argv[1]):
    child = os.fork()
    if not child:
        os.chdir(folder)
        for stream in (1, 2):
            os.dup2(os.open("said", os.O_CREAT | os.O_WRONLY | os.O_APPEND), stream)
        sys.path.insert(0, folder)
        sys.exit(pytest.main(["-q", "-x", "-p", "no:cacheprovider", *arguments]))
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture(scope="module")
def followed(tmp_path_factory):
    """Follow each walk whole, and without each of its files: (walk, file) -> (copy, status, said).

    The status is that of pytest, asked for what the walk says.
    """
    copies = {}
    for walk, (changes, _) in WALKS.items():
        for left_out in ("nothing", *changes):
            copy = copies[walk, left_out] = copied(tmp_path_factory.mktemp(walk))
            edit(copy, {name: change for name, change in changes.items() if name != left_out})
    each = [(str(copy), WALKS[walk][1]) for (walk, _), copy in copies.items()]
    done = run(ROOT / ".ci", "-c", PYTEST, json.dumps(each))
    assert done.returncode == 0, done.stderr
    statuses = map(int, done.stdout.split())
    return {
        which: (copy, status, (copy / "said").read_text("utf8"))
        for (which, copy), status in zip(copies.items(), statuses, strict=True)
    }


@pytest.mark.parametrize(
    ("walk", "left_out"), [(walk, file) for walk, (changes, _) in WALKS.items() for file in changes]
)
def test_each_file_of_a_walk_is_needed(followed, walk, left_out):
    _, status, said = followed[walk, left_out]
    assert status != 0, said
