"""What several systems returned for the same queries: which queries to show, and which of them went wrong how."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from headtail.errors import HeadtailError
from headtail.records import Qrels, Query, Run, Texts

TextOf = Texts | Callable[[str], str]

MOST_QUERIES = 1000    # that a page of 2 MB holds with texts worth reading
HEAD = 10              # ranks in which a relevant doc counts as found
BURIED = 20            # a relevant doc that falls by more ranks than this is buried


@dataclass(frozen=True)
class Results:
    """Rankings, judgments and values of the same queries, as the page shows them side by side.

    Attributes:
        runs: the systems, the first stage first, the ranker that matters last.
        queries: query_id -> Query, in the order of the page; one that nobody judged and nobody ranked is left out.
        intents: query_id -> intent; a query without one shows none.
        qrels: what was judged.
        relevant_from: smallest label that counts as relevant, as the measures were told.
        texts: doc_id -> text, as a mapping or a function; a doc it does not have (KeyError) shows no text.
        values: system -> measure -> query_id -> value; a query that lacks one shows a dash. Higher is better.
        depth: ranks shown of each ranking.

    Raises:
        HeadtailError: no run, two runs of one name, or no rank to show.
    """

    runs: Sequence[Run]
    queries: Mapping[str, Query]
    intents: Mapping[str, str]
    qrels: Qrels
    relevant_from: int
    texts: TextOf
    values: Mapping[str, Mapping[str, Mapping[str, float]]]
    depth: int = 10

    def __post_init__(self) -> None:
        names = [run.name for run in self.runs]
        if not names:
            raise HeadtailError("side by side: expected at least one run, found none")
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise HeadtailError(f"side by side: two runs are named {twice[0]!r}; rename one")
        if self.depth < 1:
            raise HeadtailError(f"side by side: expected a depth of 1 or more, found {self.depth}")

    @property
    def measures(self) -> list[str]:
        """The measures that any system has values of, in the order they come in."""
        return list(dict.fromkeys(measure for run in self.runs for measure in self.values.get(run.name, {})))

    def value(self, run: Run, measure: str, query_id: str) -> float | None:
        """The value of one system for one query; None where there is none, or none that is a number."""
        value = self.values.get(run.name, {}).get(measure, {}).get(query_id)
        return None if value is None or value != value else value

    def relevant(self, query_id: str) -> dict[str, int]:
        """doc_id -> label of the docs judged relevant."""
        return {doc_id: label for doc_id, label in self.qrels.get(query_id, {}).items() if label >= self.relevant_from}


@dataclass(frozen=True, slots=True)
class ShownQueries:
    """Which queries the page shows, in its order, and by what rule."""

    query_ids: tuple[str, ...]
    rule: str


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Queries that went wrong in one way."""

    title: str
    query_ids: tuple[str, ...]


def shown_queries(results: Results, most: int = MOST_QUERIES) -> ShownQueries:
    """All queries, or, where they are too many, evenly spaced ones of all when ordered by their change.

    The spacing keeps gains and losses in their true proportion, and both extremes are always among the queries shown.
    """
    known = [q for q in results.queries if results.qrels.get(q) or any(q in run for run in results.runs)]
    if len(known) <= most:
        return ShownQueries(tuple(known), f"All {len(known):,} queries.")
    first, last, measure = results.runs[0], results.runs[-1], next(iter(results.measures), "")
    changes = {q: _change(results.value(first, measure, q), results.value(last, measure, q)) for q in known}
    ordered = sorted(known, key=lambda query_id: (-changes[query_id], query_id))
    chosen = {ordered[i * (len(ordered) - 1) // max(1, most - 1)] for i in range(most)}
    rule = (
        f"{most:,} of {len(known):,} queries, evenly spaced when all are ordered by their change in {measure} from {first.name} to "
        f"{last.name}: gains and losses keep their proportion, the largest of both are among them. Equal changes go by query_id."
    )
    return ShownQueries(tuple(q for q in known if q in chosen), rule)


def _change(before: float | None, after: float | None) -> float:
    return 0.0 if before is None or after is None else after - before


def first_relevant(run: Run, query_id: str, relevant: Mapping[str, int]) -> int | None:
    """Rank of the first relevant doc in a whole ranking, from 1; None where it holds none."""
    return next((rank for rank, doc in enumerate(run.get(query_id, ()), start=1) if doc.doc_id in relevant), None)


def failure_groups(results: Results, query_ids: Sequence[str]) -> list[FailureGroup]:
    """Queries that no system answers, that the first alone answers, and those in which a ranker buries a relevant doc.

    A query belongs to as many of them as it fits. One with nothing relevant can be failed by nobody: it has a group of its own.
    """
    first, *rankers = results.runs
    answerable = [query_id for query_id in query_ids if results.relevant(query_id)]
    found = {q: [_found(run, q, results.relevant(q)) for run in results.runs] for q in answerable}

    def those(title: str, fits: Callable[[str], bool]) -> FailureGroup:
        return FailureGroup(title, tuple(filter(fits, answerable)))

    if not rankers:
        groups = [those(f"{first.name} has no relevant doc in its first {HEAD}", lambda q: not any(found[q]))]
    else:
        groups = [
            those(f"No system has a relevant doc in its first {HEAD}", lambda q: not any(found[q])),
            those(f"Only {first.name} has one in its first {HEAD}", lambda q: found[q][0] and not any(found[q][1:])),
        ]
    for ranker in rankers:
        deep = {q for q in answerable if deepest_fall(first, ranker, q, results.relevant(q)) > BURIED}
        groups.append(those(f"{ranker.name} drops a relevant doc by more than {BURIED} ranks", deep.__contains__))
    nothing = tuple(query_id for query_id in query_ids if not results.relevant(query_id))
    return [*groups, *([FailureGroup("Nothing is judged relevant", nothing)] if nothing else [])]


def _found(run: Run, query_id: str, relevant: Mapping[str, int]) -> bool:
    return any(doc.doc_id in relevant for doc in run.get(query_id, ())[:HEAD])


def deepest_fall(first: Run, ranker: Run, query_id: str, relevant: Mapping[str, int]) -> int:
    """By how many ranks a relevant doc falls at most, 0 if none does.

    A doc that the ranker's list lacks is taken to stand right below its end: it fell at least so far. A ranker without any
    list for the query buried nothing, it did not rank.
    """
    if not ranker.get(query_id):
        return 0
    after = ranks_of(ranker, query_id)
    falls = [
        after.get(doc_id, len(after) + 1) - rank
        for doc_id, rank in ranks_of(first, query_id).items()
        if doc_id in relevant
    ]
    return max([0, *falls])


def ranks_of(run: Run, query_id: str) -> dict[str, int]:
    """doc_id -> rank, from 1."""
    return {doc.doc_id: rank for rank, doc in enumerate(run.get(query_id, ()), start=1)}
