"""The words every part speaks: Query, Doc, ScoredDoc, Run, Qrels, RankedList.

`Run` is the hinge: BM25, a bi-encoder and a fine-tuned ranker all return one, and evaluation reads nothing else.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, Protocol

from headtail.errors import HeadtailError

QUESTION, BROWSE = "question", "browse"
INTENTS = (QUESTION, BROWSE)    # one answer wanted | many good results wanted


class Query(NamedTuple):
    """What a person asked for."""

    query_id: str
    text: str


class Doc(NamedTuple):
    """A passage, a product, a docstring: one unit of a result list."""

    doc_id: str
    text: str


class ScoredDoc(NamedTuple):
    """One line of a ranking."""

    doc_id: str
    score: float


def as_float32(score: float) -> float:
    """Round to the nearest float32, the precision in which trec_eval compares scores; too large becomes infinite."""
    try:
        return float(struct.unpack("<f", struct.pack("<f", score))[0])
    except OverflowError:
        return float("inf") if score > 0 else float("-inf")


def in_order(docs: Iterable[ScoredDoc]) -> tuple[ScoredDoc, ...]:
    """Best first, in trec_eval's order: score as float32 descending, then doc_id descending as bytes.

    Python compares str by code point, which is the order of the UTF-8 bytes.
    """
    rounded = [ScoredDoc(doc_id, as_float32(score)) for doc_id, score in docs]
    return tuple(sorted(rounded, key=lambda doc: (doc.score, doc.doc_id), reverse=True))


class Run(Mapping[str, tuple[ScoredDoc, ...]]):
    """query_id -> scored docs, best first; ties are settled here and nowhere else.

    Args:
        rankings: for each query_id the scored docs, in any order.
        name: the system that made it; stands in tables and in the last column of a TREC run file.

    Attributes:
        notes: what the reader of its file has to say of it, such as that ranks contradict scores.

    Raises:
        HeadtailError: a score is NaN, or a doc_id occurs twice for one query.
    """

    def __init__(self, rankings: Mapping[str, Iterable[ScoredDoc | tuple[str, float]]], name: str = "run") -> None:
        self.name = name
        self.notes: tuple[str, ...] = ()    # what its reader has to say of it
        ordered = {query_id: self._ordered(query_id, docs) for query_id, docs in rankings.items()}
        self._rankings: Mapping[str, tuple[ScoredDoc, ...]] = ordered

    def _ordered(self, query_id: str, docs: Iterable[ScoredDoc | tuple[str, float]]) -> tuple[ScoredDoc, ...]:
        ranking = in_order(ScoredDoc(*doc) for doc in docs)
        if any(doc.score != doc.score for doc in ranking):
            raise HeadtailError(f"run {self.name!r}, query {query_id!r}: a score is NaN; a ranking needs numbers")
        if len({doc.doc_id for doc in ranking}) < len(ranking):
            raise HeadtailError(f"run {self.name!r}, query {query_id!r}: a doc_id occurs twice; keep one score a doc")
        return ranking

    def __getitem__(self, query_id: str) -> tuple[ScoredDoc, ...]:
        return self._rankings[query_id]

    def __contains__(self, query_id: object) -> bool:
        return query_id in self._rankings    # Mapping's own would make the ranking to see whether it is there

    def __iter__(self) -> Iterator[str]:
        return iter(self._rankings)

    def __len__(self) -> int:
        return len(self._rankings)

    def __repr__(self) -> str:
        return f"Run({self.name!r}, {len(self)} queries, {self.docs} docs)"

    @property
    def docs(self) -> int:
        """Scored docs of all queries together."""
        counted = getattr(self._rankings, "docs", None)    # columns know without making a ranking
        return counted if counted is not None else sum(map(len, self.values()))

    @classmethod
    def in_given_order(cls, rankings: Mapping[str, tuple[ScoredDoc, ...]], name: str = "run") -> Run:
        """A run of rankings known to be distinct docs in order already: nothing is sorted, checked or copied."""
        run = cls({}, name)
        run._rankings = rankings
        return run

    def doc_ids(self, query_id: str) -> list[str]:
        """The docs of a query, best first, without their scores; quicker than the scored docs where a run is large."""
        quick = getattr(self._rankings, "doc_ids", None)
        return quick(query_id) if quick is not None else [doc.doc_id for doc in self[query_id]]

    def top(self, k: int) -> Run:
        """The first k docs of every query."""
        return Run.in_given_order({query_id: docs[:k] for query_id, docs in self.items()}, self.name)

    def renamed(self, name: str) -> Run:
        """The same rankings under another name."""
        run = Run.in_given_order(self._rankings, name)
        run.notes = self.notes
        return run

    def tied_share(self) -> float:
        """Share of adjacent docs with one and the same score: how much of the order is the tie rule's, 0 to 1."""
        pairs = [a.score == b.score for docs in self.values() for a, b in pairwise(docs)]
        return sum(pairs) / len(pairs) if pairs else 0.0


class Texts(Protocol):
    """doc_id -> text: a dict, or a collection on disk."""

    def __getitem__(self, doc_id: str, /) -> str: ...
    def __contains__(self, doc_id: object, /) -> bool: ...
    def __iter__(self) -> Iterator[str]: ...
    def __len__(self) -> int: ...


Qrels = Mapping[str, Mapping[str, int]]
"""query_id -> doc_id -> label: judged relevance, 0 upward (a few collections use negative labels for spam)."""


@dataclass(frozen=True, slots=True)
class RankedList:
    """One list to learn from or to score: a query, its docs, a label for each doc and, with a teacher, its score for each.

    The docs stand in the order of the first stage where there is one, so position 0 is its best.
    """

    query: Query
    docs: tuple[Doc, ...]
    labels: tuple[float, ...]
    teacher: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        for kind, values in (("labels", self.labels), ("scores of the teacher", self.teacher)):
            if values is not None and len(self.docs) != len(values):
                raise ValueError(f"query {self.query.query_id!r}: {len(self.docs)} docs but {len(values)} {kind}")
