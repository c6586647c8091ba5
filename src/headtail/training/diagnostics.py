"""What a log line tells besides the loss: functions from tensors to named numbers."""

from __future__ import annotations

from torch import Tensor


def separation(scores: Tensor, labels: Tensor, mask: Tensor) -> dict[str, float]:
    """How far positives stand above negatives of their own list, in logits, and how often they stand below.

    Args:
        scores, labels, mask: [B, L].

    Returns:
        separation: mean of s_i - s_j over the pairs of a list with y_i > y_j, then over lists with a pair;
        wrong_pairs: share of those pairs in the wrong order, averaged the same way; both NaN where no list has a pair.
    """
    better = (labels[:, :, None] > labels[:, None, :]) & mask[:, :, None] & mask[:, None, :]    # [B, L, L]
    margins = scores.masked_fill(~mask, 0.0)[:, :, None] - scores.masked_fill(~mask, 0.0)[:, None, :]
    counts = better.sum((1, 2))                                                                 # [B]
    usable = counts > 0
    if not usable.any():
        return {"separation": float("nan"), "wrong_pairs": float("nan")}
    apart = (margins * better).sum((1, 2))[usable] / counts[usable]
    wrong = ((margins <= 0) & better).sum((1, 2))[usable] / counts[usable]
    return {"separation": apart.mean().item(), "wrong_pairs": wrong.mean().item()}
