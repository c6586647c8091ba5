"""mine: a ranker and a first stage -> a run of hard negatives to train on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from headtail.data.datasets import Dataset, load_dataset
from headtail.data.lists import TrainingLists
from headtail.data.random_docs import RandomDocs
from headtail.data.runs import read_run, write_run
from headtail.errors import HeadtailError
from headtail.pipeline.search import run_name
from headtail.progress import Meter
from headtail.records import Run, ScoredDoc
from headtail.scoring import ScoresPairs, check_queries
from headtail.scoring import rerank as rerank_run


@dataclass(frozen=True)
class Mined:
    """A run to train on, and what it is made of, in docs; `skipped` counts queries that have no positive or no negative."""

    run: Run
    positives: int
    negatives: int
    random: int
    left_out: int
    skipped: int

    def told(self) -> str:
        """3 queries, 12 docs: 4 positives, 6 mined negatives, 2 random; …"""
        docs = sum(map(len, self.run.values()))
        return (
            f"{len(self.run):,} queries, {docs:,} docs: {self.positives:,} positives, {self.negatives:,} mined negatives,"
            f" {self.random:,} random; {self.left_out:,} candidates left out by the margin, {self.skipped:,} queries skipped"
        )


def mine(
    ranker: str | ScoresPairs,
    data: str | Path | Dataset,
    split: str,
    run: str | Path | Run,
    *,
    depth: int = 100,
    keep: int = 30,
    margin: float | None = None,
    teacher: str | Path | Run | None = None,
    random: int = 0,
    found_only: bool = False,
    seed: int = 0,
    output: str | Path | None = None,
    token_budget: int = 2048,
    precision: str = "auto",
    show: bool = False,
) -> Mined:
    """For each query with a positive: the positives that `run` found, and the negatives that a ranker scores highest.

    Args:
        ranker: whatever `rerank` takes.
        run: the first stage, whose first `depth` docs are candidates.
        keep: candidates to keep a query, those that the ranker scores highest.
        margin: leave out docs scored above the query's worst positive less this; see `TrainingLists`.
        teacher: a run whose scores the margin is taken of; none: the ranker's own.
        random: docs a query drawn from the whole collection besides; a teacher's run seldom knows them, the ranker does.
        found_only: the worst positive is one that `run` found, and queries without one are skipped.
        output: a TREC run file to write, gzip by suffix.
        show: a progress line on stderr.

    Raises:
        HeadtailError: a run, a teacher or qrels that do not fit the data; see `TrainingLists`.
    """
    if teacher is not None and margin is None:
        raise HeadtailError("a teacher is asked for the margin's sake alone: pass --margin, such as --margin 0, or no --teacher")
    dataset = data if isinstance(data, Dataset) else load_dataset(data)
    queries, qrels, first = dataset.queries(split), dataset.qrels(split), _run(run)
    check_queries(first, queries)

    def lists_by(judge: Run | None) -> TrainingLists:
        doubts: dict[str, Any] = {} if judge is None else {"filter_by": judge, "margin": margin}
        options: dict[str, Any] = {"depth": (1, depth), "found_only": found_only, "skip_empty": True, **doubts}
        return TrainingLists(queries, qrels, first, dataset.collection, **options)

    lists = lists_by(None if teacher is None else _run(teacher))
    strangers = _strangers(lists, random, seed)
    title = run_name(output) if output is not None else "mined"
    scored = _score(ranker, lists, strangers, title, show, token_budget=token_budget, precision=precision)
    if margin is not None and teacher is None:
        lists = lists_by(scored)
    mined = _pick(lists, scored, strangers, keep)
    if output is not None:
        write_run(mined.run, output)
    return mined


def _run(run: str | Path | Run) -> Run:
    return run if isinstance(run, Run) else read_run(run)


def _strangers(lists: TrainingLists, count: int, seed: int) -> dict[str, list[str]]:
    """`count` docs of the whole collection for each query, none of them relevant or in its window."""
    source = RandomDocs(lists.texts) if count else None
    drawn = {}
    for query_id, docs in lists.window().items():
        taken = lists.relevant_to(query_id) | {doc.doc_id for doc in docs}
        drawn[query_id] = source.draw(Random(f"{seed}:{query_id}"), count, taken) if source is not None else []
    return drawn


def _score(
    ranker: str | ScoresPairs, lists: TrainingLists, strangers: Mapping[str, list[str]], title: str, show: bool, **options: Any
) -> Run:
    """The ranker's run of all that may be kept, and of all positives, which a margin is taken from."""
    from headtail.models.off_the_shelf import load_ranker

    pool = {
        query_id: dict.fromkeys([*(doc.doc_id for doc in docs), *lists.positives_of(query_id), *strangers[query_id]])
        for query_id, docs in lists.window().items()
    }
    unscored = Run.in_given_order({query_id: tuple(ScoredDoc(doc_id, 0.0) for doc_id in docs) for query_id, docs in pool.items()})
    scorer: ScoresPairs = load_ranker(ranker) if isinstance(ranker, str) else ranker
    wanted = {query_id: lists.queries[query_id] for query_id in pool}
    with Meter(f"mining {title}", sum(map(len, pool.values()))) as meter:
        on_batch = meter.advance if show else None
        return rerank_run(scorer, unscored, wanted, lists.texts, name=title, on_batch=on_batch, **options)


def _pick(lists: TrainingLists, scored: Run, strangers: Mapping[str, list[str]], keep: int) -> Mined:
    """Of each query's scored docs: found positives, the best `keep` negatives, and what of the strangers is above suspicion."""
    rankings: dict[str, tuple[ScoredDoc, ...]] = {}
    positives = negatives = random = left_out = 0
    for query_id, docs in lists.window().items():
        suspects, hard = lists.suspects_of(query_id), set(lists.negatives_of(query_id))
        found = {doc.doc_id for doc in docs} - hard
        best = [doc.doc_id for doc in scored[query_id] if doc.doc_id in hard][:keep]
        safe = set(strangers[query_id]) - suspects
        kept = found | set(best) | safe
        rankings[query_id] = tuple(doc for doc in scored[query_id] if doc.doc_id in kept)
        positives, negatives, random = positives + len(found), negatives + len(best), random + len(safe)
        left_out += len(strangers[query_id]) - len(safe)
    skipped = len(lists.queries) - len(lists)
    return Mined(Run.in_given_order(rankings, scored.name), positives, negatives, random, lists.left_out + left_out, skipped)
