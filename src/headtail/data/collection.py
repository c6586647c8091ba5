"""doc_id -> text through memory-mapped files: opens in milliseconds, never reads the whole collection into memory.

A collection is a folder of five files, all integers little-endian:

    docs.bin       for each doc in file order: doc_id, a tab, the text, in UTF-8, back to back
    offsets.bin    uint64 [docs + 1]       where in docs.bin a doc starts; the last is its size
    hashes.bin     uint64 [docs]           hashes of the doc_ids, ascending
    rows.bin       uint64 [docs]           the place in file order of the doc that each of these hashes stands for
    buckets.bin    uint64 [2**bits + 1]    where in hashes.bin the hashes that begin with these bits start

and `meta.json`, written last. To look up a doc_id: hash it, go to its bucket (about four hashes), compare the
doc_id itself on a hit. That is four small reads and one of the text.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import shutil
import struct
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from headtail.data.formats import read_collection
from headtail.data.lines import nearest_file
from headtail.errors import DataError, HeadtailError, shorten
from headtail.files import PathLike, clear_disk_errors
from headtail.records import Doc

FORMAT_VERSION = 1
FILES = ("docs.bin", "offsets.bin", "hashes.bin", "rows.bin", "buckets.bin")
DOCS_PER_BUCKET = 4
PROGRESS_EVERY = 10_000    # docs
ABANDONED_AFTER = 24 * 3600    # seconds after which a half-built folder in the cache is a killed process's
UINT64 = struct.Struct("<Q")
PAIR = struct.Struct("<QQ")


def cache_root() -> Path:
    """Where built collections are kept: $HEADTAIL_CACHE, else $XDG_CACHE_HOME/headtail, else ~/.cache/headtail."""
    if own := os.environ.get("HEADTAIL_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").expanduser() / "headtail"


class Collection:
    """doc_id -> text, read from disk as it is asked for.

    Works like a read-only mapping; iterating gives doc_ids in file order. It may be handed to worker processes: each
    opens the files anew. Close it, or leave that to the garbage collector.

    Args:
        folder: what `build_collection` wrote.

    Raises:
        HeadtailError: the folder is no collection, or one that is truncated or of another format version.
    """

    def __init__(self, folder: PathLike) -> None:
        self.folder = Path(folder)
        meta = _read_meta(self.folder)
        self._docs_count: int = meta["docs"]
        self._bits: int = meta["bits"]
        self._maps = [_map(self.folder / name) for name in FILES]
        self._docs, self._offsets, self._hashes, self._rows, self._buckets = self._maps

    def __len__(self) -> int:
        return self._docs_count

    def __iter__(self) -> Iterator[str]:
        return (doc.doc_id for doc in self.docs())

    def __contains__(self, doc_id: object) -> bool:
        return isinstance(doc_id, str) and self._find(doc_id) is not None

    def __getitem__(self, doc_id: str) -> str:
        text = self._find(doc_id)
        if text is None:
            raise HeadtailError(f"collection {self.folder} holds no doc_id {shorten(doc_id)} among its {len(self):,} "
                                "docs; do the run and the qrels belong to it?")
        return text

    def __repr__(self) -> str:
        return f"Collection({str(self.folder)!r}, {len(self)} docs)"

    def __reduce__(self) -> tuple[type[Collection], tuple[Path]]:
        return Collection, (self.folder,)

    def doc_id(self, position: int) -> str:
        """The doc_id at a position in file order, counted from 0; the text is not read."""
        if not 0 <= position < len(self):
            raise IndexError(f"expected a position of 0 to {len(self) - 1}, found {position}")
        (start,) = UINT64.unpack_from(self._offsets, 8 * position)
        return self._docs[start : self._docs.find(b"\t", start)].decode()

    def docs(self) -> Iterator[Doc]:
        """All docs, one by one, in file order."""
        start = 0
        for row in range(1, self._docs_count + 1):
            (end,) = UINT64.unpack_from(self._offsets, 8 * row)
            doc_id, _, text = self._docs[start:end].decode().partition("\t")
            yield Doc(doc_id, text)
            start = end

    def close(self) -> None:
        """Let go of the files; the collection cannot be used any more."""
        for mapped in self._maps:
            mapped.close()

    def _find(self, doc_id: str) -> str | None:
        key = doc_id.encode("utf-8", "surrogatepass")    # an id no file can hold is not found, rather than an error
        hashed = UINT64.unpack(_digest(key))[0]
        place, end = PAIR.unpack_from(self._buckets, 8 * (hashed >> (64 - self._bits)))
        while place < end:
            if UINT64.unpack_from(self._hashes, 8 * place)[0] == hashed:
                (row,) = UINT64.unpack_from(self._rows, 8 * place)
                found, _, text = self._docs[slice(*PAIR.unpack_from(self._offsets, 8 * row))].partition(b"\t")
                if found == key:
                    return text.decode()
            place += 1
        return None


def _digest(key: bytes) -> bytes:
    return blake2b(key, digest_size=8).digest()


def _map(path: Path) -> mmap.mmap:
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _read_meta(folder: Path) -> dict[str, Any]:
    """Read and check meta.json, and that every file has the size it had when it was built."""
    try:
        meta: dict[str, Any] = json.loads((folder / "meta.json").read_text("utf-8"))
        if meta["version"] != FORMAT_VERSION:
            raise HeadtailError(f"collection {folder} has format {meta['version']}, this headtail reads "
                                f"{FORMAT_VERSION}; build it again")
        wrong = [name for name in FILES if (folder / name).stat().st_size != meta["sizes"][name]]
    except FileNotFoundError as error:
        lacking = Path(str(error.filename)).name
        raise HeadtailError(f"{folder} is no built collection: it lacks {lacking}; use build_collection") from None
    except (OSError, ValueError, KeyError, TypeError):
        raise HeadtailError(f"{folder} is no built collection: its meta.json cannot be read; build it again") from None
    if wrong:
        raise HeadtailError(f"collection {folder} is damaged: {wrong[0]} has not the size it was built with; "
                            "build it again")
    return meta


# ---- building


def build_collection(
    docs: Iterable[Doc],
    folder: PathLike,
    progress: Callable[[int], None] | None = None,
    source: PathLike | None = None,
) -> Collection:
    """Build `folder` from docs that are read once, one by one; whole or not at all, in place of one that stood there.

    Memory: about 40 bytes a doc, whatever the texts' length.

    Args:
        docs: in the order to keep; ids are one word, texts are not empty.
        folder: made with its parents; if it exists it must be a collection or empty.
        progress: called with the number of docs so far, every 10,000 docs and at the end.
        source: the file where doc n stands in line n, for the messages.

    Raises:
        HeadtailError: no docs, a bad id or text, a doc_id twice, no room on disk, a folder that holds something else.
    """
    target = Path(os.path.realpath(folder))
    if target.exists() and not ((target / "meta.json").exists() or (target.is_dir() and not any(target.iterdir()))):
        raise HeadtailError(f"cannot build a collection in {folder}: it holds something else; name a new folder")
    with building(target) as temporary:
        _fill(docs, temporary, progress or (lambda count: None), source)
        publish(temporary, target)
    return Collection(target)


@contextlib.contextmanager
def building(target: Path) -> Iterator[Path]:
    """A temporary folder beside `target`, gone at the end unless it was published."""
    with clear_disk_errors(target):
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary = Path(tempfile.mkdtemp(prefix=".building-", dir=target.parent))
        except PermissionError as error:
            raise HeadtailError(f"cannot write {target}: {error.strerror}; can you write there?") from None
        try:
            yield temporary
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def publish(temporary: Path, target: Path, keep: Callable[[Path], bool] = lambda target: False) -> None:
    """Rename a finished folder to `target`; one that stands there is moved aside first and then removed.

    Args:
        keep: whether what stands there is to stay, because another process was faster: others may be opening it now.
    """
    temporary.chmod(0o755)    # mkdtemp's folders are closed to everybody else
    for _ in range(100):    # another process may put its own folder there between the two renames
        try:
            temporary.rename(target)
            return
        except OSError:
            if not target.exists():
                raise
            if keep(target):
                return
        aside = Path(tempfile.mkdtemp(prefix=".building-", dir=target.parent))
        with contextlib.suppress(FileNotFoundError):
            target.rename(aside / "old")
        shutil.rmtree(aside, ignore_errors=True)
    raise HeadtailError(f"cannot write {target}: other processes keep writing it; try again when they are done")


def _fill(docs: Iterable[Doc], folder: Path, progress: Callable[[int], None], source: PathLike | None) -> None:
    """Write all files of a collection; the texts as they come, the index when all hashes are known."""
    with (folder / "docs.bin").open("wb") as docs_file, (folder / "offsets.bin").open("wb") as offsets_file:
        digests = _write_docs(docs, docs_file, offsets_file, progress)
    count = len(digests) // 8
    if not count:
        raise HeadtailError("a collection needs at least one doc, found none")
    hashes = np.frombuffer(digests, dtype="<u8")             # [docs]
    rows = np.argsort(hashes, kind="stable").astype("<u8")    # [docs]
    hashes = hashes[rows]
    _need_distinct(folder, hashes, rows, source)
    bits = max(1, (count // DOCS_PER_BUCKET).bit_length())
    firsts = np.arange(1, 2**bits, dtype="<u8") << np.uint64(64 - bits)    # first hash of each bucket but the first
    buckets = np.concatenate(([0], np.searchsorted(hashes, firsts), [count])).astype("<u8")
    for name, numbers in (("hashes.bin", hashes), ("rows.bin", rows), ("buckets.bin", buckets)):
        (folder / name).write_bytes(numbers.data)    # numpy's tofile hides that the disk is full
    sizes = {name: (folder / name).stat().st_size for name in FILES}
    meta = {"version": FORMAT_VERSION, "docs": count, "bits": bits, "sizes": sizes}
    (folder / "meta.json").write_text(json.dumps(meta, indent=1) + "\n", "utf-8")


def _write_docs(
    docs: Iterable[Doc], docs_file: BinaryIO, offsets_file: BinaryIO, progress: Callable[[int], None]
) -> bytearray:
    """Write texts and offsets; return the 8-byte hashes of the ids back to back."""
    digests = bytearray()
    offsets = [0]
    end = count = 0
    for count, (doc_id, text) in enumerate(docs, start=1):
        if doc_id.split() != [doc_id]:
            raise HeadtailError(f"doc {count} of the collection has the doc_id {shorten(doc_id)}; an id is one word")
        if not text or text.isspace():
            raise HeadtailError(f"doc {count} of the collection, doc_id {doc_id!r}, has an empty text; drop the doc or "
                                "give it a text")
        key = doc_id.encode()
        end += docs_file.write(b"%b\t%b" % (key, text.encode()))
        offsets.append(end)
        digests += _digest(key)
        if count % PROGRESS_EVERY == 0:
            _write_numbers(offsets, offsets_file)
            offsets.clear()
            progress(count)
    _write_numbers(offsets, offsets_file)
    progress(count)
    return digests


def _write_numbers(numbers: Sequence[int], file: BinaryIO) -> None:
    file.write(np.array(numbers, dtype="<u8").tobytes())


def _need_distinct(folder: Path, hashes: Any, rows: Any, source: PathLike | None) -> None:
    """Compare the ids of docs whose hashes are equal; two ids may share a hash, two docs may not share an id."""
    equal = np.flatnonzero(hashes[1:] == hashes[:-1])
    if not len(equal):
        return
    suspects = sorted({int(row) for place in equal for row in rows[place : place + 2]})
    offsets = np.memmap(folder / "offsets.bin", dtype="<u8", mode="r")
    docs = np.memmap(folder / "docs.bin", dtype="u1", mode="r")
    first: dict[str, int] = {}
    for row in suspects:
        doc_id = docs[int(offsets[row]) : int(offsets[row + 1])].tobytes().partition(b"\t")[0].decode()
        if doc_id in first:
            raise _doc_twice(doc_id, first[doc_id] + 1, row + 1, source)
        first[doc_id] = row


def _doc_twice(doc_id: str, first: int, second: int, source: PathLike | None) -> HeadtailError:
    if source is None:
        return HeadtailError(f"doc {second} of the collection has the doc_id {doc_id!r} of doc {first}; keep one")
    return DataError(source, second, expected="each doc_id once", found=f"{doc_id!r} again",
                     hint=f"it stands in line {first} too, keep one of the lines")


# ---- the cache


def open_collection(
    source: PathLike,
    cache_dir: PathLike | None = None,
    read: Callable[[PathLike], Iterable[Doc]] = read_collection,
    progress: Callable[[int], None] | None = None,
) -> Collection:
    """Open a collection file through the cache: built when missing, stale or damaged, otherwise reused.

    Stale means that the file's path, size or time of change is another. Several processes may do this at once.

    Args:
        source: a file for `read`, by default a TSV `doc_id TAB text`.
        cache_dir: where built collections are kept; `cache_root()` by default.
        read: yields the docs of `source`, doc n from line n.
        progress: as in `build_collection`; not called when nothing has to be built.

    Raises:
        DataError: from `read`; also a doc_id that occurs twice.
        HeadtailError: no room on disk.
    """
    path = Path(source).resolve()
    try:
        status = path.stat()
    except FileNotFoundError:
        raise DataError(source, expected="a file", found="none", hint=nearest_file(source)) from None
    stem = f"{path.parent.name[:40]}-{path.name.split('.')[0][:40]}-{short_hash(path)}"
    version = short_hash(status.st_size, status.st_mtime_ns, FORMAT_VERSION)
    return cached_collection(stem, version, lambda: read(source), cache_dir, progress, source)


def short_hash(*parts: object) -> str:
    """Twelve hex digits that stand for these parts in a file name."""
    return blake2b("|".join(map(str, parts)).encode("utf-8", "surrogateescape"), digest_size=6).hexdigest()


def cached_collection(
    stem: str,
    version: str,
    docs: Callable[[], Iterable[Doc]],
    cache_dir: PathLike | None = None,
    progress: Callable[[int], None] | None = None,
    source: PathLike | None = None,
) -> Collection:
    """Open the collection STEM-VERSION of the cache, or build it from `docs()` and remove other versions of STEM.

    Several processes may do this at once; no other STEM may begin with this one (end it with a `short_hash`).
    """
    parent = Path(cache_dir or cache_root()) / "collections"
    folder = parent / f"{stem}-{version}"
    with contextlib.suppress(HeadtailError):
        return Collection(folder)
    with building(folder) as temporary:
        _fill(docs(), temporary, progress or (lambda count: None), source)
        publish(temporary, folder, keep=_is_collection)
    for other in parent.iterdir():
        if other.name.startswith(f"{stem}-") and other != folder:
            shutil.rmtree(other, ignore_errors=True)    # whoever has it mapped keeps it until he closes it
    _remove_abandoned(parent)
    return Collection(folder)


def _is_collection(folder: Path) -> bool:
    try:
        _read_meta(folder)
    except HeadtailError:
        return False
    return True


def _remove_abandoned(parent: Path) -> None:
    for half_built in parent.glob(".building-*"):
        with contextlib.suppress(OSError):
            if time.time() - half_built.stat().st_mtime > ABANDONED_AFTER:
                shutil.rmtree(half_built, ignore_errors=True)
