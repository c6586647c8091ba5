"""retrieve, rerank and fuse: a data set's split, or runs -> run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from headtail.data.datasets import Dataset, load_dataset
from headtail.data.runs import read_run, write_run
from headtail.errors import HeadtailError, unknown_name
from headtail.progress import Meter, Track, silent
from headtail.records import Query, Run
from headtail.scoring import ScoresPairs
from headtail.scoring import rerank as rerank_run


def retrieve(
    data: str | Path | Dataset,
    split: str,
    *,
    ranker: str = "bm25",
    k: int = 100,
    index: str | Path | None = None,
    output: str | Path | None = None,
    track: Track = silent,
    **options: Any,
) -> Run:
    """First-stage run of a split: the k best docs of each query.

    Args:
        data: a data set or its name.
        ranker: "bm25", "tfidf" or "lucene".
        index: a folder to keep the index in: loaded where there is one, else built there; for lucene also one that another
            tool built, or the name of a prebuilt one, which is downloaded.
        output: a TREC run file to write, gzip by suffix.
        options: of the ranker: `k1`, `b`, `stemmer`, `stopwords`; the fields of `retrieval.lucene.Scoring`.

    Raises:
        HeadtailError: an unknown data set, split or ranker; see `data.datasets` and `retrieval`.
    """
    dataset = data if isinstance(data, Dataset) else load_dataset(data)
    queries = dataset.queries(split)
    run = search(dataset, queries, ranker=ranker, k=k, index=index, track=track, **options)
    if output is not None:
        write_run(run, output)
    return run


def search(
    dataset: Dataset,
    queries: Mapping[str, Query],
    *,
    ranker: str = "bm25",
    k: int = 100,
    index: str | Path | None = None,
    track: Track = silent,
    **options: Any,
) -> Run:
    """`retrieve` for queries at hand."""
    from headtail.retrieval import RETRIEVERS

    if ranker not in RETRIEVERS:
        raise HeadtailError(unknown_name("first-stage ranker", ranker, RETRIEVERS))
    if k < 1:
        raise HeadtailError(f"expected at least 1 doc a query, found -k {k}")
    built = _index(dataset, RETRIEVERS[ranker], ranker, index, track, options)
    run: Run = built.search(queries.values(), k, progress=track)
    return run


def _index(
    dataset: Dataset, retriever: Any, ranker: str, index: str | Path | None, track: Track, options: dict[str, Any]
) -> Any:
    if index is not None and not hasattr(retriever, "load"):
        raise HeadtailError(f"{ranker} keeps no index, found --index with it; leave it out")
    if index is not None and _is_there(index, retriever):
        if options and ranker == "bm25":    # its scores are in the index, Lucene's are computed for each query
            raise HeadtailError(f"{index} holds an index already; its own options count, leave out {', '.join(options)}")
        loaded = retriever.load(index, **options)
        _check_index(loaded, dataset, index)
        return loaded
    built = retriever.build(dataset.collection.docs(), progress=track, **options)
    if index is not None:
        built.save(Path(index))
    return built


def _is_there(index: str | Path, retriever: Any) -> bool:
    """Whether a folder holds something, or a name is that of a prebuilt index."""
    if Path(index).is_dir():
        return any(Path(index).iterdir())
    return hasattr(retriever, "is_prebuilt") and retriever.is_prebuilt(str(index))


def _check_index(index: Any, dataset: Dataset, folder: str | Path) -> None:
    """As many docs as the collection, and of 1,000 spread over them each one known."""
    doc_ids = index.doc_ids
    sample = (doc_ids[place] for place in range(0, len(doc_ids), max(1, len(doc_ids) // 1000)))
    strange = next((doc_id for doc_id in sample if doc_id not in dataset.collection), None)
    if strange is not None or len(doc_ids) != len(dataset.collection):
        what = f"doc {strange!r}" if strange is not None else f"{len(doc_ids):,} docs"
        raise HeadtailError(
            f"{folder}: expected an index of {dataset.name} ({len(dataset.collection):,} docs), found one with {what};"
            " name another folder as --index"
        )


def rerank(
    ranker: str | ScoresPairs,
    data: str | Path | Dataset,
    split: str,
    run: str | Path | Run,
    *,
    depth: int | None = None,
    name: str | None = None,
    output: str | Path | None = None,
    missing: str = "error",
    token_budget: int = 2048,
    precision: str = "auto",
    show: bool = False,
) -> Run:
    """Score a run's first `depth` docs of each query anew; see `scoring.rerank`.

    Args:
        ranker: a saved ranker's folder, `minilm`, `bi:NAME`, `cross:NAME`, or anything with `score(pairs)`.
        run: a run or a TREC run file.
        name: of the new run; none: the output file's, else the ranker's.
        show: a progress line on stderr.
    """
    from headtail.models.off_the_shelf import load_ranker

    dataset = data if isinstance(data, Dataset) else load_dataset(data)
    queries = dataset.queries(split)
    first_stage = run if isinstance(run, Run) else read_run(run)
    scorer: ScoresPairs = load_ranker(ranker) if isinstance(ranker, str) else ranker
    title = name or (run_name(output) if output is not None else str(ranker if isinstance(ranker, str) else "ranker"))
    total = sum(min(len(docs), depth or len(docs)) for docs in first_stage.values())
    with Meter(f"re-ranking with {title}", total) as meter:
        reranked = rerank_run(
            scorer,
            first_stage,
            queries,
            dataset.collection,
            depth=depth,
            name=title,
            missing=missing,
            token_budget=token_budget,
            precision=precision,
            on_batch=meter.advance if show else None,
        )
    if output is not None:
        write_run(reranked, output)
    return reranked


def fuse(
    runs: Sequence[str | Path | Run],
    *,
    rrf_k: float = 60,
    k: int = 1000,
    depth: int | None = None,
    weights: Sequence[float] | None = None,
    name: str | None = None,
    output: str | Path | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Run:
    """Reciprocal rank fusion of runs; see `retrieval.fusion.reciprocal_rank_fusion`.

    Args:
        runs: runs or TREC run files.
        name: of the new run; none: the output file's, else "rrf".
        say: hears how many queries only some of the runs hold.
    """
    from headtail.retrieval.fusion import in_some_only, reciprocal_rank_fusion

    loaded = [run if isinstance(run, Run) else read_run(run) for run in runs]
    title = name or (run_name(output) if output is not None else "rrf")
    fused = reciprocal_rank_fusion(loaded, rrf_k=rrf_k, k=k, depth=depth, weights=weights, name=title)
    partly = in_some_only(loaded)
    if partly:
        say(
            f"{len(partly):,} of {len(fused):,} queries (first: {partly[0]!r}) are not in all runs;"
            " each is fused from the runs that have it"
        )
    if output is not None:
        write_run(fused, output)
    return fused


def run_name(path: str | Path) -> str:
    """The system's name as its file tells it: runs/bm25.trec.gz -> bm25."""
    return Path(path).name.removesuffix(".gz").removesuffix(".trec").removesuffix(".txt").removesuffix(".run")
