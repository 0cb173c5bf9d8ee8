"""Figures of a test's choice in a page as the book has it, and in one as a notebook has it."""

from importlib.util import find_spec
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe

from vit_tutorial.widgets.bundle import page_script, style_sheet

THEME = [  # the book's: figures take their colours from it
    next(Path(find_spec(package).origin).parent.rglob(f"{sheet}.css"))
    for package, sheet in [
        ("pydata_sphinx_theme", "pydata-sphinx-theme"),
        ("sphinx_book_theme", "sphinx-book-theme"),
    ]
]


class Book:
    """A page as the book has it, with figures of our choice, opened by double-click."""

    def __init__(self, browser, folder):
        self.browser, self.folder, self.pages = browser, folder, []
        (folder / "figures.js").write_text(page_script(), "utf8")
        (folder / "figures.css").write_text(style_sheet(), "utf8")

    def open(self, *figures, theme="light", width=1000, before="", apart=0, **options):
        sheets = [*(path.as_uri() for path in THEME), "figures.css"]
        gap = f'<div style="height: {apart}px"></div>'
        cells = gap.join(
            f'<div class="cell_output docutils container"><div class="output text_html">'
            f"{figure if isinstance(figure, str) else figure.to_html()}</div></div>"
            for figure in figures
        )
        (self.folder / "page.html").write_text(
            f'<!doctype html><html lang="en" data-theme="{theme}"><meta charset="utf8">'
            '<meta name="viewport" content="width=device-width"><title>A page</title>'
            + "".join(f'<link rel="stylesheet" href="{sheet}">' for sheet in sheets)
            + '<script defer src="figures.js"></script><main class="bd-content">'
            f'<article class="bd-article"><h1>A page</h1>{gap}{cells}</article></main></html>',
            "utf8",
        )
        page = self.browser.new_page(
            viewport={"width": width, "height": 700}, color_scheme=theme, **options
        )
        self.pages.append(page)
        page.noise, page.asked = [], []
        page.on("console", lambda line: page.noise.append(line.text))
        page.on("pageerror", lambda error: page.noise.append(str(error)))
        page.on("request", lambda request: page.asked.append(request.url))
        if before:
            page.add_init_script(before)
        page.goto((self.folder / "page.html").as_uri())
        return page

    def close(self):
        for page in self.pages:
            page.close()


def said(card):
    return card.locator(".vt-outcome").inner_text()


def assert_axe_finds_nothing(page):
    report = Axe().run(page, options={"preload": False}).generate_report()
    assert report.startswith("Found 0 accessibility violations"), report


def assert_nobody_is_left_out(page, also=""):
    """Nothing for axe, nothing beyond the page's width, and all that is pointed at is 24 pixels.

    also: a selector of what is pointed at besides buttons, selects and grid cells.
    """
    assert_axe_finds_nothing(page)
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= page.viewport_size["width"]
    targets = ", ".join(filter(None, ["button", "select", "[role=gridcell]", also]))
    sizes = page.locator(f".vt-card :is({targets}):visible").evaluate_all(
        "(all) => all.map((each) => Math.min(each.offsetWidth, each.offsetHeight))"
    )
    assert min(sizes) >= 24


def assert_nothing_moves(page, longest=0):
    """No transition takes longer than so many seconds, and no animation runs."""
    seconds = page.locator(".vt-card, .vt-card *").evaluate_all(
        "(all) => all.map((each) => parseFloat(getComputedStyle(each).transitionDuration))"
    )
    assert max(seconds) <= longest
    assert page.evaluate("document.getAnimations().length") == 0


# The module that anywidget loads, with a model that counts who listens: page.evaluate(NOTEBOOK,
# [figure._esm, figure.state()]) draws it in the body.
NOTEBOOK = """async ([source, state]) => {
    const address = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
    const module = await import(address);
    const listeners = new Map();
    const all = (name) => listeners.get(name) ?? listeners.set(name, new Set()).get(name);
    globalThis.saved = 0;
    globalThis.model = {
        get: (name) => state[name],
        set(name, value) {
            state[name] = value;
            for (const listener of all(`change:${name}`)) listener();
        },
        on: (name, listener) => all(name).add(listener),
        off: (name, listener) => all(name).delete(listener),
        save_changes: () => saved++,
    };
    globalThis.listening = () => [...listeners.values()].reduce((sum, each) => sum + each.size, 0);
    globalThis.stop = await module.default.render({ model, el: document.body });
}"""
