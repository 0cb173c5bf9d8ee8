"""The ViT in the page agrees with PyTorch that holds the same dequantised weights."""

import gzip
import re
from base64 import b64decode, b64encode
from contextlib import ExitStack
from copy import deepcopy

import numpy as np
import pytest
import torch
from conftest import randomise

from vit_tutorial import (
    ViT,
    change_temperature,
    layer_predictions,
    patchify,
    record_attention,
    save_model,
    switch_off_heads,
    unpatchify,
)
from vit_tutorial.cnn import CNN
from vit_tutorial.data import load_dataset, normalize
from vit_tutorial.pretrained import load_pretrained
from vit_tutorial.recipes import FASHION_VIT
from vit_tutorial.widgets.bundle import join
from vit_tutorial.widgets.packing import dequantised, page_vit, unpack
from vit_tutorial.widgets.quantise import model_script, quantise, read_checkpoint

# The maps of 100 pictures are 24 MB, which take a browser half a minute to hand over. So it hands
# over what each of their rows gathers from some values, and the maps of the first pictures.
RUN = """({ payload, pictures, changes, maps, values }) => {
    const vit = new $vit.ViT(payload);
    const text = (numbers) => {
        const bytes = new Uint8Array(numbers.slice().buffer);
        return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
    };
    const gather = (attention, n) => Array.from({ length: attention.length / n }, (_, row) =>
        attention.subarray(n * row, n * (row + 1)).reduce((sum, a, i) => sum + a * values[i], 0));
    return pictures.map((picture, i) => {
        const { logits, predictions, layers, places } =
            vit.forward($dequantise.fromBase64(picture), changes);
        const n = vit.numPrefix + places.length;
        return {
            logits: [...logits],
            predictions: predictions.map((each) => [...each]),
            maps: i < maps ? layers.map(({ attention }) => text(attention)) : [],
            gathered: layers.map(({ attention }) =>
                text(Float32Array.from(gather(attention, n)))),
            places,
        };
    });
}"""
VALUES = torch.randn(50, generator=torch.Generator().manual_seed(2))


@pytest.fixture(scope="module")
def page(browser):
    page = browser.new_page()
    page.add_script_tag(content=re.sub(r"^const \$", "globalThis.$", join(["vit"]), flags=re.M))
    yield page
    page.close()


def run(page, vit, images, changes=None, maps=10):
    """What the page makes of uint8 pictures: logits, predictions by layer, some maps, places."""
    seen = page.evaluate(
        RUN,
        {
            "payload": page_vit(vit),
            "pictures": [as_text(image) for image in images],
            "changes": changes or {},
            "maps": maps,
            "values": VALUES.tolist(),
        },
    )
    n, heads = vit.num_prefix + len(seen[0]["places"]), vit.config["heads"]
    return {
        "logits": torch.tensor([each["logits"] for each in seen]),
        "predictions": torch.tensor([each["predictions"] for each in seen]).transpose(0, 1),
        "maps": by_layer(seen[:maps], "maps", (heads, n, n)),
        "gathered": by_layer(seen, "gathered", (heads, n)),
        "places": seen[0]["places"],
    }


def by_layer(seen, name, shape):
    """What the page says of the layers of each picture: for each layer (pictures, *shape)."""
    numbers = [
        [torch.tensor(np.frombuffer(b64decode(layer), "<f4")).view(shape) for layer in each[name]]
        for each in seen
    ]
    return [torch.stack(layer) for layer in zip(*numbers, strict=True)]


def as_text(image):
    return b64encode(image.numpy().tobytes()).decode()


class SomeTokens(ViT):
    """A ViT that goes on with some of its tokens, so that all that reads a ViT reads this too."""

    def embed(self, images):
        return super().embed(images)[:, self.kept]


@torch.no_grad()
def reference(
    vit, images, *, keep=None, order=None, positions=True, headsOff=None, temperature=1.0
):
    """The same by PyTorch: predictions after every layer, and the maps."""
    vit = deepcopy(dequantised(vit))
    channels = vit.config["channels"]
    mean, std = (
        vit.facts.get(name, [fill] * channels) for name, fill in (("mean", 0.0), ("std", 1.0))
    )
    pictures = normalize(images, mean, std)
    if order is not None:
        patches = patchify(pictures, vit.config["patch_size"])[:, order]
        pictures = unpatchify(patches, vit.grid, vit.config["patch_size"])
    if not positions:
        for name, tensor in [*vit.named_parameters(), *vit.named_buffers()]:
            if name.startswith("pos_"):
                tensor.zero_()
    if keep is not None:
        vit.__class__ = SomeTokens
        vit.kept = [*range(vit.num_prefix), *(vit.num_prefix + place for place in keep)]
    with ExitStack() as changes:
        changes.enter_context(change_temperature(vit, temperature))
        maps = changes.enter_context(record_attention(vit))
        changes.enter_context(switch_off_heads(vit, headsOff or {}))
        return layer_predictions(vit, pictures), maps


def assert_same(seen, expected):
    predictions, maps = expected
    torch.testing.assert_close(seen["logits"], predictions[-1], atol=1e-3, rtol=0)
    assert torch.equal(seen["logits"].argmax(dim=1), predictions[-1].argmax(dim=1))
    torch.testing.assert_close(seen["predictions"], predictions, atol=1e-3, rtol=0)
    assert len(seen["maps"]) == len(maps)
    for ours, theirs in zip(seen["maps"], maps, strict=True):
        torch.testing.assert_close(ours, theirs[: len(ours)], atol=1e-4, rtol=0)
    for ours, theirs in zip(seen["gathered"], maps, strict=True):
        gathered = theirs @ VALUES[: theirs.shape[-1]]
        torch.testing.assert_close(ours, gathered, atol=1e-4, rtol=0)


ORDER = torch.randperm(49, generator=torch.Generator().manual_seed(1)).tolist()
CHANGES = {
    "as it is": {},
    "half of the patches": {"keep": [*range(0, 49, 2)]},
    "one patch": {"keep": [24]},
    "no patch": {"keep": []},
    "another order": {"order": ORDER},
    "no positions": {"positions": False},
    "heads off": {"headsOff": {0: [0, 2], 3: [1], 5: [0, 1, 2, 3]}},
    "cold": {"temperature": 0.25},
    "hot": {"temperature": 4.0},
    "all of it": {
        "keep": [*range(3, 40)],
        "order": ORDER,
        "positions": False,
        "headsOff": {1: [3]},
        "temperature": 1.5,
    },
}


@pytest.fixture(scope="module")
def pictures():
    return load_dataset("fashion_mnist", "test", subset=100)[0]


@pytest.fixture(scope="module")
def fashion():
    return load_pretrained("fashion")


def assert_same_on_100_pictures(page, fashion, pictures, name, maps=10):
    expected = reference(fashion, pictures, **CHANGES[name])
    seen = run(page, fashion, pictures, as_json(CHANGES[name]), maps)
    assert_same(seen, expected)
    assert seen["places"] == CHANGES[name].get("keep", [*range(49)])
    if name == "as it is":  # and what it says is worth comparing
        assert len(seen["logits"].argmax(dim=1).unique()) == 10


@pytest.mark.parametrize("name", CHANGES)
def test_the_book_s_model_says_the_same_on_100_pictures(page, fashion, pictures, name):
    assert_same_on_100_pictures(page, fashion, pictures, name)


def as_json(changes):
    """JSON's keys are text."""
    off = {str(layer): heads for layer, heads in changes.get("headsOff", {}).items()}
    return {**changes, "headsOff": off}


SMALL = {"image_size": 12, "patch_size": 4, "num_classes": 3, "dim": 8, "depth": 2, "heads": 2}
SMALL |= {"dim_head": 4, "mlp_dim": 10, "channels": 1}
KINDS = [
    {"pool": "mean"},
    {"position": "none"},
    {"position": "learned_2d"},
    {"position": "sincos_2d"},
    {"position": "sincos_2d", "pool": "mean", "dim": 4},
    {"qkv_bias": True, "eps": 1e-2},
    {"heads": 1, "dim_head": 8},  # no projection behind the heads
    {"heads": 1, "dim_head": 5},
    {"image_size": (8, 24), "patch_size": (4, 6), "channels": 3},
    {"num_classes": 1, "mlp_dim": 1, "depth": 1},
]


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("changes", [{}, {"keep": [1, 6]}, {"positions": False}], ids=str)
def test_every_kind_of_vit_says_the_same(page, kind, changes):
    vit = randomise(ViT(**SMALL | kind), std=0.5)
    vit.facts |= {
        "mean": (0.4, 0.5, 0.6)[: vit.config["channels"]],
        "std": (0.3,) * vit.config["channels"],
    }
    images = torch.randint(256, (5, vit.config["channels"], *vit.image_size), dtype=torch.uint8)
    expected = reference(vit, images, **changes)
    assert_same(run(page, vit, images, changes), expected)


def test_without_the_data_s_mean_and_spread_pixels_go_from_0_to_1(page):
    vit = randomise(ViT(**SMALL))
    images = torch.randint(256, (2, 1, 12, 12), dtype=torch.uint8)
    with torch.no_grad():
        expected = dequantised(vit)(images / 255)
    torch.testing.assert_close(run(page, vit, images)["logits"], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("pixels", "changes", "message"),
    [
        (143, {}, "reads images of 1 x 12 x 12 bytes, got 143"),
        (144, {"keep": [9]}, "keep holds patches from 0 to 8, each once; got 9"),
        (144, {"keep": [1, 1]}, "keep holds patches from 0 to 8, each once; got 1,1"),
        (144, {"keep": [0.5]}, "keep holds patches from 0 to 8"),
        (144, {"keep": []}, "keep at least one patch"),
        (144, {"order": [0, 1]}, "order must name all 9 patches once"),
        (144, {"temperature": 0}, "a temperature is positive and finite, got 0"),
    ],
)
def test_what_does_not_fit_is_refused(page, pixels, changes, message):
    vit = randomise(ViT(**SMALL, pool="mean"))
    script = """({ payload, pixels, changes }) => {
        try {
            new $vit.ViT(payload).forward(new Uint8Array(pixels), changes);
        } catch (error) {
            return `${error.name}: ${error.message}`;
        }
    }"""
    said = page.evaluate(script, {"payload": page_vit(vit), "pixels": pixels, "changes": changes})
    assert said.startswith("RangeError: ")
    assert message in said


def test_what_a_pass_returned_stays_when_the_next_one_is_computed(page, fashion, pictures):
    """And what a figure asks for besides is what the pass has."""
    script = """({ payload, pictures }) => {
        const vit = new $vit.ViT(payload);
        const [first, second] = pictures.map($dequantise.fromBase64);
        const kept = vit.inside(first);
        const flat = ({ layers, predictions, tokens }) => [
            ...predictions, tokens, ...layers.flatMap((layer) => Object.values(layer)),
        ].map((each) => [...each]);
        const before = JSON.stringify(flat(kept));
        vit.forward(second, { keep: [3, 4] });
        const again = vit.inside(first);
        const streams = [again.tokens, ...again.layers.map(({ out }) => out)];
        const name = "transformer.layers.2.0.norm";
        return {
            stays: JSON.stringify(flat(kept)) === before,
            repeats: JSON.stringify(flat(again)) === before,
            tokens: [...vit.embed(first).tokens].join() === [...again.tokens].join(),
            alone: [...vit.logits(first)],
            classified: streams.map((stream) => [...vit.classify(stream)]),
            predictions: again.predictions.map((each) => [...each]),
            stream: [...streams[2]],
            normed: [...vit.norm(streams[2], name)],
        };
    }"""
    texts = [as_text(image) for image in pictures[:2]]
    seen = page.evaluate(script, {"payload": page_vit(fashion), "pictures": texts})
    assert [seen[each] for each in ("stays", "repeats", "tokens")] == [True, True, True]
    assert seen["classified"] == seen["predictions"]
    assert seen["alone"] == seen["predictions"][-1]
    norm = dequantised(fashion).transformer.layers[2][0].norm
    with torch.no_grad():
        expected = norm(torch.tensor(seen["stream"]).view(50, -1)).flatten()
    torch.testing.assert_close(torch.tensor(seen["normed"]), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("d", [4, 5])
def test_what_a_layer_computes_on_its_way_is_pytorchs(page, d):
    vit = randomise(ViT(**SMALL | {"heads": 3, "dim_head": d}), std=0.5)
    image = torch.randint(256, (1, 1, 12, 12), dtype=torch.uint8)
    script = """({ payload, picture }) => {
        const { layers } = new $vit.ViT(payload).inside($dequantise.fromBase64(picture));
        return layers.map((layer) =>
            Object.fromEntries(Object.entries(layer).map(([name, each]) => [name, [...each]])));
    }"""
    seen = page.evaluate(script, {"payload": page_vit(vit), "picture": as_text(image[0])})
    vit = dequantised(vit)
    with torch.no_grad():
        stream = list(vit.transformer.stream(vit.embed(image / 255)))
        for i, (ours, (attention, _)) in enumerate(zip(seen, vit.transformer.layers, strict=True)):
            before, between, after = stream[2 * i : 2 * i + 3]
            qkv = attention.fn.to_qkv(attention.norm(before)).view(-1, 3, 3, d)  # (n, which, h, d)
            q, k, v = qkv.permute(1, 2, 0, 3)
            expected = {"q": q, "k": k, "v": v.mT, "attended": between - before}
            expected |= {"fed": after - between, "out": after}
            for name, numbers in expected.items():
                found = torch.tensor(ours[name])
                torch.testing.assert_close(found, numbers.flatten(), atol=1e-5, rtol=1e-4)


# The weights on their way


def test_no_weight_moves_by_more_than_half_a_step_of_its_row():
    vit = randomise(ViT(**SMALL))
    before, after = vit.state_dict(), dequantised(vit).state_dict()
    for name, weight in before.items():
        rows, moved = weight.view(-1, weight.shape[-1]), (after[name] - weight).abs()
        if len(rows) == 1:
            assert torch.equal(after[name], weight)
        else:
            step = rows.abs().amax(dim=1, keepdim=True) / 127
            assert (moved.view_as(rows) <= 0.5001 * step).all()
            assert moved.max() > 0


def test_rows_of_zeros_stay_zeros_and_the_smallest_numbers_do_no_harm():
    vit = randomise(ViT(**SMALL))
    with torch.no_grad():
        vit.mlp_head[1].weight[0] = 0
        vit.mlp_head[1].weight[1] = 1e-42
    weight = dequantised(vit).mlp_head[1].weight
    assert torch.equal(weight[:2], torch.zeros(2, 8))
    assert weight[2].abs().max() > 0


def test_a_weight_that_is_not_finite_is_named():
    vit = randomise(ViT(**SMALL))
    with torch.no_grad():
        vit.mlp_head[1].bias[1] = torch.nan
    with pytest.raises(ValueError, match=r"mlp_head\.1\.bias holds a value that is not finite"):
        page_vit(vit)


@pytest.mark.parametrize("model", [CNN(num_classes=2, channels=1), torch.nn.Linear(1, 1)], ids=repr)
def test_what_is_no_vit_is_refused(model):
    with pytest.raises(
        ValueError, match=f"a page runs a vit_tutorial.ViT, not a {type(model).__name__}"
    ):
        page_vit(model)


def test_unpacking_leaves_the_reader_s_random_numbers_alone():
    payload = page_vit(ViT(**SMALL))
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    unpack(payload)
    assert torch.equal(torch.rand(1), expected)


def test_the_build_reads_from_the_file_what_the_kernel_packs(tmp_path):
    vit = randomise(ViT(**SMALL, position="learned_2d"))
    vit.facts |= {"class_names": ("a", "b", "c"), "mean": (0.3,)}
    save_model(vit, tmp_path / "small.safetensors")
    assert quantise(*read_checkpoint(tmp_path / "small.safetensors")) == page_vit(vit)


def test_what_is_no_checkpoint_of_ours_is_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    for content in (b"", b"\x08\0\0\0\0\0\0\0{}      ", b"<html>" * 20):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"other\.safetensors is no float32 checkpoint"):
            read_checkpoint(path)
    save_model(ViT(**SMALL).half(), path)
    with pytest.raises(ValueError, match="is F16"):
        read_checkpoint(path)


def test_the_book_s_model_is_light_enough_for_a_page(page):
    vit = randomise(ViT(**FASHION_VIT))
    assert sum(parameter.numel() for parameter in vit.parameters()) == 205_962
    script = model_script("name", page_vit(vit))
    assert len(gzip.compress(script.encode())) <= 250_000
    page.evaluate(script)  # a classic script: it hands the model over, and asks for nothing
    assert page.evaluate("vitTutorialModels.name") == page_vit(vit)


@torch.no_grad()
def test_eight_bits_cost_at_most_a_tenth_of_a_point(fashion):
    images, labels = load_dataset("fashion_mnist", "test")
    pictures = normalize(images, fashion.facts["mean"], fashion.facts["std"]).split(500)
    before, after = (
        torch.cat([model(part).argmax(dim=1) for part in pictures]).eq(labels).double().mean()
        for model in (fashion, dequantised(fashion))
    )
    assert before > 0.85
    assert after >= before - 0.001


def test_positions_of_a_kind_that_the_page_does_not_know_are_refused(page):
    payload = page_vit(ViT(**SMALL))
    payload["config"]["position"] = "rotary"
    image = torch.zeros(1, 12, 12, dtype=torch.uint8)
    given = {
        "payload": payload,
        "pictures": [as_text(image)],
        "changes": {},
        "maps": 0,
        "values": [],
    }
    with pytest.raises(Exception, match=r"RangeError: .* learned_2d, sincos_2d; got rotary"):
        page.evaluate(RUN, given)
