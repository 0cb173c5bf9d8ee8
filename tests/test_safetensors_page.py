"""safetensors in a page: it reads what Python wrote, Python what it wrote, and neither a lie."""

import json
import struct
from base64 import b64decode, b64encode

import numpy as np
import pytest
import safetensors.torch
import torch
from conftest import randomise
from modules_page import open_modules

from vit_tutorial import ViT, load_model, load_pretrained, save_model
from vit_tutorial.cnn import CNN
from vit_tutorial.recipes import SMALL_CNN, TINY_VIT

IMAGES = {"image_size": 28, "channels": 1, "num_classes": 10}  # those that the page trains on

BEGIN = """
globalThis.bytesOf = (text) => $dequantise.fromBase64(text).buffer;
globalThis.asText = (bytes) =>
    btoa(Array.from(new Uint8Array(bytes), (byte) => String.fromCharCode(byte)).join(""));
globalThis.named = (values, change) => Object.fromEntries(
    Object.entries(values).map(([name, each]) => [name, change(each)]));
globalThis.orSaid = async (work) => {
    try { return await work(); } catch (error) { return `${error.name}: ${error.message}`; }
};
"""


@pytest.fixture(scope="module")
def page(browser, tmp_path_factory):
    names = ["trained_model", "safetensors", "dequantise", "vit"]
    page = open_modules(browser, tmp_path_factory.mktemp("page"), names)
    page.evaluate(BEGIN)
    yield page
    page.close()
    assert page.noise == []


def text(content):
    return b64encode(content).decode()


def floats(content):
    return torch.from_numpy(np.frombuffer(b64decode(content), "<f4").copy())


# The format


READ = """(file) => {
    const { metadata, tensors } = $safetensors.readSafetensors(bytesOf(file));
    return { metadata, tensors: named(tensors, ({ shape, dtype, values, bytes }) =>
        ({ shape, dtype, size: bytes.length, values: asText(values().buffer) })) };
}"""


def test_a_page_reads_numbers_as_pytorch_does(page):
    torch.manual_seed(1)
    halves = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16)  # all there are
    state = {
        "single": torch.randn(3, 4),
        "double": torch.randn(2, dtype=torch.float64),
        "half": halves.view(torch.float16),
        "brain": halves.clone().view(torch.bfloat16),
        "one": torch.tensor(2.5),
        "none": torch.zeros(0, 3),
        "__proto__": torch.ones(1),
    }
    found = page.evaluate(READ, text(safetensors.torch.save(state, {"é": "ü"})))
    assert found["metadata"] == {"é": "ü"}
    assert found["tensors"].keys() | {"__proto__"} == state.keys()
    for name, each in found["tensors"].items():
        assert each["shape"] == list(state[name].shape)
        expected = state[name].float().flatten()
        torch.testing.assert_close(floats(each["values"]), expected, rtol=0, atol=0, equal_nan=True)


def test_pytorch_reads_what_a_page_wrote(page):
    write = """() => asText($safetensors.writeSafetensors({ "é": "ü" }, {
        odd: { shape: [3], values: new Float32Array([1, 2, 3]) },
        none: { shape: [0, 2], values: new Float32Array() },
        "größe": { shape: [1, 2], values: new Float32Array([4, 5]) },
    }))"""
    content = b64decode(page.evaluate(write))
    state = safetensors.torch.load(content)
    assert {name: t.tolist() for name, t in state.items()} == {
        "odd": [1, 2, 3],
        "none": [],
        "größe": [[4, 5]],
    }
    (length,) = struct.unpack_from("<Q", content)
    assert json.loads(content[8 : 8 + length])["__metadata__"] == {"é": "ü"}


def lying(header, data=b"\0" * 8, length=None):
    """A file whose header says what it likes."""
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def tensor(*offsets, dtype="F32", shape=(2,)):
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


HOSTILE = {
    "nothing": (b"", "it is too short"),
    "a pickle": (b"\x80\x02}q\x00.", "it is too short"),
    "a zip": (b"PK\x03\x04" + b"\0\0\x08\x08" * 20, "it is truncated or in another format"),
    "cut in the header": (lying({"a": tensor(0, 8)})[:20], "it is truncated"),
    "a header of 2^64 bytes": (lying({}, length=2**64 - 1), "it is truncated"),
    "a header of 2^63 bytes": (lying({}, length=2**63), "it is truncated"),
    "no JSON": (lying(b"{'a': 1}"), "its header is not JSON"),
    "no UTF-8": (lying(b'{"\xff": 1}'), "its header is not JSON"),
    "deep JSON": (lying(b"[" * 200_000), "its header is not JSON"),
    "a list": (lying([1]), "its header is not a JSON object"),
    "metadata that is no text": (lying({"__metadata__": {"a": 1}}), "its metadata is not a table"),
    "no table": (lying({"a": 3}), "a has no dtype that we know"),
    "a dtype of the future": (lying({"a": tensor(0, 8, dtype="Q8")}), "a has no dtype"),
    "a dtype's property": (lying({"a": tensor(0, 8, dtype="constructor")}), "a has no dtype"),
    "a list of dtypes": (lying({"a": tensor(0, 8, dtype=["F32"])}), "a has no dtype"),
    "a side below 0": (lying({"a": tensor(0, 8, shape=[-1, -2])}), "a has no valid shape"),
    "half a side": (lying({"a": tensor(0, 8, shape=[1.5])}), "a has no valid shape"),
    "a side as text": (lying({"a": tensor(0, 8, shape=["2"])}), "a has no valid shape"),
    "sizes that overflow": (
        lying({"a": tensor(0, 8, shape=[2**32, 2**32, 2**52])}),
        "a has a shape that its bytes do not fit",
    ),
    "one offset": (lying({"a": tensor(0)}), "a has no valid data_offsets"),
    "an offset below 0": (lying({"a": tensor(-8, 0)}), "a has no valid data_offsets"),
    "an offset of 2^60": (lying({"a": tensor(2**60, 2**60 + 8)}), "a has no valid data_offsets"),
    "offsets the wrong way": (lying({"a": tensor(8, 0)}), "a has a shape that its bytes do not"),
    "outside the file": (lying({"a": tensor(0, 16, shape=[4])}), "it has 8 bytes of numbers, not"),
    "behind the file": (lying({"a": tensor(800, 808)}), "a does not follow the one before it"),
    "overlapping": (lying({"a": tensor(0, 8), "b": tensor(0, 8)}), "b does not follow the one"),
    "a hole": (
        lying({"a": tensor(0, 4, shape=[1]), "b": tensor(8, 12, shape=[1])}, bytes(12)),
        "b does not follow the one before it",
    ),
    "bytes left over": (lying({"a": tensor(0, 8)}, bytes(12)), "it has 12 bytes of numbers, not 8"),
    "cut in the numbers": (lying({"a": tensor(0, 8)}, bytes(7)), "it has 7 bytes of numbers"),
    "twice the same name": (
        lying(b'{"a": %b, "a": %b}' % ((json.dumps(tensor(0, 8)).encode(),) * 2), bytes(16)),
        "it has 16 bytes of numbers, not 8",
    ),
}


def test_a_file_that_lies_is_refused_and_says_why(page):
    files = [text(content) for content, _ in HOSTILE.values()]
    found = page.evaluate(
        "(files) => Promise.all(files.map((file) => orSaid("
        "() => $safetensors.readSafetensors(bytesOf(file)))))",
        files,
    )
    for name, said, (_, why) in zip(HOSTILE, found, HOSTILE.values(), strict=True):
        assert isinstance(said, str), name
        assert said.startswith(f"RangeError: this is not a valid safetensors file: {why}"), name


# A model


SAVE = """async (file) => {
    const { config, weights } = await $trained_model.fromFile(bytesOf(file), {});
    const { tensors } = $safetensors.readSafetensors(bytesOf(file));
    const model = { config, tensors: named(tensors, ({ shape }) => shape), weights };
    const pixels = Uint8Array.from({ length: 784 }, (_, i) => (i * 7919) % 251);
    const logits = [...new $vit.ViT(model).logits(pixels)];
    return { config, logits, file: asText(await $trained_model.toFile(model)) };
}"""


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("position", ["learned", "sincos_2d"])
def test_a_model_goes_from_python_to_a_page_and_back(page, tmp_path, dtype, position):
    vit = randomise(ViT(**TINY_VIT | {"patch_size": 7, "position": position}))
    names = ("T-shirt/top", "Täschchen \x7f \"'", "靴")
    vit.facts = {"class_names": names, "mean": (0.286,), "std": (0.353,), "seed": 3}
    save_model(vit.to(dtype), tmp_path / "python.safetensors")
    found = page.evaluate(SAVE, text((tmp_path / "python.safetensors").read_bytes()))
    assert found["config"]["class_names"] == list(names)

    (tmp_path / "page.safetensors").write_bytes(b64decode(found["file"]))
    loaded = load_model(tmp_path / "page.safetensors")  # its SHA-256 sum is right, too
    assert loaded.config == vit.config
    assert loaded.facts == vit.facts
    assert all(map(torch.equal, loaded.parameters(), vit.float().parameters()))
    pixels = torch.tensor([(i * 7919) % 251 for i in range(784)]).view(1, 1, 28, 28)
    logits = loaded((pixels / 255 - 0.286) / 0.353)[0]
    torch.testing.assert_close(torch.tensor(found["logits"]), logits, rtol=0, atol=1e-4)
    content = (tmp_path / "page.safetensors").read_bytes()
    assert b"sha256" in content  # so that load_model has looked


def test_the_page_has_the_arguments_that_a_vit_has(page):
    assert page.evaluate("$trained_model.ARGUMENTS") == [*ViT(**TINY_VIT).config]


def changed(content, **changes):
    """A checkpoint that says something else of its model, without a sum."""
    (length,) = struct.unpack_from("<Q", content)
    header = json.loads(content[8 : 8 + length])
    metadata = header["__metadata__"]
    del metadata["sha256"]
    arguments = json.loads(metadata["arguments"]) | changes.pop("arguments", {})
    metadata["arguments"] = json.dumps(arguments)
    for name, value in changes.items():
        metadata.pop(name)
        if value is not None:
            metadata[name] = value
    return lying(header, content[8 + length :])


def misfits(vit, tmp_path):
    """Files that fit no trainer of this page, and what it says of each."""
    save_model(vit, tmp_path / "vit.safetensors")
    content = (tmp_path / "vit.safetensors").read_bytes()
    flipped = bytearray(content)
    flipped[-3] ^= 1
    yield bytes(flipped), "this file is damaged: its SHA-256 checksum does not match"
    yield changed(content, arguments={"depth": 10**9}), "depth cannot be 1000000000"
    yield changed(content, arguments={"dim": 10**12}), "this model's cls_token is 1 x 1 x 1000000"
    yield changed(content, arguments={"heads": -2}), "this model's heads cannot be -2"
    yield changed(content, arguments={"mlp_dim": 65}), "the file has 64 x 32"
    yield changed(content, arguments={"position": "spiral"}), "this page trains positions of the"
    yield changed(content, arguments={"position": "none"}), "this model has no pos_embedding"
    yield changed(content, arguments={"image_size": 32}), "image_size is 32; the images here need"
    yield changed(content, architecture="CNN"), "this file holds a CNN, not a ViT"
    yield changed(content, facts="{"), "this file's description of its model is not JSON"
    save_model(ViT(**TINY_VIT | {"num_classes": 7}), tmp_path / "seven.safetensors")
    yield (tmp_path / "seven.safetensors").read_bytes(), "num_classes is 7; the images here need 10"
    save_model(CNN(**SMALL_CNN), tmp_path / "cnn.safetensors")
    yield (tmp_path / "cnn.safetensors").read_bytes(), "this file holds a CNN, not a ViT"
    foreign = safetensors.torch.save({"cls_token": torch.zeros(1, 1, 192)})
    yield foreign, "this file does not say which model to build"
    state = {name: torch.full_like(t, torch.nan) for name, t in vit.state_dict().items()}
    numbers = safetensors.torch.save(state)
    (start,) = struct.unpack_from("<Q", numbers)
    (length,) = struct.unpack_from("<Q", content)
    yield changed(content[: 8 + length] + numbers[8 + start :]), "holds NaN or infinity"


def test_a_model_that_does_not_fit_is_refused_and_says_why(page, tmp_path):
    files, said = zip(*misfits(randomise(ViT(**TINY_VIT)), tmp_path), strict=True)
    read = (
        "([files, like]) => Promise.all(files.map((file) => orSaid("
        "() => $trained_model.fromFile(bytesOf(file), like))))"
    )
    found = page.evaluate(read, [[text(file) for file in files], IMAGES])
    for line, expected in zip(found, said, strict=True):
        assert isinstance(line, str), expected
        assert line.startswith("RangeError: ")
        assert expected in line


def test_the_book_s_own_model_can_go_on_in_the_page(page, tmp_path):
    save_model(load_pretrained("fashion"), tmp_path / "fashion.safetensors")
    content = text((tmp_path / "fashion.safetensors").read_bytes())
    read = "async ([file, like]) => (await $trained_model.fromFile(bytesOf(file), like)).config"
    assert page.evaluate(read, [content, IMAGES])["depth"] == 6
