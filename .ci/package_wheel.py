"""Build the package's wheel from a copy, so that nothing is left in the repository."""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def build_wheel(folder: Path) -> Path:
    """Build the wheel into `folder`, with a copy of what it is made from; return its path."""
    ignored = shutil.ignore_patterns("__pycache__", "ruff.toml")
    source = folder / "source"
    shutil.copytree(ROOT / "vit_tutorial", source / "vit_tutorial", ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = f"from setuptools.build_meta import build_wheel; build_wheel({str(folder)!r})"
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    return wheel
