"""compare-runs: several run folders -> one page. Loads no torch."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from headtail.errors import HeadtailError
from headtail.report.compare import MOST, ComparedRun, write_comparison
from headtail.training.ledger import read_ledger


def compare_runs(folders: Sequence[str | Path], output: str | Path) -> Path:
    """Write one page on several training runs, finished or not: curves over each other, settings, ends, advice.

    Args:
        folders: of training runs, at most 12; each is called by its folder's name, with as much of the path before it
            as tells it from the others.
        output: the HTML file.

    Raises:
        HeadtailError: a folder that holds no ledger, that is given twice, or too many of them.
    """
    paths = [Path(folder) for folder in folders]
    if len(paths) > MOST:
        raise HeadtailError(f"expected at most {MOST} runs, as many as colours can tell apart, found {len(paths)}")
    places = [path.resolve() for path in paths]
    for path, place in zip(paths, places, strict=True):
        if places.count(place) > 1:
            raise HeadtailError(f"{path}: the same run is given twice")
    runs = [
        ComparedRun(label, _config(path), _records(path)) for label, path in zip(labels(places), paths, strict=True)
    ]
    return write_comparison(output, runs)


def labels(places: Sequence[Path]) -> list[str]:
    """The end of each path that no other path has: `plain`, or `monday/plain` and `tuesday/plain`."""
    def end(place: Path, parts: int) -> str:
        return "/".join(place.parts[-parts:])

    found = []
    for place in places:
        parts = 1
        while parts < len(place.parts) and sum(end(other, parts) == end(place, parts) for other in places) > 1:
            parts += 1
        found.append(end(place, parts))
    return found


def _records(folder: Path) -> list[dict[str, Any]]:
    if not (folder / "ledger.jsonl").is_file():
        raise HeadtailError(
            f"{folder}: expected the folder of a training run, found no ledger.jsonl; `headtail train` makes one"
        )
    return read_ledger(folder / "ledger.jsonl")


def _config(folder: Path) -> dict[str, Any]:
    """As it was written, so that a config of an older version is read too; none where there is no file."""
    path = folder / "config.toml"
    try:
        return tomllib.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise HeadtailError(f"{path}: expected TOML: {error}") from error
