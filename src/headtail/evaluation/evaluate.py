"""A run against judgments: one value per judged query and measure, by trec_eval's own code and rules.

The rules are those of `trec_eval -c`:

- Every judged query counts. One that the run has no docs for counts as 0 (and is listed as missing); one with judgments
  but no relevant doc counts as 0 in every measure that asks for one.
- Queries of the run without judgments do not count (and are listed as unjudged).
- A doc without a judgment, and one with a negative label, is not relevant and adds no gain.

The order is the run's, and no tool's tie rule can change it: trec_eval is given the ranks instead of the scores.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headtail.errors import HeadtailError, unknown_name
from headtail.evaluation.intents import means_by_intent
from headtail.evaluation.measures import DEFAULT_MEASURES, Measure, parse_measures, providers
from headtail.records import Qrels, Run


@dataclass(frozen=True)
class Evaluation:
    """What a run is worth.

    Attributes:
        name: the system.
        values: measure, as asked for -> query_id -> value, over all judged queries, in the order of the qrels.
        exact: measure, as asked for -> what was computed, such as RR(rel=2)@10.
        missing: judged queries that the run has no docs for; they count as 0.
        unjudged: queries of the run without judgments; they do not count.
    """

    name: str
    values: Mapping[str, Mapping[str, float]]
    exact: Mapping[str, str]
    missing: tuple[str, ...] = ()
    unjudged: tuple[str, ...] = ()

    @property
    def query_ids(self) -> tuple[str, ...]:
        """The judged queries."""
        return tuple(next(iter(self.values.values())))

    def mean(self, measure: str) -> float:
        """Mean over all judged queries.

        Raises:
            HeadtailError: a measure that was not computed.
        """
        if measure not in self.values:
            raise HeadtailError(unknown_name("measure", measure, self.values))
        values = self.values[measure].values()
        return sum(values) / len(values)

    def means(self) -> dict[str, float]:
        """Every measure's mean over all judged queries."""
        return {measure: self.mean(measure) for measure in self.values}

    def by_intent(self, intents: Mapping[str, str]) -> dict[str, dict[str, float]]:
        """Intent -> measure -> mean, for the intents that occur, and `macro`, the mean of these means.

        Raises:
            HeadtailError: a judged query without an intent, or an unknown intent.
        """
        return means_by_intent(self.values, intents)


def evaluate(
    run: Run, qrels: Qrels, measures: Iterable[str] = DEFAULT_MEASURES, *, relevant_from: int = 1
) -> Evaluation:
    """Value of every measure for every judged query.

    Args:
        run: what the system returned.
        qrels: the judgments; a query with no judgment at all is not judged.
        measures: names, as `parse_measures` reads them.
        relevant_from: lowest label that counts as relevant in a binary measure.

    Raises:
        HeadtailError: no judgment at all, or a measure as `parse_measures` refuses it.

    Source of the rules: trec_eval 9, option -c; see the module's text.
    """
    parsed = parse_measures(measures, relevant_from)
    judged = {query_id: dict(labels) for query_id, labels in qrels.items() if labels}
    if not judged:
        raise HeadtailError(f"run {run.name!r} cannot be evaluated: expected judgments, found none in the qrels")
    ranks = {query_id: _ranks(run, query_id) for query_id in judged if run.get(query_id)}
    values = {measure.name: dict.fromkeys(judged, 0.0) for measure in parsed}
    for group in _groups(parsed):
        by_exact = {measure.exact: [m.name for m in group if m.exact == measure.exact] for measure in group}
        for metric in _evaluator(group, judged).iter_calc(ranks):
            for name in by_exact[repr(metric.measure)]:
                values[name][metric.query_id] = float(metric.value)
    return Evaluation(
        name=run.name,
        values=values,
        exact={measure.name: measure.exact for measure in parsed},
        missing=tuple(query_id for query_id in judged if query_id not in ranks),
        unjudged=tuple(query_id for query_id in run if query_id not in judged),
    )


def _ranks(run: Run, query_id: str) -> dict[str, float]:
    """Strictly falling scores in the run's order: whole numbers, which float32 holds exactly up to 16 million docs."""
    docs = run[query_id]
    return {doc.doc_id: float(len(docs) - position) for position, doc in enumerate(docs)}


def _groups(measures: Sequence[Measure]) -> list[list[Measure]]:
    """Measures that one evaluator may compute together.

    ir_measures lets nDCG share the qrels of whatever stands first, mapped gains included; a measure with gains of its
    own is therefore kept to itself.
    """
    plain = [measure for measure in measures if "gains" not in measure.ir.params]
    return [*([plain] if plain else []), *([m] for m in measures if "gains" in m.ir.params)]


def _evaluator(measures: Sequence[Measure], qrels: Mapping[str, Mapping[str, int]]) -> Any:
    from ir_measures.providers import FallbackProvider

    first_that_can: Any = FallbackProvider
    return first_that_can(providers()).evaluator([measure.ir for measure in measures], qrels)
