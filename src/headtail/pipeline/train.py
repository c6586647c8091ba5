"""train: a config -> a run folder with a saved ranker, its ledger and its dev runs."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from headtail.config import Config, load_config, to_toml
from headtail.data.mixing import MixedLists
from headtail.data.runs import write_run
from headtail.errors import ConfigError
from headtail.evaluation.measures import parse_measures
from headtail.files import atomic_writer
from headtail.losses import LOSSES, check_loss, parts_of, takes_teacher
from headtail.models.lora import add_lora
from headtail.models.off_the_shelf import resolve_name
from headtail.models.precision import body_dtype, default_device
from headtail.models.ranker import Ranker
from headtail.pipeline.lists import refresh, training_lists
from headtail.pipeline.validate import DevSplit, dev_split, rescore, validation
from headtail.progress import Meter, Track, clock, silent
from headtail.training.batch import Shared
from headtail.training.checkpoint import Checkpoints, staged
from headtail.training.ledger import Ledger
from headtail.training.loop import Hooks, Plan, Training, TrainResult
from headtail.training.sinks import open_sinks
from headtail.training.world import World

FIRST_STAGE_FILE, OURS_FILE = "bm25.trec.gz", "ours.trec.gz"
LEDGER, FINISHED = "ledger.jsonl", "finished"


def train(
    config: Config | str | Path, *, sets: tuple[str, ...] = (), overwrite: bool = False, show: bool = False, track: Track = silent
) -> tuple[Path, TrainResult | None]:
    """Train a ranker; its run folder, and how it ended (None where a finished run of the same config stood there).

    A run of the same config that was stopped goes on from its newest whole checkpoint, and ends as if it had never been
    stopped. Under torchrun every process calls this, and the first one writes.

    Args:
        config: a Config, or a TOML file to which the `key=value` of `sets` are applied.
        overwrite: begin anew where a run of that name exists.
        show: a progress line on stderr.

    Raises:
        HeadtailError: see the parts; nothing that existed is damaged.
    """
    settings = config if isinstance(config, Config) else load_config(config, sets)
    with prepare(settings, show=show, track=track, unless=lambda: _stands(settings, overwrite)) as run:
        if run is None:
            return settings.folder, None
        if run.world.first:
            _begin(settings, overwrite)
        run.world.wait()
        return settings.folder, run.train()


@contextlib.contextmanager
def prepare(
    settings: Config, *, show: bool = False, track: Track = silent, unless: Callable[[], bool] = lambda: False
) -> Iterator[_Run | None]:
    """A config as a run that can begin: checked, its data read and its ranker built; None where `unless` says so first."""
    _check_settings(settings)
    loss_fn = functools.partial(check_loss(settings.loss.name, settings.loss.options), **settings.loss.options)
    with World.join(settings.training.parallel, default_device()) as world:
        if world.share(unless() if world.first else None):
            yield None
            return
        with world.first_alone():    # what is read for the first time leaves a cache
            lists, dev = training_lists(settings, track), dev_split(settings, track)
        yield _Run(settings, build_ranker(settings), lists, dev, loss_fn, world, show and world.first)


def _stands(settings: Config, overwrite: bool) -> bool:
    """Whether this very run is finished; an error if the folder holds anything that it would damage."""
    if overwrite:
        return False
    if not finished(settings):
        _check_free(settings)
        return False
    return True


def _check_settings(settings: Config) -> None:
    """What a config's types cannot tell, before anything is read or removed."""
    parse_measures([settings.validation.best_by])
    _check_teachers(settings)
    optimizer = settings.optimizer
    if optimizer.name == "adafactor" and optimizer.beta2 != type(optimizer).model_fields["beta2"].default:
        raise ConfigError("optimizer.beta2 has no effect on Adafactor: leave it out, or set optimizer.name=adamw")


def _check_teachers(settings: Config) -> None:
    """A teacher stands beside every source where the loss or the margin asks for one, and nowhere else."""
    name, margin = settings.loss.name, settings.lists.margin
    if "teacher" in settings.loss.options:
        raise ConfigError("loss.options.teacher: a teacher is a run file, set as train.0.teacher")
    for number, source in enumerate(settings.train):
        if takes_teacher(name) and source.teacher is None:
            raise ConfigError(f"loss {name!r} learns from a teacher's scores: set train.{number}.teacher to a run file of them")
        if margin is not None and source.teacher is None:
            raise ConfigError(f"lists.margin={margin:g} filters by a teacher's scores: set train.{number}.teacher to a run of them")
    named = [f"train.{number}.teacher" for number, source in enumerate(settings.train) if source.teacher is not None]
    named += ["validation.teacher"] if settings.validation.teacher is not None else []
    if named and margin is None and not takes_teacher(name):
        known = ", ".join(loss for loss in LOSSES if takes_teacher(loss))
        raise ConfigError(
            f"{named[0]}: loss {name!r} learns from labels alone; losses with a teacher: {known}; lists.margin filters by one"
        )


def finished(settings: Config) -> bool:
    """Whether the run folder holds a finished run of this very config."""
    return begun(settings) and (settings.folder / FINISHED).is_file() and (settings.folder / "model").is_dir()


def begun(settings: Config) -> bool:
    """Whether the run folder holds a run of this config, but for settings that change no result."""
    path = settings.folder / "config.toml"
    if not path.is_file():
        return False
    try:
        return result_settings(load_config(path)) == result_settings(settings)
    except ConfigError:    # of another version
        return False


def result_settings(settings: Config) -> dict[str, Any]:
    """A config without what may change between two parts of a run: devices, saving, copies of the ledger."""
    tree = settings.model_dump()
    for name in ("parallel", "checkpoint_every", "on_nonfinite", "nonfinite_limit", "track", "gradient_checkpointing", "compile"):
        del tree["training"][name]
    return tree


def _check_free(settings: Config) -> None:
    folder = settings.folder
    taken = [name for name in ("config.toml", "model", "ledger.jsonl") if (folder / name).exists()]
    if taken and not begun(settings):
        state = "a run of another config" if "config.toml" in taken else f"{' and '.join(taken)} of no run"
        raise ConfigError(f"{folder} holds {state}; pass --overwrite to begin anew, or another name: --set name={settings.name}-2")


def _begin(settings: Config, overwrite: bool) -> None:
    """The folder as a run finds it: what an older one left is removed, unless this is that run going on."""
    folder = settings.folder
    if overwrite:    # its config last, so that a kill in between leaves a run that can go on
        for name in (FINISHED, LEDGER):
            (folder / name).unlink(missing_ok=True)
        for name in ("checkpoints", "mined"):
            shutil.rmtree(folder / name, ignore_errors=True)
    with atomic_writer(folder / "config.toml") as out:
        out.write(to_toml(settings))


def build_ranker(settings: Config) -> Ranker:
    """The ranker to be trained, on the accelerator there is: frozen, adapted and compiled as the config says."""
    options = settings.ranker.model_dump(exclude={"encoder", "lora"})
    ranker = Ranker.from_encoder(resolve_name(settings.ranker.encoder), seed=settings.training.seed, **options)
    ranker.freeze(embeddings=settings.optimizer.freeze_embeddings, layers=settings.optimizer.freeze_layers)
    if settings.ranker.lora is not None:
        add_lora(ranker, **settings.ranker.lora.model_dump(), seed=settings.training.seed)
    if settings.training.gradient_checkpointing:
        ranker.checkpoint_gradients()
    if settings.training.compile:
        ranker.compile_encoder()
    ranker.check_can_be_saved()
    return ranker.to(default_device())


@dataclass(frozen=True)
class _Run:
    """A config turned into what the loop takes, and what is left when it ends."""

    settings: Config
    ranker: Ranker
    lists: MixedLists
    dev: DevSplit
    loss_fn: Any
    world: World
    show: bool

    @property
    def checkpoints(self) -> Checkpoints:
        """Where it is saved."""
        return Checkpoints(self.settings.folder / "checkpoints")

    def training(self, hooks: Hooks | None = None, ledger: Ledger | None = None) -> Training:
        """The loop of this run, at its start."""
        settings = self.settings
        return Training(
            self.ranker,
            self.lists.stream,
            self.loss_fn,
            plan(settings, self.ranker.device),
            optimizer=settings.optimizer.model_dump(exclude={"freeze_embeddings", "freeze_layers"}),
            hooks=hooks or self._hooks(),
            ledger=ledger,
            checkpoints=self.checkpoints,
            world=self.world,
        )

    def train(self) -> TrainResult:
        """From the first step, or the last one saved, to the end."""
        with contextlib.ExitStack() as stack:
            meter = stack.enter_context(Meter(f"training {self.settings.name}", self.settings.training.steps))
            ledger = self._ledger(stack) if self.world.first else None
            result = self.training(self._hooks(meter), ledger).run()
            if ledger is not None:
                told = {"seconds": result.seconds, "stopped_by": result.stopped_by, "best_step": result.best_step}
                ledger.write("end", result.steps, interrupted=result.interrupted, **told)
        if self.world.first:
            self._leave(result)
        self.world.wait()
        return result

    def _ledger(self, stack: contextlib.ExitStack) -> Ledger:
        """The ledger with its copies; a run that begins has a first line of its own."""
        settings, options = self.settings, self.settings.training
        config, step = settings.model_dump(mode="json"), max(self.checkpoints.steps(), default=0)
        sinks = open_sinks(options.track, settings.folder, run_name=settings.name, config=config, step=step, say=say)
        stack.callback(sinks.close)
        ledger = Ledger(settings.folder / LEDGER, copy=sinks.write)
        if not self.checkpoints.steps():    # killed before its first save: from the start
            ledger.cut(0)
            facts = {"lists": len(self.lists), "queries_without_positive": self.lists.without_positive}
            facts |= {"candidates_left_out": self.lists.left_out}
            plan = {"steps": options.steps, "lists_per_step": options.lists_per_step, "best_by": settings.validation.best_by}
            machine = {"device": str(self.ranker.device), "threads": torch.get_num_threads(), "processes": self.world.size}
            ledger.write("start", 0, name=settings.name, **plan, **facts, **machine)
        return ledger

    def _hooks(self, meter: Meter | None = None) -> Hooks:
        settings, world, checkpoints = self.settings, self.world, self.checkpoints
        scorer = Shared(self.ranker, world)

        def save_best(step: int, measures: Mapping[str, float]) -> None:
            whole = world.whole(self.ranker)
            if world.first:
                checkpoints.save_best(step, lambda folder: whole.save(folder, card=model_card(settings, step, measures)))

        def on_step(now: Mapping[str, float]) -> None:
            if self.show and meter is not None:
                meter.done = int(now["step"]) - 1
                rate = f"{now['lists_per_second']:.1f} lists/s"
                meter.advance(1, f"loss {now['loss']:.3f}  separation {now['separation']:.2f}  {rate}")

        return Hooks(
            validate=lambda: validation(scorer, self.dev, settings, self.loss_fn),
            save_best=save_best,
            loss_parts=functools.partial(parts_of(settings.loss.name), **settings.loss.options),
            refresh=lambda made_at, now: refresh(settings, self.lists, scorer, world, made_at, now, self.show),
            on_step=on_step,
            say=say if self.world.first else lambda line: None,
        )

    def _leave(self, result: TrainResult) -> None:
        """The best ranker as `model/`, and at the end its ranking of the dev split beside the first stage's."""
        settings, folder, checkpoints = self.settings, self.settings.folder, self.checkpoints
        step = result.best_step or result.steps
        if result.interrupted and step not in checkpoints.steps("best"):
            return
        publish(checkpoints.best(step), folder / "model")
        if result.interrupted:
            return
        best = Ranker.from_pretrained(folder / "model").to(default_device())
        write_run(self.dev.run.renamed("bm25"), folder / "dev" / FIRST_STAGE_FILE)
        write_run(rescore(best, self.dev, settings)[0], folder / "dev" / OURS_FILE)
        with atomic_writer(folder / FINISHED) as out:
            out.write(f"step {step}\n")


def plan(settings: Config, device: torch.device) -> Plan:
    """The numbers of the loop."""
    options, validated = settings.training, settings.validation
    same = {name: value for name, value in options if name in {field.name for field in dataclasses.fields(Plan)}}
    return Plan(
        **same,
        dtype=body_dtype(options.precision, device),
        validate_every=validated.every,
        best_by=validated.best_by,
        patience=validated.patience,
        refresh_every=settings.lists.refresh_every,
    )


def publish(saved: Path, model: Path) -> None:
    """Have `model/` hold a saved ranker: linked file by file where the disk can, so that it takes no room twice."""
    with staged(model) as work:
        shutil.copytree(saved, work, copy_function=_link, dirs_exist_ok=True)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:    # another disk, or one that has no links
        shutil.copy2(source, target)


def say(line: str) -> None:
    """On stderr, below a progress line; a log file that has no room stops no training."""
    with contextlib.suppress(OSError):
        print(f"\n{line}", file=sys.stderr, flush=True)


def model_card(settings: Config, step: int, measures: Mapping[str, float]) -> str:
    """The README.md of the saved folder."""
    sources = "; ".join(source.told() for source in settings.train)
    figures = ", ".join(f"{name} {value:.3f}" for name, value in measures.items()) or "not validated"
    encoder = Path(settings.ranker.encoder).name
    return f"""---
library_name: sentence-transformers
pipeline_tag: text-ranking
tags: [cross-encoder, reranker, headtail]
---

# {settings.name}

A ranker fine-tuned with headtail: {encoder} encoder, {settings.ranker.pooling} pooling, dense head; scores are raw logits.

- trained on {sources} with the {settings.loss.name} loss, step {step} of {settings.training.steps}, seed {settings.training.seed}
- dev split, {settings.validation.queries} queries an intent, first {settings.validation.depth} docs re-ranked: {figures}

```python
from sentence_transformers import CrossEncoder

CrossEncoder("{settings.folder / "model"}").predict([("a query", "a doc")])
```

The same with `headtail.Ranker.from_pretrained(...)`. Settings: the run's config.toml.
"""


def summary(result: TrainResult) -> str:
    """One line on how training ended."""
    how = f"stopped by {result.stopped_by} after" if result.stopped_by else "trained"
    since = "" if result.resumed_from is None else f" (going on from step {result.resumed_from})"
    best = "" if result.best is None else f"; best at step {result.best_step}: " + ", ".join(
        f"{name} {value:.3f}" for name, value in result.best.items()
    )
    skipped = f"; {result.skipped} steps skipped" if result.skipped else ""
    return f"{how} {result.steps} steps{since} in {clock(result.seconds)}{best}{skipped}"
