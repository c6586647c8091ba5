"""Strict readers and writers: MS MARCO TSV, BEIR JSONL and TREC judgments, plain or gzip by the suffix `.gz`.

A reader either returns everything a file holds or raises a `DataError` that names the line; what all of them ask of a
file stands in `data.lines`. Runs have a module of their own, `data.runs`.

A writer writes the whole file or nothing (see `headtail.files`); the same content gives the same bytes, gzip included.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from headtail.data.lines import integer, need_id, need_new, need_text, numbered_lines, split_fields, writable_id, write_lines
from headtail.errors import DataError, HeadtailError, shorten
from headtail.files import PathLike
from headtail.records import INTENTS, Doc, Query

BEIR_QRELS_HEADER = ["query-id", "corpus-id", "score"]


class TextTriple(NamedTuple):
    """A training triple in full text, as in MS MARCO's `triples.train.small.tsv`."""

    query: str
    positive: str
    negative: str


class IdTriple(NamedTuple):
    """A training triple by id, as in MS MARCO's `qidpidtriples.train.full.2.tsv`."""

    query_id: str
    positive_id: str
    negative_id: str


class Candidate(NamedTuple):
    """A query with one doc to re-rank, as in MS MARCO's `top1000.dev.tsv`."""

    query_id: str
    doc_id: str
    query: str
    text: str


# ---- collections and queries


def read_collection(path: PathLike) -> Iterator[Doc]:
    """Yield the docs of a TSV `doc_id TAB text` one by one, in file order.

    Duplicate ids are found by `collection.build_collection`, which sees all of them; this reader holds one line.

    Raises:
        DataError: see the head of this module.
    """
    for number, line in numbered_lines(path):
        doc_id, text = split_fields(path, number, line, "doc_id TAB text")
        need_id(path, number, "doc_id", doc_id)
        need_text(path, number, "doc", text)
        yield Doc(doc_id, text)


def read_queries(path: PathLike) -> dict[str, Query]:
    """Read a TSV `query_id TAB text` into query_id -> Query, in file order.

    Raises:
        DataError: see the head of this module; also a query_id that occurs twice.
    """
    queries: dict[str, Query] = {}
    for number, line in numbered_lines(path):
        query_id, text = split_fields(path, number, line, "query_id TAB text")
        need_id(path, number, "query_id", query_id)
        need_text(path, number, "query", text)
        need_new(path, number, query_id, queries, "query_id")
        queries[query_id] = Query(query_id, text)
    return queries


def read_beir_corpus(path: PathLike) -> Iterator[Doc]:
    """Yield the docs of a BEIR `corpus.jsonl`: text is "title text", each run of white space one space.

    Raises:
        DataError: see the head of this module; also broken JSON and fields that are no strings.
    """
    for number, line in numbered_lines(path):
        doc_id, text = _beir_record(path, number, line, "doc")
        yield Doc(doc_id, text)


def read_beir_queries(path: PathLike) -> dict[str, Query]:
    """Read a BEIR `queries.jsonl` into query_id -> Query, each run of white space one space.

    Raises:
        DataError: see the head of this module; also broken JSON, fields that are no strings, a query_id twice.
    """
    queries: dict[str, Query] = {}
    for number, line in numbered_lines(path):
        query_id, text = _beir_record(path, number, line, "query")
        need_new(path, number, query_id, queries, "query_id")
        queries[query_id] = Query(query_id, text)
    return queries


def _beir_record(path: PathLike, number: int, line: str, kind: str) -> tuple[str, str]:
    try:
        record = json.loads(line)
        values = record["_id"], record.get("title") or "", record["text"]
        if not all(isinstance(value, str) for value in values):
            raise TypeError
        "".join(values).encode()    # JSON can spell half a surrogate pair, which no file can hold
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise DataError(path, number, expected="a JSON object with the strings _id and text", found=shorten(line),
                        hint="a line is one object") from None
    text = " ".join(f"{values[1]} {values[2]}".split())
    need_id(path, number, f"{kind} _id", values[0])
    need_text(path, number, kind, text)
    return values[0], text


def write_collection(docs: Iterable[Doc], path: PathLike) -> None:
    """Write a TSV `doc_id TAB text`; whole or not at all.

    Raises:
        HeadtailError: an id that is not one word, a text that is empty or holds a tab or a line end, no docs, no room.
    """
    write_lines((_tsv_line(path, "doc", *doc) for doc in docs), path)


def write_queries(queries: Mapping[str, Query], path: PathLike) -> None:
    """Write a TSV `query_id TAB text`; whole or not at all.

    Raises:
        HeadtailError: as in `write_collection`.
    """
    write_lines((_tsv_line(path, "query", *query) for query in queries.values()), path)


def write_beir_corpus(docs: Iterable[Doc], path: PathLike) -> None:
    """Write a BEIR `corpus.jsonl` with empty titles; whole or not at all.

    Raises:
        HeadtailError: an id that is not one word, a text that is empty, no docs, no room.
    """
    write_lines((_beir_line(path, "doc", {"_id": doc.doc_id, "title": "", "text": doc.text}) for doc in docs), path)


def write_beir_queries(queries: Mapping[str, Query], path: PathLike) -> None:
    """Write a BEIR `queries.jsonl`; whole or not at all.

    Raises:
        HeadtailError: as in `write_beir_corpus`.
    """
    write_lines((_beir_line(path, "query", {"_id": key, "text": query.text}) for key, query in queries.items()), path)


def _beir_line(path: PathLike, kind: str, record: dict[str, str]) -> str:
    writable_id(path, record["_id"])
    if not record["text"].strip():
        raise HeadtailError(f"cannot write {path}: {kind} {record['_id']!r} has an empty text")
    return json.dumps(record, ensure_ascii=False) + "\n"


def _tsv_line(path: PathLike, kind: str, key: str, text: str) -> str:
    writable_id(path, key)
    return f"{key}\t{_text_fields(path, {f'{kind} {key!r}': text})}"


def _text_fields(path: PathLike, texts: Mapping[str, str]) -> str:
    """Texts that may stand in a TSV line, joined by tabs, with the line's end; `texts`: what it is -> text."""
    for what, text in texts.items():
        if not text.strip() or "\t" in text or "\n" in text or text.endswith("\r"):
            raise HeadtailError(f"cannot write {path}: {what} has the text {shorten(text)}; "
                                "a text is not empty and holds no tab and no line end")
    return "\t".join(texts.values()) + "\n"


# ---- judgments


def read_qrels(path: PathLike) -> dict[str, dict[str, int]]:
    """Read judgments into query_id -> doc_id -> label, in file order.

    Either TREC's `query_id 0 doc_id label`, separated by white space, or BEIR's `query-id TAB corpus-id TAB score`
    with exactly that header.

    Raises:
        DataError: see the head of this module; also a label that is no integer, a doc judged twice for a query.
    """
    qrels: dict[str, dict[str, int]] = {}
    lines = numbered_lines(path)
    beir = False
    for number, line in lines:
        if number == 1 and line.split() == BEIR_QRELS_HEADER:
            beir = True
            continue
        query_id, doc_id, label = _qrels_fields(path, number, line, beir)
        judged = qrels.setdefault(query_id, {})
        need_new(path, number, doc_id, judged, f"doc_id of query {query_id!r}")
        judged[doc_id] = integer(path, number, "label", label)
    if not qrels:
        raise DataError(path, 2, expected="a judgment", found="nothing after the header")
    return qrels


def _qrels_fields(path: PathLike, number: int, line: str, beir: bool) -> tuple[str, str, str]:
    fields = line.split()
    names = "query-id corpus-id score" if beir else "query_id 0 doc_id label"
    if len(fields) != (3 if beir else 4):
        hint = "BEIR's three columns need their header" if number == 1 and len(fields) == 3 else ""
        raise DataError(path, number, expected=f"{3 if beir else 4} fields ({names})",
                        found=f"{len(fields)}: {shorten(line)}", hint=hint)
    return fields[0], fields[-2], fields[-1]


def read_intents(path: PathLike) -> dict[str, str]:
    """Read a TSV `query_id TAB intent` into query_id -> intent, which is question or browse.

    Raises:
        DataError: see the head of this module; also another intent, a query_id that occurs twice.
    """
    intents: dict[str, str] = {}
    for number, line in numbered_lines(path):
        query_id, intent = split_fields(path, number, line, "query_id TAB intent")
        need_id(path, number, "query_id", query_id)
        need_new(path, number, query_id, intents, "query_id")
        if intent not in INTENTS:
            raise DataError(path, number, expected=f"an intent, {' or '.join(INTENTS)}", found=shorten(intent))
        intents[query_id] = intent
    return intents


def write_qrels(qrels: Mapping[str, Mapping[str, int]], path: PathLike) -> None:
    """Write judgments in TREC's columns `query_id 0 doc_id label`, separated by tabs; whole or not at all.

    A query without judgments has no line to stand in.

    Raises:
        HeadtailError: an id that is not one word, no judgments at all, no room.
    """
    def lines() -> Iterator[str]:
        for query_id, judged in qrels.items():
            writable_id(path, query_id)
            for doc_id, label in judged.items():
                writable_id(path, doc_id)
                yield f"{query_id}\t0\t{doc_id}\t{label:d}\n"

    write_lines(lines(), path)


# ---- MS MARCO's training triples and candidates


def read_triples(path: PathLike) -> Iterator[TextTriple]:
    """Yield text triples `query TAB positive TAB negative` one by one.

    Raises:
        DataError: see the head of this module.
    """
    for number, line in numbered_lines(path):
        triple = TextTriple(*split_fields(path, number, line, "query TAB positive TAB negative"))
        for kind, text in triple._asdict().items():
            need_text(path, number, kind, text)
        yield triple


def read_id_triples(path: PathLike) -> Iterator[IdTriple]:
    """Yield id triples `query_id TAB positive_id TAB negative_id` one by one.

    Raises:
        DataError: see the head of this module.
    """
    for number, line in numbered_lines(path):
        triple = IdTriple(*split_fields(path, number, line, "query_id TAB positive_id TAB negative_id"))
        for kind, value in triple._asdict().items():
            need_id(path, number, kind, value)
        yield triple


def read_top1000(path: PathLike) -> Iterator[Candidate]:
    """Yield candidates `query_id TAB doc_id TAB query TAB text` one by one.

    Raises:
        DataError: see the head of this module.
    """
    for number, line in numbered_lines(path):
        candidate = Candidate(*split_fields(path, number, line, "query_id TAB doc_id TAB query TAB text"))
        need_id(path, number, "query_id", candidate.query_id)
        need_id(path, number, "doc_id", candidate.doc_id)
        need_text(path, number, "query", candidate.query)
        need_text(path, number, "doc", candidate.text)
        yield candidate


def write_triples(triples: Iterable[TextTriple], path: PathLike) -> None:
    """Write text triples `query TAB positive TAB negative`; whole or not at all.

    Raises:
        HeadtailError: as in `write_collection`.
    """
    write_lines((_text_fields(path, triple._asdict()) for triple in triples), path)


def write_id_triples(triples: Iterable[IdTriple], path: PathLike) -> None:
    """Write id triples `query_id TAB positive_id TAB negative_id`; whole or not at all.

    Raises:
        HeadtailError: an id that is not one word, no triples, no room.
    """
    def lines() -> Iterator[str]:
        for triple in triples:
            for key in triple:
                writable_id(path, key)
            yield "\t".join(triple) + "\n"

    write_lines(lines(), path)


def write_top1000(candidates: Iterable[Candidate], path: PathLike) -> None:
    """Write candidates `query_id TAB doc_id TAB query TAB text`; whole or not at all.

    Raises:
        HeadtailError: as in `write_collection`.
    """
    def lines() -> Iterator[str]:
        for query_id, doc_id, query, text in candidates:
            writable_id(path, query_id)
            writable_id(path, doc_id)
            yield f"{query_id}\t{doc_id}\t{_text_fields(path, {'query': query, 'doc': text})}"

    write_lines(lines(), path)
