"""How the learning rates move: SCHEDULES, name -> factor of the base rate at an optimizer step."""

from __future__ import annotations

import math
from collections.abc import Callable


def linear(step: int, *, steps: int, warmup: int) -> float:
    """Up from 0 over `warmup` steps, then down in a line that would reach 0 right after the last step."""
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return max(0.0, (steps - step) / max(1, steps - warmup))


def constant(step: int, *, steps: int, warmup: int) -> float:
    """Up from 0 over `warmup` steps, then level."""
    return min(1.0, (step + 1) / (warmup + 1))


def cosine(step: int, *, steps: int, warmup: int) -> float:
    """Up from 0 over `warmup` steps, then half a cosine that would reach 0 right after the last step."""
    factor = linear(step, steps=steps, warmup=warmup)
    return factor if step < warmup else (1 - math.cos(math.pi * factor)) / 2


SCHEDULES: dict[str, Callable[..., float]] = {"linear": linear, "constant": constant, "cosine": cosine}
