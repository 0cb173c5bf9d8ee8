"""What `make lab` sets in JupyterLab: chapters are saved as the book stores them."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
from notebooks import tidy


def before_saving(model, **_):
    if model["type"] == "notebook" and model.get("content"):
        tidy(model["content"])


c = get_config()  # noqa: F821  (Jupyter defines it)
c.FileContentsManager.pre_save_hook = before_saving
