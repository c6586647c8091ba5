"""Several sources of lists as one endless stream, whose order is a pure function of (seed, position).

No order is ever held in memory: where a position lies is computed, so a stream of any length begins anywhere at once.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import accumulate, count
from random import Random
from typing import NamedTuple

from headtail.data.lists import TrainingLists
from headtail.data.permutation import permuted
from headtail.errors import ConfigError
from headtail.records import RankedList, Run

BLOCK = 1000    # positions within which weighted sources have their exact shares


class Place(NamedTuple):
    """Which list stands at a position: list `item` of a source, as that source draws it in its `epoch`."""

    source: int
    item: int
    epoch: int


class Repeated:
    """Source s stands `repeats[s]` times in an epoch, its lists drawn anew each time; the order is over all of them."""

    def __init__(self, sizes: Sequence[int], repeats: Sequence[int], seed: int) -> None:
        self.sizes, self.repeats, self.seed = sizes, repeats, seed
        self._ends = list(accumulate(size * repeat for size, repeat in zip(sizes, repeats, strict=True)))

    def __len__(self) -> int:
        return self._ends[-1]

    def place(self, position: int) -> Place:
        """The place of a position, counted from 0 through all epochs."""
        epoch, position = divmod(position, len(self))
        entry = permuted(position, len(self), f"{self.seed}:{epoch}")
        source = bisect_right(self._ends, entry)
        turn, item = divmod(entry - (self._ends[source - 1] if source else 0), self.sizes[source])
        return Place(source, item, epoch * self.repeats[source] + turn)


class Weighted:
    """Of each 1,000 positions source s has `counts[s]`, shuffled among them, and walks through its own epochs in its own order.

    Its length is the positions in which each source has been walked through once at least, give or take the order of
    a block: the source that takes longest sets it, the others begin anew in the meantime.
    """

    def __init__(self, sizes: Sequence[int], weights: Sequence[float], seed: int) -> None:
        self.sizes, self.counts, self.seed = sizes, shares(weights), seed

    def __len__(self) -> int:
        return max(math.ceil(BLOCK * size / share) for size, share in zip(self.sizes, self.counts, strict=True))

    def place(self, position: int) -> Place:
        """The place of a position, counted from 0."""
        block, position = divmod(position, BLOCK)
        order = _block_order(self.counts, f"{self.seed}:{block}")
        source = order[position]
        walked = block * self.counts[source] + order[:position].count(source)
        epoch, step = divmod(walked, self.sizes[source])
        return Place(source, permuted(step, self.sizes[source], f"{self.seed}:{source}:{epoch}"), epoch)


def shares(weights: Sequence[float], total: int = BLOCK) -> tuple[int, ...]:
    """Weights in any unit -> counts that add up to `total`, by largest remainder, each at least 1.

    Raises:
        ConfigError: more weights than there are places, or one that is no finite number above 0.
    """
    if len(weights) > total or not all(0 < weight < math.inf for weight in weights):
        raise ConfigError(f"expected at most {total:,} weights, finite numbers above 0, found {list(weights)}")
    scaled = [weight / max(weights) for weight in weights]    # so that no sum overflows
    exact = [total * weight / sum(scaled) for weight in scaled]
    counts = [max(1, int(number)) for number in exact]
    most_lacking = sorted(range(len(counts)), key=lambda source: counts[source] - exact[source])
    for source in most_lacking[: max(0, total - sum(counts))]:
        counts[source] += 1
    while sum(counts) > total:    # the largest pay for those that were raised to 1
        counts[counts.index(max(counts))] -= 1
    return tuple(counts)


@lru_cache(maxsize=2)    # a stream asks for one block a thousand times
def _block_order(counts: tuple[int, ...], key: str) -> tuple[int, ...]:
    """The source of each position of a block."""
    order = [source for source, share in enumerate(counts) for _ in range(share)]
    Random(key).shuffle(order)
    return tuple(order)


class MixedLists:
    """The lists of several sources as one stream.

    Args:
        sources: each with the times it stands in an epoch (`Repeated`).
        weights: instead of these times, the share of the lists that each source gives, in any unit (`Weighted`).

    Raises:
        ConfigError: weights that make no shares, or beside sources that are repeated.
    """

    def __init__(
        self, sources: Sequence[tuple[TrainingLists, int]], *, seed: int = 0, weights: Sequence[float] | None = None
    ) -> None:
        self.sources = [source for source, _ in sources]
        sizes, repeats = [len(source) for source in self.sources], [repeat for _, repeat in sources]
        if weights is not None and (len(weights) != len(sources) or any(repeat != 1 for repeat in repeats)):
            raise ConfigError(f"expected a weight for each source and no repeat, found {list(weights)} and repeat={repeats}")
        self.mix = Repeated(sizes, repeats, seed) if weights is None else Weighted(sizes, weights, seed)

    def __len__(self) -> int:
        return len(self.mix)

    @property
    def without_positive(self) -> int:
        """Queries that make no list since nothing is relevant to them."""
        return sum(source.without_positive for source in self.sources)

    @property
    def left_out(self) -> int:
        """Candidates that the margin left out, for fear that they are relevant."""
        return sum(source.left_out for source in self.sources)

    def stream(self, start: int = 0) -> Iterator[RankedList]:
        """Epoch after epoch without end, from the `start`-th list on; beginning late costs nothing."""
        for position in count(start):
            place = self.mix.place(position)
            yield self.sources[place.source].get(place.item, place.epoch)

    def windows(self, start: int = 0, length: int | None = None) -> list[Run]:
        """For each source what a ranker has to order before `refresh`: all of it, or what `length` lists from `start` on need."""
        if length is None:
            return [source.window() for source in self.sources]
        wanted: list[set[int]] = [set() for _ in self.sources]
        for position in range(start, start + length):
            place = self.mix.place(position)
            wanted[place.source].add(place.item)
        return [source.window(sorted(indices)) for source, indices in zip(self.sources, wanted, strict=True)]

    def refresh(self, runs: Sequence[Run], depth: tuple[int, int]) -> None:
        """Give each source its own run of `windows`, ordered anew; see `TrainingLists.refresh`."""
        for source, run in zip(self.sources, runs, strict=True):
            source.refresh(run, depth)
