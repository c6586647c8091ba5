"""Queries without judgments, judged by a teacher: BM25 finds docs, a published ranker grades them, a data set is left.

    python examples/teacher_judgments.py --collection collection.tsv.gz --queries queries.tsv.gz -o taught

The teacher's first doc of a query gets 3, the next two 2, the next three 1, the others 0; what is judged relevant in
`--qrels` gets 3 whatever the teacher says. Queries whose first doc the teacher scores below `--least` are left out:
nothing in the collection answers them; so are those of `--leave-out`, kept for validation. Train on the folder as on
any other.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from headtail import Doc, Run
from headtail.data.formats import read_collection, read_qrels, read_queries, write_collection, write_qrels, write_queries
from headtail.errors import HeadtailError
from headtail.models.off_the_shelf import load_ranker
from headtail.progress import Meter, track
from headtail.records import Qrels
from headtail.retrieval import RETRIEVERS
from headtail.scoring import rerank

GRADES = (3, 2, 2, 1, 1, 1)


def grade(run: Run, known: Qrels, least: float) -> dict[str, dict[str, int]]:
    """query_id -> doc_id -> grade, from a teacher's run and what is known."""
    graded = {}
    for query_id, docs in run.items():
        if len(docs) >= 2 * len(GRADES) and docs[0].score >= least:
            grades = (*GRADES, *[0] * len(docs))
            graded[query_id] = {doc.doc_id: label for doc, label in zip(docs, grades, strict=False)}
            graded[query_id] |= {doc_id: GRADES[0] for doc_id, label in known.get(query_id, {}).items() if label > 0}
    return graded


def main(
    collection: Path,
    queries: Path,
    qrels: Path | None,
    leave_out: Path | None,
    teacher: str,
    least: float,
    depth: int,
    output: Path,
) -> None:
    ranker = load_ranker(teacher)
    texts = {doc.doc_id: doc.text for doc in read_collection(collection)}
    held = read_queries(leave_out) if leave_out is not None else {}
    asked = {query_id: query for query_id, query in read_queries(queries).items() if query_id not in held}
    docs = [Doc(doc_id, text) for doc_id, text in texts.items()]
    found = RETRIEVERS["bm25"].build(docs, progress=track).search(asked.values(), depth, progress=track)
    with Meter(f"scoring with {teacher}", sum(len(ranking) for ranking in found.values())) as meter:
        scored = rerank(ranker, found, asked, texts, name=teacher, missing="skip", on_batch=meter.advance)
    judged = grade(scored, read_qrels(qrels) if qrels is not None else {}, least)
    write_collection(docs, output / "collection.tsv.gz")
    write_queries({query_id: asked[query_id] for query_id in judged}, output / "queries.train.tsv.gz")
    write_qrels(judged, output / "qrels.train.tsv")
    print(f"{output}: {len(judged):,} of {len(asked):,} queries judged by {teacher}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--collection", type=Path, required=True, help="TSV of doc_id and text")
    parser.add_argument("--queries", type=Path, required=True, help="TSV of query_id and text")
    parser.add_argument("--qrels", type=Path, help="what is judged already")
    parser.add_argument("--leave-out", type=Path, help="TSV of queries not to judge")
    parser.add_argument("--teacher", default="minilm", help="minilm, bi:NAME, cross:NAME or a saved ranker's folder")
    parser.add_argument("--least", type=float, default=0.38, help="smallest score of a query's first doc")
    parser.add_argument("--depth", type=int, default=30, help="docs of BM25 that the teacher sees")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the new data set")
    try:
        main(**vars(parser.parse_args()))
    except HeadtailError as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
