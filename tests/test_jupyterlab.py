"""A real JupyterLab, opened by a browser: a figure is alive there, with a kernel behind it."""

import json
import os
import re
import subprocess
import sys
import time

import nbformat
import pytest
from notebooks import ROOT

FIGURE = """
import torch
from vit_tutorial import ViT
from vit_tutorial.data import load_dataset
from vit_tutorial.widgets import AttentionRow

torch.manual_seed(0)
vit = ViT(image_size=28, patch_size=4, channels=1, num_classes=10, dim=16, depth=2, heads=2,
          dim_head=8, mlp_dim=16)
image = load_dataset("fashion_mnist", "test", subset=10)[0][0]
figure = AttentionRow(vit, image)
figure
"""
ANSWER = 'print("the kernel has query", figure.query)'
CHANGE = "figure.query = 3"


@pytest.fixture
def lab(tmp_path):
    """Start JupyterLab in an empty home, on loopback, with one notebook; gives its address."""
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(source.strip()) for source in (FIGURE, ANSWER, CHANGE)],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
    )
    (tmp_path / "work").mkdir()
    nbformat.write(notebook, tmp_path / "work" / "figure.ipynb")
    settings = {
        "ServerApp": {
            "token": "",
            "password": "",
            "port": 0,
            "open_browser": False,
            "allow_root": True,
            "root_dir": str(tmp_path / "work"),
        },
    }
    (tmp_path / "jupyter_server_config.json").write_text(json.dumps(settings))
    home = {"HOME": str(tmp_path), "JUPYTER_CONFIG_DIR": str(tmp_path), "PYTHONWARNINGS": ""}
    with open(tmp_path / "log", "w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab"],
            cwd=ROOT,
            env=os.environ | home,
            stdout=log,
            stderr=log,
        )
    try:
        yield address(server, tmp_path / "log")
    finally:
        server.terminate()
        server.wait(timeout=30)


def address(server, log):
    for _ in range(300):
        found = re.search(r"http://(?:localhost|127\.0\.0\.1):(\d+)/lab", log.read_text())
        if found:
            return f"http://127.0.0.1:{found[1]}"
        if server.poll() is not None:
            break
        time.sleep(0.2)
    pytest.fail(f"JupyterLab did not start:\n{log.read_text()}")


def test_a_figure_in_jupyterlab_and_its_kernel_hear_each_other(lab, browser):
    page = browser.new_page(viewport={"width": 1400, "height": 1400})
    page.set_default_timeout(90_000)
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{lab}/lab/tree/figure.ipynb")
    cells = page.locator(".jp-Notebook .jp-CodeCell")
    cells.first.wait_for()
    page.get_by_text("| Idle").first.wait_for()  # what is run before the kernel is ready is lost
    cells.first.click()
    page.keyboard.press("Shift+Enter")

    card = cells.first.locator(".vt-card")
    card.wait_for()
    card.get_by_role("gridcell", name="patch 9, row 2, column 2").first.click()
    assert card.locator(".vt-outcome").inner_text().startswith("Patch 9 takes")
    cells.nth(1).locator(".cm-content").click()
    page.keyboard.press("Shift+Enter")
    cells.nth(1).get_by_text("the kernel has query 9").wait_for()  # token 0 is the class token

    cells.nth(2).locator(".cm-content").click()
    page.keyboard.press("Shift+Enter")
    card.get_by_text("Patch 3 takes").wait_for()
    outside = [url for url in asked if not url.startswith((lab, "data:", "blob:"))]
    assert outside == []
    page.close()
