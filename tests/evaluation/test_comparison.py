"""Systems against a baseline: groups, seeds and missing values by hand."""

from __future__ import annotations

import numpy as np
import pytest

from headtail.errors import HeadtailError
from headtail.evaluation.comparison import Group, Panel, compare

FEW = {"rounds": 2000, "resamples": 500}


def column(*values):
    return np.array(values, float).reshape(len(values), -1)


def panel(values, strata, groups=None):
    strata = np.array(strata)
    groups = groups or [Group("all", {0: 1.0})]
    return Panel({system: {"m": column(*found)} for system, found in values.items()}, strata, groups)


def test_means_differences_wins_ties_and_losses_by_hand():
    found = compare(panel({"base": [0.5, 0.5, 0.2, 1.0], "ours": [1.0, 0.5, 0.1, 1.0]}, [0, 0, 0, 0]), **FEW)
    (one,) = found.comparisons
    assert (one.system, one.baseline, one.group, one.measure) == ("ours", "base", "all", "m")
    assert one.difference == pytest.approx(0.1)
    assert (one.wins, one.ties, one.losses) == (1, 2, 1)
    assert one.p == 1.0    # of the signs ++ +- -+ -- of .5 and -.1 all reach .4
    assert found.estimate("ours", "all", "m").mean == pytest.approx(0.65)
    low, high = found.estimate("ours", "all", "m").interval
    assert low < 0.65 < high


def test_two_systems_alike_differ_in_nothing():
    (one,) = compare(panel({"a": [0.1, 0.7], "b": [0.1, 0.7]}, [0, 0]), **FEW).comparisons
    assert (one.difference, one.interval, one.p, one.p_holm, one.p_t) == (0, (0, 0), 1, 1, 1)
    assert not one.significant()


def test_a_macro_mean_weighs_its_parts_and_not_their_sizes():
    groups = [Group("question", {0: 1.0}), Group("browse", {1: 1.0}), Group("macro", {0: 0.5, 1: 0.5})]
    values = {"a": [0, 0, 0, 0.0], "b": [1, 1, 1, 0.5]}
    found = compare(panel(values, [0, 0, 0, 1], groups), **FEW)
    assert [one.difference for one in found.comparisons] == pytest.approx([1.0, 0.5, 0.75])
    assert np.isnan(found.comparison("b", "macro", "m").p_t)    # no t test over two strata
    assert found.comparison("b", "question", "m").p == 2 / 8


def test_a_test_over_several_strata_weighs_them_as_the_mean_does():
    groups = [Group("macro", {0: 0.5, 1: 0.5})]
    # Question: .4 three times; browse: -.3 once. The means differ by .2 - .15 = .05, and every other choice of signs by as much or more.
    found = compare(panel({"a": [0, 0, 0, 0.3], "b": [0.4, 0.4, 0.4, 0]}, [0, 0, 0, 1], groups), **FEW)
    assert found.comparisons[0].difference == pytest.approx(0.05)
    assert found.comparisons[0].p == 1.0


def test_a_measure_that_says_nothing_of_quality_is_estimated_and_not_compared():
    values = {name: {"nDCG@5": column(0.1, 0.9), "Judged@5": column(1, 0)} for name in "ab"}
    found = compare(Panel(values, np.zeros(2, int), [Group("all", {0: 1.0})]), untested=["Judged@5"], **FEW)
    assert [one.measure for one in found.comparisons] == ["nDCG@5"]
    assert found.estimate("b", "all", "Judged@5").mean == 0.5


def test_queries_without_a_value_leave_the_pair_and_a_stratum_without_any_has_no_mean():
    nan = float("nan")
    found = compare(panel({"a": [0.2, nan, 0.4], "b": [0.6, 1.0, nan]}, [0, 0, 0]), **FEW)
    assert found.comparisons[0].difference == pytest.approx(0.4)    # the first query alone
    assert found.estimate("b", "all", "m").mean == pytest.approx(0.8)    # its own two
    groups = [Group("here", {0: 1.0}), Group("there", {1: 1.0}), Group("macro", {0: 0.5, 1: 0.5})]
    found = compare(panel({"a": [0.2, 0.4], "b": [0.5, nan]}, [0, 1], groups), **FEW)
    assert np.isnan([found.comparison("b", name, "m").p for name in ("there", "macro")]).all()
    assert found.comparison("b", "here", "m").p_holm == found.comparison("b", "here", "m").p == 1.0    # one comparison was made
    assert np.isnan(found.estimate("b", "there", "m").mean)


def test_seeds_are_averaged_and_widen_the_interval():
    rng = np.random.default_rng(0)
    base = rng.uniform(size=(40, 1))
    shifts = np.array([-0.2, 0.0, 0.2])
    seeds = base + 0.1 + shifts    # [40, 3]: the same queries, another level for each seed
    both = {"base": {"m": base}, "ours": {"m": seeds}}
    one_seed = {"base": {"m": base}, "ours": {"m": seeds[:, 1:2]}}
    strata, groups = np.zeros(40, int), [Group("all", {0: 1.0})]
    (several,), (single,) = (compare(Panel(values, strata, groups), **FEW).comparisons for values in (both, one_seed))
    assert several.difference == pytest.approx(single.difference) == pytest.approx(0.1)
    assert single.interval == pytest.approx((0.1, 0.1))    # the queries do not differ in their difference
    assert several.interval[0] < 0 < 0.2 < several.interval[1]    # the seeds do
    assert several.p == single.p    # the test is about queries, given the seeds


def test_holm_counts_all_systems_and_measures_and_the_baseline_can_be_chosen():
    rng = np.random.default_rng(1)
    values = {name: {m: rng.uniform(size=(30, 1)) + shift for m in "xy"} for name, shift in (("a", 0), ("b", 0.3), ("c", 0.02))}
    made = Panel(values, np.zeros(30, int), [Group("all", {0: 1.0})])
    found = compare(made, baseline="c", **FEW)
    assert [(one.system, one.measure) for one in found.comparisons] == [("a", "x"), ("a", "y"), ("b", "x"), ("b", "y")]
    least = min(found.comparisons, key=lambda one: one.p)
    assert least.p_holm == pytest.approx(min(1, 4 * least.p))
    with pytest.raises(HeadtailError, match="unknown baseline 'd'"):
        compare(made, baseline="d")


def test_the_same_seed_gives_the_same_numbers():
    rng = np.random.default_rng(2)
    made = Panel({name: {"m": rng.uniform(size=(50, 2))} for name in "ab"}, np.repeat([0, 1], 25), [Group("g", {0: 0.5, 1: 0.5})])
    first, again, other = (repr(compare(made, seed=seed, **FEW).comparisons) for seed in (4, 4, 5))    # NaN is not itself
    assert first == again
    assert first != other
