"""Lines of a file, and the checks that every format shares: a fault is a `DataError` that names the line.

UTF-8; a line ends in LF or CRLF; one byte order mark at the very start of a file is skipped; an id is one word (TREC
files are split at white space, so no other id could stand in them); no text is empty; no file is empty.
"""

from __future__ import annotations

import difflib
import gzip
import math
import zlib
from collections.abc import Container, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

from headtail.errors import DataError, HeadtailError, shorten
from headtail.files import PathLike, atomic_writer, is_gzip
from headtail.records import as_float32

BOM = b"\xef\xbb\xbf"
GZIP_MAGIC = b"\x1f\x8b"
ONE_WORD = "an id is one word: TREC files are split at white space"


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


def split_fields(path: PathLike, number: int, line: str, names: str) -> list[str]:
    """Split a TSV line into the fields `names` (words joined by TAB)."""
    fields = line.split("\t")
    expected = names.split(" TAB ")
    if len(fields) != len(expected):
        hint = "a text holds no tab" if len(fields) > len(expected) else "fields are separated by one tab"
        raise DataError(path, number, expected=f"{len(expected)} fields ({names})",
                        found=f"{len(fields)}: {shorten(line)}", hint=hint)
    return fields


def need_id(path: PathLike, number: int, kind: str, value: str) -> None:
    """Refuse an id that is not one word."""
    if value.split() != [value]:
        found = shorten(value) if value else "an empty one"
        raise DataError(path, number, expected=f"a {kind}", found=found, hint=ONE_WORD)


def need_text(path: PathLike, number: int, kind: str, value: str) -> None:
    """Refuse a text of nothing but white space."""
    if not value or value.isspace():
        raise DataError(path, number, expected=f"a {kind} text", found="an empty one",
                        hint=f"drop the line or give the {kind} a text")


def need_new(path: PathLike, number: int, key: str, seen: Container[str], what: str) -> None:
    """Refuse what was seen before."""
    if key in seen:
        raise DataError(path, number, expected=f"each {what} once", found=f"{key!r} again",
                        hint="keep one of the lines")


def integer(path: PathLike, number: int, kind: str, value: str) -> int:
    """The value as a whole number, refused where it is none."""
    try:
        if "_" in value:    # Python reads 1_000 as a number, nobody else does
            raise ValueError
        return int(value)
    except ValueError:
        raise DataError(path, number, expected=f"an integer {kind}", found=shorten(value)) from None


def finite(path: PathLike, number: int, value: str) -> float:
    """The value as a float32, refused where it is no number, NaN or infinite."""
    try:
        score = math.nan if "_" in value else as_float32(float(value))
    except ValueError:
        score = math.nan
    if not math.isfinite(score):
        raise DataError(path, number, expected="a finite float32 score", found=shorten(value))
    return score


def writable_id(path: PathLike, key: str) -> None:
    """Refuse to write an id that no reader would take."""
    if key.split() != [key] or key.startswith("\ufeff"):    # at the start of a file it would be read as its mark
        raise HeadtailError(f"cannot write {path}: the id {shorten(key)} cannot stand in it; {ONE_WORD}")


def write_lines(lines: Iterable[str], path: PathLike) -> None:
    """Write them all or nothing.

    Raises:
        HeadtailError: no line at all, no room, or what a line raises while it is made.
    """
    with atomic_writer(path) as out:
        written = 0
        for line in lines:
            written += out.write(line)
        if not written:
            raise HeadtailError(f"cannot write {path}: there is nothing to write")
