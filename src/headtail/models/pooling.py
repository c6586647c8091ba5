"""From the hidden states of a pair to one vector: POOLINGS, name -> function.

Each takes hidden [N, T, D] and attention_mask [N, T] (1 on real tokens) and gives [N, D]. Where padding stands, left or
right, is read from the mask. All but `mean` give the same vector however much padding a batch holds.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def first(hidden: Tensor, attention_mask: Tensor) -> Tensor:
    """The first real token: [CLS] for BERT, the template's first word piece for T5 (RankT5's choice)."""
    index = attention_mask.long().argmax(dim=1)    # [N]  argmax gives the first of equals
    return hidden[torch.arange(len(hidden), device=hidden.device), index]


def last(hidden: Tensor, attention_mask: Tensor) -> Tensor:
    """The last real token: </s> for T5, [SEP] for BERT."""
    behind = attention_mask.long().flip(1).argmax(dim=1)    # [N]  padding behind the last real token
    return hidden[torch.arange(len(hidden), device=hidden.device), hidden.shape[1] - 1 - behind]


def mean(hidden: Tensor, attention_mask: Tensor) -> Tensor:
    """The plain mean over all T positions, padding included: what one gets by forgetting the mask.

    It depends on the batch, so it is here to be compared with, not to be saved.
    """
    return hidden.mean(dim=1)


def masked_mean(hidden: Tensor, attention_mask: Tensor) -> Tensor:
    """The mean over the real tokens."""
    weights = attention_mask.unsqueeze(-1).expand(hidden.size()).to(hidden.dtype)    # [N, T, D]
    return torch.sum(hidden * weights, 1) / torch.clamp(weights.sum(1), min=1e-9)


POOLINGS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "first": first,
    "last": last,
    "mean": mean,
    "masked_mean": masked_mean,
}
