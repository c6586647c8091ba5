"""Files written whole or not at all, and folders that can be told from damaged ones.

A writer fills a temporary file beside its target and renames it at the end, so a full disk or a killed process never
harms what stood there before. A manifest holds the size and SHA-256 of each file of a folder.
"""

from __future__ import annotations

import contextlib
import errno
import gzip
import hashlib
import io
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from headtail.errors import CheckpointError, HeadtailError, shorten

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


MANIFEST = "headtail.manifest.json"    # a hub's folder may hold a manifest.json of its own
FREE = {"README.md", MANIFEST}    # a card may be edited


def write_manifest(folder: Path, hashes: Mapping[str, str] | None = None) -> None:
    """Write the manifest: size and SHA-256 of every file below a folder, in one form of bytes, synced.

    Args:
        hashes: path inside the folder -> SHA-256 of what was meant to be written, of files synced already; the others are
            synced and read.
    """
    files = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        if hashes is None or name not in hashes:
            sync(path)
        if name not in FREE:
            files[name] = {"size": path.stat().st_size, "sha256": (hashes or {}).get(name) or _sha256(path)}
    for inner in sorted(path for path in folder.rglob("*") if path.is_dir()):
        sync(inner)
    handle = os.open(folder / MANIFEST, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        text = _manifest_bytes(files)
        while text:
            text = text[os.write(handle, text) :]
        os.fsync(handle)
    finally:
        os.close(handle)


def verify(folder: Path) -> None:
    """Raise CheckpointError unless the folder holds what its manifest says, to the bit, and no file more."""
    path = folder / MANIFEST
    try:
        raw = path.read_bytes()
        told = json.loads(raw)["files"]
        canonical = _manifest_bytes(told) == raw
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise CheckpointError(f"{path}: expected a manifest, found {type(error).__name__}") from error
    if not canonical:
        raise CheckpointError(f"{path}: damaged")
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - FREE
    for name in sorted(found ^ set(told)):
        raise CheckpointError(f"{folder / name}: {'not in the manifest' if name in found else 'missing'}")
    for name, facts in told.items():
        size = (folder / name).stat().st_size
        if size != facts["size"]:
            raise CheckpointError(f"{folder / name}: damaged: expected {facts['size']:,} bytes, found {size:,}")
        if _sha256(folder / name) != facts["sha256"]:
            raise CheckpointError(f"{folder / name}: damaged: its SHA-256 is not the one of the manifest")


def sync(path: Path) -> None:
    """Have the system write a file or a folder to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _manifest_bytes(files: Mapping[str, Any]) -> bytes:
    """One form and its own hash, so that a change anywhere in the manifest shows as well."""
    own = hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()
    return (json.dumps({"files": files, "sha256": own}, sort_keys=True, indent=1) + "\n").encode()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
