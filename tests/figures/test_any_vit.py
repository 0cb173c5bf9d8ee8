"""Any ViT, any photo: a reader opens a checkpoint, takes patches away, and gets it refused."""

import json
import re

import pytest
import torch
from conftest import randomise
from figure_page import assert_nobody_is_left_out, cards, presses, said, soon
from figure_table import ROWS, small_vit
from playwright.sync_api import expect
from safetensors.torch import save_file
from timm.models.vision_transformer import VisionTransformer as TimmViT

from vit_tutorial import ViT
from vit_tutorial.checkpoint_files import read_checkpoint
from vit_tutorial.data import PHOTOS
from vit_tutorial.preprocess import preprocess
from vit_tutorial.widgets import AnyViT, dequantised
from vit_tutorial.widgets.figures.any_vit.any_vit import open_photo, pack_photo

SIZES = {"img_size": 32, "patch_size": 8, "embed_dim": 48, "depth": 2, "num_heads": 3}
NAMES = [f"kind {i + 1}" for i in range(5)]


@pytest.fixture
def stage(book):
    page = book.open(ROWS["any_vit"].build(), width=1280)
    (card,) = cards(page, 1)
    settled(card)
    return page, card


def settled(card):
    expect(card).not_to_have_attribute("aria-busy", "true")


def write(folder, **changes):
    """Write a small checkpoint as timm does, and its config; return both and the model."""
    torch.manual_seed(0)
    model = randomise(TimmViT(**SIZES | {"num_classes": 5} | changes), std=0.3)
    path = folder / "model.safetensors"
    save_file(model.state_dict(), path)
    config = folder / "config.json"
    labels = {str(i): name for i, name in enumerate(NAMES)}
    half = {"mean": [0.5] * 3, "std": [0.5] * 3, "crop_pct": 0.9}
    content = {"num_attention_heads": 3, "id2label": labels, "pretrained_cfg": half}
    config.write_text(json.dumps(content), "utf8")
    return [path, config], model


def bring(card, paths):
    card.locator(".vt-bring input").set_input_files([str(path) for path in paths])


def opened(card, words):
    expect(card.locator(".vt-about")).to_contain_text(words)
    settled(card)


@torch.no_grad()
def shares(vit, keep=None):
    """What Python predicts of the photo of the cat, or of some of its patches."""
    photo = open_photo(pack_photo("cat", PHOTOS["cat"]))
    tokens = vit.embed(preprocess(vit)(photo)[None])
    kept = range(tokens.shape[1] - 1) if keep is None else keep
    tokens = tokens[:, [0, *(1 + place for place in kept)]]
    return vit.classify(vit.transformer(tokens))[0].softmax(dim=0)


def words(p):
    share = f"{100 * p.max():.0f}%" if p.max() >= 0.0995 else f"{100 * p.max():.1f}%"
    return f"{NAMES[p.argmax()]}, {share}"


def test_a_checkpoint_is_opened_looked_into_and_left_again(stage, tmp_path):
    page, card = stage
    paths, _ = write(tmp_path)
    vit = read_checkpoint(paths[0])
    card.get_by_role("button", name="Open a checkpoint").click()
    assert_nobody_is_left_out(page)
    bring(card, paths)
    opened(card, "2 layers of 3 heads, 5 classes")
    assert said(card) == f"The model predicts {words(shares(vit))}."
    expect(card.get_by_role("radio", name="image 1")).to_be_hidden()
    expect(card.locator(".vt-preparation .vt-label")).to_contain_text("the shorter side to 35")
    expect(card.locator(".vt-layers li")).to_have_count(3)
    card.get_by_role("button", name="Preprocessing").click()
    assert_nobody_is_left_out(page)

    # A patch goes, by keyboard; a map is chosen; each is worth something.
    cells = card.locator(".vt-shown [role=gridcell]")
    press = presses(page)
    cells.first.focus()
    assert press("ArrowRight", "Space").startswith("patch 2, row 1, column 2")
    settled(card)
    keep = [place for place in range(16) if place != 1]
    now = words(shares(vit, keep))
    assert said(card).startswith(f"The model predicts {now}, with 1 of 16 patches removed.")
    card.locator(".vt-attends [role=gridcell]").nth(1).click()
    assert soon(card.get_by_label("Over the photo").evaluate, "(e) => e.selectedIndex") == 1
    card.get_by_role("button", name="Remove each patch in turn").click()
    first = shares(vit).argmax()
    before = shares(vit, keep)[first]
    losses = {place: shares(vit, [k for k in keep if k != place])[first] - before for place in keep}
    most = max(losses, key=lambda place: abs(losses[place]))
    expected = f"without patch {most + 1}: {100 * losses[most]:+.1f} points.".replace("-", "−")
    assert expected in said(card)

    # Nothing of it is in the address, and the book's model comes back as it was.
    expect(card.get_by_role("button", name="Copy link")).to_be_hidden()
    assert "figure" not in page.evaluate("location.hash")
    card.get_by_role("button", name="Reset").click()
    opened(card, "The book’s model")
    expect(card.get_by_role("radio", name="image 1")).to_be_checked()
    assert said(card).startswith("The model predicts ")
    local = ("file:", "blob:", "data:")
    assert all(address.startswith(local) for address in page.asked)
    assert page.noise == []


def test_a_model_without_a_head_shows_how_alike_its_features_are(stage, tmp_path):
    page, card = stage
    paths, model = write(tmp_path, num_classes=0, init_values=0.5)
    bring(card, paths)
    opened(card, "no classifier")
    assert said(card) == "The model gives 48 features of this photo."
    card.locator(".vt-shown [role=gridcell]").nth(5).click()
    settled(card)
    vit = read_checkpoint(paths[0])
    photo = preprocess(vit)(open_photo(pack_photo("cat", PHOTOS["cat"])))[None]
    with torch.no_grad():
        tokens = vit.embed(photo)
        whole = vit.classify(vit.transformer(tokens))
        torch.testing.assert_close(whole, model(photo), atol=1e-4, rtol=0)
        left = vit.classify(vit.transformer(tokens[:, [i for i in range(17) if i != 6]]))
    alike = torch.cosine_similarity(whole, left).item()
    assert f"a cosine similarity of {alike:.2f} to the whole photo’s" in said(card)
    card.get_by_role("button", name="Back to the book’s model").click()
    opened(card, "The book’s model")
    assert page.noise == []


def test_what_is_refused_is_said_and_the_model_stays(stage, tmp_path):
    page, card = stage
    before = said(card).now
    note = card.locator(".vt-brought .vt-note")
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"no")
    bring(card, [broken])
    expect(note).to_contain_text("“broken.safetensors” cannot be opened: this is not a valid")
    pickle = tmp_path / "model.pth"
    pickle.write_bytes(b"PK")
    bring(card, [pickle])
    expect(note).to_contain_text("“model.pth” is a pickle")
    text = tmp_path / "photo.txt"
    text.write_text("no photo")
    card.get_by_label("Your photo").set_input_files(str(text))
    expect(card.locator(".vt-photos .vt-note")).to_have_text("“photo.txt” is not an image.")
    card.get_by_role("button", name="Use the camera").click()
    expect(card.locator(".vt-photos .vt-note")).to_have_text(re.compile("camera"))
    assert said(card) == before

    # Dropped on the figure: a photo is looked at.
    page.evaluate(
        """async () => {
            const canvas = new OffscreenCanvas(40, 30);
            canvas.getContext("2d").fillRect(5, 5, 20, 20);
            const blob = await canvas.convertToBlob(); // PNG
            const file = new File([blob], "drop.png", blob);
            const dataTransfer = new DataTransfer();
            dataTransfer.items.add(file);
            const event = new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true });
            document.querySelector(".vt-card").dispatchEvent(event);
        }"""
    )
    expect(card.get_by_role("radio", name="image 1")).not_to_be_checked()
    settled(card)
    assert said(card).startswith("The model predicts ")


def test_a_large_checkpoint_takes_no_memory_before_the_reader_agrees(stage, tmp_path):
    """L/16's header, and a hole on the disk for its numbers."""
    _, card = stage
    with torch.device("meta"):
        state = TimmViT(embed_dim=1024, depth=24, num_heads=16).state_dict()
    header, end = {}, 0
    for name, tensor in state.items():
        begin, end = end, end + 4 * tensor.numel()
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    path = tmp_path / "large.safetensors"
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)
    bring(card, [path])
    asked = card.get_by_text("Opening it takes about 1.4 GB of memory.")
    expect(asked).to_be_visible()
    card.get_by_role("button", name="Cancel").click()
    expect(asked).to_be_hidden()
    expect(card.locator(".vt-about")).to_contain_text("The book’s model")


def test_photos_are_jpeg_files():
    with pytest.raises(ValueError, match="pack_photo makes of a JPEG file"):
        ROWS["any_vit"].build().photos = [{"name": "a", "jpeg": "AAAA"}]
    assert small_vit().config["channels"] == 1  # and colour photos are shown to it in grey
    assert ROWS["any_vit"].build(picture=3).still()[1].startswith("Cat, 49 of 49 patches visible")


def test_photos_alone_are_enough_and_nothing_at_all_is_refused(book):
    torch.manual_seed(0)
    sizes = {"image_size": 32, "patch_size": 8, "dim": 48, "depth": 2, "heads": 3, "dim_head": 16}
    vit = randomise(ViT(**sizes, mlp_dim=96, num_classes=5), std=0.3)
    vit.facts |= {"class_names": NAMES, "mean": (0.5, 0.4, 0.3), "std": (0.2, 0.2, 0.3)}
    page = book.open(AnyViT(vit))
    (card,) = cards(page, 1)
    settled(card)
    assert soon(card.get_by_role("radio").count) == len(PHOTOS)
    assert words(shares(dequantised(vit))) in said(card)
    with pytest.raises(ValueError, match="give images or photos"):
        AnyViT(vit, photos={})
