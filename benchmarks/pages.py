"""Measure the built book in a browser: weight, first figure, passes, redraws, training.

    make book
    python benchmarks/pages.py [--repeats N] [--out FILE]

Every page is opened over http on loopback, in a fresh browser context without a cache, plain and
with the processor slowed down four times (Chromium's own throttle). Weight is what the page asks
for, each file gzipped as a server would: ours (figures, their style, their models) beside all else
(the theme, equations, the page itself with its pictures). The first figure is one that a link leads
to: from the opening of the page until its card is drawn. A redraw is timed from the pointer's event
until everything that it changes is drawn and laid out, work put off to the next frame included.
Training is timed beside PyTorch, as `page_training.py` does it.
"""

import argparse
import functools
import gzip
import http.server
import re
import statistics
import threading
from pathlib import Path
from urllib.parse import unquote, urlparse

import page_training
import yaml
from chromium import about, chromium, keep
from playwright.sync_api import Browser, Page, sync_playwright

from vit_tutorial.data import load_dataset
from vit_tutorial.pretrained import load_pretrained
from vit_tutorial.widgets.bundle import join
from vit_tutorial.widgets.packing import page_vit
from vit_tutorial.widgets.pictures import pack_picture

ROOT = Path(__file__).resolve().parents[1]
HTML = ROOT / "_build" / "html"
THROTTLES = (1, 4)
TRAINING_ROUNDS = 12
OURS = ("_static/figures-", "_static/models/")

GOALS = [  # what, the goal in words, the measured figure's key, the most that it may be
    ("requests to other hosts, any page", "0", "foreign", 0),
    ("widget code that the heaviest page loads, gzipped", "≤ 40 KB", "code", 40_000),
    ("weights of the in-page ViT, gzipped", "≤ 250 KB", "fashion", 250_000),
    ("the largest further model of a page, gzipped", "≤ 120 KB", "further", 120_000),
    ("in-page forward pass, median", "≤ 1.2 ms", "pass 1", 1.2),
    ("the same at 4× CPU throttle", "≤ 6 ms", "pass 4", 6),
    ("a pass in units of its matrix products alone", "≤ 2.5 ×", "ratio", 2.5),
    ("hover to redraw, the slowest figure's median", "≤ 16 ms", "redraw 1", 16),
    ("PyTorch's speed in training, one thread, by ours", "≤ 1.33 ×", "training", 1 / 0.75),
]


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


def pages() -> list[str]:
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf8"))
    return [toc["root"], *(page["file"] for part in toc["parts"] for page in part["chapters"])]


def throttled(browser: Browser, rate: int) -> Page:
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    page.set_default_timeout(120_000)
    page.context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": rate})
    return page


def gzipped(path: Path) -> int:
    return len(gzip.compress(path.read_bytes()))


WATCH = """
new MutationObserver((_, observer) => {
    if (!document.querySelector(".vt-card")) return;
    globalThis.firstFigure = performance.now();
    observer.disconnect();
}).observe(document, { subtree: true, childList: true });
"""


def open_page(browser: Browser, base: str, name: str, rate: int) -> dict:
    """Open a page at its first figure: what it asks for, and when the figure is there."""
    page = throttled(browser, rate)
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.add_init_script(WATCH)
    figure = re.search(r'data-figure="(\w+)"', (HTML / f"{name}.html").read_text("utf8"))
    link = f"?vt=1&figure={figure[1]}&number=0&state={{}}" if figure else ""
    page.goto(f"{base}/{name}.html{link}")
    if figure:
        page.wait_for_function("globalThis.firstFigure")
    page.wait_for_load_state("networkidle")
    seconds = page.evaluate("firstFigure") / 1000 if figure else None
    page.context.close()
    return {"asked": sorted(set(asked)), "first_figure": seconds}


FORWARD = """([payload, picture, repeats]) => {
    const vit = new $vit.ViT(payload);
    const pixels = $dequantise.fromBase64(picture);
    const { depth, dim, heads, dim_head, mlp_dim } = payload.config;
    const n = vit.numPrefix + vit.grid[0] * vit.grid[1];
    const oneHead = [...Array(3).fill([n, dim_head, dim]), [n, n, dim_head], [n, dim_head, n]];
    const oneLayer = [...Array(heads).fill(oneHead).flat(),
        [n, dim, heads * dim_head], [n, mlp_dim, dim], [n, dim, mlp_dim]];
    const shapes = Array(depth).fill(oneLayer).flat();
    const sizes = shapes.map(([rows, columns, length]) =>
        [rows * length, length * columns, rows * columns]);
    const memory = new $memory.Memory(...sizes);
    memory.numbers.fill(0.5);
    const all = shapes.map(([rows, columns, length], i) => {
        const [a, b, c] = sizes[i].map((size) => memory.take(size));
        return [rows, columns, length, a, length, 1, b, columns, c, columns, 0, 0];
    });
    const time = (work) => { // several: the page's clock shows tenths of a millisecond
        const began = performance.now();
        for (let i = 0; i < 5; i++) work();
        return (performance.now() - began) / 5;
    };
    const found = { pass: [], products: [] };
    for (let i = 0; i < repeats + 10; i++) { // the first are compiled on the way
        found.pass.push(time(() => vit.forward(pixels)));
        found.products.push(time(() => {
            for (const each of all) memory.kernels.product(...each);
        }));
    }
    found.multiplications = shapes.reduce((sum, [rows, columns, length]) =>
        sum + rows * columns * length, 0);
    return found;
}"""


def forward_times(browser: Browser, rate: int, repeats: int) -> dict:
    """Time the in-page ViT on one picture, and its layers' matrix products alone, in turns.

    Returns milliseconds, "pass" and "products", and the number of "multiplications" in the latter.
    """
    page = throttled(browser, rate)
    script = join(["vit"]).replace("\nconst $", "\nglobalThis.$")
    page.add_script_tag(content="globalThis." + script.removeprefix("const "))
    picture = pack_picture(load_dataset("fashion_mnist", "test", subset=10)[0][0])
    times = page.evaluate(
        FORWARD, [page_vit(load_pretrained("fashion")), picture["pixels"], repeats]
    )
    page.context.close()
    return times | {key: times[key][10:] for key in ("pass", "products")}


# Frames are put off by hand, so that what a figure leaves for the next one counts as well.
HOLD_FRAMES = """
const waiting = [];
globalThis.requestAnimationFrame = (callback) => waiting.push(callback);
globalThis.drawNow = () => {
    for (const callback of waiting.splice(0)) callback(performance.now());
    return document.body.offsetHeight;
};
"""
REDRAW = """([card, repeats]) => {
    const cells = [...card.querySelectorAll("[role=gridcell]")].filter((e) => e.checkVisibility());
    const times = [];
    for (let i = 0; cells.length && i < repeats + 5; i++) {
        const cell = cells[(i * 17) % cells.length];
        drawNow();
        const began = performance.now();
        cell.dispatchEvent(new PointerEvent("pointerover", { bubbles: true }));
        drawNow();
        if (i >= 5) times.push(performance.now() - began);
    }
    return times;
}"""


def redraw_times(browser: Browser, address: str, rate: int, repeats: int) -> dict[str, list[float]]:
    """Time what hovering over a figure's patches costs, in milliseconds, for each figure."""
    page = throttled(browser, rate)
    page.goto(address)
    times = {}
    for live in page.locator(".vt-live").all():
        live.scroll_into_view_if_needed()
        live.locator(".vt-card, .vt-request").wait_for()
        for button in live.locator(".vt-request").all():  # its model is heavy
            button.click()
        card = live.locator(".vt-card")
        card.wait_for()
        for button in card.get_by_role("button", name="Show me").all():
            button.click()
        page.wait_for_timeout(500)
        if not page.evaluate("globalThis.drawNow !== undefined"):
            page.evaluate(HOLD_FRAMES)
        name = live.get_attribute("data-figure")
        times[name] = card.evaluate(f"(card, repeats) => ({REDRAW})([card, repeats])", repeats)
    page.context.close()
    return times


def measure(browser: Browser, base: str, names: list[str], repeats: int) -> dict:
    """Open every page, and time all that the goals name."""
    found = {"pages": {}, "passes": {}, "redraws": {}}
    for name in names:
        address = f"{base}/{name}.html"
        seen = {r: [open_page(browser, base, name, r) for _ in range(3)] for r in THROTTLES}
        asked = seen[1][0]["asked"]
        files = {
            unquote(urlparse(url).path).lstrip("/"): url for url in asked if url.startswith(base)
        }
        sizes = {path: gzipped(HTML / path) for path in files if (HTML / path).is_file()}
        found["pages"][name] = {
            "sizes": sizes,
            "foreign": [url for url in asked if not url.startswith((base, "data:", "blob:"))],
            "first_figure": {rate: [each["first_figure"] for each in seen[rate]] for rate in seen},
        }
        if seen[1][0]["first_figure"] is not None:
            for rate in THROTTLES:
                times = redraw_times(browser, address, rate, repeats)
                for figure, each in times.items():
                    found["redraws"].setdefault(f"{name.split('/')[-1]}: {figure}", {})[rate] = each
        # Beside every page, so that one slow minute of the machine does not decide.
        for rate in THROTTLES:
            times = forward_times(browser, rate, max(repeats // len(names), 10))
            known = found["passes"].setdefault(rate, times | {"pass": [], "products": []})
            for key in ("pass", "products"):
                known[key] += times[key]
        print(f"{name} measured", flush=True)
    found["training"] = page_training.races(browser, TRAINING_ROUNDS)
    return found


def parts_of(sizes: dict[str, int]) -> int:
    """How many bytes, gzipped, a page's figures load when their reader presses something."""
    folder = HTML / "_static"
    scripts = [Path(path).stem for path in sizes if re.search(r"figures-[\w-]+\.js$", path)]
    return sum(gzipped(part) for name in scripts for part in folder.glob(f"{name}.*.js"))


def ours(path: str) -> bool:
    return any(part in path for part in OURS)


def tables(found: dict) -> str:
    """Set the pages and the figures below each other, in text."""
    lines = [
        "page                            ours KB  later KB  theirs KB   first figure, s    at 4×"
    ]
    for name, page in found["pages"].items():
        our = sum(size for path, size in page["sizes"].items() if ours(path)) / 1000
        their = sum(size for path, size in page["sizes"].items() if not ours(path)) / 1000
        later = parts_of(page["sizes"]) / 1000
        line = f"{name:30}{our:9.1f}{later:10.1f}{their:11.1f}"
        for rate in THROTTLES:
            times = page["first_figure"][rate]
            line += f"{statistics.median(times):15.2f}" if None not in times else f"{'–':>15}"
        lines.append(line)
    lines += ["", "forward pass of the book's model      fastest    median ms    a slow one of ten"]
    for rate, times in found["passes"].items():
        millions = times["multiplications"] / 1e6
        for what, key in (("", "pass"), (f", its {millions:.1f} M products alone", "products")):
            ordered = sorted(times[key])
            lines.append(
                f"  {f'{rate}×{what}':34}{ordered[0]:9.2f}{statistics.median(ordered):13.2f}"
                f"{ordered[int(0.9 * len(ordered))]:21.2f}"
            )
    lines += ["", "hover to redraw                                  median ms      at 4×"]
    for figure, times in found["redraws"].items():
        if times[1]:
            medians = [statistics.median(times[rate]) for rate in THROTTLES]
            lines.append(f"  {figure:44}{medians[0]:12.1f}{medians[1]:11.1f}")
    lines += ["", "training", page_training.table(found["training"])]
    return "\n".join(lines)


def goals_table(found: dict) -> str:
    """Hold what was measured to the goals of the design."""
    models = {
        Path(path).stem: size
        for page in found["pages"].values()
        for path, size in page["sizes"].items()
        if "models/" in path
    }
    codes = [
        sum(size for path, size in page["sizes"].items() if "_static/figures-" in path)
        for page in found["pages"].values()
    ]
    measured = {
        "foreign": sum(len(page["foreign"]) for page in found["pages"].values()),
        "code": max(codes),
        "fashion": models.get("fashion", 0),
        "further": max((size for name, size in models.items() if name != "fashion"), default=0),
        "pass 1": statistics.median(found["passes"][1]["pass"]),
        "pass 4": statistics.median(found["passes"][4]["pass"]),
        "ratio": statistics.median(
            whole / alone
            for times in found["passes"].values()
            for whole, alone in zip(times["pass"], times["products"], strict=True)
        ),
        "training": max(
            statistics.median(b / a for a, b in zip(race["page"], race["pytorch"], strict=True))
            for race in found["training"]
        ),
        "redraw 1": max(statistics.median(t[1]) for t in found["redraws"].values() if t[1]),
    }
    lines = [f"{'goal':52}{'':>10}  measured"]
    for what, words, key, most in GOALS:
        value, unit = measured[key], words.split()[-1]
        shown = {"KB": f"{value / 1000:.1f} KB", "0": value}.get(unit, f"{value:.2f} {unit}")
        lines.append(f"{what:52}{words:>10}  {shown}{'' if value <= most else '   missed'}")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=60, help="default: %(default)s")
    parser.add_argument("--only", nargs="+", metavar="PAGE", choices=pages(), help="default: all")
    parser.add_argument("--out", type=Path, help="every number as FILE.json, tables as FILE.txt")
    asked = parser.parse_args()
    if asked.repeats < 1:
        parser.error(f"--repeats must be at least 1, got {asked.repeats}")
    if not (HTML / "index.html").exists():
        parser.error("there is no built book: run `make book` first")
    handler = functools.partial(QuietHandler, directory=HTML)
    with (
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server,
        sync_playwright() as playwright,
    ):
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser = chromium(playwright)
        base = f"http://127.0.0.1:{server.server_port}"
        found = measure(browser, base, asked.only or pages(), asked.repeats)
        described = about(browser, "pages.py")
        browser.close()
        server.shutdown()
    keep(asked.out, described, f"{goals_table(found)}\n{tables(found)}", found)


if __name__ == "__main__":
    main()
