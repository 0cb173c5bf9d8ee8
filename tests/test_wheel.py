"""The wheel: what is in it, and that it works where nothing of this repository is.

It is installed without its dependencies, into an environment that finds those of the tests by a
.pth file: nothing is downloaded. Other Pythons than the tests' have no PyTorch there, so with them
the package is installed and compiled, and what needs the standard library alone is run.
"""

import json
import os
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from shutil import copytree, ignore_patterns

import pytest
from colab import find_python
from notebooks import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf8"))["project"]
# For whoever works on the files, not for whoever imports them.
IGNORED = ignore_patterns("__pycache__", "*.pyc", ".ruff_cache", "ruff.toml")
OWN = "{}.{}".format(*sys.version_info)
OTHERS = [version for version in ("3.11", "3.13") if version != OWN]

USE = """
import json
from pathlib import Path
import vit_tutorial
from vit_tutorial import load_pretrained
from vit_tutorial.data import load_dataset
from vit_tutorial.widgets import AttentionRow

vit = load_pretrained("fashion")
images, labels = load_dataset("fashion_mnist", "test", subset=10)
print(json.dumps({
    "where": str(Path(vit_tutorial.__file__).parent),
    "images": list(images.shape),
    "figure": AttentionRow(vit, images[0]).to_html()[:200],
}))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    source = tmp_path_factory.mktemp("source")
    copytree(ROOT / "vit_tutorial", source / "vit_tutorial", ignore=IGNORED)
    for folder in ("tests", "benchmarks"):  # empty modules: would they be taken in?
        (source / folder).mkdir()
        (source / folder / "__init__.py").touch()
    for name in ["pyproject.toml", "README.md", "LICENSE"]:
        (source / name).write_text((ROOT / name).read_text("utf8"), "utf8")
    build = "from setuptools.build_meta import build_wheel; print(build_wheel('.'))"
    run([sys.executable, "-c", build], cwd=source)
    (built,) = source.glob("*.whl")
    return built


def run(command, **options):
    """Run a command where no variable leads to this clone; return what it prints."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, **options)
    assert done.returncode == 0, f"{command}: {done.stderr[-2000:]}"
    return done.stdout


def install(python, wheel, folder):
    """Make an environment with the wheel alone; return its Python and its packages' folder."""
    run([python, "-m", "venv", "--without-pip", folder])
    there = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    pip = [python, "-m", "pip", "--python", str(there), "install", "--quiet"]
    run([*pip, "--no-deps", "--no-index", str(wheel)])
    (packages,) = folder.glob("[Ll]ib/**/site-packages")
    return there, packages


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    python, packages = install(sys.executable, wheel, tmp_path_factory.mktemp("own") / "env")
    others = dict.fromkeys(sysconfig.get_path(kind) for kind in ("purelib", "platlib"))
    (packages / "dependencies.pth").write_text("\n".join(others) + "\n", "utf8")
    return python, packages


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    package = wheel.parent / "vit_tutorial"
    files = [path for path in package.glob("**/*") if path.is_file()]
    assert names == {path.relative_to(wheel.parent).as_posix() for path in files}
    assert "vit_tutorial/py.typed" in names


def test_it_is_small_and_says_what_it_is(wheel):
    assert wheel.stat().st_size < 20e6
    assert wheel.name == f"vit_tutorial-{PROJECT['version']}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as opened:
        (name,) = [name for name in opened.namelist() if name.endswith("/METADATA")]
        said = opened.read(name).decode()
    assert f"\nVersion: {PROJECT['version']}\n" in said
    assert f"\nRequires-Python: {PROJECT['requires-python']}\n" in said
    assert "\nLicense-Expression: MIT\n" in said
    required = [line for line in said.splitlines() if line.startswith("Requires-Dist: ")]
    own = [line for line in required if "extra ==" not in line]
    assert len(own) == len(PROJECT["dependencies"])


def test_installed_it_says_what_there_is_to_run(installed, tmp_path):
    python, _ = installed
    text = run([python, "-m", "vit_tutorial", "--help"], cwd=tmp_path)
    assert f"vit_tutorial {PROJECT['version']}" in text
    modules = ROOT.glob("vit_tutorial/**/*.py")
    programs = {path.stem for path in modules if "\ndef main(" in path.read_text("utf8")}
    for name in programs - {"__main__"}:
        assert f"\n  python -m vit_tutorial.{name} " in text
    assert "fashion" in text


def test_installed_it_loads_a_model_images_and_a_figure(installed, tmp_path):
    python, packages = installed
    found = json.loads(run([python, "-c", USE], cwd=tmp_path))
    assert found["where"] == str(packages / "vit_tutorial")
    assert found["images"] == [10, 1, 28, 28]
    assert 'data-figure="attention_row" data-models="fashion"' in found["figure"]
    assert not any(tmp_path.iterdir())


RIGHT = """
from vit_tutorial import create_vit
vit = create_vit("B/16", num_classes=10)
rows, columns = vit.grid
"""
WRONG = """
from vit_tutorial import ViT
ViT(image_size="28", patch_size=7, num_classes=10, dim=8, depth=1, heads=1, mlp_dim=8)
"""


def test_a_type_checker_reads_the_types_of_the_installed_package(installed, tmp_path):
    pytest.importorskip("ty", reason="the type checker is missing: `make lint` installs it")
    python, _ = installed
    for text, expected in [(RIGHT, "All checks passed"), (WRONG, "invalid-argument-type")]:
        (tmp_path / "program.py").write_text(text, "utf8")
        check = [sys.executable, "-m", "ty", "check", "--python", str(python), "program.py"]
        done = subprocess.run(check, cwd=tmp_path, capture_output=True, text=True)
        assert expected in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("version", OTHERS)
def test_other_pythons_install_and_compile_it(version, wheel, tmp_path):
    path = find_python(version)
    if path is None or subprocess.run([path, "-m", "pip", "-V"], capture_output=True).returncode:
        pytest.skip(f"there is no Python {version} with pip here")
    python, packages = install(path, wheel, tmp_path / "env")
    for compiled in (packages / "vit_tutorial").rglob("*.pyc"):
        compiled.unlink()  # pip's work, which keeps warnings to itself
    run([python, "-W", "error", "-m", "compileall", "-q", packages / "vit_tutorial"])
    kinds = {"source": "*.py", "compiled": f"*.cpython-{version.replace('.', '')}.pyc"}
    names = {
        kind: {path.name.split(".")[0] for path in (packages / "vit_tutorial").rglob(pattern)}
        for kind, pattern in kinds.items()
    }
    assert names["compiled"] == names["source"]
    alone = packages / "vit_tutorial" / "widgets" / "training_data.py"
    run([python, "-W", "error", alone], cwd=tmp_path)
