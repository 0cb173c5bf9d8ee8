"""The browser that the benchmarks of the pages measure in."""

import platform
import shutil
import sys

import torch
from playwright.sync_api import Browser, Playwright


def chromium(playwright: Playwright) -> Browser:
    """Start the system's Chromium, or else Playwright's own."""
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    return playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])


def about(browser: Browser, script: str) -> dict[str, str]:
    """Say what measured, and where: the command, the browser, the processor, PyTorch."""
    return {
        "command": " ".join(["python", f"benchmarks/{script}", *sys.argv[1:]]),
        "browser": f"Chromium {browser.version}",
        "processor": platform.processor() or platform.machine(),
        "torch": str(torch.__version__),
    }
