"""report: a run folder -> one page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from headtail.config import Config, load_config
from headtail.data.datasets import Dataset, load_dataset
from headtail.errors import HeadtailError
from headtail.pipeline.compare_page import Collected, measure_charts, results_of
from headtail.pipeline.evaluate import load_runs
from headtail.pipeline.evaluation_files import tables_of
from headtail.pipeline.judgments import Judged, judgments
from headtail.pipeline.systems import evaluate_systems
from headtail.pipeline.train import FIRST_STAGE_FILE, OURS_FILE
from headtail.pipeline.validate import first_by_hash
from headtail.progress import clock
from headtail.records import Run
from headtail.report.html import write_report
from headtail.training.ledger import read_ledger

MEASURES = ("RR@10", "nDCG@5", "nDCG@10", "TailnDCG")    # the page opens with gains and losses in the first


def report(
    folder: str | Path,
    *,
    data: str | Path | Dataset | None = None,
    split: str | None = None,
    runs: Sequence[Run] | Sequence[str | Path] = (),
    extra: Sequence[Run] = (),
    output: str | Path | None = None,
) -> Path:
    """Write `report.html`: measures, training curves, and rankings side by side.

    Args:
        folder: of a training run.
        data, split: what the runs rank; none: the run's validation data and split.
        runs: systems to show side by side, the first stage first, the ranker that matters last; none: the runs that
            training left for its dev split, the first `validation.queries` queries of it.
        extra: systems for the table alone.
        output: another place for the page.

    Raises:
        HeadtailError: no training run there, or runs of another split.
    """
    folder = Path(folder)
    settings = _settings(folder)
    dataset, split = _dataset(settings, data), split or settings.validation.split
    shown = _runs(folder, runs)
    judged = judgments(dataset, split)
    if not runs:
        judged = _validated(judged, dataset, split, settings.validation.queries)
    systems = {run.name: {0: [run]} for run in [*extra, *shown]}
    found = evaluate_systems(systems, [judged], MEASURES, baseline=shown[0].name)
    return write_report(
        output or folder / "report.html",
        title=settings.name,
        subtitle=f"{dataset.name}, {split} split: {len(judged.qrels):,} queries",
        facts=_facts(settings, folder, shown),
        tables=tables_of(found, tests=found.compared is not None),
        charts=measure_charts(found, systems),
        ledger=read_ledger(folder / "ledger.jsonl"),
        best_by=settings.validation.best_by,
        results=results_of(found, {run.name: [run] for run in shown}, Collected(dataset.queries(split), dataset.collection)),
    )


def _settings(folder: Path) -> Config:
    if not (folder / "config.toml").is_file():
        raise HeadtailError(f"{folder}: expected the folder of a training run, found no config.toml; `headtail train` makes one")
    return load_config(folder / "config.toml")


def _dataset(settings: Config, data: str | Path | Dataset | None) -> Dataset:
    if isinstance(data, Dataset):
        return data
    own = settings.train[0]
    name = data or settings.validation.name or own.name
    same = str(name) == own.name
    intent, relevant_from = settings.validation.intent, settings.validation.relevant_from
    return load_dataset(
        name,
        intent=intent or (own.intent if same else None),
        relevant_from=relevant_from or (own.relevant_from if same else None),
    )


def _runs(folder: Path, runs: Sequence[Run] | Sequence[str | Path]) -> list[Run]:
    if runs:
        given = [run for run in runs if isinstance(run, Run)]
        return given or load_runs([path for path in runs if not isinstance(path, Run)])
    left = [folder / "dev" / name for name in (FIRST_STAGE_FILE, OURS_FILE)]
    absent = [path for path in left if not path.is_file()]
    if absent:
        raise HeadtailError(f"{folder}: training has not finished, it left no {absent[0].name}; wait for it, or pass --run files")
    return load_runs(left)


def _validated(judged: Judged, dataset: Dataset, split: str, most: int) -> Judged:
    """The queries that training validated on, those without candidates included."""
    chosen = first_by_hash(dataset.queries(split), judged.qrels, dataset.intents(split), most)
    return Judged(
        {query_id: judged.qrels[query_id] for query_id in chosen},
        judged.intents,
        judged.relevant_from,
        judged.note,
    )


def _facts(settings: Config, folder: Path, runs: Sequence[Run]) -> list[tuple[str, str]]:
    end = [record for record in read_ledger(folder / "ledger.jsonl") if record["kind"] == "end"]
    facts = [
        ("encoder", f"{settings.ranker.encoder}, {settings.ranker.pooling} pooling"),
        ("loss", ", ".join([settings.loss.name, *(f"{key} {value}" for key, value in settings.loss.options.items())])),
        ("trained on", "; ".join(source.told() for source in settings.train)),
        ("lists", f"{settings.training.lists_per_step} a step, {settings.lists.size} docs each"),
        ("seed", str(settings.training.seed)),
    ]
    if end:
        record = end[-1]
        best = "" if record.get("best_step") is None else f", best at {record['best_step']}"
        facts.append(("steps", f"{record['step']} in {clock(record['seconds'])}{best}"))
    facts += [(f"ties in {run.name}", f"{run.tied_share():.1%} of adjacent docs") for run in runs]
    return facts
