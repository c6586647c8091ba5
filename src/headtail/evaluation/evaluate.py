"""A run against judgments: one value per judged query and measure, by trec_eval's own code and rules.

The rules are those of `trec_eval -c`:

- Every judged query counts. One that the run has no docs for counts as 0 (and is listed as missing); one with judgments
  but no relevant doc counts as 0 in every measure that asks for one.
- Queries of the run without judgments do not count (and are listed as unjudged).
- A doc without a judgment, and one with a negative label, is not relevant and adds no gain.

The order is the run's, and no tool's tie rule can change it: an engine is given the ranks instead of the scores.

A measure of the tail is that measure on what remains when the run's own first k docs are taken out of ranking and
judgments. A query with no relevant doc left has no value in it: it is left out, and counted in `Evaluation.left_out`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from headtail.errors import HeadtailError, unknown_name
from headtail.evaluation.engines import engine_of
from headtail.evaluation.intents import means_by_intent
from headtail.evaluation.measures import DEFAULT_MEASURES, Measure, parse_measures
from headtail.records import Qrels, Run

AT_ONCE = 1000    # queries whose rankings are in memory
LENGTH_COUNTS = {"Judged", "SetAP", "SetF", "SetP"}    # what stands after the last judged doc changes them


@dataclass(frozen=True)
class Evaluation:
    """What a run is worth.

    Attributes:
        name: the system.
        values: measure, as asked for -> query_id -> value, over the judged queries, in the order of the qrels.
        exact: measure, as asked for -> what was computed, such as RR(rel=2)@10.
        query_ids: the judged queries.
        missing: judged queries that the run has no docs for; they count as 0.
        unjudged: queries of the run without judgments; they do not count.
    """

    name: str
    values: Mapping[str, Mapping[str, float]]
    exact: Mapping[str, str]
    query_ids: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    unjudged: tuple[str, ...] = ()

    def left_out(self, measure: str) -> int:
        """Judged queries without a value: in a measure of the tail those with no relevant doc left."""
        return len(self.query_ids) - len(self.values[measure])

    def mean(self, measure: str) -> float:
        """Mean over the judged queries that have a value; NaN if none has.

        Raises:
            HeadtailError: a measure that was not computed.
        """
        if measure not in self.values:
            raise HeadtailError(unknown_name("measure", measure, self.values))
        values = self.values[measure].values()
        return sum(values) / len(values) if values else math.nan

    def means(self) -> dict[str, float]:
        """Every measure's mean over the judged queries."""
        return {measure: self.mean(measure) for measure in self.values}

    def by_intent(self, intents: Mapping[str, str]) -> dict[str, dict[str, float]]:
        """Intent -> measure -> mean, for the intents that occur, and `macro`, the mean of these means.

        Raises:
            HeadtailError: a judged query without an intent, or an unknown intent.
        """
        return means_by_intent(self.values, intents)


def evaluate(
    run: Run,
    qrels: Qrels,
    measures: Iterable[str] = DEFAULT_MEASURES,
    *,
    relevant_from: int = 1,
    engine: str = "trec_eval",
) -> Evaluation:
    """Value of every measure for every judged query.

    Args:
        run: what the system returned.
        qrels: the judgments; a query with no judgment at all is not judged.
        measures: names, as `parse_measures` reads them.
        relevant_from: lowest label that counts as relevant in a binary measure.
        engine: whose code computes what ir_measures names: "trec_eval", or "ranx" for a second opinion.

    Raises:
        HeadtailError: no judgment at all, a measure as `parse_measures` refuses it or that the engine lacks, or an
            unknown engine.

    Source of the rules: trec_eval 9, option -c; see the module's text.
    """
    parsed = parse_measures(measures, relevant_from)
    judged = {query_id: dict(labels) for query_id, labels in qrels.items() if labels}
    if not judged:
        raise HeadtailError(f"run {run.name!r} cannot be evaluated: expected judgments, found none in the qrels")
    retrieved = [query_id for query_id in judged if query_id in run]
    values: dict[str, dict[str, float]] = {measure.name: {} for measure in parsed}
    missing = set(judged)
    for start in range(0, len(retrieved), AT_ONCE):
        rankings = {query_id: run.doc_ids(query_id) for query_id in retrieved[start : start + AT_ONCE]}
        missing -= {query_id for query_id, doc_ids in rankings.items() if doc_ids}
        for name, query_id, value in values_of(rankings, judged, parsed, engine):
            values[name][query_id] = value
    absent: dict[str, list[str]] = {query_id: [] for query_id in judged if query_id not in run}
    for name, query_id, value in values_of(absent, judged, parsed, engine):
        values[name][query_id] = value
    return Evaluation(
        name=run.name,
        values={name: {query_id: found[query_id] for query_id in judged if query_id in found} for name, found in values.items()},
        exact={measure.name: measure.exact for measure in parsed},
        query_ids=tuple(judged),
        missing=tuple(query_id for query_id in judged if query_id in missing),
        unjudged=tuple(query_id for query_id in run if query_id not in judged),
    )


def values_of(
    rankings: Mapping[str, Sequence[str]], judged: Qrels, measures: Sequence[Measure], engine: str = "trec_eval"
) -> Iterator[tuple[str, str, float]]:
    """Yield (measure's name, query_id, value) for every ranking; an empty one counts as 0.

    Args:
        rankings: query_id -> doc_ids, best first.
        judged: query_id -> doc_id -> label, for each of these queries at least.
        measures: as `parse_measures` gives them.
        engine: see `evaluate`.
    """
    for measure in measures:
        if measure.own is not None:
            for query_id, doc_ids in rankings.items():
                labels = judged[query_id]
                yield measure.name, query_id, measure.own([labels.get(doc_id) for doc_id in doc_ids], labels.values())
    through = [measure for measure in measures if measure.own is None]
    for head in dict.fromkeys(measure.head for measure in through):
        group = [measure for measure in through if measure.head == head]
        qrels = {query_id: _remaining(rankings[query_id][:head], judged[query_id]) for query_id in rankings}
        if head:
            qrels = {query_id: labels for query_id, labels in qrels.items() if max(labels.values(), default=0) > 0}
        rest = {query_id: rankings[query_id][head:] for query_id in qrels}
        by_exact: dict[str, list[str]] = {}
        for measure in group:
            by_exact.setdefault(repr(measure.ir), []).append(measure.name)
            yield from ((measure.name, query_id, 0.0) for query_id in qrels)    # of what the engine says nothing about
        shortened = {query_id: _that_count(doc_ids, qrels[query_id], group) for query_id, doc_ids in rest.items() if doc_ids}
        for exact, query_id, value in engine_of(engine)(group, shortened, qrels):
            yield from ((name, query_id, value) for name in by_exact[exact])


def _remaining(head: Sequence[str], labels: Mapping[str, int]) -> Mapping[str, int]:
    return {doc_id: label for doc_id, label in labels.items() if doc_id not in head} if head else labels


def _that_count(doc_ids: Sequence[str], labels: Mapping[str, int], measures: Sequence[Measure]) -> Sequence[str]:
    """The ranking up to its last judged doc: what follows changes no measure but those that count docs."""
    needed = next((place + 1 for place in range(len(doc_ids) - 1, -1, -1) if doc_ids[place] in labels), 1)
    for measure in measures:
        if measure.ir.NAME in LENGTH_COUNTS:
            needed = max(needed, measure.ir.params.get("cutoff", len(doc_ids)))
    return doc_ids[:needed]
