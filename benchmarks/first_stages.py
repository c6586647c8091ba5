"""python benchmarks/first_stages.py [--data FOLDER] [--split test] [-k 1000]: docs and queries a second of each first stage.

One run each, so for orientation. Docs are in memory when indexing begins; for lucene the time holds writing them for Java,
whose start is left out. Prints one Markdown table.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from headtail.data.datasets import load_dataset
from headtail.records import Doc, Query
from headtail.retrieval import RETRIEVERS
from headtail.retrieval.java import lacking

SQUAD = Path(__file__).parents[2] / "shared" / "data" / "squad"
STAGES: dict[str, tuple[str, dict[str, Any]]] = {
    "bm25": ("bm25", {}),
    "tfidf": ("tfidf", {}),
    "lucene": ("lucene", {}),
    "lucene, RM3": ("lucene", {"rm3": True}),
}


def seconds(call: Callable[[], Any]) -> tuple[float, Any]:
    gc.collect()
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default=str(SQUAD))
    parser.add_argument("--split", default="test")
    parser.add_argument("-k", type=int, default=1000)
    arguments = parser.parse_args()
    dataset = load_dataset(arguments.data)
    docs, queries = list(dataset.collection.docs()), list(dataset.queries(arguments.split).values())
    print(f"{len(docs):,} docs, {len(queries):,} queries, k={arguments.k}\n")
    print("| first stage | docs a second | queries a second |\n|---|---|---|")
    for title, (name, options) in STAGES.items():
        if name == "lucene" and lacking():
            print(f"| {title} | not run: {lacking()} | |")
            continue
        retriever = RETRIEVERS[name]
        retriever.build([Doc("d", "word")]).search([Query("q", "word")], 1)    # imports, and Java's start
        indexing, index = seconds(lambda make=retriever.build, options=options: make(docs, **options))
        searching, _ = seconds(lambda index=index: index.search(queries, arguments.k))
        print(f"| {title} | {len(docs) / indexing:,.0f} | {len(queries) / searching:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
