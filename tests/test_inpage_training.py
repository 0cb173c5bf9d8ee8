"""Training in the page is training in PyTorch: gradients, steps, first weights; and it repeats."""

import math
import re
from base64 import b64decode, b64encode
from copy import deepcopy
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import randomise
from torch import nn
from torch.nn import functional as F
from torch.optim import _muon

from vit_tutorial import ViT
from vit_tutorial.augment import shift
from vit_tutorial.data import normalize
from vit_tutorial.optimizers import build_optimizers, learning_rate, set_learning_rates
from vit_tutorial.patch_dropout import SomePatches, count_kept
from vit_tutorial.recipes import GREY_PICTURES, TINY_VIT, Recipe, as_logged
from vit_tutorial.widgets.bundle import figure_names, in_order, join

MEAN, STD = 0.286, 0.353


@pytest.fixture(scope="module")
def page(browser):
    page = browser.new_page()
    script = join(["trainer", "vit"])
    page.add_script_tag(content=re.sub(r"^const \$", "globalThis.$", script, flags=re.M))
    page.add_script_tag(content=MAKE)
    yield page
    page.close()


def text(numbers, kind=np.float32):
    """Numbers as a page reads them fast: their bytes in base64."""
    return b64encode(np.asarray(numbers, kind).tobytes()).decode()


def arrays(named):
    return {name: torch.tensor(np.frombuffer(b64decode(t), "<f4")) for name, t in named.items()}


def in_page(vit, recipe, images, labels, **more):
    """What a Trainer of the page begins with."""
    channels = vit.config["channels"]
    return {
        "config": vit.config | {"mean": [MEAN] * channels, "std": [STD] * channels},
        "recipe": as_logged(recipe),
        "images": text(images, np.uint8),
        "labels": labels.tolist(),
        "weights": {name: text(p.detach()) for name, p in vit.named_parameters()},
    } | more


MAKE = """
globalThis.make = ({ config, recipe, images, labels, weights, seed }) => {
    images = $dequantise.fromBase64(images);
    const trainer = new $trainer.Trainer({ config, recipe, images, labels, seed });
    const numbers = (text) => new Float32Array($dequantise.fromBase64(text).buffer);
    if (weights) trainer.load(each(weights, numbers));
    return trainer;
};
globalThis.each = (named, change) => Object.fromEntries(
    Object.entries(named).map(([name, values]) => [name, change(values)]));
globalThis.asText = (values) => {
    const bytes = new Uint8Array(values.slice().buffer);
    return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
};
globalThis.batchOf = ({ images, labels, changes }) => {
    const bytes = $dequantise.fromBase64(images);
    const size = bytes.length / labels.length;
    return labels.map((label, i) =>
        ({ pixels: bytes.subarray(i * size, (i + 1) * size), label, ...changes[i] }));
};
"""


def far(ours, theirs):
    """How far a parameter's numbers are from PyTorch's: the difference's norm over theirs."""
    theirs = theirs.detach().double().flatten()
    return ((ours.double() - theirs).norm() / theirs.norm().clamp(min=1e-12)).item()


def drawn(config, count):
    sides = np.broadcast_to(config["image_size"], 2)
    images = torch.randint(0, 256, (count, config["channels"], *sides), dtype=torch.uint8)
    return images, torch.randint(0, config["num_classes"], (count,))


def normalised(images):
    channels = images.shape[1]
    return normalize(images, [MEAN] * channels, [STD] * channels)


# The gradients


SMALL = {"image_size": 12, "patch_size": 4, "channels": 1, "num_classes": 5}
SMALL |= {"dim": 16, "depth": 2, "heads": 2, "dim_head": 8, "mlp_dim": 24, "qkv_bias": True}
CONFIGS = {
    "as it is": {},
    "the tiny model, patch 7": TINY_VIT | {"patch_size": 7},
    "mean of the patches": {"pool": "mean"},
    "no positions": {"position": "none"},
    "rows and columns": {"position": "learned_2d"},
    "rows and columns, no class token": {"position": "learned_2d", "pool": "mean", "depth": 1},
    "sines": {"position": "sincos_2d"},
    "one full head": {"heads": 1, "dim_head": 16},
    "one full head, mean": {"heads": 1, "dim_head": 16, "pool": "mean", "qkv_bias": False},
    "odd sizes": {"dim": 10, "heads": 3, "dim_head": 3, "mlp_dim": 7, "num_classes": 3},
    "one layer, no bias": {"depth": 1, "qkv_bias": False},
    "colour, oblong": {"channels": 3, "image_size": (8, 12), "patch_size": (4, 2), "depth": 3},
}

GRADIENTS = """(given) => {
    const trainer = make(given);
    return given.shown.map((changes) => {
        trainer.load(each(trainer.weights(), (values) => values)); // begins anew
        const found = trainer.learn(batchOf({ ...given, changes }), 0);
        return { ...found, gradients: each(trainer.gradients(), asText) };
    });
}"""


@pytest.mark.parametrize("name", CONFIGS)
def test_every_parameters_gradient_is_pytorchs(page, name):
    vit = randomise(ViT(**SMALL | CONFIGS[name]))
    images, labels = drawn(vit.config, 11)  # a part, and some of the next one
    n = math.prod(vit.grid)
    places = torch.stack([torch.randperm(n) for _ in images])
    moves = [(i % 3 - 1, (i + 1) % 3 - 1) for i in range(len(images))]
    shown = [
        [
            {"kept": kept.tolist(), "flip": i % 2 == 1, "down": down, "right": right}
            for i, (kept, (down, right)) in enumerate(zip(places[:, :count], moves, strict=True))
        ]
        for count in (n, n // 2)
    ]
    # Every rate is 0 at the beginning of a warm-up, so the weights stay.
    recipe = Recipe(label_smoothing=0.1, clip=None, batch_size=4, weight_decay=0.0)
    seen = page.evaluate(GRADIENTS, in_page(vit, recipe, images, labels, shown=shown))

    flipped = torch.stack([image.flip(-1) if i % 2 else image for i, image in enumerate(images)])
    pictures = normalised(shift(flipped, *torch.tensor(moves).T)).double()
    vit = vit.double()  # so that the page's rounding alone is left between the two
    for found, count in zip(seen, (n, n // 2), strict=True):
        logits = SomePatches(vit)(pictures, places[:, :count])
        loss = F.cross_entropy(logits, labels, label_smoothing=0.1)
        theirs = dict(
            zip(
                found["gradients"],
                torch.autograd.grad(loss, [vit.get_parameter(name) for name in found["gradients"]]),
                strict=True,
            )
        )
        assert found["loss"] == pytest.approx(loss.item(), rel=1e-5)
        assert found["correct"] == (logits.argmax(dim=1) == labels).sum()
        assert theirs.keys() == dict(vit.named_parameters()).keys()
        ours = arrays(found["gradients"])
        off = {name: far(ours[name], theirs[name]) for name in theirs}
        assert max(off.values()) < 1e-5, off


# The optimisers


TEN_STEPS = """(given) => {
    const trainer = make(given);
    const batch = batchOf(given);
    for (let i = 0; i < 10; i++) {
        trainer.learn(batch.slice(12 * i, 12 * i + 12), (i + 0.5) / 10);
    }
    return each(trainer.weights(), asText);
}"""


class Exact(torch.Tensor):
    """A gradient that PyTorch's Muon does not round to bfloat16: the page's is in float32."""

    def bfloat16(self):
        return self.as_subclass(torch.Tensor).clone()


def ten_steps(vit, recipe, images, labels):
    optimizers = build_optimizers(vit, recipe)
    for i, batch in enumerate(torch.arange(120).split(12)):
        set_learning_rates(optimizers, recipe, (i + 0.5) / 10)
        logits = vit(normalised(images[batch]))
        F.cross_entropy(logits, labels[batch], label_smoothing=recipe.label_smoothing).backward()
        nn.utils.clip_grad_norm_(vit.parameters(), recipe.clip)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    return dict(vit.named_parameters())


@pytest.mark.parametrize("matrix_lr", [None, 0.01])
def test_ten_steps_lead_where_pytorchs_lead(page, monkeypatch, matrix_lr):
    # A bias of the keys has no gradient, and AdamW makes steps of its rounding: so none has one.
    config = SMALL | {"qkv_bias": False, "mlp_dim": 8, "position": "learned_2d"}
    vit = randomise(ViT(**config))
    images, labels = drawn(config, 120)
    recipe = Recipe(matrix_lr=matrix_lr, warm_up=0.2, clip=0.5, batch_size=12, drop_patches=0.0)
    changes = [{"kept": [*range(math.prod(vit.grid))]}] * 120
    given = in_page(vit, recipe, images, labels, changes=changes)
    ours = arrays(page.evaluate(TEN_STEPS, given))

    before = deepcopy(dict(vit.named_parameters()))
    momentum = _muon._zeropower_via_newtonschulz
    monkeypatch.setattr(
        _muon, "_zeropower_via_newtonschulz", lambda g, *more: momentum(g.as_subclass(Exact), *more)
    )
    theirs = ten_steps(vit, recipe, images, labels)
    assert min(far(before[name].flatten(), theirs[name]) for name in theirs) > 1e-2  # all moved
    off = {name: far(ours[name], theirs[name]) for name in theirs}
    assert max(off.values()) < 1e-4, off


def test_the_rate_rises_and_falls_as_pytorchs(page):
    moments = [(done / 40, warm_up) for done in range(41) for warm_up in (0.0, 0.05, 0.5)]
    ours = page.evaluate(
        "(moments) => moments.map((each) => $optimizers.learningRate(...each))", moments
    )
    assert ours == pytest.approx([learning_rate(*each) for each in moments])


# A run


RUN = """(given) => {
    const runs = [1, 1, 2].map((seed) => {
        const trainer = make({ ...given, weights: null, seed });
        const first = each(trainer.weights(), asText);
        const learn = trainer.learn.bind(trainer);
        const shown = [];
        trainer.learn = (batch, done) => {
            shown.push(batch.map(({ pixels, kept, flip, down, right }) =>
                ({ number: pixels[0], kept, flip, down, right })));
            return learn(batch, done);
        };
        const found = [];
        for (let step = trainer.step(); step; step = trainer.step()) found.push(step);
        return { trainer, first, shown, found, weights: each(trainer.weights(), asText) };
    });
    const [{ trainer }] = runs;
    const images = $dequantise.fromBase64(given.images);
    const vit = new $vit.ViT(trainer.model());
    return {
        runs: runs.map(({ trainer, ...run }) => run),
        steps: trainer.steps,
        evaluation: trainer.evaluate(images, given.labels),
        logits: [...vit.logits(images.subarray(0, images.length / given.labels.length))],
    };
}"""


def test_a_seed_repeats_its_run_and_a_run_shows_what_the_recipe_says(page):
    config = SMALL | {"mlp_dim": 200, "dim": 32, "heads": 4, "image_size": 16}
    vit = ViT(**config)
    images, labels = drawn(config, 50)
    images[:, 0, 0, 0] = torch.arange(50)  # by which we know an image again
    recipe = Recipe(epochs=2, repeats=2, batch_size=12, drop_patches=0.5, shift=2)
    found = page.evaluate(RUN, in_page(vit, recipe, images, labels))

    one, same, other = found["runs"]
    assert one == same
    assert one["weights"].keys() == dict(vit.named_parameters()).keys()
    assert one["weights"] != other["weights"]
    assert one["first"] != other["first"]

    assert found["steps"] == len(one["found"]) == 2 * (2 * 50 // 12)
    batches = one["shown"]
    for i, batch in enumerate(batches):
        count = count_kept(vit, recipe, (i + 0.5) / len(batches))
        assert all(len(set(each["kept"])) == len(each["kept"]) == count for each in batch)
    everything = [*chain.from_iterable(batches)]
    numbers = [each["number"] for each in everything]
    assert sorted(numbers[:50]) == [*range(50)]  # the first pass of an epoch
    assert numbers[:50] != [*range(50)]
    assert numbers[96:146] not in (numbers[:50], sorted(numbers[96:146]))
    assert {each["down"] for each in everything} == {*range(-2, 3)}
    assert {each["right"] for each in everything} == {*range(-2, 3)}
    assert 0.3 < np.mean([each["flip"] for each in everything]) < 0.7

    # What has been trained is a checkpoint, in the page and in PyTorch.
    shapes = {name: p.shape for name, p in vit.named_parameters()}
    trained = {name: t.view(shapes[name]) for name, t in arrays(one["weights"]).items()}
    vit.load_state_dict(trained)
    with torch.no_grad():
        logits = vit(normalised(images))
    torch.testing.assert_close(torch.tensor(found["logits"]), logits[0], rtol=0, atol=1e-4)
    wrong = (logits.argmax(dim=1) != labels).nonzero().flatten().tolist()
    assert found["evaluation"]["wrong"] == wrong
    assert found["evaluation"]["accuracy"] == pytest.approx(1 - len(wrong) / 50)
    loss = F.cross_entropy(logits, labels).item()
    assert found["evaluation"]["loss"] == pytest.approx(loss, rel=1e-5)


def test_the_first_weights_are_drawn_as_pytorchs(page):
    config = GREY_PICTURES | {"patch_size": 7, "dim": 64, "depth": 1, "heads": 4, "dim_head": 24}
    vit = ViT(**config, mlp_dim=200)
    images, labels = drawn(vit.config, 2)
    given = in_page(vit, Recipe(batch_size=2), images, labels, weights=None, seed=5)
    ours = arrays(page.evaluate("(given) => each(make(given).weights(), asText)", given))
    for name, theirs in vit.named_parameters():
        values, theirs = ours[name], theirs.detach().flatten()
        if theirs.std() == 0:
            assert torch.equal(values, theirs), name
            continue
        n = len(theirs)
        assert values.mean().abs() < 5 * theirs.std() / n**0.5, name
        near = 5 / n**0.5  # five standard errors of a standard deviation, and more
        assert values.std().item() == pytest.approx(theirs.std().item(), rel=near), name
        # Uniform or normal, told from each other by the fourth moment: 1.8 or 3.
        kurtosis = [((t / t.std()) ** 4).mean().item() for t in (values, theirs)]
        assert kurtosis[0] == pytest.approx(kurtosis[1], abs=25 / n**0.5), name


TOO_FAR = """(given) => {
    const trainer = make(given);
    const states = [each(trainer.weights(), asText)];
    const said = [];
    for (let i = 0; i < 8 && said.length < 2; i++) {
        try {
            trainer.step();
            states.push(each(trainer.weights(), asText));
        } catch (error) {
            said.push(`${error.name}: ${error.message}`);
        }
    }
    const kept = each(trainer.weights(), asText);
    trainer.load(given.good && each(given.good, (text) =>
        new Float32Array($dequantise.fromBase64(text).buffer)));
    return { states, said, kept, taken: trainer.taken };
}"""


def test_a_loss_that_is_no_number_is_said_and_the_last_good_weights_stay(page):
    vit = randomise(ViT(**SMALL))
    images, labels = drawn(vit.config, 40)
    recipe = Recipe(batch_size=8, lr=1e30, matrix_lr=1e30, warm_up=0.0, weight_decay=0.0)
    given = in_page(vit, recipe, images, labels)
    found = page.evaluate(TOO_FAR, given | {"good": given["weights"]})
    said = "RangeError: the loss is no longer a number in step 2: a lower learning rate"
    assert len(found["said"]) == 2
    assert all(words.startswith(said) for words in found["said"])  # and it stays so
    assert found["kept"] == found["states"][0] != found["states"][1]
    assert found["taken"] == 0  # loading weights begins anew


MISFITS = [
    ({"labels": [0] * 39}, "39 labels need as many images of 144 bytes, got 5760 bytes"),
    ({"labels": [5] + [0] * 39}, "labels are numbers from 0 to 4; got 5"),
    ({"recipe": {"batch_size": 41}}, "a batch has 1 to 40 images, those of an epoch; got 41"),
    ({"recipe": {"shift": 12}}, "shift is less than 12 pixels, got 12"),
    ({"recipe": {"erase": 6}}, "a page erases no squares; use erase 0"),
    ({"recipe": {"drop_patches": 0.95}}, "would show none of the 9 patches at first"),
    ({"config": {"patch_size": 5}}, "patches of 5 pixels do not divide images of 12"),
    ({"config": {"dropout": 0.1}}, "a page trains without dropout; use dropout 0"),
    ({"config": {"position": "spiral"}}, "this page trains positions of the kinds none, learned,"),
    ({"weights": {"cls_token": text([1.0])}}, "cls_token has 16 numbers, got 1"),
    ({"weights": {"cls": text([1.0])}}, "this model has no cls"),
]


def test_what_does_not_fit_is_named(page):
    vit = ViT(**SMALL)
    images, labels = drawn(vit.config, 40)
    given = in_page(vit, Recipe(batch_size=8), images, labels)
    cases = [
        given | {k: given[k] | v if isinstance(v, dict) else v for k, v in changed.items()}
        for changed, _ in MISFITS
    ]
    refused = """(cases) => cases.map((given) => {
        try { make(given); } catch (error) { return `${error.name}: ${error.message}`; }
    })"""
    for said, (_, expected) in zip(page.evaluate(refused, cases), MISFITS, strict=True):
        assert said.startswith("RangeError: ")
        assert expected in said


def test_only_a_page_that_trains_loads_what_training_needs():
    shared = {"kernels", "fused", "memory", "dequantise", "linear", "positions"}
    assert shared < in_order(["vit"]).keys()
    training = in_order(["trainer"]).keys() - shared
    for name in ["vit", "cnn", *figure_names()]:
        loaded = in_order([name]).keys()
        assert "training" in loaded or not training & loaded, name


def test_the_benchmark_times_both_in_turns(page, monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
    import page_training

    (record,) = page_training.race(page, "muon", 2, {(7, 8, 1, 1): 1})
    assert len(record["page"]) == len(record["pytorch"]) == 2
    assert min(record["page"] + record["pytorch"]) > 0
    record |= {"page": [300.0, 100.0], "pytorch": [100.0, 200.0]}
    ratios = page_training.table([record]).splitlines()[1]
    assert ratios.split() == "7/8/1/1 muon 200 150 1.75 (0.50 to 3.00)".split()
