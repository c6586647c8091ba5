"""First stages: RETRIEVERS, name -> class with `build(docs, ...)` and `search(queries, k) -> Run`."""

from __future__ import annotations

from typing import Any

from headtail.retrieval.bm25 import BM25Index
from headtail.retrieval.lucene import LuceneIndex
from headtail.retrieval.tfidf import TfidfIndex

RETRIEVERS: dict[str, Any] = {"bm25": BM25Index, "tfidf": TfidfIndex, "lucene": LuceneIndex}    # lucene starts Java when used
