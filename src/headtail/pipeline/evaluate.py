"""evaluate: runs against judgments, per intent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from headtail.data.datasets import Dataset, load_dataset
from headtail.data.formats import read_qrels
from headtail.data.runs import read_run
from headtail.errors import HeadtailError
from headtail.evaluation.evaluate import Evaluation
from headtail.evaluation.evaluate import evaluate as evaluate_run
from headtail.evaluation.measures import DEFAULT_MEASURES
from headtail.pipeline.search import run_name
from headtail.records import QUESTION, Qrels, Run
from headtail.report.tables import MeasureRow, Table, measures_table


@dataclass(frozen=True)
class Judged:
    """What runs are judged by."""

    qrels: Qrels
    intents: Mapping[str, str]
    relevant_from: int = 1
    note: str = ""


def judgments(
    data: str | Path | Dataset | None = None,
    split: str | None = None,
    qrels: str | Path | None = None,
    *,
    intent: str | None = None,
    relevant_from: int | None = None,
) -> Judged:
    """Judgments of a data set's split, of a qrels file, or of a file in place of the split's own.

    Raises:
        HeadtailError: neither of the two is given, or a data set without a split.
    """
    if data is None and qrels is None:
        raise HeadtailError("nothing to judge by: pass --data and --split, or --qrels FILE")
    if data is None:
        found = read_qrels(qrels or "")
        return Judged(found, dict.fromkeys(found, intent or QUESTION), relevant_from or 1)
    dataset = data if isinstance(data, Dataset) else load_dataset(data, intent=intent, relevant_from=relevant_from)
    if split is None:
        raise HeadtailError(f"data set {dataset.name!r}: which split? pass --split, one of {', '.join(dataset.splits)}")
    labels = dataset.qrels(split) if qrels is None else read_qrels(qrels)
    intents = dict.fromkeys(labels, dataset.intent) | dataset.intents(split)
    return Judged(labels, intents, dataset.relevant_from, dataset.note)


def load_runs(paths: Sequence[str | Path]) -> list[Run]:
    """Runs named after their files; two files of one name keep their paths as names."""
    names = [run_name(path) for path in paths]
    return [
        read_run(path, name=name if names.count(name) == 1 else str(path))
        for path, name in zip(paths, names, strict=True)
    ]


def evaluate(
    runs: Sequence[Run], judged: Judged, measures: Sequence[str] = DEFAULT_MEASURES
) -> tuple[list[Evaluation], Table]:
    """Values of every run and query, and the table of their means per intent.

    Raises:
        HeadtailError: an unknown measure; or a run that shares no query with the judgments.
    """
    for run in runs:
        if not set(run) & set(judged.qrels):
            raise HeadtailError(f"run {run.name!r} has none of the {len(judged.qrels)} judged queries; is it of another split?")
    found = [evaluate_run(run, judged.qrels, measures, relevant_from=judged.relevant_from) for run in runs]
    return found, table_of(found, judged)


def table_of(found: Sequence[Evaluation], judged: Judged, title: str = "Measures") -> Table:
    """One row a system, one group of columns an intent, their macro mean last where there are two."""
    rows = []
    for evaluation in found:
        means = evaluation.by_intent(judged.intents)
        if len(means) <= 2:    # one intent: the macro mean is that intent's
            means.pop("macro", None)
        lacking: dict[str, int] = {}
        for query_id in evaluation.missing:
            intent = judged.intents.get(query_id, QUESTION)
            lacking[intent] = lacking.get(intent, 0) + 1
        values = {(intent, measure): mean for intent, row in means.items() for measure, mean in row.items()}
        rows.append(MeasureRow(evaluation.name, values, lacking))
    counts: dict[str, int] = {}
    for query_id in judged.qrels:
        intent = judged.intents.get(query_id, QUESTION)
        counts[intent] = counts.get(intent, 0) + 1
    exact = [f"{name} is {exact}" for name, exact in found[0].exact.items() if exact != name]
    note = "; ".join([*([judged.note] if judged.note else []), *exact])
    return measures_table(rows, counts=counts, title=title, note=note)
