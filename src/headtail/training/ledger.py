"""The ledger: one JSON line a log step, appended and flushed; every chart and table of a run is made from it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from headtail.errors import DataError, HeadtailError


class Ledger:
    """Append-only records of a training run.

    Args:
        path: `ledger.jsonl`; lines that stand there already are kept.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)

    def write(self, kind: str, step: int, **values: Any) -> None:
        """Append one record; a NaN or infinite number is written as null, which every JSON reader knows."""
        line = json.dumps({"kind": kind, "step": step, **_finite(values)}, allow_nan=False)
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError as error:
            raise HeadtailError(f"{self.path}: cannot write: {error.strerror}") from error


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
