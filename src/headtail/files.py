"""Files written whole or not at all.

A writer fills a temporary file beside its target and renames it at the end, so a full disk or a killed process never
harms what stood there before.
"""

from __future__ import annotations

import contextlib
import errno
import gzip
import io
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from headtail.errors import HeadtailError, shorten

GZIP_LEVEL = 6    # level 9 takes about twice the time for 1 % fewer bytes
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)

PathLike = str | os.PathLike[str]


def is_gzip(path: PathLike) -> bool:
    """Whether the suffix says so."""
    return Path(path).suffix == ".gz"


@contextlib.contextmanager
def atomic_writer(path: PathLike) -> Iterator[TextIO]:
    """Open `path` to be written whole or not at all: `with atomic_writer("a/b.tsv.gz") as out: out.write(...)`.

    Text goes in as UTF-8 with LF line ends, through gzip where the suffix is `.gz`, into a temporary file of the same
    folder (made if missing), which takes the target's place when the block ends well and is removed when it does not.

    Raises:
        HeadtailError: no room on disk, a target that is no regular file, a folder that cannot be written.
    """
    target = Path(os.path.realpath(path))    # a link stays a link, its target is replaced
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        with clear_disk_errors(path):
            with _create(path, target, temporary) as raw:
                with _text_into(raw, is_gzip(path)) as out:
                    yield out
                raw.flush()
                os.fsync(raw.fileno())    # the name must not reach the disk before the bytes
            temporary.replace(target)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _create(path: PathLike, target: Path, temporary: Path) -> BinaryIO:
    if target.exists() and not target.is_file():
        raise HeadtailError(f"cannot write {path}: it is no regular file")
    if target.parent.is_file():
        raise HeadtailError(f"cannot write {path}: {target.parent} is a file, not a folder")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        return temporary.open("xb")
    except OSError as error:
        if error.errno in NO_ROOM:
            raise
        raise HeadtailError(f"cannot write {path}: {error.strerror}") from None


@contextlib.contextmanager
def _text_into(raw: BinaryIO, zipped: bool) -> Iterator[TextIO]:
    """A text layer on `raw`, which it leaves open; gzip without name and time, so that equal texts give equal bytes."""
    binary: Any = gzip.GzipFile("", "wb", GZIP_LEVEL, raw, mtime=0) if zipped else raw
    text = io.TextIOWrapper(binary, encoding="utf-8", newline="\n")
    try:
        yield text
        text.detach()
        if zipped:
            binary.close()
    except BaseException:    # let go of both layers without a second error; the first is on its way
        with contextlib.suppress(OSError, ValueError):
            text.detach()
        if zipped:
            with contextlib.suppress(OSError, ValueError):
                binary.close()
        raise


@contextlib.contextmanager
def clear_disk_errors(path: PathLike) -> Iterator[None]:
    """Turn a full disk and text that is no UTF-8, met while `path` is written, into one line."""
    try:
        yield
    except UnicodeEncodeError as error:
        half = shorten(error.object)
        raise HeadtailError(f"cannot write {path}: {half} holds half a character, which UTF-8 lacks") from None
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise HeadtailError(f"no room on disk: {path} was not written, what stood there is untouched") from None
