"""What the losses that look at ranks share. No gradient flows through a rank.

Words of nDCG: gain G = 2^y - 1, discount 1 / log2(1 + rank), ranks from 1.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def ranks_of(scores: Tensor, mask: Tensor) -> Tensor:
    """[B, L] ranks from 1 under the scores; padding ranks behind every real doc, ties as they stand in the list."""
    order = scores.detach().masked_fill(~mask, float("-inf")).argsort(dim=1, descending=True, stable=True)
    return order.argsort(dim=1) + 1


def gains_of(labels: Tensor) -> Tensor:
    """[B, L] (2^y - 1) / 2^(largest y of the list): nDCG is a ratio, and so a label of 200 stays a number."""
    largest = labels.amax(1, keepdim=True)
    return -torch.exp2(labels - largest) * torch.expm1(-labels * math.log(2))    # 2^(y - max) (1 - 2^-y): exact for small y


def discount(ranks: Tensor, dtype: torch.dtype) -> Tensor:
    """1 / log2(1 + rank), which may be fractional."""
    return 1 / torch.log2(1 + ranks.to(dtype))


def ideal_dcg(gains: Tensor, top_k: int | None = None) -> Tensor:
    """[B]: the DCG of the best order, over its first `top_k` ranks or all; at least 1e-9, so that it can divide."""
    depth = gains.shape[1] if top_k is None else min(top_k, gains.shape[1])
    places = torch.arange(1, depth + 1, device=gains.device)
    return (gains.topk(depth, dim=1).values * discount(places, gains.dtype)).sum(1).clamp(min=1e-9)


def top(values: Tensor, mask: Tensor, top_k: int) -> Tensor:
    """[B, L] bool: docs with fewer than `top_k` docs above them; those tied at the cut all count."""
    values = values.masked_fill(~mask, float("-inf"))
    cut = values.topk(min(top_k, values.shape[1]), dim=1).values[:, -1:]    # [B, 1]
    return mask & (values >= cut)
