"""Preprocessing: as timm and torchvision do it, and photographs of every kind."""

import io

import numpy as np
import pytest
import timm.data
import torch
from matplotlib.cbook import get_sample_data
from PIL import Image
from timm.models import get_pretrained_cfg
from torchvision import transforms
from torchvision.models import get_model_weights

from vit_tutorial import ViT, load_pretrained
from vit_tutorial.cnn import CNN
from vit_tutorial.preprocess import Preprocess, preprocess, read_image
from vit_tutorial.pretrained import CHECKPOINTS

SIZES = {"patch_size": 8, "num_classes": 2, "dim": 8, "depth": 1, "heads": 1, "mlp_dim": 8}
COLOUR = ViT(image_size=(16, 24), **SIZES)


def photo(height=97, width=131) -> Image.Image:
    path = get_sample_data("grace_hopper.jpg", asfileobj=False)
    with Image.open(path) as image:
        return image.convert("RGB").resize((width, height), Image.Resampling.BOX)


def prepared(name: str):
    vit = CHECKPOINTS[name].build()
    vit.facts = CHECKPOINTS[name].facts
    return preprocess(vit)


@pytest.mark.parametrize(("height", "width"), [(97, 131), (300, 224), (518, 640)])
@pytest.mark.parametrize(
    "name",
    ["vit_base_patch16_224", "vit_small_patch16_224.dino", "vit_small_patch14_dinov2.lvd142m"],
)
def test_a_name_of_timm_is_preprocessed_as_timm_does(name, height, width):
    config = timm.data.resolve_data_config(get_pretrained_cfg(name).to_dict())
    image = photo(height, width)
    theirs = timm.data.create_transform(**config)(image)
    torch.testing.assert_close(prepared(name)(image), theirs, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["vit_b_16", "vit_l_16"])
def test_a_name_of_torchvision_is_preprocessed_as_torchvision_does(name):
    image = photo(301, 260)
    theirs = get_model_weights(name).IMAGENET1K_V1.transforms()(image)
    torch.testing.assert_close(prepared(name)(image), theirs, atol=1e-5, rtol=0)


def test_a_name_of_hugging_face_is_stretched():
    """As its own processor does, which is tested with the checkpoint files."""
    image = photo(97, 131)
    bilinear = transforms.InterpolationMode.BILINEAR
    steps = [transforms.Resize((224, 224), bilinear), transforms.ToTensor()]
    steps.append(transforms.Normalize((0.5,) * 3, (0.5,) * 3))
    theirs = transforms.Compose(steps)(image)
    ours = prepared("google/vit-base-patch16-224")(image)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


def test_the_books_own_images_stay_as_they_are():
    vit = load_pretrained("fashion")
    images = torch.randint(256, (3, 1, 28, 28), dtype=torch.uint8)
    expected = (images / 255 - vit.facts["mean"][0]) / vit.facts["std"][0]
    torch.testing.assert_close(preprocess(vit)(images), expected)


def test_tensors_batches_and_images_of_pillow_are_one():
    read, image = preprocess(COLOUR), photo()
    tensor = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    expected = read(image)
    assert (expected.shape, expected.dtype) == ((3, 16, 24), torch.float32)
    assert torch.equal(read(tensor), expected)
    assert torch.equal(read(torch.stack((tensor, tensor))), torch.stack((expected, expected)))
    assert expected.is_contiguous()
    assert COLOUR(expected[None]).shape == (1, 2)


@pytest.mark.parametrize("size", [(97, 131), (131, 97), (16, 24), (5, 7), (40, 1000)])
def test_what_is_cut_out_is_the_centre(size):
    """A disc in the middle stays in the middle, whatever the shape."""
    height, width = size
    y, x = np.ogrid[:height, :width]
    away = np.hypot(y - (height - 1) / 2, x - (width - 1) / 2)
    disc = np.where(away < min(size) / 3, 255, 0).astype(np.uint8)
    pixels = Preprocess((16, 24), 1, crop=0.8).cut(Image.fromarray(disc))[0].double()
    for axis, length in ((0, 16), (1, 24)):
        mass = pixels.sum(1 - axis)
        centre = (mass * torch.arange(length)).sum() / mass.sum()
        assert abs(centre - (length - 1) / 2) < 1


def through_a_file(image: Image.Image, kind: str, **more) -> Image.Image:
    file = io.BytesIO()
    image.save(file, kind, **more)
    return Image.open(file)


def test_every_kind_of_photograph_is_read():
    read, image = preprocess(COLOUR), photo()
    expected = read(image)
    grey = image.convert("L")

    def assert_like(kind, reference, most=0.03):
        difference = (read(kind) - reference).abs()
        assert difference.mean() < most, (kind.mode, difference.mean())

    assert_like(image.convert("RGBA"), expected, 1e-6)
    assert_like(image.convert("CMYK"), expected)
    assert_like(through_a_file(image.convert("CMYK"), "JPEG", quality=95), expected)
    assert_like(image.quantize(256), expected)
    assert_like(grey, read(grey.convert("RGB")), 1e-6)
    sixteen = Image.fromarray(np.array(grey).astype(np.uint16) * 256)
    assert sixteen.mode == "I;16"
    assert_like(through_a_file(sixteen, "PNG"), read(grey), 1e-6)


def test_transparent_pixels_show_white():
    image = photo().convert("RGBA")
    image.putalpha(0)
    expected = torch.full((3, 16, 24), 1.0)  # mean and std are 0.5
    for kind in (image, image.convert("LA"), through_a_file(image, "WEBP", lossless=True)):
        torch.testing.assert_close(preprocess(COLOUR)(kind), expected)
    palette = photo().quantize(4)
    palette.info["transparency"] = bytes(4)  # every colour
    torch.testing.assert_close(preprocess(COLOUR)(palette), expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_photograph_is_seen_upright(orientation, tmp_path):
    """What the camera notes in EXIF is how to turn it back."""
    turn = [
        None,
        Image.Transpose.FLIP_LEFT_RIGHT,
        Image.Transpose.ROTATE_180,
        Image.Transpose.FLIP_TOP_BOTTOM,
        Image.Transpose.TRANSPOSE,
        Image.Transpose.ROTATE_90,
        Image.Transpose.TRANSVERSE,
        Image.Transpose.ROTATE_270,
    ][orientation - 1]
    upright = photo()
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = upright if turn is None else upright.transpose(turn)
    stored.save(tmp_path / "turned.png", exif=exif)
    expected = preprocess(COLOUR)(upright)
    with Image.open(tmp_path / "turned.png") as image:
        assert torch.equal(preprocess(COLOUR)(image), expected)
    assert torch.equal(preprocess(COLOUR)(read_image(tmp_path / "turned.png")), expected)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (torch.zeros(3, 8, 8), r"uint8 \(c, H, W\) with 1 or 3 channels, got torch.float32"),
        (torch.zeros(2, 8, 8, dtype=torch.uint8), r"1 or 3 channels, got torch.uint8 \(2, 8, 8\)"),
        (torch.zeros(3, 0, 8, dtype=torch.uint8), r"got torch.uint8 \(3, 0, 8\)"),
        (torch.zeros(8, 8, dtype=torch.uint8), r"got torch.uint8 \(8, 8\)"),
        (torch.zeros(1, 3, 900, dtype=torch.uint8), r"an image of 3 x 900 pixels is too long"),
    ],
)
def test_a_tensor_that_is_no_image_is_refused(image, message):
    with pytest.raises(ValueError, match=message):
        preprocess(COLOUR)(image)


def test_other_bad_input_is_named(tmp_path):
    with pytest.raises(TypeError, match=r"got a ndarray; PIL.Image.fromarray takes NumPy's"):
        preprocess(COLOUR)(np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(ValueError, match=r"a ViT, not a CNN; a CNN reads images of any size"):
        preprocess(CNN(num_classes=2, channels=1, widths=(2, 3, 4)))
    vit = ViT(image_size=16, channels=2, **SIZES)
    with pytest.raises(ValueError, match=r"1 channel .*or 3.*this model reads 2"):
        preprocess(vit)
    for facts, message in (
        ({"interpolation": "cubic"}, r"one of nearest.*, got 'cubic'"),
        ({"crop": 0}, r"crop is a share from 0.1 to 1, got 0"),
        ({"mean": (0.5,)}, r"3 channels need as many numbers"),
        ({"std": (1, 1, 0)}, r"every std must be above zero"),
    ):
        vit = ViT(image_size=16, **SIZES)
        vit.facts = facts
        with pytest.raises(ValueError, match=message):
            preprocess(vit)
    (tmp_path / "text.jpg").write_text("no image")
    (tmp_path / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic")
    file = io.BytesIO()
    photo().save(file, "PNG")
    (tmp_path / "half.png").write_bytes(file.getvalue()[: len(file.getvalue()) // 2])
    for name, message in (
        ("text.jpg", r"text.jpg is no image"),
        ("half.png", r"half.png is no image"),
        ("phone.heic", r"phone.heic is no image.*save it as JPEG or PNG first"),
        ("nowhere.png", r"nowhere.png is no image"),
    ):
        with pytest.raises(ValueError, match=message):
            read_image(tmp_path / name)
