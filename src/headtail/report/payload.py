"""Results packed for the page: JSON, deflate, base64. Each doc's text is in it once, cut until the page is small enough.

The page's script reads it (templates/unpack.js); names of fields are the same on both sides.
"""

from __future__ import annotations

import base64
import json
import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headtail.errors import HeadtailError
from headtail.records import Run, ScoredDoc
from headtail.report.results import Results, failure_groups, first_relevant, ranks_of, shown_queries
from headtail.report.snippets import Match, Snippet, clean, find_terms, query_terms, snippet
from headtail.report.tables import one_line

SIZES = (1500, 1000, 700, 500, 360, 260, 180, 120, 80, 40, 0)    # characters of a text; the next where the page gets too big
NAME, ASKED = 200, 1000    # characters of an id or a name, and of a query, that are kept
ELSEWHERE = 10             # relevant docs outside the ranks shown that are named


@dataclass(frozen=True, slots=True)
class Packed:
    """What the page embeds, and what it says of it."""

    data: str    # base64 of deflated JSON
    rule: str    # which queries are in it
    cut: str     # how texts were cut


class _Docs:
    """doc_id -> its place in the page, given as docs come up, and for each the query words to look for in its text."""

    def __init__(self) -> None:
        self.places: dict[str, int] = {}
        self.terms: dict[str, dict[str, None]] = {}    # of the docs whose text is shown

    def place(self, doc_id: str) -> int:
        return self.places.setdefault(doc_id, len(self.places))

    def show(self, doc_id: str, terms: Sequence[str]) -> int:
        self.terms.setdefault(doc_id, {}).update(dict.fromkeys(terms))
        return self.place(doc_id)


def pack_results(results: Results, room: int) -> Packed:
    """As much text of each doc as fits.

    Args:
        results: what to show.
        room: bytes there are for it in the page; where even the bare rankings need more, they are packed all the same.
    """
    chosen = shown_queries(results)
    docs = _Docs()
    facts = page_facts(results, chosen.query_ids, docs)
    texts = _Texts(results, docs)
    packed, size, least = "", 0, 0.0    # least: bytes a character of text took at the last try; shorter texts take more
    for size in SIZES:
        snippets = texts.cut(size)
        letters = sum(len(one.text) for one in snippets)
        if letters * least > room and size:
            continue
        packed = pack(facts | {"texts": [[one.text, one.before, one.after] for one in snippets]})
        if len(packed) <= room:
            break
        least = (len(packed) - len(pack(facts))) / letters if letters else 0.0
    return Packed(packed, chosen.rule, _told(texts, size))


def pack(facts: Mapping[str, Any]) -> str:
    """Base64 of deflated JSON; NaN and infinite numbers are an error."""
    told = json.dumps(facts, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return base64.b64encode(zlib.compress(told.encode("utf-8"), 9)).decode("ascii")


def _told(texts: _Texts, size: int) -> str:
    longer = texts.longer(size)
    if not longer:
        return "Texts are whole."
    if not size:
        return "Texts are left out: the rankings alone fill the page."
    return (
        f"Of {longer:,} of {texts.shown:,} docs the page holds only part of the text: the {size:,} characters "
        "with most of the query’s words; … stands where text is left out."
    )


class _Texts:
    """The texts of the docs shown, in the order of their places, with their query words found once."""

    def __init__(self, results: Results, docs: _Docs) -> None:
        lookup = results.texts if callable(results.texts) else results.texts.__getitem__
        self.shown = len(docs.terms)
        self.clean: list[str] = []
        self._matches: list[Sequence[Match]] = []
        for doc_id in docs.places:
            shown = doc_id in docs.terms
            text = clean(_text(lookup, doc_id)) if shown else ""
            self.clean.append(text)
            self._matches.append(find_terms(text, docs.terms[doc_id]) if len(text) > SIZES[-2] else ())

    def cut(self, size: int) -> list[Snippet]:
        return [snippet(text, found, size) for text, found in zip(self.clean, self._matches, strict=True)]

    def longer(self, size: int) -> int:
        return sum(len(text) > size for text in self.clean)


def _text(lookup: Callable[[str], str], doc_id: str) -> str:
    try:
        return lookup(doc_id)
    except (KeyError, HeadtailError):
        return ""    # a page with one text missing beats no page


def page_facts(results: Results, query_ids: Sequence[str], docs: _Docs | None = None) -> dict[str, Any]:
    """All that the page's script needs but for the texts, as JSON holds it; docs and systems are told by their places."""
    docs = docs or _Docs()
    intents = list(dict.fromkeys(results.intents[q] for q in query_ids if results.intents.get(q)))
    places = {query_id: place for place, query_id in enumerate(query_ids)}
    queries = [_query(results, query_id, intents, docs) for query_id in query_ids]
    return {
        "systems": [_name(run.name) for run in results.runs],
        "measures": [_name(measure) for measure in results.measures],
        "intents": [_name(intent) for intent in intents],
        "relevant_from": results.relevant_from,
        "queries": queries,
        "groups": [
            {"title": one_line(group.title)[: 2 * NAME], "queries": [places[query_id] for query_id in group.query_ids]}
            for group in failure_groups(results, query_ids)
        ],
        "docs": [_name(doc_id) for doc_id in docs.places],
    }


def _query(results: Results, query_id: str, intents: Sequence[str], docs: _Docs) -> dict[str, Any]:
    """One query: what was asked, what was judged of what is shown, and each system's ranking and values."""
    text = results.queries[query_id].text
    terms = query_terms(text)
    rankings = [_ranking(results, run, query_id, terms, docs) for run in results.runs]
    named = {place for one in rankings if one for place in (*one["docs"], *one["elsewhere"][::2])}
    labels = [(docs.places[d], label) for d, label in results.qrels.get(query_id, {}).items() if docs.places.get(d) in named]
    return {
        "id": _name(query_id),
        "text": clean(text)[:ASKED],
        "intent": intents.index(results.intents[query_id]) if results.intents.get(query_id) else -1,
        "terms": terms,
        "relevant": len(results.relevant(query_id)),
        "labels": [number for pair in labels for number in pair],
        "rankings": rankings,
        "values": [[_rounded(results.value(run, m, query_id)) for m in results.measures] for run in results.runs],
    }


def _ranking(results: Results, run: Run, query_id: str, terms: Sequence[str], docs: _Docs) -> dict[str, Any] | None:
    """The first docs of one system, where the first system has them (0: nowhere), and relevant docs that are not among them.

    None where the system has no line for the query.
    """
    if query_id not in run:
        return None
    relevant, ranks = results.relevant(query_id), ranks_of(run, query_id)
    shown = run[query_id][: results.depth]
    hidden = [d for d in relevant if ranks.get(d, results.depth + 1) > results.depth]
    hidden.sort(key=lambda d: (d not in ranks, ranks.get(d, 0), -relevant[d], d))
    ranking = {
        "docs": [docs.show(doc.doc_id, terms) for doc in shown],
        "scores": short_scores(shown),
        "length": len(run[query_id]),
        "first": first_relevant(run, query_id, relevant) or 0,
        "hidden": len(hidden),
        "elsewhere": [number for d in hidden[:ELSEWHERE] for number in (docs.place(d), ranks.get(d, 0))],
    }
    if run is not results.runs[0]:
        before = ranks_of(results.runs[0], query_id)
        ranking["before"] = [before.get(doc.doc_id, 0) for doc in shown]
    return ranking


def short_scores(docs: Sequence[ScoredDoc]) -> list[float | str]:
    """Scores in five digits, or in nine, as many as a float32 has, where five would make two of them equal."""
    scores = [doc.score for doc in docs]
    for digits in (5, 9):
        short = [float(f"{score:.{digits}g}") for score in scores]
        if len(set(short)) == len(set(scores)):
            break
    return [score if math.isfinite(score) else ("∞" if score > 0 else "−∞") for score in short]


def _rounded(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, 4)


def _name(text: str) -> str:
    """An id or a name as one harmless line that cannot fill the page."""
    name = one_line(text)
    return name if len(name) <= NAME else f"{name[: NAME - 20]}…{name[-19:]}"
