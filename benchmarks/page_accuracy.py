"""Train in the page with the stage's defaults: how well, how soon, and does the page answer?

    python benchmarks/page_accuracy.py [--seeds N ...] [--out FILE]
    python benchmarks/page_accuracy.py --record

The pages are opened from files in Chromium, without a window and without a network. A run is the
stage's own (`Training`, in a Worker), without its drawing. Each seed makes two of them: one with
the stage's defaults, which is given 15 s, and a longer one, of 6,000 steps, which is given 60 s.
What counts is the accuracy on the 2,000 held-out images at the run's end, or when its time is up.
A busy machine takes fewer steps in that time, so the images a second stand beside.

The clicks are made on the stage itself, before it trains and while it trains and draws: from the
click's own time until the next frame is there. Seeds that FILE.json already holds stay in it, so
that they can be run a few at a time.

With --record, one run with the defaults is made, and its curves are written into the stage's
train_recorded.js, for readers who have not trained yet.
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
from vit_tutorial.widgets.bundle import modules, page_script, style_sheet, whole

# Seconds: the goal, and what such a run chooses besides the defaults.
GOALS = {15: (0.84, {}), 60: (0.865, {"steps": 6_000})}
INPUTS = ("pictures", "facts", "picture")
CLICKS = 100

BEGIN = """async (choices) => {
    const data = await $training_data.trainingData({});
    const failed = (error) => { throw error; };
    globalThis.training = new $training.Training({ failed });
    globalThis.began = performance.now();
    return training.begin($train_begin.givenFor(choices, data));
}"""
RUN = """async (limit) => {
    const passed = () => (performance.now() - began) / 1000;
    let found;
    do {
        found = await training.slice({ milliseconds: 50 });
    } while (!found.over && passed() < limit);
    const seconds = passed();
    const { heldOut } = await training.look();
    training.end();
    return { taken: found.taken, images: found.images, seconds, accuracy: heldOut.accuracy };
}"""
EPOCH = """async (steps) => {
    const learned = await training.slice({ milliseconds: Infinity, steps });
    const { heldOut } = await training.look();
    return [learned.taken, learned.loss, learned.accuracy, heldOut.loss, heldOut.accuracy];
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


def open_training(browser: Browser, folder: Path) -> Page:
    names = ["training", "training_data", "train_setup", "train_begin"]
    exports = whole(names, f"{{ {', '.join(f'${name}' for name in names)} }}")
    return open_page(
        browser, folder, f"Object.assign(globalThis, {exports.rstrip().removesuffix(';')});"
    )


def chosen(**changes) -> dict:
    """What determines a run: the stage's defaults, and these changes."""
    state = TrainHere(**changes).state()
    return {name: value for name, value in state.items() if name not in INPUTS}


def runs(browser: Browser, seeds: list[int]) -> list[dict]:
    """Train with each of these seeds, as long as each goal allows."""
    records = []
    with TemporaryDirectory() as folder:
        page = open_training(browser, Path(folder))
        for seed in seeds:
            for limit, (_, changes) in GOALS.items():
                begun = page.evaluate(BEGIN, chosen(seed=seed, **changes))
                found = {"seed": seed, "limit": limit, "steps": begun["steps"]}
                found |= {"load": os.getloadavg()[0], **page.evaluate(RUN, limit)}
                records.append(found)
        page.close()
    return records


def clicks(browser: Browser, count: int) -> dict[str, list[float]]:
    """Click on the stage: milliseconds until the frame after the click, in turns."""
    with TemporaryDirectory() as folder:
        stage = TrainHere(steps=10_000).to_html()
        page = open_page(browser, Path(folder), page_script("train_here"), stage)
        page.locator(".vt-train").wait_for()
        found = {}
        page.evaluate(LISTEN)
        for moment in ("before it trains", "while it trains"):
            if found:
                page.get_by_role("button", name="Train", exact=True).click()
                page.get_by_role("button", name="Pause", exact=True).wait_for()
                time.sleep(1)
            page.evaluate("delays = []")
            for _ in range(count):
                page.locator("h1").click()
                time.sleep(0.1)
            time.sleep(0.5)
            found[moment] = page.evaluate("delays")
        page.close()
    return found


def record(browser: Browser) -> None:
    """Write the curves of a run with the defaults into the module that shows them."""
    with TemporaryDirectory() as folder:
        page = open_training(browser, Path(folder))
        begun = page.evaluate(BEGIN, chosen())
        steps = begun["stepsAnEpoch"]
        rows = [page.evaluate(EPOCH, steps) for _ in range(begun["steps"] // steps)]
    lines = ",\n".join(f"    {[row[0], *(round(each, 4) for each in row[1:])]}" for row in rows)
    choices = json.dumps(chosen(), indent=4).replace("\n}", "\n  }")
    written = f'{{\n  "choices": {choices},\n  "steps": {begun["steps"]},\n'
    written += f'  "rows": [\n{lines}\n  ]\n}}'
    module = modules()["train_recorded"]
    before, _, rest = module.read_text("utf8").partition("RECORDED = ")
    _, _, after = rest.partition(";\n")
    module.write_text(f"{before}RECORDED = {written};\n{after}", "utf8")


def table(records: list[dict], delays: dict[str, list[float]]) -> str:
    """Write the medians beside their goals, and what each seed has reached."""
    lines = []
    for limit, (goal, changes) in GOALS.items():
        reached = [each for each in records if each["limit"] == limit]
        accuracy = statistics.median(each["accuracy"] for each in reached)
        speed = statistics.median(each["images"] / each["seconds"] for each in reached)
        what = ", ".join(f"{value:,} {name}" for name, value in changes.items())
        lines.append(
            f"held-out accuracy in {limit} s ({what or 'the defaults'}), "
            f"median of {len(reached)} seeds: {accuracy:.1%} (goal {goal:.1%}), "
            f"at {speed:,.0f} images/s"
        )
    for moment, each in delays.items():
        each = sorted(each)
        lines.append(
            f"click to the next frame {moment}, {len(each)} clicks: median "
            f"{statistics.median(each):.0f} ms, 95% within {each[int(0.95 * len(each))]:.0f} ms, "
            f"slowest {each[-1]:.0f} ms (goal 50 ms)"
        )
    lines += ["", "seed  limit  seconds  steps of all      images  accuracy"]
    for each in records:
        lines.append(
            f"{each['seed']:4}{each['limit']:5} s{each['seconds']:9.1f}"
            f"{each['taken']:7,} of {each['steps']:6,}{each['images']:10,}{each['accuracy']:10.1%}"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[*range(5)], help="default: 0 to 4")
    parser.add_argument("--out", type=Path, help="every number as FILE.json, the table as FILE.txt")
    parser.add_argument("--record", action="store_true", help="write the stage's recorded run")
    asked = parser.parse_args()
    before = {"runs": [], "clicks": {}}
    if asked.out and asked.out.with_suffix(".json").exists():
        before = json.loads(asked.out.with_suffix(".json").read_text("utf8"))
    with sync_playwright() as playwright:
        browser = chromium(playwright)
        if asked.record:
            record(browser)
            return
        delays = before["clicks"] or clicks(browser, CLICKS)
        records = [each for each in before["runs"] if each["seed"] not in asked.seeds]
        records += runs(browser, asked.seeds)
        described = about(browser, "page_accuracy.py")
        browser.close()
    load = statistics.median(each["load"] for each in records)
    described["load"] = f"{load:.1f} processes on {os.cpu_count()} processors"
    keep(asked.out, described, table(records, delays), {"runs": records, "clicks": delays})


if __name__ == "__main__":
    main()
