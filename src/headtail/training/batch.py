"""Lists of any length as one batch, of which each process scores its share of every small batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from headtail.data.batching import PairBatch, pair_batches
from headtail.models.precision import autocast, body_dtype
from headtail.models.ranker import CHUNK
from headtail.records import RankedList
from headtail.training.world import World

ALONE = World()


class Scorer(Protocol):
    """What training asks of a ranker: see `models.ranker.Ranker`."""

    tokenizer: Any
    max_length: int

    @property
    def device(self) -> torch.device:
        """Where its weights are."""

    def __call__(self, **inputs: Tensor) -> Tensor:
        """Token ids [N, T] -> scores [N]."""


@dataclass(frozen=True, slots=True)
class ListBatch:
    """B lists as one batch: labels and mask [B, L], and this process's share of their N real pairs, sorted by length."""

    lists: Sequence[RankedList]
    labels: Tensor
    mask: Tensor
    pairs: list[PairBatch]
    order: Tensor = field(repr=False)    # [size * M] place in the flattened [B, L] of each score gathered; B * L: of none
    tokens: int                          # real tokens of all processes
    more: Mapping[str, Tensor] = field(default_factory=dict)    # what a loss takes besides: {"teacher": [B, L]} with a teacher

    def lay_out(self, gathered: Tensor) -> Tensor:
        """Scores [size * M] as they were gathered -> [B, L], 0 on padding."""
        places = torch.zeros(self.mask.numel() + 1, dtype=gathered.dtype, device=gathered.device)
        return places.index_copy(0, self.order, gathered)[:-1].view_as(self.mask)


def build_batch(ranker: Scorer, lists: Sequence[RankedList], token_budget: int, world: World = ALONE) -> ListBatch:
    """Lay out lists of any length; only real docs are scored, so padding a list costs nothing.

    Args:
        token_budget: tokens of one forward pass of one process, padding included.
    """
    labels, mask, more = stack_lists(lists)
    width = mask.shape[1]
    places = [row * width + column for row, ranked in enumerate(lists) for column in range(len(ranked.docs))]
    batches = pair_batches(
        ranker.tokenizer,
        [ranked.query.text for ranked in lists for _ in ranked.docs],
        [doc.text for ranked in lists for doc in ranked.docs],
        max_length=ranker.max_length,
        token_budget=token_budget * world.size,
    )
    shares = [[_share(batch, rank, world.size, mask.numel(), places) for batch in batches] for rank in range(world.size)]
    order = torch.tensor([place for share in shares for _, found in share for place in found])
    tokens = sum(int(batch.inputs["attention_mask"].sum()) for batch in batches)
    own, to = [pairs for pairs, _ in shares[world.rank]], ranker.device
    more = {name: values.to(to) for name, values in more.items()}
    return ListBatch(lists, labels.to(to), mask.to(to), own, order.to(to), tokens, more)


def _share(batch: PairBatch, rank: int, size: int, nowhere: int, places: Sequence[int]) -> tuple[PairBatch, list[int]]:
    """Every `size`-th row of a batch and where their scores belong.

    Each process gets as many rows: the last row stands in for those that are missing, and its score goes nowhere.
    """
    if size == 1:
        return batch, [places[row] for row in batch.rows]
    count = -(-len(batch.rows) // size)
    own = [rank + size * turn for turn in range(count)]
    kept = [min(row, len(batch.rows) - 1) for row in own]
    found = [places[batch.rows[row]] if row < len(batch.rows) else nowhere for row in own]
    return PairBatch(tuple(batch.rows[row] for row in kept), {name: ids[kept] for name, ids in batch.inputs.items()}), found


def stack_lists(lists: Sequence[RankedList]) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Labels and mask [B, L] of lists of any length; with a teacher also its scores [B, L] as "teacher"."""
    def rows(values: Iterable[Sequence[float]]) -> Tensor:
        return nn.utils.rnn.pad_sequence([torch.tensor(row) for row in values], batch_first=True)

    labels, mask = rows(ranked.labels for ranked in lists), rows([1.0] * len(ranked.docs) for ranked in lists).bool()
    taught = [ranked.teacher for ranked in lists if ranked.teacher is not None]
    return labels, mask, {"teacher": rows(taught)} if len(taught) == len(lists) else {}


class Shared:
    """Scores pairs of texts with all processes: each its share, every one gets all scores. Alone it is the ranker itself.

    Args:
        ranker: as it is after `World.wrap`.
    """

    def __init__(self, ranker: Any, world: World) -> None:
        self.ranker, self.world = ranker, world

    def score(
        self,
        pairs: Sequence[tuple[str, str]],
        *,
        token_budget: int = 2048,
        precision: str = "auto",
        on_batch: Callable[[int], None] | None = None,
    ) -> Any:
        """See `models.ranker.Ranker.score`."""
        if self.world.size == 1:
            return self.ranker.score(pairs, token_budget=token_budget, precision=precision, on_batch=on_batch)
        scores = np.empty(len(pairs), dtype=np.float32)
        was_training = self.ranker.training
        self.ranker.eval()
        for start in range(0, len(pairs), CHUNK):
            rows, values = self._chunk(pairs[start : start + CHUNK], token_budget, precision)
            scores[rows + start] = values
            if on_batch is not None:
                on_batch(len(rows))
        self.ranker.train(was_training)
        self.world.let_go(self.ranker)
        return scores

    @torch.no_grad()
    def _chunk(self, pairs: Sequence[tuple[str, str]], token_budget: int, precision: str) -> tuple[Any, Any]:
        device, size, count = self.ranker.device, self.world.size, len(pairs)
        batches = pair_batches(
            self.ranker.tokenizer,
            [query for query, _ in pairs],
            [doc for _, doc in pairs],
            max_length=self.ranker.max_length,
            token_budget=token_budget * size,
        )
        shares = [[_share(batch, rank, size, count, range(count)) for batch in batches] for rank in range(size)]
        scores = []
        for batch, _ in shares[self.world.rank]:
            with autocast(body_dtype(precision, device), device):
                scores.append(self.ranker(**{name: ids.to(device) for name, ids in batch.inputs.items()}))
        gathered = self.world.gather(torch.cat(scores)).cpu().numpy()
        places = np.array([place for share in shares for _, found in share for place in found])
        return places[places < count], gathered[places < count]
