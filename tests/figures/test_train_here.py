"""The trainer trains: what it shows is what PyTorch finds in the model that it hands over.

One page is opened and asked many things; a run is of a small model, on 100 images.
"""

import gzip
import json
import math
import re
import shlex
from base64 import b64decode, b64encode
from pathlib import Path
from urllib.parse import urlparse

import pytest
import torch
from figure_page import assert_nobody_is_left_out, said, soon
from modules_page import open_modules
from playwright.sync_api import expect

from vit_tutorial import train
from vit_tutorial.data import normalize
from vit_tutorial.recipes import RECIPES
from vit_tutorial.saving import load_model
from vit_tutorial.widgets import TrainHere, training_data
from vit_tutorial.widgets.bundle import page_script, style_sheet
from vit_tutorial.widgets.figures.train_here.recorded import recorded
from vit_tutorial.widgets.figures.train_here.train_here import CHOICES

SMALL = {"images": 100, "steps": 300, "depth": 1, "warm_up": False}
RESULTS = Path(__file__).parents[2] / "benchmarks" / "results" / "guided.json"


def held_out():
    """The images that the page holds out, read in Python."""
    about, content = training_data.packed()
    count, size = about["train"], 28 * 28
    content = torch.frombuffer(bytearray(gzip.decompress(content)), dtype=torch.uint8)
    labels = content[-about["heldOut"] :]
    images = content[count * size : (count + about["heldOut"]) * size]
    return images.view(-1, 1, 28, 28), labels


@torch.no_grad()
def accuracy(vit):
    images, labels = held_out()
    x = normalize(images, vit.facts["mean"], vit.facts["std"])
    return (vit(x).argmax(dim=1) == labels).double().mean().item()


def opened(book, **choices):
    """Open a page with the trainer, and with what the book puts beside its script."""
    (book.folder / "training_data.js").write_text(training_data.script(), "utf8")
    (book.folder / "figures-playground.js").write_text(page_script("playground"), "utf8")
    (book.folder / "figures-playground.css").write_text(style_sheet("playground"), "utf8")
    page = book.open(TrainHere(**SMALL | choices))
    return page, page.locator(".vt-card")


def press(card, name):
    card.get_by_role("button", name=name, exact=True).press("Enter")


def shown(card):
    """The held-out accuracy, as the stage writes it."""
    return soon(card.locator(".vt-train-accuracy").inner_text)


def points(card, look):
    """How many points the two curves of a kind have."""
    lines = card.locator(f".vt-train-plot .{look}").all()
    return sum(len((line.get_attribute("points") or "").split()) for line in lines)


def test_a_run_is_trained_compared_handed_over_and_brought_back(book, tmp_path):
    page, card = opened(book)
    loaded = {address.rsplit("/", 1)[1] for address in page.asked}
    scripts = {name for name in loaded if name.endswith(".js")}
    assert scripts == {"figures.js"}  # no image and no part, until Train is pressed
    press(card, "Save")
    assert said(card) == "There is no model yet: press Train first."

    press(card, "Step")
    assert "Run 1 is paused, 64 images" in said(card)
    press(card, "Train")
    assert "Run 1 is over, 19,200 images" in said(card)
    files = [Path(urlparse(url).path).name for url in page.asked if url.startswith("file:")]
    for name in ("training_data.js", "figures.train_begin.js", "figures.training_worker.js"):
        assert files.count(name) == 1
    assert not any("playground" in name for name in files)
    assert_nobody_is_left_out(page)
    first = shown(card).now
    assert f"held-out accuracy {first}" in said(card)
    expect(card.get_by_text("a recorded run")).to_be_visible()
    assert points(card, "vt-train-held") >= 6  # of two curves: 0, 1 and the last
    expect(card.locator(".vt-train-mistakes li")).to_have_count(6)

    # what is saved is the model whose accuracy is shown
    with page.expect_download() as download:
        press(card, "Save")
    download.value.save_as(tmp_path / "saved.safetensors")
    vit = load_model(tmp_path / "saved.safetensors")
    assert f"{accuracy(vit):.1%}" == first
    assert 0.3 < accuracy(vit) < 0.8
    assert vit.config["depth"] == 1

    # another choice ends the run, which stays as a grey curve
    card.get_by_label("positions", exact=True).select_option("none")
    assert shown(card) == "10.0%"
    expect(card.get_by_text("previous run")).to_be_visible()
    assert soon(points, card, "vt-train-before") >= 6
    expect(card.get_by_text("This model has no positions.")).to_be_visible()
    press(card, "Train")
    expect(card.get_by_role("button", name="Pause", exact=True)).to_be_focused()
    assert "Run 2 is over" in said(card)
    assert shown(card) != first
    press(card, "Restore run 1: default choices")
    assert shown(card) == first
    expect(card.get_by_label("positions", exact=True)).to_have_value("1")

    # the file comes back, and is trained further
    press(card, "Start over")
    assert shown(card) == "10.0%"
    load = card.get_by_label("Load a model: a file in safetensors")
    load.set_input_files(tmp_path / "saved.safetensors")
    assert "is loaded" in said(card)
    assert shown(card) == first
    (tmp_path / "notes.txt").write_text("no model")
    load.set_input_files(tmp_path / "notes.txt")
    assert "“notes.txt” cannot be opened: " in said(card)
    assert shown(card) == first

    # the playground runs it
    press(card, "Use it in the playground")
    frame = page.frame_locator("iframe")
    assert re.search(r"\d% from all 16 patches", frame.locator(".vt-outcome").inner_text())

    press(card, "The same in Python")
    command = card.locator(".vt-train-panel code").inner_text()
    python, m, module, *arguments = shlex.split(command)
    assert (python, m, module) == ("python", "-m", "vit_tutorial.train")
    ((recipe, seed),) = train.planned(train.parse(arguments)).values()
    assert recipe.model.items() <= vit.config.items()
    assert (recipe.train_on, recipe.epochs, recipe.warm_up, seed) == (100, 300, 0, 0)
    assert page.noise == []


def test_what_goes_wrong_is_said_and_a_hidden_tab_rests(book):
    page, card = opened(book, steps=10_000)
    press(card, "Train")
    assert soon(card.locator(".vt-train-pace").inner_text).search(r"step \d")
    hide = """(hidden) => {
        Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
        document.dispatchEvent(new Event("visibilitychange"));
    }"""
    page.evaluate(hide, True)
    expect(card.get_by_text("paused: this tab is hidden")).to_be_visible()
    assert "is paused" in said(card)
    page.evaluate(hide, False)
    expect(card.get_by_role("button", name="Pause", exact=True)).to_be_visible()
    press(card, "Reset")
    expect(card.get_by_role("button", name="Train", exact=True)).to_be_visible()

    # a guess is asked for, and a run that the reader stops ends the experiment
    press(card, "Shuffle the labels")
    card.get_by_role("button", name="it learns nothing").press("Enter")
    assert "Your guess: it learns nothing. Run 1 of 2: true labels." in said(card)
    expect(card.get_by_role("button", name="Stop")).to_be_focused()
    press(card, "Stop")
    expect(card.get_by_role("button", name="Shuffle the labels")).to_be_focused()

    page, card = opened(book)
    page.evaluate("globalThis.Worker = undefined")
    press(card, "Train")
    assert "Run 1 has stopped: this browser allows no Worker on this page." in said(card)
    page, card = opened(book)
    (book.folder / "training_data.js").unlink()
    press(card, "Train")
    assert "the images to train on could not be loaded" in said(card)


def test_a_rate_that_is_far_too_high_ends_the_run_and_the_last_good_model_stays(book, tmp_path):
    """None that is offered breaks the default model, so the page gets a higher one."""
    script = book.folder / "figures.js"
    code = script.read_text("utf8")
    assert code.count("0.05,0.2]") == 1
    script.write_text(code.replace("0.05,0.2]", "0.05,500]"), "utf8")
    page, card = opened(book)
    rate = card.get_by_label("learning rate", exact=True)
    rate.select_option("500")
    card.get_by_role("button", name="Train", exact=True).click()
    words = "^Run 1 has stopped: the loss is no longer a number in step .+: a lower learning rate"
    assert said(card).search(words)
    expect(card.get_by_role("button", name="Train", exact=True)).to_be_visible()
    with page.expect_download() as download:
        card.get_by_role("button", name="Save", exact=True).click()
    download.value.save_as(tmp_path / "saved.safetensors")
    vit = load_model(tmp_path / "saved.safetensors")
    assert all(weight.isfinite().all() for weight in vit.parameters())
    assert shown(card) == f"{accuracy(vit):.1%}"

    rate.select_option("0.005")
    card.get_by_role("button", name="Train", exact=True).click()
    assert "Run 2 is over, 19,200 images" in said(card)
    assert page.noise == []


def heights(card):
    """Where the last point of the recorded curve stands in each plot, in pixels from above."""
    curves = card.locator(".vt-train-plot .vt-train-before").all()
    return [float(each.get_attribute("points").rsplit(",", 1)[1]) for each in curves]


def test_a_recorded_run_is_there_first_and_its_loss_on_a_log_scale(book):
    _, card = opened(book)
    recorded_rows = recorded()["rows"]
    assert soon(points, card, "vt-train-before") == 2 * (1 + len(recorded_rows))
    expect(card.get_by_role("img", name="Loss: nothing is trained yet")).to_be_visible()
    accuracy, loss = heights(card)
    plot = card.get_by_role("img", name="Loss")
    lines = plot.locator("text").all_text_contents()
    assert lines == ["0", "1", "2", "loss"]
    card.get_by_label("loss on a log scale").press("Space")
    assert plot.locator("text").all_text_contents() == ["0.1", "1", "loss"]
    places = [float(each.get_attribute("y1")) for each in plot.locator("line").all()]
    last = recorded_rows[-1][3]
    share = math.log(last / 0.1) / math.log(1 / 0.1)  # of the way from the lower line up
    expected = places[0] + (places[1] - places[0]) * share
    assert heights(card) == [accuracy, pytest.approx(expected, abs=0.1)]
    card.get_by_label("loss on a log scale").press("Space")
    assert heights(card) == [accuracy, loss]


BEGINNING = """async (choices) => {
    const data = await $training_data.trainingData({});
    const { heldOut, ...given } = $train_begin.givenFor(choices, data);
    const trainer = new $trainer.Trainer(given);
    for (let i = 0; i < trainer.stepsAnEpoch; i++) trainer.step();
    const { accuracy } = trainer.evaluate(heldOut.images, heldOut.labels);
    return [trainer.taken, trainer.steps, accuracy];
}"""


def test_the_recorded_run_is_one_with_today_s_defaults(browser, tmp_path):
    page = open_modules(
        browser, tmp_path, ["training_data", "trainer", "train_setup", "train_begin"]
    )
    (tmp_path / "training_data.js").write_text(training_data.script(), "utf8")
    taken, steps, accuracy = page.evaluate(BEGINNING, TrainHere().state())
    run = recorded()
    assert run["choices"].items() <= TrainHere().state().items()
    assert (run["steps"], run["rows"][-1][0]) == (steps, steps)
    assert len(run["rows"]) == RECIPES["page"].epochs
    first = run["rows"][0]
    assert first[0] == taken
    assert accuracy == pytest.approx(first[4], abs=0.03)  # other kernels may round otherwise
    page.close()


ANSWERS = """([about, data]) => {
    const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
    const { on } = model;
    let listener;
    model.on = (event, heard) => (event === "msg:custom" ? (listener = heard) : on(event, heard));
    const inBase64 = (buffer) => {
        const letters = Array.from(new Uint8Array(buffer), (byte) => String.fromCharCode(byte));
        return btoa(letters.join(""));
    };
    globalThis.trained = [];
    model.send = (message, _, buffers) => {
        const answers = message.asks;
        if (answers) listener({ answers, ...about }, [new DataView(bytes.buffer)]);
        else trained.push([message, buffers.map(inBase64)]);
    };
}"""


def test_in_a_notebook_the_weights_come_back_as_a_vit(notebook):
    figure = TrainHere(**SMALL)
    with pytest.raises(ValueError, match="nothing is trained yet"):
        _ = figure.vit
    page = notebook(figure)
    about, content = training_data.packed()
    page.evaluate(ANSWERS, [about, b64encode(content).decode()])
    card = page.locator(".vt-card")
    expect(card.get_by_role("button", name="Use it in the playground")).to_have_count(0)
    press(card, "Train")
    assert "Run 1 is over" in said(card)
    message, buffers = soon(page.evaluate, "trained")[0].now
    state = figure.to_html()
    figure._handle_custom_msg(message, [b64decode(each) for each in buffers])
    assert f"{accuracy(figure.vit):.1%}" == shown(card).now
    assert figure.to_html() == state  # nothing of it is stored in a notebook


BREAKING = """async () => {
    const slice = { taken: 1, loss: 3, accuracy: 0.1, images: 64, seconds: 1, over: true };
    const training = {
        begin: async () => ({ steps: 1, stepsAnEpoch: 1 }),
        slice: async () => slice,
        look: async () => ({ heldOut: { loss: NaN, accuracy: 0.1, wrong: [] } }),
    };
    const [drawn, looked] = [() => {}, () => {}];
    const run = new $train_run.Run({ training, given: {}, drawn, looked });
    await run.go();
    return run.heldOut.map(({ loss }) => loss);
}"""


def test_a_look_at_a_model_that_breaks_leaves_the_curve_of_numbers(browser, tmp_path):
    """Held-out images may show it a step before the training images do."""
    page = open_modules(browser, tmp_path, ["train_run"])
    assert page.evaluate(BREAKING) == [pytest.approx(math.log(10))]
    page.close()


def test_python_offers_what_the_page_offers_and_the_verdicts_follow_the_runs(browser, tmp_path):
    page = open_modules(browser, tmp_path, ["train_choices", "guided"])
    offered = page.evaluate(
        "Object.fromEntries($train_choices.CHOICES.map(({ name, options }) => [name, options]))"
    )
    assert {name: list(CHOICES[name]) for name in CHOICES}.items() <= offered.items()
    assert {*offered} - {*CHOICES} == {"shuffled", "flip", "warm_up"}

    judge = """([name, guess, results]) => {
        const found = $guided.EXPERIMENTS.find((each) => each.name === name);
        return $guided.verdict(found, guess, results);
    }"""
    runs = [{"heldOut": 0.8125, "learned": 0.9}, {"heldOut": 0.2, "learned": 0.9}]
    words = page.evaluate(judge, ["Take the positions away", 2, runs])
    assert words.startswith("Right: 81.3% of the held-out images are right with positions, 20.0%")
    words = page.evaluate(judge, ["Take the positions away", 0, runs])
    assert words.startswith("Not quite: “more than 20 points”. ")
    page.close()


def test_every_experiment_that_is_offered_has_a_verdict_that_holds(browser, tmp_path):
    """In at least nine of ten recorded seeds, as its own rule reads the recorded runs."""
    page = open_modules(browser, tmp_path, ["guided", "train_guide"])
    names = page.evaluate("$guided.EXPERIMENTS.map(({ name }) => name)")
    assert page.evaluate("$train_guide.NAMES") == names
    right = """([name, results]) =>
        $guided.EXPERIMENTS.find((each) => each.name === name).right(...results)"""
    records = json.loads(RESULTS.read_text("utf8"))["records"]
    assert {record["experiment"] for record in records} == {*names}
    for name in names:
        own = [record for record in records if record["experiment"] == name]
        assert len({record["seed"] for record in own}) == len(own) >= 10
        answers = [page.evaluate(right, [name, record["results"]]) for record in own]
        most = max(answers.count(answer) for answer in answers)
        assert most >= 0.9 * len(own), name
    page.close()
