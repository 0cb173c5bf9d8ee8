"""The built pages in a browser: quiet, self-contained, readable, over http and by double-click."""

import functools
import gzip
import http.server
import importlib.util
import re
import threading
from urllib.parse import unquote, urldefrag, urlparse

import PIL.Image
import pytest
import sneaker
import yaml
from axe_playwright_python.sync_playwright import Axe
from bs4 import BeautifulSoup
from figure_page import AXE, assert_tab_reaches_all, said, soon, wait_for_colours
from figure_table import chapters_figures
from notebooks import ROOT
from playwright.sync_api import expect

from vit_tutorial.widgets.bundle import figure_names

HTML = ROOT / "_build" / "html"


def sources():
    """Every page's source, from the table of contents: page name -> file."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf8"))
    names = [toc["root"], *(page["file"] for part in toc["parts"] for page in part["chapters"])]
    return {name: next(ROOT.glob(f"{name}.*")) for name in names}


SOURCES = sources()
PAGES = [f"{name}.html" for name in SOURCES]
ALL_PAGES = [*PAGES, "index.html", "search.html", "genindex.html"]

each_page = pytest.mark.parametrize("name", ALL_PAGES)
# How a page is opened, and then the system's colours and the width, which change before the
# reader's eyes: every pair of the three occurs.
WAYS = {
    "http": [("light", 1280), ("dark", 360)],
    "file": [("light", 360), ("dark", 1280)],
}
each_way = pytest.mark.parametrize(
    ("scheme", "theme", "width"), [(scheme, *way) for scheme in WAYS for way in WAYS[scheme]]
)


@pytest.fixture(scope="session", autouse=True)
def pages_are_built():
    """Fails, and does not skip: pages that nobody has looked at are not checked pages."""
    shared = [ROOT / "_config.yml", ROOT / "_toc.yml", *ROOT.glob("book/_*/*.*")]
    package = [
        *ROOT.glob("vit_tutorial/**/*.py"),  # the API page is made from them
        *ROOT.glob("vit_tutorial/widgets/**/*.*"),
        *ROOT.glob("vit_tutorial/assets/*.safet*"),
    ]
    shared += [path for path in package if path.suffix != ".pyc"]  # Python writes those anew
    for name, source in SOURCES.items():
        page = HTML / f"{name}.html"
        newest = max(path.stat().st_mtime for path in [source, *shared])
        if not page.exists() or page.stat().st_mtime < newest:
            pytest.fail(f"{page.relative_to(ROOT)} is missing or old: run `make book` first")


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        # index.html only leads on, and names no icon: browsers then try this one on their own.
        if self.path == "/favicon.ico":
            self.send_response(204)
            self.end_headers()
        else:
            super().do_GET()

    def log_message(self, *args):
        pass


@pytest.fixture(scope="session")
def addresses():
    """Where the book starts: served on loopback, and as a file."""
    handler = functools.partial(QuietHandler, directory=HTML)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield {"http": f"http://127.0.0.1:{server.server_port}", "file": HTML.as_uri()}
        server.shutdown()


OBSERVE = """async () => {
    const all = (selector) => [...document.querySelectorAll(selector)];
    const prose = document.body.cloneNode(true);
    for (const e of prose.querySelectorAll("pre, code, script")) e.remove();
    return {
        theme: document.documentElement.dataset.theme,
        width: document.documentElement.scrollWidth,
        prose: prose.textContent,
        equations: all(".math").length,
        rendered: all(".math").filter((e) => e.querySelector("math")).length,
        live: all(".vt-live").length,
        alive: all(".vt-live > .vt-mounted > .vt-card").length,
        notes: all(".vt-note").filter((e) => e.checkVisibility()).map((e) => e.textContent),
        silent: all(".vt-outcome").filter((e) => !e.textContent.trim()).length,
        // what a finger or a pointer has to meet, in pixels
        small: all(".vt-card :is(button, select, [role=gridcell], input)")
            .filter((e) => e.checkVisibility())
            .filter((e) => Math.min(e.offsetWidth, e.offsetHeight) < 24)
            .filter((e) => !["checkbox", "radio", "range"].includes(e.type))
            .map((e) => e.outerHTML.slice(0, 200)),
        // text that does not fit its box and cannot be scrolled to
        cut: all(".vt-card *")
            .filter((e) => e.checkVisibility() && e.scrollWidth > e.clientWidth + 1)
            .filter((e) => e.clientWidth && getComputedStyle(e).overflowX === "hidden")
            .map((e) => e.outerHTML.slice(0, 200)),
        mistakes: all("merror").map((e) => e.outerHTML),
        starts: all(".math-box > math").map((e) => e.getBoundingClientRect().x),
        figures: all("article img").map((image) => ({
            loaded: image.complete && image.naturalWidth > 0,
            filter: getComputedStyle(image).filter,
            background: getComputedStyle(image).backgroundColor,
        })),
    };
}"""


# Marks the first text of each look, a look being all that a contrast depends on where nothing lies
# over anything; figures, where something may, are asked whole in their own tests. A listing's later
# words of a look are unwrapped. axe compares the colours of every text there is, thousands in a
# chapter: nine seconds of ten.
FIRST_OF_A_LOOK = """() => {
    const behind = new Map([[null, ""]]);
    const ground = (e) => {
        if (!behind.has(e)) {
            const { backgroundColor, backgroundImage, opacity } = getComputedStyle(e);
            const own = [backgroundColor, backgroundImage, opacity].join();
            behind.set(e, ground(e.parentElement) + own);
        }
        return behind.get(e);
    };
    const firsts = new Map();
    const again = [];
    for (const element of document.body.querySelectorAll("*")) {
        const says = [...element.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
        if (!says || !element.checkVisibility()) continue;
        const { color, fontSize, fontWeight } = getComputedStyle(element);
        const look = [color, fontSize, fontWeight, ground(element)].join();
        if (!firsts.has(look)) firsts.set(look, element);
        else if (element.matches("pre span")) again.push(element);
    }
    const marked = "data-first-of-a-look";
    for (const e of document.querySelectorAll(`[${marked}]`)) e.removeAttribute(marked);
    for (const element of firsts.values()) element.setAttribute(marked, "");
    for (const word of again) word.replaceWith(...word.childNodes);
}"""
CONTRAST = "color-contrast"


def axe_reports(page):
    """Ask axe: about contrast one text of each look, about all else the whole page."""
    page.evaluate(FIRST_OF_A_LOOK)
    whole = {**AXE, "rules": {CONTRAST: {"enabled": False}}}
    looks = {"include": [["[data-first-of-a-look]"]]}
    contrast = {**AXE, "runOnly": [CONTRAST]}
    return [
        Axe().run(page, options=whole).generate_report(),
        Axe().run(page, context=looks, options=contrast).generate_report(),
    ]


# Each listing, output, table and equation, folded ones unfolded, that is wider than its box.
SIDEWAYS = """async () => {
    for (const folded of document.querySelectorAll("details")) folded.open = true;
    const boxes = "pre, table, .cell_output, .output, .pst-scrollable-table-container";
    return [...document.querySelectorAll(`:is(${boxes}, .math-box)`)]
        .filter((e) => e.closest(".bd-article") && e.scrollWidth > e.clientWidth)
        .map((e) => `${e.scrollWidth} > ${e.clientWidth} pixels: ${e.textContent.slice(0, 80)}`);
}"""
# With the contents in a third column, without them, and with room to spare.
SCREENS = (1280, 1024, 1600)


def bring_to_life(page):
    """Scroll to every figure, as a reader does, and look past its question for a guess."""
    for live in page.locator(".vt-live").all():
        live.scroll_into_view_if_needed()
        live.locator(".vt-card, .vt-request").wait_for(timeout=60_000)
        for button in live.locator(".vt-request").all():  # its model is heavy
            button.click()
        card = live.locator(".vt-card")
        card.wait_for(timeout=60_000)
        for button in card.get_by_role("button", name="Show me").all():
            button.click()
        # What is offered is there: the playground looks for its discoveries in a Worker.
        expect(card).not_to_have_attribute("aria-busy", "true", timeout=120_000)
    wait_for_colours(page)


@pytest.fixture(scope="session")
def look(browser, addresses):
    """Open a page once, and tell what was seen: OBSERVE, and `noise`, `axe` and `sideways`."""
    page, noise = browser.new_page(reduced_motion="reduce"), []

    def hear(line):
        if line.type == "error":
            noise.append(line.text)

    def watch(request):
        if not request.url.startswith((*addresses.values(), "about:", "data:", "blob:")):
            noise.append(f"asks for {request.url}")

    def check(response):
        if response.status >= 400:
            noise.append(f"{response.status}: {response.url}")

    page.on("console", hear)
    page.on("pageerror", lambda error: noise.append(str(error)))
    page.on("request", watch)
    page.on("response", check)

    def change(theme, width):
        page.set_viewport_size({"width": width, "height": 800})
        page.emulate_media(color_scheme=theme)

    @functools.cache
    def looks(name, scheme):
        page.goto("about:blank")
        noise.clear()
        change(*WAYS[scheme][0])
        page.goto(f"{addresses[scheme]}/{name}")
        if name == "index.html":
            page.wait_for_url(f"**/{PAGES[0]}")  # it leads to the first page
        seen = {}
        for way in WAYS[scheme]:
            change(*way)
            expect(page.locator("html")).to_have_attribute("data-theme", way[0])
            bring_to_life(page)
            seen[way] = page.evaluate(OBSERVE)
            if scheme == "http":
                seen[way]["axe"] = axe_reports(page)
            seen[way]["noise"] = [*noise]
        if scheme == "file":
            sideways = seen[way]["sideways"] = {}
            for width in SCREENS:
                change(way[0], width)
                sideways[width] = page.evaluate(SIDEWAYS)
        return seen

    yield lambda name, scheme, theme, width: looks(name, scheme)[theme, width]
    page.close()


@each_page
@each_way
class TestPage:
    def test_it_is_quiet_and_asks_no_other_host(self, look, name, scheme, theme, width):
        assert look(name, scheme, theme, width)["noise"] == []

    def test_it_has_the_reader_s_colours(self, look, name, scheme, theme, width):
        seen = look(name, scheme, theme, width)
        assert seen["theme"] == theme
        for figure in seen["figures"]:  # the theme would dim them and put them on a white card
            assert figure["filter"] == "none"
            assert figure["background"] == "rgba(0, 0, 0, 0)"

    def test_every_equation_is_rendered(self, look, name, scheme, theme, width):
        seen = look(name, scheme, theme, width)
        assert seen["rendered"] == seen["equations"]
        assert seen["mistakes"] == []
        assert not any(raw in seen["prose"] for raw in ["\\(", "\\[", "$$", "$\\"])

    def test_every_figure_is_loaded(self, look, name, scheme, theme, width):
        assert all(figure["loaded"] for figure in look(name, scheme, theme, width)["figures"])

    def test_every_interactive_figure_is_alive_and_has_something_to_say(
        self, look, name, scheme, theme, width
    ):
        seen = look(name, scheme, theme, width)
        assert seen["alive"] == seen["live"]
        assert seen["notes"] == []
        assert seen["silent"] == 0
        assert seen["small"] == []
        assert seen["cut"] == []

    def test_it_fits_the_width(self, look, name, scheme, theme, width):
        seen = look(name, scheme, theme, width)
        assert seen["width"] <= width
        # An equation that is too wide scrolls, and is seen from its beginning.
        assert all(x >= 0 for x in seen["starts"])


@pytest.mark.parametrize("name", PAGES)
def test_nothing_to_read_scrolls_sideways_on_a_screen(look, name):
    assert look(name, "file", "dark", 1280)["sideways"] == {width: [] for width in SCREENS}


@each_page
@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 360)])
def test_axe_finds_nothing(look, name, theme, width):
    for report in look(name, "http", theme, width)["axe"]:
        assert report.startswith("Found 0 accessibility violations"), report


@pytest.mark.parametrize("scheme", ["http", "file"])
def test_a_search_finds_pages_and_shows_the_words_around_a_match(browser, addresses, scheme):
    page, noise = browser.new_page(), []
    page.on("console", lambda line: line.type == "error" and noise.append(line.text))
    page.on("pageerror", lambda error: noise.append(str(error)))
    page.goto(f"{addresses[scheme]}/{PAGES[0]}")
    page.get_by_role("button", name="Search").first.click()
    field = page.get_by_role("searchbox").filter(visible=True).first
    field.fill("temperature")
    field.press("Enter")
    expect(page.locator(".search-summary")).to_contain_text("Search finished, found")
    results = page.locator("#search-results ul.search > li")
    assert soon(results.count) > 3
    expect(results.filter(has_text="change_temperature (Python function, in API)")).to_have_count(1)
    excerpts = results.locator("p.context")  # a name of the API has none
    expect(excerpts).to_have_count(results.filter(has_not_text="(Python ").count())
    found = ["temperature" in words.lower() for words in excerpts.all_inner_texts()]
    assert sum(found) > len(found) / 2  # the others have it in another form
    results.locator("a").first.click()
    page.wait_for_url("**/book/**")
    assert noise == []
    page.close()


@each_page
def test_no_button_of_the_theme_lies_on_the_figures(name):
    assert not read(name).select("#pst-back-to-top")


@pytest.mark.parametrize("scheme", ["http", "file"])
def test_a_link_to_a_figure_is_followed_in_the_page_itself(browser, addresses, scheme):
    page, noise = browser.new_page(viewport={"width": 1280, "height": 800}), []
    page.on("console", lambda line: line.type == "error" and noise.append(line.text))
    page.on("pageerror", lambda error: noise.append(str(error)))
    page.goto(
        f"{addresses[scheme]}/book/12_playground.html"
        '#vt=1&figure=playground&number=0&state={"dropped":[0,1,2]}'
    )
    card = page.locator(".vt-card").first
    assert "3 of 49 patches removed" in said(card)
    card.get_by_role("gridcell", name="patch 40, row").click()
    page.wait_for_url("**/*#vt=2&figure=playground&dropped=0-2.39")
    page.reload()
    assert "4 of 49 patches removed" in said(card)
    assert noise == []
    page.close()


# Sharing


def test_embedded_a_page_is_its_figure_alone(browser, addresses):
    page = browser.new_page(viewport={"width": 1280, "height": 720})
    book = f"{addresses['file']}/book/12_playground.html"
    page.goto(f"{book}?embed#vt=2&figure=playground&dropped=0-6")
    card = page.locator(".vt-card")
    assert "7 of 49 patches removed" in said(card)
    expect(card).not_to_have_attribute("aria-busy", "true", timeout=120_000)
    box = card.bounding_box()
    assert box["y"] >= 0
    assert box["y"] + box["height"] <= 720
    for part in (".bd-header-article", ".bd-sidebar-primary", "h1", ".bd-footer", ".cell_input"):
        assert not page.locator(part).first.is_visible(), part
    home = card.get_by_role("link", name="The Vision Transformer, line by line")
    assert (home.get_attribute("href"), home.get_attribute("target")) == (book, "_blank")

    page.set_viewport_size({"width": 800, "height": 600})
    assert soon(page.evaluate, "document.documentElement.scrollWidth") <= 800
    home.scroll_into_view_if_needed()
    cell = card.get_by_role("gridcell", name="patch 40, row")
    expect(cell).to_be_in_viewport()  # the image stays in view
    cell.click()
    page.wait_for_url(f"{book}?embed#vt=2&figure=playground&dropped=0-6.39")

    page.goto("about:blank")
    page.goto(f"{book}?embed#vt=3&figure=playground")
    expect(page.get_by_text("it has version 3")).to_be_visible()
    page.close()


def head(name) -> dict:
    """The tags in a page's head: name -> content."""
    tags = read(name).head.find_all("meta", content=True)
    return {tag.get("name") or tag.get("property"): tag["content"] for tag in tags}


def test_a_pasted_link_says_what_the_page_is():
    pages = [name for name in ALL_PAGES if name != "index.html"]  # which leads on to the first
    titles = [read(name).title.text for name in pages]
    assert len({*titles}) == len(titles)
    assert titles[0] == "The Vision Transformer, line by line"  # and not twice
    for name in pages:
        tags = head(name)
        assert 20 <= len(tags["description"]) <= 200
        assert not tags["description"].endswith(":")  # a sentence that leads on to something else
        assert "[" not in tags["description"]  # nor a citation
        assert tags["og:description"] == tags["description"]
        assert tags["og:title"] in read(name).title.text or name == "search.html"
        assert tags["og:type"] == "website"
        assert tags["og:site_name"] == titles[0]
        assert tags["twitter:card"] in ("summary", "summary_large_image")
        shows_image = bool(
            yaml.safe_load((ROOT / "_config.yml").read_text("utf8"))["html"]["baseurl"]
        )
        assert ("og:image" in tags) == ("og:url" in tags) == shows_image
    own = [head(f"{name}.html")["description"] for name in SOURCES if name != "book/references"]
    assert len({*own}) == len(own)
    assert head("book/05_attention.html")["description"].startswith("How does one token gather")


def test_with_a_site_s_address_a_pasted_link_shows_the_book_s_image():
    spec = importlib.util.spec_from_file_location("sharing", ROOT / "book" / "_ext" / "sharing.py")
    sharing = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sharing)
    found = sharing.tags('A "title"', "About", "Book", "https://example.org/vit/", "book/a.html")
    soup = BeautifulSoup(found, "html.parser")
    tags = {tag.get("name") or tag["property"]: tag["content"] for tag in soup.find_all("meta")}
    assert tags["og:title"] == 'A "title"'
    assert tags["og:url"] == "https://example.org/vit/book/a.html"
    assert tags["og:image"] == "https://example.org/vit/_static/sneaker.png"
    assert tags["twitter:card"] == "summary_large_image"
    image = HTML / "_static" / "sneaker.png"
    assert image.stat().st_size < 100_000
    with PIL.Image.open(image) as opened:
        assert opened.size == sharing.SIZE == (1200, 630)
        assert opened.text["Description"] == sneaker.words(list(sneaker.frames())), (
            "the model has changed: run `python .ci/sneaker.py`"
        )


@each_page
def test_every_picture_has_a_description(name):
    for image in read(name).find_all("img"):
        assert image.get("alt", "").strip(), image


@functools.cache
def read(name):
    return BeautifulSoup((HTML / name).read_text(encoding="utf8"), "html.parser")


@functools.cache
def anchors(name):
    return {tag["id"] for tag in read(name).find_all(id=True)}


@each_page
def test_every_link_within_the_book_leads_somewhere(name):
    for tag in read(name).find_all(["a", "link", "script", "img"]):
        address = tag.get("href") or tag.get("src") or ""
        if urlparse(address).scheme or address.startswith("//"):
            continue
        path, anchor = urldefrag(unquote(address))
        target = ((HTML / name).parent / path.split("?")[0]).resolve() if path else HTML / name
        assert target.exists(), address
        is_state = anchor.startswith("vt=")  # a figure's: tests/test_teaching.py opens them
        if anchor and not is_state and target.suffix == ".html":
            assert anchor in anchors(target.relative_to(HTML).as_posix()), address


FIGURES = chapters_figures()


def test_every_chapter_has_its_figure_and_every_figure_its_chapter():
    found = {
        name.removeprefix("book/").removesuffix(".html"): [
            live["data-figure"] for live in read(name).select(".vt-live")
        ]
        for name in PAGES
    }
    assert {name: figures for name, figures in found.items() if figures} == FIGURES
    assert {figure for figures in FIGURES.values() for figure in figures} == set(figure_names())


@pytest.mark.parametrize("name", [f"book/{name}.html" for name in FIGURES])
def test_a_page_s_figures_are_light(name):
    """Their code and style together, and each model that they run: as a server would send it."""
    scripts = [tag["src"] for tag in read(name).select("script[src*='_static/figures-']")]
    sheets = [tag["href"] for tag in read(name).select("link[href*='_static/figures-']")]
    assert (len(scripts), len(sheets)) == (1, 1)
    files = [(HTML / name).parent / address.split("?")[0] for address in scripts + sheets]
    assert sum(len(gzip.compress(path.read_bytes())) for path in files) <= 40_000
    models = {m for live in read(name).select("[data-models]") for m in live["data-models"].split()}
    for model in models:
        script = HTML / "_static" / "models" / f"{model}.js"
        most = {"fashion": 250_000, "colour": 1_000_000}.get(model, 120_000)
        assert len(gzip.compress(script.read_bytes())) <= most, model


@pytest.mark.parametrize("name", [f"book/{name}.html" for name in FIGURES])
def test_without_javascript_a_picture_and_its_words_are_there(browser, addresses, name):
    page = browser.new_page(java_script_enabled=False)
    page.goto(f"{addresses['file']}/{name}")
    for live in page.locator(".vt-live").all():
        assert live.locator("img").is_visible()
        assert len(live.locator("img").get_attribute("alt")) > 40
        assert live.inner_text() == ""
    page.close()


@pytest.mark.parametrize("name", [f"book/{name}.html" for name in FIGURES])
def test_every_figure_is_reached_and_left_by_tab_alone(browser, addresses, name):
    """And all that can be focused in it has a name."""
    page = browser.new_page(viewport={"width": 1280, "height": 800}, reduced_motion="reduce")
    page.goto(f"{addresses['file']}/{name}")
    bring_to_life(page)
    for card in page.locator(".vt-card").all():
        assert_tab_reaches_all(page, card)
    page.close()


@pytest.mark.parametrize(
    ("name", "needs"),
    [
        ("linked_code.css", ".linked-code"),
        ("list_of_figures.css", ".listed-figure"),
        ("on_hover.css", ".on-hover"),
        ("api.css", "dl.py"),
    ],
)
def test_a_style_sheet_is_on_the_pages_that_need_it_and_no_others(name, needs):
    pages = {page: read(page) for page in PAGES}
    having = {page for page, tree in pages.items() if tree.select(f"link[href*='{name}']")}
    assert having == {page for page, tree in pages.items() if tree.select(needs)} != set()


def test_every_arxiv_number_in_the_references_is_a_link():
    """As the works' own entries have them, and as arXiv writes its numbers and addresses."""
    listed = read("book/references.html").select_one("article")
    bibliography = (ROOT / "book" / "references.bib").read_text("utf8")
    numbers = re.findall(r"^\s*eprint\s*=\s*\{(.*)\}", bibliography, re.M)
    links = {link.get_text(): link["href"] for link in listed.select("a[href*='arxiv']")}
    assert links == {
        f"arXiv:{number}": f"https://arxiv.org/abs/{number}"
        for number in numbers
        if number in listed.get_text()
    }
    assert len(links) == listed.get_text().lower().count("arxiv:") > 20
    assert all(re.fullmatch(r"\d\d(0[1-9]|1[0-2])\.\d{4,5}", number) for number in numbers)


def test_the_book_has_equations_figures_and_citations():
    """What the tests above look at is there."""
    pages = [read(name) for name in PAGES]
    for selector in [".math", "article img", ".citation"]:
        assert any(page.select(selector) for page in pages), selector
