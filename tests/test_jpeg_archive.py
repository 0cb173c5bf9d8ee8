"""CIFAR-10 from an archive of JPEG files, and what a run on it says of its images."""

import io
import tarfile
from dataclasses import replace

import numpy as np
import pooch
import pytest
import torch
from PIL import Image

from vit_tutorial import data, jpeg_archive
from vit_tutorial.data import DATASETS, load_dataset
from vit_tutorial.recipes import Recipe
from vit_tutorial.train import train

MODEL = {
    "image_size": 32,
    "patch_size": 8,
    "channels": 3,
    "num_classes": 10,
    "dim": 8,
    "depth": 1,
    "heads": 1,
    "dim_head": 8,
    "mlp_dim": 8,
}
RECIPE = Recipe(model=MODEL, dataset="cifar10", validation=10, epochs=1, batch_size=5)
SIZES = {"train": 40, "test": 20}


@pytest.fixture
def archive(monkeypatch, tmp_path):
    """Write such an archive with few images; return its path and each file's bytes."""
    monkeypatch.setattr(data, "DEBIAN", tmp_path / "no-debian")
    random, files = np.random.default_rng(0), {}
    for split, count in SIZES.items():
        for number in range(count):
            coarse = random.integers(256, size=(4, 4, 3), dtype=np.uint8)
            file = io.BytesIO()
            Image.fromarray(coarse).resize((32, 32)).save(file, "JPEG", quality=75)
            kind = DATASETS["cifar10"].class_names[number // (count // 10)]
            files[f"{split}/{kind}/{number % (count // 10):04}.jpg"] = file.getvalue()
    path = tmp_path / "data" / "cifar10-jpeg.tar.xz"
    path.parent.mkdir()
    with tarfile.open(path, "w:xz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    monkeypatch.setenv("VIT_TUTORIAL_DATA", str(path.parent))
    monkeypatch.setattr(jpeg_archive, "SHA256", pooch.file_hash(path))
    monkeypatch.setitem(DATASETS, "cifar10", replace(DATASETS["cifar10"], sizes=SIZES))
    return path, files


@pytest.mark.parametrize("split", SIZES)
def test_each_image_is_what_pillow_reads_from_its_file(archive, split):
    images, labels = load_dataset("cifar10", split)
    assert images.dtype == torch.uint8
    assert images.shape == (SIZES[split], 3, 32, 32)
    names = DATASETS["cifar10"].class_names
    found = {name: content for name, content in archive[1].items() if name.startswith(split)}
    for image, label, (name, content) in zip(images, labels, found.items(), strict=True):
        pixels = np.asarray(Image.open(io.BytesIO(content)))
        assert np.array_equal(image.permute(1, 2, 0), pixels)
        assert name.split("/")[1] == names[label]


def test_a_subset_has_equally_many_of_each_class(archive):
    _, labels = load_dataset("cifar10", "train", 20)
    assert labels.tolist() == sorted([*range(10)] * 2)


def test_another_archive_of_that_name_is_refused(archive):
    path, _ = archive
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(ValueError, match=r"cifar10-jpeg\.tar\.xz is corrupt: its SHA-256"):
        load_dataset("cifar10", "train")


def test_a_copy_without_loss_goes_first(archive):
    path, _ = archive
    (path.parent / "cifar-10-batches-bin").mkdir()
    with pytest.raises(FileNotFoundError, match=r"data_batch_1\.bin"):
        load_dataset("cifar10", "train")


def test_a_run_says_which_copy_it_learned_from_and_goes_on_with_no_other(
    archive, monkeypatch, tmp_path
):
    model, records = train(RECIPE, tmp_path / "run", device="cpu")
    assert records[0]["copy"] == model.facts["copy"] == "cifar10-jpeg.tar.xz"

    def stop(epoch, model):
        if epoch == 2:
            raise KeyboardInterrupt

    longer, stopped = replace(RECIPE, epochs=2), tmp_path / "stopped"
    with pytest.raises(KeyboardInterrupt):
        train(longer, stopped, device="cpu", after_epoch=stop)
    monkeypatch.setattr("vit_tutorial.run.copy_of_cifar10", lambda: "cifar-10-binary.tar.gz")
    with pytest.raises(ValueError, match="the images in cifar10 are not those"):
        train(longer, stopped, device="cpu", resume=True)
