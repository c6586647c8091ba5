"""The tables of an evaluation: means, each system against the baseline, and how far ties could move them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from headtail.evaluation.comparison import Compared, Comparison, Panel
from headtail.evaluation.significance import LEVEL
from headtail.report.tables import BETTER, WORSE, Column, Measured, MeasureRow, Table, Value, ir_number, measures_table


@dataclass(frozen=True)
class Shown:
    """What the tables show.

    Attributes:
        panel: the values.
        queries: group -> its number of queries, for groups of one stratum.
        compared: intervals and tests, where there is more than one system.
        ties: (system, group, measure) -> smallest and largest mean over tie orders.
        note: a line under the heading.
        notes: what has to be said of the runs.
    """

    panel: Panel
    queries: Mapping[str, int]
    compared: Compared | None
    ties: Mapping[tuple[str, str, str], tuple[float, float]]
    note: str
    notes: Sequence[str]


def means_table(shown: Shown, title: str = "Measures") -> Table:
    """One row a system, one column a measure under the heading of its group; marked where a test says so."""
    groups = [group.name for group in shown.panel.groups]
    rows = [
        MeasureRow(
            system,
            {(group, measure): _measured(shown, system, group, measure) for group in groups for measure in found},
        )
        for system, found in shown.panel.values.items()
    ]
    table = measures_table(rows, counts=shown.queries, title=title, note=shown.note)
    seeds = {system: next(iter(found.values())).shape[1] for system, found in shown.panel.values.items()}
    several = ", ".join(f"{system} {count}" for system, count in seeds.items() if count > 1)
    lines = [*table.footnotes, *shown.notes]
    if several:
        lines.append(f"Means over runs with several seeds: {several}.")
    if shown.compared is not None:
        lines.append(_rule(shown.compared))
    return Table(table.title, table.columns, table.rows, table.note, lines)


def _measured(shown: Shown, system: str, group: str, measure: str) -> Measured | None:
    mean = shown.panel.mean(system, measure, next(one for one in shown.panel.groups if one.name == group))
    if math.isnan(mean):
        return None
    if shown.compared is None:
        return Measured(mean)
    estimate = shown.compared.estimate(system, group, measure)
    return Measured(mean, estimate.interval if estimate else None, _mark(shown.compared.comparison(system, group, measure)))


def _mark(comparison: Comparison | None) -> str:
    if comparison is None or not comparison.significant():
        return ""
    return BETTER if comparison.difference > 0 else WORSE


def _rule(compared: Compared) -> str:
    made = sum(not math.isnan(one.p) for one in compared.comparisons)
    return (
        f"{BETTER} better, {WORSE} worse than {compared.baseline}: p < .05 by a paired randomisation test "
        f"({compared.rounds:,} rounds, seed {compared.seed}), corrected by Holm for {made:,} comparisons."
    )


def tests_table(shown: Shown) -> Table:
    """One row a comparison: difference and interval, p-values, and on how many queries the system wins, ties and loses."""
    columns = [
        Column("system", numeric=False), Column("queries", numeric=False), Column("measure", numeric=False), Column("difference"),
        Column(f"{LEVEL:.0%} interval"), Column("p"), Column("p, Holm"), Column("p, t test"),
        Column("win / tie / loss"),
    ]    # fmt: skip
    compared = shown.compared
    if compared is None:
        return Table("Comparisons", columns, [], "One system alone has nothing to be compared with.")
    rows: list[list[Value]] = [
        [
            one.system, one.group, one.measure, f"{one.difference:+.3f}".replace("0.", ".", 1), _interval(one.interval),
            _p_value(one.p), _p_value(one.p_holm), _p_value(one.p_t), f"{one.wins:,} / {one.ties:,} / {one.losses:,}",
        ]
        for one in compared.comparisons
    ]    # fmt: skip
    note = f"Against {compared.baseline}, over the queries where both have a value."
    drawn = (
        f"p: paired randomisation, {compared.rounds:,} rounds; intervals: bootstrap over queries, and over seeds where there are "
        f"several, {compared.resamples:,} resamples; seed {compared.seed}."
    )
    return Table("Comparisons", columns, rows, note, [drawn], keys=3, folded=len(rows) > 12)


def _p_value(p: float) -> str:
    return "<.0001" if p < 0.0001 else ir_number(p, 4)


def _interval(ends: tuple[float, float]) -> str:
    return "–" if math.isnan(ends[0]) else f"{ir_number(ends[0])} to {ir_number(ends[1])}"


def ties_table(shown: Shown) -> Table:
    """One row a mean that ties could move: its smallest value, its own, its largest."""
    columns = [Column("system", numeric=False), Column("queries", numeric=False), Column("measure", numeric=False)]
    columns += [Column(name, digits=4) for name in ("smallest", "mean", "largest")]
    groups = {group.name: group for group in shown.panel.groups}
    rows: list[list[Value]] = [
        [system, group, measure, low, shown.panel.mean(system, measure, groups[group]), high]
        for (system, group, measure), (low, high) in shown.ties.items()
        if high > low
    ]
    note = "Means over all orders of docs with equal scores."
    return Table("Ties", columns, rows, note if rows else f"{note} None could be another.", keys=3)
