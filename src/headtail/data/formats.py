"""Strict readers and writers: MS MARCO TSV, BEIR JSONL, TREC runs and qrels, plain or gzip by the suffix `.gz`.

A reader either returns everything a file holds or raises a `DataError` that names the line. What all of them share:
UTF-8; a line ends in LF or CRLF; one byte order mark at the very start of a file is skipped; an id is one word (TREC
files are split at white space, so no other id could stand in them); no text is empty; no file is empty.

A writer writes the whole file or nothing (see `headtail.files`); the same content gives the same bytes, gzip included.
"""

from __future__ import annotations

import difflib
import gzip
import json
import math
import zlib
from collections.abc import Container, Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from headtail.errors import DataError, HeadtailError, shorten
from headtail.files import PathLike, atomic_writer, is_gzip
from headtail.records import Doc, Query, Run, as_float32

BOM = b"\xef\xbb\xbf"
GZIP_MAGIC = b"\x1f\x8b"
BEIR_QRELS_HEADER = ["query-id", "corpus-id", "score"]
ONE_WORD = "an id is one word: TREC files are split at white space"


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


# ---- lines of a file


def numbered_lines(path: PathLike) -> Iterator[tuple[int, str]]:
    """Yield (line number from 1, line without its end) of a UTF-8 file, plain or gzip by suffix.

    Raises:
        DataError: no such file, an empty file, broken UTF-8, a gzip file that is damaged or breaks off.
        HeadtailError: a file that cannot be opened.
    """
    number = 0
    with _open_to_read(path) as raw:
        for number, line in enumerate(_whole_lines(path, raw), start=1):
            yield number, _decode(path, number, line)
    if number == 0:
        raise DataError(path, expected="at least one line", found="an empty file")


def _open_to_read(path: PathLike) -> BinaryIO:
    try:
        return cast(BinaryIO, gzip.open(path, "rb")) if is_gzip(path) else Path(path).open("rb")
    except FileNotFoundError:
        raise DataError(path, expected="a file", found="none", hint=nearest_file(path)) from None
    except OSError as error:
        raise HeadtailError(f"cannot read {path}: {error.strerror}") from None


def nearest_file(path: PathLike) -> str:
    """A hint for a path that does not exist: the nearest name in its folder, or that the folder is missing too."""
    folder = Path(path).parent
    if not folder.is_dir():
        return f"there is no folder {folder}"
    near = difflib.get_close_matches(Path(path).name, sorted(p.name for p in folder.iterdir()), n=1)
    return f"did you mean {near[0]!r}?" if near else ""


def _whole_lines(path: PathLike, raw: BinaryIO) -> Iterator[bytes]:
    number = 1    # of the line being read
    try:
        for line in raw:
            yield line
            number += 1
    except EOFError:
        raise DataError(path, number, expected="more lines", found="a gzip file that breaks off",
                        hint="copy or download it again") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DataError(path, number, expected="gzip, as the suffix says", found=f"damaged data ({error})",
                        hint="copy it again, or drop the suffix of a file that is plain") from None
    except OSError as error:
        raise HeadtailError(f"cannot read {path}: {error.strerror}") from None


def _decode(path: PathLike, number: int, line: bytes) -> str:
    if number == 1:
        line = line.removeprefix(BOM)
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        zipped = number == 1 and line.startswith(GZIP_MAGIC)
        found = "gzip data" if zipped else f"byte 0x{line[error.start]:02x} at column {error.start + 1}"
        hint = "add the suffix .gz" if zipped else "convert the file to UTF-8"
        raise DataError(path, number, expected="UTF-8", found=found, hint=hint) from None
    return text[:-2] if text.endswith("\r\n") else text.removesuffix("\n")


# ---- checks that every format shares


def _fields(path: PathLike, number: int, line: str, names: str) -> list[str]:
    """Split a TSV line into the fields `names` (words joined by TAB)."""
    fields = line.split("\t")
    expected = names.split(" TAB ")
    if len(fields) != len(expected):
        hint = "a text holds no tab" if len(fields) > len(expected) else "fields are separated by one tab"
        raise DataError(path, number, expected=f"{len(expected)} fields ({names})",
                        found=f"{len(fields)}: {shorten(line)}", hint=hint)
    return fields


def _need_id(path: PathLike, number: int, kind: str, value: str) -> None:
    if value.split() != [value]:
        found = shorten(value) if value else "an empty one"
        raise DataError(path, number, expected=f"a {kind}", found=found, hint=ONE_WORD)


def _need_text(path: PathLike, number: int, kind: str, value: str) -> None:
    if not value or value.isspace():
        raise DataError(path, number, expected=f"a {kind} text", found="an empty one",
                        hint=f"drop the line or give the {kind} a text")


def _need_new(path: PathLike, number: int, key: str, seen: Container[str], what: str) -> None:
    if key in seen:
        raise DataError(path, number, expected=f"each {what} once", found=f"{key!r} again",
                        hint="keep one of the lines")


def _integer(path: PathLike, number: int, kind: str, value: str) -> int:
    try:
        if "_" in value:    # Python reads 1_000 as a number, nobody else does
            raise ValueError
        return int(value)
    except ValueError:
        raise DataError(path, number, expected=f"an integer {kind}", found=shorten(value)) from None


def _finite(path: PathLike, number: int, value: str) -> float:
    try:
        score = math.nan if "_" in value else as_float32(float(value))
    except ValueError:
        score = math.nan
    if not math.isfinite(score):
        raise DataError(path, number, expected="a finite float32 score", found=shorten(value))
    return score


# ---- collections and queries


def read_collection(path: PathLike) -> Iterator[Doc]:
    """Yield the docs of a TSV `doc_id TAB text` one by one, in file order.

    Duplicate ids are found by `collection.build_collection`, which sees all of them; this reader holds one line.

    Raises:
        DataError: see the head of this module.
    """
    for number, line in numbered_lines(path):
        doc_id, text = _fields(path, number, line, "doc_id TAB text")
        _need_id(path, number, "doc_id", doc_id)
        _need_text(path, number, "doc", text)
        yield Doc(doc_id, text)


def read_queries(path: PathLike) -> dict[str, Query]:
    """Read a TSV `query_id TAB text` into query_id -> Query, in file order.

    Raises:
        DataError: see the head of this module; also a query_id that occurs twice.
    """
    queries: dict[str, Query] = {}
    for number, line in numbered_lines(path):
        query_id, text = _fields(path, number, line, "query_id TAB text")
        _need_id(path, number, "query_id", query_id)
        _need_text(path, number, "query", text)
        _need_new(path, number, query_id, queries, "query_id")
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
        _need_new(path, number, query_id, queries, "query_id")
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
    _need_id(path, number, f"{kind} _id", values[0])
    _need_text(path, number, kind, text)
    return values[0], text


def write_collection(docs: Iterable[Doc], path: PathLike) -> None:
    """Write a TSV `doc_id TAB text`; whole or not at all.

    Raises:
        HeadtailError: an id that is not one word, a text that is empty or holds a tab or a line end, no docs, no room.
    """
    _write_lines((_tsv_line(path, "doc", *doc) for doc in docs), path)


def write_queries(queries: Mapping[str, Query], path: PathLike) -> None:
    """Write a TSV `query_id TAB text`; whole or not at all.

    Raises:
        HeadtailError: as in `write_collection`.
    """
    _write_lines((_tsv_line(path, "query", *query) for query in queries.values()), path)


def write_beir_corpus(docs: Iterable[Doc], path: PathLike) -> None:
    """Write a BEIR `corpus.jsonl` with empty titles; whole or not at all.

    Raises:
        HeadtailError: an id that is not one word, a text that is empty, no docs, no room.
    """
    _write_lines((_beir_line(path, "doc", {"_id": doc.doc_id, "title": "", "text": doc.text}) for doc in docs), path)


def write_beir_queries(queries: Mapping[str, Query], path: PathLike) -> None:
    """Write a BEIR `queries.jsonl`; whole or not at all.

    Raises:
        HeadtailError: as in `write_beir_corpus`.
    """
    _write_lines((_beir_line(path, "query", {"_id": key, "text": query.text}) for key, query in queries.items()), path)


def _beir_line(path: PathLike, kind: str, record: dict[str, str]) -> str:
    _writable_id(path, record["_id"])
    if not record["text"].strip():
        raise HeadtailError(f"cannot write {path}: {kind} {record['_id']!r} has an empty text")
    return json.dumps(record, ensure_ascii=False) + "\n"


def _tsv_line(path: PathLike, kind: str, key: str, text: str) -> str:
    _writable_id(path, key)
    return f"{key}\t{_text_fields(path, {f'{kind} {key!r}': text})}"


def _text_fields(path: PathLike, texts: Mapping[str, str]) -> str:
    """Texts that may stand in a TSV line, joined by tabs, with the line's end; `texts`: what it is -> text."""
    for what, text in texts.items():
        if not text.strip() or "\t" in text or "\n" in text or text.endswith("\r"):
            raise HeadtailError(f"cannot write {path}: {what} has the text {shorten(text)}; "
                                "a text is not empty and holds no tab and no line end")
    return "\t".join(texts.values()) + "\n"


def _writable_id(path: PathLike, key: str) -> None:
    if key.split() != [key] or key.startswith("\ufeff"):    # at the start of a file it would be read as its mark
        raise HeadtailError(f"cannot write {path}: the id {shorten(key)} cannot stand in it; {ONE_WORD}")


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
        _need_new(path, number, doc_id, judged, f"doc_id of query {query_id!r}")
        judged[doc_id] = _integer(path, number, "label", label)
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


def write_qrels(qrels: Mapping[str, Mapping[str, int]], path: PathLike) -> None:
    """Write judgments in TREC's columns `query_id 0 doc_id label`, separated by tabs; whole or not at all.

    A query without judgments has no line to stand in.

    Raises:
        HeadtailError: an id that is not one word, no judgments at all, no room.
    """
    def lines() -> Iterator[str]:
        for query_id, judged in qrels.items():
            _writable_id(path, query_id)
            for doc_id, label in judged.items():
                _writable_id(path, doc_id)
                yield f"{query_id}\t0\t{doc_id}\t{label:d}\n"

    _write_lines(lines(), path)


# ---- runs


def read_run(path: PathLike, name: str | None = None) -> Run:
    """Read a run; its order is the scores' (see `records.Run`), the rank column is not believed.

    Either TREC's `query_id Q0 doc_id rank score tag` or MS MARCO's `query_id doc_id rank`, whose score becomes -rank;
    the first line says which, and every other line must agree.

    Args:
        path: the file, plain or gzip.
        name: the run's name; by default the tag of the first line, or the file's name where there is no tag.

    Raises:
        DataError: see the head of this module; also a score that is no finite float32, a rank that is no integer, a
            doc (or, in three columns, a rank) twice for one query.
    """
    rankings: dict[str, dict[str, float]] = {}
    ranks: dict[str, set[str]] = {}
    columns = 0
    for number, line in numbered_lines(path):
        fields = line.split()
        if number == 1 and len(fields) in (3, 6):
            columns = len(fields)
            name = name or (fields[5] if columns == 6 else Path(path).name.split(".")[0])
        if len(fields) != columns:
            raise _run_columns(path, number, line, columns)
        query_id, doc_id = fields[0], fields[2 if columns == 6 else 1]
        rank = _integer(path, number, "rank", fields[3 if columns == 6 else 2])
        if columns == 3:    # the rank is all there is to order by
            taken = ranks.setdefault(query_id, set())
            _need_new(path, number, str(rank), taken, f"rank of query {query_id!r}")
            taken.add(str(rank))
        ranking = rankings.setdefault(query_id, {})
        _need_new(path, number, doc_id, ranking, f"doc_id of query {query_id!r}")
        ranking[doc_id] = _finite(path, number, fields[4] if columns == 6 else str(-rank))
    return Run({query_id: ranking.items() for query_id, ranking in rankings.items()}, name or "run")


def _run_columns(path: PathLike, number: int, line: str, columns: int) -> DataError:
    names = {6: "6 fields (query_id Q0 doc_id rank score tag)", 3: "3 fields (query_id doc_id rank)"}
    expected = names[columns] if columns else f"{names[6]} or {names[3]}"
    hint = "every line has as many as line 1" if columns else ""
    return DataError(path, number, expected=expected, found=f"{len(line.split())}: {shorten(line)}", hint=hint)


def write_run(run: Run, path: PathLike) -> None:
    """Write TREC's `query_id Q0 doc_id rank score tag`; whole or not at all.

    Nine significant digits name a float32 exactly, so it reads back as the same scores and ranks the same in
    trec_eval. White space in the run's name becomes "_" in the tag. A query without docs has no line to stand in.

    Raises:
        HeadtailError: an id that is not one word, a score that is infinite, no docs at all, no room.
    """
    tag = "_".join(run.name.split()) or "run"

    def lines() -> Iterator[str]:
        for query_id, ranking in run.items():
            _writable_id(path, query_id)
            for rank, (doc_id, score) in enumerate(ranking, start=1):
                _writable_id(path, doc_id)
                if not math.isfinite(score):
                    raise HeadtailError(f"cannot write {path}: query {query_id!r}, doc {doc_id!r} "
                                        f"has the score {score}; a run file holds finite numbers")
                yield f"{query_id} Q0 {doc_id} {rank} {score:.9g} {tag}\n"

    _write_lines(lines(), path)


# ---- MS MARCO's training triples and candidates


def read_triples(path: PathLike) -> Iterator[TextTriple]:
    """Yield text triples `query TAB positive TAB negative` one by one.

    Raises:
        DataError: see the head of this module.
    """
    for number, line in numbered_lines(path):
        triple = TextTriple(*_fields(path, number, line, "query TAB positive TAB negative"))
        for kind, text in triple._asdict().items():
            _need_text(path, number, kind, text)
        yield triple


def read_id_triples(path: PathLike) -> Iterator[IdTriple]:
    """Yield id triples `query_id TAB positive_id TAB negative_id` one by one.

    Raises:
        DataError: see the head of this module.
    """
    for number, line in numbered_lines(path):
        triple = IdTriple(*_fields(path, number, line, "query_id TAB positive_id TAB negative_id"))
        for kind, value in triple._asdict().items():
            _need_id(path, number, kind, value)
        yield triple


def read_top1000(path: PathLike) -> Iterator[Candidate]:
    """Yield candidates `query_id TAB doc_id TAB query TAB text` one by one.

    Raises:
        DataError: see the head of this module.
    """
    for number, line in numbered_lines(path):
        candidate = Candidate(*_fields(path, number, line, "query_id TAB doc_id TAB query TAB text"))
        _need_id(path, number, "query_id", candidate.query_id)
        _need_id(path, number, "doc_id", candidate.doc_id)
        _need_text(path, number, "query", candidate.query)
        _need_text(path, number, "doc", candidate.text)
        yield candidate


def write_triples(triples: Iterable[TextTriple], path: PathLike) -> None:
    """Write text triples `query TAB positive TAB negative`; whole or not at all.

    Raises:
        HeadtailError: as in `write_collection`.
    """
    _write_lines((_text_fields(path, triple._asdict()) for triple in triples), path)


def write_id_triples(triples: Iterable[IdTriple], path: PathLike) -> None:
    """Write id triples `query_id TAB positive_id TAB negative_id`; whole or not at all.

    Raises:
        HeadtailError: an id that is not one word, no triples, no room.
    """
    def lines() -> Iterator[str]:
        for triple in triples:
            for key in triple:
                _writable_id(path, key)
            yield "\t".join(triple) + "\n"

    _write_lines(lines(), path)


def write_top1000(candidates: Iterable[Candidate], path: PathLike) -> None:
    """Write candidates `query_id TAB doc_id TAB query TAB text`; whole or not at all.

    Raises:
        HeadtailError: as in `write_collection`.
    """
    def lines() -> Iterator[str]:
        for query_id, doc_id, query, text in candidates:
            _writable_id(path, query_id)
            _writable_id(path, doc_id)
            yield f"{query_id}\t{doc_id}\t{_text_fields(path, {'query': query, 'doc': text})}"

    _write_lines(lines(), path)


# ---- writing


def _write_lines(lines: Iterable[str], path: PathLike) -> None:
    with atomic_writer(path) as out:
        written = 0
        for line in lines:
            written += out.write(line)
        if not written:
            raise HeadtailError(f"cannot write {path}: there is nothing to write")
