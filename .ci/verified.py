"""Write into the book with which versions its notebooks were last executed and compared.

    python .ci/verified.py "the weekly job"

`make verified` and the weekly workflow call this after nbval has passed over every chapter, in the
same environment. The date and the versions are those of the run that calls it.
"""

import datetime
import platform
import sys
from importlib.metadata import version
from pathlib import Path

TARGET = Path(__file__).resolve().parents[1] / "book" / "verified.md"
PACKAGES = [
    "torch",
    "einops",
    "numpy",
    "matplotlib",
    "jupyter-book",
    "nbval",
    "timm",
    "torchvision",
    "transformers",
    "vit-pytorch",
]


def table(who: str) -> str:
    rows = [(f"{datetime.date.today():%Y-%m-%d} by {who}", "version"), ("---", "---")]
    rows.append(("Python", platform.python_version()))
    # A local build's suffix (2.13.0+cpu) names no release that a reader could look for.
    rows += [(name, version(name).split("+")[0]) for name in PACKAGES]
    return "".join(f"| {left} | {right} |\n" for left, right in rows)


if __name__ == "__main__":
    new = TARGET.with_suffix(".new")
    new.write_text(table(sys.argv[1]), encoding="utf8")
    new.replace(TARGET)
    print(TARGET.read_text(encoding="utf8"))
