"""Comparisons: intervals against SciPy's, joint coverage, and the verdicts."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from scipy.stats import dunnett, ttest_ind, ttest_rel, tukey_hsd

from vit_tutorial.verdicts import (
    Comparison,
    compare,
    compare_over_images,
    forecast,
    seeds_to_decide,
)


def draw(random, counts, means=None, spread=0.5):
    means = means or [0] * len(counts)
    return {
        f"arm {i}": random.normal(mean, spread, size=n)
        for i, (n, mean) in enumerate(zip(counts, means, strict=True))
    }


@pytest.mark.parametrize("counts", [(3, 3), (5, 2), (15, 10)])
def test_two_arms_are_students_interval(counts):
    arms = draw(np.random.default_rng(0), counts, [86, 85])
    (found,) = compare(arms, "arm 1")
    expected = ttest_ind(*arms.values()).confidence_interval()
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.003)
    assert found.difference == pytest.approx(arms["arm 0"].mean() - arms["arm 1"].mean())


@pytest.mark.parametrize(("arms", "seeds"), [(3, 3), (9, 3), (5, 15)])
def test_against_a_baseline_they_are_dunnetts(arms, seeds):
    values = draw(np.random.default_rng(1), [seeds] * arms)
    base, *others = values.values()
    expected = dunnett(*others, control=base, rng=0).confidence_interval()
    for i, found in enumerate(compare(values, "arm 0")):
        theirs = (expected.high[i] - expected.low[i]) / 2
        ours = (found.high - found.low) / 2
        assert ours == pytest.approx(theirs, rel=0.01)
        middle = (expected.high[i] + expected.low[i]) / 2
        assert found.difference == pytest.approx(middle, abs=0.01)


@pytest.mark.parametrize(("arms", "seeds"), [(3, 3), (4, 10)])
def test_over_all_pairs_they_are_tukeys(arms, seeds):
    values = draw(np.random.default_rng(2), [seeds] * arms)
    expected = tukey_hsd(*values.values()).confidence_interval()
    for found, (i, j) in zip(compare(values), combinations(range(arms), 2), strict=True):
        theirs = (expected.high[i, j] - expected.low[i, j]) / 2
        assert (found.high - found.low) / 2 == pytest.approx(theirs, rel=0.005)


EXPERIMENTS = {
    "a recipe's parts": ([3] * 9, "arm 0"),
    "a recipe's parts, 15 seeds": ([15] * 9, "arm 0"),
    "every pair of four": ([5] * 4, None),
    "two models at four sizes": (
        [3] * 8,
        [(f"arm {i}", f"arm {i + 1}") for i in (0, 2, 4, 6)],
    ),
    "as many seeds as there are": ([10, 3, 5], "arm 0"),
}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_in_2000_experiments_the_intervals_hold_jointly(name):
    """Every interval of an experiment covers its true difference, or it missed."""
    counts, against = EXPERIMENTS[name]
    random = np.random.default_rng(3)
    means = list(random.normal(85, 2, size=len(counts)))
    true = {f"arm {i}": mean for i, mean in enumerate(means)}
    held = 0
    for _ in range(2_000):
        held += all(
            c.low < true[c.one] - true[c.other] < c.high
            for c in compare(draw(random, counts, means), against)
        )
    assert 0.93 <= held / 2_000 <= 0.97


@pytest.mark.parametrize(
    ("low", "high", "margin", "verdict"),
    [
        (-0.4, 0.7, 1, "equivalent"),
        (0.2, 0.7, 1, "equivalent"),  # though it excludes 0
        (0.2, 1.7, 1, "better"),
        (1.2, 1.7, 1, "better"),
        (-1.7, -0.2, 1, "worse"),
        (-0.2, 1.7, 1, "inconclusive"),
        (-3.0, 3.0, 1, "inconclusive"),
        (-0.4, 0.7, None, "inconclusive"),
        (0.0, 0.0, None, "inconclusive"),
        (0.2, 0.7, None, "better"),
        (0.2, 1.0, 1, "better"),  # at the margin is not within it
    ],
)
def test_the_verdict_follows_from_interval_and_margin(low, high, margin, verdict):
    middle = (low + high) / 2
    found = Comparison("one", "other", middle, low, high, (3, 3), margin)
    assert found.verdict == verdict
    assert str(found).endswith(f": {verdict}")


def test_what_a_comparison_prints_has_the_interval_and_the_seeds():
    found = Comparison("mean", "class token", 1.04, 0.38, 1.70, (3, 3))
    assert str(found) == ("mean - class token: +1.04 (95% CI +0.38 to +1.70, n = 3 seeds): better")
    assert "n = 3 and 5 seeds" in str(Comparison("a", "b", 0, -1, 1, (3, 5)))


def test_an_arm_that_is_not_compared_still_tells_of_the_spread():
    arms = {"a": [1.0, 2.0], "b": [2.0, 3.0], "wide": [0.0, 9.0]}
    pair = [("a", "b")]
    (alone,) = compare({k: arms[k] for k in "ab"}, pair)
    (together,) = compare(arms, pair)
    assert together.high - together.low > alone.high - alone.low
    assert together.difference == alone.difference


@pytest.mark.parametrize(
    ("arms", "against", "message"),
    [
        (
            {"a": [1, 2], "b": [1]},
            "a",
            r"arm 'b' needs at least two finite .*\[1\]",
        ),
        ({"a": [1, 2], "b": [1, float("nan")]}, "a", "arm 'b' needs .* finite"),
        ({"a": [1, 2], "b": [[1, 2]]}, "a", "arm 'b' needs"),
        ({"a": [1, 2], "b": [1, 3]}, "c", "two of the arms a, b, got 'c'"),
        ({"a": [1, 2], "b": [1, 3]}, [("a", "c")], "two of the arms a, b, got"),
        ({"a": [1, 2], "b": [1, 3]}, [], r"two of the arms a, b, got \[\]"),
        ({"a": [1, 2]}, None, "two of the arms a, got None"),
    ],
)
def test_what_cannot_be_compared_is_named(arms, against, message):
    with pytest.raises(ValueError, match=message):
        compare(arms, against)


def images(random, n=50):
    easy = random.normal(size=n)  # what an image does to every score alike
    return {name: easy + 0.1 * random.normal(size=n) for name in "abcd"}


@pytest.mark.parametrize("difference", [0.05, 0.3, 0.6, 0.9, -0.7])
def test_as_many_seeds_as_are_forecast_decide_and_one_fewer_does_not(difference):
    def experiment(seeds):
        """Three arms with these very differences and a spread of exactly 0.5."""
        pattern = np.random.default_rng(4).normal(size=seeds)
        pattern -= pattern.mean()
        pattern *= 0.5 / pattern.std(ddof=1)
        return {"base": pattern, "arm": pattern + difference, "other": pattern + 3}

    arms = experiment(2)
    found, _ = compare(arms, "base")
    assert found.verdict == "inconclusive"
    seeds = seeds_to_decide(found, arms, "base")
    assert compare(experiment(seeds), "base")[0].verdict != "inconclusive"
    assert seeds == 2 or compare(experiment(seeds - 1), "base")[0].verdict == "inconclusive"


def test_without_a_margin_no_number_of_seeds_settles_a_difference_of_nothing():
    arms = {"base": [1.0, 2.0], "arm": [2.0, 3.0]}
    (found,) = compare(arms, "base")
    nothing = replace(found, difference=0.0, margin=None)
    with pytest.raises(ValueError, match=r"a thousand seeds would not settle arm - base: \+0\.00"):
        seeds_to_decide(nothing, arms)
    assert forecast(nothing, arms) == "inconclusive (1,000 seeds wouldn't do)"


def test_a_forecast_says_how_many_seeds_take_the_doubt_away():
    arms = {"base": [1.0, 2.0, 3.0], "arm": [2.0, 3.0, 4.0], "far": [9.0, 9.5, 10.0]}
    doubtful, decided = compare(arms, "base")
    assert forecast(decided, arms, "base") == "better"
    said = forecast(doubtful, arms, "base")
    assert said == f"inconclusive ({seeds_to_decide(doubtful, arms, 'base')} seeds would settle it)"


def test_over_images_one_pair_is_students_paired_interval():
    values = images(np.random.default_rng(4))
    (found,) = compare_over_images(values, [("a", "b")], margin=0.05)
    expected = ttest_rel(values["a"], values["b"]).confidence_interval()
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert "n = 50 images" in str(found)


def test_over_images_the_intervals_hold_jointly():
    random, pairs = np.random.default_rng(5), list(combinations("abcd", 2))
    held = 0
    for _ in range(2_000):
        found = compare_over_images(images(random), pairs, margin=None)
        held += all(c.low < 0 < c.high for c in found)
    assert held / 2_000 >= 0.94  # Bonferroni's hold in 95% or more


@pytest.mark.parametrize(
    ("values", "pairs", "message"),
    [
        ({"a": [1, 2], "b": [1]}, [("a", "b")], "as many values of each"),
        ({"a": [1], "b": [1]}, [("a", "b")], "two at least"),
        (
            {"a": [1, 2], "b": [1, np.inf]},
            [("a", "b")],
            "'b' must all be finite",
        ),
        ({"a": [1, 2], "b": [1, 2]}, [("a", "c")], "two of a, b, got"),
        ({"a": [1, 2], "b": [1, 2]}, [], "two of a, b, got"),
    ],
)
def test_what_cannot_be_compared_over_images_is_named(values, pairs, message):
    with pytest.raises(ValueError, match=message):
        compare_over_images(values, pairs, margin=None)
