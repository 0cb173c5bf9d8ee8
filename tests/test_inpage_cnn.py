"""The CNN in the page agrees with PyTorch that holds the same dequantised weights."""

import gzip
import re
from base64 import b64decode, b64encode

import numpy as np
import pytest
import torch
from conftest import randomise
from torch import nn

from vit_tutorial import load_pretrained, save_model
from vit_tutorial.cnn import CNN
from vit_tutorial.data import load_dataset, normalize
from vit_tutorial.recipes import SMALL_CNN
from vit_tutorial.widgets.bundle import join
from vit_tutorial.widgets.packing import dequantised, page_cnn, page_model, unpack
from vit_tutorial.widgets.quantise import model_script, quantise, read_checkpoint

RUN = """({ payload, pictures, shape }) => {
    const cnn = new $cnn.CNN(payload);
    const text = (numbers) => { // as lists, 300,000 numbers take seconds to hand over
        const bytes = new Uint8Array(numbers.slice().buffer);
        return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
    };
    return pictures.map((picture) => {
        const { logits, maps } = cnn.forward($dequantise.fromBase64(picture), shape);
        return { logits: [...logits], shape: maps.shape, maps: text(maps.values) };
    });
}"""


@pytest.fixture(scope="module")
def page(browser):
    page = browser.new_page()
    page.add_script_tag(content=re.sub(r"^const \$", "globalThis.$", join(["cnn"]), flags=re.M))
    yield page
    page.close()


def run(page, cnn, images):
    """What the page makes of uint8 pictures: logits and the last stage's maps."""
    pictures = [b64encode(image.numpy().tobytes()).decode() for image in images]
    given = {"payload": page_cnn(cnn), "pictures": pictures, "shape": list(images.shape[1:])}
    seen = page.evaluate(RUN, given)
    maps = np.stack([np.frombuffer(b64decode(each["maps"]), "<f4") for each in seen])
    maps = torch.tensor(maps).view(len(images), *seen[0]["shape"])
    return torch.tensor([each["logits"] for each in seen]), maps


@torch.no_grad()
def reference(cnn, images):
    """The same by PyTorch."""
    cnn = dequantised(cnn)
    channels = cnn.config["channels"]
    mean, std = cnn.facts.get("mean", [0.0] * channels), cnn.facts.get("std", [1.0] * channels)
    x = normalize(images, mean, std)
    return cnn(x), cnn.stages(x)


def random_cnn(**config):
    """With statistics and scales that are not those of a fresh batch normalisation."""
    cnn = randomise(CNN(**config))
    for module in cnn.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.running_mean, std=0.3)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return cnn


def assert_same(seen, expected):
    for ours, theirs in zip(seen, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=0)
    assert torch.equal(seen[0].argmax(dim=1), expected[0].argmax(dim=1))


BUNDLED = ["cnn-500-0", "cnn-55000-0"]


def assert_same_on_100_pictures(page, name):
    cnn, images = load_pretrained(name), load_dataset("fashion_mnist", "test", subset=100)[0]
    seen = run(page, cnn, images)
    assert_same(seen, reference(cnn, images))
    assert len(seen[0].argmax(dim=1).unique()) == 10  # what it says is worth comparing


@pytest.mark.parametrize("name", BUNDLED)
def test_the_bundled_cnns_say_the_same_on_100_pictures(page, name):
    assert_same_on_100_pictures(page, name)


KINDS = [  # of two classes at least, so that there is something to be larger
    ({"channels": 1, "widths": (3, 5, 7)}, (28, 28)),
    ({"channels": 3, "widths": (4, 2, 6)}, (13, 22)),  # odd sides, more wide than high
    ({"channels": 2, "widths": (1, 1, 1)}, (4, 4)),
    ({"channels": 1, "widths": (2, 9, 3)}, (5, 31)),
]


@pytest.mark.parametrize(("config", "size"), KINDS, ids=str)
def test_every_kind_of_cnn_says_the_same(page, config, size):
    cnn = random_cnn(num_classes=3, **config)
    channels = config["channels"]
    cnn.facts |= {"mean": (0.4, 0.5, 0.6)[:channels], "std": (0.3,) * channels}
    images = torch.randint(256, (5, channels, *size), dtype=torch.uint8)
    seen = run(page, cnn, images)
    assert_same(seen, reference(cnn, images))
    assert seen[0].std() > 0.01


def test_without_the_data_s_mean_and_spread_pixels_go_from_0_to_1(page):
    cnn = random_cnn(num_classes=3, channels=1, widths=(3, 4, 5))
    images = torch.randint(256, (2, 1, 12, 12), dtype=torch.uint8)
    with torch.no_grad():
        expected = dequantised(cnn)(images / 255)
    torch.testing.assert_close(run(page, cnn, images)[0], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("pixels", "shape"), [(143, [1, 12, 12]), (432, [3, 12, 12]), (36, [1, 3, 12]), (0, [1, 0, 0])]
)
def test_what_does_not_fit_is_refused(page, pixels, shape):
    cnn = CNN(num_classes=3, channels=1, widths=(3, 4, 5))
    script = """({ payload, pixels, shape }) => {
        try {
            new $cnn.CNN(payload).forward(new Uint8Array(pixels), shape);
        } catch (error) {
            return `${error.name}: ${error.message}`;
        }
    }"""
    said = page.evaluate(script, {"payload": page_cnn(cnn), "pixels": pixels, "shape": shape})
    sides = " x ".join(map(str, shape))
    assert said.startswith("RangeError: this model reads images of 1 x H x W bytes")
    assert said.endswith(f"got {pixels} for {sides}")


# The weights on their way


def test_no_weight_moves_by_more_than_half_a_step_of_its_filter():
    cnn = random_cnn(num_classes=4, channels=2, widths=(3, 5, 6))
    with torch.no_grad():  # filters of very different sizes: one scale would not do for all
        cnn.stages[1][0].weight *= torch.tensor([0.01, 1.0, 100.0]).view(-1, 1, 1, 1)
    before, after = cnn.state_dict(), dequantised(cnn).state_dict()
    assert before.keys() == after.keys()
    for name, weight in before.items():
        if weight.ndim < 2:
            assert torch.equal(after[name], weight), name
            continue
        rows = weight.flatten(1)  # a convolution's row is a whole filter
        moved = (after[name] - weight).abs().flatten(1)
        step = rows.abs().amax(dim=1, keepdim=True) / 127
        assert (moved <= 0.5001 * step).all(), name
        assert moved.max() > 0
        whole = after[name].flatten(1) / step
        assert (whole - whole.round()).abs().max() < 1e-3


def test_batchnorm_s_counter_stays_behind_and_a_fresh_one_takes_its_place():
    cnn = random_cnn(num_classes=4, channels=1, widths=(3, 5, 6))
    cnn.stages[0][1].num_batches_tracked += 7
    payload = page_cnn(cnn)
    assert not any("num_batches" in name for name in payload["tensors"])
    assert payload["tensors"]["stages.1.0.weight"] == [3, 3, 3, 3]
    again = unpack(payload)
    assert type(again) is CNN
    assert not again.training
    assert again.stages[0][1].num_batches_tracked == 0
    assert page_cnn(again) == payload  # nothing is lost on a second way


@pytest.mark.parametrize("model", [nn.Conv2d(1, 1, 3), nn.Identity()], ids=repr)
def test_what_is_no_cnn_is_refused(model):
    with pytest.raises(
        ValueError, match=f"a page runs the CNN of .*, not a {type(model).__name__}"
    ):
        page_cnn(model)


def test_the_build_reads_from_the_file_what_the_kernel_packs(tmp_path):
    cnn = random_cnn(num_classes=3, channels=1, widths=(3, 4, 5))
    cnn.stages[0][1].num_batches_tracked += 7
    cnn.facts |= {"class_names": ("a", "b", "c"), "mean": (0.3,)}
    save_model(cnn, tmp_path / "small.safetensors")
    assert quantise(*read_checkpoint(tmp_path / "small.safetensors")) == page_cnn(cnn)


@pytest.mark.parametrize("name", ["vit-500-0", "cnn-500-0", "vit-55000-0", "cnn-55000-0"])
def test_the_opponents_are_light_enough_for_a_page(name):
    script = model_script(name, page_model(load_pretrained(name)))
    assert len(gzip.compress(script.encode())) <= 120_000


@torch.no_grad()
def test_eight_bits_cost_at_most_a_tenth_of_a_point():
    cnn = load_pretrained("cnn-55000-0")
    assert {name: cnn.config[name] for name in SMALL_CNN} == SMALL_CNN
    images, labels = load_dataset("fashion_mnist", "test")
    pictures = normalize(images, cnn.facts["mean"], cnn.facts["std"]).split(500)
    before, after = (
        torch.cat([model(part).argmax(dim=1) for part in pictures]).eq(labels).double().mean()
        for model in (cnn, dequantised(cnn))
    )
    assert before > 0.85
    assert after >= before - 0.001
