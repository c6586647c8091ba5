"""Could it be chance? Paired tests, bootstrap intervals, and Holm's correction, over many columns of queries at once.

A column is one comparison or one system's measure. All columns share the same random signs and the same resampled
queries, so two numbers of one table differ by what they measure and not by how they were drawn; and a matrix product
does the work of all columns. Chance is an argument: the same seed gives the same numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

ROUNDS = 100_000       # of the randomisation test
RESAMPLES = 10_000     # of the bootstrap: the ends of an interval then move by a hundredth of its length
LEVEL = 0.95           # of an interval
AT_ONCE = 1 << 22      # random numbers in memory


def randomisation_p_values(differences: Floats, *, rounds: int = ROUNDS, seed: int = 0) -> Floats:
    """Two-sided p-value of each column's sum, were each query's sign a coin's.

    Fisher's randomisation test for pairs. All 2^m sign patterns of the m queries that differ anywhere are gone through
    where they are no more than `rounds`; else `rounds` of them are drawn, and the observed one counts as one more, so a
    p-value is at least 1 / (rounds + 1) and never too small.

    Args:
        differences: [n, C], each query's difference times its weight; 0 where it does not count.
        rounds: sign patterns to draw.
        seed: of the drawing.

    Returns:
        [C]; 1 for a column without a difference.

    Source: Smucker, Allan and Carterette, "A Comparison of Statistical Significance Tests for IR", CIKM 2007.
    """
    moved = differences[(differences != 0).any(axis=1)]    # [m, C]
    observed = np.abs(moved.sum(axis=0))
    # A sum in another order may differ in the last bits; a pattern as extreme as the observed one must count.
    reached = observed - 1e-9 * np.abs(moved).sum(axis=0)
    exact = len(moved) < 62 and 2 ** len(moved) <= rounds
    extreme = np.zeros(moved.shape[1], np.int64)
    total = 0
    for signs in _all_signs(len(moved)) if exact else _drawn_signs(len(moved), rounds, seed):
        extreme += (np.abs(signs @ moved) >= reached).sum(axis=0)
        total += len(signs)
    p_values: Floats = extreme / total if exact else (extreme + 1) / (total + 1)
    return p_values


def _all_signs(n: int) -> Iterator[Floats]:
    """Every pattern of n signs, [2^n, n]."""
    bits = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
    yield 1.0 - 2.0 * bits.astype(np.float64)


def _drawn_signs(n: int, rounds: int, seed: int) -> Iterator[Floats]:
    rng = np.random.default_rng(seed)
    step = max(1, AT_ONCE // max(n, 1))
    for start in range(0, rounds, step):
        size = min(step, rounds - start)
        bits = np.unpackbits(rng.integers(0, 256, (size, -(-n // 8)), dtype=np.uint8), axis=1, count=n)
        yield 1.0 - 2.0 * bits.astype(np.float64)


def bootstrap_means(values: Floats, strata: NDArray[np.int64], *, resamples: int = RESAMPLES, seed: int = 0) -> Floats:
    """Means of each column and stratum in resampled queries.

    The queries of a stratum (an intent, a data set) are drawn with replacement, as many as it has, so that a macro mean
    keeps its weights.

    Args:
        values: [n, C]; NaN where a query has no value in a column.
        strata: [n], numbers from 0 to S - 1.
        resamples: how often.
        seed: of the drawing.

    Returns:
        [S, resamples, C]; NaN where a resample holds no query with a value.
    """
    present = ~np.isnan(values)
    filled = np.where(present, values, 0.0)
    everywhere = bool(present.all())
    means = np.empty((int(strata.max()) + 1, resamples, values.shape[1]))
    for stratum in range(len(means)):
        members = np.flatnonzero(strata == stratum)
        rng = np.random.default_rng((seed, stratum))
        done = 0
        for counts in _resampled(len(members), resamples, rng):
            sums = counts @ filled[members]
            with np.errstate(invalid="ignore"):
                part = sums / (len(members) if everywhere else counts @ present[members].astype(float))
            means[stratum, done : done + len(counts)] = part
            done += len(counts)
    return means


def _resampled(n: int, resamples: int, rng: np.random.Generator) -> Iterator[Floats]:
    """How often each of n queries is drawn in each resample, [some, n]."""
    step = max(1, AT_ONCE // n)
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        drawn = rng.integers(0, n, (size, n)) + n * np.arange(size)[:, None]
        yield np.bincount(drawn.ravel(), minlength=size * n).reshape(size, n).astype(float)


def drawn_seeds(seeds: int, resamples: int, seed: int) -> Floats:
    """[resamples, seeds]: the share of each of a system's training seeds in each resample, drawn with replacement."""
    if seeds == 1:
        return np.ones((resamples, 1))
    rng = np.random.default_rng((seed, 1 << 20, seeds))
    return rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=resamples) / seeds


def interval(resampled: Floats, level: float = LEVEL) -> tuple[float, float]:
    """The percentile interval of resampled values, [resamples]; NaN where none is a number."""
    numbers = resampled[~np.isnan(resampled)]
    if not len(numbers):
        return np.nan, np.nan
    low, high = np.quantile(numbers, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def t_test_p_value(differences: Floats) -> float:
    """Two-sided p-value of Student's paired t test on the differences of the queries, [n]; 1 if all are 0, NaN for one query."""
    from scipy import stats

    if not differences.any():
        return 1.0
    if len(differences) < 2:
        return float("nan")
    # The same difference everywhere, but for rounding: no spread to set it against.
    if np.ptp(differences) <= 1e-12 * np.abs(differences).max():
        return 0.0
    return float(stats.ttest_1samp(differences, 0.0).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for how many there are, by Holm's steps: below .05 together, at most 5 % to err even once.

    Source: Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of Statistics 1979.
    """
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    corrected = [0.0] * len(p_values)
    worst = 0.0
    for place, index in enumerate(order):
        worst = max(worst, min(1.0, (len(p_values) - place) * p_values[index]))
        corrected[index] = worst
    return corrected
