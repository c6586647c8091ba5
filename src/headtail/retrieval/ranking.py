"""What every first stage does alike: take docs and queries in, cut a ranking at k.

An index holds its docs by doc_id, descending. Two docs with the same score then stand in the order of
`records.in_order` when they stand in the order of the index, so a tie across the cut at k is settled by the same rule
as everywhere else.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar

from headtail.errors import HeadtailError
from headtail.records import Query, ScoredDoc

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

T = TypeVar("T")


def in_index_order(doc_ids: Sequence[str], contents: Sequence[T]) -> tuple[list[str], list[T]]:
    """Both sequences by doc_id, descending.

    Raises:
        HeadtailError: no doc at all, or a doc_id that occurs twice.
    """
    if not doc_ids:
        raise HeadtailError("expected at least one doc to index, found none")
    order = sorted(range(len(doc_ids)), key=doc_ids.__getitem__, reverse=True)
    sorted_ids = [doc_ids[i] for i in order]
    for one, next_one in pairwise(sorted_ids):
        if one == next_one:
            raise HeadtailError(f"doc_id {one!r}: expected once among the docs to index, found twice")
    return sorted_ids, [contents[i] for i in order]


def checked_queries(queries: Iterable[Query], k: int) -> list[Query]:
    """The queries as a list.

    Raises:
        HeadtailError: a query_id that occurs twice, or a k below 1.
    """
    if k < 1:
        raise HeadtailError(f"k: expected 1 or more docs a query, found {k}")
    listed = list(queries)
    seen: set[str] = set()
    for query_id, _ in listed:
        if query_id in seen:
            raise HeadtailError(f"query_id {query_id!r}: expected once among the queries, found twice")
        seen.add(query_id)
    return listed


def scored_docs(scores: NDArray[np.float32], doc_ids: Sequence[str], k: int) -> tuple[ScoredDoc, ...]:
    """The k best docs with a score above 0, in the order of `records.in_order`.

    Args:
        scores: [D], one score a doc; 0 says that doc and query have nothing in common.
        doc_ids: of the D docs, in descending order.
        k: how many; fewer come back where fewer are above 0.
    """
    import numpy as np

    floor = np.partition(scores, len(scores) - k)[len(scores) - k] if k < len(scores) else np.float32(0)
    # Every doc that ties with the k-th stays in until the sort below, which is stable, has put them in order.
    places = np.flatnonzero(scores >= floor) if floor > 0 else np.flatnonzero(scores > 0)
    best = places[np.argsort(-scores[places], kind="stable")[:k]]
    return tuple(map(ScoredDoc, map(doc_ids.__getitem__, best.tolist()), scores[best].tolist()))
