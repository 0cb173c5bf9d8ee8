"""The learning rate's course, and which optimiser has which of a model's parameters."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from tiny_run import CNN_MODEL, MODEL, TINY, TINY_CNN, run

from vit_tutorial import ViT, optimizers
from vit_tutorial.cnn import CNN

pytestmark = pytest.mark.usefixtures("a_tenth_of_the_test_set")


@pytest.mark.parametrize("warm_up", [0.0, 0.05, 0.3])
def test_the_learning_rate_rises_straight_and_falls_as_half_a_cosine(warm_up):
    rates = [optimizers.learning_rate(step / 1_000, warm_up) for step in range(1_001)]
    top = round(1_000 * warm_up)
    assert rates[top] == max(rates) == 1
    assert rates[-1] == pytest.approx(0, abs=1e-12)
    assert rates[:top] == pytest.approx([step / top for step in range(top)])
    falling = rates[top:]
    assert all(after < before for before, after in pairwise(falling))
    # A cosine from 1 to -1, scaled: half the way down in the middle, and the same about it.
    assert falling == pytest.approx([1 - rate for rate in falling[::-1]])
    third = optimizers.learning_rate(warm_up + (1 - warm_up) / 3, warm_up)
    assert third == pytest.approx(0.75)  # cos(60 degrees) = 1/2


def test_every_step_of_a_run_has_its_learning_rate(tmp_path, monkeypatch):
    """Ten steps in an epoch, each with the rate of its middle: the first has one, and the last."""
    seen = []
    real = torch.optim.AdamW.step, torch.optim.Muon.step

    def watch(self, *args, _real):
        seen.append((type(self).__name__, [group["lr"] for group in self.param_groups]))
        return _real(self, *args)

    for kind, step in zip((torch.optim.AdamW, torch.optim.Muon), real, strict=True):
        watched = lambda self, *args, step=step: watch(self, *args, _real=step)  # noqa: E731
        monkeypatch.setattr(kind, "step", watched)
    run(replace(TINY, epochs=2, lr=0.004, matrix_lr=0.03), tmp_path)
    for name, groups, highest in (("AdamW", 2, 0.004), ("Muon", 1, 0.03)):
        rates = [rates for kind, rates in seen if kind == name]
        shares = [(k + 0.5) / 4 for k in range(4)]
        shares += [math.cos(math.pi * (k + 0.5) / 32) ** 2 for k in range(16)]  # (1 + cos 2x) / 2
        assert rates == [pytest.approx([share * highest] * groups) for share in shares]


def test_matrices_decay_and_the_blocks_are_muon_s():
    recipe = replace(TINY, weight_decay=0.07, lr=0.002, matrix_lr=0.03)
    vit = ViT(**MODEL)
    adamw, muon = optimizers.build_optimizers(vit, recipe)
    assert isinstance(adamw, torch.optim.AdamW)
    assert isinstance(muon, torch.optim.Muon)
    name_of = {parameter: name for name, parameter in vit.named_parameters()}
    groups = {
        (type(optimizer).__name__, group["lr"], group["weight_decay"]): {
            name_of[parameter] for parameter in group["params"]
        }
        for optimizer in (adamw, muon)
        for group in optimizer.param_groups
    }
    block = "transformer.layers.{}.{}"
    matrices = ["0.fn.to_qkv", "0.fn.to_out.0", "1.fn.net.0", "1.fn.net.3"]
    norms = ["0.norm.weight", "0.norm.bias", "1.norm.weight", "1.norm.bias"]
    assert groups == {
        ("Muon", 0.03, 0.07): {
            block.format(i, name) + ".weight" for i in (0, 1) for name in matrices
        },
        ("AdamW", 0.002, 0.07): {"to_patch_embedding.1.weight", "mlp_head.1.weight"},
        ("AdamW", 0.002, 0.0): {
            "cls_token",
            "pos_embedding",
            "to_patch_embedding.1.bias",
            "mlp_head.0.weight",
            "mlp_head.0.bias",
            "mlp_head.1.bias",
        }
        | {block.format(i, name) + ".bias" for i in (0, 1) for name in matrices}
        | {block.format(i, name) for i in (0, 1) for name in norms},
    }


@pytest.mark.parametrize(
    ("model", "decaying"),
    [
        (ViT(**MODEL | {"position": "learned_2d"}), 10),
        (CNN(**CNN_MODEL), 7),  # six convolutions and the head
    ],
    ids=["ViT", "CNN"],
)
def test_without_muon_adamw_has_every_parameter_once(model, decaying):
    (adamw,) = optimizers.build_optimizers(model, replace(TINY, matrix_lr=None, weight_decay=0.07))
    decay, rest = adamw.param_groups
    assert (decay["weight_decay"], rest["weight_decay"]) == (0.07, 0.0)
    assert len(decay["params"]) == decaying
    assert all(parameter.ndim >= 2 for parameter in decay["params"])
    found = [id(p) for p in decay["params"] + rest["params"]]
    assert sorted(found) == sorted(id(p) for p in model.parameters())


def test_a_cnn_has_nothing_for_muon():
    (only,) = optimizers.build_optimizers(CNN(**CNN_MODEL), replace(TINY_CNN, matrix_lr=0.02))
    assert isinstance(only, torch.optim.AdamW)
