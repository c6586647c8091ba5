"""The same queries under several systems, doc beside doc: which queries to show, and what to show of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from headtail.errors import HeadtailError
from headtail.records import Qrels, Query, Run, Texts
from headtail.report.tables import ir_number

TextOf = Texts | Callable[[str], str]


@dataclass(frozen=True, slots=True)
class ShownDoc:
    """A doc at its rank; `label` is None where nobody judged it, which is not the same as irrelevant."""

    rank: int
    doc_id: str
    text: str
    score: float
    label: int | None
    rank_before: int | None = None    # where the first system has it; None: it does not
    relevant_from: int = 1            # smallest label that counts as relevant

    @property
    def relevant(self) -> bool:
        """Judged, and with a label that counts."""
        return self.label is not None and self.label >= self.relevant_from

    @property
    def move(self) -> str:
        """Since the first system: ▲3 three ranks up, ▼2 two down, = the same rank, new."""
        if self.rank_before is None:
            return "new"
        up = self.rank_before - self.rank
        return f"▲{up}" if up > 0 else f"▼{-up}" if up < 0 else "="


@dataclass(frozen=True, slots=True)
class RelevantElsewhere:
    """A relevant doc that is not among the docs shown; `rank` is None where the system did not retrieve it."""

    doc_id: str
    label: int
    rank: int | None


@dataclass(frozen=True, slots=True)
class ShownRanking:
    """The first docs of one system for one query."""

    system: str
    docs: tuple[ShownDoc, ...]
    elsewhere: tuple[RelevantElsewhere, ...] = ()    # best rank first, those not retrieved last
    compared_to: str = ""    # the first system, which `ShownDoc.move` counts from; empty in the first column
    retrieved: bool = True    # False: the run has no line for this query


@dataclass(frozen=True, slots=True)
class ShownQuery:
    """One query under every system."""

    query_id: str
    text: str
    intent: str
    rankings: tuple[ShownRanking, ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class ChosenQueries:
    """Which queries to show, in order, by what rule, and for each the values it was chosen by."""

    query_ids: tuple[str, ...]
    rule: str
    notes: Mapping[str, str] = field(default_factory=dict)


def choose_queries(
    before: Mapping[str, float],
    after: Mapping[str, float],
    *,
    n: int = 20,
    measure: str = "the measure",
    systems: tuple[str, str] = ("the first system", "the last"),
) -> ChosenQueries:
    """Queries by rule, not by hand: biggest gains, biggest losses, and an even walk through the middle.

    A quarter of `n` each for gains and losses. Queries stand by gain, descending; equal gains by query_id, ascending.

    Args:
        before: query_id -> value of the first system.
        after: query_id -> value of the last system; only queries in both, with numbers, can be chosen.
        n: how many; all if there are fewer.
        measure: what the values are, for the words.
        systems: names of the two, for the words.
    """
    gains = {
        query_id: after[query_id] - before[query_id]
        for query_id in before.keys() & after.keys()
        if math.isfinite(after[query_id] - before[query_id])
    }
    ordered = sorted(gains, key=lambda query_id: (-gains[query_id], query_id))
    name, other = systems
    if len(ordered) <= n:
        chosen = ordered
        rule = f"All {len(ordered):,} queries, ordered by the change in {measure} from {name} to {other}."
    else:
        edge = n // 4
        middle = ordered[edge : len(ordered) - edge]
        inner = n - 2 * edge
        steps = [(2 * i + 1) * len(middle) // (2 * inner) for i in range(inner)]    # centre of each of `inner` parts
        chosen = ordered[:edge] + [middle[step] for step in steps] + ordered[len(ordered) - edge :]
        rule = (
            f"{n} of {len(ordered):,} queries, chosen by rule and not by hand: ordered by the change in {measure} from "
            f"{name} to {other}, the first {edge}, the last {edge}, and {inner} evenly spaced between them; equal "
            "changes by query_id."
        )
    notes = {q: f"{measure} {ir_number(before[q])} → {ir_number(after[q])}" for q in chosen}
    return ChosenQueries(tuple(chosen), rule, notes)


def side_by_side(
    queries: Mapping[str, Query],
    intents: Mapping[str, str],
    runs: Sequence[Run],
    qrels: Qrels,
    texts: TextOf,
    *,
    query_ids: Sequence[str],
    depth: int = 10,
    relevant_from: int = 1,
    notes: Mapping[str, str] | None = None,
) -> list[ShownQuery]:
    """The first `depth` docs of every run for the queries named, with labels, texts and moves since the first run.

    Args:
        queries: query_id -> Query.
        intents: query_id -> intent; a query without one shows none.
        runs: the systems, the first stage first.
        qrels: what was judged.
        texts: doc_id -> text, as a mapping or a function; a doc it does not have (KeyError) shows no text.
        query_ids: which queries, in which order.
        depth: ranks shown.
        relevant_from: smallest label that counts as relevant, as the measures were told.
        notes: query_id -> a line to stand beside the query.
    """
    if not runs:
        raise HeadtailError("side by side needs at least one run")
    unknown = [query_id for query_id in query_ids if query_id not in queries]
    if unknown:
        raise HeadtailError(f"query {unknown[0]!r} is to be shown but is not among the {len(queries):,} queries")
    lookup = texts if callable(texts) else texts.__getitem__
    return [
        ShownQuery(
            query_id,
            queries[query_id].text,
            intents.get(query_id, ""),
            tuple(_shown(run, runs[0], query_id, qrels.get(query_id, {}), lookup, depth, relevant_from) for run in runs),
            (notes or {}).get(query_id, ""),
        )
        for query_id in query_ids
    ]


def _shown(
    run: Run,
    first: Run,
    query_id: str,
    labels: Mapping[str, int],
    lookup: Callable[[str], str],
    depth: int,
    relevant_from: int,
) -> ShownRanking:
    """One column: the docs shown, and where the relevant docs are that are not."""
    ranks, before = _ranks(run, query_id), _ranks(first, query_id)
    docs = tuple(
        ShownDoc(rank, doc_id, _text(lookup, doc_id), score, labels.get(doc_id), before.get(doc_id), relevant_from)
        for rank, (doc_id, score) in enumerate(run.get(query_id, ())[:depth], start=1)
    )
    hidden = [
        RelevantElsewhere(doc_id, label, ranks.get(doc_id))
        for doc_id, label in labels.items()
        if label >= relevant_from and ranks.get(doc_id, depth + 1) > depth
    ]
    hidden.sort(key=lambda doc: (doc.rank is None, doc.rank or 0, -doc.label, doc.doc_id))
    compared_to = "" if run is first else first.name
    return ShownRanking(run.name, docs, tuple(hidden), compared_to, retrieved=query_id in run)


def _ranks(run: Run, query_id: str) -> dict[str, int]:
    return {doc.doc_id: rank for rank, doc in enumerate(run.get(query_id, ()), start=1)}


def _text(lookup: Callable[[str], str], doc_id: str) -> str:
    try:
        return lookup(doc_id)
    except (KeyError, HeadtailError):
        return ""    # a page with one text missing beats no page
