"""What every first stage does alike: take docs and queries in, cut a ranking at k.

An index holds its docs by doc_id, descending. Two docs with the same score then stand in the order of
`records.in_order` when they stand in the order of the index, so a tie across the cut at k is settled by the same rule
as everywhere else.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise, repeat
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
        raise no_docs()
    order = sorted(range(len(doc_ids)), key=doc_ids.__getitem__, reverse=True)
    sorted_ids = [doc_ids[i] for i in order]
    for one, next_one in pairwise(sorted_ids):
        if one == next_one:
            raise doc_twice(one)
    return sorted_ids, [contents[i] for i in order]


def no_docs() -> HeadtailError:
    """The error of an index without docs."""
    return HeadtailError("expected at least one doc to index, found none")


def doc_twice(doc_id: str) -> HeadtailError:
    """The error of a doc_id that comes again."""
    return HeadtailError(f"doc_id {doc_id!r}: expected once among the docs to index, found twice")


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


@contextmanager
def no_collection() -> Iterator[None]:
    """Keeps Python's cycle collector from running inside: it would walk millions of ScoredDocs that hold no cycle.

    At k = 1000 that is more than half of the time of a search. The collector is left as it was found.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def scored_docs(scores: NDArray[np.float32], doc_ids: Sequence[str], k: int) -> tuple[ScoredDoc, ...]:
    """The k best docs with a score above 0, in the order of `records.in_order`.

    Args:
        scores: [D], one score a doc; 0 says that doc and query have nothing in common.
        doc_ids: of the D docs, in descending order.
        k: how many; fewer come back where fewer are above 0.
    """
    import numpy as np

    rising = -scores    # best first; numpy also finds the k-th smallest ten times as fast as the k-th largest here
    cut = np.partition(rising, k - 1)[k - 1] if k < len(rising) else np.float32(0)
    # Every doc that ties with the k-th stays in until the sort below, which is stable, has put them in order.
    places = np.flatnonzero(rising <= cut) if cut < 0 else np.flatnonzero(rising < 0)
    best = places[np.argsort(rising[places], kind="stable")[:k]]
    pairs = zip(map(doc_ids.__getitem__, best.tolist()), scores[best].tolist(), strict=True)
    # What ScoredDoc._make does, without a Python call a doc: at k = 1000 the calls cost more than the search.
    return tuple(map(tuple.__new__, repeat(ScoredDoc), pairs))
