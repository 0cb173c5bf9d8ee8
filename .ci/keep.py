"""Take finished runs into the package, and their models where that is wanted.

    python .ci/keep.py runs/erase-0 runs/erase-1        # logs, for the chapters to plot
    python .ci/keep.py runs/figure-cls-0 --models       # its model too, as figure-cls-0
    python .ci/keep.py runs/fashion-0 --as fashion      # its model too, as fashion

A run goes to `vit_tutorial/runs/`, a model to `vit_tutorial/assets/`, with a row in the README
there. `load_pretrained` then knows the model by its name. Everything is checked before anything is
written: a run must be finished, and the command in its log must be the one that makes it.
"""

import argparse
import contextlib
import hashlib
import io
import re
import shlex
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from vit_tutorial import experiments, train
from vit_tutorial.data import ASSETS
from vit_tutorial.recipes import Recipe, as_logged
from vit_tutorial.records import RUNS, differences, is_finished, read_log, write_whole
from vit_tutorial.saving import load_model

# What is kept of a run.
FILES = ("log.jsonl", "robustness.jsonl", "progress.jsonl", "positions.jsonl")
HEAD = "| file | what it holds | its log | made by | test accuracy | SHA-256 |"


class Refused(Exception):
    """A run or a model that cannot be kept, and why."""


def check_run(folder: Path) -> list[dict]:
    """Return the log of a run that can be kept; raise Refused for any other."""
    try:
        finished = is_finished(folder)
    except ValueError as error:
        raise Refused(str(error)) from error
    if not finished:
        raise Refused(f"{folder} holds no finished run")
    start, *_, test = records = read_log(folder)
    if start["event"] != "start":
        raise Refused(f"the log of {folder} does not begin with the run's start")
    recipe, seed = planned(start["command"], folder.name)
    if different := differences(start, {"recipe": as_logged(recipe), "seed": seed}):
        raise Refused(f"the command in the log of {folder} makes another run: {different}")
    epochs = [record for record in records if record["event"] == "epoch"]
    if [record["epoch"] for record in epochs] != list(range(1, recipe.epochs + 1)):
        raise Refused(f"the log of {folder} has not every epoch from 1 to {recipe.epochs} once")
    chosen = epochs[-1]
    if recipe.choose_epoch:
        # the first of equals
        chosen = max(epochs, key=lambda record: record["validation_accuracy"])
    if test["epoch"] != chosen["epoch"]:
        raise Refused(f"{folder} was tested after epoch {test['epoch']}, not {chosen['epoch']}")
    return records


def planned(command: str | None, name: str) -> tuple[Recipe, int]:
    """Return the recipe and the seed that a command trains into a folder of this name."""
    for module in (train, experiments):
        if f"{command} ".startswith(f"{module.COMMAND} "):
            break
    else:
        raise Refused(f"the log of {name} names no command that trains: {command!r}")
    try:
        with contextlib.redirect_stderr(io.StringIO()) as said:
            given = module.parse(shlex.split(command.removeprefix(module.COMMAND)))
        runs = module.planned(given)
    except (SystemExit, ValueError) as error:
        why = said.getvalue().strip().splitlines() or [str(error)]
        raise Refused(f"{command!r}, in the log of {name}, cannot be given: {why[-1]}") from error
    if getattr(given, "size", None) == "quick":
        raise Refused(f"{name} is of --size quick, which only tries whether everything works")
    if name not in runs:
        raise Refused(f"{command!r}, in the log of {name}, makes {', '.join(runs)}, but not {name}")
    return runs[name]


def check_model(folder: Path, records: list[dict]) -> None:
    """Raise Refused unless the folder's model is the one that its log tells of."""
    path, start = folder / "model.safetensors", records[0]
    try:
        model = load_model(path)
    except (OSError, ValueError) as error:
        raise Refused(f"the model of {folder} cannot be loaded: {error}") from error
    built = type(model).__name__, sum(p.numel() for p in model.parameters())
    if built != (start["recipe"]["architecture"], start["parameters"]):
        raise Refused(f"{path} is a {built[0]} of {built[1]:,} parameters, not the log's model")


def row(name: str, content: bytes, run: str, records: list[dict]) -> str:
    """Return the README's row about a model: everything in it comes from its log."""
    start, test = records[0], records[-1]
    recipe, model = start["recipe"], start["recipe"]["model"]
    what = f"a {recipe['architecture']} of {start['parameters']:,} parameters"
    if recipe["architecture"] == "ViT":
        what += f", pool {model.get('pool', 'cls')}, position {model.get('position', 'learned')}"
    what += f"; trained on {start['pictures']['training']:,} images"
    cells = [
        f"`{name}.safetensors`",
        what,
        f"`../runs/{run}`",
        f"`{start['command']}`",
        f"{test['test_accuracy']:.2%}",
        f"`{hashlib.sha256(content).hexdigest()}`",
    ]
    return f"| {' | '.join(cells)} |"


def with_row(readme: str, row: str) -> str:
    """Put a row into the README's table of models, in place of the one about the same file."""
    before, head, table = readme.partition(HEAD + "\n")
    if not head:
        raise Refused(f"the README of the assets has no table with the head {HEAD}")
    rows, _, after = table.partition("\n\n")
    ruler, *rows = rows.split("\n")
    file = row.split("|")[1]
    others = [each for each in rows if each.split("|")[1] != file]
    table = "\n".join([ruler, *sorted([*others, row])])
    return f"{before}{head}{table}\n\n{after}"


def check_new(path: Path, content: dict[str, bytes], replace: bool) -> None:
    """Raise Refused where there is something else of that name, unless it is to be replaced."""
    if path.is_dir():
        there = {each.name: each.read_bytes() for each in path.iterdir()}
    else:
        there = {path.name: path.read_bytes()} if path.exists() else content
    if there != content and not replace:
        raise Refused(f"{path} is there, and different: give it another name, or --replace it")


def write_folder(path: Path, content: dict[str, bytes]) -> None:
    """Write files into a folder that appears when all of them are whole."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        new, old = Path(folder, "new"), Path(folder, "old")
        new.mkdir()
        for name, each in content.items():
            write_whole(new / name, each)
        if path.exists():
            path.rename(old)
        new.rename(path)


def keep(
    folders: Sequence[Path], models: bool = False, name: str | None = None, replace: bool = False
) -> list[str]:
    """Keep runs, and their models if `models`, or the one run's model as `name`.

    Returns a line about each. Raises Refused, and writes nothing, for what cannot be kept.
    """
    if name is not None and len(folders) != 1:
        raise Refused(f"--as names the model of one run, but {len(folders)} were given")
    if name is not None and not re.fullmatch(r"[\w-]+", name):
        raise Refused(f"a model's name is letters, digits, - and _; got {name!r}")
    readme = (ASSETS / "README.md").read_text(encoding="utf-8")
    runs, kept = {}, {}
    for folder in folders:
        records = check_run(folder)
        files = {each: folder / each for each in FILES if (folder / each).exists()}
        runs[folder.name] = {each: path.read_bytes() for each, path in files.items()}
        check_new(RUNS / folder.name, runs[folder.name], replace)
        if models or name:
            check_model(folder, records)
            called = name or folder.name
            kept[called] = (folder / "model.safetensors").read_bytes()
            path = ASSETS / f"{called}.safetensors"
            check_new(path, {path.name: kept[called]}, replace)
            readme = with_row(readme, row(called, kept[called], folder.name, records))
    for called, content in runs.items():
        write_folder(RUNS / called, content)
    for called, content in kept.items():
        write_whole(ASSETS / f"{called}.safetensors", content)
    if kept:
        write_whole(ASSETS / "README.md", readme.encode())
    return [f"{RUNS / called}" for called in runs] + [f"{ASSETS / called}" for called in kept]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser("keep.py", description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="its folder")
    parser.add_argument("--models", action="store_true", help="keep the models too")
    parser.add_argument("--as", dest="name", metavar="NAME", help="keep the model, as NAME")
    parser.add_argument("--replace", action="store_true", help="what is there of that name")
    given = parser.parse_args(arguments)
    try:
        lines = keep(given.runs, given.models, given.name, given.replace)
    except Refused as error:
        sys.exit(f"keep.py: {error}. Nothing was written")
    except OSError as error:  # a full disk, say: what is there is whole
        sys.exit(f"keep.py: {error}")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
