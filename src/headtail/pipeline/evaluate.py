"""evaluate: runs against judgments, per intent; several systems, seeds and data sets in one table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from headtail.errors import HeadtailError
from headtail.evaluation.evaluate import Evaluation
from headtail.evaluation.measures import DEFAULT_MEASURES
from headtail.pipeline.judgments import Judged
from headtail.pipeline.systems import Evaluated, evaluate_systems, read_systems
from headtail.progress import Track, silent
from headtail.records import Run
from headtail.report.tables import Table


def load_runs(paths: Sequence[str | Path]) -> list[Run]:
    """Runs named after their files; two files of one name keep their paths as names."""
    return [run for runs in read_systems(paths, [None]).runs.values() for run in runs[0]]


def evaluate(
    runs: Sequence[Run], judged: Judged, measures: Sequence[str] = DEFAULT_MEASURES
) -> tuple[list[Evaluation], Table]:
    """Values of every run and query, and the table of their means per intent, without tests.

    Raises:
        HeadtailError: an unknown measure; or a run that shares no query with the judgments.
    """
    if len({run.name for run in runs}) < len(runs):
        raise HeadtailError("two runs have one name; rename one of them, as with run.renamed('other')")
    done = evaluate_systems({run.name: {0: [run]} for run in runs}, [judged], measures, tested=False)
    return [done.evaluations[run.name][0][0] for run in runs], done.table()


def evaluate_files(
    files: Sequence[str | Path],
    judged: Sequence[Judged],
    measures: Sequence[str] = DEFAULT_MEASURES,
    *,
    track: Track = silent,
    **options: Any,
) -> Evaluated:
    """Systems from run files, `[NAME=]FILE[@DATA]`, with tests against the first where there are two.

    Args:
        files: as for `read_systems`.
        judged: the data sets.
        measures: names, as `parse_measures` reads them.
        track: shows the files as they are read and evaluated.
        options: of `evaluate_systems`: engine, baseline, ties, seed.

    Raises:
        HeadtailError: as `read_systems` and `evaluate_systems`.
    """
    systems = read_systems(files, judged, track=track)
    return evaluate_systems(systems.runs, judged, measures, notes=systems.notes, track=track, **options)
