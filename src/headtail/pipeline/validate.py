"""Validation: part of a dev split re-ranked, by the functions that a test uses."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from headtail.config import Config, SourceConfig
from headtail.data.datasets import load_dataset
from headtail.data.lists import TrainingLists
from headtail.errors import HeadtailError
from headtail.evaluation.evaluate import evaluate
from headtail.losses import takes_teacher
from headtail.pipeline.lists import first_stage, list_options, teacher
from headtail.progress import Track, silent
from headtail.records import Query, RankedList, Run, ScoredDoc, Texts
from headtail.scoring import ScoresPairs, check_docs, score_ids
from headtail.training.batch import stack_lists
from headtail.training.diagnostics import best_temperature, score_histogram, separation
from headtail.training.loop import Validation

VALIDATION_MEASURES = ("RR@10", "nDCG@5")
HEAD = 5    # ranks whose docs are compared from one validation to the next


@dataclass(frozen=True)
class DevSplit:
    """The part of a dev split that validation re-ranks, and the lists its loss is taken on."""

    queries: Mapping[str, Query]
    qrels: Mapping[str, Mapping[str, int]]
    intents: Mapping[str, str]
    run: Run
    texts: Texts
    lists: tuple[RankedList, ...]
    relevant_from: int


def dev_split(settings: Config, track: Track = silent) -> DevSplit:
    """The queries, runs and lists of validation: for each intent the first `queries` by a hash of their ids.

    A hash and not a seed, so that runs with different seeds are validated on the same queries.
    """
    wanted = settings.validation
    base: SourceConfig = settings.train[0]
    own = wanted.name is None or wanted.name == base.name
    dataset = load_dataset(
        wanted.name or base.name,
        intent=wanted.intent or (base.intent if own else None),
        relevant_from=wanted.relevant_from or (base.relevant_from if own else None),
    )
    qrels, intents = dataset.qrels(wanted.split), dataset.intents(wanted.split)
    queries = first_by_hash(dataset.queries(wanted.split), qrels, intents, wanted.queries)
    run = first_stage(dataset, queries, wanted.run, wanted.depth, track).top(wanted.depth)
    run = Run({query_id: run[query_id] for query_id in queries if run.get(query_id)}, run.name)
    check_docs(run.name, ((query_id, doc.doc_id) for query_id, docs in run.items() for doc in docs), dataset.collection)
    chosen = {query_id: qrels[query_id] for query_id in queries}
    options = list_options(settings) | teacher(settings, wanted.teacher) | {"depth": (1, wanted.depth), "skip_empty": True}
    lists = TrainingLists(queries, chosen, run, dataset.collection, seed=0, **options)
    drawn = tuple(lists.get(index, 0) for index in range(len(lists)))
    return DevSplit(queries, chosen, intents, run, dataset.collection, drawn, dataset.relevant_from)


def first_by_hash(
    queries: Mapping[str, Query], qrels: Mapping[str, Any], intents: Mapping[str, str], most: int
) -> dict[str, Query]:
    """The first `most` judged queries of each intent, by a hash of their ids."""
    def place(query_id: str) -> bytes:
        return hashlib.blake2b(query_id.encode(), digest_size=8).digest()

    chosen: list[str] = []
    for intent in sorted(set(intents.values())):
        chosen += sorted((q for q in queries if q in qrels and intents[q] == intent), key=place)[:most]
    if not chosen:
        raise HeadtailError("the validation split has no judged query; check validation.name and validation.split")
    return {query_id: queries[query_id] for query_id in chosen}


def rescore(ranker: ScoresPairs, dev: DevSplit, settings: Config) -> tuple[Run, dict[tuple[str, str], float]]:
    """The dev run re-ranked, and every score that it and the dev lists need; each pair is scored once."""
    candidates = [(query_id, doc.doc_id) for query_id, docs in dev.run.items() for doc in docs]
    in_lists = [(ranked.query.query_id, doc.doc_id) for ranked in dev.lists for doc in ranked.docs]
    scores = score_ids(ranker, candidates + in_lists, dev.queries, dev.texts, precision=settings.training.precision)
    rankings = {
        query_id: [ScoredDoc(doc.doc_id, scores[query_id, doc.doc_id]) for doc in docs]
        for query_id, docs in dev.run.items()
    }
    return Run(rankings, settings.name), scores


def validation(ranker: ScoresPairs, dev: DevSplit, settings: Config, loss_fn: Any) -> Validation:
    """Measures of the re-ranked dev split, with loss, temperature and separation on its lists."""
    run, scores = rescore(ranker, dev, settings)
    names = tuple(dict.fromkeys((*VALIDATION_MEASURES, settings.validation.best_by)))
    means = evaluate(run, dev.qrels, names, relevant_from=dev.relevant_from).by_intent(dev.intents)
    figures = dict(zip(names, means["macro"].values(), strict=True))
    if len({dev.intents[query_id] for query_id in dev.queries}) > 1:
        figures |= {f"{intent} {name}": value for intent, row in means.items() if intent != "macro" for name, value in row.items()}
    labels, mask, more = stack_lists(dev.lists)
    listed = torch.zeros_like(labels)    # [B, L]
    listed[mask] = torch.tensor([scores[r.query.query_id, doc.doc_id] for r in dev.lists for doc in r.docs])
    told: dict[str, Any] = {**separation(listed, labels, mask), "tie_rate": run.tied_share()}
    told["histogram"] = score_histogram(listed, labels, mask)
    loss = float("nan")
    if more or not takes_teacher(settings.loss.name):
        with torch.random.fork_rng(devices=[]):    # ties in the same order at each validation
            torch.default_generator.manual_seed(0)    # the CPU's: torch.manual_seed would reset a GPU's too
            loss = loss_fn(listed, labels, mask, **more).item()
            told["temperature"], told["loss_tempered"] = best_temperature(loss_fn, listed, labels, mask, **more)
    heads = {query_id: [doc.doc_id for doc in docs[:HEAD]] for query_id, docs in run.items()}
    return Validation(figures, loss, told, heads)
