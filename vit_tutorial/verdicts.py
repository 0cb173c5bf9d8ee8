"""Judge a comparison: differences, intervals that hold jointly, verdicts.

The arms of an experiment are analysed together. Each seed's result is one
value; the spread between seeds is pooled over all arms, and the intervals of
all comparisons hold at once: when nothing differs, 95% of experiments have no
interval that misses zero.
"""

from bisect import bisect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations

import numpy as np
from scipy.stats import chi2, norm, qmc
from scipy.stats import t as student

__all__ = ["MARGIN", "compare", "compare_over_images"]

MARGIN = 1.0
"""The margin of equivalence, in percentage points of accuracy.

A smaller difference between two recipes is of no interest to this book. We
wrote the margin down after the book's first runs, as the chapters say, and
before all later ones.
"""


@dataclass(frozen=True)
class Comparison:
    """The difference one - other between the means of two arms.

    low and high are the ends of its interval. The verdict is about `one`:

    - "equivalent": the interval lies within ±margin, even if it excludes 0;
    - "better" or "worse": it excludes 0 and is not equivalent;
    - "inconclusive": anything else.

    Without a margin nothing is equivalent. `one` is better where its values
    are larger, so compare accuracies, not errors.
    """

    one: str
    other: str
    difference: float
    low: float
    high: float
    runs: tuple[int, int]
    margin: float | None = MARGIN
    unit: str = "seeds"

    @property
    def verdict(self) -> str:
        margin = 0 if self.margin is None else self.margin
        if -margin < self.low and self.high < margin:
            return "equivalent"
        if self.low > 0:
            return "better"
        return "worse" if self.high < 0 else "inconclusive"

    def __str__(self) -> str:
        a, b = self.runs
        n = f"n = {a}" if a == b else f"n = {a} and {b}"
        interval = f"95% CI {self.low:+.2f} to {self.high:+.2f}"
        return (
            f"{self.one} - {self.other}: {self.difference:+.2f} "
            f"({interval}, {n} {self.unit}): {self.verdict}"
        )


def compare(
    arms: Mapping[str, Sequence[float]],
    against: str | Iterable[tuple[str, str]] | None = None,
    *,
    margin: float | None = MARGIN,
    confidence: float = 0.95,
) -> list[Comparison]:
    """Compare the arms of one experiment, with intervals that hold jointly.

    Args:
        arms: {name: one value per seed}, all arms of the experiment, including
            those that are not compared: each one adds to the estimate of the
            spread between seeds.
        against: the baseline that every other arm is compared with; or the
            pairs to compare, (one, other); or None for every pair.
        margin: below it a difference is of no interest, in the values' unit;
            None: no difference is too small to matter.
        confidence: the probability that all the intervals hold at once.

    Returns a Comparison for each pair. The values of an arm are assumed to be
    independent and normal, with the same variance in all arms. Against a
    baseline the intervals are Dunnett's (1955); for every pair they are
    Tukey's.
    Raises ValueError for unknown names, values that are not finite, fewer
    than two values in an arm, or nothing to compare.
    """
    values = {name: np.asarray(each, float) for name, each in arms.items()}
    for name, each in values.items():
        if each.ndim != 1 or len(each) < 2 or not np.isfinite(each).all():
            raise ValueError(
                f"arm {name!r} needs at least two finite values, one a seed, "
                f"got {arms[name]!r}"
            )
    pairs = pairs_of(values, against)
    counts = tuple(len(each) for each in values.values())
    spread = pooled_spread(values.values())
    critical = critical_value(counts, indices(values, pairs), confidence)

    comparisons = []
    for one, other in pairs:
        a, b = values[one], values[other]
        difference = a.mean() - b.mean()
        half = critical * spread * (1 / len(a) + 1 / len(b)) ** 0.5
        comparisons.append(
            Comparison(
                one,
                other,
                float(difference),
                float(difference - half),
                float(difference + half),
                (len(a), len(b)),
                margin,
            )
        )
    return comparisons


def compare_over_images(
    values: Mapping[str, Sequence[float]],
    pairs: Sequence[tuple[str, str]],
    *,
    margin: float | None,
    confidence: float = 0.95,
) -> list[Comparison]:
    """Compare what one model scores on the same images, image by image.

    The intervals say what other images of this kind would show, for this model
    alone: they say nothing about the model of another seed.

    Args:
        values: {name: one value per image}, all in the order of the images.
        pairs: what to compare, (one, other).
        margin: below it a difference is of no interest, in the values' unit.
        confidence: the probability, at least, that all the intervals hold at
            once.

    Returns a Comparison for each pair: Student's interval of the differences,
    corrected for the number of pairs (Bonferroni).
    Raises ValueError for unknown names, values that are not finite, or arms
    of different lengths.
    """
    arrays = {name: np.asarray(each, float) for name, each in values.items()}
    shape, *others = {each.shape for each in arrays.values()}
    if others or len(shape) != 1 or shape[0] < 2:
        shapes = {name: each.shape for name, each in arrays.items()}
        raise ValueError(
            "expected as many values of each, one an image and two at least, "
            f"got {shapes}"
        )
    for name, each in arrays.items():
        if not np.isfinite(each).all():
            raise ValueError(f"the values of {name!r} must all be finite")
    unknown = {name for pair in pairs for name in pair} - arrays.keys()
    if unknown or not pairs:
        raise ValueError(
            f"expected pairs of two of {', '.join(arrays)}, got {pairs!r}"
        )
    (n,) = shape
    tail = (1 - confidence) / len(pairs) / 2  # of one pair, on one side
    critical = student.ppf(1 - tail, n - 1)
    comparisons = []
    for one, other in pairs:
        differences = arrays[one] - arrays[other]
        mean = differences.mean()
        half = critical * differences.std(ddof=1) / n**0.5
        comparisons.append(
            Comparison(
                one,
                other,
                float(mean),
                float(mean - half),
                float(mean + half),
                (n, n),
                margin,
                "images",
            )
        )
    return comparisons


def seeds_to_decide(
    comparison: Comparison,
    arms: Mapping[str, Sequence[float]],
    against: str | Iterable[tuple[str, str]] | None = None,
) -> int:
    """Return how many seeds per arm would settle an inconclusive comparison.

    That is a forecast: it takes the difference and the spread between seeds to
    stay as they were found, and every arm to get as many seeds.

    arms, against: what `compare` was given. Raises ValueError where a thousand
    seeds would not do.
    """
    spread = pooled_spread([np.asarray(each, float) for each in arms.values()])
    pairs = indices(arms, pairs_of(arms, against))

    def decided(seeds: int) -> bool:
        critical = critical_value((seeds,) * len(arms), pairs)
        half = critical * spread * (2 / seeds) ** 0.5
        low, high = comparison.difference - half, comparison.difference + half
        verdict = replace(comparison, low=low, high=high).verdict
        return verdict != "inconclusive"

    # More seeds, narrower intervals: what is decided stays so.
    seeds = 2 + bisect(range(2, 1_001), False, key=decided)
    if seeds > 1_000:
        raise ValueError(f"a thousand seeds would not settle {comparison}")
    return seeds


def forecast(
    comparison: Comparison,
    arms: Mapping[str, Sequence[float]],
    against: str | Iterable[tuple[str, str]] | None = None,
) -> str:
    """Return a verdict; after "inconclusive", how many seeds per arm would
    settle it, as `seeds_to_decide` finds."""
    if comparison.verdict != "inconclusive":
        return comparison.verdict
    try:
        seeds = seeds_to_decide(comparison, arms, against)
    except ValueError:
        return "inconclusive (1,000 seeds wouldn't do)"
    return f"inconclusive ({seeds} seeds would settle it)"


def pairs_of(
    arms: Mapping, against: str | Iterable[tuple[str, str]] | None
) -> list[tuple[str, str]]:
    """Return the pairs that `compare` is asked for, (one, other)."""
    if against is None:
        pairs = list(combinations(arms, 2))
    elif isinstance(against, str):
        pairs = [(name, against) for name in arms if name != against]
    else:
        pairs = list(against)
    unknown = {name for pair in pairs for name in pair} - arms.keys()
    if unknown or not pairs:
        raise ValueError(
            f"expected pairs of two of the arms {', '.join(arms)}, "
            f"got {against!r}"
        )
    return pairs


def indices(
    arms: Mapping, pairs: Sequence[tuple[str, str]]
) -> tuple[tuple[int, int], ...]:
    """Name the arms of each pair by their places."""
    place = {name: i for i, name in enumerate(arms)}
    return tuple((place[one], place[other]) for one, other in pairs)


def pooled_spread(arms: Iterable[np.ndarray]) -> float:
    """Return the standard deviation between seeds, the same in all arms."""
    arms = [*arms]
    residuals = sum(((each - each.mean()) ** 2).sum() for each in arms)
    counts = [len(each) for each in arms]
    return float((residuals / degrees_of_freedom(counts)) ** 0.5)


def degrees_of_freedom(counts: Sequence[int]) -> int:
    """Return how many independent differences between seeds all arms hold."""
    return sum(counts) - len(counts)


@cache
def critical_value(
    counts: tuple[int, ...],
    pairs: tuple[tuple[int, int], ...],
    confidence: float = 0.95,
) -> float:
    """Return the |t| that no comparison exceeds in 95% of experiments.

    It is the quantile of the largest |t| among the pairs over 65,536
    experiments in which nothing differs, drawn evenly (a Sobol sequence)
    rather than at random. For one pair it is Student's t.

    Args:
        counts: the number of seeds of each arm.
        pairs: which arms are compared, by their indices in `counts`.
    """
    freedom = degrees_of_freedom(counts)
    even = qmc.Sobol(len(counts) + 1, rng=0).random(2**16)
    means = norm.ppf(even[:, :-1]) / np.sqrt(counts)  # of the arms
    spread = np.sqrt(chi2.ppf(even[:, -1], freedom) / freedom)  # pooled
    largest = np.zeros(len(even))
    for one, other in pairs:
        error = (1 / counts[one] + 1 / counts[other]) ** 0.5
        t = np.abs(means[:, one] - means[:, other]) / (spread * error)
        largest = np.maximum(largest, t)
    return float(np.quantile(largest, confidence))
