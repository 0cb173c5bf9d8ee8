"""Learning from a teacher: what is to be predicted, what is learnt, teachers that do not fit."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from conftest import randomise
from torch import Generator

from vit_tutorial import save_model, train
from vit_tutorial.cnn import CNN
from vit_tutorial.data import DATASETS, normalize
from vit_tutorial.recipes import RECIPES, Recipe, load_pictures
from vit_tutorial.settings import with_settings
from vit_tutorial.teacher import learn_from_teacher

MODEL = {"image_size": 28, "patch_size": 7, "num_classes": 10, "channels": 1, "qkv_bias": True}
MODEL |= {"dim": 16, "depth": 1, "heads": 2, "dim_head": 8, "mlp_dim": 24}
SHORT = Recipe(model=MODEL, subset=300, validation=100, epochs=1, batch_size=20)
DATA = DATASETS["fashion_mnist"]


@pytest.fixture
def cnn(tmp_path):
    """A CNN whose predictions differ from image to image and from their mirror images, and its
    file."""
    torch.manual_seed(0)
    model = randomise(CNN(num_classes=10, channels=1, widths=(2, 3, 4)), std=0.6)
    save_model(model, tmp_path / "cnn.safetensors")
    return model.eval(), str(tmp_path / "cnn.safetensors")


@pytest.mark.parametrize("flip", [False, True])
def test_half_is_the_label_and_half_the_teacher_s(cnn, flip):
    teacher, path = cnn
    recipe = replace(SHORT, subset=2_000, teacher=path, flip=flip)
    images, labels, *_ = load_pictures(recipe)  # several parts of 500, the last a smaller one
    wanted = learn_from_teacher(recipe, DATA, images, labels)
    assert wanted.shape == (1_900, 10)
    torch.testing.assert_close(wanted.sum(dim=1), torch.ones(1_900))
    assert torch.equal(wanted.argmax(dim=1), labels)
    for i in (0, 499, 500, 1_899):
        views = [images[i : i + 1]] + [images[i : i + 1].flip(-1)] * flip
        expected = torch.zeros(10)
        expected[labels[i]] = 0.5
        with torch.no_grad():
            for view in views:
                x = normalize(view, DATA.mean, DATA.std)
                expected += teacher(x)[0].softmax(dim=0) / 2 / len(views)
        torch.testing.assert_close(wanted[i], expected)
    there_and_back = learn_from_teacher(recipe, DATA, images.flip(-1), labels)
    assert torch.allclose(wanted, there_and_back, atol=1e-5) == flip


def test_a_step_learns_what_is_wanted_and_counts_the_labels(cnn, tmp_path):
    _, path = cnn
    recipe = replace(SHORT, teacher=path, flip=False, shift=0, drop_patches=0.0)
    run = train.begin(recipe, 0, tmp_path / "run", torch.device("cpu"), 0, 1)
    run.model.load_state_dict(randomise(run.model).state_dict())
    images, labels = load_pictures(recipe)[:2]
    wanted = learn_from_teacher(recipe, DATA, images, labels)
    with torch.no_grad():
        logits = run.model(normalize(images, DATA.mean, DATA.std))
    smooth = 0.95 * wanted + 0.05 / 10
    expected = -(smooth * F.log_softmax(logits, dim=1)).sum(dim=1).mean()
    total, right = train.step(run, images, wanted, 0.5, Generator().manual_seed(0))
    torch.testing.assert_close(total / 200, expected)
    assert 0 < right == (logits.argmax(dim=1) == labels).sum() < 200


def test_a_model_comes_to_predict_what_its_teacher_does(cnn, tmp_path):
    """Though the labels say otherwise: this teacher has never seen one."""
    teacher, path = cnn
    recipe = replace(SHORT, subset=1_000, lr=0.01, epochs=4, drop_patches=0.0)
    images = load_pictures(recipe)[2]
    apart = []
    for name in (None, path):
        taught = replace(recipe, teacher=name)
        model, _ = train.train(taught, tmp_path / f"run{name is None}", device="cpu")
        x = normalize(images, DATA.mean, DATA.std)
        with torch.no_grad():
            theirs = teacher(x).softmax(dim=1)
            apart.append(F.cross_entropy(model(x), theirs))
    assert apart[1] < apart[0] - 0.1


def test_a_run_with_a_teacher_goes_on_where_it_stopped(cnn, tmp_path):
    _, path = cnn
    recipe = replace(SHORT, teacher=path, epochs=2)

    def stop(epoch, model):
        if epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train.train(recipe, tmp_path / "run", device="cpu", after_epoch=stop)
    resumed, _ = train.train(recipe, tmp_path / "run", device="cpu", resume=True)
    unbroken, _ = train.train(recipe, tmp_path / "other", device="cpu")
    for name, tensor in unbroken.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], tensor), name


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"num_classes": 7}, r"num_classes=7, and the model that is to learn from it 10"),
        ({"channels": 3}, r"channels=3, and the model that is to learn from it 1"),
    ],
)
def test_a_teacher_of_other_classes_or_channels_is_refused(changes, said, tmp_path):
    model = CNN(**{"num_classes": 10, "channels": 1, "widths": (2, 3, 4)} | changes)
    save_model(model, tmp_path / "other.safetensors")
    recipe = replace(SHORT, teacher=str(tmp_path / "other.safetensors"))
    with pytest.raises(ValueError, match=said):
        train.train(recipe, tmp_path / "run", device="cpu")
    assert not (tmp_path / "run" / "log.jsonl").exists()


def test_a_teacher_of_another_image_size_is_refused():
    recipe = replace(SHORT, model=MODEL | {"image_size": 56}, teacher="fashion")
    nothing = torch.zeros(0, 1, 56, 56, dtype=torch.uint8)
    with pytest.raises(ValueError, match=r"image_size=28, and the model .* 56"):
        learn_from_teacher(recipe, DATA, nothing, torch.zeros(0, dtype=torch.int64))


def test_a_name_that_is_no_teacher_s_is_refused():
    with pytest.raises(ValueError, match=r"teacher must be the name or the file .*; got 3"):
        replace(SHORT, teacher=3)
    assert with_settings(RECIPES["quick"], ["teacher=fashion"]).teacher == "fashion"
