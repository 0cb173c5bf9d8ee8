"""Pins fit ranges, commands that texts name exist, workflows may do what they must, no more."""

import platform
import re
import sys
import tomllib
from datetime import date
from importlib.metadata import version
from subprocess import run

import pytest
import torch
import verified
import yaml
from notebooks import ROOT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))["project"]
RANGES = [
    Requirement(line)
    for lines in [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    for line in lines
]


def pins_in(name):
    """The exact pins of a requirements file: canonical name -> requirement."""
    lines = (ROOT / name).read_text(encoding="utf8").splitlines()
    found = [Requirement(line) for line in lines if line and not line.startswith(("#", "-"))]
    return {canonicalize_name(pin.name): pin for pin in found}


BOOK_PINS = pins_in("book/requirements.txt")
REST_PINS = pins_in("requirements.txt")
PINS = BOOK_PINS | REST_PINS


@pytest.mark.parametrize("wanted", RANGES, ids=str)
def test_each_range_has_a_pin_within_it(wanted):
    pin = PINS[canonicalize_name(wanted.name)]
    (exact,) = pin.specifier
    assert wanted.specifier.contains(exact.version)


def test_pins_are_exact_and_mean_the_same_everywhere():
    for pin in PINS.values():
        (exact,) = pin.specifier
        assert exact.operator == "=="
        assert "+" not in exact.version, f"{pin} names a build, not a release"
        assert not re.match(r"nvidia-|cuda-|triton\b", pin.name), f"PyTorch asks for {pin} itself"


def test_the_two_lists_share_nothing_and_building_needs_no_torch():
    assert not BOOK_PINS.keys() & REST_PINS.keys()
    assert "torch" not in BOOK_PINS
    assert "-r book/requirements.txt\n-e .\n" in (ROOT / "requirements.txt").read_text("utf8")


def test_what_is_installed_is_what_is_pinned():
    """The book says with which versions it is checked. This holds it to that."""
    pins = [pin for pin in PINS.values() if not pin.marker or pin.marker.evaluate()]
    installed = {pin.name: version(pin.name).split("+")[0] for pin in pins}
    assert installed == {pin.name: next(iter(pin.specifier)).version for pin in pins}


def test_colab_has_all_that_the_package_needs():
    """What it would have to replace may be in use already: readers would have to begin anew."""
    there = pins_in(".ci/colab.txt")
    for wanted in map(Requirement, PROJECT["dependencies"]):
        (exact,) = there[canonicalize_name(wanted.name)].specifier
        assert wanted.specifier.contains(exact.version), f"{wanted}, and Colab has {exact.version}"


def test_commands_that_texts_name_are_in_the_makefile():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf8"), re.M))
    texts = [*ROOT.glob("*.md"), *ROOT.glob("book/*.md"), *ROOT.glob(".github/workflows/*.yml")]
    for path in [*texts, ROOT / ".ci" / "run"]:
        named = re.findall(r"(?:`|\brun: |^\s*)make ([a-z]+)", path.read_text("utf8"), re.M)
        assert set(named) <= targets, path.name


@pytest.mark.parametrize(
    ("number", "outcome"),
    [
        ((3, 10, 12), "Python 3.11 or newer is needed, and python3 is 3.10"),
        ((3, 11, 2), ""),
        ((3, 13, 0), ""),
        ((3, 14, 0), "Python 3.14 has not been tried"),
        ((3, 15, 1), "Python 3.15 has not been tried"),
    ],
)
def test_make_refuses_an_old_python_and_says_that_a_newer_one_is_untried(
    number, outcome, monkeypatch, capsys
):
    makefile = (ROOT / "Makefile").read_text("utf8")
    (check,) = re.findall(r"\$\(PYTHON\) -c '(import sys; .*version_info.*)'", makefile)
    monkeypatch.setattr(sys, "version_info", number)
    refused = ""
    try:
        exec(check.replace("$(PYTHON)", "python3"), {})
    except SystemExit as error:
        refused = error.code
    monkeypatch.undo()
    assert bool(refused) == (number < (3, 11))
    said = refused + capsys.readouterr().out
    assert outcome in said
    assert bool(said) == bool(outcome)


def test_pip_takes_the_pythons_that_make_takes():
    assert PROJECT["requires-python"] == ">=3.11"


# What the public workflows may do


WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


def jobs_of(path):
    """A workflow's jobs, each with the rights that it has: name -> (job, rights)."""
    workflow = yaml.safe_load(path.read_text("utf8"))
    return {
        name: (job, job.get("permissions", workflow.get("permissions", "all")))
        for name, job in workflow["jobs"].items()
    }


def commands(job):
    return "\n".join(step.get("run", "") for step in job.get("steps", []))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_job_that_may_write_runs_no_package_and_the_others_only_read(path):
    for name, (job, rights) in jobs_of(path).items():
        assert rights != "all", name
        if "write" not in rights.values():
            assert rights == {"contents": "read"}, name
            for step in job.get("steps", []):
                if step.get("uses", "").startswith("actions/checkout@"):
                    assert step["with"]["persist-credentials"] is False, name
        else:
            run = commands(job)
            assert not re.search(r"\b(pip|python3?|pytest|make|jupyter-book)\b|\.ci/", run), name
            assert "contents" not in rights or re.search("git push|gh release upload", run), name
            assert "actions" not in rights or "gh workflow run publish.yml" in run, name


def test_pages_are_published_when_all_tests_have_passed():
    jobs = {name: job for name, (job, _) in jobs_of(ROOT / ".github/workflows/publish.yml").items()}
    assert jobs["tests"]["uses"] == "./.github/workflows/tests.yml"
    assert jobs["build"]["needs"] == "tests"
    assert jobs["deploy"]["needs"] == "build"
    called = yaml.safe_load((ROOT / ".github/workflows/tests.yml").read_text("utf8"))
    assert "workflow_call" in called[True]  # to YAML, "on" is true


def test_the_weekly_push_is_published():
    """A push with a workflow's own rights starts no workflow; asking for one by name does."""
    (run,) = [
        commands(job)
        for job, _ in jobs_of(ROOT / ".github/workflows/weekly.yml").values()
        if "git push" in commands(job)
    ]
    assert run.index("git push") < run.index("gh workflow run publish.yml")
    publish = yaml.safe_load((ROOT / ".github/workflows/publish.yml").read_text("utf8"))
    assert "workflow_dispatch" in publish[True]


def test_the_versions_in_the_book_are_those_of_the_run_that_writes_them():
    workflow = (ROOT / ".github/workflows/weekly.yml").read_text("utf8")
    (pattern,) = re.findall(r"grep -vE '(.*)' new/verified.md", workflow)
    for who in ["make verified", "the weekly job"]:
        new = verified.table(who)
        head, _, python, *rest = new.splitlines()
        assert head == f"| {date.today()} by {who} | version |"
        assert python == f"| Python | {platform.python_version()} |"
        assert f"| torch | {version('torch').split('+')[0]} |" in rest
        for line in new.splitlines():
            assert re.search(pattern, line)
    for line in ["<script>", "| a | <b> |", "| [a](https://a.b) | 1 |", ""]:
        assert not re.search(pattern, line)
    stored = (ROOT / "book/verified.md").read_text("utf8").splitlines()
    assert all(re.search(pattern, line) for line in stored)
    assert [line.split("|")[1] for line in stored[1:]] == [
        line.split("|")[1] for line in new.splitlines()[1:]
    ]
    assert re.match(
        r"\| \d{4}-\d\d-\d\d by (make verified|the weekly job) \| version \|", stored[0]
    )


def test_the_readme_s_python_runs_as_it_stands():
    readme = (ROOT / "README.md").read_text(encoding="utf8")
    (snippet,) = re.findall(r"```python\n(.*?)```", readme, re.S)
    names = {}
    exec(snippet, names)
    base, image = names["base"], torch.randn(1, 3, 224, 224)
    assert f"{sum(p.numel() for p in base.parameters()):,} parameters" in snippet
    with torch.no_grad():
        torch.testing.assert_close(base(image), names["theirs"](image), atol=1e-4, rtol=0)
    assert [tuple(layer.shape) for layer in names["maps"]] == [(10, 4, 50, 50)] * 6
    assert (names["logits"].argmax(dim=1) == names["labels"]).all()


def test_a_clone_holds_files_alone():
    """A link to a folder of one machine, such as its environment, is broken on all others."""
    tracked = run(["git", "ls-files", "-s"], cwd=ROOT, capture_output=True, text=True).stdout
    kinds = {line.split()[0]: line.split()[-1] for line in tracked.splitlines()}
    assert kinds.keys() <= {"100644", "100755"}, kinds
