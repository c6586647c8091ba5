"""Means that give every list the same say: first inside a list, then over the lists that have something to compare.

A mean over all pairs of a batch would hand a list of 900 pairs 99 % of the gradient of a list of 9.
"""

from __future__ import annotations

import torch
from torch import Tensor


def real_only(scores: Tensor, labels: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """fp32 (or fp64) scores and labels [B, L] with 0 on padding, whatever stood there, NaN included."""
    dtype = torch.promote_types(scores.dtype, torch.float32)
    return scores.to(dtype).masked_fill(~mask, 0.0), labels.to(dtype).masked_fill(~mask, 0.0)


def mean_inside(values: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted mean of each list, and which lists have any weight.

    Args:
        values: [B, ...], finite wherever the weight is positive.
        weights: [B, ...], boolean or >= 0.

    Returns:
        means [B], 0 where a list has no weight; usable [B] bool.
    """
    weights = weights.to(values.dtype).flatten(1)                    # [B, M]
    total = weights.sum(1)                                           # [B]
    weighted = (values.flatten(1).masked_fill(weights == 0, 0.0) * weights).sum(1)    # [B]
    usable = total > 0
    return weighted / total.masked_fill(~usable, 1.0), usable


def mean_over(per_list: Tensor, usable: Tensor) -> Tensor:
    """Mean of [B] over the usable lists; a differentiable 0 when there is none."""
    return per_list.masked_fill(~usable, 0.0).sum() / usable.sum().clamp(min=1)


def mean_over_lists(values: Tensor, where: Tensor) -> Tensor:
    """The mean inside each list, then over the lists that have a `where`."""
    return mean_over(*mean_inside(values, where))
