"""replay: one step of a run again, told in words."""

from __future__ import annotations

from pathlib import Path

from headtail.config import Config, load_config
from headtail.errors import HeadtailError
from headtail.pipeline.train import LEDGER, prepare
from headtail.progress import Track, silent
from headtail.training.ledger import read_ledger
from headtail.training.replay import Replayed
from headtail.training.replay import replay as replay_step

SHOWN = 8    # lists told in full


def replay(folder: str | Path, step: int, *, track: Track = silent) -> Replayed:
    """Repeat step `step` (from 1) of the run in `folder`, from the newest checkpoint before it; nothing there is changed.

    Raises:
        HeadtailError: no run, a step it never came to, or only damaged checkpoints.
    """
    settings = _settings(Path(folder).resolve())
    if not 1 <= step <= settings.training.steps:
        raise HeadtailError(f"--step {step}: expected a step from 1 to {settings.training.steps}")
    with prepare(settings) as run:
        assert run is not None
        return replay_step(run.training(), step, track)


def _settings(folder: Path) -> Config:
    path = folder / "config.toml"
    if not path.is_file():
        raise HeadtailError(f"{folder}: expected the folder of a training run, found no config.toml; `headtail train` makes one")
    settings = load_config(path)
    return settings.model_copy(update={"runs_folder": folder.parent, "name": folder.name})


def describe(found: Replayed, folder: str | Path) -> str:
    """The step in a few lines: what was trained on, what came out, where it broke, and whether it is what the ledger says."""
    lines = [f"step {found.step}: {len(found.batch.lists)} lists, {int(found.batch.mask.sum())} docs"]
    for ranked in found.batch.lists[:SHOWN]:
        docs = ", ".join(f"{doc.doc_id}:{label:g}" for doc, label in zip(ranked.docs, ranked.labels, strict=True))
        lines.append(f"  {ranked.query.query_id!r} {ranked.query.text[:60]!r}: {docs}")
    if len(found.batch.lists) > SHOWN:
        lines.append(f"  and {len(found.batch.lists) - SHOWN} more")
    lines.append(f"loss {found.loss:.6f}, gradient norm {found.gradient_norm:.6f}")
    if found.weights:
        lines.append(f"not finite before the step: {', '.join(found.weights[:SHOWN])}")
    lines.append(found.fault or "every score, the loss and every gradient is finite")
    if found.forward:
        lines.append(f"first module whose output is not finite: {found.forward}")
    if found.backward:
        lines.append(f"first module, from the loss down, whose gradient is not finite: {found.backward}")
    lines += [f"the ledger says: {record['text']}" for record in _of_ledger(Path(folder), found.step)]
    return "\n".join(lines)


def _of_ledger(folder: Path, step: int) -> list[dict[str, str]]:
    records = read_ledger(folder / LEDGER)
    return [record for record in records if record["step"] == step and record["kind"] in ("not_finite", "skipped")]

