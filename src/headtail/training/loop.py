"""The training loop: score, loss, backward, clip, step, log, validate, keep the best, save.

Everything random in step n is drawn from (seed, n), and the lists of step n are a pure function of (seed, n) as well. So a
step can be repeated alone, and a run that goes on from a checkpoint is the run that was never stopped.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from headtail.errors import CheckpointError, NotFiniteError, TrainingError, unknown_name
from headtail.models.body import Body
from headtail.models.ranker import Ranker
from headtail.progress import Track, silent
from headtail.records import RankedList
from headtail.training.advice import advise
from headtail.training.batch import ListBatch, build_batch
from headtail.training.checkpoint import Checkpoint, Checkpoints
from headtail.training.diagnostics import Drift, head_turnover, layer_norms, part_norms, score_histogram
from headtail.training.ema import Ema
from headtail.training.gradient import Backward, backward
from headtail.training.ledger import Ledger, read_ledger
from headtail.training.log import layer_rows, means, rates, step_figures
from headtail.training.not_finite import check_finite, check_gradients
from headtail.training.optimizer import build_optimizer
from headtail.training.schedule import SCHEDULES
from headtail.training.signals import NAMES, Stop, stop_signals
from headtail.training.state import Progress, restore, tensors_of
from headtail.training.world import World, full

LossFn = Callable[..., Tensor]                           # (scores, labels, mask) [B, L] -> scalar
Stream = Callable[[int], Iterator[RankedList]]           # start -> endless lists from the start-th on


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how; steps are optimizer steps.

    Args:
        lists_per_step: lists of one step, over all processes.
        clip: largest norm of the gradient of all parameters together.
        token_budget: tokens of one forward pass of one process, padding included.
        dtype: of the matrix products; weights, head and loss stay in fp32.
        gradient_cache: keep the graph of one batch at a time: the same gradient in less memory, a third slower.
        ema: decay of a running mean of the weights, which is what is validated and saved; 0: none.
        validate_every: 0: after the last step alone.
        best_by: the measure whose largest value is the best; the earlier of two equals is kept.
        patience: stop after so many validations without a better one; 0: never.
        checkpoint_every: 0: only when the run is stopped.
        refresh_every: how often `refresh` is asked for new negatives; 0: never.
        on_nonfinite: "stop" or "skip" a step whose scores, loss or gradient hold a number that is not finite.
        nonfinite_limit: steps to skip at most.
    """

    steps: int
    lists_per_step: int = 8
    schedule: str = "linear"
    warmup_steps: int = 0
    clip: float = 1.0
    token_budget: int = 4096
    dtype: torch.dtype = torch.float32
    gradient_cache: bool = False
    ema: float = 0.0
    log_every: int = 10
    validate_every: int = 0
    best_by: str = ""
    patience: int = 0
    checkpoint_every: int = 0
    refresh_every: int = 0
    on_nonfinite: str = "stop"
    nonfinite_limit: int = 10
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Validation:
    """What `validate` returns: measures of the dev split, and for the log figures of its lists.

    `loss` is raw, `told` whatever else stands in the ledger (separation, the loss at its best temperature, …), `heads`
    query_id -> the first docs, to see how many of them change until the next validation.
    """

    measures: Mapping[str, float]
    loss: float = float("nan")
    told: Mapping[str, Any] = field(default_factory=dict)
    heads: Mapping[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Hooks:
    """What a run calls besides the loss; all are optional.

    Args:
        validate: called every `validate_every` steps and after the last one, on every process.
        save_best: called with the step and the measures whenever a validation is the best so far, and once at the end if
            none was made, on every process.
        loss_parts: (scores, labels, mask) -> named numbers for the log, such as `losses.parts_of(name)`; called right before
            the loss, so that both draw the same random numbers.
        refresh: called with the step whose weights choose the negatives from then on, and the step the run is at.
        on_step: called after each step with step, loss, separation and lists_per_second.
        say: told what a person should know at once.
    """

    validate: Callable[[], Validation] | None = None
    save_best: Callable[[int, Mapping[str, float]], None] | None = None
    loss_parts: Callable[..., Mapping[str, float]] | None = None
    refresh: Callable[[int, int], None] | None = None
    on_step: Callable[[Mapping[str, float]], None] | None = None
    say: Callable[[str], None] = lambda line: None


@dataclass(slots=True)
class TrainResult:
    """How a run ended: steps done, the best validation and its step, and what stopped it before its last step."""

    steps: int = 0
    best_step: int | None = None
    best: Mapping[str, float] | None = None
    stopped_by: str = ""    # "", "Ctrl-C", "SIGTERM" or "patience"
    seconds: float = 0.0
    resumed_from: int | None = None
    skipped: int = 0

    @property
    def interrupted(self) -> bool:
        """Whether a signal stopped it, so that the same call goes on."""
        return self.stopped_by in ("Ctrl-C", "SIGTERM")


def train(
    ranker: Ranker,
    stream: Stream,
    loss_fn: LossFn,
    plan: Plan,
    *,
    optimizer: Mapping[str, Any] | None = None,
    hooks: Hooks | None = None,
    ledger: Ledger | None = None,
    checkpoints: Checkpoints | None = None,
    world: World | None = None,
) -> TrainResult:
    """Train a ranker in place on a stream of lists.

    Args:
        stream: gives the lists from any position on; step n takes those from (n - 1) * lists_per_step on, of any length.
        loss_fn: (scores, labels, mask) [B, L] -> scalar; where lists have a teacher it is given `teacher` [B, L] too.
        optimizer: keyword arguments of `build_optimizer`.
        checkpoints: where the run is saved, and goes on from if something stands there.
        world: the processes it runs in.

    Returns:
        TrainResult. After Ctrl-C or SIGTERM the step in hand is finished and saved.

    Raises:
        NotFiniteError: a score, the loss or a gradient is NaN or infinite; the weights are those before that step.
        TrainingError: `best_by` is none of the measures that `validate` gives.
        CheckpointError: what stands in `checkpoints` is damaged or of another model.
    """
    return Training(
        ranker, stream, loss_fn, plan, optimizer=optimizer, hooks=hooks, ledger=ledger, checkpoints=checkpoints, world=world
    ).run()


class Training:
    """A run in progress; `train` is the way to use it. Arguments: see there."""

    def __init__(
        self,
        ranker: Ranker,
        stream: Stream,
        loss_fn: LossFn,
        plan: Plan,
        *,
        optimizer: Mapping[str, Any] | None = None,
        hooks: Hooks | None = None,
        ledger: Ledger | None = None,
        checkpoints: Checkpoints | None = None,
        world: World | None = None,
    ) -> None:
        self.ranker, self.stream, self.loss_fn, self.plan = ranker, stream, loss_fn, plan
        self.hooks, self.ledger, self.checkpoints, self.world = hooks or Hooks(), ledger, checkpoints, world or World()
        self.model: nn.Module = self.world.wrap(ranker)
        self.body = Body(ranker.encoder, plan.dtype, alone=self.world.size == 1)
        self.named = {name: parameter for name, parameter in ranker.named_parameters() if parameter.requires_grad}
        self.optimizer = build_optimizer(ranker, **(optimizer or {}))
        self.base_rates = [float(group["lr"]) for group in self.optimizer.param_groups]
        self.ema = Ema(self.named, plan.ema) if plan.ema else None
        self.layers = ranker.layers()
        self.drift, self.gradient_norms = Drift(self.layers), dict.fromkeys(self.layers, 0.0)
        self.progress = Progress()
        self.lists: Iterator[RankedList] | None = None
        self.seen: tuple[ListBatch, Tensor] | None = None    # the last step's lists and their scores [B, L]

    def run(self) -> TrainResult:
        """From the start, or the newest checkpoint, to the end."""
        resumed_from = self.resume()
        with stop_signals() as stop:
            while self.goes_on(stop):
                self.step()
                self.log()
                self.validate()
                self.save_if_due()
        return self.end(stop, resumed_from)

    def resume(self) -> int | None:
        """Go on from the newest whole checkpoint; the step it was saved after, None where there is none."""
        found = self._load()
        if found is None:
            return None
        if self.ledger is not None:
            self.ledger.cut(self.progress.ledger)
        for line in found.passed_over:
            self._warn(f"passed over a checkpoint: {line}")
        self._write("resume", {"processes": self.world.size})
        self._refresh_again()
        return self.progress.step

    def bring_to(self, step: int, track: Track = silent) -> None:
        """Be as the run was after that step: from the newest checkpoint not past it, or from the start, step by step.

        Nothing is logged, validated or saved. A step is a function of what stood before it alone, so this is that run.
        """
        self._load(most=step)
        self._refresh_again()
        for _ in track(range(self.progress.step, step), f"repeating what came before step {step + 1}", step - self.progress.step):
            self.step()

    def _refresh_again(self) -> None:
        """The negatives that the run had at this step."""
        step, every = self.progress.step, self.plan.refresh_every
        if every and step > every and step % every:    # at a multiple of it, the next batch does so
            self._refresh(step - step % every)

    def _load(self, most: int | None = None) -> Checkpoint | None:
        """The newest whole checkpoint, saved after step `most` at the latest, put into this run."""
        if self.checkpoints is None:
            return None
        first = self.checkpoints.load(most) if self.world.first else None
        step = self.world.share(None if first is None else first.step)
        if step is None:
            return None
        found = first or self.checkpoints.load(most=step)
        assert found is not None
        restore(found.tensors, self.named, self.optimizer, self.ema)
        self.progress = Progress.from_plain(found.state)
        return found

    def goes_on(self, stop: Stop) -> bool:
        """Whether there is another step to do."""
        done = self.progress.step >= self.plan.steps or self.progress.stopped_early
        return not self.world.any(stop.asked) and not done

    def step(self) -> None:
        """One optimizer step; what is not finite stops it before the weights change."""
        started = time.monotonic()
        batch = self.next_batch()
        try:
            found, told = self.learn(batch)
        except NotFiniteError as error:
            self.optimizer.zero_grad(set_to_none=True)
            self.seen, self.gradient_norms = None, {}
            self._skip_or_stop(error)
            return
        self._set_rates()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.progress.step += 1
        if self.ema is not None:
            self.ema.update(self.progress.step)
        self._count(batch, found, told, time.monotonic() - started)

    def next_batch(self) -> ListBatch:
        """The lists of the next step, laid out; negatives are chosen anew first when that is due."""
        step, plan = self.progress.step, self.plan
        if plan.refresh_every and step and step % plan.refresh_every == 0:
            self._refresh(step)
        if self.lists is None:
            self.lists = self.stream(step * plan.lists_per_step)
        return build_batch(self.ranker, list(islice(self.lists, plan.lists_per_step)), plan.token_budget, self.world)

    def learn(self, batch: ListBatch) -> tuple[Backward, dict[str, float]]:
        """Gradients of a batch, checked and clipped, with what the loss tells of itself; the weights stay as they are."""
        told: dict[str, float] = {}

        def score_batch(number: int) -> Tensor:
            inputs = {name: ids.to(self.ranker.device) for name, ids in batch.pairs[number].inputs.items()}
            with self.body.forward():
                return self.model(**inputs)    # type: ignore[no-any-return]

        def loss_of(gathered: Tensor) -> Tensor:
            scores = batch.lay_out(gathered)
            if self.hooks.loss_parts is not None:
                told.update(self.hooks.loss_parts(scores.detach(), batch.labels, batch.mask, **batch.more))
            return self.loss_fn(scores, batch.labels, batch.mask, **batch.more)

        for name, values in batch.more.items():
            check_finite(f"{name}'s score", values, batch)
        self.ranker.train()
        self._seed("score", self.world.rank)
        with self.body.step():
            found = backward(
                score_batch,
                len(batch.pairs),
                loss_of,
                cached=self.plan.gradient_cache,
                world=self.world,
                check=lambda name, values: check_finite(name, values, batch),
                hold=lambda held: self.world.hold_gradients(self.model, held),
                reseed=lambda: self._seed("loss"),
            )
        return found, {**told, "gradient_norm": self._clip(batch)}

    def _clip(self, batch: ListBatch) -> float:
        """Clip the gradient of all parameters together; its norm before that."""
        gradients = [parameter.grad for parameter in self.named.values() if parameter.grad is not None]
        norm = nn.utils.get_total_norm(gradients)
        value = full(norm).item()
        check_gradients(value, self.named, batch)
        if self._logs(self.progress.step + 1):
            self.gradient_norms = layer_norms(self.layers)
        nn.utils.clip_grads_with_norm_(self.named.values(), self.plan.clip, norm)
        return value

    def _set_rates(self) -> None:
        plan = self.plan
        factor = SCHEDULES[plan.schedule](self.progress.step, steps=plan.steps, warmup=plan.warmup_steps)
        for group, rate in zip(self.optimizer.param_groups, self.base_rates, strict=True):
            group["lr"] = rate * factor

    def _seed(self, purpose: str, rank: int = 0) -> None:
        """All that is random from here on is a function of (seed, step), and where each process draws its own, of its rank."""
        key = f"{self.plan.seed}:{self.progress.step}:{purpose}:{rank}".encode()
        torch.manual_seed(int.from_bytes(hashlib.blake2b(key, digest_size=7).digest()))

    def _count(self, batch: ListBatch, found: Backward, told: Mapping[str, float], seconds: float) -> None:
        """A row for the next log line."""
        progress, self.seen = self.progress, (batch, batch.lay_out(found.scores))
        figures = step_figures(self.seen[1], batch.lay_out(found.gradient), batch.labels, batch.mask)
        row = {"loss": found.loss.item(), **told, **figures}
        progress.window.append({**row, "lists": float(len(batch.lists)), "tokens": float(batch.tokens), "seconds": seconds})
        progress.train_loss = [progress.train_loss[0] + row["loss"], progress.train_loss[1] + 1]
        progress.seconds += seconds
        if self.hooks.on_step is not None:
            self.hooks.on_step({**row, "step": progress.step, "lists_per_second": len(batch.lists) / max(seconds, 1e-9)})

    def _skip_or_stop(self, error: NotFiniteError) -> None:
        step, progress = self.progress.step + 1, self.progress
        if self.plan.on_nonfinite == "stop" or progress.skipped >= self.plan.nonfinite_limit:
            self._write("not_finite", {"text": str(error), "lists": error.lists}, step=step)
            self.save()
            many = f" after {progress.skipped} steps that were skipped" if progress.skipped else ""
            raise NotFiniteError(
                f"step {step}{many}: {error}; the weights are those before it: lower the learning rates, or look into it with"
                f" `headtail replay RUN --step {step}`",
                error.lists,
            ) from error
        progress.step, progress.skipped = step, progress.skipped + 1
        self._write("skipped", {"text": str(error), "lists": error.lists})
        self.hooks.say(f"step {step} skipped: {error}")

    def _refresh(self, made_at: int) -> None:
        if self.hooks.refresh is not None:
            self.hooks.refresh(made_at, self.progress.step)

    def _logs(self, step: int) -> bool:
        return step % self.plan.log_every == 0 or step == self.plan.steps

    def log(self) -> None:
        """Means since the last log line, each step counting once, and the layers as they are now."""
        progress = self.progress
        if not self._logs(progress.step) or not progress.window:
            return
        (parts, layer_rates), norms = rates(self.optimizer), self.gradient_norms
        more: dict[str, Any] = {}
        if self.seen is not None:
            batch, scores = self.seen
            more = {**part_norms(norms), "histogram": score_histogram(scores, batch.labels, batch.mask)}
        layers = layer_rows(("lr", layer_rates), ("norm", norms), ("drift", self.drift.measure()))
        self._write("train", {**means(progress.window), **parts, **more, "layers": layers})
        progress.window = []

    def validate(self) -> None:
        """Measure the dev split when that is due, and keep the best."""
        plan, progress = self.plan, self.progress
        due = (plan.validate_every and progress.step % plan.validate_every == 0) or progress.step == plan.steps
        if self.hooks.validate is None or not due:
            return
        with self._as_saved():
            found = self.hooks.validate()
            if plan.best_by not in found.measures:
                raise TrainingError(unknown_name("measure to choose the best by", plan.best_by, found.measures))
            self._tell_validation(found)
            better = progress.best_step is None or found.measures[plan.best_by] > progress.best[plan.best_by]
            progress.since_best = 0 if better else progress.since_best + 1
            if better and self._save_best(found.measures):
                progress.best_step, progress.best = progress.step, dict(found.measures)
        if plan.patience and progress.since_best >= plan.patience:
            progress.stopped_early = True
            self._warn(f"{plan.best_by} has not grown for {plan.patience} validations: stopping early")

    def _tell_validation(self, found: Validation) -> None:
        progress, (total, count) = self.progress, self.progress.train_loss
        gap = found.loss - total / count if count else float("nan")
        turnover = head_turnover(progress.heads, found.heads)
        progress.heads, progress.train_loss = dict(found.heads), [0.0, 0.0]
        told = {"loss": found.loss, "gap": gap, "turnover": turnover, **found.told, "measures": dict(found.measures)}
        self._write("validation", told)
        if self.ledger is None:
            return
        records = read_ledger(self.ledger.path)
        known = {(record["about"], record["since"]) for record in records if record["kind"] == "advice"}
        for advice in advise(records):
            if (advice.kind, advice.step) not in known:
                self._write("advice", {"about": advice.kind, "since": advice.step, "text": advice.text})
                self.hooks.say(advice.text)

    def _as_saved(self) -> AbstractContextManager[object]:
        """The weights that are validated and saved: the running mean, where there is one."""
        return self.ema.swapped() if self.ema is not None else nullcontext()

    def _save_best(self, measures: Mapping[str, float]) -> bool:
        """Whether it is saved; where the disk does not take it the one before stays the best."""
        if self.hooks.save_best is None:
            return True
        try:
            self.hooks.save_best(self.progress.step, measures)
        except CheckpointError as error:
            self._warn(str(error))
            return False
        return True

    def save_if_due(self) -> None:
        """Save a checkpoint every `checkpoint_every` steps."""
        every = self.plan.checkpoint_every
        if every and self.progress.step % every == 0:
            self.save()

    def save(self) -> None:
        """Save a checkpoint; where the disk does not take it the run goes on, and says so."""
        if self.checkpoints is None:
            return
        tensors = tensors_of(self.named, self.optimizer, self.ema)    # every process has its part in it
        if self.ledger is None:
            return
        try:
            if not self.ledger.flush(to_disk=True):
                raise CheckpointError(f"{self.ledger.path}: no room on disk: nothing saved, the run goes on")
            self.progress.ledger = self.ledger.size
            self.checkpoints.save(self.progress.step, tensors, self.progress.plain())
        except CheckpointError as error:
            self._warn(str(error))

    def end(self, stop: Stop, resumed_from: int | None) -> TrainResult:
        """Save what is left to save, and tell how it went."""
        progress = self.progress
        finished = progress.step >= self.plan.steps or progress.stopped_early
        if finished and progress.best_step is None:
            with self._as_saved():
                self._save_best({})
        if self.checkpoints is not None and self.world.share(self.checkpoints.steps()[-1:] != [progress.step]):
            self.save()
        signal = self.world.share(NAMES[stop.signal] if stop.signal is not None else "")
        stopped_by = "patience" if progress.stopped_early else "" if finished else signal or "a signal"
        best = progress.best if progress.best_step is not None else None
        return TrainResult(
            progress.step, progress.best_step, best, stopped_by, progress.seconds, resumed_from, progress.skipped
        )

    def _warn(self, text: str) -> None:
        self._write("warning", {"text": text})
        self.hooks.say(text)

    def _write(self, kind: str, values: Mapping[str, Any], *, step: int | None = None) -> None:
        if self.ledger is not None:
            self.ledger.write(kind, self.progress.step if step is None else step, **values)

