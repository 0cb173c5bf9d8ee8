"""A run: each step as the recipe says, the epoch that is tested, and the log that tells all."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from conftest import randomise
from tiny_run import (
    CNN_MODEL,
    MODEL,
    TINY,
    TINY_CNN,
    accuracy_on_the_test_set,
    assert_same_weights,
    numbers,
    read_log,
    run,
)

from vit_tutorial import ViT, data, load_model, recipes, train
from vit_tutorial import run as runs
from vit_tutorial.cnn import CNN
from vit_tutorial.recipes import RECIPES, Recipe

pytestmark = pytest.mark.usefixtures("a_tenth_of_the_test_set")


def test_a_run_is_the_same_twice_and_another_with_another_seed(whole, tmp_path):
    _, model, records = whole
    torch.manual_seed(12345)  # what the caller draws changes nothing
    torch.randn(3)
    again, again_records = run(TINY, tmp_path / "again", command="python a command")
    assert_same_weights(again, model)
    assert numbers(again_records) == numbers(records)
    other, _ = run(TINY, tmp_path / "other", seed=1)
    weight = "mlp_head.1.weight"
    assert not torch.equal(other.state_dict()[weight], model.state_dict()[weight])


def test_one_step_is_the_one_written_out(tmp_path, monkeypatch):
    """One epoch of one step on all pictures, by AdamW alone: the first step is rate * sign(g).

    A step has the rate of its middle: of a run of one step, half the highest.
    """
    recipe = replace(
        TINY, epochs=1, batch_size=200, warm_up=0.0, matrix_lr=None, weight_decay=0.0, lr=2e-4
    )
    recipe = replace(recipe, flip=False, shift=0, erase=0, drop_patches=0.0, clip=None)
    # A fresh head is zero: its loss is log(10) whatever the labels, and no gradient passes it.
    monkeypatch.setitem(recipes.ARCHITECTURES, "ViT", lambda **given: randomise(ViT(**given)))
    images, labels, *_ = recipes.load_pictures(recipe)
    torch.manual_seed(0)
    before = randomise(ViT(**MODEL))
    logits = before((images / 255 - 0.2860) / 0.3530)
    smooth = 0.95 * F.one_hot(labels, 10) + 0.05 / 10
    loss = -(smooth * logits.log_softmax(dim=1)).sum(dim=1).mean()
    loss.backward()
    monkeypatch.setattr(runs, "save_model", lambda *_: None)  # it knows ViT by its own name
    after, records = run(recipe, tmp_path)
    assert records[1]["train_loss"] == pytest.approx(loss.item(), abs=2e-5)
    after = dict(after.named_parameters())
    for name, parameter in before.named_parameters():
        strong = parameter.grad.abs() > 1e-4
        assert strong.any(), name
        change = (after[name] - parameter)[strong]
        expected = -1e-4 * parameter.grad[strong].sign()
        torch.testing.assert_close(change, expected, rtol=0.01, atol=0)


@pytest.mark.parametrize("clip", [None, 0.01])
def test_the_gradient_is_no_longer_than_the_clip(clip, tmp_path, monkeypatch):
    lengths = []
    real = torch.optim.AdamW.step

    def step(self, *args):
        gradients = [p.grad.flatten() for group in self.param_groups for p in group["params"]]
        lengths.append(torch.cat(gradients).norm().item())
        return real(self, *args)

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    run(replace(TINY, epochs=1, matrix_lr=None, clip=clip), tmp_path)
    if clip is None:
        assert min(lengths) > 0.1
    else:
        assert lengths == pytest.approx([clip] * 10, rel=1e-3)


def test_augmentation_is_what_the_recipe_says():
    images = torch.randint(1, 256, (300, 1, 28, 28), dtype=torch.uint8)
    plain = replace(TINY, flip=False, shift=0, erase=0)

    def augmented(**change):
        return train.augment(images, replace(plain, **change), torch.Generator().manual_seed(0))

    assert torch.equal(augmented(), images)
    flipped = augmented(flip=True)
    moved = (flipped != images).flatten(1).any(dim=1)
    assert 100 < moved.sum() < 200
    assert torch.equal(flipped[moved], images[moved].flip(-1))
    shifted = augmented(shift=3) == 0
    assert shifted.any()
    assert not shifted[:, :, 3:-3, 3:-3].any()
    assert shifted[:, :, 2].all(dim=-1).any()  # three rows, of some
    erased = augmented(erase=6)
    assert (erased == 0).sum(dim=(1, 2, 3)).max() == 36
    assert torch.equal(torch.where(erased == 0, images, erased), images)


def test_each_picture_is_shown_at_most_once_in_an_epoch_and_in_another_order_in_the_next(
    tmp_path, monkeypatch
):
    shown = []
    monkeypatch.setattr(train, "augment", lambda images, *_: shown.append(images) or images)
    recipe = replace(TINY, epochs=2, batch_size=30)  # 6 steps of 30 from 200: 20 are left over
    run(recipe, tmp_path)
    assert [len(batch) for batch in shown] == [30] * 12
    first, second = (torch.cat(half).flatten(1) for half in (shown[:6], shown[6:]))
    assert len(first.unique(dim=0)) == len(second.unique(dim=0)) == 180
    assert not torch.equal(first, second)
    known = {bytes(image.numpy()) for image in recipes.load_pictures(recipe)[0]}
    assert {bytes(image.numpy()) for image in first} <= known


def test_repeats_are_whole_passes_each_in_its_own_order(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(train, "augment", lambda images, *_: shown.append(images) or images)
    _, records = run(replace(TINY, epochs=1, repeats=3, batch_size=90), tmp_path)
    assert len(shown) == 6  # 540 of 600
    passes = torch.cat(shown).flatten(1).split(200)
    assert [len(part.unique(dim=0)) for part in passes] == [200, 200, 140]
    assert not torch.equal(passes[0], passes[1])
    assert records[1]["train_loss"] == pytest.approx(2.2, abs=0.2)  # a mean over the pictures


def test_the_log_tells_all(whole):
    folder, model, records = whole
    assert read_log(folder) == records
    start, *epochs, test = records
    assert start["event"] == "start"
    assert start["command"] == "python a command"
    assert Recipe(**start["recipe"]) == TINY
    assert start["seed"] == 0
    assert start["parameters"] == sum(p.numel() for p in model.parameters())
    assert start["pictures"] == {"training": 200, "validation": 100}
    assert start["versions"]["torch"] == torch.__version__
    assert start["hardware"]["device"] == ("cuda" if torch.cuda.is_available() else "cpu")
    assert start["hardware"]["name"]
    assert start["hardware"]["processes"] == 1
    assert [record["event"] for record in epochs] == ["epoch"] * 4
    assert [record["epoch"] for record in epochs] == [1, 2, 3, 4]
    for record in epochs:
        shares = record["validation_by_class"]
        assert sum(shares) / 10 == pytest.approx(record["validation_accuracy"], abs=1e-4)
        assert record["seconds"] >= 0
        assert record["images_per_second"] > 0
    assert epochs[-1]["train_loss"] < epochs[0]["train_loss"] < 2.4
    assert test["event"] == "test"
    assert test["chosen_by"] == "validation_accuracy"


@pytest.mark.parametrize("recipe", [TINY, TINY_CNN], ids=["ViT", "CNN"])
def test_the_written_model_is_the_tested_one(recipe, tmp_path):
    returned, records = run(replace(recipe, epochs=2), tmp_path)
    model = load_model(tmp_path / "model.safetensors")
    assert_same_weights(model, returned)
    assert (model.config, model.facts) == (returned.config, returned.facts)
    assert not returned.training
    assert model.facts["dataset"] == "fashion_mnist"
    assert model.facts["class_names"][9] == "Ankle boot"
    assert model.facts["mean"] == (0.2860,)
    assert model.facts["std"] == (0.3530,)
    loss, accuracy = accuracy_on_the_test_set(model)
    assert records[-1]["test_accuracy"] == accuracy
    assert records[-1]["test_loss"] == pytest.approx(loss, abs=2e-5)


@pytest.mark.parametrize(
    ("choose", "epoch", "by"), [(True, 2, "validation_accuracy"), (False, 4, "last")]
)
def test_the_epoch_that_is_tested_is_the_best_on_held_out_images_or_the_last(
    choose, epoch, by, tmp_path, monkeypatch
):
    """The first of the best, whatever the loss there and whatever the test set would say."""
    weights, counts = [], []

    def scripted(model, images, *_):
        counts.append(len(images))
        weights.append({name: tensor.clone() for name, tensor in model.state_dict().items()})
        scores = [(2.0, 0.3), (9.0, 0.6), (1.0, 0.6), (0.5, 0.2), (0.1, 0.9)]
        return *scores[len(weights) - 1], [0.0] * 10

    monkeypatch.setattr(train, "evaluate", scripted)
    model, records = run(replace(TINY, choose_epoch=choose), tmp_path)
    assert counts == [100, 100, 100, 100, 1_000]
    assert (records[-1]["epoch"], records[-1]["chosen_by"]) == (epoch, by)
    assert records[-1]["test_accuracy"] == 0.9
    for state in (model.state_dict(), load_model(tmp_path / "model.safetensors").state_dict()):
        for name, tensor in state.items():
            assert torch.equal(tensor, weights[epoch - 1][name]), name
    assert not torch.equal(weights[1]["cls_token"], weights[3]["cls_token"])


def test_the_test_set_is_read_once_and_after_everything_else(tmp_path, monkeypatch):
    events = []

    def note(owner, name, describe):
        real = getattr(owner, name)

        def noted(*args, **kwargs):
            events.append(describe(*args))
            return real(*args, **kwargs)

        monkeypatch.setattr(owner, name, noted)

    for owner in (recipes, train):
        monkeypatch.setattr(owner, "load_dataset", data.load_dataset)
        note(owner, "load_dataset", lambda name, split, *_: f"load {split}")
    note(train, "augment", lambda *_: "step")
    note(train, "evaluate", lambda model, images, *_: f"evaluate on {len(images)}")
    note(runs, "write_checkpoint", lambda *_: "write checkpoint")
    note(runs, "write_log", lambda path, _: f"write {path.name}")
    note(runs, "save_model", lambda *_: "save model")
    run(replace(TINY, epochs=2), tmp_path)
    epoch = ["step"] * 10 + ["evaluate on 100", "write checkpoint", "write log.jsonl"]
    end = ["load test", "evaluate on 10000", "save model", "write log.jsonl"]
    assert events == ["load train", *epoch, *epoch, *end]


def test_a_model_is_evaluated_as_by_hand():
    model = randomise(CNN(**CNN_MODEL)).train()
    images, labels = data.load_dataset("fashion_mnist", "test", 1_200)
    loss, accuracy, by_class = train.evaluate(model, images, labels, (0.5,), (0.25,))
    assert not model.training
    with torch.no_grad():
        logits = model((images / 255 - 0.5) / 0.25)
    guesses = logits.argmax(dim=1)
    assert loss == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-5)
    assert accuracy == pytest.approx((guesses == labels).double().mean().item())
    for number in range(10):
        assert by_class[number] == pytest.approx((guesses == number)[labels == number].sum() / 120)


def test_the_quick_recipe_learns_in_a_few_seconds(tmp_path):
    """A sixth of its steps, on a ninth of its pictures; guessing gives 10 %."""
    shortened = replace(RECIPES["quick"], train_on=1_000, validation=500, epochs=3)
    _, records = run(shortened, tmp_path)
    assert records[-1]["test_accuracy"] > 0.25
    assert records[3]["train_loss"] < records[1]["train_loss"] - 0.2
