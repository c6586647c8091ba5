"""Systems beside each other: means with intervals, and each system against a baseline, group by group.

The unit is a judged query of a data set. A *stratum* is the queries of one data set and intent; a *group* is one or more
strata and their weights, so that the mean of an intent over two data sets, and the macro mean over intents, count each
part the same however many queries it has.

A system may have been trained with several seeds. Its value for a query is then the mean over its runs; an interval is
taken over seeds and queries together, both drawn anew in each resample; a test asks about the queries, given the seeds.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from headtail.errors import HeadtailError, unknown_name
from headtail.evaluation.significance import (
    RESAMPLES,
    ROUNDS,
    bootstrap_means,
    drawn_seeds,
    holm,
    interval,
    randomisation_p_values,
    t_test_p_value,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

SAME = 1e-12    # values closer than this differ by rounding


@dataclass(frozen=True, slots=True)
class Group:
    """Some strata and the weight of each one's mean in the group's; weights add up to 1."""

    name: str
    weights: Mapping[int, float]


@dataclass(frozen=True)
class Panel:
    """All values that are compared.

    Attributes:
        values: system -> measure -> [n, seeds], NaN where a query has no value.
        strata: [n], the stratum of each query, numbered from 0.
        groups: what means are taken over, in the order to show them.
    """

    values: Mapping[str, Mapping[str, Floats]]
    strata: NDArray[np.int64]
    groups: Sequence[Group]

    def mean(self, system: str, measure: str, group: Group) -> float:
        """The group's mean over queries and seeds; NaN where a stratum has no value."""
        found = self.values[system][measure]
        return sum(weight * _mean(found[self.strata == stratum]) for stratum, weight in group.weights.items())


def _mean(values: Floats) -> float:
    """Mean over the seeds of the means over the queries that have a value."""
    present = ~np.isnan(values)
    counts = present.sum(axis=0)
    if not counts.size or (counts == 0).any():
        return float("nan")
    return float((np.where(present, values, 0.0).sum(axis=0) / counts).mean())


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean and its 95 % interval."""

    system: str
    group: str
    measure: str
    mean: float
    interval: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Comparison:
    """A system against the baseline, in one measure and group.

    Attributes:
        difference: of the means over the queries where both have a value; above 0, the system is better.
        interval: of the difference, 95 %.
        p: of the paired randomisation test.
        p_holm: the same, corrected for all comparisons made together.
        p_t: of the paired t test; NaN over several strata, for which there is none.
        wins, ties, losses: queries on which the system is better, equal, worse.
    """

    system: str
    baseline: str
    group: str
    measure: str
    difference: float
    interval: tuple[float, float]
    p: float
    p_holm: float
    p_t: float
    wins: int
    ties: int
    losses: int

    def significant(self, level: float = 0.05) -> bool:
        """Whether it is still below `level` after Holm's correction."""
        return self.p_holm < level


@dataclass(frozen=True)
class Compared:
    """Every estimate and comparison, and how they were drawn."""

    estimates: Sequence[Estimate]
    comparisons: Sequence[Comparison]
    baseline: str
    rounds: int = ROUNDS
    resamples: int = RESAMPLES
    seed: int = 0

    def estimate(self, system: str, group: str, measure: str) -> Estimate | None:
        """The one asked for, or None."""
        asked = (system, group, measure)
        return next((e for e in self.estimates if (e.system, e.group, e.measure) == asked), None)

    def comparison(self, system: str, group: str, measure: str) -> Comparison | None:
        """The one asked for, or None."""
        asked = (system, group, measure)
        return next((c for c in self.comparisons if (c.system, c.group, c.measure) == asked), None)


def compare(
    panel: Panel,
    *,
    baseline: str | None = None,
    untested: Collection[str] = (),
    rounds: int = ROUNDS,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Compared:
    """Intervals of every system, and every system against the baseline in every measure and group.

    Args:
        panel: the values.
        baseline: a system; none: the first.
        untested: measures that are estimated and not compared, as they say nothing of quality.
        rounds: sign patterns of the randomisation test.
        resamples: of the bootstrap.
        seed: of both.

    Raises:
        HeadtailError: an unknown baseline.
    """
    systems = list(panel.values)
    if baseline is not None and baseline not in systems:
        raise HeadtailError(unknown_name("baseline", baseline, systems))
    baseline = baseline or systems[0]
    drawn = _Resampled(panel, resamples, seed)
    pairs = [
        _Pair(system, baseline, measure, panel.values[system][measure], panel.values[baseline][measure])
        for system in systems
        if system != baseline
        for measure in panel.values[system]
        if measure not in untested
    ]
    wanted = [(system, measure, values) for system, found in panel.values.items() for measure, values in found.items()]
    drawn.draw([values for _, _, values in wanted] + [side for pair in pairs for side in pair.masked()])
    estimates = [
        Estimate(system, group.name, measure, panel.mean(system, measure, group), interval(drawn.means(place, group)))
        for place, (system, measure, _) in enumerate(wanted)
        for group in panel.groups
    ]
    comparisons = []
    for place, pair in enumerate(pairs):
        ours, theirs = len(wanted) + 2 * place, len(wanted) + 2 * place + 1
        for group in panel.groups:
            spread = interval(drawn.means(ours, group) - drawn.means(theirs, group))
            comparisons.append(_compared(pair, group, panel.strata, spread))
    columns = [_column(pair, group, panel.strata) for pair in pairs for group in panel.groups]
    return Compared(estimates, _tested(comparisons, columns, rounds, seed), baseline, rounds, resamples, seed)


@dataclass(frozen=True)
class _Pair:
    """A system and the baseline in one measure, [n, seeds] each."""

    system: str
    baseline: str
    measure: str
    ours: Floats
    theirs: Floats

    def masked(self) -> tuple[Floats, Floats]:
        """Both, with values only for the queries where all runs of both have one."""
        absent = np.isnan(np.concatenate([self.ours, self.theirs], axis=1)).any(axis=1, keepdims=True)
        return np.where(absent, np.nan, self.ours), np.where(absent, np.nan, self.theirs)

    def differences(self) -> Floats:
        """[n], NaN where one has no value; 0 where they differ by rounding."""
        difference: Floats = self.ours.mean(axis=1) - self.theirs.mean(axis=1)
        return np.where(np.abs(difference) <= SAME, 0.0, difference)


class _Resampled:
    """The bootstrap's means of many [n, seeds] arrays, drawn at once."""

    def __init__(self, panel: Panel, resamples: int, seed: int) -> None:
        self.panel, self.resamples, self.seed = panel, resamples, seed
        self.places: list[slice] = []

    def draw(self, arrays: Sequence[Floats]) -> None:
        start = 0
        for array in arrays:
            self.places.append(slice(start, start + array.shape[1]))
            start += array.shape[1]
        self.drawn = bootstrap_means(
            np.concatenate(arrays, axis=1), self.panel.strata, resamples=self.resamples, seed=self.seed
        )

    def means(self, place: int, group: Group) -> Floats:
        """[resamples], of the array at that place, over seeds drawn too."""
        where = self.places[place]
        shares = drawn_seeds(where.stop - where.start, self.resamples, self.seed + place)
        means = np.zeros(self.resamples)
        for stratum, weight in group.weights.items():
            means += weight * (self.drawn[stratum][:, where] * shares).sum(axis=1)
        return means


def _compared(pair: _Pair, group: Group, strata: NDArray[np.int64], spread: tuple[float, float]) -> Comparison:
    """All but the p-values that are found for many at once."""
    differences = pair.differences()
    parts = {stratum: _present(differences[strata == stratum]) for stratum in group.weights}
    mean = sum(weight * (parts[stratum].mean() if len(parts[stratum]) else np.nan) for stratum, weight in group.weights.items())
    together = np.concatenate(list(parts.values()))
    wins, losses = int((together > 0).sum()), int((together < 0).sum())
    p_t = t_test_p_value(together) if len(parts) == 1 and len(together) else float("nan")
    return Comparison(
        pair.system, pair.baseline, group.name, pair.measure, float(mean), spread,
        float("nan"), float("nan"), p_t, wins, len(together) - wins - losses, losses,
    )    # fmt: skip


def _present(values: Floats) -> Floats:
    return values[~np.isnan(values)]


def _column(pair: _Pair, group: Group, strata: NDArray[np.int64]) -> Floats:
    """[n], what each query adds to the difference of the group's means; 0 where it does not count."""
    differences = pair.differences()
    column = np.zeros(len(differences))
    for stratum, weight in group.weights.items():
        members = (strata == stratum) & ~np.isnan(differences)
        column[members] = differences[members] * weight / max(members.sum(), 1)
    return column


def _tested(comparisons: Sequence[Comparison], columns: Sequence[Floats], rounds: int, seed: int) -> list[Comparison]:
    """With p-values, and Holm's over all comparisons that could be made."""
    if not comparisons:
        return []
    found = randomisation_p_values(np.stack(columns, axis=1), rounds=rounds, seed=seed).tolist()
    made = [place for place, comparison in enumerate(comparisons) if not np.isnan(comparison.difference)]
    corrected = dict(zip(made, holm([found[place] for place in made]), strict=True))
    return [
        replace(comparison, p=found[place], p_holm=corrected[place]) if place in corrected else comparison
        for place, comparison in enumerate(comparisons)
    ]
