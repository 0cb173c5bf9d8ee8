"""Figures of a test's choice in a page as the book has it, and in one as a notebook has it.

A page may draw later than a test reads, on a machine that is busy with something else. So tests ask
by `soon`, whose comparisons wait until they hold, or by Playwright's `expect`.
"""

import functools
import re
import time
from collections import defaultdict
from importlib.util import find_spec
from itertools import zip_longest
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from vit_tutorial.widgets.bundle import page_script, part_scripts, style_sheet

THEME = [  # the book's: figures take their colours from it
    next(Path(find_spec(package).origin).parent.rglob(f"{sheet}.css"))
    for package, sheet in [
        ("pydata_sphinx_theme", "pydata-sphinx-theme"),
        ("sphinx_book_theme", "sphinx-book-theme"),
    ]
]
PATIENCE = 30  # seconds that a comparison waits; only one that fails takes them all
expect.set_options(timeout=1000 * PATIENCE)


class Soon:
    """What a page shows, read again and again: a comparison waits until it holds.

    `assert soon(locator.inner_text) == "Bag 91%"` passes as soon as the page says so. Whatever is
    raised while reading counts as "not yet"; when time is up, it is raised again.
    """

    __hash__ = __iter__ = None

    def __init__(self, read):
        self.read, self.last = read, None

    @property
    def now(self):
        """What stands there at this moment: to be compared with what is read later."""
        return self.read()

    def becomes(self, check) -> bool:
        """Wait until `check` holds of what is read; False if it never does."""
        end = time.monotonic() + PATIENCE
        while True:
            try:
                self.last = self.read()
                if check(self.last):
                    return True
                error = None
            except Exception as raised:
                error = raised
            if time.monotonic() > end:
                if error:
                    raise error
                return False
            time.sleep(0.02)  # the page goes on meanwhile

    def __getitem__(self, key):
        return Soon(lambda: self.read()[key])

    def meets(self, check):
        """Wait until a function that asserts something of what is read has nothing against it."""
        return self.becomes(lambda found: check(found) is None)

    def lacks(self, part):
        return self.becomes(lambda found: part not in found)

    def startswith(self, part):
        return self.becomes(lambda found: found.startswith(part))

    def endswith(self, part):
        return self.becomes(lambda found: found.endswith(part))

    def search(self, pattern):
        """Wait for a text that holds the pattern, and return the match."""
        if not self.becomes(lambda found: re.search(pattern, found)):
            raise AssertionError(f"nothing like {pattern!r} in {self.last!r}")
        return re.search(pattern, self.last)

    def __contains__(self, part):
        return self.becomes(lambda found: part in found)

    def __eq__(self, other):
        return self.becomes(lambda found: found == fixed(other))

    def __ne__(self, other):
        return self.becomes(lambda found: found != fixed(other))

    def __lt__(self, other):
        return self.becomes(lambda found: found < other)

    def __le__(self, other):
        return self.becomes(lambda found: found <= other)

    def __gt__(self, other):
        return self.becomes(lambda found: found > other)

    def __ge__(self, other):
        return self.becomes(lambda found: found >= other)

    def __bool__(self):
        return self.becomes(bool)

    def __repr__(self):
        return f"<last read: {self.last!r}>"


def fixed(value):
    """Refuse to compare two things that both may change."""
    if isinstance(value, Soon):
        raise TypeError("compare what a page shows with what it showed: take .now of one of them")
    return value


def soon(read, *args, **kwargs) -> Soon:
    """Read from a page as soon as, and as often as, a comparison asks: `soon(locator.count)`."""
    return Soon(lambda: read(*args, **kwargs))


def reading(read):
    """Let a test's own function that reads from a page wait in comparisons, as `soon` does."""
    return functools.wraps(read)(lambda *args, **kwargs: soon(read, *args, **kwargs))


# Every figure within reach of the eye is there, waits to be asked, or a line says why not; host.js
# draws 400 px ahead.
ALIVE = """() => [...document.querySelectorAll(".vt-live[data-figure]")].every((live) => {
    const { top, bottom } = live.getBoundingClientRect();
    const isNear = bottom >= -400 && top <= innerHeight + 400;
    return !isNear || live.querySelector(".vt-card, .vt-note, .vt-request");
})"""


class Pages:
    """A browser's pages, which one test after another gets.

    A new page takes three times as long as the figure in it. What a document holds ends with it;
    what would outlive it is set anew here.
    """

    def __init__(self, browser):
        self.browser, self.free, self.taken = browser, defaultdict(list), []

    def take(
        self, *, width=1280, theme="light", reduced_motion="no-preference", before="", **options
    ):
        """Return an empty page; `noise` and `asked` are what it has said and asked for since.

        before: a script that runs before the page's own.
        options: what a page has from its beginning (`has_touch`, `java_script_enabled`).
        """
        free = self.free[before, *sorted(options.items())]
        page = free.pop() if free else self.new(before, options)
        self.taken.append((page, free))
        page.set_viewport_size({"width": width, "height": 700})
        page.emulate_media(color_scheme=theme, reduced_motion=reduced_motion)
        page.mouse.move(0, 0)
        page.noise, page.asked = [], []
        return page

    def new(self, before, options):
        page = self.browser.new_page(**options)
        page.add_init_script(before)
        page.on("console", lambda line: page.noise.append(line.text))
        page.on("pageerror", lambda error: page.noise.append(str(error)))
        page.on("request", lambda request: page.asked.append(request.url))
        return page

    def give_back(self, again=True):
        """End the documents of all pages that are taken; close the pages unless `again`."""
        for page, free in self.taken:
            if again:
                page.goto("about:blank")
                free.append(page)
            else:
                page.close()
        self.taken = []


@functools.cache
def code():
    """Join every figure's code and style: file name -> text."""
    parts = {f"figures.{name}.js": text for name, text in part_scripts().items()}
    return {"figures.js": page_script(), "figures.css": style_sheet(), **parts}


class Book:
    """A page as the book has it, with figures of our choice, opened by double-click."""

    def __init__(self, pages, folder):
        self.pages, self.folder = pages, folder
        for name, text in code().items():
            (folder / name).write_text(text, "utf8")

    def open(self, *figures, theme="light", width=1000, apart=0, **options):
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
        page = self.pages.take(theme=theme, width=width, **options)
        page.goto((self.folder / "page.html").as_uri())
        if options.get("java_script_enabled", True):
            page.wait_for_function(ALIVE)
        return page


def cards(page, count):
    """Wait for so many figures in a page, each by its number however the page changes."""
    all_ = page.locator(".vt-card")
    expect(all_).to_have_count(count)
    return [all_.nth(index) for index in range(count)]


@reading
def said(card):
    return card.locator(".vt-outcome").inner_text()


def presses(page, name="e.ariaLabel ?? e.id"):
    """Make `press("Tab", "Space")`, which presses keys and returns the name of what has the focus.

    name: what that element, e, is called, in JavaScript.
    """

    def press(*keys):
        for key in keys:
            page.keyboard.press(key)
        return soon(page.evaluate, f"((e) => {name})(document.activeElement)")

    return press


def open_numbers(card):
    """Unfold the table, if it is not, and wait until it is drawn; pointer and focus stay."""
    if card.locator("details").get_attribute("open") is None:
        card.locator("summary").evaluate("(summary) => summary.click()")
    expect(card.locator("tbody tr").first).to_be_visible()


def link_from(page, card) -> str:
    """Press "Copy link" where there is no clipboard, and return the address that is shown."""
    page.evaluate("void (navigator.clipboard.writeText = () => Promise.reject())")
    field = card.get_by_label("The link")
    field.evaluate("(field) => { field.hidden = true; field.value = ''; }")
    card.get_by_role("button", name="Copy link").press("Enter")  # the pointer stays where it is
    field.wait_for()
    return field.input_value()


def follow(page, address):
    """Open an address as somebody who was sent it, also where its fragment alone is new."""
    page.goto("about:blank")
    page.goto(address)
    page.wait_for_function(ALIVE)


def wait_for_turns(page, turns=5):
    """Let the page's event loop go round: whatever was due by now has had its turn."""
    page.evaluate(
        "async (turns) => { while (turns--) await new Promise((done) => setTimeout(done)); }", turns
    )


def wait_for_colours(page):
    """Wait until no change of colour is on its way, the theme's own included."""
    page.wait_for_function("document.getAnimations().every((each) => each.playState !== 'running')")


# Do not load style sheets anew, nor tell of the thousands of elements that are as they should be.
AXE = {"preload": False, "resultTypes": ["violations"]}


def assert_axe_finds_nothing(page):
    wait_for_colours(page)
    report = Axe().run(page, options=AXE).generate_report()
    assert report.startswith("Found 0 accessibility violations"), report


def assert_nobody_is_left_out(page, also=""):
    """Nothing for axe, nothing beyond the page's width, and all that is pointed at is 24 pixels.

    also: a selector of what is pointed at besides buttons, selects and grid cells.
    """
    assert_axe_finds_nothing(page)
    width = soon(page.evaluate, "document.documentElement.scrollWidth")
    assert width <= page.viewport_size["width"]
    hidden = page.locator(".text_html").evaluate_all(  # which scroll, so the page is not wider
        "(all) => all.map((each) => each.scrollWidth - each.clientWidth)"
    )
    assert max(hidden) <= 0
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
    assert soon(page.evaluate, "document.getAnimations().length") == 0


# The module that anywidget loads, with a model that counts who listens, and keeps what is sent to
# the kernel: page.evaluate(NOTEBOOK, [figure._esm, figure.state()]) draws it in the body.
NOTEBOOK = """async ([source, state]) => {
    const address = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
    const module = await import(address);
    const listeners = new Map();
    const all = (name) => listeners.get(name) ?? listeners.set(name, new Set()).get(name);
    let changed = {};
    globalThis.saved = 0;
    globalThis.sent = [];
    globalThis.model = {
        get: (name) => state[name],
        set(name, value) {
            state[name] = changed[name] = value;
            for (const listener of all(`change:${name}`)) listener();
        },
        on: (name, listener) => all(name).add(listener),
        off: (name, listener) => all(name).delete(listener),
        save_changes() {
            saved++;
            sent.push(changed);
            changed = {};
        },
    };
    globalThis.listening = () => [...listeners.values()].reduce((sum, each) => sum + each.size, 0);
    globalThis.stop = await module.default.render({ model, el: document.body });
}"""


def draw_in_notebook(page, figure, before=""):
    """Draw a figure in an empty page, as anywidget does in a notebook; `before`, run a script."""
    page.add_style_tag(content=figure._css)
    page.evaluate(before)
    page.evaluate(NOTEBOOK, [figure._esm, figure.state()])
    return page


# All that a card shows and is read out, line by line; but not what was guessed, nor a link that
# was copied, nor the ids that differ from page to page.
LOOK = """(card) => {
    const lines = [];
    const different = ["id", "for", "name", "tabindex", "aria-labelledby", "style"];
    const visit = (node) => {
        if (node.nodeType === Node.TEXT_NODE) return lines.push(node.data);
        if (node.hidden || node.matches(".vt-guess, .vt-link")) return;
        const attributes = [...node.attributes]
            .filter(({ name }) => !different.includes(name))
            .map(({ name, value }) => `${name}="${value}"`);
        const style = [...(node.style ?? [])].map((name) => node.style.getPropertyValue(name));
        const now = [node.value, node.checked, node.toDataURL?.()];
        lines.push([node.localName, ...attributes.sort(), ...style.sort(), ...now].join(" "));
        node.childNodes.forEach(visit);
    };
    visit(card);
    return lines;
}"""


@reading
def look(card):
    """All that a card shows, its numbers included: equal where a reader finds no difference."""
    if card.locator("summary").is_visible():
        open_numbers(card)
    return card.evaluate(LOOK)


def assert_looks(card, expected):
    """Wait until a card shows this; what is different, if it never does."""
    seen = look(card)
    if not seen.becomes(lambda found: found == expected):
        pairs = zip_longest(seen.last, expected)
        seen, expected = next((a, b) for a, b in pairs if a != b)
        raise AssertionError(f"it shows {seen!r:.300} and not {expected!r:.300}")


@reading
def layout(card):
    """Where everything begins that a reader looks at or is about to press: in a card, (x, y)."""
    return card.evaluate(
        """(card) => [...card.querySelectorAll(
            ".vt-figure-parts > *, .vt-grid, .vt-controls, .vt-controls *, .vt-outcome, details"
        )]
            .filter((each) => each.localName !== "option" && each.checkVisibility())
            .map((each) => [each, each.getBoundingClientRect()])
            .map(([each, { x, y }]) => {
                const name = `${each.localName} ${each.className}`;
                return [name, Math.round(x + scrollX), Math.round(y + scrollY)];
            })"""
    )


# What Tab stops at in a card, in order, each with its accessible name.
STOPS = """(card) => [...card.querySelectorAll(
    "button, select, input, summary, textarea, a[href], canvas[tabindex], [tabindex]"
)]
    .filter((e) => e.tabIndex >= 0 && !e.disabled && e.checkVisibility() && !e.closest("[inert]"))
    .filter((e) => e.type !== "radio" || e.checked) // a group is one stop
    .map((e) => ({
        tag: e.tagName,
        name: (e.ariaLabel || e.labels?.[0]?.textContent || e.textContent || "").trim(),
    }))"""
# Put the focus in front of the card, and something behind it: at the end of a page some browsers
# begin anew.
BEFORE = """(card) => {
    const [before, behind] = [-1, 0].map((tabIndex) =>
        Object.assign(document.createElement("span"), { tabIndex }));
    card.before(before);
    card.after(behind);
    before.focus({ preventScroll: true });
}"""


def assert_tab_reaches_all(page, card):
    """Tab stops at everything in a card once, each with a name, and then leaves it."""
    stops = card.evaluate(STOPS)
    assert all(stop["name"] for stop in stops), stops
    card.evaluate(BEFORE)
    reached = []
    for _ in range(len(stops) + 1):
        page.keyboard.press("Tab")
        reached.append(card.evaluate("(card) => card.contains(document.activeElement)"))
    expected = [True] * len(stops) + [False]
    assert reached == expected, f"{reached} of {[stop['name'] for stop in stops]}"


# What is pressed where Tab stops, by the role or the kind of what is there.
KEYS = {
    "gridcell": ["ArrowRight", "ArrowDown", "ArrowLeft", "ArrowUp", "Space"],
    "select": ["ArrowUp", "ArrowDown"],
    "range": ["ArrowLeft", "ArrowRight"],
    "checkbox": ["Space"],
    "radio": ["ArrowDown"],
    "button": ["Enter"],
}
# What has the focus in a card, a kind of KEYS and a name; null where it is elsewhere.
FOCUSED = """(card) => {
    const { activeElement: e } = document;
    const kind = e.role ?? (e.localName === "input" ? e.type : e.localName);
    return card.contains(e) ? [kind, e.ariaLabel ?? e.textContent] : null;
}"""
MOST_STOPS = 200  # of Tab in a figure
