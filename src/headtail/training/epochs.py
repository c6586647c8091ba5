"""What training loss does at the borders of epochs, beside what it does inside them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from headtail.training.curves import Point

WINDOW = 6    # log lines before and after a border

Numbers = np.ndarray[Any, np.dtype[np.floating[Any]]]


@dataclass(frozen=True, slots=True)
class EpochJumps:
    """What training loss does from a few log lines to the next few: across borders of an epoch, and inside epochs.

    Nothing here changes when more lines come: a border is compared with the epoch before it.
    """

    borders: Numbers          # [E] steps
    excess: Numbers           # [E] the jump there less the usual jump inside the epoch before
    levels: Numbers           # [E] training loss before each
    residuals: Numbers        # of jumps inside an epoch, less the usual jump there
    residual_ends: Numbers    # the last step that each of them looks at
    window: int               # log lines of one mean

    @classmethod
    def of(cls, points: Sequence[Point], epoch: float) -> EpochJumps:
        """From training loss by step, and the steps of an epoch; empty where an epoch has fewer than eight log lines."""
        steps, losses = np.array([x for x, _ in points]), np.array([y for _, y in points])
        every = float(np.median(np.diff(steps)))
        begins = np.concatenate([[max(0.0, steps[0] - every)], steps[:-1]])    # a line is the mean of what follows that step
        size = min(WINDOW, int(epoch / every / 4))
        borders = np.arange(1, int(steps[-1] // epoch) + 1) * epoch
        if size < 2 or not len(borders):
            none = np.array([])
            return cls(none, none, none, none, none, 1)
        sums = np.concatenate([[0.0], np.cumsum(losses)])
        middle = np.arange(size, len(steps) - size + 1)    # the line that a jump leads to
        jumps = (sums[middle + size] + sums[middle - size] - 2 * sums[middle]) / size
        first, last = begins[middle - size] // epoch, (steps[middle + size - 1] - 1e-9) // epoch    # epochs they lie in
        inside = first == last
        usual = {number: float(np.median(jumps[inside & (first == number)])) for number in np.unique(first[inside])}

        before = np.searchsorted(steps, borders, side="right")     # lines that end before the border
        after = np.searchsorted(begins, borders, side="left")      # the first line that begins after it; one may lie across
        known = np.array([number in usual for number in range(len(borders))])    # the epoch before
        whole = known & (before >= size) & (after + size <= len(steps))
        before, after, numbers = before[whole], after[whole], np.arange(len(borders))[whole]
        level = (sums[before] - sums[before - size]) / size
        across = (sums[after + size] - sums[after]) / size - level
        return cls(
            borders[whole],
            across - np.array([usual[number] for number in numbers]),
            level,
            jumps[inside] - np.array([usual[number] for number in first[inside]]),
            steps[middle[inside] + size - 1],
            size,
        )

    def noise(self, borders: int) -> float:
        """Standard deviation of the jumps inside, up to a border; where little is seen little is known: it is raised."""
        seen = np.abs(self.residuals[self.residual_ends <= self.borders[borders - 1]])
        if len(seen) < 4:
            return math.inf
        return 1.4826 * float(np.median(seen)) * (1 + 3 * 2 * self.window / len(seen))    # jumps that share lines count once
