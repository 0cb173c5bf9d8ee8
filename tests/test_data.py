"""Data: the bundled pictures, whole sets from a local copy or a download, and what goes wrong."""

import contextlib
import dataclasses
import gzip
import hashlib
import io
import math
import re
import socket
import struct
import tarfile
import threading
import tracemalloc
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import bundle_data
import numpy as np
import pytest
import torch
from matplotlib.cbook import get_sample_data
from PIL import Image

from vit_tutorial import data, idx
from vit_tutorial.data import DATASETS, load_dataset, normalize

ORIGINALS = data.DEBIAN
NAMES = ["train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"]
needs_originals = pytest.mark.skipif(
    not ORIGINALS.is_dir(), reason="the originals are in Debian's package dataset-fashion-mnist"
)


@pytest.fixture(autouse=True)
def no_other_source(monkeypatch, tmp_path):
    """Leave each test the bundled files alone: no local copy, no cache, no mirror."""
    monkeypatch.delenv("VIT_TUTORIAL_DATA", raising=False)
    monkeypatch.setattr(data, "DEBIAN", tmp_path / "no-debian")
    monkeypatch.setattr(data, "CACHE", tmp_path / "cache")
    for name in DATASETS:
        change(monkeypatch, name, mirrors=())


def change(monkeypatch, name, **fields):
    monkeypatch.setitem(DATASETS, name, dataclasses.replace(DATASETS[name], **fields))


def pictures(path):
    content = gzip.decompress(path.read_bytes())
    return np.frombuffer(content, np.uint8, offset=16).reshape(-1, 28, 28)


def numbers(path):
    return np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=8)


def bundled(part):
    prefix = f"fashion-mnist-{part}"
    return (
        pictures(data.ASSETS / f"{prefix}-images-idx3-ubyte.gz"),
        numbers(data.ASSETS / f"{prefix}-labels-idx1-ubyte.gz"),
    )


def idx_file(array, level=1):
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return gzip.compress(header + array.tobytes(), level)


@pytest.fixture(scope="module")
def whole_set(tmp_path_factory):
    """A folder with a training set of 60,000: the original, or one that begins as it does.

    In the second, 5,000 upside-down pictures of each class come after the bundled ones.
    """
    if ORIGINALS.is_dir():
        return ORIGINALS
    folder = tmp_path_factory.mktemp("whole")
    images, labels = bundled("train10k")
    (folder / NAMES[0]).write_bytes(idx_file(np.concatenate([images, *[images[:, ::-1]] * 5])))
    (folder / NAMES[1]).write_bytes(idx_file(np.tile(labels, 6)))
    return folder


@pytest.fixture(scope="module")
def whole_arrays(whole_set):
    return pictures(whole_set / NAMES[0]), numbers(whole_set / NAMES[1])


# The bundled pictures


def test_the_bundled_files_are_the_recorded_ones():
    readme = (data.ASSETS / "README.md").read_text(encoding="utf-8")
    recorded = {
        name: checksum for checksum, name in re.findall(r"^([0-9a-f]{64})  (\S+)$", readme, re.M)
    }
    assert {path.name for path in data.ASSETS.glob("fashion-mnist-*")} <= set(recorded)
    assert len(recorded) >= 4
    for name, checksum in recorded.items():
        assert hashlib.sha256((data.ASSETS / name).read_bytes()).hexdigest() == checksum, name


@needs_originals
def test_the_bundled_files_can_be_made_again(tmp_path):
    bundle_data.main(["--from", str(ORIGINALS), "--to", str(tmp_path / "new")])
    made = sorted((tmp_path / "new").iterdir())
    assert [path.name for path in made] == sorted(p.name for p in data.ASSETS.glob("fashion-*"))
    for path in made:
        old, new = (data.ASSETS / path.name).read_bytes(), path.read_bytes()
        assert gzip.decompress(new) == gzip.decompress(old)
        if "t10k" in path.name or zlib.ZLIB_RUNTIME_VERSION == "1.2.13":
            assert new == old


@needs_originals
def test_the_bundled_pictures_are_the_first_of_each_class_of_the_original(whole_arrays):
    images, labels = whole_arrays
    seen, kept = [0] * 10, []
    for position, label in enumerate(labels):
        seen[label] += 1
        if seen[label] <= 1000:
            kept.append(position)
    found_images, found_labels = load_dataset("fashion_mnist", "train", 10_000)
    assert np.array_equal(found_images[:, 0].numpy(), images[kept])
    assert np.array_equal(found_labels.numpy(), labels[kept])


@pytest.mark.parametrize(("split", "part"), [("test", "t10k"), ("train", "train10k")])
def test_reading_agrees_with_numpy(split, part):
    images, labels = load_dataset("fashion_mnist", split, 10_000)
    expected_images, expected_labels = bundled(part)
    assert (images.dtype, images.shape) == (torch.uint8, (10_000, 1, 28, 28))
    assert (labels.dtype, labels.shape) == (torch.int64, (10_000,))
    assert np.array_equal(images[:, 0].numpy(), expected_images)
    assert np.array_equal(labels.numpy(), expected_labels)


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("subset", [10, 250, 10_000])
def test_a_subset_has_the_first_pictures_of_every_class_in_order(split, subset):
    images, labels = load_dataset("fashion_mnist", split, subset)
    assert len(images) == subset
    assert labels.bincount().tolist() == [subset // 10] * 10
    all_images, all_labels = bundled("t10k" if split == "test" else "train10k")
    left, position = [subset // 10] * 10, 0
    for picture, label in zip(all_images, all_labels, strict=True):
        if left[label]:
            left[label] -= 1
            assert labels[position] == label
            assert np.array_equal(images[position, 0].numpy(), picture)
            position += 1
    assert position == subset


def test_mean_and_std_are_those_of_the_training_set(whole_arrays):
    """To every digit where the original is at hand; else to what a sixth of it can tell."""
    exact = ORIGINALS.is_dir()
    images = whole_arrays[0] if exact else bundled("train10k")[0]
    mean = images.sum(dtype=np.int64) / images.size
    std = (np.square(images, dtype=np.uint16).sum(dtype=np.int64) / images.size - mean**2) ** 0.5
    tolerance = 5e-5 if exact else 2e-3
    assert DATASETS["fashion_mnist"].mean == pytest.approx([mean / 255], abs=tolerance)
    assert DATASETS["fashion_mnist"].std == pytest.approx([std / 255], abs=tolerance)


@pytest.mark.parametrize("name", DATASETS)
def test_a_class_has_one_name(name):
    assert len(set(DATASETS[name].class_names)) == 10
    assert len(DATASETS[name].mean) == len(DATASETS[name].std) == {"cifar10": 3}.get(name, 1)


# Wrong arguments


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("mnist", "train"), "'mnist': choose from fashion_mnist, cifar10"),
        (("fashion_mnist", "validation"), "'validation': choose from train, test"),
        (("fashion_mnist", "train", 0), "from 10 to 60000"),
        (("fashion_mnist", "train", -10), "from 10 to 60000"),
        (("fashion_mnist", "train", 15), "multiple of 10"),
        (("fashion_mnist", "train", 60_010), "from 10 to 60000"),
        (("fashion_mnist", "test", 10_010), "from 10 to 10000"),
        (("cifar10", "train", 50_010), "from 10 to 50000"),
        (("fashion_mnist", "train", True), "multiple of 10"),
        (("fashion_mnist", "train", 12.5), "multiple of 10"),
        (("fashion_mnist", "train", "all"), "None for everything"),
        (("fashion_mnist", "train", 100.0), r"subset of 100\.0 .* multiple of 10"),
        (("fashion_mnist", "test", 4), r"each of the 10 classes.*multiple of 10.*images\[:4\]"),
        ((["fashion_mnist"], "train"), "choose from fashion_mnist, cifar10"),
        (("fashion_mnist", None), "choose from train, test"),
    ],
)
def test_arguments_that_do_not_fit_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        load_dataset(*arguments)


# Normalising


@pytest.mark.parametrize("channels", [1, 3])
def test_normalize_follows_the_formula_in_double_precision(channels):
    images = np.random.default_rng(0).integers(256, size=(4, channels, 5, 7), dtype=np.uint8)
    mean, std = [0.1, 0.4, 0.7][:channels], [0.2, 0.5, 0.3][:channels]
    expected = np.empty(images.shape)
    for channel in range(channels):
        expected[:, channel] = (images[:, channel] / 255 - mean[channel]) / std[channel]
    found = normalize(torch.from_numpy(images), mean, std)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("images", "mean", "std", "message"),
    [
        (torch.rand(2, 1, 4, 4), [0.5], [0.5], "uint8.*float32"),
        (torch.zeros(1, 4, 4, dtype=torch.uint8), [0.5], [0.5], r"got torch.uint8 \(1, 4, 4\)"),
        (torch.zeros(2, 3, 4, 4, dtype=torch.uint8), [0.5], [0.5], "images of 3 channels"),
        (torch.zeros(2, 1, 4, 4, dtype=torch.uint8), [0.5], [0.5] * 3, "images of 1 channels"),
        (torch.zeros(2, 1, 4, 4, dtype=torch.uint8), [0.5], [0.0], "above zero"),
        (torch.zeros(2, 1, 4, 4, dtype=torch.uint8), [0.5], [float("nan")], "above zero"),
        (torch.zeros(2, 1, 4, 4, dtype=torch.uint8), [math.nan], [0.5], "mean must be finite"),
        (torch.zeros(2, 1, 4, 4, dtype=torch.uint8), "half", [0.5], "mean is one .* got 'half'"),
        (torch.zeros(2, 1, 4, 4, dtype=torch.uint8), [0.5], None, "std is one .* got None"),
    ],
)
def test_normalize_refuses_what_does_not_fit(images, mean, std, message):
    with pytest.raises(ValueError, match=message):
        normalize(images, mean, std)


def test_normalize_says_how_to_make_a_tensor_of_an_array():
    with pytest.raises(TypeError, match=r"got a ndarray; torch\.from_numpy"):
        normalize(np.zeros((2, 1, 4, 4), np.uint8), [0.5], [0.5])


# The photograph


@pytest.mark.parametrize("size", [448, 224, 64])
def test_the_photo_is_a_square_of_every_nth_pixel(size):
    with Image.open(get_sample_data("grace_hopper.jpg", asfileobj=False)) as photo:
        square = np.asarray(photo.crop((32, 20, 480, 468)))
    found = data.load_photo(size)
    assert (found.dtype, found.shape) == (torch.uint8, (3, size, size))
    for channel in range(3):
        expected = square[:: 448 // size, :: 448 // size, channel]
        assert np.array_equal(found[channel].numpy(), expected)


@pytest.mark.parametrize("size", [0, -224, 100, 896, 224.0, "224", None])
def test_a_photo_of_a_size_that_does_not_fit_is_refused(size):
    with pytest.raises(ValueError, match=f"must divide 448 .* got {size!r}"):
        data.load_photo(size)


# The whole training set, from a local copy


def test_the_whole_set_comes_from_where_debian_puts_it(monkeypatch, whole_set, whole_arrays):
    monkeypatch.setattr(data, "DEBIAN", whole_set)
    images, labels = load_dataset("fashion_mnist", "train")
    assert images.shape == (60_000, 1, 28, 28)
    assert np.array_equal(images[:, 0].numpy(), whole_arrays[0])
    assert np.array_equal(labels.numpy(), whole_arrays[1])


def test_a_subset_is_the_same_from_a_local_copy_as_from_the_bundle(monkeypatch, whole_set):
    monkeypatch.setenv("VIT_TUTORIAL_DATA", str(whole_set))
    images, labels = load_dataset("fashion_mnist", "train", 10_010)
    assert labels.bincount().tolist() == [1001] * 10
    small_images, small_labels = load_dataset("fashion_mnist", "train", 10_000)
    for number in range(10):
        first = images[labels == number][:1000]
        assert torch.equal(first, small_images[small_labels == number])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda images, labels: (images[:-1], labels), "should be a whole gzip file"),
        (
            lambda images, labels: (images, idx_file(np.tile(np.arange(10, dtype=np.uint8), 6000))),
            "should be Fashion-MNIST's",
        ),
    ],
    ids=["cut short", "another data set"],
)
def test_a_spoiled_local_copy_is_an_error_that_names_it(
    monkeypatch, tmp_path, whole_set, spoil, message
):
    contents = spoil(*[(whole_set / name).read_bytes() for name in NAMES])
    for name, content in zip(NAMES, contents, strict=True):
        (tmp_path / name).write_bytes(content)
    monkeypatch.setenv("VIT_TUTORIAL_DATA", str(tmp_path))
    monkeypatch.setattr(data, "DEBIAN", whole_set)  # whole, but not what was asked for
    with pytest.raises(ValueError, match=message) as caught:
        load_dataset("fashion_mnist", "train")
    assert str(tmp_path / NAMES[0]) in str(caught.value)


def test_a_folder_that_is_not_there_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("VIT_TUTORIAL_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(NotADirectoryError, match=r"VIT_TUTORIAL_DATA.*nowhere"):
        load_dataset("fashion_mnist", "train")


@pytest.mark.parametrize("array", [(6,), (3, 4, 5), (1, 1)])
def test_idx_round_trip(tmp_path, array):
    generator = torch.Generator().manual_seed(0)
    values = torch.randint(256, array, generator=generator, dtype=torch.uint8)
    content = bundle_data.compose_idx(values)
    assert gzip.decompress(content) == gzip.decompress(idx_file(values.numpy()))
    assert struct.unpack("<I", content[4:8]) == (0,)  # the date, which would differ each time
    (tmp_path / "values.gz").write_bytes(content)
    assert torch.equal(idx.read_idx(tmp_path / "values.gz", array), values)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda file: file[:-1], "should be a whole gzip file"),
        (lambda file: file[: len(file) // 2], "should be a whole gzip file"),
        (lambda file: file[:40] + bytes([file[40] ^ 1]) + file[41:], "should be a whole gzip file"),
        (lambda file: file[:-8] + bytes([file[-8] ^ 1]) + file[-7:], "should be a whole gzip file"),
        (lambda file: b"<html>", "should be a whole gzip file"),
        (
            lambda file: idx_file(np.zeros((6, 5), np.uint8)),
            "00000802 00000005 00000006, found 00000802 ",
        ),
        (lambda file: idx_file(np.zeros(30, np.uint8)), "found 00000801 0000001e"),
        (lambda file: gzip.compress(b""), "found $"),
        (lambda file: b"", "found $"),
        (lambda file: gzip.compress(gzip.decompress(file)[:-1]), "42 bytes .* found 41"),
        (lambda file: gzip.compress(gzip.decompress(file) + b"0"), "42 bytes .* found 43"),
    ],
)
def test_a_spoiled_idx_file_is_an_error_that_names_it(tmp_path, spoil, message):
    path = tmp_path / "values.gz"
    path.write_bytes(spoil(idx_file(np.arange(30, dtype=np.uint8).reshape(5, 6))))
    with pytest.raises(ValueError, match=message) as caught:
        idx.read_idx(path, (5, 6))
    assert str(path) in str(caught.value)


def test_a_file_that_unpacks_to_far_more_is_not_unpacked(tmp_path):
    """64 MB of zeros after a good header, 64 KB on the disk: no more than asked for is read."""
    path = tmp_path / "values.gz"
    values = np.arange(30, dtype=np.uint8).reshape(5, 6)
    path.write_bytes(gzip.compress(gzip.decompress(idx_file(values)) + bytes(2**26), 1))
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"42 bytes .* found 43 or more"):
        idx.read_idx(path, (5, 6))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**22


def test_a_label_that_no_class_has_is_named(tmp_path):
    (tmp_path / "images.gz").write_bytes(idx_file(np.zeros((2, 28, 28), np.uint8)))
    (tmp_path / "labels.gz").write_bytes(idx_file(np.array([3, 200], np.uint8)))
    with pytest.raises(ValueError, match=r"labels\.gz: labels are 0 to 9, found 200"):
        idx.read_idx_pair(tmp_path / "images.gz", tmp_path / "labels.gz", 2)


def test_a_class_with_too_few_images_for_a_subset_is_named():
    labels = torch.tensor([0, 1, 2, 3, 4, 5, 6, 7, 8, 8] * 2)
    with pytest.raises(ValueError, match="20 needs 2 images of each class, but class 9 has 0"):
        data.first_of_each_class(torch.zeros(20, 1, 2, 2), labels, 20)


def test_bundling_spoiled_originals_writes_nothing(tmp_path):
    (tmp_path / "originals").mkdir()
    for name in ["t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"]:
        content = (data.ASSETS / f"fashion-mnist-{name}").read_bytes()
        (tmp_path / "originals" / name).write_bytes(content[:-100])
    with pytest.raises(ValueError, match=r"t10k-images-idx3-ubyte\.gz should be a whole gzip"):
        bundle_data.main(["--from", str(tmp_path / "originals"), "--to", str(tmp_path / "new")])
    assert not (tmp_path / "new").exists()


# Downloads, from a server on this machine


class Mirrors(BaseHTTPRequestHandler):
    """Serves `contents` well, or badly in the way that the address's first part names."""

    contents: dict[str, bytes]
    asked: list[str]
    over: threading.Event

    def do_GET(self):
        _, manner, name = self.path.split("/")
        self.asked.append(manner)
        content = self.contents[name]
        self.send_response(404 if manner == "missing" else 200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if manner == "short":
            content = content[: len(content) // 2]
        elif manner == "wrong":
            content = content[:-1] + bytes([content[-1] ^ 1])
        elif manner == "stall":
            self.wfile.write(content[:10])
            self.over.wait(timeout=10)
            return
        with contextlib.suppress(ConnectionError):
            self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def mirrors(monkeypatch):
    """Start the server; what it serves is whole: no cache, no proxy in between."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    handler = type("Handler", (Mirrors,), {"contents": {}, "asked": [], "over": threading.Event()})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        handler.root = f"http://127.0.0.1:{server.server_port}/"
        yield handler
        handler.over.set()
        server.shutdown()
        thread.join(timeout=10)


@pytest.fixture
def refused():
    """An address of this machine at which nobody answers."""
    with socket.socket() as bound_but_not_listening:
        bound_but_not_listening.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound_but_not_listening.getsockname()[1]}/"


def fashion_from(monkeypatch, mirrors, folder, addresses):
    mirrors.contents.update({name: (folder / name).read_bytes() for name in NAMES})
    checksums = {name: hashlib.sha256(mirrors.contents[name]).hexdigest() for name in NAMES}
    change(monkeypatch, "fashion_mnist", mirrors=tuple(addresses), sha256=checksums)


def files_in_cache():
    return sorted(str(path.relative_to(data.CACHE)) for path in data.CACHE.rglob("*"))


FAULTS = {
    "missing": "404",
    "refused": "refused",
    "short": "IncompleteRead|Connection broken",
    "wrong": "hash",
    "stall": "timed out",
}


def test_a_download_is_kept_and_not_repeated(monkeypatch, mirrors, whole_set, whole_arrays):
    fashion_from(monkeypatch, mirrors, whole_set, [mirrors.root + "good/"])
    images, labels = load_dataset("fashion_mnist", "train")
    assert np.array_equal(images[:, 0].numpy(), whole_arrays[0])
    assert np.array_equal(labels.numpy(), whole_arrays[1])
    assert files_in_cache() == sorted(NAMES)
    for name in NAMES:
        data.download(DATASETS["fashion_mnist"], name)
    assert mirrors.asked == ["good", "good"]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_failed_download_leaves_nothing_and_the_next_try_starts_clean(
    monkeypatch, mirrors, refused, whole_set, fault
):
    bad = refused if fault == "refused" else f"{mirrors.root}{fault}/"
    fashion_from(monkeypatch, mirrors, whole_set, [bad])
    with monkeypatch.context() as impatient:
        if fault == "stall":
            impatient.setattr(data, "TIMEOUT", 0.5)
        with pytest.raises(ConnectionError, match=FAULTS[fault]) as caught:
            load_dataset("fashion_mnist", "train")
    for part in [bad + NAMES[0], "VIT_TUTORIAL_DATA", "subset=10000", "dataset-fashion-mnist"]:
        assert part in str(caught.value)
    assert files_in_cache() == []
    change(monkeypatch, "fashion_mnist", mirrors=(f"{mirrors.root}good/",))
    path = data.download(DATASETS["fashion_mnist"], NAMES[1])
    assert path.read_bytes() == (whole_set / NAMES[1]).read_bytes()
    assert files_in_cache() == [NAMES[1]]


def test_the_mirrors_are_tried_in_order_until_one_serves(monkeypatch, mirrors, refused, whole_set):
    manners = ["missing", "short", "wrong", "good", "missing"]
    addresses = [refused] + [f"{mirrors.root}{manner}/" for manner in manners]
    fashion_from(monkeypatch, mirrors, whole_set, addresses)
    path = data.download(DATASETS["fashion_mnist"], NAMES[1])
    assert path.read_bytes() == (whole_set / NAMES[1]).read_bytes()
    assert mirrors.asked == manners[:-1]


def test_every_mirror_that_failed_is_listed(monkeypatch, mirrors, refused, whole_set):
    addresses = [refused, f"{mirrors.root}missing/", f"{mirrors.root}wrong/"]
    fashion_from(monkeypatch, mirrors, whole_set, addresses)
    with pytest.raises(ConnectionError) as caught:
        load_dataset("fashion_mnist", "train")
    assert all(address + NAMES[0] in str(caught.value) for address in addresses)


def test_a_spoiled_file_in_the_cache_is_fetched_again(monkeypatch, mirrors, whole_set):
    fashion_from(monkeypatch, mirrors, whole_set, [f"{mirrors.root}good/"])
    data.CACHE.mkdir()
    (data.CACHE / NAMES[1]).write_bytes(b"spoiled")
    path = data.download(DATASETS["fashion_mnist"], NAMES[1])
    assert path.read_bytes() == (whole_set / NAMES[1]).read_bytes()


def test_a_download_shows_its_progress(monkeypatch, mirrors, whole_set, capsys):
    fashion_from(monkeypatch, mirrors, whole_set, [f"{mirrors.root}good/"])
    data.download(DATASETS["fashion_mnist"], NAMES[1])
    assert "100%" in capsys.readouterr().err


def test_the_bundled_part_asks_for_nothing(monkeypatch, mirrors, whole_set, tmp_path):
    fashion_from(monkeypatch, mirrors, whole_set, [f"{mirrors.root}good/"])
    monkeypatch.setenv("VIT_TUTORIAL_DATA", str(tmp_path / "nowhere"))
    load_dataset("fashion_mnist", "test")
    load_dataset("fashion_mnist", "train", 10_000)
    assert mirrors.asked == []


# CIFAR-10, from a small archive of the same form


@pytest.fixture
def cifar(monkeypatch, tmp_path):
    """Make the archive with 20 pictures a file; return its path and the pictures by hand."""
    random = np.random.default_rng(0)
    batches = {}
    for name in [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]:
        images = random.integers(256, size=(20, 3, 32, 32), dtype=np.uint8)
        batches[name] = images, random.permutation(np.arange(20, dtype=np.uint8) % 10)
    path = tmp_path / "served" / "cifar-10-binary.tar.gz"
    path.parent.mkdir()
    with tarfile.open(path, "w:gz") as tar:
        # Like the original's, the order is not that of the numbers; one path climbs out.
        for name in ["../../climbed.bin", "batches.meta.txt", *reversed(batches)]:
            content = b"text"
            if name in batches:
                images, labels = batches[name]
                records = zip(labels, images, strict=True)
                content = b"".join(bytes([label]) + image.tobytes() for label, image in records)
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    checksum = hashlib.sha256(path.read_bytes()).hexdigest()
    change(monkeypatch, "cifar10", sizes={"train": 100, "test": 20}, sha256={path.name: checksum})
    return path, batches


def unpack(path, folder):
    (folder / "cifar-10-batches-bin").mkdir()
    with tarfile.open(path) as tar:
        for member in tar:
            if member.name.endswith("_batch.bin") or "/data_batch" in member.name:
                (folder / member.name).write_bytes(tar.extractfile(member).read())


@pytest.mark.parametrize("source", ["archive", "folder", "download"])
def test_cifar_agrees_with_what_was_put_in(monkeypatch, mirrors, tmp_path, cifar, source):
    path, batches = cifar
    if source == "download":
        mirrors.contents[path.name] = path.read_bytes()
        change(monkeypatch, "cifar10", mirrors=(f"{mirrors.root}good/",))
    elif source == "archive":
        monkeypatch.setenv("VIT_TUTORIAL_DATA", str(path.parent))
    else:
        unpack(path, tmp_path)
        monkeypatch.setenv("VIT_TUTORIAL_DATA", str(tmp_path))
    images, labels = load_dataset("cifar10", "train")
    assert (images.dtype, labels.dtype) == (torch.uint8, torch.int64)
    train = [batches[f"data_batch_{i}.bin"] for i in range(1, 6)]
    assert np.array_equal(images.numpy(), np.concatenate([batch[0] for batch in train]))
    assert np.array_equal(labels.numpy(), np.concatenate([batch[1] for batch in train]))
    images, labels = load_dataset("cifar10", "test", 10)
    assert labels.bincount().tolist() == [1] * 10
    first = sorted(list(batches["test_batch.bin"][1]).index(number) for number in range(10))
    assert np.array_equal(images.numpy(), batches["test_batch.bin"][0][first])
    assert not list(tmp_path.rglob("climbed.bin"))
    assert not list(tmp_path.parent.glob("climbed.bin"))


def test_a_spoiled_cifar_archive_is_named(monkeypatch, cifar):
    path, _ = cifar
    path.write_bytes(path.read_bytes()[:-1000])
    monkeypatch.setenv("VIT_TUTORIAL_DATA", str(path.parent))
    with pytest.raises(ValueError, match=r"cifar-10-binary\.tar\.gz is corrupt"):
        load_dataset("cifar10", "train")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda content: content[:-1], "20 records of 3073 bytes.*found 61459 bytes"),
        (lambda content: content[3073:], "20 records of 3073 bytes.*found 58387 bytes"),
        (lambda content: b"\x0a" + content[1:], "found a label 10"),
        (
            lambda content: b"".join(
                b"\0" + content[at + 1 : at + 3073] for at in range(0, len(content), 3073)
            ),
            r"expected 2 images of each class, found \[20, 0, 0, 0, 0, 0, 0, 0, 0, 0\]",
        ),
    ],
    ids=["a byte short", "a record short", "no such label", "one label alone"],
)
def test_a_spoiled_cifar_folder_is_named(monkeypatch, tmp_path, cifar, spoil, message):
    unpack(cifar[0], tmp_path)
    file = tmp_path / "cifar-10-batches-bin" / "test_batch.bin"
    file.write_bytes(spoil(file.read_bytes()))
    monkeypatch.setenv("VIT_TUTORIAL_DATA", str(tmp_path))
    with pytest.raises(ValueError, match=message):
        load_dataset("cifar10", "test")


def test_cifar_without_a_network_says_what_works():
    with pytest.raises(ConnectionError, match="VIT_TUTORIAL_DATA") as caught:
        load_dataset("cifar10", "train")
    assert "cifar-10-batches-bin" in str(caught.value)
