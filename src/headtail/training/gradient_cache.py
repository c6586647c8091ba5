"""Exact gradients in the memory of one small batch, at any list length.

A loss depends on the encoder only through N scores. So: score all pairs in batches without keeping a graph; take
dL/ds; then run each batch again with a graph and send its share of dL/ds back. The random state of each batch is put
back for its second run, so that dropout drops the same units and the gradient is that of one joint backward pass. It
costs about a third more computing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

LossOf = Callable[[Sequence[Tensor]], Tensor]
ScoreBatch = Callable[[int], Tensor]    # batch number -> its scores [n], with a graph when gradients are on


def joint_backward(score_batch: ScoreBatch, batches: int, loss_of: LossOf) -> tuple[Tensor, list[Tensor]]:
    """One graph over all batches: loss and scores, gradients left in `.grad`."""
    scores = [score_batch(number) for number in range(batches)]
    loss = loss_of(scores)
    loss.backward()    # type: ignore[no-untyped-call]
    return loss.detach(), [part.detach() for part in scores]


def cached_backward(score_batch: ScoreBatch, batches: int, loss_of: LossOf) -> tuple[Tensor, list[Tensor]]:
    """The same loss, scores and gradients as `joint_backward`, with the graph of one batch alive at a time."""
    states, scores = [], []
    with torch.no_grad():
        for number in range(batches):
            states.append(_random_state())
            scores.append(score_batch(number))
    leaves = [part.detach().requires_grad_(True) for part in scores]
    loss = loss_of(leaves)
    loss.backward()    # type: ignore[no-untyped-call]
    after = _random_state()
    for number, (state, leaf) in enumerate(zip(states, leaves, strict=True)):
        if leaf.grad is not None:    # the loss looked at this batch
            _restore(state)
            score_batch(number).backward(leaf.grad)    # type: ignore[no-untyped-call]
    _restore(after)
    return loss.detach(), scores


def _random_state() -> tuple[Tensor, Tensor | None]:
    return torch.get_rng_state(), torch.cuda.get_rng_state() if torch.cuda.is_available() else None


def _restore(state: tuple[Tensor, Tensor | None]) -> None:
    torch.set_rng_state(state[0])
    if state[1] is not None:
        torch.cuda.set_rng_state(state[1])
