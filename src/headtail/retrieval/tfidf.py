"""TF-IDF and cosine through scikit-learn: the deliberately low bar, kept at the library's defaults.

No stemmer, no stop words, raw term counts, tokens of two letters or more. As with BM25, a doc that shares no term with
the query is left out, and a query without a known term has an empty ranking.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from headtail.errors import HeadtailError
from headtail.progress import Track, silent
from headtail.records import Doc, Query, Run, ScoredDoc
from headtail.retrieval.ranking import checked_queries, in_index_order, no_collection, scored_docs

CHUNK_VALUES = 16_000_000    # scores held at once, 64 MB in float32; a single query of a larger collection takes more


class TfidfIndex:
    """A collection under TF-IDF with cosine similarity; made by `build`, lives in memory."""

    def __init__(self, vectorizer: Any, matrix: Any, doc_ids: Sequence[str]) -> None:
        self.doc_ids = doc_ids
        self._vectorizer = vectorizer
        self._matrix = matrix    # [terms, D] sparse

    def __len__(self) -> int:
        return len(self.doc_ids)

    @classmethod
    def build(cls, docs: Iterable[Doc], *, progress: Track = silent) -> TfidfIndex:
        """Index the docs.

        Args:
            docs: read once, in any order; their texts are held in memory while the index is built.
            progress: shows the docs as they are read.

        Raises:
            HeadtailError: no doc, a doc_id twice, or no word in any doc.

        Source: Salton and Buckley, "Term-weighting approaches in automatic text retrieval", 1988.
        """
        import numpy as np
        from sklearn.feature_extraction.text import TfidfVectorizer

        listed = list(progress(docs, "index"))
        doc_ids, texts = in_index_order([doc.doc_id for doc in listed], [doc.text for doc in listed])
        vectorizer = TfidfVectorizer(dtype=np.float32)
        try:
            matrix = vectorizer.fit_transform(texts)    # [D, terms], rows of length 1
        except ValueError as error:    # scikit-learn's word for an empty vocabulary
            raise HeadtailError(f"TF-IDF: expected words in the docs, found none in {len(texts):,}") from error
        return cls(vectorizer, matrix.T.tocsr(), doc_ids)

    def search(self, queries: Iterable[Query], k: int, *, name: str = "tfidf", progress: Track = silent) -> Run:
        """The k best docs of each query; every query has an entry, empty where no doc shares a term with it.

        Args:
            queries: with distinct query_ids.
            k: at most so many docs a query.
            name: of the run.
            progress: shows the queries as they are answered.

        Raises:
            HeadtailError: a query_id twice, or a k below 1.
        """
        listed = checked_queries(queries, k)
        with no_collection():
            answered = dict(progress(self._rankings(listed, k), "search", len(listed)))
        return Run.in_given_order(answered, name)

    def _rankings(self, queries: Sequence[Query], k: int) -> Iterator[tuple[str, tuple[ScoredDoc, ...]]]:
        """Query by query, computed in chunks that keep the dense scores within `CHUNK_VALUES`."""
        step = max(1, CHUNK_VALUES // len(self))
        for start in range(0, len(queries), step):
            chunk = queries[start : start + step]
            vectors = self._vectorizer.transform([query.text for query in chunk])    # [queries, terms] sparse
            products = vectors @ self._matrix    # [queries, D] sparse
            for row, query in enumerate(chunk):
                scores = products[[row]].toarray().ravel()    # [D] float32
                yield query.query_id, scored_docs(scores, self.doc_ids, k)
