"""A real JupyterLab, opened by a browser: a figure is alive there, with a kernel behind it."""

import json
import os
import re
import subprocess
import sys
import time

import nbformat
import pytest
from figure_page import said, soon
from notebooks import METADATA, ROOT
from playwright.sync_api import expect

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
    home["JUPYTER_CONFIG_PATH"] = str(ROOT / ".ci")  # as `make lab` has it
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
    assert said(card).startswith("Patch 9 attends")
    cells.nth(1).locator(".cm-content").click()
    page.keyboard.press("Shift+Enter")
    cells.nth(1).get_by_text("the kernel has query 9").wait_for()  # token 0 is the class token

    cells.nth(2).locator(".cm-content").click()
    page.keyboard.press("Shift+Enter")
    card.get_by_text("Patch 3 attends").wait_for()

    # The keys are the figure's: JupyterLab would go to another cell, insert one, cut one.
    slider = card.get_by_label("temperature")
    slider.focus()
    count = cells.count()
    for key in ("ArrowRight", "ArrowDown", "b", "x", "Shift+M"):
        page.keyboard.press(key)
    assert soon(slider.get_attribute, "aria-valuetext") == "1"  # one to the right, one down
    slider.press("ArrowRight")
    assert soon(slider.get_attribute, "aria-valuetext") == "1.19"
    card.get_by_role("gridcell", name="patch 3, row 1").first.focus()
    for key in ("ArrowRight", "b", "x"):
        page.keyboard.press(key)
    assert said(card).startswith("Patch 4 attends")
    expect(cells).to_have_count(count)
    expect(slider).to_be_visible()
    outside = [url for url in asked if not url.startswith((lab, "data:", "blob:"))]
    assert outside == []
    page.close()


def test_make_lab_reads_the_settings_that_are_tested_here():
    makefile = (ROOT / "Makefile").read_text(encoding="utf8")
    assert re.search(
        r'^lab:.*\n\tJUPYTER_CONFIG_PATH="\$\(CURDIR\)/\.ci\b.* -m jupyterlab ', makefile, re.M
    )
    assert (ROOT / ".ci" / "jupyter_server_config.py").exists()


def test_a_figure_is_still_there_when_a_saved_notebook_is_opened_again(lab, browser, tmp_path):
    """Saved, its kernel shut down, its tab closed, opened again: before, "model not found"."""
    path = tmp_path / "work" / "figure.ipynb"
    page = browser.new_page(viewport={"width": 1400, "height": 1400})
    page.set_default_timeout(90_000)
    page.goto(f"{lab}/lab/tree/figure.ipynb")
    first = page.locator(".jp-Notebook .jp-CodeCell").first
    first.wait_for()
    page.get_by_text("| Idle").first.wait_for()
    first.click()
    page.keyboard.press("Shift+Enter")
    first.locator(".vt-card").wait_for()
    page.keyboard.press("Control+s")
    assert "vt-live" in soon(path.read_text, "utf8")  # the figure is saved
    (token,) = [c["value"] for c in page.context.cookies() if c["name"] == "_xsrf"]
    (session,) = page.request.get(f"{lab}/api/sessions").json()
    gone = page.request.delete(
        f"{lab}/api/sessions/{session['id']}", headers={"X-XSRFToken": token}
    )
    assert gone.ok
    page.close()

    page = browser.new_page(viewport={"width": 1400, "height": 1400})
    page.set_default_timeout(90_000)
    page.goto(f"{lab}/lab/tree/figure.ipynb")
    page.get_by_text("| Idle").first.wait_for()  # so the widgets had their chance
    output = page.locator(".jp-Notebook .jp-CodeCell").first.locator(".jp-OutputArea-output")
    image = output.locator("img")
    image.wait_for()
    assert image.bounding_box()["height"] > 100
    assert "model not found" not in page.locator(".jp-Notebook").inner_text()
    page.close()

    stored = nbformat.read(path, as_version=4)
    assert stored.metadata == METADATA  # no version, no display name of this machine's kernel
    assert "model_id" not in path.read_text("utf8")
