"""Open large checkpoints in a page: how exact a pass is there, and how long it takes.

    python benchmarks/any_vit.py [--rounds N] [--out FILE]

Models of random weights, written by timm, torchvision and transformers themselves, are opened in
Chromium from a page on the disk. Logits, or features of a model without a head, are compared with
what the library's own class computes, and attention maps with those of the package's ViT. A pass in
the page's Worker, with all its maps handed over, takes turns with one of PyTorch on one thread, so
that a busy machine slows down both.
"""

import argparse
import statistics
import tempfile
import time
from base64 import b64decode, b64encode
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import torch
from chromium import about, chromium, keep
from contestants import declare_torchvision_operators
from playwright.sync_api import Page, sync_playwright
from safetensors.torch import save_file
from torch import nn

from vit_tutorial import record_attention
from vit_tutorial.checkpoint_files import read_checkpoint
from vit_tutorial.data import normalize
from vit_tutorial.widgets.bundle import whole

declare_torchvision_operators()
timm = import_module("timm")  # which imports torchvision
transformers = import_module("transformers")
vision = import_module("torchvision.models")

SMALL = {"hidden_size": 384, "num_attention_heads": 6, "intermediate_size": 1536}
DINOV2 = "vit_small_patch14_dinov2"
# How a library makes it, and what the library's class gives for images.
MODELS: dict[str, tuple[Callable, Callable]] = {
    "Ti/16, timm": (lambda: timm.create_model("vit_tiny_patch16_224"), lambda m, x: m(x)),
    "S/16, timm": (lambda: timm.create_model("vit_small_patch16_224"), lambda m, x: m(x)),
    "S/14 DINOv2, timm": (lambda: timm.create_model(DINOV2, img_size=224), lambda m, x: m(x)),
    "S/16 without a head, transformers": (
        lambda: transformers.ViTModel(transformers.ViTConfig(**SMALL), add_pooling_layer=False),
        lambda m, x: m(x).last_hidden_state[:, 0],
    ),
    "B/16, torchvision": (vision.vit_b_16, lambda m, x: m(x)),
}
PAGE = """
<!doctype html><meta charset="utf8"><title>Any ViT</title>
<input type="file" multiple><script>{script}</script>
"""
OPEN = """async () => {
    const { Looks, checkpointAmong } = globalThis.vtCheckpoint;
    globalThis.looks?.end();
    globalThis.looks = new Looks(null);
    const { files } = document.querySelector("input");
    const checkpoint = await checkpointAmong([...files]);
    const { config } = await looks.describe(checkpoint);
    looks.use(checkpoint);
    return config;
}"""
LOOK = """async ({ config: { mean, std }, pixels, isKept }) => {
    const given = {
        normal: { mean, std },
        bytes: Uint8Array.from(atob(pixels), (letter) => letter.charCodeAt(0)),
        changes: {},
    };
    const began = performance.now();
    const { predictions, attention } = await looks.ask("attend", given, () => true);
    const seconds = (performance.now() - began) / 1000;
    if (!isKept) return { seconds };
    const text = (numbers) => {
        let letters = "";
        for (const byte of new Uint8Array(numbers.slice().buffer))
            letters += String.fromCharCode(byte);
        return btoa(letters);
    };
    return { seconds, logits: text(predictions.at(-1)), maps: attention.map(text) };
}"""


def random_weights(model: nn.Module) -> nn.Module:
    """Give every parameter a value, a head too, which some libraries leave at zero."""
    for name, parameter in model.named_parameters():
        around_one = parameter.ndim == 1 and name.endswith(("weight", "gamma"))
        nn.init.normal_(parameter, 1.0 if around_one else 0.0, 0.03)
    return model.eval()


def write(model: nn.Module, folder: Path) -> list[Path]:
    if hasattr(model, "save_pretrained"):
        model.save_pretrained(folder)
        return [folder / "model.safetensors", folder / "config.json"]
    save_file(model.state_dict(), folder / "model.safetensors")
    return [folder / "model.safetensors"]


def floats(text: str) -> torch.Tensor:
    return torch.frombuffer(bytearray(b64decode(text)), dtype=torch.float32)


@torch.no_grad()
def measure(page: Page, name: str, rounds: int, folder: Path) -> dict:
    """Open one model in the page, compare it, and time passes in turns."""
    torch.manual_seed(0)
    make, compute = MODELS[name]
    model = random_weights(make())
    folder = Path(tempfile.mkdtemp(dir=folder))  # or the last one's config would stand beside it
    paths = write(model, folder)
    page.locator("input").set_input_files([str(path) for path in paths])
    config = page.evaluate(OPEN)
    image = torch.randint(0, 256, (1, 3, *config["image_size"]), dtype=torch.uint8)
    images = normalize(image, config["mean"], config["std"])
    asked = {"config": config, "pixels": b64encode(image.numpy().tobytes()).decode()}
    first = page.evaluate(LOOK, asked | {"isKept": True})  # the weights are read on the way
    vit = read_checkpoint(paths[0])
    with record_attention(vit) as maps:
        vit(images)
    apart = [
        (floats(found) - wanted.flatten()).abs().max().item()
        for found, wanted in zip(first["maps"], maps, strict=True)
    ]
    wanted = compute(model, images)[0]
    passes = {"page": [], "pytorch": []}
    for _ in range(rounds):
        passes["page"].append(page.evaluate(LOOK, asked | {"isKept": False})["seconds"])
        began = time.perf_counter()
        compute(model, images)
        passes["pytorch"].append(time.perf_counter() - began)
    return {
        "model": name,
        "megabytes": round(paths[0].stat().st_size / 1e6),
        "first_look": first["seconds"],
        "logits_apart": (floats(first["logits"]) - wanted).abs().max().item(),
        "maps_apart": max(apart),
        **passes,
    }


def table(records: list[dict]) -> str:
    """Set the models below each other; seconds are medians, in brackets the fastest pass."""
    head = f"{'model':36}{'MB':>5}{'logits':>9}{'maps':>9}{'first look':>12}"
    lines = [f"{head}  a pass, s  times PyTorch's"]
    for record in records:
        page, theirs = record["page"], record["pytorch"]
        ratio = statistics.median(a / b for a, b in zip(page, theirs, strict=True))
        lines.append(
            f"{record['model']:36}{record['megabytes']:5}{record['logits_apart']:9.0e}"
            f"{record['maps_apart']:9.0e}{record['first_look']:10.1f} s"
            f"  {statistics.median(page):.2f} ({min(page):.2f}){ratio:15.2f}"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10, help="default: %(default)s")
    parser.add_argument("--out", type=Path, help="every number as FILE.json, the table as FILE.txt")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = chromium(playwright)
        script = whole(["checkpoint"], "globalThis.vtCheckpoint = $checkpoint")
        path = Path(folder, "page.html")
        path.write_text(PAGE.format(script=script), encoding="utf8")
        page = browser.new_page()
        page.goto(path.as_uri())
        records = [measure(page, name, asked.rounds, Path(folder)) for name in MODELS]
        described = about(browser, "any_vit.py")
        browser.close()
    keep(asked.out, described, table(records), {"records": records})


if __name__ == "__main__":
    main()
