"""Systems: the runs of each on each data set, one for every training seed; read from files, evaluated and compared."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from headtail.data.runs import read_run
from headtail.errors import HeadtailError, unknown_name
from headtail.evaluation.comparison import Compared, Group, Panel, compare
from headtail.evaluation.evaluate import Evaluation
from headtail.evaluation.evaluate import evaluate as evaluate_run
from headtail.evaluation.intents import MACRO, group_by_intent
from headtail.evaluation.ties import tie_ranges
from headtail.pipeline.judgments import Judged
from headtail.pipeline.search import run_name
from headtail.progress import Track, silent
from headtail.records import Run
from headtail.report.evaluation_tables import Shown, means_table, tests_table, ties_table
from headtail.report.tables import Table

Runs = Mapping[str, Mapping[int, Sequence[Run]]]    # system -> number of the data set -> a run for each seed


@dataclass
class Systems:
    """Runs by system and data set, and what became of names that were not plain."""

    runs: dict[str, dict[int, list[Run]]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Evaluated:
    """All that `evaluate` found, and the tables of it."""

    judged: Sequence[Judged]
    evaluations: Mapping[str, Mapping[int, Sequence[Evaluation]]]
    panel: Panel
    units: Sequence[tuple[int, str]]    # (number of the data set, query_id) of each row of the panel
    strata: Sequence[tuple[int, str]]    # (number of the data set, intent) of each stratum
    compared: Compared | None
    ties: Mapping[tuple[str, str, str], tuple[float, float]]    # (system, group, measure) -> smallest and largest mean
    notes: Sequence[str]

    @property
    def shown(self) -> Shown:
        """What the tables need."""
        exact = dict.fromkeys(line for by_data in self.evaluations.values() for line in self._exact(by_data))
        own = dict.fromkeys(judged.note for judged in self.judged if judged.note)
        counts = np.bincount(self.panel.strata, minlength=len(self.strata))
        queries = {group.name: int(counts[list(group.weights)].sum()) for group in self.panel.groups if len(group.weights) == 1}
        return Shown(self.panel, queries, self.compared, self.ties, "; ".join([*own, *exact]), list(self.notes))

    def _exact(self, by_data: Mapping[int, Sequence[Evaluation]]) -> Iterator[str]:
        """What was computed where a name leaves it open, such as from which label a doc is relevant."""
        for data, evaluations in by_data.items():
            on = f" on {self.judged[data].name}" if len(self.judged) > 1 else ""
            for name, exact in evaluations[0].exact.items():
                if exact != name.replace("=.", "=0."):
                    yield f"{name} is {exact}{on}"

    def table(self) -> Table:
        """Means by system, measure and group."""
        return means_table(self.shown)

    def tests(self) -> Table:
        """Each system against the baseline."""
        return tests_table(self.shown)

    def tie_table(self) -> Table:
        """How far ties could move each mean."""
        return ties_table(self.shown)


# ---- from files


@dataclass(frozen=True)
class _File:
    """A run file of the command line: the name it was given, if any, and the number of the data set it ranks."""

    given: str | None
    path: str
    data: int
    run: Run

    @property
    def name(self) -> str:
        return self.given or run_name(self.path)


def read_systems(files: Sequence[str | Path], judged: Sequence[Judged | None], *, track: Track = silent) -> Systems:
    """Runs from files, each `[NAME=]FILE[@DATA]`.

    NAME is the system's; without one it is the file's. Files of one NAME on one data set are runs of one system with
    several seeds. With several data sets a run belongs to the one it shares queries with, or to DATA, which must be
    given where it shares queries with several.

    Args:
        files: as written on a command line.
        judged: the data sets; None where it does not matter which.
        track: shows the files as they are read.

    Raises:
        HeadtailError: a file that cannot be read, no or several data sets that it could belong to, a file given twice,
            a system with more seeds on one data set than on another.
    """
    arguments = [_split(str(file)) for file in files]
    places = [Path(path).resolve() for _, path, _ in arguments]
    for place, (_, path, _) in zip(places, arguments, strict=True):
        if places.count(place) > 1:
            raise HeadtailError(f"{path}: the same file is given twice")
    read = []
    for given, path, data in track(arguments, "read", len(arguments)):
        run = read_run(path, name=given or run_name(path))
        read.append(_File(given, path, _data_set(run, path, data, judged), run))
    systems = Systems()
    for file in read:
        name = file.path if _shares_its_name(file, read) else file.name
        systems.runs.setdefault(name, {}).setdefault(file.data, []).append(file.run.renamed(name))
    for name in sorted({file.name for file in read if _shares_its_name(file, read)}):
        systems.notes.append(f"Several files are called {name}; as seeds of one system they would be {name}=FILE {name}=FILE.")
    for name, by_data in systems.runs.items():
        if len({len(runs) for runs in by_data.values()}) > 1:
            counts = " and ".join(f"{len(runs)} on {_named(judged[data])}" for data, runs in by_data.items())
            raise HeadtailError(f"system {name!r}: expected as many seeds on each data set, found {counts}")
    return systems


def _shares_its_name(file: _File, read: Sequence[_File]) -> bool:
    """Whether a file that was given no name is called as another one of its data set, so that its path must tell them apart."""
    return file.given is None and sum(other.name == file.name and other.data == file.data for other in read) > 1


def _named(judged: Judged | None) -> str:
    return judged.name if judged is not None and judged.name else "the data set"


def _split(argument: str) -> tuple[str | None, str, str | None]:
    """NAME, FILE and DATA of `[NAME=]FILE[@DATA]`; a file that is there under the whole argument is meant by it."""
    if Path(argument).is_file():
        return None, argument, None
    name: str | None = None
    rest = argument
    found = re.match(r"([^/=]+)=(.+)", argument, re.DOTALL)
    if found:
        name, rest = found[1], found[2]
    if not Path(rest).is_file() and "@" in rest:
        path, _, data = rest.rpartition("@")
        return name, path, data
    return name, rest, None


def _data_set(run: Run, path: str, data: str | None, judged: Sequence[Judged | None]) -> int:
    known = {each.name: number for number, each in enumerate(judged) if each is not None}
    if data is not None:
        if data not in known:
            raise HeadtailError(f"{path}@{data}: {unknown_name('data set', data, known)}")
        return known[data]
    if len(judged) == 1:
        return 0
    shared = [number for number, each in enumerate(judged) if each is not None and any(query_id in run for query_id in each.qrels)]
    if len(shared) != 1:
        which = " and ".join(name for name, number in known.items() if number in shared) or "none of the data sets"
        raise HeadtailError(f"{path} shares queries with {which}; say which it ranks: {path}@{next(iter(known))}")
    return shared[0]


# ---- values


def evaluate_systems(
    runs: Runs,
    judged: Sequence[Judged],
    measures: Sequence[str],
    *,
    engine: str = "trec_eval",
    baseline: str | None = None,
    ties: bool = False,
    tested: bool = True,
    seed: int = 0,
    notes: Sequence[str] = (),
    track: Track = silent,
) -> Evaluated:
    """Every value of every run, and each system against the baseline.

    Args:
        runs: system -> number of the data set -> its runs, one for each training seed.
        judged: the data sets.
        measures: names, as `parse_measures` reads them.
        engine: see `evaluation.evaluate`.
        baseline: the system that the others are tested against; none: the first.
        ties: whether to find how far ties could move each mean.
        tested: whether to test at all, where there are two systems.
        seed: of the tests and intervals.
        notes: what has to be said already.
        track: shows the runs as they are evaluated.

    Raises:
        HeadtailError: an unknown measure, engine or baseline; or a run that shares no query with its judgments.
    """
    found: dict[str, dict[int, list[Evaluation]]] = {}
    said = list(notes)
    every = [(system, data, run) for system, by_data in runs.items() for data, seeds in by_data.items() for run in seeds]
    for _, data, run in every:
        _check_shared(run, judged[data])
    for system, data, run in track(every, "evaluate", len(every)):
        options: dict[str, Any] = {"relevant_from": judged[data].relevant_from, "engine": engine}
        one = evaluate_run(run, judged[data].qrels, measures, **options)
        found.setdefault(system, {}).setdefault(data, []).append(one)
        said += [f"{system}: {note}." for note in run.notes]
    for by_number in found.values():
        for data, evaluations in by_number.items():
            said += _said(evaluations, judged[data], several=len(judged) > 1)
    said += _depths(runs, found, judged)
    units, strata, panel = _panel(found, judged)
    coverage = [measure for measure in next(iter(panel.values.values())) if measure.startswith("Judged")]
    compared = compare(panel, baseline=baseline, untested=coverage, seed=seed) if tested and len(found) > 1 else None
    moved = _moved(runs, found, judged, measures, panel.groups, strata) if ties else {}
    return Evaluated(judged, found, panel, units, strata, compared, moved, said)


def _check_shared(run: Run, judged: Judged) -> None:
    if not any(query_id in run for query_id in judged.qrels):
        of = f" of {judged.name}" if judged.name else ""
        raise HeadtailError(f"run {run.name!r} has none of the {len(judged.qrels):,} judged queries{of}; is it of another split?")


def _said(evaluations: Sequence[Evaluation], judged: Judged, several: bool) -> list[str]:
    """What was done about queries that are missing, unjudged, or without a relevant doc in their tail."""
    said = []
    on = f" of {judged.name}" if several else ""
    for number, one in enumerate(evaluations, start=1):
        who = one.name + (f" (run {number})" if len(evaluations) > 1 else "")
        if one.missing:
            groups = group_by_intent(one.missing, judged.intents)
            of = {intent: sum(judged.intents[q] == intent for q in one.query_ids) for intent in groups}
            parts = " and ".join(f"{len(members):,} of {of[intent]:,} {intent}" for intent, members in groups.items())
            said.append(f"{who} has no ranking for {parts} queries{on}; scored as 0.")
        if one.unjudged:
            queries = "1 query" if len(one.unjudged) == 1 else f"{len(one.unjudged):,} queries"
            said.append(f"{who} ranks {queries} without judgments{on}; they do not count.")
        left_out = {measure: one.left_out(measure) for measure in one.values if one.left_out(measure)}
        if left_out:
            parts = ", ".join(f"{count:,} of {len(one.query_ids):,} in {measure}" for measure, count in left_out.items())
            said.append(f"{who}: queries{on} left out, as no relevant doc is left for the tail: {parts}.")
    return said


def _depths(
    runs: Runs, found: Mapping[str, Mapping[int, Sequence[Evaluation]]], judged: Sequence[Judged]
) -> Iterator[str]:
    """A line where rankings are not equally deep and some measure looks deeper than the shortest of them."""
    for data, each in enumerate(judged):
        seeds = {system: by_data[data] for system, by_data in runs.items() if data in by_data}
        depths = {system: sum(run.docs for run in some) / max(1, sum(map(len, some))) for system, some in seeds.items()}
        if not depths or max(depths.values()) < 1.1 * min(depths.values()):
            continue
        exact = next(iter(found[next(iter(seeds))][data])).exact.values()
        if any(_looks_at(name) > min(depths.values()) for name in exact):
            told = ", ".join(f"{system} {depth:,.0f}" for system, depth in depths.items())
            on = f" on {each.name}" if len(judged) > 1 else ""
            yield (
                f"Rankings are not equally deep{on}: {told} docs a query. "
                "Measures that look further down than the shortest see that too."
            )


def _looks_at(exact: str) -> float:
    """The cut-off of a measure, infinite without one."""
    _, at, cutoff = exact.rpartition("@")
    return float(cutoff) if at else float("inf")


def _panel(
    found: Mapping[str, Mapping[int, Sequence[Evaluation]]], judged: Sequence[Judged]
) -> tuple[list[tuple[int, str]], list[tuple[int, str]], Panel]:
    """Units and strata, in order, and all values as arrays."""
    groups = [group_by_intent((q for q, labels in each.qrels.items() if labels), each.intents) for each in judged]
    strata = [(data, intent) for data, by_intent in enumerate(groups) for intent in by_intent]
    units = [(data, query_id) for data, intent in strata for query_id in groups[data][intent]]
    numbers = [number for number, (data, intent) in enumerate(strata) for _ in groups[data][intent]]
    values = {
        system: {measure: column_of(by_data, measure, units) for measure in next(iter(by_data.values()))[0].values}
        for system, by_data in found.items()
    }
    return units, strata, Panel(values, np.array(numbers), _groups(strata, judged))


def column_of(by_data: Mapping[int, Sequence[Evaluation]], measure: str, units: Sequence[tuple[int, str]]) -> Any:
    """[n, seeds], one system's values of a measure in the order of the units; NaN on a data set that it did not rank."""
    column = np.full((len(units), len(next(iter(by_data.values())))), np.nan)
    for row, (data, query_id) in enumerate(units):
        for seed, one in enumerate(by_data.get(data, ())):
            column[row, seed] = one.values[measure].get(query_id, np.nan)
    return column


def _groups(strata: Sequence[tuple[int, str]], judged: Sequence[Judged]) -> list[Group]:
    """Each stratum; each intent that has several, its strata counting the same; macro, its intents counting the same."""
    several = len(judged) > 1
    names = [f"{judged[data].name} {intent}" if several else intent for data, intent in strata]
    own = [Group(name, {number: 1.0}) for number, name in enumerate(names)]
    by_intent: dict[str, list[int]] = {}
    for number, (_, intent) in enumerate(strata):
        by_intent.setdefault(intent, []).append(number)
    means = [
        Group(intent, dict.fromkeys(members, 1 / len(members))) for intent, members in by_intent.items() if len(members) > 1
    ]
    if len(by_intent) < 2:
        return own + means
    macro = {number: 1 / (len(by_intent) * len(members)) for members in by_intent.values() for number in members}
    return [*own, *means, Group(MACRO, macro)]


def _moved(
    runs: Runs,
    found: Mapping[str, Mapping[int, Sequence[Evaluation]]],
    judged: Sequence[Judged],
    measures: Sequence[str],
    groups: Sequence[Group],
    strata: Sequence[tuple[int, str]],
) -> dict[tuple[str, str, str], tuple[float, float]]:
    """Smallest and largest mean of each system, group and measure over tie orders, averaged over seeds."""
    ends: dict[tuple[str, str, str], tuple[float, float]] = {}
    for system, by_data in runs.items():
        by_stratum: dict[tuple[int, str], list[tuple[float, float]]] = {}
        for data, seeds in by_data.items():
            for run, one in zip(seeds, found[system][data], strict=True):
                ranges = tie_ranges(run, judged[data].qrels, measures, relevant_from=judged[data].relevant_from)
                for measure, tie_range in ranges.items():
                    for number, (where, intent) in enumerate(strata):
                        members = {q: v for q, v in one.values[measure].items() if judged[data].intents[q] == intent}
                        if where == data and members:
                            by_stratum.setdefault((number, measure), []).append(tie_range.means(members))
        for measure in dict.fromkeys(measures):
            for group in groups:
                parts = [(weight, by_stratum.get((number, measure), [])) for number, weight in group.weights.items()]
                if all(part for _, part in parts):
                    low, high = (sum(weight * float(np.mean([end[i] for end in part])) for weight, part in parts) for i in (0, 1))
                    ends[system, group.name, measure] = (low, high)
    return ends
