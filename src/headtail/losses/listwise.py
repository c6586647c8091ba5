"""Losses on a whole list at once."""

from __future__ import annotations

import torch
from torch import Tensor

from headtail.losses.reduce import mean_over, real_only


def softmax_per_list(scores: Tensor, labels: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy of each list's softmax against its labels scaled to sum to 1.

    Args:
        scores, labels, mask: [B, L], already 0 on padding.

    Returns:
        costs [B], 0 where a list has no positive; usable [B] bool.
    """
    floor = torch.finfo(scores.dtype).min
    log_share = torch.log_softmax(scores.masked_fill(~mask, floor), dim=1)    # [B, L]
    gains = labels.clamp(min=0)
    total = gains.sum(1)                                                      # [B]
    usable = total > 0
    targets = gains / total.masked_fill(~usable, 1.0)[:, None]                # [B, L]
    return -(targets * log_share.masked_fill(~mask, 0.0)).sum(1), usable


def softmax(scores: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
    """Softmax cross-entropy over the docs of a list: -sum_i (y_i / sum_j y_j) log softmax(s)_i.

    Source: RankT5, arXiv 2210.10634; TF-Ranking's softmax loss. The labels are scaled, not put through a softmax as
    ListNet does: with 36 docs and one positive ListNet gives that positive .072 of the target and pushes it *down*
    once it leads by 3.

    Args:
        scores: [B, L], any real number.
        labels: [B, L], graded relevance, higher is better; below 0 counts as 0.
        mask: [B, L] bool, False on padding.

    Returns:
        Scalar: mean over the lists with a positive; 0 if none has.
    """
    scores, labels = real_only(scores, labels, mask)
    return mean_over(*softmax_per_list(scores, labels, mask))
