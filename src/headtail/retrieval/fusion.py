"""Several runs -> one: reciprocal rank fusion."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from headtail.errors import HeadtailError
from headtail.records import Run, ScoredDoc, in_order


def reciprocal_rank_fusion(
    runs: Iterable[Run],
    *,
    rrf_k: float = 60,
    k: int = 1000,
    depth: int | None = None,
    weights: Iterable[float] | None = None,
    name: str = "rrf",
) -> Run:
    """Each doc's score is the sum of weight / (rrf_k + rank) over the runs that hold it, ranks from 1.

    Scores of the runs count for nothing but their order, ties in it settled as everywhere. The sum is correctly rounded
    (`math.fsum`), so the order of the runs does not matter. A query that only some runs hold is fused from those; one that a
    run holds with an empty ranking counts as held.

    Args:
        runs: one or more; of any systems, depths and numbers of queries.
        rrf_k: how little the head counts over the tail, 0 upward; 60 is the paper's.
        k: at most so many docs a query are kept.
        depth: of each run, so many docs a query are read; all unless said.
        weights: one above 0 for each run, in their order; all 1 unless said.
        name: of the fused run.

    Raises:
        HeadtailError: no run, weights that do not fit, a number out of its range.

    Source: Cormack, Clarke and Büttcher, "Reciprocal Rank Fusion outperforms Condorcet and individual Rank Learning
    Methods", SIGIR 2009; with weights it is their sum with factors.
    """
    listed = list(runs)
    factors = _checked(listed, rrf_k, k, depth, weights)
    query_ids = dict.fromkeys(query_id for run in listed for query_id in run)
    fused = {}
    for query_id in query_ids:
        shares: dict[str, list[float]] = {}    # doc_id -> what each run gives it
        for run, factor in zip(listed, factors, strict=True):
            for rank, (doc_id, _) in enumerate(run.get(query_id, ())[:depth], start=1):
                shares.setdefault(doc_id, []).append(factor / (rrf_k + rank))
        fused[query_id] = in_order(ScoredDoc(doc_id, math.fsum(each)) for doc_id, each in shares.items())[:k]
    return Run.in_given_order(fused, name)


def in_some_only(runs: Sequence[Run]) -> list[str]:
    """The query_ids that some of the runs lack."""
    held = Counter(query_id for run in runs for query_id in run)
    return [query_id for query_id, count in held.items() if count < len(runs)]


def _checked(
    runs: Sequence[Run], rrf_k: float, k: int, depth: int | None, weights: Iterable[float] | None
) -> list[float]:
    """A weight for each run."""
    if not runs:
        raise HeadtailError("expected at least one run to fuse, found none")
    if not 0 <= rrf_k < math.inf:
        raise HeadtailError(f"rrf_k: expected a number of 0 or more, found {rrf_k}")
    for what, count in (("k", k), ("depth", depth)):
        if count is not None and count < 1:
            raise HeadtailError(f"{what}: expected 1 or more docs a query, found {count}")
    factors = [1.0] * len(runs) if weights is None else list(weights)
    if len(factors) != len(runs):
        raise HeadtailError(f"weights: expected one for each of the {len(runs)} runs, found {len(factors)}")
    for factor in factors:
        if not 0 < factor < math.inf:
            raise HeadtailError(f"weights: expected numbers above 0, found {factor}; leave the run out in place of a 0")
    return factors
