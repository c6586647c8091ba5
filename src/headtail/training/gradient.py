"""Exact gradients of a loss over lists, in the memory of all pairs or of one small batch, on one device or several.

A loss depends on the encoder only through N scores. So: score all pairs in small batches; take dL/ds of the whole; send
each score's share back through the encoder. With the graphs of all small batches kept, that is the plain backward pass;
each graph is let go as soon as its share is through.
With `cached` none is kept: each small batch runs again with its graph, its random state put back so that dropout drops
the same units, and the gradient is still that of one joint backward pass, for about a third more computing.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from headtail.training.world import World

ScoreBatch = Callable[[int], Tensor]    # batch number -> its scores [n], with a graph when gradients are on
LossOf = Callable[[Tensor], Tensor]     # scores gathered from all processes [size * M] -> loss
Check = Callable[[str, Tensor], None]   # raises if what is named holds a number that is not finite
Hold = Callable[[bool], AbstractContextManager[object]]


@dataclass(frozen=True, slots=True)
class Backward:
    """What a backward pass found; the gradients of the weights are in `.grad`."""

    loss: Tensor
    scores: Tensor      # [size * M] of all processes
    gradient: Tensor    # [size * M] dL/ds


def backward(
    score_batch: ScoreBatch,
    batches: int,
    loss_of: LossOf,
    *,
    cached: bool = False,
    world: World | None = None,
    check: Check = lambda name, tensor: None,
    hold: Hold = lambda held: nullcontext(),
    reseed: Callable[[], None] = lambda: None,
) -> Backward:
    """Gradients of the loss into `.grad`, summed over the processes.

    Args:
        cached: keep the graph of one batch at a time.
        check: told the scores, the loss and dL/ds before anything is sent back.
        hold: entered with True for each backward pass but the last.
        reseed: called right before the loss, so that what it draws does not depend on what scoring drew.
    """
    world = world or World()
    states, scores = [], []
    with torch.set_grad_enabled(not cached):
        for number in range(batches):
            states.append(_random_state() if cached else None)
            scores.append(score_batch(number))
    leaf = world.gather(torch.cat([part.detach() for part in scores])).requires_grad_(True)
    check("score", leaf)
    reseed()
    loss = loss_of(leaf)
    check("loss", loss)
    (gradient,) = torch.autograd.grad(loss, leaf, materialize_grads=True)
    check("gradient of a score", gradient)
    own = torch.split(world.own(gradient * world.size), [len(part) for part in scores])    # the mean over processes becomes a sum
    if not cached and world.size > 1:    # DDP and FSDP send gradients once a call
        torch.autograd.backward(scores, own)
    elif not cached:
        while scores:
            scores.pop().backward(own[len(scores)])    # type: ignore[no-untyped-call]
    else:
        for number, (state, share) in enumerate(zip(states, own, strict=True)):
            _restore(state)
            with hold(number < batches - 1):
                score_batch(number).backward(share)    # type: ignore[no-untyped-call]
    return Backward(loss.detach(), leaf.detach(), gradient)


def _random_state() -> tuple[Tensor, Tensor | None]:
    return torch.get_rng_state(), torch.cuda.get_rng_state() if torch.cuda.is_available() else None


def _restore(state: tuple[Tensor, Tensor | None] | None) -> None:
    assert state is not None
    torch.set_rng_state(state[0])
    if state[1] is not None:
        torch.cuda.set_rng_state(state[1])
