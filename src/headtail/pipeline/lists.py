"""A config -> the lists to train on, and new negatives for them while training runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headtail.config import Config, SourceConfig
from headtail.data.datasets import Dataset, load_dataset
from headtail.data.lists import TrainingLists
from headtail.data.mixing import MixedLists
from headtail.data.runs import read_run, write_run
from headtail.errors import CheckpointError, ConfigError, HeadtailError
from headtail.losses import takes_teacher
from headtail.pipeline.search import search
from headtail.progress import Meter, Track, silent
from headtail.records import Query, Run
from headtail.scoring import rerank
from headtail.training.batch import Shared
from headtail.training.world import World


def training_lists(settings: Config, track: Track = silent) -> MixedLists:
    """The lists of all sources, mixed."""
    weights, sources = _weights(settings), []
    for source in settings.train:
        dataset = load_dataset(source.name, intent=source.intent, relevant_from=source.relevant_from)
        judged = _judged_queries(dataset, source)
        run = first_stage(dataset, judged, source.run, settings.lists.depth[1], track)
        options = list_options(settings) | teacher(settings, source.teacher) | {"seed": settings.training.seed}
        lists = TrainingLists(judged, dataset.qrels(source.split), run, dataset.collection, **options)
        sources.append((lists, source.repeat))
    return MixedLists(sources, seed=settings.training.seed, weights=weights)


def _weights(settings: Config) -> list[float] | None:
    """The weights of the sources; None where they are counted by `repeat`."""
    weights = [source.weight for source in settings.train if source.weight is not None]
    if not weights:
        return None
    for number, source in enumerate(settings.train):
        if source.weight is None:
            raise ConfigError(f"train.{number}.weight: expected a weight for every source or for none, found one without")
        if source.repeat > 1:
            raise ConfigError(f"train.{number}.repeat={source.repeat} has no effect beside weights: leave out one of the two")
    return weights


def list_options(settings: Config) -> dict[str, Any]:
    """What `TrainingLists` takes of a config; what is to be refreshed and when is the loop's affair."""
    if settings.lists.source == "judged" and settings.lists.refresh_every:
        raise ConfigError('lists.refresh_every: lists.source="judged" draws from no window that could be refreshed')
    if settings.lists.refresh_depth[0] > settings.lists.refresh_depth[1]:
        raise ConfigError(f"lists.refresh_depth: expected ranks that grow, found {list(settings.lists.refresh_depth)}")
    return settings.lists.model_dump(exclude={"margin", "refresh_every", "refresh_depth"})


def _judged_queries(dataset: Dataset, source: SourceConfig) -> dict[str, Query]:
    queries, qrels, intents = dataset.queries(source.split), dataset.qrels(source.split), dataset.intents(source.split)
    chosen = {query_id: query for query_id, query in queries.items() if query_id in qrels}
    if source.only is not None:
        chosen = {query_id: query for query_id, query in chosen.items() if intents[query_id] == source.only}
    if not chosen:
        wanted = "judged query" if source.only is None else f"judged query of intent {source.only!r}"
        raise HeadtailError(f"data set {source.name!r}, split {source.split!r}: no {wanted} to train on")
    return chosen


def first_stage(dataset: Dataset, queries: Mapping[str, Query], run: Path | None, k: int, track: Track) -> Run:
    """The run of that file, or BM25's."""
    return read_run(run) if run is not None else search(dataset, queries, k=k, track=track)


def teacher(settings: Config, run: Path | None) -> dict[str, Any]:
    """What lists take of a teacher: its scores if the loss learns from them, its doubts if a margin is set."""
    if run is None:
        return {}
    scores, margin = read_run(run), settings.lists.margin
    doubts = {} if margin is None else {"filter_by": scores, "margin": margin}
    return doubts | ({"teacher": scores} if takes_teacher(settings.loss.name) else {})


def refresh(settings: Config, lists: MixedLists, scorer: Shared, world: World, made_at: int, now: int, show: bool = False) -> None:
    """Negatives as the ranker orders them after step `made_at`: made now, or read where an earlier part of the run left them.

    Raises:
        CheckpointError: they were made by weights that are gone, and are gone themselves.
    """
    a_step, every = settings.training.lists_per_step, settings.lists.refresh_every
    runs = []
    for number, window in enumerate(lists.windows(made_at * a_step, every * a_step)):
        path = settings.folder / "mined" / f"step-{made_at:08}-{number}.trec.gz"
        if window and not world.share(path.is_file()):
            if made_at != now:
                raise CheckpointError(f"{path}: expected the negatives of step {made_at}, found none; --overwrite begins anew")
            mined = _reorder(scorer, window, lists.sources[number], settings, show)
            if world.first:
                write_run(mined, path)
            world.wait()
        runs.append(read_run(path) if window else window)
    lists.refresh(runs, settings.lists.refresh_depth)


def _reorder(scorer: Shared, window: Run, source: TrainingLists, settings: Config, show: bool) -> Run:
    queries = {query_id: source.queries[query_id] for query_id in window}
    with Meter(f"ordering negatives for {settings.name}", sum(map(len, window.values()))) as meter:
        options: dict[str, Any] = {"precision": settings.training.precision, "on_batch": meter.advance if show else None}
        return rerank(scorer, window, queries, source.texts, name=settings.name, **options)
