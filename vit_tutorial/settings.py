"""Settings on the command line: NAME=VALUE changes a recipe or its model."""

import ast
from collections.abc import Sequence
from dataclasses import fields, replace

from vit_tutorial.recipes import Recipe

# What options of their own choose.
ELSEWHERE = {"architecture", "model", "dataset", "start"}


def with_settings(recipe: Recipe, settings: Sequence[str]) -> Recipe:
    """Change a recipe, and its model's arguments, as settings say.

    settings: "lr=0.01", "depth=4", "position=none": a field of Recipe or an
    argument of the recipe's model, and its value as Python writes it; text
    needs no quotes. The last of one name counts.

    Raises ValueError for a name that is neither, for a value that no recipe
    could use, and for an argument of a model that is trained already.
    """
    own = {field.name for field in fields(Recipe)} - ELSEWHERE
    arguments = {*recipe.model, "pool", "position"}
    of_recipe, of_model = {}, {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise ValueError(f"a setting is NAME=VALUE, got {setting!r}")
        if name in own:
            of_recipe[name] = read(value)
        elif name in arguments:
            of_model[name] = read(value)
        else:
            known = ", ".join(sorted(own | arguments))
            raise ValueError(f"there is no setting {name!r}, but {known}")
    if of_model and recipe.start is not None:
        raise ValueError(
            f"{recipe.start} is trained already, so {', '.join(of_model)} "
            "cannot change"
        )
    return replace(recipe, model=recipe.model | of_model, **of_recipe)


def read(value: str) -> object:
    """Read a number, True, False or None; anything else is text."""
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return value
