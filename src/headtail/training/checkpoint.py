"""Checkpoints that a kill, a full disk or a flipped bit cannot turn into a wrong run.

A checkpoint is a folder of safetensors and JSON. It is written beside its target, every file and the folder are synced,
a manifest names the size and SHA-256 of each file, and one rename makes it visible; then the parent is synced. What is
loaded is verified first, and a damaged checkpoint is passed over for the newest whole one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from headtail.errors import CheckpointError, ModelError
from headtail.files import sync, verify, write_manifest

KEEP = 2               # verified checkpoints to keep; with one alone, a disk error in it would cost the whole run
STATE = "state.json"
CHUNK = 1 << 24        # bytes written at a time

DTYPES = {
    torch.float32: "F32",
    torch.bfloat16: "BF16",
    torch.float64: "F64",
    torch.int64: "I64",
    torch.uint8: "U8",
}

Tensors = Mapping[str, Mapping[str, Tensor]]    # "weights" -> parameter name -> tensor


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What was loaded: the step it was saved after, tensors by file, the state, and which newer ones were damaged."""

    step: int
    tensors: Tensors
    state: Mapping[str, Any]
    passed_over: tuple[str, ...] = ()


class Checkpoints:
    """The checkpoints of a run folder: `step-00000120`, the newest `KEEP` of them, and `best-00000080`, a saved ranker.

    Args:
        folder: made when the first one is saved.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def steps(self, kind: str = "step") -> list[int]:
        """Steps that have a checkpoint (or, with kind "best", a saved ranker), damaged ones included, oldest first."""
        if not self.folder.is_dir():
            return []
        matches = (re.fullmatch(rf"{kind}-(\d+)", path.name) for path in self.folder.iterdir())
        return sorted(int(match[1]) for match in matches if match)

    def path(self, step: int, kind: str = "step") -> Path:
        """The folder of that step."""
        return self.folder / f"{kind}-{step:08}"

    def save(self, step: int, tensors: Tensors, state: Mapping[str, Any]) -> Path:
        """Write a checkpoint; older ones beyond the last `KEEP` go once it is read back whole.

        Raises:
            CheckpointError: no room, or the disk fails; nothing that stood there is changed.
        """
        target = self.path(step)
        with _clear_errors(target):
            self._make()
            if _is_whole(target):    # a run that was stopped right after a save
                return target
            _check_room(self.folder, sum(tensor.nbytes for file in tensors.values() for tensor in file.values()))
            with staged(target) as work:
                hashes = {f"{name}.safetensors": _write_tensors(work / f"{name}.safetensors", tensors[name]) for name in tensors}
                hashes[STATE] = _write_file(work / STATE, [json.dumps(state, allow_nan=False).encode()])
                write_manifest(work, hashes)
            verify(target)
        self._prune()
        return target

    def save_best(self, step: int, write: Callable[[Path], None]) -> Path:
        """Keep a saved ranker: `write` fills the folder it is given. Those that no checkpoint goes back to are removed later.

        Raises:
            CheckpointError: no room, or the disk fails; the one before is whole.
        """
        target = self.path(step, "best")
        with _clear_errors(target):
            self._make()
            with staged(target) as work:
                write(work)
                write_manifest(work)
        return target

    def best(self, step: int) -> Path:
        """The saved ranker of that step; CheckpointError unless it is whole."""
        verify(self.path(step, "best"))
        return self.path(step, "best")

    def load(self, most: int | None = None) -> Checkpoint | None:
        """The newest whole checkpoint (saved after step `most` at the latest); None where there is none at all.

        Raises:
            CheckpointError: there are checkpoints, and every one is damaged.
        """
        found = [step for step in reversed(self.steps()) if most is None or step <= most]
        damaged: list[str] = []
        for step in found:
            try:
                verify(self.path(step))
                return self._read(step, tuple(damaged))
            except (CheckpointError, OSError) as error:
                damaged.append(str(error))
        if damaged:
            raise CheckpointError(f"{self.folder}: no checkpoint is whole ({damaged[0]}); --overwrite begins anew")
        return None

    def clear(self) -> None:
        """Remove what an interrupted save or removal left behind."""
        if self.folder.is_dir():
            for path in self.folder.glob(".*"):
                shutil.rmtree(path, ignore_errors=True)

    def _read(self, step: int, passed_over: tuple[str, ...]) -> Checkpoint:
        from safetensors.torch import load_file

        folder = self.path(step)
        tensors = {path.stem: load_file(path) for path in sorted(folder.glob("*.safetensors"))}
        return Checkpoint(step, tensors, json.loads((folder / STATE).read_text(encoding="utf-8")), passed_over)

    def _make(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        sync(self.folder.parent)
        self.clear()

    def _prune(self) -> None:
        """Checkpoints beyond the last `KEEP`, and saved rankers that none of those kept has as its best."""
        for step in self.steps()[:-KEEP]:
            remove(self.path(step))
        with contextlib.suppress(OSError, ValueError):    # one that cannot be read may need any of them
            states = [json.loads((self.path(step) / STATE).read_bytes()) for step in self.steps()]
            for step in set(self.steps("best")) - {state.get("best_step") for state in states}:
                remove(self.path(step, "best"))


@contextlib.contextmanager
def staged(target: Path) -> Iterator[Path]:
    """A folder to fill, which becomes `target` in one rename when the block ends well and is removed when it does not.

    The block leaves its files synced and a manifest; here the folder, the rename and its parent are synced.
    """
    work = target.with_name(f".{target.name}.staged")
    shutil.rmtree(work, ignore_errors=True)
    try:
        work.mkdir()
        yield work
        sync(work)
        if target.exists():
            remove(target)
        work.rename(target)
        sync(target.parent)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def remove(folder: Path) -> None:
    """Out of sight in one rename, then removed: a kill in between leaves no half checkpoint under its name."""
    aside = folder.with_name(f".{folder.name}.removed")
    with contextlib.suppress(OSError):
        shutil.rmtree(aside, ignore_errors=True)
        folder.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)


@contextlib.contextmanager
def _clear_errors(target: Path) -> Iterator[None]:
    """What the disk says, in one line."""
    try:
        yield
    except (OSError, ModelError) as error:
        told = str(getattr(error, "strerror", None) or error).removesuffix("; what stood there is unchanged")
        raise CheckpointError(f"{target}: not saved: {told}; what was saved before is whole") from error


def _is_whole(folder: Path) -> bool:
    try:
        verify(folder)
    except CheckpointError:
        return False
    return True


def _check_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed * 1.02 + (1 << 20):
        raise OSError(f"no room on disk: it takes {needed / 1e6:,.0f} MB, {free / 1e6:,.0f} MB are free")


def _write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> str:
    """Write a safetensors file tensor by tensor, without a copy of the whole in memory; its SHA-256."""
    header, offset = {}, 0
    for name, tensor in tensors.items():
        size = tensor.numel() * tensor.element_size()
        header[name] = {"dtype": DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)    # the format wants its data aligned

    def pieces() -> Iterator[bytes | memoryview]:
        yield struct.pack("<Q", len(text)) + text
        for tensor in tensors.values():
            yield tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data

    return _write_file(path, pieces())


def _write_file(path: Path, pieces: Any) -> str:
    """Write and sync; the SHA-256 of what was meant to be written, so that a reading back can differ."""
    digest = hashlib.sha256()
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        for piece in pieces:
            view = memoryview(piece).cast("B")
            digest.update(view)
            for start in range(0, len(view), CHUNK):
                _write_all(handle, view[start : start + CHUNK])
        os.fsync(handle)
    finally:
        os.close(handle)
    return digest.hexdigest()


def _write_all(handle: int, view: memoryview) -> None:
    while view:
        view = view[os.write(handle, view) :]

