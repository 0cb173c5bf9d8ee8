"""Firefox and WebKit open the book by double-click: figures act, and models compute as PyTorch."""

import functools
import re
from base64 import b64decode

import pytest
import test_inpage_cnn
import test_inpage_vit
import torch
from addresses import fragment, state_in
from browsers import firefox, webkit
from figure_page import BEFORE, FOCUSED, KEYS, MOST_STOPS, soon
from figure_table import ROWS, chapters_figures
from modules_page import write_modules
from test_pages import HTML, pages_are_built  # noqa: F401 - a fixture for all tests here

from vit_tutorial import load_model, load_pretrained
from vit_tutorial.data import load_dataset, normalize
from vit_tutorial.recipes import RECIPES, load_pictures
from vit_tutorial.widgets import Figure, training_data
from vit_tutorial.widgets.bundle import join
from vit_tutorial.widgets.packing import page_model

CLASSES = {cls.script: cls for cls in Figure.__subclasses__()}


@pytest.fixture(scope="session", params=["firefox", "webkit"])
def page(request):
    """One page in each browser: all tests in the one, then all in the other."""
    if request.param == "firefox":
        opened = firefox(request.getfixturevalue("playwright"))
    else:
        opened = webkit()
    with opened as page:
        yield page


# Every figure on the book's pages


# Hides what is around the figures: to lay out a chapter's text and its equations at every key takes
# WebKit longer than all else here.
ALONE = """() => {
    const style = document.createElement("style");
    style.textContent =
        ".bd-article :not(:has(.vt-live), .vt-live, .vt-live *) { display: none !important }";
    document.head.append(style);
}"""
# The figure that is asked, once it is there; its id and the one of "Reset" are for clicks.
ARRIVE = """(number) => {
    for (const id of ["asked", "reset"]) document.getElementById(id)?.removeAttribute("id");
    const live = document.querySelectorAll(".vt-live")[number];
    live.scrollIntoView({ block: "center", behavior: "instant" });
    live.id = "asked";
    live.querySelector(".vt-request")?.click(); // its model is heavy
    const visible = (selector) =>
        [...live.querySelectorAll(selector)].filter((e) => e.checkVisibility());
    const reset = [...live.querySelectorAll("button")].find((e) => e.textContent === "Reset");
    if (reset) reset.id = "reset";
    return {
        cards: visible(".vt-card").length,
        notes: visible(".vt-note").map((e) => e.textContent),
        data: JSON.parse(live.querySelector("script").textContent),
    };
}"""
# Where the focus is, and the link that holds the state: where there is no clipboard, "Copy link"
# shows it. Then focus and words are again what they were.
LOOK = f"""async () => {{
    const card = document.querySelector("#asked .vt-card");
    const link = card.querySelector(".vt-link");
    const outcome = card.querySelector(".vt-outcome");
    const focused = document.activeElement;
    const [focus, said] = [({FOCUSED})(card), outcome.textContent];
    if (navigator.clipboard) navigator.clipboard.writeText = () => Promise.reject();
    [...card.querySelectorAll("button")].find((e) => e.textContent === "Copy link").click();
    await new Promise((done) => setTimeout(done));
    link.hidden = true;
    focused.focus({{ preventScroll: true }});
    if (outcome.textContent.startsWith("Here is the link")) outcome.textContent = said;
    const begun = JSON.parse(document.querySelector("#asked script").textContent);
    return [focus, link.value, begun];
}}"""
WORDS = "() => document.querySelector('#asked .vt-card').innerText"


def look(page):
    """Return what has the focus in the figure, its kind and its name, and the figure's state."""
    focus, link, begun = page.evaluate(LOOK)
    figure = CLASSES[fragment(link)["figure"]]
    return focus, {name: begun[name] for name in figure.STATE} | state_in(link, figure)


@pytest.mark.parametrize("chapter", chapters_figures())
def test_every_figure_acts_by_keyboard_and_pointer_and_shows_what_pytorch_computes(page, chapter):
    page.goto((HTML / "book" / f"{chapter}.html").as_uri())
    page.evaluate(ALONE)
    for number, name in enumerate(chapters_figures()[chapter]):
        arrived = soon(page.evaluate, ARRIVE, number)
        assert arrived["cards"] == 1
        assert arrived["notes"] == []
        row, data = ROWS[name], arrived.now["data"]
        if row.guess:
            page.click("#asked .vt-guess button:last-child")
        _, first = look(page)
        changed = press_all_keys(page, row)
        whole = set() if data.get("small") else set(row.state) - set(row.elsewhere)
        assert changed
        assert whole <= changed
        assert soon(shows_what_pytorch_computes, page, name, data)
        page.click("#reset")
        assert soon(look, page)[1] == first
        assert soon(shows_what_pytorch_computes, page, name, data)


# Used otherwise, or it takes seconds to choose, or the browser asks where to save.
UNPRESSED = ["Reset", "Copy link", "Surprise me", "Save as PNG"]


def press_all_keys(page, row):
    """Press the keys of every stop of Tab, until it leaves the figure; the traits that changed."""
    changed = set()
    page.evaluate(f"() => ({BEFORE})(document.querySelector('#asked .vt-card'))")
    page.keyboard.press("Tab")
    focus, before = look(page)
    for _ in range(MOST_STOPS):
        if focus is None:
            return changed
        kind, label = focus
        if label not in [*UNPRESSED, *row.elsewhere]:
            for key in (KEYS | {"summary": ["Enter"]}).get(kind, []):
                page.keyboard.press(key)
                focus, state = look(page)
                assert focus, f"{key} at {label!r} takes the focus away"
                changed |= {trait for trait in state if state[trait] != before[trait]}
                before = state
        page.keyboard.press("Tab")
        focus, _ = look(page)
    pytest.fail("Tab goes round in circles, for a key takes the focus back")


def shows_what_pytorch_computes(page, name, data):
    """See that a figure says what its still image says, which PyTorch computed for this state."""
    figure = figure_of(name, data | look(page)[1])
    models = [each for each in figure.trait_values(model=True).values() if each]
    classes = {each for model in models for each in model["config"]["class_names"]}
    said, shown = figure.still()[1], page.evaluate(WORDS)
    predictions = re.findall(rf"({'|'.join(map(re.escape, classes))})\W+(\d+)%", said)
    assert predictions or decimals(said) or not models
    lines = re.sub(r"\n(?=[\d.]+%)", " ", shown).splitlines()  # a bar's class and its percentage
    for predicted, percent in predictions if models else []:
        found = [line for line in lines if re.search(rf"(?<![\d.]){percent}%", line)]
        assert any(predicted in line for line in found), f"{said}\n{shown}"
    for number in decimals(said):
        half = 0.5001 * 10 ** -len(number.split(".")[1])  # of its last digit
        near = [other for other in decimals(shown) if abs(float(other) - float(number)) <= half]
        assert near, f"{number} in: {said}\n{shown}"
    return True


def decimals(text):
    return re.findall(r"[+-]?\d+\.\d+", text.replace("−", "-"))


@functools.cache
def packed(name):
    return page_model(load_pretrained(name))


def figure_of(name, data):
    """Make the Python figure that holds what a page's figure holds."""
    bundled = {
        trait: packed(value["bundled"])
        for trait, value in data.items()
        if isinstance(value, dict) and "bundled" in value
    }
    figure = CLASSES[name].__new__(CLASSES[name])
    Figure.__init__(figure, **data | bundled)
    return figure


# The models in a page


@pytest.fixture(scope="module")
def fashion():
    return load_pretrained("fashion")


@pytest.fixture(scope="module")
def images():
    return load_dataset("fashion_mnist", "test", subset=100)[0]


@pytest.fixture(scope="session")
def engine(page, tmp_path_factory):
    """A page opened by double-click that has the models' code, and nothing else."""
    empty = tmp_path_factory.mktemp("engine") / "empty.html"
    empty.write_text("<!doctype html><title>The engine</title>", "utf8")
    page.goto(empty.as_uri())
    modules = join(["vit", "cnn"])
    page.add_script_tag(content=re.sub(r"^const \$", "globalThis.$", modules, flags=re.M))
    return page


@pytest.mark.parametrize("name", test_inpage_vit.CHANGES)
def test_the_vit_says_the_same_as_pytorch_on_100_images(engine, fashion, images, name):
    test_inpage_vit.assert_same_on_100_pictures(engine, fashion, images, name, maps=2)


@pytest.mark.parametrize("name", test_inpage_cnn.BUNDLED)
def test_the_cnns_say_the_same_as_pytorch_on_100_images(engine, name):
    test_inpage_cnn.assert_same_on_100_pictures(engine, name)


WORK = """(source) => new Promise((done, fail) => {
    const address = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
    const worker = new Worker(address);
    worker.onerror = fail;
    worker.onmessage = ({ data }) => {
        worker.terminate();
        done([...data]);
    };
    worker.postMessage(null);
})"""
# What runs in the worker: the kernels, which are WebAssembly with SIMD.
SOFTMAX = """
onmessage = () => {
    const memory = new $memory.Memory([8]);
    const scores = memory.put([1, 2, 3, 4, -1, -2, -3, -4]);
    memory.kernels.softmax(scores, 2, 4, 1);
    postMessage(memory.read(scores, 8));
};"""


def test_a_worker_made_from_a_blob_runs_the_kernels(engine):
    shares = torch.tensor(engine.evaluate(WORK, join(["memory"]) + SOFTMAX)).view(2, 4)
    expected = torch.tensor([[1.0, 2, 3, 4], [-1, -2, -3, -4]]).softmax(dim=1)
    torch.testing.assert_close(shares, expected)


# Training


TRAIN = """async () => {
    const { train, heldOut, facts } = await $training_data.trainingData({});
    const training = new $training.Training({ failed: (error) => { throw error; } });
    const { MODEL, RECIPE } = $training_defaults;
    const config = { ...MODEL, ...facts };
    await training.begin({ config, recipe: RECIPE, seed: 0, heldOut, ...train });
    await training.slice({ milliseconds: 1e6, steps: 60 });
    const { heldOut: found, ...model } = await training.look(200);
    training.end();
    const file = await $trained_model.toFile(model);
    return { found, file: btoa(Array.from(file, (byte) => String.fromCharCode(byte)).join("")) };
}"""


def test_a_model_trains_in_a_worker_and_is_saved_for_python(page, tmp_path):
    (tmp_path / "training_data.js").write_text(training_data.script(), "utf8")
    names = ["training", "training_data", "training_defaults", "trained_model"]
    page.goto(write_modules(tmp_path, names))
    trained = page.evaluate(TRAIN)
    (tmp_path / "model.safetensors").write_bytes(b64decode(trained["file"]))
    vit = load_model(tmp_path / "model.safetensors")
    images, labels = load_pictures(RECIPES["page"])[2:]
    held_out = [(labels == number).nonzero()[:20] for number in range(10)]  # in turns
    images = images[torch.stack(held_out, dim=1).flatten()]
    logits = vit(normalize(images, vit.facts["mean"], vit.facts["std"]))
    wrong = (logits.argmax(dim=1) != torch.arange(10).repeat(20)).nonzero().flatten().tolist()
    assert trained["found"]["wrong"] == wrong
    assert len(wrong) < 150  # of 200, where chance gets 180
