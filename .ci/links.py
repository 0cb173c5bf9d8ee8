"""Ask every address that the book's pages link to whether it is still there.

    python .ci/links.py

Sphinx's link checker asks; what it leaves out stands in `_config.yml`, with the reasons. Each dead
link is told with its page and line, and where there is one, the status is 1. `make links` and the
weekly workflow call this; it needs the network.
"""

import json
import subprocess
import sys
import sysconfig
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parents[1]
JUPYTER_BOOK = Path(sysconfig.get_path("scripts"), "jupyter-book")
CELL = 10_000  # MyST-NB counts line 3 of cell 2 as 20,004


def place(entry: dict) -> str:
    """Say where a link stands."""
    name, line = entry["filename"], entry["lineno"]
    if name.endswith(".ipynb") and line > CELL:
        cell, line = divmod(line - 1, CELL)
        return f"{name}, cell {cell}, line {line}"
    return f"{name}, line {line}"


def ask(book: Path) -> list[dict]:
    """Return what the checker says of each address, apart from the pages so that they stay."""
    with TemporaryDirectory() as folder:
        command = [JUPYTER_BOOK, "build", book, "--builder", "linkcheck", "--path-output", folder]
        done = subprocess.run(command, capture_output=True, text=True)
        report = Path(folder, "_build", "html", "output.json")
        found = report.read_text("utf8") if report.exists() else ""
    entries = [json.loads(line) for line in found.splitlines()]
    if done.returncode and not any(map(is_dead, entries)):
        sys.exit(f"the links could not be checked:\n{done.stdout}{done.stderr}")
    return entries


def is_dead(entry: dict) -> bool:
    return entry["status"] in ("broken", "timeout")


if __name__ == "__main__":
    entries = ask(Path(sys.argv[1]) if sys.argv[1:] else ROOT)
    dead = [entry for entry in entries if is_dead(entry)]
    for entry in dead:
        print(f"{place(entry)}: {entry['uri']}\n    {entry['info']}")
    asked = [entry for entry in entries if entry["status"] not in ("ignored", "unchecked")]
    print(f"{len(asked)} addresses asked, {len(dead)} of them dead.")
    sys.exit(bool(dead))
