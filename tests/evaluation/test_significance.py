"""Tests, intervals and Holm's steps: by hand, then by simulation, then against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from headtail.evaluation import significance
from headtail.evaluation.significance import (
    bootstrap_means,
    drawn_seeds,
    holm,
    interval,
    randomisation_p_values,
    t_test_p_value,
)


def p_of(differences, **options):
    return float(randomisation_p_values(np.array(differences, float)[:, None], **options)[0])


def test_few_queries_are_gone_through_exactly():
    assert p_of([1, 1, 1]) == 2 / 8    # +++ and ---
    assert p_of([2, 1, -1]) == 6 / 8    # of the 8 sums 4 0 2 -2 2 -2 0 -4 those of at least 2
    assert p_of([0, 0]) == p_of([0]) == 1
    assert p_of([0.1, 0.2, -0.3]) == 1    # the observed sum is 0 but for rounding, and so it counts


def test_a_pattern_as_extreme_but_for_rounding_counts():
    assert p_of([-0.4, 0.7, 0.7, 0.2, 0.2, 0.1]) == 16 / 64    # of 1.5; in floating point two of the sixteen are a hair below


def test_a_drawn_p_value_is_close_to_the_exact_one_and_never_0():
    rng = np.random.default_rng(1)
    differences = rng.normal(0.4, 1, 14)
    exact = p_of(differences)
    assert p_of(differences, rounds=10_000, seed=3) == pytest.approx(exact, abs=0.015)
    assert p_of(differences, rounds=10_000, seed=3) == p_of(differences, rounds=10_000, seed=3)
    assert p_of(np.ones(200), rounds=999) == 1 / 1000


def test_columns_do_not_touch_each_other_and_queries_that_count_nowhere_change_nothing():
    rng = np.random.default_rng(2)
    columns = rng.normal(0.2, 1, (40, 3))
    together = randomisation_p_values(columns, rounds=5000)
    assert together == pytest.approx([p_of(column, rounds=5000) for column in columns.T])
    padded = np.zeros((60, 3))
    padded[::3][:20], padded[1::3][:20] = columns[:20], columns[20:]
    assert randomisation_p_values(padded, rounds=5000) == pytest.approx(together, abs=0.02)


def test_against_scipy():
    differences = np.random.default_rng(4).normal(0.25, 1, 60)
    theirs = stats.permutation_test(
        (differences, np.zeros(60)), lambda a, b: np.mean(a - b), permutation_type="samples", n_resamples=20_000, random_state=0
    )
    assert p_of(differences, rounds=20_000) == pytest.approx(theirs.pvalue, abs=0.01)
    assert t_test_p_value(differences) == pytest.approx(stats.ttest_rel(differences, np.zeros(60)).pvalue)
    resampled = bootstrap_means(differences[:, None], np.zeros(60, int), seed=5)[0, :, 0]
    scipys = stats.bootstrap((differences,), np.mean, method="percentile", n_resamples=20_000, random_state=0).confidence_interval
    assert interval(resampled) == pytest.approx(tuple(scipys), abs=0.03)


@pytest.mark.parametrize(("differences", "p"), [([0, 0, 0], 1.0), ([0.5, 0.5], 0.0)])
def test_t_test_without_spread(differences, p):
    assert t_test_p_value(np.array(differences, float)) == p
    assert np.isnan(t_test_p_value(np.array([0.5])))


def simulated(differences, rounds=999):
    """p-values of many comparisons of n queries at once, [C]."""
    return randomisation_p_values(differences, rounds=rounds, seed=0)


@pytest.mark.parametrize("name", ["reciprocal ranks", "rare differences"])
def test_without_a_difference_one_comparison_in_twenty_is_called_significant(name):
    rng = np.random.default_rng(6)
    n, comparisons = 60, 5000
    if name == "reciprocal ranks":    # two systems of one quality: 1 / rank of the first relevant doc, cut at 10
        ranks = rng.geometric(0.3, (2, n, comparisons))
        values = np.where(ranks <= 10, 1 / ranks, 0.0)
        differences = values[0] - values[1]
    else:
        differences = rng.choice([-0.5, 0, 0, 0, 0.5], (n, comparisons)) + rng.choice([-0.01, 0.01], (n, comparisons))
    assert 0.04 <= (simulated(differences) <= 0.05).mean() <= 0.06
    t_tests = [t_test_p_value(column) for column in differences.T]
    assert 0.04 <= (np.array(t_tests) <= 0.05).mean() <= 0.06


def test_a_real_difference_is_mostly_found():
    differences = np.random.default_rng(7).normal(0.5, 1, (60, 400))
    assert (simulated(differences) <= 0.05).mean() > 0.9


def test_an_interval_holds_the_truth_19_times_in_20():
    rng = np.random.default_rng(8)
    samples = rng.exponential(1.0, (80, 600))    # its mean is 1
    resampled = bootstrap_means(samples, np.zeros(80, int), resamples=1000)[0]
    held = [low <= 1 <= high for low, high in (interval(column) for column in resampled.T)]
    assert 0.9 < np.mean(held) < 0.98


def test_bootstrap_by_hand_strata_and_missing_values():
    values = np.array([[1.0, 1.0], [1.0, np.nan], [3.0, 5.0], [5.0, np.nan]])
    means = bootstrap_means(values, np.array([0, 0, 1, 1]), resamples=4000, seed=1)
    assert means.shape == (2, 4000, 2)
    assert set(means[0, :, 0]) == {1.0}
    assert set(means[1, :, 0]) == {3.0, 4.0, 5.0}
    assert (means[1, :, 0] == 4).mean() == pytest.approx(0.5, abs=0.03)
    assert np.isnan(means[1, :, 1]).mean() == pytest.approx(0.25, abs=0.03)    # only the query without a value was drawn
    assert set(means[1, :, 1][~np.isnan(means[1, :, 1])]) == {5.0}
    assert interval(np.array([np.nan])) == pytest.approx((np.nan, np.nan), nan_ok=True)


def test_pieces_of_any_size_give_the_same(monkeypatch):
    values = np.random.default_rng(9).normal(size=(30, 2))
    signs = randomisation_p_values(values, rounds=2000)
    monkeypatch.setattr(significance, "AT_ONCE", 100)
    assert abs(randomisation_p_values(values, rounds=2000) - signs).max() < 0.05
    assert bootstrap_means(values, np.zeros(30, int), resamples=50).shape == (1, 50, 2)


def test_seeds_are_drawn_with_replacement():
    assert drawn_seeds(1, 5, 0).tolist() == [[1.0]] * 5
    shares = drawn_seeds(3, 2000, 0)
    assert shares.sum(axis=1) == pytest.approx(1)
    assert shares.mean(axis=0) == pytest.approx([1 / 3] * 3, abs=0.02)
    assert (shares.max(axis=1) == 1).mean() == pytest.approx(3 / 27, abs=0.02)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_lies_between_no_correction_and_bonferroni_and_keeps_the_order(p_values):
    corrected = holm(p_values)
    assert all(p <= c <= min(1, len(p_values) * p) + 1e-12 for p, c in zip(p_values, corrected, strict=True))
    by_p = [c for _, c in sorted(zip(p_values, corrected, strict=True))]
    assert by_p == sorted(by_p)
