"""Checkpoints of other libraries, opened in a page: what its Worker makes of them is what their own
classes compute; and what is no ViT's checkpoint is refused by name."""

import json
import struct
from base64 import b64decode, b64encode

import numpy as np
import pytest
import torch
from conftest import randomise
from PIL import Image
from safetensors.torch import save, save_file
from timm.models.vision_transformer import VisionTransformer as TimmViT
from torchvision.models import resnet18
from torchvision.models._meta import _IMAGENET_CATEGORIES
from torchvision.models.vision_transformer import VisionTransformer as TorchvisionViT
from transformers import (
    Dinov2Config,
    Dinov2Model,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
    ViTConfig,
    ViTForImageClassification,
    ViTModel,
)

from vit_tutorial import ViT, record_attention, save_model
from vit_tutorial.checkpoint_files import read_checkpoint
from vit_tutorial.cnn import CNN
from vit_tutorial.data import normalize
from vit_tutorial.preprocess import Preprocess
from vit_tutorial.pretrained import load_pretrained
from vit_tutorial.widgets.bundle import whole

SIZES = {"dim": 48, "depth": 2, "heads": 3}
TIMM = {"img_size": 32, "patch_size": 8, "embed_dim": 48, "depth": 2, "num_heads": 3}
HUB = {
    "image_size": 32,
    "patch_size": 8,
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 96,
}
OURS = {"image_size": 32, "patch_size": 8, "num_classes": 5, "mlp_dim": 96, "dim_head": 16} | SIZES

# Files by their paths, as a reader chooses them: describes each, then looks with it.
LOOK = """async ({ pixels, choices }) => {
    const { Looks, checkpointAmong } = globalThis.vtCheckpoint;
    const text = (numbers) => {
        const bytes = new Uint8Array(new Float32Array(numbers).buffer);
        let letters = "";
        for (const byte of bytes) letters += String.fromCharCode(byte);
        return btoa(letters);
    };
    const looks = (globalThis.looks ??= new Looks(null));
    const { files } = document.querySelector("input");
    const checkpoint = { ...(await checkpointAmong([...files])), ...choices };
    const found = await looks.describe(checkpoint);
    if (!pixels) return { found };
    looks.use(checkpoint);
    const { mean, std } = found.config;
    const given = { normal: { mean, std }, bytes: Uint8Array.from(pixels), changes: {} };
    const { predictions, attention } = await looks.ask("attend", given, () => true);
    return {
        found,
        predictions: predictions.map(text),
        attention: attention.map(text),
    };
}"""
# Small files that no disk holds, one after the other: what each is refused with.
REFUSE = """async (files) => {
    const { Looks, checkpointAmong } = globalThis.vtCheckpoint;
    const looks = (globalThis.looks ??= new Looks(null));
    const said = [];
    for (const [name, text] of files) {
        const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
        try {
            const checkpoint = await checkpointAmong([new File([bytes], name)]);
            const { config } = await looks.describe(checkpoint);
            looks.use(checkpoint);
            const image = new Uint8Array(config.channels * 32 * 32);
            const given = { normal: {}, bytes: image, changes: {} };
            await looks.ask("attend", given, () => true);
            said.push("opened");
        } catch ({ message }) {
            said.push(message);
        }
    }
    return said;
}"""
PREPARE = """async (preparation) => {
    const { Looks, readPhoto } = globalThis.vtCheckpoint;
    const looks = (globalThis.looks ??= new Looks(null));
    const photo = await readPhoto(document.querySelector("input").files[0]);
    const bytes = await looks.prepare(photo, preparation, () => true);
    return { bytes: [...bytes], size: [photo.height, photo.width] };
}"""


@pytest.fixture(scope="module")
def page(browser, tmp_path_factory):
    """A page opened from a file, with a file to choose, and nothing of the figures."""
    folder = tmp_path_factory.mktemp("page")
    exports = "globalThis.vtCheckpoint = { ...$checkpoint, ...$photo, ...$imagenet_classes }"
    script = whole(["checkpoint", "photo", "imagenet_classes"], exports)
    (folder / "page.html").write_text(
        f'<meta charset="utf8"><input type="file" multiple><script>{script}</script>',
        "utf8",
    )
    page = browser.new_page()
    page.asked = []
    page.on("request", lambda request: page.asked.append(request.url))
    page.goto((folder / "page.html").as_uri())
    yield page
    page.close()


def bring(page, *paths, pixels=None, **choices):
    page.locator("input").set_input_files([str(path) for path in paths])
    return page.evaluate(LOOK, {"pixels": pixels, "choices": choices})


def floats(text):
    return torch.from_numpy(np.frombuffer(b64decode(text), "<f4").copy())


def image(size=32, channels=3):
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (channels, size, size), dtype=torch.uint8, generator=generator)


def dinov2():
    return Dinov2Model(Dinov2Config(**HUB, mlp_ratio=2, attn_implementation="eager"))


def hub(kind):
    return kind(ViTConfig(**HUB, num_labels=5, attn_implementation="eager"))


# What is written by whom, and how its own class computes the logits, or features without a head.
MODELS = {
    "timm": (lambda: TimmViT(**TIMM, num_classes=5), lambda m, x: m(x)),
    "timm, float16": (lambda: TimmViT(**TIMM, num_classes=5).half(), lambda m, x: m.float()(x)),
    "timm, bfloat16": (
        lambda: TimmViT(**TIMM, num_classes=5).bfloat16(),
        lambda m, x: m.float()(x),
    ),
    "timm, DINOv2": (
        lambda: TimmViT(**TIMM, num_classes=0, init_values=0.1),
        lambda m, x: m(x),
    ),
    "timm, mean": (
        lambda: TimmViT(**TIMM, num_classes=5, global_pool="avg", class_token=False),
        lambda m, x: m(x),
    ),
    "torchvision": (
        lambda: TorchvisionViT(32, 8, 2, 3, 48, 96, num_classes=5),
        lambda m, x: m(x),
    ),
    "Hugging Face": (lambda: hub(ViTForImageClassification), lambda m, x: m(x).logits),
    "Hugging Face, no head": (
        lambda: hub(ViTModel),
        lambda m, x: m(x).last_hidden_state[:, 0],
    ),
    "Hugging Face, DINOv2": (dinov2, lambda m, x: m(x).last_hidden_state[:, 0]),
    "ours": (lambda: ViT(**OURS, qkv_bias=True), lambda m, x: m(x)),
    "ours, rows and columns": (lambda: ViT(**OURS, position="learned_2d"), lambda m, x: m(x)),
    "ours, sines": (lambda: ViT(**OURS, position="sincos_2d", pool="mean"), lambda m, x: m(x)),
}


def write(model, folder):
    """Write a model as its library does, with its config where the library writes one."""
    if hasattr(model, "save_pretrained"):
        model.save_pretrained(folder)
        return [folder / "model.safetensors", folder / "config.json"]
    path = folder / "model.safetensors"
    if isinstance(model, ViT):
        save_model(model, path)
        return [path]
    save_file({name: t.contiguous() for name, t in model.state_dict().items()}, path)
    config = folder / "config.json"
    config.write_text(json.dumps({"num_attention_heads": 3}), "utf8")
    return [path, config]


def their_maps(model, vit, x):
    """Return the attention maps as transformers gives them, else as the ViT that Python reads."""
    if hasattr(model, "save_pretrained"):
        return model(x, output_attentions=True).attentions
    with record_attention(vit) as maps:
        vit(x)
    return maps


@pytest.mark.parametrize("name", MODELS)
def test_a_checkpoint_computes_in_the_page_what_its_own_class_computes(page, tmp_path, name):
    torch.manual_seed(0)
    make, compute = MODELS[name]
    model = randomise(make(), std=0.1)
    paths = write(model, tmp_path)
    seen = bring(page, *paths, pixels=image().flatten().tolist())
    config = seen["found"]["config"]
    channels = [[0.0] * 3, [1.0] * 3]
    mean, std = (config.get(key, none) for key, none in zip(("mean", "std"), channels, strict=True))
    x = normalize(image()[None], mean, std)
    with torch.no_grad():
        expected = compute(model, x)[0]
        vit = read_checkpoint(paths[0])
        maps = their_maps(model, vit, x)
    assert expected.std() > 0.01
    torch.testing.assert_close(floats(seen["predictions"][-1]), expected, atol=1e-4, rtol=0)
    for found, wanted in zip(seen["attention"], maps, strict=True):
        torch.testing.assert_close(floats(found), wanted.flatten(), atol=1e-5, rtol=0)
    known = {key: config[key] for key in vit.config if key in config}
    pair = ("image_size", "patch_size")
    assert known == {
        key: [value, value] if key in pair else value
        for key, value in vit.config.items()
        if key in known
    }
    assert {"heads", "depth", "eps", "pool", "num_classes"} <= known.keys()


def test_a_whole_ti16_is_read_from_its_file_alone(page, tmp_path):
    """Without a config: its heads and its image size follow from its shapes."""
    torch.manual_seed(0)
    model = randomise(TimmViT(embed_dim=192, num_heads=3), std=0.05)
    path = tmp_path / "ti16.safetensors"
    save_file(model.state_dict(), path)
    pixels = image(224)
    seen = bring(page, path, pixels=pixels.flatten().tolist())
    config = seen["found"]["config"]
    assert (config["heads"], config["image_size"]) == (3, [224, 224])
    assert seen["found"]["parameters"] == sum(p.numel() for p in model.parameters())
    assert 4 * seen["found"]["parameters"] < seen["found"]["bytes"] < 80e6
    half = (0.5,) * 3
    with torch.no_grad():
        expected = model(normalize(pixels[None], half, half))[0]
    torch.testing.assert_close(floats(seen["predictions"][-1]), expected, atol=1e-3, rtol=0)


def test_heads_and_image_size_can_be_chosen_and_the_positions_follow(page, tmp_path):
    torch.manual_seed(0)
    model = randomise(TimmViT(**TIMM, num_classes=5), std=0.1)
    path, _ = write(model, tmp_path)
    seen = bring(page, path, pixels=image(48).flatten().tolist(), heads=6, side=48)
    (tmp_path / "config.json").write_text('{"num_attention_heads": 6}', "utf8")
    vit = load_pretrained(str(path), image_size=48)
    x = normalize(image(48)[None], (0.5,) * 3, (0.5,) * 3)
    with torch.no_grad():
        expected = vit(x)[0]
    torch.testing.assert_close(floats(seen["predictions"][-1]), expected, atol=1e-4, rtol=0)


def test_many_patches_are_made_fewer_at_first(page, tmp_path):
    """As for DINOv2's 1,369: a pass over all of them would take the page many seconds."""
    model = TimmViT(**TIMM | {"img_size": 240}, num_classes=5)
    path = tmp_path / "large.safetensors"
    save_file(model.state_dict(), path)
    found = bring(page, path)["found"]
    assert (found["trained"], found["config"]["image_size"]) == ([240, 240], [128, 128])


CONFIGS = {
    "timm": {
        "num_classes": 5,
        "pretrained_cfg": {
            "input_size": [3, 32, 32],
            "mean": [0.1, 0.2, 0.3],
            "std": [0.4, 0.5, 0.6],
            "crop_pct": 0.9,
            "crop_mode": "squash",
            "interpolation": "bilinear",
        },
        "model_args": {"num_heads": 6},
    },
    "hub": {"num_attention_heads": 6, "id2label": {str(i): f"kind {i}" for i in range(5)}},
}
PREPROCESSOR = {
    "do_center_crop": True,
    "size": {"shortest_edge": 256},
    "crop_size": {"height": 224, "width": 224},
    "image_mean": [0.1, 0.2, 0.3],
    "image_std": [0.4, 0.5, 0.6],
    "resample": 3,
}


@pytest.mark.parametrize("kind", CONFIGS)
def test_what_stands_beside_a_checkpoint_is_read_as_python_reads_it(page, tmp_path, kind):
    model = TimmViT(**TIMM, num_classes=5)
    path, config = write(model, tmp_path)
    config.write_text(json.dumps(CONFIGS[kind]), "utf8")
    paths = [path, config]
    if kind == "hub":
        paths.append(tmp_path / "preprocessor_config.json")
        paths[-1].write_text(json.dumps(PREPROCESSOR), "utf8")
    found = bring(page, *paths)["found"]["config"]
    vit = read_checkpoint(path)
    assert found["heads"] == vit.config["heads"] == 6
    assert {key: found[key] for key in vit.facts} == vit.facts
    assert len(vit.facts) >= 5


def test_imagenet_s_classes_are_torchvision_s(page):
    assert page.evaluate("vtCheckpoint.imagenetClasses") == _IMAGENET_CATEGORIES


# What is no checkpoint of a ViT


def as_file(header, data=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(start=0, end=4, shape=(1,), dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


def damaged():
    """Generate files and what they are refused for: (name, bytes, words)."""
    torch.manual_seed(0)
    state = TimmViT(**TIMM, num_classes=5).state_dict()
    good = save(state)
    (length,) = struct.unpack("<Q", good[:8])
    safetensors = "this is not a valid safetensors file"

    for cut in (0, 1, 7, 8, 9, 100, 8 + length, 9 + length, len(good) - 4, len(good) - 1):
        yield f"cut-{cut}", good[:cut], safetensors
    yield "longer", good + b"\0" * 4, safetensors
    for lie in (0, 2, length - 1, length + 1, len(good), 2**31, 2**53, 2**63, 2**64 - 1):
        yield f"length-{lie}", struct.pack("<Q", lie) + good[8:], safetensors
    for header in (b"", b"[]", b"null", b"{", b"{}" * 2, b"\xff\xfe{}", b'{"a": NaN}', b"[" * 5000):
        yield f"header-{header[:9]!r}", as_file(header), safetensors
    for name, wrong in {
        "no offsets": {"dtype": "F32", "shape": [1]},
        "text offsets": {"dtype": "F32", "shape": [1], "data_offsets": ["0", "4"]},
        "three offsets": {"dtype": "F32", "shape": [1], "data_offsets": [0, 2, 4]},
        "negative": entry(-4, 0),
        "backwards": entry(4, 0),
        "outside": entry(0, 400, (100,)),
        "gap": entry(4, 8),
        "overflow": entry(0, 4, (2**32, 2**32)),
        "negative shape": entry(0, 4, (-1,)),
        "fraction": entry(0, 4, (1.5,)),
        "endless": entry(0, 4, (1e400,)) | {"shape": "endless"},
        "unknown dtype": entry(0, 4, (1,), "F128"),
        "a number": 7,
    }.items():
        yield name, as_file({"a": wrong}, b"\0" * 4), safetensors
    overlap = {"a": entry(0, 4), "b": entry(2, 6)}
    yield "overlap", as_file(overlap, b"\0" * 6), "b does not follow the one before it"

    yield "integers", save({n: t.to(torch.int8) for n, t in state.items()}), "has dtype I8"
    yield "a zip", b"PK\x03\x04" + bytes(60), "it is a pickle"
    yield "a pickle", b"\x80\x02}q\x00." + bytes(60), "it is a pickle"
    yield "nothing", save({}), "it holds no ViT"
    yield "strange", save({"a": torch.ones(1), "__proto__": torch.ones(1)}), "it holds no ViT"
    filters = dict(list(resnet18().state_dict().items())[:25])
    yield "a CNN", save(filters), "are a CNN’s filters"
    yield from not_plain(state)


def without(state, *names):
    return {name: t for name, t in state.items() if name not in names}


def not_plain(state):
    """Generate checkpoints of ViTs that have other parts, or less, or do not fit themselves."""
    extra = {
        "reg_token": "register tokens",
        "blocks.0.attn.q_norm.weight": "a norm on its queries and keys",
        "blocks.0.attn.relative_position_bias_table": "relative positions",
        "attn_pool.latent": "attention pooling",
        "blocks.0.mlp.gate_proj.weight": "a gated MLP",
        "blocks.0.strange.weight": "unknown: blocks.0.strange.weight",
    }
    for name, words in extra.items():
        yield name, save(state | {name: torch.zeros(3)}), words
    registers = Dinov2WithRegistersModel(Dinov2WithRegistersConfig(**HUB, num_register_tokens=2))
    yield "registers", save(registers.state_dict()), "register tokens"
    swiglu = Dinov2Model(Dinov2Config(**HUB, use_swiglu_ffn=True))
    yield "SwiGLU", save(swiglu.state_dict()), "a gated MLP"
    name = "blocks.1.attn.proj.weight"
    yield "missing", save(without(state, name)), f"missing: {name}"
    yield "no layer 0", save(without(state, *(n for n in state if "blocks.0." in n))), "no ViT"
    yield "both pools", save(state | {"fc_norm.weight": torch.ones(48)}), "norm"
    yield (
        "narrow",
        save(state | {name: torch.zeros(48, 47)}),
        "(48, 47), where this model has (48, 48)",
    )
    yield "grid", save(state | {"pos_embed": torch.zeros(1, 16, 48)}), "15 patches"
    yield "not finite", save(state | {name: torch.full((48, 48), torch.nan)}), "is not finite"
    infinite = {"head.bias": torch.full((5,), torch.inf)}
    yield "infinite", save(state | infinite), "mlp_head.1.bias holds a number that is not finite"


def test_what_is_no_vit_s_checkpoint_is_refused_with_the_name_of_what_does_not_fit(page):
    files = list(damaged())
    assert len(files) >= 50
    given = [(f"{name}.safetensors", b64encode(data).decode()) for name, data, _ in files]
    said = page.evaluate(REFUSE, given)
    for (name, _, words), message in zip(files, said, strict=True):
        assert words in message, f"{name}: {message}"


def test_our_own_cnn_and_files_of_other_kinds_are_refused_too(page, tmp_path):
    cnn = tmp_path / "cnn.safetensors"
    save_model(CNN(num_classes=3, channels=1, widths=(3, 4, 6)), cnn)
    with pytest.raises(Exception, match="the book’s CNN"):
        bring(page, cnn)
    for name, words in {
        "model.bin": "is a pickle",
        "model.onnx": "is not a .safetensors file",
        "model-00001-of-00002.safetensors": "in several files",
        "config.json": "its JSON is damaged",
    }.items():
        path = tmp_path / name
        path.write_bytes(b"{")
        with pytest.raises(Exception, match=words):
            bring(page, path)


# Photos


def photo_file(folder, name, **options):
    pixels = np.random.default_rng(0).integers(0, 256, (61, 90, 3), dtype=np.uint8)
    smooth = Image.fromarray(pixels).resize((180, 122), Image.Resampling.BICUBIC)
    path = folder / name
    smooth.convert(options.pop("mode", "RGB")).save(path, **options)
    return path


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_photo_is_prepared_to_the_byte_as_python_prepares_it(
    page, tmp_path, interpolation, channels
):
    path = photo_file(tmp_path, "photo.png")
    page.locator("input").set_input_files(str(path))
    for crop, stretch in ((1.0, False), (0.9, False), (1.0, True)):
        preparation = {"crop": crop, "stretch": stretch, "interpolation": interpolation}
        size = (48, 32)
        seen = page.evaluate(PREPARE, preparation | {"size": size, "channels": channels})
        grey = (0.5,) * channels
        expected = Preprocess(size, channels, **preparation, mean=grey, std=grey)
        with Image.open(path) as photo:
            assert seen["bytes"] == expected.cut(photo).flatten().tolist()


def test_photos_are_turned_and_converted_and_what_cannot_be_opened_is_named(page, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # held upright, stored on its side
    turned = photo_file(tmp_path, "turned.jpg", exif=exif, quality=95)
    cmyk = photo_file(tmp_path, "cmyk.jpg", mode="CMYK", quality=95)
    clear = photo_file(tmp_path, "clear.png", mode="RGBA")
    whole_ = {"size": (32, 32), "channels": 3, "crop": 1, "stretch": True}
    prepare = Preprocess((32, 32), 3, stretch=True, mean=(0.5,) * 3, std=(0.5,) * 3)
    for path, size in ((turned, [180, 122]), (cmyk, [122, 180]), (clear, [122, 180])):
        page.locator("input").set_input_files(str(path))
        seen = page.evaluate(PREPARE, whole_ | {"interpolation": "bicubic"})
        assert seen["size"] == size
        with Image.open(path) as photo:
            expected = prepare.cut(photo).flatten().float()
        found = torch.tensor(seen["bytes"]).float()
        assert (found - expected).abs().mean() < (12 if path is cmyk else 3)  # other decoders

    heic = tmp_path / "photo.heic"
    heic.write_bytes(b"\0\0\0\x18ftypheic" + bytes(99))
    broken = tmp_path / "broken.png"
    broken.write_bytes(clear.read_bytes()[:50])
    for path, words in ((heic, "save it as JPEG or PNG first"), (broken, "it is damaged")):
        page.locator("input").set_input_files(str(path))
        with pytest.raises(Exception, match=words):
            page.evaluate(PREPARE, whole_ | {"interpolation": "bicubic"})


def test_nothing_is_asked_of_anybody(page):
    assert all(address.startswith(("file:", "blob:")) for address in page.asked)
    assert page.asked
