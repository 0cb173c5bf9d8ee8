"""Write the exact pins, `book/requirements.txt` and `requirements.txt`, from pyproject.toml.

`make lock` runs this. It resolves once for Linux, macOS and Windows and for every Python that the
package supports, with uv, in an environment that is thrown away afterwards.
"""

import re
import subprocess
import tempfile
import tomllib
import venv
from itertools import chain
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# Held back by hand: everybody downloads it anew when it moves, and the numbers that the book prints
# were computed with it.
HELD = ["torch==2.13.0"]

# PyTorch asks for its CUDA packages itself, where it needs them; the rest is for Pythons that we do
# not support.
UNWANTED = re.compile(r"(nvidia-|cuda-|triton\b)|.* == '(pypy|emscripten)'")

BOOK_HEADER = """\
# What `make book` installs: the tools that build the pages, nothing more. Written by `make lock`.
"""
ALL_HEADER = """\
# The exact versions that the book is built and checked with. Written by `make lock`.
-r book/requirements.txt
-e .
"""


def resolve(uv: Path, requirements: list[str]) -> list[str]:
    """Exact pins, with markers, for everything that `requirements` need."""
    command = [uv, "pip", "compile", "-", "--quiet", "--upgrade", "--no-header", "--no-annotate"]
    command += ["--universal", "--python-version", "3.11", "--fork-strategy", "fewest"]
    output = subprocess.run(
        command, input="\n".join(requirements), cwd=ROOT, text=True, check=True, capture_output=True
    ).stdout
    return [line for line in output.splitlines() if line and not UNWANTED.match(line)]


def write(path: Path, text: str) -> None:
    """Replace a file in one step, so that a failure never leaves half of one."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


def main() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        bin_folder = Path(folder) / "bin"
        subprocess.run([bin_folder / "pip", "install", "--quiet", "uv"], check=True)
        uv = bin_folder / "uv"
        book = resolve(uv, extras["book"])
        wanted = [*project["dependencies"], *chain(*extras.values()), *HELD, *book]
        everything = resolve(uv, wanted)
    names = {line.split("==")[0] for line in book}
    rest = [line for line in everything if line.split("==")[0] not in names]
    write(ROOT / "book" / "requirements.txt", BOOK_HEADER + "\n".join(book) + "\n")
    write(ROOT / "requirements.txt", ALL_HEADER + "\n".join(rest) + "\n")
    print(f"{len(book)} pins in book/requirements.txt, {len(rest)} more in requirements.txt")


if __name__ == "__main__":
    main()
