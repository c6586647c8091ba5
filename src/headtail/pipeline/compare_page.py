"""compare: any systems' runs -> one page: tables with intervals and tests, head against tail, patience, query by query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from headtail.data.datasets import Dataset, load_dataset
from headtail.data.formats import read_queries
from headtail.errors import HeadtailError
from headtail.evaluation.comparison import Group, Panel
from headtail.evaluation.evaluate import evaluate as evaluate_run
from headtail.evaluation.measures import HEAD
from headtail.pipeline.evaluation_files import tables_of
from headtail.pipeline.judgments import Judged
from headtail.pipeline.systems import Evaluated, Runs, column_of, evaluate_systems, read_systems
from headtail.progress import Track, silent
from headtail.records import Query, Run
from headtail.report.comparison_charts import SystemPoint, head_tail_chart, intent_bars, scroll_chart
from headtail.report.drawing import Chart
from headtail.report.html import write_report
from headtail.report.results import Results

HEAD_MEASURE, TAIL_MEASURE = f"nDCG@{HEAD}", "TailnDCG"
COMPARED = ("RR@10", HEAD_MEASURE, "nDCG@10", TAIL_MEASURE, "R@100", "Judged@10")
PATIENCES = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.93, 0.95, 0.96, 0.97, 0.98)


@dataclass(frozen=True)
class Collected:
    """What the page shows of the queries themselves; without a collection docs are ids alone."""

    queries: Mapping[str, Query]
    texts: Any


def compare(
    files: Sequence[str | Path],
    judged: Sequence[Judged],
    output: str | Path,
    *,
    collected: Collected | None = None,
    measures: Sequence[str] = COMPARED,
    baseline: str | None = None,
    ties: bool = False,
    seed: int = 0,
    track: Track = silent,
) -> tuple[Path, Evaluated]:
    """Write the page on systems from run files.

    Args:
        files: as for `read_systems`; the first stage first, the ranker that matters last.
        judged: the data sets; query by query is shown for one alone.
        output: the HTML file.
        collected: queries and texts of that one.
        measures: columns of the table; the measures of the charts are computed besides.
        baseline: the system to test against; none: the first.
        ties: whether a table tells how far ties could move each mean.
        seed: of tests and intervals.
        track: shows the runs as they are read and evaluated.

    Raises:
        HeadtailError: as `read_systems` and `evaluate_systems`.
    """
    systems = read_systems(files, judged, track=track)
    wanted = tuple(dict.fromkeys((*measures, HEAD_MEASURE, TAIL_MEASURE)))
    options: dict[str, Any] = {"baseline": baseline, "ties": ties, "seed": seed, "track": track}
    found = evaluate_systems(systems.runs, judged, wanted, notes=systems.notes, **options)
    names = " and ".join(each.name for each in judged)
    return write_report(
        output,
        title=f"{len(systems.runs)} systems on {names}" if len(systems.runs) > 1 else f"{next(iter(systems.runs))} on {names}",
        subtitle=" · ".join(_size(each) for each in judged),
        facts=_facts(found, systems.runs),
        notes=[] if len(judged) == 1 else ["Query by query is shown where a page has one data set; this one has several."],
        tables=tables_of(found, tests=found.compared is not None, ties=ties),
        charts=measure_charts(found, systems.runs),
        results=None if len(judged) > 1 else results_of(found, {name: runs[0] for name, runs in systems.runs.items()}, collected),
    ), found


def _size(judged: Judged) -> str:
    queries = sum(map(bool, judged.qrels.values()))
    return f"{judged.name}: {queries:,} judged queries, {sum(map(len, judged.qrels.values())):,} judgments"


def _facts(found: Evaluated, runs: Runs) -> list[tuple[str, str]]:
    facts = [("systems", ", ".join(runs))]
    levels = {each.relevant_from for each in found.judged}
    each_own = ", ".join(f"{each.relevant_from} in {each.name}" for each in found.judged)
    facts.append(("relevant from label", each_own if len(levels) > 1 else str(levels.pop())))
    ties = [f"{name} {_tied(by_data):.1%}" for name, by_data in runs.items()]
    return [*facts, ("adjacent docs that tie", ", ".join(ties))]


def _tied(by_data: Mapping[int, Sequence[Run]]) -> float:
    shares = [run.tied_share() for seeds in by_data.values() for run in seeds]
    return sum(shares) / len(shares)


# ---- charts


def measure_charts(found: Evaluated, runs: Runs) -> list[Chart]:
    """Head against tail, value by patience, and the head measure by intent; what cannot be drawn is left out."""
    whole = found.panel.groups[-1]    # the macro mean, or the only group
    charts = []
    points = [point for point in (_point(found, system, whole) for system in found.panel.values) if point is not None]
    if points:
        charts.append(head_tail_chart(points, head=_of(HEAD_MEASURE, whole), tail=_of(TAIL_MEASURE, whole)))
    curves = scroll_curves(found, runs, whole)
    if curves:
        charts.append(scroll_chart(curves, measure="share of the best gain"))
    bars = {
        group.name: {system: found.panel.mean(system, HEAD_MEASURE, group) for system in found.panel.values}
        for group in found.panel.groups
    }
    bars = {group: {system: mean for system, mean in means.items() if not np.isnan(mean)} for group, means in bars.items()}
    if any(bars.values()):
        charts.append(intent_bars(bars, HEAD_MEASURE))
    return charts


def _of(measure: str, group: Group) -> str:
    return f"{measure}, {group.name}"


def _point(found: Evaluated, system: str, group: Group) -> SystemPoint | None:
    head, tail = (found.panel.mean(system, measure, group) for measure in (HEAD_MEASURE, TAIL_MEASURE))
    if np.isnan(head) or np.isnan(tail):
        return None
    if found.compared is None:
        return SystemPoint(system, head, tail)
    ends = [found.compared.estimate(system, group.name, measure) for measure in (HEAD_MEASURE, TAIL_MEASURE)]
    return SystemPoint(system, head, tail, *(end.interval if end is not None else None for end in ends))


def scroll_curves(found: Evaluated, runs: Runs, group: Group) -> dict[str, list[tuple[float, float]]]:
    """System -> (patience, mean share of the best gain), over a group of queries."""
    names = {f"nScroll(p={patience})": patience for patience in PATIENCES}
    curves = {}
    for system, by_data in runs.items():
        values = {
            data: [evaluate_run(run, found.judged[data].qrels, list(names)) for run in seeds] for data, seeds in by_data.items()
        }
        panel = Panel({system: {name: column_of(values, name, found.units) for name in names}}, found.panel.strata, [group])
        curve = [(patience, panel.mean(system, name, group)) for name, patience in names.items()]
        if not any(np.isnan(value) for _, value in curve):
            curves[system] = curve
    return curves


# ---- query by query


def collected_from(
    data: str | Path | Dataset | None, split: str | None, queries: str | Path | None = None
) -> Collected | None:
    """Queries and texts of a data set's split; of a file of queries, without texts; None without either.

    Raises:
        HeadtailError: as `load_dataset` and `read_queries`.
    """
    if data is not None and split is not None:
        dataset = data if isinstance(data, Dataset) else load_dataset(data)
        return Collected(dataset.queries(split), dataset.collection)
    return Collected(read_queries(queries), {}) if queries is not None else None


def results_of(
    found: Evaluated, runs: Mapping[str, Sequence[Run]], collected: Collected | None, data: int = 0
) -> Results:
    """What the page shows query by query: the first run of each system, its values, labels and texts.

    Args:
        found: the evaluation.
        runs: system -> its runs on that data set, the first stage first.
        collected: queries and texts; None: ids alone.
        data: number of the data set.
    """
    judged = found.judged[data]
    queries = collected.queries if collected is not None else {}
    lacking = next((query_id for query_id in judged.qrels if collected is not None and query_id not in queries), None)
    if lacking is not None:
        raise HeadtailError(f"query {lacking!r} is judged but is not among the {len(queries):,} queries; of another split?")
    return Results(
        [seeds[0] for seeds in runs.values()],
        {query_id: queries.get(query_id, Query(query_id, "")) for query_id in judged.qrels},
        judged.intents,
        judged.qrels,
        judged.relevant_from,
        collected.texts if collected is not None else {},
        {system: found.evaluations[system][data][0].values for system in runs},
    )
