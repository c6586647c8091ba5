"""A run as columns, which take a fraction of what as many tuples would: rankings are made when asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise, repeat
from typing import TYPE_CHECKING, Any

from headtail.records import ScoredDoc

if TYPE_CHECKING:
    import numpy as np
    import pyarrow
    from numpy.typing import NDArray


class RunColumns(Mapping[str, tuple[ScoredDoc, ...]]):
    """query_id -> scored docs in the order of `records.in_order`, kept as one column of doc_ids and one of scores.

    Attributes:
        contradicting: queries whose rank column orders two docs with different scores the other way round.
    """

    def __init__(
        self, doc_ids: pyarrow.Array, scores: NDArray[np.float32], slices: Mapping[str, slice], contradicting: int = 0
    ) -> None:
        self._doc_ids, self._scores, self._slices = doc_ids, scores, slices
        self.contradicting = contradicting

    @classmethod
    def build(cls, query_ids: Any, doc_ids: Any, ranks: Any, scores: Any | None) -> RunColumns | None:
        """From columns of equal length, lines in any order; queries stand as they first occur.

        Args:
            query_ids: dictionary-encoded strings.
            doc_ids: strings.
            ranks: whole numbers.
            scores: numbers; None: minus the rank, which then must be there once for each query.

        Returns:
            None where a score is no finite float32 or a doc (or a rank that is the score) stands twice in a query.
        """
        import numpy as np

        codes, names = _encoded(query_ids)
        doc_ids, ranks = _combined(doc_ids), np.asarray(ranks)
        with np.errstate(over="ignore"):    # too large becomes infinite, and is refused
            values = (-ranks if scores is None else np.asarray(scores)).astype(np.float32)
        if not np.isfinite(values).all():
            return None
        if (codes[1:] < codes[:-1]).any():    # a query's lines are not all together
            order = np.argsort(codes, kind="stable")
            codes, values, ranks, doc_ids = codes[order], values[order], ranks[order], doc_ids.take(order)
        bounds = np.searchsorted(codes, np.arange(len(names) + 1))
        slices = {name: slice(int(bounds[i]), int(bounds[i + 1])) for i, name in enumerate(names)}
        ordered = _order(values, doc_ids, slices)
        if ordered is not None:
            values, ranks, doc_ids = values[ordered], ranks[ordered], doc_ids.take(ordered)
        ranked_twice = scores is None and bool(((values[1:] == values[:-1]) & (codes[1:] == codes[:-1])).any())
        if ranked_twice or _holds_duplicates(doc_ids, slices):
            return None
        contradicting = 0 if scores is None else _contradicting(values, ranks, codes, slices, names)
        return cls(doc_ids, values, slices, contradicting)

    def __getitem__(self, query_id: str) -> tuple[ScoredDoc, ...]:
        place = self._slices[query_id]
        pairs = zip(self._doc_ids[place].to_pylist(), self._scores[place].tolist(), strict=True)
        return tuple(map(tuple.__new__, repeat(ScoredDoc), pairs))    # what ScoredDoc._make does, without a Python call a doc

    def __contains__(self, query_id: object) -> bool:
        return query_id in self._slices

    def __iter__(self) -> Iterator[str]:
        return iter(self._slices)

    def __len__(self) -> int:
        return len(self._slices)

    @property
    def docs(self) -> int:
        """Scored docs of all queries together."""
        return len(self._scores)

    def doc_ids(self, query_id: str) -> list[str]:
        """The docs of a query, best first, without their scores."""
        ids: list[str] = self._doc_ids[self._slices[query_id]].to_pylist()
        return ids


def _encoded(query_ids: Any) -> tuple[NDArray[np.int32], list[str]]:
    """The number of each line's query, and the queries in the order of these numbers, that of their first lines."""
    import pyarrow

    if isinstance(query_ids, pyarrow.ChunkedArray):
        query_ids = query_ids.unify_dictionaries().combine_chunks()
        if isinstance(query_ids, pyarrow.ChunkedArray):
            query_ids = query_ids.chunk(0)
    return query_ids.indices.to_numpy(), query_ids.dictionary.to_pylist()


def _combined(doc_ids: Any) -> pyarrow.Array:
    """One array; offsets of 64 bits where the ids together are longer than 32 bits can count."""
    import pyarrow

    if not isinstance(doc_ids, pyarrow.ChunkedArray):
        return doc_ids
    whole = doc_ids.combine_chunks() if doc_ids.nbytes < (1 << 31) else doc_ids.cast(pyarrow.large_string()).combine_chunks()
    return whole.chunk(0) if isinstance(whole, pyarrow.ChunkedArray) else whole


def _order(scores: NDArray[np.float32], doc_ids: pyarrow.Array, slices: Mapping[str, slice]) -> NDArray[np.int64] | None:
    """Places in the order of `records.in_order` within each query; None where the lines stand in it already."""
    import numpy as np
    from pyarrow import compute

    starts = np.array([place.start for place in slices.values()])
    inner = np.ones(max(len(scores) - 1, 0), bool)    # between two lines of one query
    inner[starts[1:] - 1] = False
    falls = scores[:-1] > scores[1:]
    equal = np.flatnonzero((scores[:-1] == scores[1:]) & inner)
    falls[equal] = compute.greater(doc_ids.take(equal), doc_ids.take(equal + 1)).to_numpy(zero_copy_only=False)
    wrong = np.flatnonzero(inner & ~falls)
    if not len(wrong):
        return None
    order = np.arange(len(scores))
    touched = np.unique(np.searchsorted(starts, wrong, side="right") - 1)
    places = list(slices.values())
    for query in touched.tolist():
        place = places[query]
        order[place] = place.start + _query_order(scores[place], doc_ids[place].to_pylist())
    return order


def _query_order(scores: NDArray[np.float32], doc_ids: list[str]) -> NDArray[np.int64]:
    import numpy as np

    order = np.argsort(-scores, kind="stable")
    sorted_scores = scores[order]
    bounds = [0, *(np.flatnonzero(np.diff(sorted_scores)) + 1).tolist(), len(order)]
    if len(bounds) <= len(order):    # somewhere scores are equal
        for start, end in pairwise(bounds):
            if end - start > 1:
                order[start:end] = sorted(order[start:end].tolist(), key=doc_ids.__getitem__, reverse=True)
    return order


def _holds_duplicates(doc_ids: pyarrow.Array, slices: Mapping[str, slice]) -> bool:
    return any(len(set(doc_ids[place].to_pylist())) < place.stop - place.start for place in slices.values())


def _contradicting(
    scores: NDArray[np.float32], ranks: NDArray[np.int64], codes: NDArray[np.int32], slices: Mapping[str, slice], names: list[str]
) -> int:
    """Queries with two docs of which the one with the higher score has the higher rank number."""
    import numpy as np

    suspects = np.unique(codes[:-1][(ranks[1:] < ranks[:-1]) & (codes[1:] == codes[:-1])])
    found = 0
    for code in suspects.tolist():
        place = slices[names[code]]
        order = np.lexsort((ranks[place], -scores[place]))    # equal scores may have their ranks in any order
        found += bool((np.diff(ranks[place][order])[np.diff(scores[place][order]) != 0] < 0).any())
    return found
