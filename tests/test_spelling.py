"""Spelling: what codespell knows to be a misspelling stands nowhere, in the text or in the code."""

import json
import subprocess

import pytest
from codespell_lib import main as codespell
from notebooks import ROOT

TEXTS = (".md", ".py", ".js", ".css", ".c", ".h", ".yml", ".toml", ".cff", ".bib", ".ipynb")
NAMES = "pinter,froms,inbraces,dout,testof"  # of people and of variables


def files():
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    return [name for name in listed if name.endswith(TEXTS)]


def words_of(path):
    """A file's text; of a notebook its cells' sources, for its outputs hold images."""
    text = path.read_text("utf8")
    if path.suffix != ".ipynb":
        return text
    return "\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"])


def check(folder):
    return codespell("--ignore-words-list", NAMES, str(folder))


@pytest.mark.parametrize("top", sorted({name.split("/")[0] for name in files()}))
def test_nothing_is_misspelled(top, tmp_path, capsys):
    for name in files():
        if name.split("/")[0] == top:
            copy = tmp_path / f"{name.replace('/', '-')}.txt"
            copy.write_text(words_of(ROOT / name), "utf8")
    assert check(tmp_path) == 0, capsys.readouterr().out


def test_a_misspelling_would_be_found(tmp_path, capsys):
    (tmp_path / "text.txt").write_text("The encoder rec{}ves tokens.".format("ie"))
    assert check(tmp_path) != 0
    assert "==> receives" in capsys.readouterr().out
