"""Run the chapters as Colab does: Python 3.12, its versions, nothing of this repository.

    python .ci/colab.py                          # all of them, in the book's order
    python .ci/colab.py book/05_attention.ipynb

Each chapter is alone in an empty folder. Its first cell finds no package and installs one, as on
Colab: here it is a wheel, built from what stands here, even while the repository has no address.
That may replace nothing that Colab has, for what has been imported there is used until the runtime
is restarted. The chapter runs to its end,
and every figure that its kernel has sent is drawn in a browser and answers a reader.

The environment stays in `.colab` until colab.txt changes. It takes 7 GB: on Linux, PyTorch comes
with CUDA.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat
import notebooks
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from package_wheel import build_wheel
from playwright.sync_api import Error as BrowserError
from playwright.sync_api import sync_playwright

ROOT = notebooks.ROOT
sys.path.insert(0, str(ROOT / "tests"))
from figure_page import FOCUSED, KEYS, NOTEBOOK  # noqa: E402

PINS = ROOT / ".ci" / "colab.txt"
HOME = ROOT / ".colab"
VERSION = "3.12"
WIDGETS = "application/vnd.jupyter.widget-state+json"
BROWSERS = ["chromium", "chromium-browser", "google-chrome"]
CONTROLS = "[role=gridcell], select, input, button"  # what a reader may turn in a figure


def find_python(version: str) -> str | None:
    """Return where the Python of a version is, "3.12"; None where there is none."""
    said = "import sys; print(sys.executable)"
    env = os.environ | {"PYENV_VERSION": version}  # pyenv's commands want to be told
    try:
        done = subprocess.run(
            [f"python{version}", "-c", said], env=env, capture_output=True, text=True
        )
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def clean() -> dict[str, str]:
    """This process's variables, without those that lead to this repository's packages."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def pip(python: Path, *arguments: str) -> str:
    """Run an environment's pip; return what it prints."""
    command = [python, "-m", "pip", "--disable-pip-version-check", *arguments]
    return subprocess.run(
        command, env=clean(), check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def environment(interpreter: str) -> Path:
    """Make Colab's environment where it is not there yet; return its Python."""
    python, stamp = HOME / "bin" / "python", HOME / "made-from.txt"
    if not stamp.exists() or stamp.read_text("utf8") != PINS.read_text("utf8"):
        subprocess.run([interpreter, "-m", "venv", "--clear", HOME], check=True)
        pip(python, "install", "--quiet", "-r", str(PINS))
        shutil.copy(PINS, stamp)
    return python


def run(chapter: Path, python: Path, wheel: Path, folder: Path) -> list[dict]:
    """Run a chapter alone; return the state of each figure, as the kernel has sent it.

    Raises ValueError unless the first cell has installed the wheel and replaced nothing.
    """
    folder.mkdir()
    notebook = nbformat.read(shutil.copy(chapter, folder), as_version=4)
    first = notebook.cells[0]
    if first.source != notebooks.setup_source():
        raise ValueError(f"the first cell is not the one of every notebook:\n{first.source}")
    first.source = notebooks.setup_source(str(wheel))
    kernel = folder.parent / "kernels" / "colab"
    kernel.mkdir(parents=True, exist_ok=True)
    command = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": command, "display_name": "Colab", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(spec), "utf8")

    class ColabKernel(AsyncKernelManager):
        def _kernel_spec_manager_default(self):
            return KernelSpecManager(kernel_dirs=[str(kernel.parent)])

    pip(python, "uninstall", "--quiet", "--yes", "vit_tutorial")
    before = pip(python, "freeze").splitlines()
    client = NotebookClient(
        notebook,
        kernel_name="colab",
        kernel_manager_class=ColabKernel,
        timeout=3600,
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute(env=clean())
    replaced = set(before) - set(pip(python, "freeze").splitlines())
    if replaced:
        raise ValueError(f"installing the package replaces {', '.join(sorted(replaced))}")
    states = notebook.metadata.get("widgets", {}).get(WIDGETS, {}).get("state", {})
    models = [each["state"] for each in states.values()]
    return [state for state in models if "_esm" in state and "_anywidget_id" in state]


def is_alive(page, state: dict) -> bool:
    """Draw a figure in an empty page, turn something in it, and see that the kernel is told.

    Raises ValueError where the page has something to complain of.
    """
    noise = []
    page.on("pageerror", lambda error: noise.append(str(error)))
    page.on("console", lambda line: noise.append(line.text) if line.type == "error" else None)
    page.goto("about:blank")
    page.add_style_tag(content=state["_css"])
    page.evaluate(NOTEBOOK, [state["_esm"], dict(state)])
    card = page.locator(".vt-card").first
    card.wait_for()
    told = False
    for control in card.locator(CONTROLS).all():
        if control.is_visible() and control.is_enabled() and not told:
            control.focus()
            kind, _ = card.evaluate(FOCUSED) or [None, None]
            for key in KEYS.get(kind, []):
                page.keyboard.press(key)
            page.wait_for_timeout(300)
            told = page.evaluate("sent.length > 0")
    page.close()
    if noise:
        raise ValueError(f"the figure's page says: {noise[0]}")
    return told


def main(arguments: list[str]) -> None:
    interpreter = find_python(VERSION)
    if interpreter is None:
        print(f"Colab is not imitated: there is no Python {VERSION} here.")
        return
    chapters = [Path(name).resolve() for name in arguments] or notebooks.chapters()
    python = environment(interpreter)
    failed = []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        wheel = build_wheel(Path(folder))
        path = next(filter(None, map(shutil.which, BROWSERS)), None)
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        for chapter in chapters:
            try:
                figures = run(chapter, python, wheel, Path(folder) / chapter.stem)
                alive = sum(is_alive(browser.new_page(), state) for state in figures)
            except (CellExecutionError, BrowserError, TimeoutError, ValueError) as error:
                failed.append(chapter.stem)
                print(f"{chapter.stem}: {error}", flush=True)
                continue
            print(f"{chapter.stem}: ran to the end; {alive} of {len(figures)} figures answer")
            if alive < len(figures):
                failed.append(chapter.stem)
        browser.close()
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main(sys.argv[1:])
