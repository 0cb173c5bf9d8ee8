"""The benchmark's own machinery, at a size where a step takes milliseconds; no time is judged."""

import itertools
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch


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


def test_the_readmes_quote_the_recorded_run():
    root = Path(__file__).parents[1]
    recorded = (root / "benchmarks/results/cpu.txt").read_text("utf8")
    rows = re.findall(r"^(?!products).* (\S+)  (\S+) to (\S+)$", recorded, re.M)
    table = (root / "benchmarks/README.md").read_text("utf8")
    quoted = re.findall(r"(\d\.\d{3}) \((\d\.\d{3}) to (\d\.\d{3})\)", table)
    assert sorted(quoted) == sorted(rows)
    ratios = [float(ratio) for ratio, _, _ in rows]
    below = sum(float(high) < 1 for _, _, high in rows)
    above = sum(float(low) > 1 for _, low, _ in rows)
    for words in [
        f"over {len(rows)} comparisons",
        f"{min(ratios):.3f} to {max(ratios):.3f} of theirs",
        f"below 1 in {below} of them, above 1 in {above};",
    ]:
        assert words in (root / "README.md").read_text("utf8")


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


@pytest.fixture
def training(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
    import training

    return training


def test_both_training_loops_report_their_epochs(training, capfd):
    import usual

    recipe = replace(training.SHORT, train_on=100, validation=100, epochs=2)
    ours = training.run(*training.contestants(recipe, "cpu")["ours"], "cpu", seed=0)
    usual.train(recipe, "cpu", workers=0, seed=0)
    theirs = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    for records in (ours, theirs):
        assert [record["epoch"] for record in records] == [1, 2]
        assert all(record["images_per_second"] > 0 for record in records)
        assert all(0 <= record["validation_accuracy"] <= 1 for record in records)


def test_all_but_the_recipes_own_rows_show_every_patch(training):
    for name, (_, _, recipe) in training.contestants(training.FASHION, "cpu").items():
        dropping = name.startswith("ours") and "every patch" not in name
        assert recipe.drop_patches == (training.FASHION.drop_patches if dropping else 0), name


def test_speeds_are_compared_within_a_round_with_the_faster_usual_loop(training):
    speeds = {"ours": [300.0, 90.0], "usual, a": [100.0, 10.0], "usual, b": [50.0, 30.0]}
    rows = {
        line[:30].strip(): line[30:].split()
        for line in training.speed_table(speeds).splitlines()[1:]
    }
    assert rows["ours"] == ["195", "3.00", "3.00", "to", "3.00"]
    assert rows["usual, b"] == ["40", "0.75", "0.50", "to", "1.00"]


def test_a_goal_is_met_in_the_first_epoch_that_reaches_it(training):
    def run(*accuracies):
        return [
            {"epoch": i, "seconds": 10.0, "validation_accuracy": a}
            for i, a in enumerate(accuracies, start=1)
        ]

    table = training.goal_table({"ours": run(0.8, 0.86, 0.84, 0.91), "usual": run(0.8, 0.85)})
    ours, usual = table.splitlines()[1:]
    assert re.findall(r"epoch \d, \d+ s|not reached", ours) == ["epoch 2, 20 s", "epoch 4, 40 s"]
    assert re.findall(r"epoch \d, \d+ s|not reached", usual) == ["epoch 2, 20 s", "not reached"]


def test_what_a_picture_costs_is_the_floor_s_products(training, peers):
    """With every patch shown; half of the 50 tokens cost half, but for attention's quarter."""
    import torch

    setting = replace(peers.SETTINGS["28x28"], batch={"meta": 1})
    floor = peers.Products(setting, "meta", torch.float32)
    expected = 2 * sum(a.numel() * b.shape[-1] for a, b, _ in floor.ahead + floor.back)
    recipe = replace(training.FASHION, epochs=1_000)
    assert training.flops(replace(recipe, drop_patches=0.0), 1) == expected
    assert training.flops(recipe, 1_000) == expected
    assert 0.45 < training.flops(recipe, 1) / expected < 0.5


def test_utilisation_is_what_was_computed_over_what_the_machine_can(training):
    rounds = [{"flops": flops, "peak_bytes": 3e6} for flops in (1e12, 2e12, 9e12)]
    rate, _, row = training.use_table({"ours": rounds}, rate=8e12).splitlines()
    assert rate == "large matrix products: 8 TFLOP/s"
    assert row.split() == ["ours", "2.000", "25.00%", "3"]


def test_a_gpu_is_asked_for_more_than_a_processor(training):
    short, full = training.recipes("cuda", epochs=40)
    assert (short.epochs, full.epochs) == (3, 40)
    assert short.train_on is None
    assert replace(short, epochs=40) == full
    names = {*training.contestants(short, "cuda")}
    assert {"ours", "ours, every patch shown"} < names
    assert len(names) == 3
    table = training.goal_table(
        {"ours": [{"epoch": 1, "seconds": 4.0, "validation_accuracy": 0.925}]},
        training.GOALS["cuda"],
    )
    head, row = table.splitlines()
    assert head.split() == "90 % 92.3 % 93 % 94 %".split()
    assert re.findall(r"epoch 1, 4 s|not reached", row) == 2 * ["epoch 1, 4 s"] + 2 * [
        "not reached"
    ]


def test_the_limits_of_a_step_are_set_below_each_other(training):
    import limits

    about = {"row": "batches of 512", "pictures": 55_000, "batch_size": 512}
    measured = {"images_per_second": 54_784, "seconds": 1.25, "kernels": 10_700}
    measured |= {"kernel_seconds": 0.5, "flops": 4e12, "peak_bytes": 2e8}
    failed = {**about, "row": "batches of 64", "failed": "exit status 1"}
    *_, row, other = limits.table([about | measured, failed], rate=8e14).splitlines()
    # 107 steps in the second that training took, and 0.25 s for the held-out pictures.
    assert row.split()[3:] == ["54784", "9.346", "100", "40.0%", "0.50%", "200"]
    assert other == f"{'batches of 64':34}failed: exit status 1"


@pytest.fixture
def attention(peers):
    import attention

    return attention


def test_one_branch_of_attention_is_fused_and_the_other_is_not(attention, monkeypatch):
    calls = {"fused": 0, "softmax": 0}

    def count(name, function):
        def counted(*args, **kwargs):
            calls[name] += 1
            return function(*args, **kwargs)

        return counted

    fused = count("fused", torch.nn.functional.scaled_dot_product_attention)
    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", fused)
    monkeypatch.setattr(torch.nn.Softmax, "forward", count("softmax", torch.nn.Softmax.forward))
    monkeypatch.setattr(attention, "AT_LEAST", 0)
    record = attention.race(5, 16, 2, train=True, rounds=3, clock=itertools.count().__next__)
    assert record["plain"] == record["fused"] == [1, 1, 1]
    assert calls == {"fused": 5, "softmax": 5}  # to compare, to warm up, and three rounds


def test_the_ratio_of_the_branches_is_taken_within_a_round(attention):
    record = {"plain": [2.0, 9.0, 40.0], "fused": [1.0, 3.0, 10.0]}
    assert attention.ratio(record) == 3.0
    sizes = itertools.product(attention.TOKENS, attention.WIDTHS, attention.BATCHES, (False, True))
    records = [
        {"tokens": t, "width": w, "batch": b, "train": train}
        | {"plain": [float(t + w + b)], "fused": [100.0]}
        for t, w, b, train in sizes
    ]
    lines = attention.table(records).splitlines()
    for width, tokens in itertools.product(attention.WIDTHS, attention.TOKENS):
        (line,) = (line.split() for line in lines if line.split()[:2] == [str(width), str(tokens)])
        expected = [f"{(tokens + width + batch) / 100:.2f}" for batch in attention.BATCHES]
        assert line[2:] == 2 * expected


def test_the_readme_quotes_the_recorded_ratios_of_attention():
    folder = Path(__file__).parents[1] / "benchmarks"
    written = (folder / "results" / "attention-cpu.txt").read_text("utf8").splitlines()[-1]
    (count, total, median, low, high) = re.findall(r"[\d.]+\d|\d+", written)
    text = " ".join((folder / "README.md").read_text("utf8").split())
    assert f"in {count} of {total} sizes" in text
    assert f"median ratio {median}, from {low} to {high}" in text
