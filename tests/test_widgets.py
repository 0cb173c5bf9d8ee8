"""The figures are alive in a page opened by double-click, for every reader, and in a notebook."""

import functools
import gc
import gzip
import http.server
import json
import re
import threading
import xml.etree.ElementTree as ET
from copy import deepcopy
from pathlib import Path

import matplotlib as mpl
import numpy as np
import PIL.Image
import pytest
import torch
import traitlets
from addresses import fragment_for
from bs4 import BeautifulSoup
from conftest import randomise
from figure_page import (
    assert_axe_finds_nothing,
    cards,
    follow,
    open_numbers,
    presses,
    reading,
    said,
    soon,
)
from playwright.sync_api import expect

from vit_tutorial import ViT, record_attention, save_model
from vit_tutorial.data import load_dataset, normalize
from vit_tutorial.widgets import (
    AttentionRow,
    ClassToken,
    EncoderWalk,
    Figure,
    PatchCost,
    PatchCutter,
    Playground,
    WhereItLooks,
    bundle,
    dequantised,
    page_vit,
)
from vit_tutorial.widgets.bundle import (
    figure_names,
    join,
    page_script,
    part_scripts,
    style_sheet,
    widget_script,
)
from vit_tutorial.widgets.pictures import pack_fitting
from vit_tutorial.widgets.quantise import model_script

SIZES = {"image_size": 28, "patch_size": 4, "num_classes": 10, "channels": 1}
SIZES |= {"dim": 16, "depth": 2, "heads": 2, "dim_head": 8, "mlp_dim": 16}


@pytest.fixture(scope="module")
def vit():
    torch.manual_seed(0)
    vit = randomise(ViT(**SIZES), std=0.5)
    vit.facts |= {"mean": (0.286,), "std": (0.353,)}
    return vit


@pytest.fixture(scope="module")
def image():
    return load_dataset("fashion_mnist", "test", subset=10)[0][0]


@pytest.fixture(scope="module")
def row(vit, image):
    """One row of attention by PyTorch, with the page's weights."""
    page = dequantised(vit).double()
    x = normalize(image[None], vit.facts["mean"], vit.facts["std"]).double()
    with torch.no_grad(), record_attention(page) as maps:
        page(x)
    return lambda layer=0, head=0, query=25: maps[layer][0, head, query]


# In Python


def test_the_middle_patch_attends_and_the_strongest_is_the_key(vit, image, row):
    figure = AttentionRow(vit, image, layer=1, head=1)
    assert (figure.layer, figure.head, figure.query) == (1, 1, 25)  # token 0 is the class token
    assert figure.key == row(1, 1).argmax()
    assert figure.temperature == 1


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (
            torch.rand(1, 28, 28),
            r"uint8 of shape \(1 or 3, H, W\), .* got torch.float32 \(1, 28, 28\)",
        ),
        (torch.zeros(28, 28, dtype=torch.uint8), r"got torch.uint8 \(28, 28\)"),
        (torch.zeros(2, 28, 28, dtype=torch.uint8), r"got torch.uint8 \(2, 28, 28\)"),
        ("boot.png", "got 'boot.png'"),
        (torch.zeros(1, 32, 32, dtype=torch.uint8), r"reads images of shape \(b, 1, 28, 28\)"),
    ],
)
def test_what_is_no_picture_for_this_model_is_refused(vit, image, message):
    with pytest.raises(ValueError, match=message):
        AttentionRow(vit, image)


def test_images_of_pil_and_numpy_are_taken_as_they_come(vit, image):
    expected = AttentionRow(vit, image).picture
    pixels = image[0].numpy()
    for given in (pixels, pixels[..., None], image.numpy(), PIL.Image.fromarray(pixels)):
        assert AttentionRow(vit, given).picture == expected
    colours = torch.randint(0, 256, (3, 8, 8), dtype=torch.uint8)
    upright = colours.permute(1, 2, 0).numpy()
    for given in (upright, PIL.Image.fromarray(upright), PIL.Image.fromarray(upright, "RGB")):
        assert PatchCutter(given).picture == PatchCutter(colours).picture
    several = WhereItLooks(vit, image[None].repeat(2, 1, 1, 1)).pictures
    for given in ([pixels, pixels], [PIL.Image.fromarray(pixels)] * 2, np.stack([pixels] * 2)):
        assert WhereItLooks(vit, given).pictures == several


def test_an_image_that_is_none_is_named_in_a_line(vit):
    with pytest.raises(ValueError, match=r"a PIL image; got torch\.float64") as e:
        AttentionRow(vit, np.zeros((28, 28)))
    assert len(str(e.value)) < 200


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_every_figure_takes_a_model_of_any_precision(vit, image, dtype):
    cls, mean = deepcopy(vit).to(dtype), ViT(**SIZES | {"pool": "mean"}).to(dtype)
    assert EncoderWalk(cls, image[None], ["a boot"]).still()
    assert ClassToken(cls, mean, image[None], ["a boot"]).still()
    assert AttentionRow(cls, image).still()
    assert Playground(cls, image[None]).still()


NAMES = ["a&b", "a < b", "]]>", "<!--", "</script>", "nul \0, bell \a", "half \ud800", '"quoted"']


@pytest.mark.parametrize("name", NAMES)
def test_names_that_look_like_markup_are_words_in_the_still(vit, image, name):
    images = image[None]
    other = dequantised(vit)
    other.facts["class_names"] = [name] * 10
    mean = ViT(**SIZES | {"pool": "mean"})
    shown = re.sub("[\0\a\ud800]", "\ufffd", name)
    for figure in [
        EncoderWalk(vit, images, [name]),
        ClassToken(vit, mean, images, [name]),
        Playground(other, images),
        WhereItLooks(vit, images, [name]),
    ]:
        svg, _ = figure.still()
        words = ET.fromstring(svg).itertext()  # what no XML is raises here
        assert figure.script == "where_it_looks" or any(shown in text for text in words)
        soup = BeautifulSoup(figure.to_html().encode("utf8"), "html.parser")
        assert [tag.name for tag in soup.div.find_all(True)] == ["img", "script"]
        assert json.loads(soup.script.text)["picture"] == 0


@pytest.mark.parametrize(
    ("fact", "value", "message"),
    [
        ("class_names", ["top", "bag"], "a name for each of 10 classes, got 2 of them"),
        ("class_names", dict.fromkeys(range(10)), "a name for each of 10 classes, got {0: None"),
        ("class_names", 10, "a name for each of 10 classes, got 10"),
        ("class_names", "0123456789", "a name for each of 10 classes, got '0123456789'"),
        ("mean", (float("nan"),), "no page can read mean = .nan,. of the model's config"),
        ("source", {"a", "set"}, "no page can read source = "),
        ("dim", 8, "no fact can be called dim, as an argument is"),
    ],
)
def test_facts_that_no_page_can_read_are_refused(vit, image, fact, value, message):
    other = dequantised(vit)
    other.facts[fact] = value
    with pytest.raises(ValueError, match=message):
        Playground(other, image[None])


def test_numpy_s_numbers_in_a_config_are_plain_ones_in_the_page():
    sizes = {name: np.int64(SIZES[name]) for name in ("image_size", "patch_size", "num_classes")}
    vit = ViT(**SIZES)
    expected = page_vit(vit)["config"]
    vit.config |= sizes
    assert json.dumps(page_vit(vit)["config"]) == json.dumps(expected)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([float("nan")], "an image's name is a string, got nan"),
        ("a", "names are a list with a name for each image, got 'a'"),
        (7, "names are a list with a name for each image, got 7"),
    ],
)
def test_a_picture_s_name_is_a_string(vit, image, names, message):
    for figure in (WhereItLooks, EncoderWalk):
        with pytest.raises(TypeError, match=message):
            figure(vit, image[None], names)


@pytest.mark.parametrize(
    ("trait", "value", "message"),
    [
        ("pictures", [], "pictures holds at least one image, got none"),
        ("pictures", [{}], "pictures: expected an image as pack_picture packs it, got {}"),
        ("pictures", "the first two", "picture is one of 0 to 1, got 2"),
        ("vit", {}, "vit is a model as page_vit or page_cnn packs it, which this is not"),
        ("vit", "of one layer", "the layer of a head that is off is one of 0 to 0, got 1"),
        ("vit", "of another size", "this vit does not fit the figure"),
        ("heads_off", [[1, 0.0]], "a head that is off is one of 0 to 1, got 0.0"),
        ("heads_off", [[True, float("nan")]], "a head that is off is one of 0 to 1, got nan"),
        ("dropped", [3.0], "a dropped patch is one of 0 to 48, got 3.0"),
    ],
)
def test_a_trait_with_which_nothing_can_be_drawn_is_refused_and_nothing_changes(
    vit, image, trait, value, message
):
    figure = WhereItLooks(vit, image[None].repeat(3, 1, 1, 1), picture=2, heads_off=[(1, 0)])
    before = figure.to_html()
    if trait == "vit" and value:
        change = {"depth": 1} if value == "of one layer" else {"image_size": 32}
        value = page_vit(ViT(**SIZES | change))
    with pytest.raises(ValueError, match=message):
        setattr(figure, trait, figure.pictures[:2] if isinstance(value, str) else value)
    assert figure.to_html() == before


def test_a_picture_that_is_none_is_refused_where_there_is_one(vit, image):
    cost, photo = 112, image.repeat(3, 2, 2)
    for figure in [
        AttentionRow(vit, image),
        PatchCutter(photo),
        PatchCost(photo, image_size=cost, patch_size=16),
    ]:
        before = figure.to_html()
        with pytest.raises(ValueError, match="picture: expected an image as pack_picture packs it"):
            figure.picture = {}
        assert figure.to_html() == before


def test_model_and_pictures_of_another_size_come_together(vit, image):
    figure = WhereItLooks(vit, image[None])
    larger = torch.zeros(1, 1, 32, 32, dtype=torch.uint8)
    with figure.hold_trait_notifications():
        figure.vit = page_vit(ViT(**SIZES | {"image_size": 32}))
        figure.pictures = pack_fitting(figure.vit["config"], larger)
    assert figure.pictures[0]["shape"] == [1, 32, 32]


def test_numbers_of_numpy_and_pytorch_do_for_lists(vit, image):
    figure = WhereItLooks(
        vit, image[None], dropped=np.array([3, 4]), heads_off=torch.tensor([[1, 0]]).tolist()
    )
    assert json.loads(json.dumps(figure.state()["dropped"])) == [3, 4]
    assert Playground(vit, image[None], torch.tensor([9])).pictures[0]["label"] == 9
    with pytest.raises(ValueError, match=r"a label is one of 0 to 9, got 0\.5"):
        Playground(vit, image[None], [0.5])


def test_shown_in_a_notebook_it_is_a_widget_and_the_same_html_every_time(vit, image):
    (first, _), (again, _) = (AttentionRow(vit, image)._repr_mimebundle_() for _ in range(2))
    assert "application/vnd.jupyter.widget-view+json" in first
    assert first["text/html"] == again["text/html"]
    assert first["text/plain"] == again["text/plain"]
    assert "patch 25" in first["text/plain"]


def test_the_html_is_a_picture_its_words_and_data(vit, image, row):
    figure = AttentionRow(vit, image, layer=1, key=8)
    soup = BeautifulSoup(figure.to_html(), "html.parser")
    assert not soup.find_all(id=True)
    (script,) = soup.find_all("script")
    assert script["type"] == "application/json"
    assert json.loads(script.text)["query"] == 25
    assert f"{row(1)[8]:.0%} to patch 8" in soup.img["alt"]
    assert soup.img["src"].startswith("data:image/svg+xml;base64,")


def test_a_bundled_model_goes_by_its_name_and_one_changed_weight_ends_that(
    vit, image, monkeypatch, tmp_path
):
    save_model(vit, tmp_path / "fashion.safetensors")
    monkeypatch.setattr("vit_tutorial.widgets.packing.ASSETS", tmp_path)
    html = AttentionRow(vit, image).to_html()
    assert 'data-models="fashion"' in html
    assert len(html) < 10_000
    other = dequantised(vit)
    with torch.no_grad():
        other.mlp_head[1].weight[0, 0] += 1
    assert page_vit(other)["data"] in AttentionRow(other, image).to_html()


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ('["way"];\n  static inputs = ["vit"]', r"a\.js declares no patch"),
        ('["way", "patch"];\n  static inputs = []', r"a\.js declares no vit"),
        ('["way", "patch", "x"];\n  static inputs = ["vit", "y"]', "Other has no trait x, y"),
    ],
)
def test_a_class_and_its_module_have_the_same_traits(modules, declared, message):
    modules(a=f"class A {{\n  static state = {declared};\n}}\nexport default A;\n")
    traits = {name: traitlets.Int().tag(sync=True) for name in ("patch", "way", "vit")}
    with pytest.raises(TypeError, match=message):
        type("Other", (Figure,), {"script": "a", **traits, "unseen": traitlets.Int()})
    gc.collect()  # a class that failed is no figure


def test_a_module_that_declares_no_traits_is_an_error(modules):
    modules(a="class A {\n  static state = [];\n}\nexport default A;\n")
    with pytest.raises(ValueError, match=r"a\.js declares no static state and inputs"):
        bundle.declared("a")


@pytest.mark.parametrize("name", figure_names())
def test_a_figure_brings_the_look_of_all_that_it_uses(name):
    """A page, or a notebook, has the sheets of its own figures alone."""
    used = set(re.findall(r"vt-[\w-]+", join([name])))
    sheets = "".join(path.read_text("utf8") for path in (bundle.FOLDER / "page").glob("*.css"))
    there, all_ = (set(re.findall(r"\.(vt-[\w-]+)", css)) for css in (style_sheet(name), sheets))
    assert used & all_ <= there


# Joining modules


@pytest.fixture
def modules(monkeypatch, tmp_path):
    monkeypatch.setattr(bundle, "FOLDER", tmp_path)
    return lambda **files: [
        (tmp_path / f"{name}.js").write_text(text) for name, text in files.items()
    ]


def test_each_module_comes_once_and_behind_what_it_imports(modules, pages):
    modules(
        a="""import { two } from "./c.js";
import {
  one,
} from "./b.js";
export default one + two;
""",
        b='import { two } from "./c.js";\nconst hidden = 1;\nexport const one = two - hidden;\n',
        c="""const hidden = 2;
export const two = hidden;
export function f() {}
export class G {}
""",
    )
    script = join(["a", "c"])
    assert re.findall(r"^const \$(\w) =", script, re.M) == ["c", "b", "a"]
    page = pages.take()
    assert page.evaluate(f"{{ {script}; [$a.default, ...Object.keys($c)] }}") == [
        3,
        "two",
        "f",
        "G",
    ]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a": 'import { x } from "./b.js";\n'}, "there is no b.js"),
        (
            {"a": 'import { x } from "./b.js";\n', "b": 'import { x } from "./a.js";\n'},
            "a -> b -> a.js import each other in a circle",
        ),
        ({"a": 'import x from "./b.js";\n'}, "a.js writes 'import x from"),
        ({"a": "const x = 1;\nexport { x };\n"}, "a.js writes 'export { x };'"),
    ],
)
def test_what_cannot_be_joined_is_an_error(modules, files, message):
    modules(**files)
    with pytest.raises(ValueError, match=message):
        join(["a"])


REAL = {name: bundle.modules()[name].read_text("utf8") for name in ("parts", "scripts")}
LATER = {
    "a": """import { two } from "./b.js";
const later = async () => (await import("./c.js")).sum(two);
export default { render() {}, later };
""",
    "b": "export const two = 2;\n",
    "c": 'import { two } from "./b.js";\nimport { four } from "./d.js";\n'
    "export const sum = (n) => n + two + four;\n",
    "d": "export const four = 4;\n",
}


def test_what_a_module_imports_later_is_a_part_of_what_the_page_lacks(modules, pages, tmp_path):
    modules(
        **LATER, **REAL, host='import { part } from "./parts.js";\nexport const start = part;\n'
    )
    script, parts = page_script("a"), part_scripts("a")
    assert [*parts] == ["c"]
    assert re.findall(r"const \$(\w+) =", parts["c"]) == ["d", "c"]
    assert not {"c", "d"} & {*re.findall(r"const \$(\w+) =", script)}

    script = script.replace("$host.start({ a: $a.default })", "$a.default")
    (tmp_path / "page.js").write_text(f"globalThis.a = {script}", "utf8")
    (tmp_path / "page.html").write_text(
        '<!doctype html><meta charset="utf8"><script src="page.js?v=1"></script>', "utf8"
    )
    page = pages.take()
    page.goto((tmp_path / "page.html").as_uri())
    failed = page.evaluate("a.later().catch(({ message }) => message)")
    assert failed == "the part “c” could not be loaded"
    (tmp_path / "page.c.js").write_text(parts["c"], "utf8")
    assert page.evaluate("a.later()") == page.evaluate("a.later()") == 8  # it is tried again
    assert sum("/page.c.js?v=" in address for address in page.asked) == 2

    page.add_script_tag(content=widget_script("a").replace("export default", "globalThis.b ="))
    assert page.evaluate("b.later()") == 8  # a notebook has it from the beginning


class AsModules(http.server.SimpleHTTPRequestHandler):
    """Serves the modules as they stand, and WebAssembly as the module it counts as."""

    extensions_map = http.server.SimpleHTTPRequestHandler.extensions_map | {
        ".wasm": "text/javascript"
    }

    def copyfile(self, source, outputfile):
        outputfile.write(bundle.source_of(Path(source.name)).encode())

    def send_header(self, key, value):
        if key != "Content-Length":  # a text is longer than its bytes
            super().send_header(key, value)

    def log_message(self, *args):
        pass


def test_the_modules_are_modules_as_they_stand(pages):
    """Nothing but the browser joins them here."""
    handler = functools.partial(AsModules, directory=bundle.FOLDER)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page = pages.take()
        page.goto(f"http://127.0.0.1:{server.server_port}/page/figures.css")
        for name in figure_names():
            path = bundle.modules()[name].relative_to(bundle.FOLDER)
            kind = f"import('/{path}').then((module) => typeof module.default.render)"
            assert soon(page.evaluate, kind) == "function"
        server.shutdown()


@pytest.mark.parametrize("name", figure_names())
def test_a_figure_s_code_is_light(name):
    code = page_script(name) + style_sheet(name)
    assert f"start({{ {name}: ${name}.default }})" in code
    assert " // " not in code  # comments stay behind
    assert len(gzip.compress(code.encode())) <= 40_000


# In a page


@reading
def shares(card):
    """The attention map as the cells' names tell it: percent by patch."""
    card.wait_for()
    names = card.get_by_role("grid", name="Key patch").get_by_role("gridcell")
    return [
        float(re.search(r": ([\d.]+)%", name)[1])
        for name in names.evaluate_all("(cells) => cells.map((cell) => cell.ariaLabel)")
    ]


def test_the_page_s_numbers_are_pytorch_s(book, vit, image, row):
    page = book.open(AttentionRow(vit, image, layer=1, head=1, query=0, key=5))
    card = page.locator(".vt-card")
    expected = row(1, 1, 0)
    assert shares(card) == pytest.approx((100 * expected[1:]).tolist(), abs=0.51)
    heard = torch.special.entr(expected).sum().exp()
    assert said(card).startswith("The class token attends ")
    assert " attends to patch 5 with weight " in said(card)
    assert f"It effectively attends to {heard:.1f} of 50 tokens." in said(card)

    open_numbers(card)
    table = card.locator("tbody tr").evaluate_all(
        "(rows) => rows.map((row) => [...row.cells].map((cell) => cell.textContent))"
    )
    assert [line[0] for line in table] == ["the class token", *(f"patch {i}" for i in range(1, 50))]
    numbers = np.array([[as_number(cell) for cell in line[1:]] for line in table])
    score, scaled, heated, exponential, share = numbers.T
    np.testing.assert_allclose(scaled, score / 8**0.5, rtol=0.006, atol=0.01)
    np.testing.assert_allclose(heated, scaled)
    np.testing.assert_allclose(exponential, np.exp(heated), rtol=0.02, atol=1e-4)
    np.testing.assert_allclose(exponential / exponential.sum(), expected, rtol=0.05, atol=2e-3)
    np.testing.assert_allclose(share, 100 * expected, atol=0.51)


def as_number(text):
    text = text.replace("−", "-").rstrip("%")
    if " · 10" in text:
        mantissa, power = text.split(" · 10")
        power = "".join("-" if c == "⁻" else str("⁰¹²³⁴⁵⁶⁷⁸⁹".index(c)) for c in power)
        return float(f"{mantissa}e{power}")
    return float(text)


def test_by_mouse_and_two_figures_do_not_meet(book, vit, image, row):
    page = book.open(AttentionRow(vit, image), AttentionRow(vit, image, layer=1))
    first, second = cards(page, 2)
    before = said(second).now
    first.get_by_role("gridcell", name="patch 9, row 2, column 2").first.click()
    assert said(first).startswith("Patch 9 attends")
    assert shares(first) == pytest.approx((100 * row(0, 0, 9)[1:]).tolist(), abs=0.51)
    first.get_by_role("button", name="class token as key").click()
    assert "to the class token " in said(first)
    first.get_by_label("head", exact=True).select_option("head 2")
    assert shares(first) == pytest.approx((100 * row(0, 1, 9)[1:]).tolist(), abs=0.51)
    assert said(second) == before
    second.get_by_role("button", name="class token as query").click()
    assert shares(second) == pytest.approx((100 * row(1, 0, 0)[1:]).tolist(), abs=0.51)
    first.get_by_role("button", name="Reset").click()
    assert said(first).startswith("Patch 25 attends")
    assert said(second).startswith("The class token attends")
    ids = page.locator("[id]").evaluate_all("(all) => all.map((each) => each.id)")
    assert len(ids) == len(set(ids)) >= 8


def test_a_look_by_hovering_changes_no_choice(book, vit, image):
    page = book.open(AttentionRow(vit, image, key=1))
    card = page.locator(".vt-card")
    opened = card.locator(".vt-opened .vt-label")
    outcome = said(card).now
    card.get_by_role("gridcell", name="patch 8, row 2, column 1").last.hover()
    assert soon(opened.inner_text) == "query: patch 25; key: patch 8"
    card.get_by_role("button", name="Reset").hover()
    assert soon(opened.inner_text) == "query: patch 25; key: patch 1"
    assert said(card) == outcome


def test_by_keyboard_alone(book, vit, image, row):
    page = book.open(AttentionRow(vit, image, key=25))
    card = page.locator(".vt-card")
    card.wait_for()
    press = presses(page)

    assert press("Tab") == "class token as query"
    assert press("Tab") == "patch 25, row 4, column 4"  # one stop, where the choice is
    assert press("ArrowRight", "ArrowUp") == "patch 19, row 3, column 5"
    assert said(card).startswith("Patch 19 attends")
    assert press("Home", "ArrowLeft") == "patch 15, row 3, column 1"
    assert press("Control+End", "ArrowDown", "ArrowRight") == "patch 49, row 7, column 7"
    assert said(card).startswith("Patch 49 attends")
    assert press("Shift+Tab", "Space") == "class token as query"
    assert said(card).startswith("The class token attends")
    press("Tab", "Tab")
    assert press("Tab").startswith("patch 25, row 4, column 4: ")
    assert press("Home").startswith("patch 22, row 4, column 1: ")
    assert "to patch 22 " in said(card)
    press("Tab", "ArrowDown")  # the layer
    assert shares(card) == pytest.approx((100 * row(1, 0, 0)[1:]).tolist(), abs=0.51)
    press("Tab", "ArrowDown")  # the head
    assert shares(card) == pytest.approx((100 * row(1, 1, 0)[1:]).tolist(), abs=0.51)
    press("Tab", "End")  # the temperature
    assert soon(card.get_by_label("temperature").get_attribute, "aria-valuetext") == "4"
    hot = row(1, 1, 0) ** 0.25
    assert shares(card) == pytest.approx((100 * hot / hot.sum())[1:].tolist(), abs=0.51)
    press("Tab", "Tab", "Enter")  # past "Surprise me" to "Reset"
    assert said(card).startswith("Patch 25 attends")
    press("Tab", "Tab", "Enter")  # past "Copy link" to the numbers
    card.locator("tbody tr").nth(49).wait_for()


def test_temperature_decides_how_many_it_attends_to(book, vit, image):
    page = book.open(AttentionRow(vit, image))
    card = page.locator(".vt-card")
    heard = {}
    for temperature in ("-2", "0", "2"):
        card.get_by_label("temperature").fill(temperature)
        if temperature == "0":
            heard[temperature] = float(said(card).search(r"attends to ([\d.]+) of 50 tokens\.")[1])
        else:
            pattern = r"attends to ([\d.]+) of 50 tokens \(([\d.]+) at temperature 1\)"
            found = said(card).search(pattern)
            heard[temperature], before = map(float, found.groups())
    assert 1 <= heard["-2"] < heard["0"] < heard["2"] <= 50
    assert before == heard["0"]


def test_a_surprise_is_the_row_that_attends_to_the_fewest(book, vit, image, row):
    page = book.open(AttentionRow(vit, image))
    card = page.locator(".vt-card")
    card.get_by_role("button", name="Surprise me").click()
    entropies = {
        (layer, head, query): torch.special.entr(row(layer, head, query)).sum()
        for layer in range(2)
        for head in range(2)
        for query in range(50)
    }
    fewest = min(entropies.values()).exp()
    assert f"It effectively attends to {fewest:.1f} of 50 tokens." in said(card)
    first = said(card).now
    card.get_by_role("button", name="Surprise me").click()
    assert said(card) != first


def test_by_touch(book, vit, image):
    page = book.open(AttentionRow(vit, image), width=360, has_touch=True)
    page.get_by_role("gridcell", name="patch 9, row 2, column 2").first.tap()
    assert said(page.locator(".vt-card")).startswith("Patch 9 attends")


# An observer that was made later than the host's is told later: the host has been told by then.
WATCHED = """() => new Promise((done) => {
    const observer = new IntersectionObserver(done);
    for (const live of document.querySelectorAll(".vt-live")) observer.observe(live);
})"""


def test_a_figure_far_below_waits_and_its_model_is_asked_for_once(
    book, vit, image, monkeypatch, tmp_path
):
    (tmp_path / "assets").mkdir()
    save_model(vit, tmp_path / "assets" / "fashion.safetensors")
    monkeypatch.setattr("vit_tutorial.widgets.packing.ASSETS", tmp_path / "assets")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "fashion.js").write_text(model_script("fashion", page_vit(vit)), "utf8")
    page = book.open(AttentionRow(vit, image), AttentionRow(vit, image), apart=3000)
    page.evaluate(WATCHED)
    assert soon(page.locator(".vt-card").count) == 0
    assert not any("models" in address for address in page.asked)
    for count in (1, 2):
        page.locator(".vt-live").nth(count - 1).scroll_into_view_if_needed()
        page.locator(".vt-card").nth(count - 1).wait_for()
        assert soon(page.locator(".vt-card").count) == count
    assert sum("models/fashion.js" in address for address in page.asked) == 1
    assert all(address.startswith(("file:", "data:")) for address in page.asked)
    assert page.noise == []
    expect(page.locator(".vt-live > img").first).to_be_hidden()


def test_a_browser_without_an_observer_shows_all_at_once(book, vit, image):
    figure = AttentionRow(vit, image)
    page = book.open(figure, apart=3000, before="delete globalThis.IntersectionObserver")
    page.locator(".vt-card").wait_for()
    expect(page.locator(".vt-card")).to_be_visible()


def test_many_weights_are_loaded_when_a_reader_asks_for_them(
    book, vit, image, monkeypatch, tmp_path
):
    save_model(vit, tmp_path / "fashion.safetensors")
    monkeypatch.setattr("vit_tutorial.widgets.packing.ASSETS", tmp_path)
    light = AttentionRow(vit, image).to_html()
    assert "data-weight" not in light
    size = len(page_vit(vit)["data"]) * 3 // 4
    monkeypatch.setattr("vit_tutorial.widgets.base.HEAVY", size)
    assert AttentionRow(vit, image).to_html() == light
    monkeypatch.setattr("vit_tutorial.widgets.base.HEAVY", size - 1)
    heavy = AttentionRow(vit, image)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "fashion.js").write_text(model_script("fashion", page_vit(vit)), "utf8")

    page = book.open(heavy)
    button = page.get_by_role("button", name=f"Try it here (loads {size / 1e6:.1f} MB)")
    expect(button).to_be_visible()
    expect(page.locator(".vt-live > img")).to_be_visible()
    assert not any("models" in address for address in page.asked)
    assert_axe_finds_nothing(page)
    button.press("Enter")
    page.locator(".vt-card").wait_for()
    expect(button).to_have_count(0)
    expect(page.locator(".vt-live > img")).to_be_hidden()
    assert sum("models/fashion.js" in address for address in page.asked) == 1

    follow(page, f"{page.url}#{fragment_for(heavy, {'query': 9})}")  # a link asks as well
    page.locator(".vt-card").wait_for()
    assert page.noise == []


NO_CANVAS = "HTMLCanvasElement.prototype.getContext = () => null"
NO_SIMD = "WebAssembly.Module = function () { throw new WebAssembly.CompileError('v128') }"
NO_MEMORY = "WebAssembly.Memory = function () { throw new RangeError('refused') }"


@pytest.mark.parametrize(
    ("before", "damage", "message"),
    [
        (NO_CANVAS, ("", ""), "this browser does not draw on a canvas."),
        (NO_SIMD, ("", ""), "needs WebAssembly with SIMD, which this browser does not run."),
        (NO_MEMORY, ("", ""), "needs 1 MB of memory, which this browser refuses."),
        ("", ('"layer":0', '"layer":'), "This figure stays a still image here: "),
        ("", ("attention_row", "other"), "there is no figure called other."),
        ("", ('"pixels":"', '"pixels":"AAAA'), "this model reads images of 1 x 28 x 28 bytes"),
        (
            "",
            ('"vit":{', '"vit":{"bundled":"gone"},"was":{'),
            "the weights of the model “gone” could not be",
        ),
    ],
)
def test_where_a_figure_cannot_live_a_line_says_so_and_the_picture_stays(
    book, vit, image, before, damage, message
):
    damaged = AttentionRow(vit, image).to_html().replace(*damage)
    page = book.open(damaged, AttentionRow(vit, image), before=before)
    note = page.locator(".vt-live > .vt-note").first
    note.wait_for()
    assert message in soon(note.inner_text)
    live = page.locator(".vt-live").first
    expect(live.locator("img")).to_be_visible()
    assert soon(live.locator(".vt-card").count) == 0
    if not before:
        page.locator(".vt-card").wait_for()  # the other one is none the worse


def test_what_goes_wrong_later_is_said_in_the_figure(book, vit, image):
    page = book.open(AttentionRow(vit, image), before="globalThis.log2 = Math.log2")
    card = page.locator(".vt-card")
    card.wait_for()
    page.evaluate("void (Math.log2 = () => { throw new Error('no logarithms') })")
    card.get_by_role("gridcell", name="patch 9, row 2").first.click()
    assert (
        soon(card.get_by_role("alert").inner_text) == "This figure cannot continue: no logarithms"
    )
    page.evaluate("void (Math.log2 = log2)")
    card.get_by_role("gridcell", name="patch 10, row 2").first.click()
    expect(card.get_by_role("alert")).to_be_hidden()
    assert said(card).startswith("Patch 10 attends")


COUNTED = "globalThis.drawn = 0; const log2 = Math.log2; Math.log2 = (x) => (drawn++, log2(x))"


def test_several_changes_at_once_are_drawn_once(book, vit, image):
    page = book.open(AttentionRow(vit, image), before=COUNTED)
    card = page.locator(".vt-card")
    before = said(card).now
    page.evaluate("void (drawn = 0)")
    card.get_by_role("button", name="Surprise me").click()  # another layer, head, query and key
    assert said(card) != before
    assert page.evaluate("drawn") == 1


def test_below_the_numbers_stands_that_the_weights_are_rounded(book, vit, image):
    card = book.open(AttentionRow(vit, image)).locator(".vt-card")
    open_numbers(card)
    expect(card.get_by_text("rounds the model’s weights to 8 bits")).to_be_visible()
    photo = image.repeat(3, 2, 2)
    card = book.open(PatchCutter(photo)).locator(".vt-card")  # there is no model in it
    open_numbers(card)
    expect(card.get_by_text("8 bits")).to_have_count(0)


def test_keys_in_a_figure_stay_in_it_but_for_shortcuts(book, vit, image):
    """JupyterLab would take an arrow for its own."""
    page = book.open(
        AttentionRow(vit, image),
        before="globalThis.keys = [];addEventListener('keydown', (event) => keys.push(event.key));",
    )
    card = page.locator(".vt-card")
    slider = card.get_by_label("temperature")
    slider.focus()
    for key in ("ArrowRight", "x", "Shift+M", "Control+k"):
        page.keyboard.press(key)
    assert soon(slider.get_attribute, "aria-valuetext") == "1.19"
    assert soon(page.evaluate, "keys") == ["Control", "k"]


def test_text_that_looks_like_code_stays_text(book, vit, image):
    other = dequantised(vit)
    names = ["</script><img src=x onerror=boom()>", "<!--<script>"]
    other.facts["class_names"] = names * 5  # one for each class
    page = book.open(AttentionRow(other, image))
    page.locator(".vt-card").wait_for()
    assert page.noise == []


# In a notebook


def test_the_widget_carries_its_module_and_style():
    assert AttentionRow._esm == widget_script("attention_row")
    assert not re.search(r"^import ", AttentionRow._esm, re.M)
    assert AttentionRow._css == style_sheet("attention_row")


def test_one_changed_weight_shows_in_the_page(book, vit, image):
    def seen(model):
        page = book.open(AttentionRow(model, image, key=3))
        return shares(page.locator(".vt-card")).now

    other = dequantised(vit)
    with torch.no_grad():
        other.pos_embedding[0, 25, 3] += 4
    assert seen(vit) == seen(dequantised(vit)) != seen(other)


# The page's model, and what figures share


MODEL = """() => {
    const model = new $host.Model({ a: 1, b: 2 });
    const heard = [];
    const hear = (name) => (...given) => heard.push([name, model.get("a"), given[1]]);
    const [one, two, any] = [hear("one"), hear("two"), hear("any")];
    model.on("change:a", one);
    model.on("change:a", two);
    model.on("change", any);
    model.set("a", 5);
    model.set("a", 5);
    model.save_changes();
    model.off("change:a", one);
    model.set("a", 6);
    model.off("change:a");
    model.set("a", 7);
    model.off();
    model.set("a", 8);
    return [heard, model.get("a"), model.get("b"), model.get("c")];
}"""


@pytest.fixture(scope="module")
def shared(browser):
    page = browser.new_page()
    page.add_script_tag(
        content=re.sub(
            r"^const \$", "globalThis.$", join(["host", "colours", "digits"]), flags=re.M
        )
    )
    yield page
    page.close()


def test_the_model_behaves_as_anywidget_s(shared):
    heard, a, b, c = shared.evaluate(MODEL)
    assert heard == [
        *[["one", 5, 5], ["two", 5, 5], ["any", 5, 5]],
        *[["two", 6, 6], ["any", 6, 6]],
        ["any", 7, 7],
    ]
    assert (a, b, c) == (8, 2, None)


def test_attention_s_colours_are_cividis(shared):
    values = np.linspace(0, 1, 256)
    ours = shared.evaluate("(values) => values.map($colours.cividis)", values.tolist())
    ours = np.array([[int(number) for number in re.findall(r"\d+", colour)] for colour in ours])
    theirs = 255 * mpl.colormaps["cividis"](values)[:, :3]
    assert np.abs(ours - theirs).max() <= 6.5
    outside = shared.evaluate("[-1, 0, 1, 2].map($colours.cividis)")
    assert outside[0] == outside[1]
    assert outside[2] == outside[3]


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (0.1234, "0.123"),
        (1.234, "1.23"),
        (-12.34, "−12.3"),
        (1234.5, "1235"),
        (0.01234, "0.0123"),
        (1.5e8, "1.5 · 10⁸"),
        (-2e-12, "−2.0 · 10⁻¹²"),
    ],
)
def test_numbers_are_written_as_people_write_them(shared, number, text):
    assert shared.evaluate("$digits.digits", number) == text
