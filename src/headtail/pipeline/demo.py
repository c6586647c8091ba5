"""demo: the main job on the built-in collection, from docs to a table and a page, offline."""

from __future__ import annotations

import time
import tomllib
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from headtail.config import Config, build_config
from headtail.data.datasets import Dataset, load_dataset
from headtail.data.runs import read_run, write_run
from headtail.models.off_the_shelf import MINILM, load_ranker
from headtail.pipeline.evaluate import evaluate
from headtail.pipeline.judgments import judgments
from headtail.pipeline.report import report
from headtail.pipeline.search import rerank, search
from headtail.pipeline.train import begun, train
from headtail.progress import Track, clock, silent
from headtail.records import Run
from headtail.report.tables import Table

DEPTH = 50    # docs of BM25 that the neural rankers re-rank
SPLIT = "test"
OFF_THE_SHELF, FINE_TUNED = "off-the-shelf", "fine-tuned"


@dataclass(frozen=True)
class Demo:
    """What the demo leaves: the table, the page and the saved ranker."""

    table: Table
    page: Path
    model: Path
    seconds: float


def demo_config(encoder: str = MINILM, sets: dict[str, Any] | None = None, runs_folder: str | Path = "runs") -> Config:
    """The demo's training run; another encoder or number of steps has a run folder of its own.

    Args:
        encoder: "minilm", a hub name or a folder.
        sets: seed and steps, where they are to differ.
    """
    tree = tomllib.loads(files("headtail").joinpath("demo.toml").read_text(encoding="utf-8"))
    tree["runs_folder"] = str(runs_folder)
    tree["ranker"]["encoder"] = encoder
    if encoder != MINILM:
        tree["name"] = f"demo-{Path(encoder.rstrip('/')).name}"
    if sets and sets.get("steps") not in (None, tree["training"]["steps"]):
        tree["name"] += f"-{sets['steps']}steps"
    tree["training"] |= sets or {}
    if tree["training"].get("seed"):
        tree["name"] += f"-seed{tree['training']['seed']}"
    return build_config(tree, where="demo.toml")


def demo(
    encoder: str = MINILM,
    *,
    seed: int = 0,
    steps: int | None = None,
    runs_folder: str | Path = "runs",
    say: Callable[[str], None] = lambda line: None,
    track: Track = silent,
    show: bool = False,
) -> Demo:
    """Build pydocs; BM25, TF-IDF, a bi-encoder off the shelf and a fine-tuned ranker; table and page.

    What a first call left is used again by the next.

    Args:
        encoder: what to fine-tune: "minilm", a hub name such as google-t5/t5-small, or a folder.
        steps: of training, where they are to differ from demo.toml.
        say: called with one line for each stage.
    """
    started = time.monotonic()
    settings = demo_config(encoder, {"seed": seed} | ({} if steps is None else {"steps": steps}), runs_folder)
    folder = settings.folder
    dataset = load_dataset("pydocs")
    queries = dataset.queries(SPLIT)
    say(f"pydocs: {len(dataset.collection):,} docs, {len(queries)} test queries ({dataset.note})")

    kept = _Kept(folder / SPLIT, dataset.collection, say)
    bm25 = kept("bm25", lambda: search(dataset, queries, k=100, track=track))
    tfidf = kept("tfidf", lambda: search(dataset, queries, ranker="tfidf", k=100, track=track))
    shelf = kept(OFF_THE_SHELF, lambda: _rerank(MINILM, dataset, bm25, OFF_THE_SHELF, show))
    say(f"fine-tuning {encoder} as a cross-encoder with the {settings.loss.name} loss")
    _, result = train(settings, overwrite=not begun(settings), show=show, track=track)
    if result is not None and result.interrupted:
        raise KeyboardInterrupt    # what is done is kept, and the same command goes on from there
    if result is not None:    # a new model: what an older one ranked is out of date
        kept.forget(FINE_TUNED)
    ours = kept(FINE_TUNED, lambda: _rerank(str(folder / "model"), dataset, bm25, FINE_TUNED, show))

    runs: Sequence[Run] = (tfidf, bm25, shelf, ours)
    _, table = evaluate(runs, judgments(dataset, SPLIT))
    page = report(folder, data=dataset, split=SPLIT, runs=(bm25, shelf, ours), extra=(tfidf,))
    seconds = time.monotonic() - started
    say(f"done in {clock(seconds)}")
    return Demo(table, page, folder / "model", seconds)


def _rerank(name: str, dataset: Dataset, run: Run, title: str, show: bool) -> Run:
    ranker = load_ranker(name)
    return rerank(ranker, dataset, SPLIT, run, depth=DEPTH, name=title, missing="skip", show=show)


class _Kept:
    """Runs of a folder: read where they stand, made and written where not, or where they rank docs that are gone."""

    def __init__(self, folder: Path, docs: Container[str], say: Callable[[str], None]) -> None:
        self.folder, self.docs, self.say = folder, docs, say

    def __call__(self, name: str, make: Callable[[], Run]) -> Run:
        path = self._path(name)
        if path.is_file():
            run = read_run(path, name=name)
            if all(doc.doc_id in self.docs for docs in run.values() for doc in docs):
                self.say(f"{name}: {path} is there already")
                return run
        self.say(f"{name}: making {path}")
        run = make().renamed(name)
        write_run(run, path)
        return read_run(path, name=name)    # what a second call will see

    def forget(self, name: str) -> None:
        self._path(name).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.trec.gz"
