"""Pins fit ranges, commands that texts name exist, the package carries its data."""

import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import version
from shutil import copytree, ignore_patterns

import pytest
import torch
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


def test_commands_that_texts_name_are_in_the_makefile():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf8"), re.M))
    texts = [*ROOT.glob("*.md"), *ROOT.glob("book/*.md"), *ROOT.glob(".github/workflows/*.yml")]
    for path in [*texts, ROOT / ".ci" / "run"]:
        named = re.findall(r"(?:`|\brun: |^\s*)make ([a-z]+)", path.read_text("utf8"), re.M)
        assert set(named) <= targets, path.name


def test_every_text_gives_the_repository_s_address_as_the_configuration_does():
    url = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf8"))["repository"]["url"]
    for path in [*ROOT.glob("*.md"), *ROOT.glob("*.toml"), *ROOT.glob("book/*.md")]:
        named = re.findall(r"https://github\.com/[\w-]+/vit-tutorial\b", path.read_text("utf8"))
        assert set(named) <= {url}, path.name


def test_the_installed_package_carries_its_data(tmp_path):
    """Colab has the wheel and nothing else."""
    ignored = ignore_patterns("__pycache__", "*.pyc")
    copytree(ROOT / "vit_tutorial", tmp_path / "vit_tutorial", ignore=ignored)
    for name in ["pyproject.toml", "README.md", "LICENSE"]:
        (tmp_path / name).write_text((ROOT / name).read_text("utf8"), "utf8")
    files = {
        path.relative_to(tmp_path).as_posix()
        for path in tmp_path.glob("vit_tutorial/**/*")
        if path.is_file()
    }
    build = "from setuptools.build_meta import build_wheel; print(build_wheel('.'))"
    subprocess.run([sys.executable, "-c", build], cwd=tmp_path, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    assert files <= set(zipfile.ZipFile(wheel).namelist())


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
