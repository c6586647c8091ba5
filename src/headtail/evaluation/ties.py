"""How far ties could move a measure: its smallest and largest value over all orders of docs with equal scores.

A run's order among equal scores is the tie rule's, not the system's, and two tools with two rules report two figures.

Every measure here but those of the tail is best when the better docs of each tied group come first, and worst when
they come last: exchanging two neighbours of which the lower is the better never lowers it. So two orders give both
ends. In a measure of the tail a tied group may straddle the cut, and it matters which of its docs the head takes; all
choices that differ in labels are tried there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, product
from typing import Any

from headtail.errors import HeadtailError
from headtail.evaluation.evaluate import values_of
from headtail.evaluation.measures import DEFAULT_MEASURES, Measure, parse_measures
from headtail.records import Qrels, Run, ScoredDoc

Worth = Callable[[str], float]    # doc_id -> how good the measure takes it to be


@dataclass(frozen=True, slots=True)
class TieRange:
    """Smallest and largest value over tie orders, for each query whose value ties can move; the others have one value."""

    low: Mapping[str, float]
    high: Mapping[str, float]

    def means(self, values: Mapping[str, float]) -> tuple[float, float]:
        """Smallest and largest mean, given every query's value in the run's own order.

        In a measure of the tail the queries are those that have a value in the run's own order.
        """
        ends = [[end.get(query_id, value) for query_id, value in values.items()] for end in (self.low, self.high)]
        return sum(ends[0]) / len(values), sum(ends[1]) / len(values)


def tie_ranges(
    run: Run, qrels: Qrels, measures: Iterable[str] = DEFAULT_MEASURES, *, relevant_from: int = 1
) -> dict[str, TieRange]:
    """Measure -> how far ties could move it, query by query.

    Args:
        run: what the system returned, with its scores.
        qrels, measures, relevant_from: as for `evaluate`.

    Raises:
        HeadtailError: as `parse_measures`; infAP, which a worse doc above a better one can raise, so two orders tell nothing.
    """
    parsed = parse_measures(measures, relevant_from)
    for measure in parsed:
        if measure.ir is not None and measure.ir.NAME == "infAP":
            raise HeadtailError("how far ties could move infAP is not known; leave it out, or do without --ties")
    tied = {query_id: run[query_id] for query_id, labels in qrels.items() if labels and query_id in run}
    tied = {query_id: docs for query_id, docs in tied.items() if len({doc.score for doc in docs}) < len(docs)}
    return {measure.name: _range(tied, qrels, measure) for measure in parsed}


def _range(rankings: Mapping[str, Sequence[ScoredDoc]], qrels: Qrels, measure: Measure) -> TieRange:
    """Every order that could be an end is evaluated under a name of its own."""
    orders: dict[str, list[str]] = {}
    owner: dict[str, str] = {}
    for query_id, docs in rankings.items():
        for number, order in enumerate(_orders(docs, _worth(measure, qrels[query_id]), measure.head)):
            name = f"{query_id} {number}"    # an id holds no space
            orders[name], owner[name] = order, query_id
    low: dict[str, float] = {}
    high: dict[str, float] = {}
    last: dict[str, float] = {}    # of several values of one name the last counts
    for _, name, value in values_of(orders, {name: qrels[query_id] for name, query_id in owner.items()}, [measure]):
        last[name] = value
    for name, value in last.items():
        query_id = owner[name]
        low[query_id] = min(low.get(query_id, value), value)
        high[query_id] = max(high.get(query_id, value), value)
    moved = [query_id for query_id in low if low[query_id] < high[query_id]]
    return TieRange({query_id: low[query_id] for query_id in moved}, {query_id: high[query_id] for query_id in moved})


def _worth(measure: Measure, labels: Mapping[str, int]) -> Worth:
    """What the measure sorts by: the label, the gain in its place, or for Judged being judged at all."""
    if measure.ir is not None and measure.ir.NAME == "Judged":
        return lambda doc_id: float(doc_id in labels)
    gains: Mapping[int, int] = measure.ir.params.get("gains", {}) if measure.ir is not None else {}
    return lambda doc_id: float(gains.get(labels.get(doc_id, 0), labels.get(doc_id, 0)))


def _orders(docs: Sequence[ScoredDoc], worth: Worth, head: int) -> Iterator[list[str]]:
    """Best first and worst first within each tied group; for a tail, with every choice of what the head takes."""
    groups = [[doc.doc_id for doc in group] for _, group in groupby(docs, key=lambda doc: doc.score)]
    heads = _heads(groups, worth, head) if head else [(groups, [])]
    for rest, taken in heads:
        for better_first in (True, False):
            ordered = (sorted(group, key=worth, reverse=better_first) for group in rest)
            yield [*taken, *(doc_id for group in ordered for doc_id in group)]


def _heads(groups: Sequence[list[str]], worth: Worth, head: int) -> Iterator[tuple[list[list[str]], list[str]]]:
    """(groups that remain, docs of the head), for each choice of labels that the head can take of the group at the cut."""
    whole: list[str] = []
    for place, group in enumerate(groups):
        if len(whole) + len(group) > head:
            for taken in _choices(group, worth, head - len(whole)):
                yield [[doc_id for doc_id in group if doc_id not in taken], *groups[place + 1 :]], [*whole, *taken]
            return
        whole += group
    yield [], whole


def _choices(group: Sequence[str], worth: Worth, n: int) -> Iterator[set[str]]:
    """One set of n docs of the group for each number of docs of each worth; what adds no gain is all one."""
    by_worth: dict[Any, list[str]] = {}
    for doc_id in group:
        by_worth.setdefault(max(worth(doc_id), 0.0), []).append(doc_id)
    sizes = Counter({key: len(members) for key, members in by_worth.items()})
    for counts in product(*(range(min(size, n) + 1) for size in sizes.values())):
        if sum(counts) == n:
            yield {doc_id for key, count in zip(sizes, counts, strict=True) for doc_id in by_worth[key][:count]}
