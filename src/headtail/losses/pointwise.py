"""Losses that look at one doc at a time."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from headtail.losses.reduce import mean_over_lists, real_only


def bce(scores: Tensor, labels: Tensor, mask: Tensor, *, graded: bool = False) -> Tensor:
    """Binary cross-entropy of each score, read as a logit, against "relevant or not".

    Source: RankT5's PointCE, arXiv 2210.10634. Shifting all scores of a list changes it, unlike every other loss here.

    Args:
        scores: [B, L], any real number.
        labels: [B, L], graded relevance >= 0, higher is better.
        mask: [B, L] bool, False on padding.
        graded: targets y / (largest y of the list) in place of 1 where y > 0.

    Returns:
        Scalar: mean over the docs of a list, then over the lists with a positive; 0 if none has.
    """
    scores, labels = real_only(scores, labels, mask)
    highest = labels.amax(1, keepdim=True)                                   # [B, 1]
    targets = labels / highest.clamp(min=1e-9) if graded else (labels > 0).to(scores.dtype)    # [B, L]
    costs = F.binary_cross_entropy_with_logits(scores, targets.clamp(0, 1), reduction="none")    # [B, L]
    return mean_over_lists(costs, where=mask & (highest > 0))
