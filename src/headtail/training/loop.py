"""The training loop: score, loss, backward, clip, step, log, validate, keep the best."""

from __future__ import annotations

import itertools
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from headtail.data.batching import PairBatch, pair_batches
from headtail.errors import TrainingError, unknown_name
from headtail.models.precision import autocast
from headtail.records import RankedList
from headtail.training.diagnostics import separation
from headtail.training.gradient_cache import cached_backward, joint_backward
from headtail.training.ledger import Ledger
from headtail.training.optimizer import build_optimizer
from headtail.training.schedule import SCHEDULES

LossFn = Callable[..., Tensor]    # (scores, labels, mask) [B, L] -> scalar


class Scorer(Protocol):
    """What the loop asks of a ranker: see `models.ranker.Ranker`."""

    tokenizer: Any
    max_length: int

    @property
    def device(self) -> torch.device: ...
    def __call__(self, **inputs: Tensor) -> Tensor: ...
    def parts(self) -> dict[str, list[nn.Parameter]]: ...
    def layers(self) -> dict[str, list[nn.Parameter]]: ...
    def train(self, mode: bool = True) -> Any: ...


@dataclass(frozen=True, slots=True)
class Validation:
    """What `validate` returns: figures of the dev split, and for the log the loss and separation on its lists."""

    measures: Mapping[str, float]
    loss: float = float("nan")
    separation: float = float("nan")


@dataclass(slots=True)
class TrainResult:
    """How a run ended: optimizer steps done, the best validation and its step, and whether it was interrupted."""

    steps: int = 0
    best_step: int | None = None
    best: Validation | None = None
    interrupted: bool = False
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class ListBatch:
    """B lists as one batch: labels and mask [B, L], and their N real pairs in length-sorted batches."""

    labels: Tensor
    mask: Tensor
    pairs: list[PairBatch]
    order: Tensor = field(repr=False)    # [N] place of each scored pair in the flattened [B, L]
    more: Mapping[str, Tensor] = field(default_factory=dict)    # what a loss takes besides: {"teacher": [B, L]} with a teacher

    def scores(self, parts: Sequence[Tensor]) -> Tensor:
        """Scores of the batches, in their order, -> [B, L], 0 on padding."""
        flat = torch.zeros(self.mask.numel(), dtype=parts[0].dtype, device=parts[0].device)
        return flat.index_copy(0, self.order, torch.cat(list(parts))).view_as(self.mask)


def build_batch(ranker: Scorer, lists: Sequence[RankedList], token_budget: int) -> ListBatch:
    """Lay out lists of any length; only real docs are scored, so padding a list costs nothing."""
    device, width = ranker.device, max(len(ranked.docs) for ranked in lists)
    labels, mask, more = stack_lists(lists)
    places = [row * width + column for row, ranked in enumerate(lists) for column in range(len(ranked.docs))]
    pairs = pair_batches(
        ranker.tokenizer,
        [ranked.query.text for ranked in lists for _ in ranked.docs],
        [doc.text for ranked in lists for doc in ranked.docs],
        max_length=ranker.max_length,
        token_budget=token_budget,
    )
    order = torch.tensor([places[row] for batch in pairs for row in batch.rows])
    more = {name: values.to(device) for name, values in more.items()}
    return ListBatch(labels.to(device), mask.to(device), pairs, order.to(device), more)


def stack_lists(lists: Sequence[RankedList]) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Labels and mask [B, L] of lists of any length; with a teacher also its scores [B, L] as "teacher"."""
    def rows(values: Iterable[Sequence[float]]) -> Tensor:
        return nn.utils.rnn.pad_sequence([torch.tensor(row) for row in values], batch_first=True)

    labels, mask = rows(ranked.labels for ranked in lists), rows([1.0] * len(ranked.docs) for ranked in lists).bool()
    taught = [ranked.teacher for ranked in lists if ranked.teacher is not None]
    return labels, mask, {"teacher": rows(taught)} if len(taught) == len(lists) else {}


def train(
    ranker: Scorer,
    lists: Iterator[RankedList],
    loss_fn: LossFn,
    *,
    steps: int,
    lists_per_step: int = 8,
    schedule: str = "linear",
    warmup_steps: int = 0,
    clip: float = 1.0,
    token_budget: int = 4096,
    dtype: torch.dtype = torch.float32,
    gradient_cache: bool = False,
    optimizer: Mapping[str, Any] | None = None,
    ledger: Ledger | None = None,
    log_every: int = 10,
    validate: Callable[[], Validation] | None = None,
    validate_every: int = 0,
    best_by: str = "",
    save_best: Callable[[int, Validation | None], None] | None = None,
    loss_parts: Callable[..., Mapping[str, float]] | None = None,
    on_step: Callable[[dict[str, float]], None] | None = None,
    seed: int = 0,
) -> TrainResult:
    """Train a ranker in place on a stream of lists.

    Args:
        lists: an endless stream; each step takes the next `lists_per_step`, of any length.
        loss_fn: (scores, labels, mask) [B, L] -> scalar; where lists have a teacher it is given `teacher` [B, L] too.
        loss_parts: the same arguments -> named numbers for the log, such as `losses.parts_of(name)`; called right before
            the loss, so that both draw the same random numbers.
        warmup_steps: optimizer steps.
        clip: largest norm of the gradient of all parameters together.
        token_budget: tokens of one forward pass, padding included.
        dtype: of the matrix products; weights, head and loss stay in fp32.
        gradient_cache: keep the graph of one batch at a time: the same gradient in less memory, a third slower.
        optimizer: keyword arguments of `build_optimizer`.
        validate: called every `validate_every` steps and after the last one.
        best_by: the measure of `validate` whose largest value is the best; the earlier of two equals is kept.
        save_best: called with the step whenever a validation is the best so far, and once at the end if none was made.
        on_step: called after each step with step, loss, separation and lists_per_second.

    Returns:
        TrainResult; after Ctrl-C the step in hand is finished, what is best so far is kept, and `interrupted` is set.

    Raises:
        TrainingError: the loss is NaN or infinite, or `best_by` is none of the measures that `validate` gives.
    """
    torch.manual_seed(seed)
    adam = build_optimizer(ranker, **(optimizer or {}))
    factor = SCHEDULES[schedule]
    rates = torch.optim.lr_scheduler.LambdaLR(adam, lambda step: factor(step, steps=steps, warmup=warmup_steps))
    parameters = [parameter for group in adam.param_groups for parameter in group["params"]]
    backward = cached_backward if gradient_cache else joint_backward
    result, window, started = TrainResult(), _Window(), time.monotonic()

    with finish_on_interrupt() as interrupted:
        while result.steps < steps and not interrupted.is_set():
            ranker.train()
            batch = build_batch(ranker, list(itertools.islice(lists, lists_per_step)), token_budget)
            loss, scores, parts = _forward_backward(ranker, batch, loss_fn, loss_parts, backward, dtype)
            if not torch.isfinite(loss):
                raise TrainingError(f"the loss is {loss.item()} at step {result.steps + 1}; lower the learning rates")
            norm = nn.utils.clip_grad_norm_(parameters, clip)
            adam.step()
            adam.zero_grad(set_to_none=True)
            rates_used = {f"lr_{group['part']}": group["lr"] for group in adam.param_groups}
            rates.step()
            result.steps += 1

            now = window.add(batch, scores, loss, norm, parts)
            if on_step is not None:
                on_step({**now, "step": result.steps})
            if ledger is not None and (result.steps % log_every == 0 or result.steps == steps):
                ledger.write("train", result.steps, **window.means(), **rates_used)
            due = validate_every and result.steps % validate_every == 0
            if validate is not None and (due or result.steps == steps or interrupted.is_set()):
                _validate(validate, result, best_by, ledger, save_best)
    result.interrupted, result.seconds = interrupted.is_set(), time.monotonic() - started
    if result.best is None and save_best is not None:
        save_best(result.steps, None)
    return result


def _forward_backward(
    ranker: Scorer,
    batch: ListBatch,
    loss_fn: LossFn,
    loss_parts: Callable[..., Mapping[str, float]] | None,
    backward: Callable[..., tuple[Tensor, list[Tensor]]],
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor, dict[str, float]]:
    """Gradients of one step's lists into `.grad`; the loss, the scores [B, L], and what `loss_parts` tells."""
    told: dict[str, float] = {}

    def score_batch(number: int) -> Tensor:
        inputs = {name: tensor.to(ranker.device) for name, tensor in batch.pairs[number].inputs.items()}
        with autocast(dtype, ranker.device):    # around forward alone: the backward pass repeats each product's own format
            return ranker(**inputs)    # [n]

    def loss_of(parts: Sequence[Tensor]) -> Tensor:
        scores = batch.scores(parts)
        if loss_parts is not None:
            told.update(loss_parts(scores.detach(), batch.labels, batch.mask, **batch.more))
        return loss_fn(scores, batch.labels, batch.mask, **batch.more)

    loss, parts = backward(score_batch, len(batch.pairs), loss_of)
    return loss, batch.scores(parts), told


def _validate(
    validate: Callable[[], Validation],
    result: TrainResult,
    best_by: str,
    ledger: Ledger | None,
    save_best: Callable[[int, Validation | None], None] | None,
) -> None:
    found = validate()
    if best_by not in found.measures:
        raise TrainingError(unknown_name("measure to choose the best by", best_by, found.measures))
    if ledger is not None:
        values = {"loss": found.loss, "separation": found.separation, "measures": dict(found.measures)}
        ledger.write("validation", result.steps, **values)
    if result.best is None or found.measures[best_by] > result.best.measures[best_by]:
        result.best, result.best_step = found, result.steps
        if save_best is not None:
            save_best(result.steps, found)


class _Window:
    """Running means since the last log line, each step counting once."""

    def __init__(self) -> None:
        self._rows: list[dict[str, float]] = []
        self._since = time.monotonic()

    def add(
        self, batch: ListBatch, scores: Tensor, loss: Tensor, norm: Tensor, parts: Mapping[str, float]
    ) -> dict[str, float]:
        row = {"loss": loss.item(), **parts, "gradient_norm": norm.item(), **separation(scores, batch.labels, batch.mask)}
        row["lists"] = float(len(batch.labels))
        row["tokens"] = float(sum(int(pairs.inputs["attention_mask"].sum()) for pairs in batch.pairs))
        self._rows.append(row)
        return {**row, **self._rates()}

    def _rates(self) -> dict[str, float]:
        seconds = max(time.monotonic() - self._since, 1e-9)
        totals = {name: sum(row[name] for row in self._rows) for name in ("lists", "tokens")}
        return {f"{name}_per_second": total / seconds for name, total in totals.items()}

    def means(self) -> dict[str, float]:
        names = [name for name in self._rows[0] if name not in ("lists", "tokens")]
        usable = {name: [row[name] for row in self._rows if row[name] == row[name]] for name in names}
        means = {name: sum(values) / len(values) for name, values in usable.items() if values}
        means |= self._rates()
        self._rows, self._since = [], time.monotonic()
        return means


@contextmanager
def finish_on_interrupt() -> Iterator[threading.Event]:
    """Turn the first Ctrl-C into a flag; the second is a KeyboardInterrupt as ever.

    Outside the main thread, and where the shell had Ctrl-C ignored (`nohup`, a script's background job), nothing.
    """
    flag = threading.Event()
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before is signal.SIG_IGN:
        yield flag
        return

    def first(_signal: int, _frame: object) -> None:
        flag.set()
        print("\nfinishing this step and keeping the best so far; Ctrl-C again stops at once", file=sys.stderr, flush=True)
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, first)
    try:
        yield flag
    finally:
        signal.signal(signal.SIGINT, before)
