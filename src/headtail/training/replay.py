"""One step of a run again, with a look inside: where a number first stops being finite."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from headtail.errors import NotFiniteError
from headtail.progress import Track, silent
from headtail.training.batch import ListBatch
from headtail.training.loop import Training


@dataclass(slots=True)
class Replayed:
    """What a step was: its lists, its loss and gradient norm (NaN where it did not come so far), and what went wrong where."""

    step: int
    batch: ListBatch
    loss: float = float("nan")
    gradient_norm: float = float("nan")
    told: dict[str, Any] = field(default_factory=dict)
    fault: str = ""
    weights: list[str] = field(default_factory=list)    # parameters that were not finite before the step
    forward: str = ""                                   # first module whose output was not finite
    backward: str = ""                                  # first module, from the loss down, whose gradient was not finite


def replay(run: Training, step: int, track: Track = silent) -> Replayed:
    """Repeat step `step` (from 1) of a run, and once more watching every module if it fails; the weights end as before it.

    Not watched the first time: hooks change the order in which gradients are summed, which shows in bf16.
    """
    run.bring_to(step - 1, track)
    batch = run.next_batch()
    found = Replayed(step, batch, weights=[name for name, weight in run.named.items() if not torch.isfinite(weight).all()])
    try:
        done, told = run.learn(batch)
        found.loss, found.told, found.gradient_norm = done.loss.item(), told, told["gradient_norm"]
    except NotFiniteError as error:
        found.fault = str(error)
        run.optimizer.zero_grad(set_to_none=True)
        with _watched(run.ranker, found), suppress(NotFiniteError):
            run.learn(batch)
    run.optimizer.zero_grad(set_to_none=True)
    return found


@contextmanager
def _watched(ranker: nn.Module, found: Replayed) -> Iterator[None]:
    """Note the first module whose output, and on the way back whose gradient, is not finite."""
    def after(name: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            if not found.forward and not _whole(output):
                found.forward = name
        return hook

    def back(name: str) -> Any:
        def hook(_module: nn.Module, inner: Any, _outer: Any) -> None:
            if not found.backward and not _whole(inner):
                found.backward = name
        return hook

    handles = []
    for name, module in ranker.named_modules():
        if not any(module.children()):    # the smallest parts, so that the name says most
            handles.append(module.register_forward_hook(after(name)))
            handles.append(module.register_full_backward_hook(back(name)))
    try:
        with warnings.catch_warnings():    # an embedding has no input to send a gradient to, and torch says so
            warnings.simplefilter("ignore")
            yield
    finally:
        for handle in handles:
            handle.remove()


def _whole(value: Any) -> bool:
    if isinstance(value, Tensor):
        return not value.is_floating_point() or bool(torch.isfinite(value).all())
    return all(_whole(inner) for inner in value) if isinstance(value, tuple | list) else True
