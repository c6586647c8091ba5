"""evaluate: runs against judgments, per intent; several systems, seeds and data sets in one table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from headtail.errors import HeadtailError
from headtail.evaluation.evaluate import Evaluation
from headtail.evaluation.measures import DEFAULT_MEASURES
from headtail.pipeline.judgments import Judged
from headtail.pipeline.systems import Evaluated, evaluate_systems, read_systems
from headtail.records import Run
from headtail.report.tables import Table


@dataclass(frozen=True)
class Asked:
    """What `evaluate` is to do besides taking means; see the options of `headtail evaluate`."""

    measures: Sequence[str] = DEFAULT_MEASURES
    engine: str = "trec_eval"
    baseline: str | None = None
    ties: bool = False
    seed: int = 0


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


def evaluate_files(files: Sequence[str | Path], judged: Sequence[Judged], asked: Asked) -> Evaluated:
    """Systems from run files, `NAME=FILE@DATA` or plain, with tests against the first where there are two.

    Raises:
        HeadtailError: as `read_systems` and `evaluate_systems`.
    """
    systems = read_systems(files, judged)
    return evaluate_systems(
        systems.runs, judged, asked.measures, engine=asked.engine, baseline=asked.baseline, ties=asked.ties, seed=asked.seed,
        notes=systems.notes,
    )    # fmt: skip
