"""Training in a page, as a stage has it: the images, a Worker, slices of a run, what can go wrong.

One page is opened, by double-click as it were, and asked many things.
"""

import gzip
import hashlib
import shlex
from base64 import b64encode
from dataclasses import replace

import pytest
import torch
from modules_page import open_modules

from vit_tutorial import ViT, train
from vit_tutorial.data import ASSETS, DATASETS
from vit_tutorial.idx import idx_pair, read_idx_pair
from vit_tutorial.recipes import RECIPES, Recipe, as_logged, load_pictures
from vit_tutorial.widgets import training_data
from vit_tutorial.widgets.bundle import join

NAMES = ["command", "training", "training_data", "training_defaults", "trainer", "vit"]

BEGIN = """
globalThis.orSaid = async (work) => {
    try { return await work(); } catch (error) { return error.message; }
};
globalThis.sum = async (bytes) =>
    [...new Uint8Array(await crypto.subtle.digest("SHA-256", bytes))]
        .map((byte) => byte.toString(16).padStart(2, "0")).join("");
globalThis.begun = async (changes = {}) => {
    const { trainingData, firstOf } = $training_data;
    const { train, heldOut, facts } = await trainingData({});
    const config = { ...$training_defaults.MODEL, ...facts, dim: 16, depth: 1 };
    const recipe = { ...$training_defaults.RECIPE, epochs: 2, ...changes.recipe };
    const data = { heldOut: firstOf(heldOut, 200), ...firstOf(train, 500) };
    return { config, seed: 3, ...data, ...changes, recipe };
};
globalThis.failures = [];
globalThis.training = new $training.Training({ failed: ({ message }) => failures.push(message) });
"""


@pytest.fixture(scope="module")
def page(browser, tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    page = open_modules(browser, folder, NAMES)
    page.folder = folder
    page.evaluate(BEGIN)
    yield page
    page.close()
    assert page.noise == []


# The images


def in_turns(images, labels):
    """The first of each class, the second of each, and so on, which the page's order is."""
    of_class = torch.stack([images[labels == number] for number in range(10)], dim=1)
    return of_class.flatten(0, 1)


LOADED = """async () => {
    const twice = [1, 2].map(() => $training_data.trainingData({}));
    const [{ train, heldOut, facts }, again] = await Promise.all(twice);
    return {
        train: [train.images.length, await sum(train.images), train.labels],
        heldOut: [heldOut.images.length, await sum(heldOut.images), heldOut.labels],
        facts,
        same: again.train === train,
    };
}"""


def test_the_images_are_those_of_the_training_set_and_come_when_they_are_asked_for(page):
    assert [address.rsplit("/", 1)[1] for address in page.asked] == ["page.html", "figures.js"]
    load = "orSaid(() => $training_data.trainingData({}))"
    assert page.evaluate(load) == "the images to train on could not be loaded"
    assert page.noise == ["Failed to load resource: net::ERR_FILE_NOT_FOUND"]
    page.noise.clear()

    (page.folder / "training_data.js").write_text(training_data.script(), "utf8")
    page.asked.clear()
    found = page.evaluate(LOADED)  # a second time helps
    assert page.asked == [(page.folder / "training_data.js").as_uri()]  # once for all
    assert found["same"]

    recipe = Recipe(subset=10_000, validation=2_000, train_on=6_000)
    train, train_labels, held_out, held_out_labels = load_pictures(recipe)
    for name, images, labels in [
        ("train", train, train_labels),
        ("heldOut", held_out, held_out_labels),
    ]:
        expected = in_turns(images, labels).numpy().tobytes()
        digest = hashlib.sha256(expected).hexdigest()
        assert found[name] == [len(expected), digest, [*range(10)] * (len(labels) // 10)]
    bundled, _ = read_idx_pair(*idx_pair(ASSETS, "fashion-mnist-train10k"), 10_000)
    every = {image.numpy().tobytes() for image in bundled}
    shown, others = ({i.numpy().tobytes() for i in images} for images in (train, held_out))
    assert len(shown) == 6_000
    assert len(others) == 2_000
    assert shown | others <= every
    assert not shown & others
    dataset = DATASETS["fashion_mnist"]
    facts = {"class_names": dataset.class_names, "mean": dataset.mean, "std": dataset.std}
    assert found["facts"] == {"dataset": "fashion_mnist"} | {k: [*v] for k, v in facts.items()}


def test_fewer_images_are_balanced_and_shuffled_labels_are_the_same_ones(page):
    found = page.evaluate("""async () => {
        const { trainingData, firstOf, withShuffledLabels } = $training_data;
        const { train } = await trainingData({});
        const few = firstOf(train, 100);
        const [one, same, other] = [1, 1, 2].map((seed) => withShuffledLabels(few, seed));
        return {
            few: few.labels, size: few.images.length, first: await sum(few.images),
            expected: await sum(train.images.slice(0, few.images.length)),
            one: one.labels, same: same.labels, other: other.labels,
            images: one.images === few.images,
        };
    }""")
    assert found["few"] == [*range(10)] * 10
    assert found["size"] == 100 * 784
    assert found["first"] == found["expected"]
    assert found["images"]
    assert found["one"] == found["same"] != found["other"]
    assert sorted(found["one"]) == sorted(found["few"])
    assert found["one"] != found["few"]


class Asked:
    """A figure in a notebook, as far as messages go."""

    def __init__(self):
        self.sent = []

    def on_msg(self, answer):
        self.answer = answer

    def send(self, content, buffers):
        self.sent.append((content, buffers))


IN_NOTEBOOK = """async ([source, content, data]) => {
    const modules = new Function(`${source}return { $training_data, $dequantise }`)();
    const listeners = [];
    const asked = [];
    const model = {
        on: (event, listener) => listeners.push([event, listener]),
        off: (event, listener) => listeners.splice(
            listeners.findIndex((each) => each[0] === event && each[1] === listener), 1),
        send(question) {
            asked.push(question);
            const bytes = modules.$dequantise.fromBase64(data);
            listeners[0][1]({ something: "else" }, []);
            listeners[0][1](content, [new DataView(bytes.buffer)]);
        },
    };
    const found = await modules.$training_data.trainingData(model);
    const here = await $training_data.trainingData({});
    const same = (part) => found[part].images.every((byte, i) => byte === here[part].images[i]);
    return { asked, left: listeners.length, same: same("train") && same("heldOut"),
        labels: found.heldOut.labels };
}"""


def test_in_a_notebook_the_kernel_sends_the_images(page):
    figure = Asked()
    training_data.send_when_asked(figure)
    figure.answer(figure, {"asks": "something else"}, [])
    assert figure.sent == []
    figure.answer(figure, {"asks": "training data"}, [])
    [(content, [data])] = figure.sent
    assert gzip.decompress(data)  # as the script has them
    given = [join(["training_data"]), content, b64encode(data).decode()]
    found = page.evaluate(IN_NOTEBOOK, given)
    assert found["asked"] == [{"asks": "training data"}]
    assert found["left"] == 0
    assert found["same"]
    assert found["labels"] == [*range(10)] * 200


# A run


RUN = """async () => {
    const given = await begun();
    const begin = await training.begin(given);
    const slices = [];
    for (const most of [{ milliseconds: 0 }, { milliseconds: 1e6, steps: 1 },
                        { milliseconds: 1e6, steps: 5 }])
        slices.push(await training.slice(most));
    const { heldOut, ...model } = await training.look();
    const few = (await training.look(50)).heldOut;
    const last = [await training.slice({ milliseconds: 1e6 }), await training.slice({ steps: 1 })];

    const trainer = new $trainer.Trainer(given);
    const steps = Array.from({ length: 7 }, () => trainer.step());
    const sums = (steps) => ({
        loss: steps.reduce((sum, { loss }) => sum + loss, 0) / steps.length,
        accuracy: steps.reduce((sum, { correct }) => sum + correct, 0) / steps.length / 64,
    });
    const expected = trainer.evaluate(given.heldOut.images, given.heldOut.labels);
    const ours = Object.values(model.weights).map((values) => [...values]);
    const theirs = Object.values(trainer.weights()).map((values) => [...values]);
    const pixels = given.heldOut.images.slice(0, 784);
    return {
        begin, slices, heldOut, few, last, expected,
        sums: [sums(steps.slice(0, 1)), sums(steps.slice(1, 2)), sums(steps.slice(2))],
        same: JSON.stringify(ours) === JSON.stringify(theirs),
        logits: [...new $vit.ViT(model).logits(pixels)],
        theirLogits: [...trainer.predict(pixels)],
    };
}"""


def test_slices_of_a_run_are_the_run(page):
    found = page.evaluate(RUN)
    assert found["begin"] == {"steps": 14, "stepsAnEpoch": 7}
    slices = found["slices"]
    assert [each["taken"] for each in slices] == [1, 2, 7]  # of no milliseconds: one step
    assert [each["images"] for each in slices] == [64, 128, 448]
    assert not any(each["over"] for each in slices)
    seconds = [0, *(each["seconds"] for each in slices)]
    assert seconds == sorted(set(seconds))
    for each, expected in zip(slices, found["sums"], strict=True):
        assert {name: each[name] for name in expected} == pytest.approx(expected)
    assert found["same"]  # the weights are those of as many steps of a Trainer
    assert found["logits"] == pytest.approx(found["theirLogits"], abs=1e-5)
    assert found["heldOut"] == found["expected"] | {"images": 200}
    wrong = [i for i in found["heldOut"]["wrong"] if i < 50]
    assert (found["few"]["images"], found["few"]["wrong"]) == (50, wrong)
    to_the_end, after = found["last"]
    assert (to_the_end["taken"], to_the_end["over"]) == (14, True)
    assert after == to_the_end | {"loss": None, "accuracy": None}


GOES_WRONG = """async () => {
    const tooFar = { lr: 1e30, matrix_lr: 1e30, warm_up: 0 };
    await training.begin(await begun({ recipe: tooFar }));
    const broken = await training.slice({ milliseconds: 1e6 });
    const again = await training.slice({ milliseconds: 1e6 });
    const good = await training.model();
    await training.begin(await begun());
    await training.load(good.weights);
    const loaded = await training.model();
    const one = await training.slice({ steps: 1 });
    const refused = await orSaid(() => training.load({ cls_token: new Float32Array(3) }));
    const other = await training.slice({ steps: 1 });
    const values = (model) => Object.values(model.weights).flatMap((each) => [...each]);
    return {
        broken, again, refused, taken: [one.taken, other.taken],
        finite: values(good).every(Number.isFinite),
        same: String(values(good)) === String(values(loaded)),
        misfit: await orSaid(async () => training.begin(await begun({ recipe: { shift: 30 } }))),
        after: await orSaid(async () => (await training.begin(await begun())).steps),
    };
}"""


def test_what_goes_wrong_is_said_and_the_run_or_the_next_one_goes_on(page):
    found = page.evaluate(GOES_WRONG)
    assert found["broken"]["broken"].startswith("the loss is no longer a number in step 2: a lower")
    assert found["broken"]["over"]
    assert found["broken"]["taken"] == 1
    assert found["broken"]["loss"] == pytest.approx(2.3, abs=0.2)
    assert found["again"]["broken"] == found["broken"]["broken"]
    assert found["finite"]
    assert found["same"]
    refused = "this model's transformer.layers.0.0.fn.to_qkv.weight has 1536 numbers, got none"
    assert found["refused"] == refused
    assert found["taken"] == [1, 2]  # what was refused has not stopped the run
    assert found["misfit"] == "shift is less than 28 pixels, got 30"
    assert found["after"] == 14
    assert page.evaluate("failures") == []


NO_WORKER = """async () => {
    const RealWorker = Worker;
    const failures = [];
    const failed = ({ message }) => failures.push(message);
    globalThis.Worker = class { constructor() { throw new Error(); } };
    const none = await orSaid(() => new $training.Training({ failed }).begin({}));
    globalThis.Worker = class {
        postMessage({ name }) {
            if (name === "begin") this.onmessage({ data: { answer: {} } });
            else this.onerror();
        }
        terminate() {}
    };
    const training = new $training.Training({ failed });
    await training.begin({});
    const asked = training.slice({ steps: 1 }).then(() => "answered");
    const turns = new Promise((done) => setTimeout(() => done("silent")));
    const answered = await Promise.race([asked, turns]);
    globalThis.Worker = RealWorker;
    return { none, failures, answered };
}"""


def test_a_worker_that_is_refused_or_stops_is_told(page):
    assert page.evaluate(NO_WORKER) == {
        "none": "this browser allows no Worker on this page",
        "failures": ["the page’s Worker has stopped"],
        "answered": "silent",
    }


# The same in Python


def test_the_page_begins_with_the_recipe_called_page(page):
    found = page.evaluate("$training_defaults")
    recipe = RECIPES["page"]
    assert found["MODEL"] == ViT(**recipe.model).config
    assert found["RECIPE"].items() <= as_logged(recipe).items()
    assert found["IMAGES"] == recipe.train_on == training_data.TRAIN
    assert recipe.validation == training_data.HELD_OUT


CHOICES = [
    {},
    {"dim": 48, "heads": 3, "mlp_dim": 96, "position": "none", "train_on": 500},
    {"patch_size": 4, "pool": "mean", "flip": False, "shift": 0, "lr": 1e-7, "epochs": 3},
    {"depth": 6, "matrix_lr": None, "warm_up": 0, "position": "learned_2d", "batch_size": 128},
]


LINE = """(choices) => {
    const { MODEL, RECIPE, IMAGES } = $training_defaults;
    const changed = (all) => Object.fromEntries(
        Object.entries(all).map(([name, value]) =>
            [name, name in choices ? choices[name] : value]));
    const config = { ...changed(MODEL), mean: [0.286] };
    const count = choices.train_on ?? IMAGES;
    return $command.commandFor({ config, recipe: changed(RECIPE), seed: 7, count });
}"""


@pytest.mark.parametrize("choices", CHOICES)
def test_a_run_of_the_page_is_a_line_for_python(page, choices):
    line = page.evaluate(LINE, choices)
    assert line.startswith(f"{train.COMMAND} --recipe page --seed 7")
    [(recipe, seed)] = train.planned(train.parse(shlex.split(line)[3:])).values()
    of_model = {
        name: value for name, value in choices.items() if name in ViT(**recipe.model).config
    }
    of_recipe = {name: value for name, value in choices.items() if name not in of_model}
    page_recipe = RECIPES["page"]
    expected = replace(page_recipe, model=page_recipe.model | of_model, **of_recipe)
    assert (recipe, seed) == (expected, 7)
