"""Would several Workers train faster in the page? Images a second of one, and of two on one batch.

    python benchmarks/page_workers.py [--rounds N] [--workers N] [--out FILE]

One Worker takes whole steps on batches of 64. Several take their share of a batch each and hand
their gradients to the page, which adds them and sends each the sum, as it would have to: a page
from a file has no memory that Workers share, so all of it goes by messages. What they would do with
the sum, their own optimiser's step, each does with its own gradient: the time is the same. One and
several take turns, and the ratio is that of a round.
"""

import argparse
import os
import statistics
from pathlib import Path

from chromium import about, chromium, keep
from page_training import SIZES, settings
from peers import median_interval
from playwright.sync_api import sync_playwright

from vit_tutorial import ViT
from vit_tutorial.recipes import as_logged
from vit_tutorial.widgets.bundle import join

WORKER = """
let trainer;
onmessage = ({ data: { begin } }) => {
    if (begin) {
        const images = new Uint8Array(1024 * 784).map((_, i) => (i * 7919) % 251);
        const labels = Array.from({ length: 1024 }, (_, i) => i % 10);
        trainer = new $trainer.Trainer({ ...begin, images, labels });
    }
    for (let i = begin ? 5 : 1; i > 0; i--) trainer.step();
    const parts = Object.values(trainer.gradients());
    const all = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0));
    let i = 0;
    for (const part of parts) {
        all.set(part, i);
        i += part.length;
    }
    postMessage(all, [all.buffer]);
};"""
BEGIN = """async ([source, config, recipe, counts]) => {
    for (const { workers } of Object.values(globalThis.teams ?? {}))
        workers.forEach((worker) => worker.terminate());
    globalThis.teams = {};
    globalThis.ask = (worker, message, moved = []) => new Promise((resolve) => {
        worker.onmessage = ({ data }) => resolve(data);
        worker.postMessage(message, moved);
    });
    const code = URL.createObjectURL(new Blob([source]));
    for (const count of counts) {
        const begin = { config, recipe: { ...recipe, batch_size: recipe.batch_size / count } };
        const workers = Array.from({ length: count }, () => new Worker(code));
        const found = await Promise.all(workers.map((worker) => ask(worker, { begin })));
        teams[count] = { workers, found };
    }
}"""
TURN = """async ([count, steps]) => {
    const team = teams[count];
    const began = performance.now();
    for (let step = 0; step < steps; step++) {
        const [sum, ...others] = team.found;
        for (const other of others) for (let i = 0; i < sum.length; i++) sum[i] += other[i];
        team.found = await Promise.all(team.workers.map((worker) => {
            if (count === 1) return ask(worker, {}); // there is nobody to share with
            const copy = sum.slice();
            return ask(worker, { sum: copy }, [copy.buffer]);
        }));
    }
    return (performance.now() - began) / 1000;
}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20, help="default: %(default)s")
    parser.add_argument("--workers", type=int, default=2, help="default: %(default)s")
    parser.add_argument("--out", type=Path, help="every number as FILE.json, the table as FILE.txt")
    asked = parser.parse_args()
    records = []
    with sync_playwright() as playwright:
        browser = chromium(playwright)
        page = browser.new_page()
        for size, steps in SIZES.items():
            model, recipe = settings(size, "muon")
            config = ViT(**model).config | {"mean": [0.286], "std": [0.353]}
            source = join(["trainer"]) + WORKER
            counts = [1, asked.workers]
            page.evaluate(BEGIN, [source, config, as_logged(recipe), counts])
            speeds = {count: [] for count in counts}
            for _ in range(asked.rounds):
                for count in counts:
                    images = steps * recipe.batch_size
                    speeds[count].append(images / page.evaluate(TURN, [count, steps]))
            records.append({"size": size, "images/s": speeds})
        described = about(browser, "page_workers.py")
        browser.close()
    described["load"] = f"{os.getloadavg()[0]:.1f} processes on {os.cpu_count()} processors"
    lines = [
        f"patch/dim/depth/heads  1 Worker, images/s  {asked.workers} Workers  ratio (95 %)",
    ]
    for record in records:
        one, several = record["images/s"].values()
        ratios = [b / a for a, b in zip(one, several, strict=True)]
        low, high = median_interval(ratios)
        lines.append(
            f"{'/'.join(map(str, record['size'])):23}{statistics.median(one):18,.0f}"
            f"{statistics.median(several):11,.0f}"
            f"  {statistics.median(ratios):.2f} ({low:.2f} to {high:.2f})"
        )
    keep(asked.out, described, "\n".join(lines) + "\n", {"records": records})


if __name__ == "__main__":
    main()
