"""Several training runs on one page: their curves over each other, what their configs differ in, and how they ended."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from headtail.files import PathLike, atomic_writer
from headtail.progress import clock
from headtail.report.drawing import SERIES, Chart, Curve, draw, figure_of
from headtail.report.html import MEANINGS, TRAINING_MEANINGS, page_environment
from headtail.report.tables import Column, Table, Value, one_line
from headtail.training.advice import advice_of
from headtail.training.curves import Point, Records, best_step, dev_measures, first_of, latest, series, smooth

MOST = 2 * len(SERIES)    # runs that can be told apart: each colour whole and dashed
CURVES = (    # kind of record, name in it, title, what the chart is for
    ("train", "loss", "Training loss", "What training makes small; alone it says nothing about other queries."),
    ("validation", "loss", "Validation loss", "The same loss on queries that training has not seen."),
    ("validation", "loss_tempered", "Validation loss, tempered",
     "After the scores are divided by their best temperature: what is left of a rise is a worse order."),
    ("validation", "separation", "Separation", "Score of a positive minus score of a negative of its list."),
    ("validation", "d_prime", "Separation in spreads, d′",
     "In standard deviations of the scores: stretching them does not raise it."),
    ("validation", "wrong_pairs", "Wrong pairs", "Share of pairs in which a negative stands at or above a positive."),
)    # fmt: skip
OFTEN = {"separation", "d_prime", "wrong_pairs"}    # taken from training where validation has none
ENDS: tuple[tuple[str, str, Literal["high", "low"] | None], ...] = (    # name in a validation, heading, which is the better end
    ("loss", "loss", None),    # of two different losses neither is better
    ("loss_tempered", "tempered", None),
    ("temperature", "temperature", None),
    ("gap", "gap", None),
    ("separation", "separation", None),
    ("d_prime", "d′", "high"),
    ("wrong_pairs", "wrong pairs", "low"),
    ("turnover", "turnover", None),
)


@dataclass(frozen=True, slots=True)
class ComparedRun:
    """One run: a label unlike all others, its config as nested dicts, and the records of its ledger."""

    label: str
    config: Mapping[str, Any]
    records: Records

    @property
    def best_by(self) -> str | None:
        """The measure that its best step was chosen by, as far as it is known."""
        named = first_of(self.records, "start").get("best_by") or self.config.get("validation", {}).get("best_by")
        return None if named is None else str(named)

    @property
    def best_step(self) -> float | None:
        """The step with the best dev measure."""
        return best_step(self.records, self.best_by)


def write_comparison(path: PathLike, runs: Sequence[ComparedRun]) -> Path:
    """Write the page; a reader finds the old file or the new one, never half of one."""
    with atomic_writer(path) as out:
        out.write(render_comparison(runs))
    return Path(path)


def render_comparison(runs: Sequence[ComparedRun]) -> str:
    """The page as text: charts first, as they are what one came for."""
    return page_environment().get_template("compare.html").render(
        title=f"{len(runs)} runs compared",
        subtitle="",
        meanings=(*MEANINGS[:2], *TRAINING_MEANINGS),    # its dev measures are RR and nDCG
        runs=[(run.label, f"--series-{place % len(SERIES)}", place >= len(SERIES), advice_of(run.records))
              for place, run in enumerate(runs)],
        charts=compared_charts(runs),
        tables=[ends_table(runs), config_table(runs)],
    )    # fmt: skip


def compared_charts(runs: Sequence[ComparedRun]) -> list[Chart]:
    """One chart for each figure that any run has, with a line for each run; the ring is at its best step."""
    charts = [_chart(runs, f"{kind}-{name}", title, told, _reader(kind, name)) for kind, name, title, told in CURVES]
    measures = dict.fromkeys(name for run in runs for name in _measures(run))
    for place, name in enumerate(measures):
        told = "Of the dev split, re-ranked; the ring is at the best step."
        charts.append(_chart(runs, f"measure-{place}", one_line(name), told, functools.partial(_measure, name)))
    return [chart for chart in charts if chart is not None]


def _reader(kind: str, name: str) -> Callable[[ComparedRun], Sequence[Point]]:
    def read(run: ComparedRun) -> Sequence[Point]:
        if kind == "train":
            return smooth(series(run.records, kind, name))
        found = series(run.records, kind, name)
        return found if found or name not in OFTEN else smooth(series(run.records, "train", name))

    return read


def _measure(name: str, run: ComparedRun) -> Sequence[Point]:
    return dev_measures(run.records).get(name, [])


def _measures(run: ComparedRun) -> dict[str, list[Point]]:
    """With the one that chose the best first."""
    found = dev_measures(run.records)
    return {run.best_by: found[run.best_by], **found} if run.best_by in found else found


def _chart(
    runs: Sequence[ComparedRun], name: str, title: str, told: str, read: Callable[[ComparedRun], Sequence[Point]]
) -> Chart | None:
    curves = [
        Curve(run.label, read(run), SERIES[place % len(SERIES)], marked=True, dashed=place >= len(SERIES), ring_at=run.best_step)
        for place, run in enumerate(runs)
    ]
    curves = [curve for curve in curves if curve.points]
    if not curves:
        return None
    lacking = [one_line(run.label) for run in runs if run.label not in {curve.name for curve in curves}]
    ends = ", ".join(f"{one_line(curve.name)} {figure_of(curve.points[-1][1])}" for curve in curves)
    without = f" Not recorded by {', '.join(lacking)}." if lacking else ""
    return Chart(name, title, draw(f"compare-{name}", f"{title} by step", curves), f"{told} At the end: {ends}.{without}")


def ends_table(runs: Sequence[ComparedRun]) -> Table:
    """A row for each run: its dev measures at the best step, and its figures at the last validation."""
    measures = list(dict.fromkeys(name for run in runs for name in _measures(run)))
    columns = [Column("run", numeric=False), Column("steps"), Column("time"), Column("best step")]
    columns += [Column(name, "at the best step", best="high") for name in measures]
    columns += [Column("training loss", "at the end")]
    columns += [Column(heading, "at the end", best=best) for _, heading, best in ENDS]
    note = "Losses can be compared between runs of the same loss and the same validation alone."
    return Table("How they ended", columns, [_ends(run, measures) for run in runs], footnotes=[note])


def _ends(run: ComparedRun, measures: Sequence[str]) -> list[Value]:
    found, seconds = dev_measures(run.records), latest(run.records, "end", "seconds")
    train = smooth(series(run.records, "train", "loss"))
    best = run.best_step
    steps = max([0, *(int(step) for kind in ("train", "validation") for step, _ in series(run.records, kind, "loss"))])
    row: list[Value] = [run.label, steps, None if seconds is None else clock(seconds), None if best is None else int(best)]
    row += [None if best is None else dict(found.get(name, [])).get(best) for name in measures]
    row.append(train[-1][1] if train else None)
    return row + [latest(run.records, "validation", name) for name, _, _ in ENDS]


def config_table(runs: Sequence[ComparedRun]) -> Table:
    """A row for each setting that is not the same in all runs; the name of a run is none of them."""
    settings = [_flat(run.config) for run in runs]
    keys = dict.fromkeys(key for one in settings for key in one if key not in ("name", "runs_folder"))
    differ = [key for key in sorted(keys) if len({one.get(key) for one in settings}) > 1]
    columns = [Column("setting", numeric=False), *(Column(run.label, numeric=False) for run in runs)]
    note = "" if differ else "Their configs are the same."
    return Table("What differs in their configs", columns, [[key, *(one.get(key) for one in settings)] for key in differ], note)


def _flat(config: Any, key: str = "") -> dict[str, str]:
    """Dotted key -> value as text: training.steps, train.0.name."""
    if isinstance(config, Mapping):
        inner = config.items()
    elif isinstance(config, list) and any(isinstance(one, Mapping) for one in config):
        inner = {str(place): one for place, one in enumerate(config)}.items()
    else:
        return {key: str(config)}
    return {name: value for part, one in inner for name, value in _flat(one, f"{key}.{part}" if key else str(part)).items()}
