"""TREC runs and MS MARCO's three-column runs, read in columns and written whole.

A large run is read by pyarrow, in columns, several times as fast as line by line. That reader takes only what cannot
be misread (see `_plain`), and gives up at the first doubt; the strict reader then reads the file from its start, and
either understands it or names the line that is wrong. Both give the same run.
"""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headtail.data.lines import finite, integer, need_new, numbered_lines, writable_id, write_lines
from headtail.data.run_columns import RunColumns
from headtail.errors import DataError, HeadtailError, shorten
from headtail.files import PathLike, is_gzip
from headtail.records import Run

if TYPE_CHECKING:
    import pyarrow

TREC, MS_MARCO = 6, 3    # columns
COLUMNS = {
    TREC: "6 fields (query_id Q0 doc_id rank score tag)",
    MS_MARCO: "3 fields (query_id doc_id rank)",
}


def read_run(path: PathLike, name: str | None = None) -> Run:
    """Read a run; its order is the scores' (see `records.Run`), the rank column is not believed.

    Either TREC's `query_id Q0 doc_id rank score tag` or MS MARCO's `query_id doc_id rank`, whose score becomes -rank;
    the first line says which, and every other line must agree.

    Args:
        path: the file, plain or gzip.
        name: the run's name; by default the tag of the first line, or the file's name where there is no tag.

    Returns:
        The run; `notes` says so where the ranks of some queries contradict their scores.

    Raises:
        DataError: see the head of `data.lines`; also a score that is no finite float32, a rank that is no integer, a
            doc (or, in three columns, a rank) twice for one query.
    """
    tag, columns = _fast(path) or _strict(path)
    run = Run.in_given_order(columns, name or tag or Path(path).name.split(".")[0] or "run")
    if columns.contradicting:
        queries = "1 query" if columns.contradicting == 1 else f"{columns.contradicting:,} queries"
        run.notes = (f"the rank column contradicts the scores for {queries}; the scores count, as in trec_eval",)
    return run


# ---- the fast reader


def _fast(path: PathLike) -> tuple[str, RunColumns] | None:
    """Tag and columns; None where the strict reader is to say what the file holds."""
    import pyarrow

    try:
        data = gzip.decompress(Path(path).read_bytes()) if is_gzip(path) else Path(path).read_bytes()
    except (OSError, EOFError, zlib.error):
        return None
    head, separator = _first_line(data)
    if not separator or not _plain(data, separator):
        return None
    try:
        table = _table(data, len(head), separator)
    except pyarrow.ArrowInvalid:
        return None
    columns = RunColumns.build(table["query_id"], table["doc_id"], table["rank"], table["score"] if len(head) == TREC else None)
    return None if columns is None else (head[-1].decode() if len(head) == TREC else "", columns)


def _first_line(data: bytes) -> tuple[list[bytes], bytes]:
    """Its fields and what separates them; no separator where it is not of the two formats."""
    line = data[: data.find(b"\n")] if b"\n" in data else data
    for separator in (b" ", b"\t"):
        fields = line.split(separator)
        if len(fields) in COLUMNS:
            return fields, separator
    return [], b""


def _plain(data: bytes, separator: bytes) -> bool:
    """Nothing but visible ASCII, one kind of separator and line ends, and no hexadecimal number."""
    import numpy as np

    if not data.isascii() or _holds_hexadecimal(data, separator):
        return False
    bytes_, step = np.frombuffer(data, np.uint8), 1 << 20    # pieces that stay in the processor's cache
    below = sum(int(np.count_nonzero(bytes_[at : at + step] <= ord(" "))) for at in range(0, len(bytes_), step))
    return below == data.count(b"\n") + data.count(separator)


def _holds_hexadecimal(data: bytes, separator: bytes) -> bool:
    """A field that begins like 0x1f: a number to pyarrow, none to anybody else."""
    if b"x" not in data and b"X" not in data:
        return False
    return any(separator + sign + x in data for sign in (b"", b"-") for x in (b"0x", b"0X"))


def _table(data: bytes, columns: int, separator: bytes) -> pyarrow.Table:
    """What the columns hold that count; a field that is empty or of another kind, or a line too short, raises."""
    import pyarrow
    from pyarrow import csv

    keys = pyarrow.dictionary(pyarrow.int32(), pyarrow.string())    # few of them are different
    types: dict[str, Any] = {"query_id": keys, "Q0": keys, "doc_id": pyarrow.string(), "rank": pyarrow.int64()}
    types |= {"score": pyarrow.float64(), "tag": keys} if columns == TREC else {}
    names = list(types) if columns == TREC else ["query_id", "doc_id", "rank"]
    table = csv.read_csv(
        pyarrow.BufferReader(data),
        csv.ReadOptions(column_names=names, block_size=1 << 22),
        csv.ParseOptions(delimiter=separator.decode(), quote_char=False, double_quote=False, ignore_empty_lines=False),
        csv.ConvertOptions(column_types=types, null_values=[], strings_can_be_null=False),
    )
    if any(_holds_empty(table[name]) for name in names if types[name] in (keys, pyarrow.string())):
        raise pyarrow.ArrowInvalid("an empty field")
    return table


def _holds_empty(column: Any) -> bool:
    import pyarrow
    from pyarrow import compute

    if pyarrow.types.is_dictionary(column.type):
        return any("" in chunk.dictionary.to_pylist() for chunk in column.chunks)
    return bool(compute.any(compute.equal(compute.binary_length(column), 0)).as_py())


# ---- the strict reader


def _strict(path: PathLike) -> tuple[str, RunColumns]:
    """The same from any file that can be understood, line by line."""
    import numpy as np
    import pyarrow

    places: dict[str, int] = {}    # query_id -> its number
    seen: list[tuple[set[str], set[int]]] = []    # docs and ranks of each query
    queries, doc_ids, ranks, scores = [], [], [], []
    width, tag = 0, ""
    for number, line in numbered_lines(path):
        fields = line.split()
        if number == 1 and len(fields) in COLUMNS:
            width, tag = len(fields), fields[-1] if len(fields) == TREC else ""
        if not width or len(fields) != width:
            raise _wrong_width(path, number, line, width)
        query_id, doc_id = fields[0], fields[2 if width == TREC else 1]
        rank = integer(path, number, "rank", fields[3 if width == TREC else 2])
        place = places.setdefault(query_id, len(places))
        if place == len(seen):
            seen.append((set(), set()))
        _check_new(path, number, query_id, doc_id, rank if width == MS_MARCO else None, *seen[place])
        queries.append(place)
        doc_ids.append(doc_id)
        ranks.append(rank)
        scores.append(finite(path, number, fields[4] if width == TREC else str(-rank)))
    keys = pyarrow.DictionaryArray.from_arrays(pyarrow.array(queries, pyarrow.int32()), pyarrow.array(list(places)))
    built = RunColumns.build(keys, pyarrow.array(doc_ids), _as_int64(ranks), np.array(scores, np.float32))
    assert built is not None, "a duplicate was let by"
    return tag, built


def _check_new(path: PathLike, number: int, query_id: str, doc_id: str, rank: int | None, docs: set[str], ranks: set[int]) -> None:
    """A doc stands once in a ranking; so does a rank where it is all there is to order by."""
    if rank is not None:
        need_new(path, number, str(rank), {str(rank)} if rank in ranks else set(), f"rank of query {query_id!r}")
        ranks.add(rank)
    need_new(path, number, doc_id, docs, f"doc_id of query {query_id!r}")
    docs.add(doc_id)


def _as_int64(ranks: list[int]) -> Any:
    """Ranks are only compared, so what is too large for 64 bits may be cut."""
    import numpy as np

    most = (1 << 63) - 1
    return np.array([min(max(rank, -most), most) for rank in ranks], np.int64)


def _wrong_width(path: PathLike, number: int, line: str, width: int) -> DataError:
    expected = COLUMNS[width] if width else " or ".join(COLUMNS.values())
    hint = "every line has as many as line 1" if width else ""
    return DataError(path, number, expected=expected, found=f"{len(line.split())}: {shorten(line)}", hint=hint)


# ---- writing


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
            writable_id(path, query_id)
            for rank, (doc_id, score) in enumerate(ranking, start=1):
                writable_id(path, doc_id)
                if not math.isfinite(score):
                    raise HeadtailError(f"cannot write {path}: query {query_id!r}, doc {doc_id!r} "
                                        f"has the score {score}; a run file holds finite numbers")
                yield f"{query_id} Q0 {doc_id} {rank} {score:.9g} {tag}\n"

    write_lines(lines(), path)
