"""A ledger read as curves: (step, value) pairs by name. Pure, and light: what watches a run loads neither torch nor matplotlib."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

Point = tuple[float, float]
Records = Sequence[Mapping[str, Any]]

BAND = 0.16    # smoothing window as a share of the points


def series(records: Records, kind: str, name: str) -> list[Point]:
    """(step, value) of all records of a kind that hold a finite number under a name, by step.

    Of two records of a kind and step the later one counts, as after a resume. A name inside a name is written a/b.
    """
    by_step: dict[float, float | None] = {}
    for record in records:
        step = finite(record.get("step"))
        if record.get("kind") == kind and step is not None:
            found = _inside(record, name)
            if found is not None:
                by_step[step] = finite(found[0])
    return [(step, value) for step, value in sorted(by_step.items()) if value is not None]


def _inside(record: Mapping[str, Any], name: str) -> tuple[Any] | None:
    """The value in a tuple of its own, as it may be None; None where no such name is."""
    if name in record:
        return (record[name],)
    head, slash, rest = name.partition("/")
    inner = record.get(head)
    return _inside(inner, rest) if slash and isinstance(inner, Mapping) else None


def latest(records: Records, kind: str, name: str) -> float | None:
    """The last finite number under a name, None where there is none."""
    points = series(records, kind, name)
    return points[-1][1] if points else None


def first_of(records: Records, kind: str) -> Mapping[str, Any]:
    """The first record of a kind; an empty one where there is none."""
    return next((record for record in records if record.get("kind") == kind), {})


def dev_measures(records: Records) -> dict[str, list[Point]]:
    """Dev measure -> its (step, value) pairs; measures inside a group are named `group measure`."""
    rows = [
        (record.get("step"), _flatten(record["measures"]))
        for record in records
        if record.get("kind") == "validation" and isinstance(record.get("measures"), Mapping)
    ]
    found = {
        name: series([{"kind": "of", "step": step, "value": row[name]} for step, row in rows if name in row], "of", "value")
        for name in dict.fromkeys(name for _, row in rows for name in row)
    }
    return {name: points for name, points in found.items() if points}


def best_step(records: Records, best_by: str | None = None) -> float | None:
    """Step with the best dev measure, the earliest of equals; with no measures, the lowest validation loss."""
    measures = dev_measures(records)
    name = best_by if best_by in measures else next(iter(measures), None)
    if name is not None:
        return max(measures[name], key=lambda point: (point[1], -point[0]))[0]
    losses = series(records, "validation", "loss")
    return min(losses, key=lambda point: (point[1], point[0]))[0] if losses else None


def smooth(points: Sequence[Point]) -> list[Point]:
    """A straight line fitted around each point and read off there.

    It does not lag, as an exponential mean does, nor bend towards the middle at the ends, as a moving mean does.
    """
    half = max(1, int(len(points) * BAND / 2))
    if len(points) < 6:
        return list(points)
    return [(points[i][0], _fitted(points[max(0, i - half) : i + half + 1], points[i][0])) for i in range(len(points))]


def _fitted(near: Sequence[Point], at: float) -> float:
    """Least squares through a few points, evaluated at a step."""
    mean_x, mean_y = sum(x for x, _ in near) / len(near), sum(y for _, y in near) / len(near)
    spread = sum((x - mean_x) ** 2 for x, _ in near)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in near) / spread if spread else 0.0
    return mean_y + slope * (at - mean_x)


def finite(value: object) -> float | None:
    """The number, or None for what is none: NaN, infinite, true and false, a text."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _flatten(measures: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in measures.items():
        flat |= _flatten(value, f"{prefix}{name} ") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat
