"""Folders of images: read as torchvision reads them, fine-tuned on, and what may be wrong."""

import json
import shutil

import pytest
import torch
from PIL import Image
from tiny_run import numbers, read_log
from torchvision.datasets import ImageFolder

from vit_tutorial import ViT, load_model, load_pretrained, save_model, train
from vit_tutorial.data import load_dataset
from vit_tutorial.fine_tuning import FINE_TUNING, recipe_for, start_model
from vit_tutorial.folder import list_folder, read_folder
from vit_tutorial.mistakes import find_mistakes, table_of
from vit_tutorial.preprocess import Preprocess, preprocess, read_image
from vit_tutorial.recipes import RECIPES

SMALL = {"image_size": 12, "patch_size": 4, "num_classes": 10, "dim": 12, "depth": 1, "heads": 2}
SMALL |= {"dim_head": 6, "mlp_dim": 12, "channels": 1, "qkv_bias": True}
GREY = Preprocess((12, 12), 1)


@pytest.fixture(scope="module")
def bags_and_shoes(tmp_path_factory):
    """Twenty of each, out of Fashion-MNIST's test set."""
    folder = tmp_path_factory.mktemp("images") / "bags or shoes"
    images, labels = load_dataset("fashion_mnist", "test", 300)
    for name, number in (("shoes", 7), ("bags", 8)):
        (folder / name).mkdir(parents=True)
        for i, image in enumerate(images[labels == number][:20]):
            Image.fromarray(image[0].numpy()).save(folder / name / f"{i:02}.png")
    return folder


@pytest.fixture
def untidy(bags_and_shoes, tmp_path):
    """A copy with files that no image can be read from, and images in subfolders of a class."""
    folder = shutil.copytree(bags_and_shoes, tmp_path / "untidy")
    (folder / "readme.txt").write_text("not in a class")
    (folder / ".DS_Store").write_text("hidden")
    (folder / "bags" / ".hidden.png").write_text("hidden")
    whole = (folder / "bags" / "00.png").read_bytes()
    (folder / "bags" / "half.png").write_bytes(whole[: len(whole) // 2])
    (folder / "bags" / "phone.heic").write_text("unknown")
    (folder / "shoes" / "more").mkdir()
    (folder / "shoes" / "19.png").rename(folder / "shoes" / "more" / "19.png")
    (folder / ".cache").mkdir()
    return folder


def test_a_folder_is_read_as_torchvision_reads_it(untidy):
    found = read_folder(untidy, GREY)
    (untidy / "bags" / "half.png").unlink()
    shutil.rmtree(untidy / ".cache")
    (untidy / "bags" / ".hidden.png").unlink()
    theirs = ImageFolder(untidy)
    assert list(found.class_names) == theirs.classes == ["bags", "shoes"]
    images = {
        (GREY.cut(read_image(untidy / path)).numpy().tobytes(), label)
        for path, label in theirs.samples
    }
    ours = [
        (image.numpy().tobytes(), label)
        for image, label in zip(
            torch.cat((found.images, found.held_out)),
            torch.cat((found.labels, found.held_out_labels)).tolist(),
            strict=True,
        )
    ]
    assert len(ours) == 40
    assert set(ours) == images
    assert found.images.shape == (32, 1, 12, 12)


def test_the_last_fifth_of_each_class_is_held_out(untidy):
    found = read_folder(untidy, GREY)
    assert found.held_out_files == (
        *(f"bags/{i}.png" for i in (16, 17, 18, 19)),
        *(f"shoes/{i}.png" for i in (16, 17, 18)),
        "shoes/more/19.png",
    )
    assert found.held_out_labels.tolist() == [0] * 4 + [1] * 4
    for image, file in zip(found.held_out, found.held_out_files, strict=True):
        assert torch.equal(image, GREY.cut(read_image(untidy / file)))


def test_what_is_skipped_is_named(untidy):
    found = read_folder(untidy, GREY)
    assert len(found.skipped) == 3
    for name, reason in (
        ("readme.txt", "is in no class's subfolder"),
        ("half.png", "is no image that can be read"),
        ("phone.heic", "save it as JPEG or PNG first"),
    ):
        assert any(name in line and reason in line for line in found.skipped)


def test_folders_that_are_no_classes_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"unknown data set '.*nowhere': choose from fashion_mn"):
        list_folder(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"has 0 subfolders; it needs one for each class"):
        list_folder(tmp_path)
    (tmp_path / "cats").mkdir()
    (tmp_path / "dogs").mkdir()
    with pytest.raises(ValueError, match=r"cats has 0 images that can be read"):
        list_folder(tmp_path)
    for name in ("cats", "dogs"):
        for i in range(2):
            Image.new("L", (5, 5)).save(tmp_path / name / f"{i}.png")
    assert read_folder(tmp_path, GREY).held_out_files == ("cats/1.png", "dogs/1.png")
    (tmp_path / "dogs" / "1.png").write_text("damaged")
    with pytest.raises(ValueError, match=r"dogs has 1 images that can be read; .* two at least"):
        read_folder(tmp_path, GREY)


def small_checkpoint(folder):
    vit = ViT(**SMALL)
    vit.facts = {"mean": (0.3,), "std": (0.4,), "crop": 0.9, "class_names": list("abcdefghij")}
    with torch.no_grad():
        vit.mlp_head[1].weight.normal_()
    save_model(vit, folder / "small.safetensors")
    return str(folder / "small.safetensors")


def command(bags_and_shoes, start, out, *more) -> list[str]:
    options = ["--data", str(bags_and_shoes), "--from", start, "--device", "cpu"]
    return [*options, "--out", str(out), "--epochs", "2", *more]


def stop_in_epoch_2(arguments):
    """Run a command until Ctrl-C in the second batch of the second epoch: three make an epoch."""
    real, batches = train.augment, []

    def counted(*args):
        batches.append(args)
        if len(batches) == 5:
            raise KeyboardInterrupt
        return real(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "augment", counted)
        with pytest.raises(SystemExit):
            train.main(arguments)
    assert len(batches) == 5


def test_a_run_that_is_stopped_and_resumed_ends_with_the_same_model(
    bags_and_shoes, tmp_path, capsys
):
    start = small_checkpoint(tmp_path)
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    train.main(command(bags_and_shoes, start, whole, "--seed", "3", "--image-size", "16"))
    printed = capsys.readouterr().out
    stop_in_epoch_2(command(bags_and_shoes, start, halves, "--seed", "3", "--image-size", "16"))
    resume = ("--seed", "3", "--image-size", "16", "--resume")
    train.main(command(bags_and_shoes, start, halves, *resume))
    models = [load_model(out / "model.safetensors") for out in (whole, halves)]
    ours, theirs = (model.state_dict() for model in models)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    logs = [numbers(read_log(out)) for out in (whole, halves)]
    assert logs[0][1:] == logs[1][1:]

    log, model = read_log(whole), models[0]
    assert log[0]["recipe"]["start"] == start
    assert log[0]["command"].endswith(
        f"'{bags_and_shoes}' --from {start} --image-size 16 --epochs 2"
    )
    assert log[0]["pictures"] == {"training": 32, "validation": 8}
    assert log[-1]["chosen_by"] == "last"
    assert model.image_size == (16, 16)
    assert model.facts["class_names"] == ("bags", "shoes")
    assert model.facts["dataset"] == "bags or shoes"
    assert (preprocess(model).crop, preprocess(model).mean) == (0.9, (0.3,))

    # The table says what the model itself says of the files.
    wrong = {}
    for label, name in enumerate(("bags", "shoes")):
        for path in sorted((bags_and_shoes / name).iterdir())[-4:]:
            with torch.no_grad():
                odds = model(preprocess(model)(read_image(path))[None]).softmax(dim=1)[0]
            if odds.argmax() != label:
                wrong[f"{name}/{path.name}"] = odds.max().item()
    mistakes = log[-1]["mistakes"]
    assert {m["file"]: m["probability"] for m in mistakes} == pytest.approx(wrong, abs=1e-3)
    assert log[-1]["test_accuracy"] == 1 - len(wrong) / 8
    assert f"mistakes on 8 held-out images: {len(wrong)}" in printed
    assert all(name in printed for name in wrong)


def test_a_run_begins_with_the_checkpoint_and_a_new_head(bags_and_shoes, tmp_path):
    start = small_checkpoint(tmp_path)
    recipe = recipe_for(str(bags_and_shoes), start, None, RECIPES["quick"])
    assert recipe.model == SMALL | {"num_classes": 2} | {
        name: value for name, value in recipe.model.items() if name not in SMALL
    }
    assert (recipe.epochs, recipe.batch_size) == (FINE_TUNING.epochs, 10)
    model, trained = start_model(recipe), load_pretrained(start)
    for name, tensor in trained.state_dict().items():
        if name.startswith("mlp_head.1"):
            assert not model.state_dict()[name].any()
        else:
            assert torch.equal(model.state_dict()[name], tensor)
    ten = recipe_for(str(bags_and_shoes), start, None, RECIPES["quick"])
    ten.model["num_classes"] = 10  # other classes, even if there are as many
    assert not start_model(ten).mlp_head[1].weight.any()


def test_the_books_model_tells_bags_from_shoes_in_an_epoch(bags_and_shoes, tmp_path):
    arguments = command(bags_and_shoes, "fashion", tmp_path, "--epochs", "1")
    train.main(arguments)
    assert read_log(tmp_path)[-1]["test_accuracy"] == 1


def test_a_folder_that_changes_is_not_gone_on_with(bags_and_shoes, tmp_path):
    folder = shutil.copytree(bags_and_shoes, tmp_path / "images")
    start = small_checkpoint(tmp_path)
    stop_in_epoch_2(command(folder, start, tmp_path / "out"))
    shutil.copy(folder / "bags" / "01.png", folder / "bags" / "00.png")
    with pytest.raises(SystemExit, match=r"are not those that the run in .*out began with"):
        train.main(command(folder, start, tmp_path / "out", "--resume"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--from", "fashion"], r"--from and --image-size need --data"),
        (["--image-size", "32"], r"--from and --image-size need --data"),
        (["--data", "{folder}", "--from", "fashoin"], r"did you mean fashion"),
        (["--data", "{folder}", "--from", "fashion", "--image-size", "30"], r"30 x 30|tile"),
        (["--data", "{folder}/nowhere"], r"unknown data set"),
        (["--data", "{folder}", "--from", "{folder}/model.bin"], r"is a pickle"),
    ],
)
def test_a_command_that_cannot_work_says_why(arguments, message, bags_and_shoes, tmp_path):
    arguments = [each.format(folder=bags_and_shoes) for each in arguments]
    with pytest.raises(SystemExit, match=message):
        train.main([*arguments, "--out", str(tmp_path / "out"), "--device", "cpu"])


def test_a_long_table_of_mistakes_is_cut(bags_and_shoes):
    class AlwaysShoes(torch.nn.Linear):
        def forward(self, images):
            return torch.tensor([[0.0, 1.0]]).expand(len(images), 2)

    folder = read_folder(bags_and_shoes, GREY)
    mistakes = find_mistakes(AlwaysShoes(1, 1), folder)
    assert [m["file"] for m in mistakes] == [f"bags/{i}.png" for i in range(16, 20)]
    assert mistakes[0] == {
        "file": "bags/16.png",
        "label": "bags",
        "prediction": "shoes",
        "probability": 0.7311,
    }
    lines = table_of(mistakes * 6, 48).splitlines()
    assert lines[0] == "mistakes on 48 held-out images: 24"
    assert lines[1].split() == ["image", "label", "prediction", "probability"]
    assert lines[2].split() == ["bags/16.png", "bags", "shoes", "73.1%"]
    assert lines[-1] == "and 4 more, in log.jsonl"
    assert len(lines) == 23
    assert json.dumps(mistakes)
    assert table_of([], 8) == "mistakes on 8 held-out images: 0"
