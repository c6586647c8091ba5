"""python benchmarks/retrieval.py [--data FOLDER]: what BM25 costs here, beside direct calls of bm25s.

Both sides index the same docs and answer the same queries with the same tokens, stop words, stemmer and parameters, in
one thread. Rounds of the two alternate in one process; a ratio is taken within each round and the median reported, so
that a slow spell of the machine falls on both. Ours includes what a Run needs: doc_ids, ties settled, Python floats.
Prints one Markdown table, and leaves with status 1 when a median ratio falls below 0.9.
"""

from __future__ import annotations

import argparse
import gc
import gzip
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bm25s
import numpy as np
import Stemmer

from headtail.records import Doc, Query
from headtail.retrieval.bm25 import LUCENE_STOP_WORDS, TOKEN_PATTERN, BM25Index

SQUAD = Path(__file__).parents[2] / "shared" / "data" / "squad"
FLOOR = 0.9    # our docs or queries a second, as a share of bm25s's own


def read_pairs(path: Path) -> list[list[str]]:
    with gzip.open(path, "rt", encoding="utf-8", newline="\n") as lines:
        return [line.rstrip("\n").split("\t", 1) for line in lines]


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    gc.collect()
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


class Direct:
    """bm25s as its own documentation calls it."""

    def __init__(self, docs: list[Doc], queries: list[Query]) -> None:
        self.texts = [doc.text for doc in docs]
        self.doc_ids = np.array([doc.doc_id for doc in docs])
        self.queries = [query.text for query in queries]

    def tokenize(self, texts: list[str]) -> Any:
        return bm25s.tokenize(
            texts,
            token_pattern=TOKEN_PATTERN,
            stopwords=list(LUCENE_STOP_WORDS),
            stemmer=Stemmer.Stemmer("porter"),
            show_progress=False,
        )

    def build(self) -> Any:
        engine = bm25s.BM25(method="lucene", k1=0.9, b=0.4, backend="numpy")
        engine.index(self.tokenize(self.texts), show_progress=False)
        return engine

    def search(self, engine: Any, k: int) -> Any:
        tokens = self.tokenize(self.queries)
        return engine.retrieve(
            tokens, corpus=self.doc_ids, k=k, n_threads=0, show_progress=False, backend_selection="numpy"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=SQUAD, help="a folder with collection.tsv.gz and queries")
    parser.add_argument("--split", default="test")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    if not (args.data / "collection.tsv.gz").is_file():
        parser.error(f"no collection.tsv.gz in {args.data}; pass --data FOLDER")
    docs = [Doc(*pair) for pair in read_pairs(args.data / "collection.tsv.gz")]
    queries = [Query(*pair) for pair in read_pairs(args.data / f"queries.{args.split}.tsv.gz")]
    direct = Direct(docs, queries)
    engine, index = direct.build(), BM25Index.build(docs)    # warm up, and what the searches use
    tasks: dict[str, tuple[int, str, Callable[[], Any], Callable[[], Any]]] = {
        "index": (len(docs), "docs/s", direct.build, lambda: BM25Index.build(docs))
    }
    for k in (10, 100, 1000):
        k = min(k, len(docs))
        tasks[f"search, k = {k}"] = (
            len(queries),
            "queries/s",
            lambda k=k: direct.search(engine, k),    # type: ignore[misc]
            lambda k=k: index.search(queries, k),    # type: ignore[misc]
        )
    print(f"{args.data.name}: {len(docs):,} docs, {len(queries):,} queries, {args.rounds} interleaved rounds\n")
    print("| | unit | bm25s | headtail | ratio, median | ratios |\n|---|---|---:|---:|---:|---|")
    slow = False
    for task, (count, unit, theirs, ours) in tasks.items():
        times: list[tuple[float, float]] = []
        for turn in range(args.rounds):    # who goes first alternates too
            pair = [timed(call)[0] for call in ((theirs, ours) if turn % 2 else (ours, theirs))]
            times.append((pair[0], pair[1]) if turn % 2 else (pair[1], pair[0]))
        ratios = [their / our for their, our in times]
        slow |= statistics.median(ratios) < FLOOR
        their, our = (count / statistics.median(side) for side in zip(*times, strict=True))
        cells = [task, unit, f"{their:,.0f}", f"{our:,.0f}", f"{statistics.median(ratios):.2f}"]
        print(f"| {' | '.join(cells)} | {min(ratios):.2f} to {max(ratios):.2f} |", flush=True)
    return int(slow)


if __name__ == "__main__":
    sys.exit(main())
