"""Ranker + run -> run: the same type as BM25's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import numpy as np

from headtail.errors import HeadtailError
from headtail.records import Query, Run, ScoredDoc, Texts


class ScoresPairs(Protocol):
    """What re-ranking asks of a ranker: scores [N] of N (query, doc) text pairs, in their order."""

    def score(
        self,
        pairs: list[tuple[str, str]],
        *,
        token_budget: int = ...,
        precision: str = ...,
        on_batch: Callable[[int], None] | None = ...,
    ) -> np.ndarray[Any, np.dtype[np.float32]]:
        """See `models.ranker.Ranker.score`."""


def score_ids(
    ranker: ScoresPairs,
    wanted: Iterable[tuple[str, str]],
    queries: Mapping[str, Query],
    texts: Texts,
    **options: Any,
) -> dict[tuple[str, str], float]:
    """(query_id, doc_id) -> score, each pair scored once; options are those of `score`."""
    unique = list(dict.fromkeys(wanted))
    pairs = [(queries[query_id].text, texts[doc_id]) for query_id, doc_id in unique]
    return dict(zip(unique, map(float, ranker.score(pairs, **options)), strict=True))


def rerank(
    ranker: ScoresPairs,
    run: Run,
    queries: Mapping[str, Query],
    texts: Texts,
    *,
    depth: int | None = None,
    name: str = "ranker",
    missing: str = "error",
    **options: Any,
) -> Run:
    """Score the first `depth` docs of every query anew; the result holds those docs and no others.

    Args:
        run: the first stage.
        queries: query_id -> Query, all that are to be re-ranked.
        texts: doc_id -> text.
        missing: "error" or "skip": what to do with queries that `run` gives no doc for.
        options: `token_budget`, `precision`, `on_batch` of `Ranker.score`.

    Raises:
        HeadtailError: the run names a query or a doc that the data lacks, or lacks a query.
    """
    check_queries(run, queries)
    lacking = [query_id for query_id in queries if not run.get(query_id)]
    if lacking and missing == "error":
        raise HeadtailError(
            f"run {run.name!r} has no candidates for {len(lacking)} of {len(queries)} queries (first: {lacking[0]!r});"
            " retrieve them, or pass --missing skip to leave them out"
        )
    candidates = run if depth is None else run.top(depth)
    wanted = [(query_id, doc.doc_id) for query_id, docs in candidates.items() for doc in docs]
    check_docs(run.name, wanted, texts)
    scores = score_ids(ranker, wanted, queries, texts, **options)
    return Run(
        {
            query_id: [ScoredDoc(doc.doc_id, scores[query_id, doc.doc_id]) for doc in docs]
            for query_id, docs in candidates.items()
        },
        name,
    )


def check_queries(run: Run, queries: Mapping[str, Query]) -> None:
    """Raise HeadtailError if the run holds a query that the data lacks."""
    unknown = [query_id for query_id in run if query_id not in queries]
    if unknown:
        raise HeadtailError(
            f"run {run.name!r} holds {len(unknown)} queries that the data lacks (first: {unknown[0]!r});"
            " is it a run of another split?"
        )


def check_docs(name: str, wanted: Iterable[tuple[str, str]], texts: Texts) -> None:
    """Raise HeadtailError if a doc of the (query_id, doc_id) pairs has no text."""
    for query_id, doc_id in wanted:
        if doc_id not in texts:
            raise HeadtailError(
                f"run {name!r}, query {query_id!r}: unknown doc_id {doc_id!r}; the collection has no such doc"
            )
