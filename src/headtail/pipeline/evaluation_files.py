"""What an evaluation leaves: tables for people and papers, JSON for programs, a line for each query and measure."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rich.console import Console

from headtail.data.lines import write_lines
from headtail.errors import HeadtailError, unknown_name
from headtail.files import atomic_writer
from headtail.pipeline.systems import Evaluated
from headtail.report.exports import csv_table, latex
from headtail.report.tables import Table, markdown, print_table

FORMATS: dict[str, Callable[[Table], str]] = {"markdown": markdown, "csv": csv_table, "latex": latex}
OTHER_FORMATS = ("table", "json")
WIDTH = 120    # characters of a table in a file


def check_format(form: str) -> None:
    """Refuse an unknown format before any work is done.

    Raises:
        HeadtailError: with the nearest name.
    """
    if form not in FORMATS and form not in OTHER_FORMATS:
        raise HeadtailError(unknown_name("format", form, [*OTHER_FORMATS, *FORMATS]))


def tables_of(found: Evaluated, *, tests: bool = False, ties: bool = False) -> list[Table]:
    """The means, and where they are asked for the comparisons and how far ties could move the means."""
    return [found.table(), *([found.tests()] if tests else []), *([found.tie_table()] if ties else [])]


def as_text(found: Evaluated, form: str, *, tests: bool = False, ties: bool = False) -> str:
    """An evaluation in one of the formats; JSON holds all that was found, whatever is asked for."""
    if form == "json":
        return json.dumps(as_json(found), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    tables = tables_of(found, tests=tests, ties=ties)
    if form != "table":
        return "\n".join(FORMATS[form](table) for table in tables)
    stream = io.StringIO()
    for table in tables:
        print_table(table, Console(file=stream, width=WIDTH))
    return stream.getvalue()


def write_text(text: str, path: str | Path) -> None:
    """Write a file, whole or not at all.

    Raises:
        HeadtailError: it cannot be written.
    """
    with atomic_writer(path) as out:
        out.write(text)


def as_json(found: Evaluated) -> dict[str, Any]:
    """Everything that was found, per-query values aside: `--per-query` writes those."""
    compared = found.compared
    return {
        "data": [
            {"name": judged.name, "queries": sum(map(bool, judged.qrels.values())), "relevant_from": judged.relevant_from}
            for judged in found.judged
        ],
        "measures": dict(next(iter(next(iter(found.evaluations.values())).values()))[0].exact),
        "means": [
            {"system": system, "queries": group.name, "measure": measure, "mean": _number(found.panel.mean(system, measure, group)),
             "interval": _interval(found, system, group.name, measure)}
            for system, measures in found.panel.values.items() for group in found.panel.groups for measure in measures
        ],
        "comparisons": [
            {"system": one.system, "baseline": one.baseline, "queries": one.group, "measure": one.measure,
             "difference": _number(one.difference), "interval": [_number(end) for end in one.interval], "p": _number(one.p),
             "p_holm": _number(one.p_holm), "p_t": _number(one.p_t), "wins": one.wins, "ties": one.ties, "losses": one.losses}
            for one in (compared.comparisons if compared else ())
        ],
        "drawn": {"rounds": compared.rounds, "resamples": compared.resamples, "seed": compared.seed} if compared else None,
        "ties": [
            {"system": system, "queries": group, "measure": measure, "smallest": low, "largest": high}
            for (system, group, measure), (low, high) in found.ties.items()
        ],
        "notes": list(found.notes),
    }    # fmt: skip


def _interval(found: Evaluated, system: str, group: str, measure: str) -> list[float | None] | None:
    estimate = found.compared.estimate(system, group, measure) if found.compared else None
    return None if estimate is None else [_number(end) for end in estimate.interval]


def _number(value: float) -> float | None:
    """JSON knows no NaN."""
    return None if math.isnan(value) else value


def write_per_query(found: Evaluated, path: str | Path) -> None:
    """Write a TSV with a header: data, system, run (from 1, where there are seeds), query_id, intent, measure, value.

    A query without a value in a measure has no line for it.
    """
    def lines() -> Iterator[str]:
        yield "data\tsystem\trun\tquery_id\tintent\tmeasure\tvalue\n"
        for system, by_data in found.evaluations.items():
            for data, evaluations in by_data.items():
                judged = found.judged[data]
                for number, one in enumerate(evaluations, start=1):
                    for measure, values in one.values.items():
                        for query_id, value in values.items():
                            row = (judged.name, system, str(number), query_id, judged.intents[query_id], measure, repr(value))
                            yield "\t".join(" ".join(field.split()) for field in row) + "\n"

    write_lines(lines(), path)
