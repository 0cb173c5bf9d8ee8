"""Train in the page with the stage's defaults: how well, how soon, and does the page answer?

    python benchmarks/page_accuracy.py [--seeds N ...] [--out FILE]

The pages are opened from files in Chromium, without a window and without a network. A run is the
stage's own (`Training`, in a Worker), without its drawing: the accuracy on the 2,000 held-out
images is that of the model 15 s after the start, 60 s after it, and at the end if that comes first.
The clicks are made on the stage itself while it trains and draws: from the click's own time until
the next frame is there. A busy machine takes fewer steps in 15 s, so the images a second stand
beside. Seeds that FILE.json already holds stay in it, so that they can be run a few at a time.
"""

import argparse
import json
import os
import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from chromium import about, chromium, keep
from playwright.sync_api import Browser, Page, sync_playwright

from vit_tutorial.widgets import TrainHere, training_data
from vit_tutorial.widgets.bundle import page_script, style_sheet, whole

MOMENTS = [15, 60]  # seconds after the start
INPUTS = ("pictures", "facts", "picture")
GOALS = {15: 0.84, 60: 0.865}
CLICKS = 100

RUN = """async ([choices, moments]) => {
    const data = await $training_data.trainingData({});
    const failed = (error) => { throw error; };
    const training = new $training.Training({ failed });
    const given = $train_setup.givenFor(choices, data);
    const began = performance.now();
    const passed = () => (performance.now() - began) / 1000;
    const { steps } = await training.begin(given);
    const looks = [];
    let found;
    do {
        found = await training.slice({ milliseconds: 50 });
        const { images, taken, over } = found;
        if (over || passed() >= moments[looks.length]) {
            const seconds = passed();
            const { heldOut } = await training.look();
            looks.push({ seconds, images, taken, over, accuracy: heldOut.accuracy });
        }
    } while (!found.over && looks.length < moments.length);
    training.end();
    return { steps, looks };
}"""
LISTEN = """() => {
    globalThis.delays = [];
    document.addEventListener("click", ({ timeStamp }) => {
        requestAnimationFrame(() => {
            const { port1, port2 } = new MessageChannel(); // whose turn comes behind the frame
            port1.onmessage = () => delays.push(performance.now() - timeStamp);
            port2.postMessage(null);
        });
    });
}"""


def open_page(browser: Browser, folder: Path, script: str, body: str = "") -> Page:
    (folder / "training_data.js").write_text(training_data.script(), "utf8")
    (folder / "figures.js").write_text(script, "utf8")
    (folder / "figures.css").write_text(style_sheet("train_here"), "utf8")
    html = '<!doctype html><meta charset="utf8"><link rel="stylesheet" href="figures.css">'
    html += f'<script defer src="figures.js"></script><h1>A page</h1>{body}'
    (folder / "page.html").write_text(html, "utf8")
    page = browser.new_page(viewport={"width": 1280, "height": 720})
    page.set_default_timeout(0)
    page.context.set_offline(True)
    page.goto((folder / "page.html").as_uri())
    return page


def runs(browser: Browser, seeds: list[int]) -> list[dict]:
    """Train with the stage's defaults and each of these seeds, for a minute at most."""
    names = ["training", "training_data", "train_setup"]
    exports = whole(names, f"{{ {', '.join(f'${name}' for name in names)} }}")
    script = f"Object.assign(globalThis, {exports.rstrip().removesuffix(';')});"
    records = []
    with TemporaryDirectory() as folder:
        page = open_page(browser, Path(folder), script)
        for seed in seeds:
            state = TrainHere(seed=seed).state()
            choices = {name: value for name, value in state.items() if name not in INPUTS}
            found = page.evaluate(RUN, [choices, MOMENTS])
            records.append({"seed": seed, "load": os.getloadavg()[0], **found})
        page.close()
    return records


def clicks(browser: Browser, count: int) -> list[float]:
    """Click on the stage while it trains: milliseconds until the frame after the click."""
    with TemporaryDirectory() as folder:
        page = open_page(browser, Path(folder), page_script("train_here"), TrainHere().to_html())
        page.get_by_role("button", name="Train", exact=True).click()
        page.get_by_role("button", name="Pause", exact=True).wait_for()
        time.sleep(1)
        page.evaluate(LISTEN)
        for _ in range(count):
            page.locator("h1").click()
            time.sleep(0.1)
        time.sleep(0.5)
        delays = page.evaluate("delays")
        page.close()
    return delays


def at(record: dict, moment: int) -> dict:
    """What was reached by a moment: at its look, or at the end of a run that was over before."""
    looks = record["looks"]
    return looks[min(MOMENTS.index(moment), len(looks) - 1)]


def table(records: list[dict], delays: list[float]) -> str:
    """Write the medians beside their goals, and what each seed has reached."""
    lines = []
    for moment in MOMENTS:
        reached = [at(record, moment) for record in records]
        accuracy = statistics.median(look["accuracy"] for look in reached)
        speed = statistics.median(look["images"] / look["seconds"] for look in reached)
        lines.append(
            f"held-out accuracy after {moment} s, median of {len(records)} seeds: {accuracy:.1%} "
            f"(goal {GOALS[moment]:.1%}), at {speed:,.0f} images/s"
        )
    delays = sorted(delays)
    lines += [
        f"click to the next frame while it trains, {len(delays)} clicks: "
        f"median {statistics.median(delays):.0f} ms, "
        f"95 % within {delays[int(0.95 * len(delays))]:.0f} ms, slowest {delays[-1]:.0f} ms "
        "(goal 50 ms)",
        "",
        "seed  seconds  steps of all     images  accuracy",
    ]
    for record in records:
        for look in record["looks"]:
            lines.append(
                f"{record['seed']:4}{look['seconds']:9.1f}{look['taken']:8,} of {record['steps']:,}"
                f"{look['images']:11,}{look['accuracy']:10.1%}"
            )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[*range(5)], help="default: 0 to 4")
    parser.add_argument("--out", type=Path, help="every number as FILE.json, the table as FILE.txt")
    asked = parser.parse_args()
    before = {"runs": [], "clicks": []}
    if asked.out and asked.out.with_suffix(".json").exists():
        before = json.loads(asked.out.with_suffix(".json").read_text("utf8"))
    with sync_playwright() as playwright:
        browser = chromium(playwright)
        delays = before["clicks"] or clicks(browser, CLICKS)
        records = [each for each in before["runs"] if each["seed"] not in asked.seeds]
        records += runs(browser, asked.seeds)
        described = about(browser, "page_accuracy.py")
        browser.close()
    load = statistics.median(record["load"] for record in records)
    described["load"] = f"{load:.1f} processes on {os.cpu_count()} processors"
    keep(asked.out, described, table(records, delays), {"runs": records, "clicks": delays})


if __name__ == "__main__":
    main()
