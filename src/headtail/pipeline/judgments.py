"""What runs are judged by: labels, intents, and from which label a doc is relevant."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from headtail.data.datasets import Dataset, load_dataset
from headtail.data.formats import read_intents, read_qrels, read_queries
from headtail.errors import HeadtailError
from headtail.evaluation.intents import intent_by_words
from headtail.records import QUESTION, Qrels

BY_WORDS = "by-words"    # the rule of `intent_by_words`, in place of a file of intents


@dataclass(frozen=True)
class Judged:
    """What runs are judged by."""

    qrels: Qrels
    intents: Mapping[str, str]
    relevant_from: int = 1
    note: str = ""
    name: str = ""


def several_judgments(
    data: Sequence[str],
    splits: Sequence[str],
    qrels: str | Path | None = None,
    *,
    intent: Sequence[str] = (),
    relevant_from: Sequence[int] = (),
    **options: Any,
) -> list[Judged]:
    """`judgments` of each data set, called by the last part of its name.

    Args:
        data: names of data sets; none: `qrels` alone.
        splits, intent, relevant_from: one for all, or one for each; of the last two also none.
        qrels: judgments of one's own, for one data set.
        options: as for `judgments`.

    Raises:
        HeadtailError: as `judgments`; some other number of options than data sets; the same data set twice.
    """
    sets: Sequence[str | None] = list(data) or [None]
    if qrels is not None and len(sets) > 1:
        raise HeadtailError(f"--qrels goes with one --data, found {len(sets)}")
    found = [
        judgments(name, split, qrels, intent=own_intent, relevant_from=own_from, **options)
        for name, split, own_intent, own_from in zip(
            sets, _each("--split", splits, sets), _each("--intent", intent, sets), _each("--relevant-from", relevant_from, sets),
            strict=True,
        )
    ]    # fmt: skip
    short = [re.split(r"[/:]", each.name.rstrip("/"))[-1] for each in found]
    names = [name if short.count(name) == 1 else each.name for name, each in zip(short, found, strict=True)]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise HeadtailError(f"the data set {twice} is given twice")
    return [replace(each, name=name) for each, name in zip(found, names, strict=True)]


def _each(option: str, given: Sequence[Any], sets: Sequence[str | None]) -> Sequence[Any]:
    """One for each data set, of none, one for all, or one for each."""
    if len(given) not in (0, 1, len(sets)):
        raise HeadtailError(f"{option}: expected one for all data sets or one for each of the {len(sets)}, found {len(given)}")
    return list(given) if len(given) == len(sets) else [given[0] if given else None] * len(sets)


def judgments(
    data: str | Path | Dataset | None = None,
    split: str | None = None,
    qrels: str | Path | None = None,
    *,
    intent: str | None = None,
    intents: str | Path | None = None,
    queries: str | Path | None = None,
    relevant_from: int | None = None,
) -> Judged:
    """Judgments of a data set's split, of a qrels file, or of a file in place of the split's own.

    Args:
        data, split: a data set and one of its splits.
        qrels: judgments of one's own.
        intent: of every query, over what the data set says.
        intents: a file `query_id TAB intent` that goes before everything else, or "by-words".
        queries: a file of queries, for "by-words" without a data set.
        relevant_from: lowest label that counts as relevant, over what the data set says.

    Raises:
        HeadtailError: neither data nor qrels is given, a data set without a split, or no queries to go by.
    """
    if data is None and qrels is None:
        raise HeadtailError("nothing to judge by: pass --data and --split, or --qrels FILE")
    if data is None:
        found = read_qrels(qrels or "")
        texts = {query_id: query.text for query_id, query in read_queries(queries).items()} if queries is not None else {}
        told = dict.fromkeys(found, intent or QUESTION) | _intents(intents, found, texts)
        return Judged(found, told, relevant_from or 1, name=Path(qrels or "").name)
    dataset = data if isinstance(data, Dataset) else load_dataset(data, intent=intent, relevant_from=relevant_from)
    if split is None:
        raise HeadtailError(f"data set {dataset.name!r}: which split? pass --split, one of {', '.join(dataset.splits)}")
    labels = dataset.qrels(split) if qrels is None else read_qrels(qrels)
    told = dict.fromkeys(labels, dataset.intent) | dataset.intents(split)
    if intents is not None:
        told |= _intents(intents, labels, {query_id: query.text for query_id, query in dataset.queries(split).items()})
    return Judged(labels, told, dataset.relevant_from, dataset.note, dataset.name)


def _intents(intents: str | Path | None, qrels: Mapping[str, object], texts: Mapping[str, str]) -> dict[str, str]:
    if intents is None:
        return {}
    if intents != BY_WORDS:
        return read_intents(intents)
    lacking = [query_id for query_id in qrels if query_id not in texts]
    if lacking:
        raise HeadtailError(f"--intents by-words: expected the text of every judged query, found none for {lacking[0]!r};"
                            " pass --data, or --queries FILE")
    return {query_id: intent_by_words(texts[query_id]) for query_id in qrels}
