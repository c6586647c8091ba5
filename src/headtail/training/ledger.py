"""The ledger: one JSON line a log step, appended and flushed; every chart and table of a run is made from it."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from headtail.errors import DataError, HeadtailError

Copy = Callable[[str, int, dict[str, Any]], None]    # kind, step, values


class Ledger:
    """Append-only records of a training run.

    A line that the disk has no room for is kept and written with the next one: a full disk stops no training.

    Args:
        path: `ledger.jsonl`; lines that stand there already are kept.
        copy: told every record as well, such as `sinks.Sinks.write`.

    Raises:
        HeadtailError: nothing can be written there at all.
    """

    def __init__(self, path: str | Path, *, copy: Copy | None = None) -> None:
        self.path, self.copy = Path(path), copy
        self.pending: list[str] = []
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.touch()
        except OSError as error:
            raise HeadtailError(f"{self.path}: cannot write: {error.strerror}") from error
        self.size = self.path.stat().st_size

    def write(self, kind: str, step: int, **values: Any) -> None:
        """Append one record; a NaN or infinite number is written as null, which every JSON reader knows."""
        record = _finite(values)
        self.pending.append(json.dumps({"kind": kind, "step": step, **record}, allow_nan=False) + "\n")
        self.flush()
        if self.copy is not None:
            self.copy(kind, step, record)

    def flush(self, *, to_disk: bool = False) -> bool:
        """Write what is pending; False where the disk does not take it, and then the file is as it was."""
        data = "".join(self.pending).encode()
        try:
            with self.path.open("r+b") as file:
                file.truncate(self.size)    # half a line that a full disk cut off
                file.seek(self.size)
                file.write(data)
                file.flush()
                if to_disk:
                    os.fsync(file.fileno())
        except OSError:
            return False
        self.size, self.pending = self.size + len(data), []
        return True

    def cut(self, size: int) -> None:
        """Forget what was written past so many bytes: steps after the checkpoint that a run goes on from.

        Raises:
            HeadtailError: it holds less than that, so lines were lost.
        """
        if self.size < size:
            raise HeadtailError(f"{self.path}: expected at least {size:,} bytes, found {self.size:,}: lines were lost")
        os.truncate(self.path, size)
        self.size, self.pending = size, []


def read_ledger(path: str | Path) -> list[dict[str, Any]]:
    """All records; [] where there is no file.

    Raises:
        DataError: a line that is no JSON object, unless it is the last one, cut off by an interruption.
    """
    if not Path(path).is_file():
        return []
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    records = []
    for number, line in enumerate(lines, start=1):
        try:
            records.append(dict(json.loads(line)))
        except (ValueError, TypeError) as error:
            if number < len(lines):
                raise DataError(path, number, expected="a JSON object", found=repr(line[:60])) from error
    return records


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return value
