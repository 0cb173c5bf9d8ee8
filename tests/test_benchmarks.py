"""The benchmark's own machinery, at a size where a step takes milliseconds; no time is judged."""

import re
from pathlib import Path

import pytest


@pytest.fixture
def peers(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
    import contestants
    import peers

    toy = contestants.Setting(8, 4, 1, 3, 16, 2, 2, 24, {"cpu": 2})
    monkeypatch.setitem(contestants.SETTINGS, "toy", toy)
    contestants.declare_torchvision_operators()
    return peers


def test_every_contestant_and_the_floor_stand_in_both_tables(peers):
    records = list(peers.race("toy", "cpu", rounds=2, memory=False))
    for step in ("forward", "train"):
        lines = peers.table([r for r in records if r["step"] == step]).splitlines()
        assert {line[:14].strip() for line in lines[2:]} == {*peers.MODELS, "products"}
    rounds = {"forward": 6, "train": 2}
    assert all(len(record["seconds"]) == rounds[record["step"]] for record in records)


def test_a_model_of_another_size_is_not_compared(peers, monkeypatch):
    def without_qkv_bias(setting):
        import contestants

        from vit_tutorial import ViT

        return ViT(**contestants.arguments_of_a_vit(setting), qkv_bias=False)

    monkeypatch.setitem(peers.MODELS, "timm", without_qkv_bias)
    with pytest.raises(ValueError, match="not the same model"):
        next(peers.race("toy", "cpu", rounds=1, memory=False))


def test_the_readme_quotes_the_recorded_run():
    root = Path(__file__).parents[1]
    recorded = (root / "benchmarks/results/cpu.txt").read_text("utf8")
    readme = (root / "README.md").read_text("utf8")
    quoted = re.findall(r"(\d\.\d{3}) \((\d\.\d{3} to \d\.\d{3})\)", readme)
    assert len(quoted) == 16
    for ratio, interval in quoted:
        assert re.search(rf" {ratio}  {interval}$", recorded, re.M), f"{ratio} ({interval})"


# Table of the sign test's 95 % interval for a median: ranks counted from 1.
@pytest.mark.parametrize(("n", "low", "high"), [(6, 1, 6), (10, 2, 9), (20, 6, 15), (30, 10, 21)])
def test_the_interval_of_a_median_is_the_sign_tests(peers, n, low, high):
    assert peers.median_interval(list(range(n, 0, -1))) == (low, high)


def test_the_floor_counts_the_products_of_a_step(peers):
    """Multiplications of forward and step, counted on paper for the toy: 2 pictures, 5 tokens."""
    import torch

    def multiplications(products):
        return sum(a.numel() * b.shape[-1] for a, b, _ in products)

    floor = peers.Products(peers.SETTINGS["toy"], "cpu", torch.float32)
    patches, head = 2 * 4 * 16 * 16, 2 * 16 * 3
    layer = 10 * 16 * (48 + 16 + 24 + 24) + 2 * 2 * 2 * 5 * 5 * 8
    assert multiplications(floor.ahead) == patches + 2 * layer + head
    assert multiplications(floor.back) == patches + 2 * 2 * layer + 2 * head
