"""Means per intent: a question wants one answer, browsing wants many good results; one mean over both hides each."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from headtail.errors import HeadtailError, unknown_name
from headtail.records import BROWSE, INTENTS, QUESTION

QUESTION_WORDS = frozenset((
    "who", "whom", "whose", "what", "when", "where", "which", "why", "how", "is", "are", "was", "were", "do", "does", "did", "can",
    "could", "should", "would", "will", "has", "have", "had",
))    # a query that begins with one of them asks something

MACRO = "macro"    # mean of the intents' means: each intent counts the same, however many queries it has


def group_by_intent(query_ids: Iterable[str], intents: Mapping[str, str]) -> dict[str, list[str]]:
    """Intent -> its query_ids, for the intents that occur, in the order of `records.INTENTS`.

    Args:
        query_ids: the queries to group.
        intents: query_id -> intent; may hold queries that are not asked for.

    Raises:
        HeadtailError: a query without an intent, or an intent that is none of `records.INTENTS`.
    """
    groups: dict[str, list[str]] = {intent: [] for intent in INTENTS}
    without = []
    for query_id in query_ids:
        intent = intents.get(query_id)
        if intent is None:
            without.append(query_id)
        elif intent not in groups:
            raise HeadtailError(f"query {query_id!r}: {unknown_name('intent', intent, INTENTS)}")
        else:
            groups[intent].append(query_id)
    if without:
        found = f"found none for {len(without):,}, first {without[0]!r}"
        raise HeadtailError(f"expected an intent for every judged query, {found}")
    return {intent: members for intent, members in groups.items() if members}


def means_by_intent(
    values: Mapping[str, Mapping[str, float]], intents: Mapping[str, str]
) -> dict[str, dict[str, float]]:
    """Intent -> measure -> mean over the queries of that intent, and `macro`, the mean of these means.

    A mean without a query that has a value is NaN, and so is a macro mean that rests on it.

    Args:
        values: measure -> query_id -> value.
        intents: query_id -> intent, for every query of `values`.

    Raises:
        HeadtailError: as `group_by_intent`.
    """
    groups = group_by_intent(dict.fromkeys(q for by_query in values.values() for q in by_query), intents)
    means: dict[str, dict[str, float]] = {intent: {} for intent in groups}
    for measure, by_query in values.items():
        for intent, members in groups.items():
            present = [by_query[query_id] for query_id in members if query_id in by_query]
            means[intent][measure] = sum(present) / len(present) if present else math.nan
    macro = {measure: sum(group[measure] for group in means.values()) / len(means) for measure in values}
    return {**means, MACRO: macro}


def intent_by_words(text: str) -> str:
    """A rule for queries that nobody gave an intent: one that asks is a question, all others browse.

    It asks if it ends with a question mark or begins with one of `QUESTION_WORDS`. The rule looks at the query alone and
    not at its judgments, so it is the same for sparse and for deep ones; "capital of france" it takes for browsing.
    """
    words = text.casefold().split()
    asks = bool(words) and (text.rstrip().endswith(("?", "\uff1f")) or words[0].strip("\"'(") in QUESTION_WORDS)
    return QUESTION if asks else BROWSE
