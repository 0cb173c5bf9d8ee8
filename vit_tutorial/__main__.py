"""List what there is to run: `python -m vit_tutorial --help`."""

import argparse
import textwrap
from collections.abc import Iterable, Sequence
from importlib.metadata import version

from vit_tutorial import experiments, train
from vit_tutorial.arms import EXPERIMENTS
from vit_tutorial.data import DATASETS
from vit_tutorial.pretrained import BUNDLED, CHECKPOINTS
from vit_tutorial.recipes import RECIPES


def overview() -> str:
    """Write what can be run, and the names that can be given to it."""
    commands = {module.COMMAND: module.main for module in (train, experiments)}
    width = max(map(len, commands))
    lines = [
        f"  {command:{width}}  {main.__doc__}"
        for command, main in commands.items()
    ]
    return "\n\n".join(
        [
            "commands, each with a --help of its own:\n" + "\n".join(lines),
            names("recipes to train by", RECIPES),
            names("experiments", EXPERIMENTS),
            names('data sets for load_dataset(name, "test")', DATASETS),
            names("models for load_pretrained(name), in the package", BUNDLED),
            names("models for load_pretrained(name), downloaded", CHECKPOINTS),
        ]
    )


def names(heading: str, of: Iterable[str]) -> str:
    indent = "  "
    listed = textwrap.fill(
        ", ".join(of),
        initial_indent=indent,
        subsequent_indent=indent,
        break_on_hyphens=False,
    )
    return f"{heading}:\n{listed}"


def main(arguments: Sequence[str] | None = None) -> None:
    """a Vision Transformer to take apart, the package behind the book."""
    parser = argparse.ArgumentParser(
        "python -m vit_tutorial",
        description=f"vit_tutorial {version('vit_tutorial')}: {main.__doc__}",
        epilog=overview(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.parse_args(arguments)
    parser.print_help()


if __name__ == "__main__":
    main()
