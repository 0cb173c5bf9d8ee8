"""What the benchmarks of the pages share: the browser, and how their records are kept."""

import json
import platform
import shutil
import sys
from pathlib import Path

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


def keep(out: Path | None, described: dict[str, str], table: str, found: dict) -> None:
    """Print what was measured as text, and write it: FILE.txt, and every number in FILE.json."""
    text = "".join(f"{key}: {value}\n" for key, value in described.items()) + "\n" + table
    print(text)
    if out:
        out.with_suffix(".txt").write_text(text, encoding="utf8")
        keep_numbers(out, described, found)


def keep_numbers(out: Path, described: dict[str, str], found: dict) -> None:
    """Write every number in FILE.json: before the end, where a benchmark takes long."""
    record = json.dumps({"about": described, **found}, indent=1) + "\n"
    out.with_suffix(".json").write_text(record, encoding="utf8")
