"""Run the trainer's guided experiments for ten seeds: does each verdict hold?

    python benchmarks/guided.py [--seeds N] [--only NAME ...] [--out FILE]

Both runs of every experiment, as `guided.js` has it, in Chromium, without drawing: the same engine
with the same numbers as when a reader presses the button with these seeds. A run that FILE.json
already holds, with the same choices, is not repeated. A verdict is the number of the guess that the
two runs make the right one; it holds where at least nine in ten seeds agree on it.
"""

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from chromium import about, chromium, keep, keep_numbers
from playwright.sync_api import Page, sync_playwright

from vit_tutorial.widgets import TrainHere, training_data
from vit_tutorial.widgets.bundle import join

HOLDS = 0.9  # of the seeds
INPUTS = ("pictures", "facts", "picture")

# All experiments, as far as JSON can hold them.
LIST = "$guided.EXPERIMENTS.map((each) => JSON.parse(JSON.stringify(each)))"
RUN = """async ([choices, moved]) => {
    const data = await $training_data.trainingData({});
    const { heldOut, ...given } = $train_begin.givenFor(choices, data, moved);
    const trainer = new $trainer.Trainer(given);
    const batches = [];
    let broken = null;
    try {
        for (let found; (found = trainer.step()); ) {
            batches.push({ accuracy: found.correct / given.recipe.batch_size });
        }
    } catch ({ message }) {
        broken = message;
    }
    const found = trainer.evaluate(heldOut.images, heldOut.labels);
    return $guided.resultOf({ batches, heldOut: [found], broken });
}"""
RECIPE = "(choices) => $train_setup.recipeOf(choices)"
JUDGE = """([name, results]) => {
    const { right, found } = $guided.EXPERIMENTS.find((each) => each.name === name);
    return [right(...results), found(...results)];
}"""


def open_page(browser, folder: Path) -> Page:
    """Open a page from a file, with the modules that train and the table of experiments."""
    script = join(["training_data", "trainer", "train_begin", "guided"])
    (folder / "guided.js").write_text(script.replace("const $", "var $"), "utf8")
    (folder / "training_data.js").write_text(training_data.script(), "utf8")
    html = '<!doctype html><meta charset="utf8"><script src="guided.js"></script>'
    (folder / "page.html").write_text(html, "utf8")
    page = browser.new_page()
    page.set_default_timeout(0)
    page.goto((folder / "page.html").as_uri())
    return page


def runs(page: Page, names: list[str], seeds: int, known: list[dict]) -> Iterator[dict]:
    """Make both runs of each experiment, seed by seed; take those that are known."""
    done = {json.dumps([each["runs"], each["moved"]]): each["results"] for each in known}
    state = TrainHere().state()
    usual = {name: value for name, value in state.items() if name not in INPUTS}
    for seed in range(seeds):
        for experiment in page.evaluate(LIST):
            if names and experiment["name"] not in names:
                continue
            shared = usual | experiment["usual"] | {"seed": seed}
            arms = [shared | arm["changes"] for arm in experiment["arms"]]
            moved = experiment.get("moved", 0)
            described = [arm | {"recipe": page.evaluate(RECIPE, arm)} for arm in arms]
            results = done.get(json.dumps([described, moved])) or [
                page.evaluate(RUN, [arm, moved]) for arm in arms
            ]
            answer, sentence = page.evaluate(JUDGE, [experiment["name"], results])
            yield {
                "experiment": experiment["name"],
                "seed": seed,
                "runs": described,
                "moved": moved,
                "results": results,
                "answer": experiment["guesses"][answer],
                "sentence": sentence,
            }


def together(records: list[dict], known: list[dict]) -> list[dict]:
    """Put the known records behind those that have not replaced them."""
    again = {(each["experiment"], each["seed"]) for each in records}
    return [*records, *(k for k in known if (k["experiment"], k["seed"]) not in again)]


def table(records: list[dict]) -> str:
    """Set the experiments below each other: their verdicts, and in how many seeds each."""
    lines = []
    for name in dict.fromkeys(record["experiment"] for record in records):
        own = [record for record in records if record["experiment"] == name]
        counts = Counter(record["answer"] for record in own)
        _, most = counts.most_common(1)[0]
        verdict = "holds" if most >= HOLDS * len(own) else "does not hold"
        found = ", ".join(f"“{answer}” in {count}" for answer, count in counts.most_common())
        lines.append(f"{name}: {verdict}. Of {len(own)} seeds: {found}")
        for arm in range(2):
            shares = sorted(record["results"][arm]["heldOut"] for record in own)
            low, middle, high = shares[0], shares[len(shares) // 2], shares[-1]
            lines.append(f"  run {arm + 1}, held out: {middle:.1%} ({low:.1%} to {high:.1%})")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10, help="default: %(default)s")
    parser.add_argument("--only", nargs="+", default=[], help="experiments, by name; default: all")
    parser.add_argument("--out", type=Path, help="every run as FILE.json, the table as FILE.txt")
    asked = parser.parse_args()
    known = []
    if asked.out and asked.out.with_suffix(".json").exists():
        known = json.loads(asked.out.with_suffix(".json").read_text("utf8"))["records"]
    with TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = chromium(playwright)
        page = open_page(browser, Path(folder))
        described = about(browser, "guided.py")
        records = []
        for record in runs(page, asked.only, asked.seeds, known):
            records.append(record)
            print(record["seed"], record["experiment"], "|", record["sentence"], flush=True)
            if asked.out:  # at once: all of them take an hour
                keep_numbers(asked.out, described, {"records": together(records, known)})
        browser.close()
    keep(asked.out, described, table(records), {"records": together(records, known)})


if __name__ == "__main__":
    main()
