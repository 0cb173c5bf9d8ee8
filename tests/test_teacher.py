"""Learning from a teacher: the loss, what stays as it is, and teachers that do not fit."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from conftest import randomise
from torch import Generator

from vit_tutorial import save_model, train
from vit_tutorial.cnn import CNN
from vit_tutorial.data import normalize
from vit_tutorial.recipes import RECIPES, Recipe, load_pictures
from vit_tutorial.settings import with_settings
from vit_tutorial.teacher import load_teacher, loss_from_teacher

MODEL = {"image_size": 28, "patch_size": 7, "num_classes": 10, "channels": 1, "qkv_bias": True}
MODEL |= {"dim": 16, "depth": 1, "heads": 2, "dim_head": 8, "mlp_dim": 24}
SHORT = Recipe(model=MODEL, subset=300, validation=100, epochs=1, batch_size=20)
CPU = torch.device("cpu")


@pytest.fixture
def cnn(tmp_path):
    """A CNN whose predictions differ from image to image, and its file."""
    torch.manual_seed(0)
    model = randomise(CNN(num_classes=10, channels=1, widths=(2, 3, 4)))
    save_model(model, tmp_path / "cnn.safetensors")
    return model.eval(), str(tmp_path / "cnn.safetensors")


def test_the_loss_is_least_where_both_predict_the_same(cnn):
    teacher, _ = cnn
    images = torch.randn(8, 1, 28, 28)
    wanted = teacher(images).detach()
    logits = (wanted + 5).requires_grad_()  # the same probabilities
    least = loss_from_teacher(logits, images, teacher)
    least.backward()
    torch.testing.assert_close(logits.grad, torch.zeros(8, 10), atol=1e-7, rtol=0)
    for seed in range(5):
        torch.manual_seed(seed)
        other = wanted + torch.randn(8, 10)
        loss = loss_from_teacher(other, images, teacher)
        apart = F.kl_div(
            other.log_softmax(1), wanted.log_softmax(1), log_target=True, reduction="batchmean"
        )
        assert loss > least
        torch.testing.assert_close(loss, least.detach() + apart)


def test_a_step_s_loss_is_the_mean_of_the_labels_and_the_teacher_s(cnn, tmp_path):
    teacher, path = cnn
    recipe = replace(SHORT, teacher=path, flip=False, shift=0, drop_patches=0.0)
    run = train.begin(recipe, 0, tmp_path / "run", CPU, 0, 1)
    run.model.load_state_dict(randomise(run.model).state_dict())
    images, labels = (part[:20] for part in load_pictures(recipe)[:2])
    x = normalize(images, run.data.mean, run.data.std)
    with torch.no_grad():
        logits = run.model(x)
        expected = F.cross_entropy(logits, labels, label_smoothing=recipe.label_smoothing) / 2
        expected += F.cross_entropy(logits, teacher(x).softmax(dim=1)) / 2
    total, right = train.step(run, images, labels, 0.5, Generator().manual_seed(0))
    torch.testing.assert_close(total / 20, expected)
    assert right == (logits.argmax(dim=1) == labels).sum()


def test_a_teacher_sees_the_changed_images_whole_and_stays_as_it_is(cnn, tmp_path, monkeypatch):
    before, path = cnn
    seen = []

    def watched(logits, images, teacher):
        seen.append((images, teacher))
        return loss_from_teacher(logits, images, teacher)

    monkeypatch.setattr(train, "loss_from_teacher", watched)
    recipe = replace(SHORT, teacher=path, drop_patches=0.9)
    train.train(recipe, tmp_path / "run", device="cpu")
    assert len(seen) == 200 // 20
    untouched = normalize(load_pictures(recipe)[0], (0.2860,), (0.3530,))
    known = {image.numpy().tobytes() for image in untouched}
    images = torch.cat([images for images, _ in seen])
    assert images.shape == (200, 1, 28, 28)
    changed = sum(image.numpy().tobytes() not in known for image in images)
    assert changed > 150  # flipped or shifted: 17 of 18, on average
    teacher = seen[-1][1].state_dict()
    for name, tensor in before.state_dict().items():  # running statistics, too
        assert torch.equal(teacher[name], tensor), name


def test_a_model_comes_to_predict_what_its_teacher_does(cnn, tmp_path):
    """Though the labels say otherwise: this teacher has never seen one."""
    teacher, path = cnn
    recipe = replace(SHORT, subset=1_000, lr=0.01, epochs=4, drop_patches=0.0)
    images = load_pictures(recipe)[2]
    apart = []
    for name in (None, path):
        model, _ = train.train(replace(recipe, teacher=name), tmp_path / f"run{name is None}")
        x = normalize(images, model.facts["mean"], model.facts["std"])
        with torch.no_grad():
            apart.append(loss_from_teacher(model(x), x, teacher))
    assert apart[1] < apart[0] - 0.1


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
    with pytest.raises(ValueError, match=r"image_size=28, and the model .* 56"):
        load_teacher(recipe, CPU)


def test_no_teacher_is_none():
    assert load_teacher(SHORT, CPU) is None
    with pytest.raises(ValueError, match=r"teacher must be the name or the file .*; got 3"):
        replace(SHORT, teacher=3)


def test_a_teacher_is_named_on_the_command_line():
    assert with_settings(RECIPES["quick"], ["teacher=fashion"]).teacher == "fashion"
