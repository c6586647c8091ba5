"""Losses that look at one doc at a time. Shifting all scores of a list changes them, unlike every other loss here."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from headtail.errors import ConfigError, unknown_name
from headtail.losses.pairwise import focal_phi, over_pairs
from headtail.losses.reduce import Loss, expect, mean_inside


@Loss
def bce(scores: Tensor, labels: Tensor, mask: Tensor, *, graded: bool = False) -> tuple[Tensor, Tensor]:
    """Binary cross-entropy of each score, read as a logit, against "relevant or not".

    Source: RankT5's PointCE, arXiv 2210.10634.

    Args:
        scores: [B, L], any real number.
        labels: [B, L], graded relevance, higher is better.
        mask: [B, L] bool, False on padding.
        graded: targets y / (largest y of the list) in place of 1 where y > 0.

    Returns:
        Mean over the docs of a list, then over the lists with a positive; 0 if none has.
    """
    expect(isinstance(graded, bool), "graded true or false", graded=repr(graded))
    costs = F.binary_cross_entropy_with_logits(scores, _targets(labels, graded), reduction="none")    # [B, L]
    return mean_inside(costs, mask & _has_positive(labels))


@Loss
def mse(scores: Tensor, labels: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Squared distance of each score from its label.

    Source: regression of relevance; Cossock & Zhang, COLT 2006.

    Args:
        scores: [B, L], any real number.
        labels: [B, L], graded relevance, higher is better.
        mask: [B, L] bool, False on padding.

    Returns:
        Mean over the docs of a list, then over the lists with a positive; 0 if none has.
    """
    return mean_inside((scores - labels).square(), mask & _has_positive(labels))


@Loss
def focal(
    scores: Tensor,
    labels: Tensor,
    mask: Tensor,
    *,
    on: str = "docs",
    gamma: float = 2.0,
    cap: str | None = None,
    cap_at: float = 3.0,
) -> tuple[Tensor, Tensor]:
    """Cross-entropy times (1 - p)^gamma, p the probability given to the truth: what is easy costs little.

    Source: Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017.

    Args:
        scores: [B, L], any real number.
        labels: [B, L], graded relevance, higher is better.
        mask: [B, L] bool, False on padding.
        on: "docs": is each doc relevant or not; "pairs": of two docs whose labels differ, the better one is above.
        gamma: 0 is `bce` on docs and `pairwise_logistic` on pairs.
        cap: on pairs: None, "easy" or "both", see `pairwise.cap_margins`.
        cap_at: the margin that counts as easy enough, in logits.

    Returns:
        Mean over the docs or pairs of a list, then over the lists with a positive or a pair; 0 if none has.

    Raises:
        ConfigError: another `on`; a cap on docs.
    """
    if on not in ("docs", "pairs"):
        raise ConfigError(unknown_name("on", on, ("docs", "pairs")))
    if on == "pairs":
        return over_pairs(scores, labels, mask, focal_phi, cap=cap, cap_at=cap_at, gamma=gamma)
    expect(cap is None and cap_at == 3.0, "cap and cap_at with on='pairs' alone", cap=cap, cap_at=cap_at, on=on)
    towards_truth = torch.where(labels > 0, scores, -scores)    # [B, L]
    return mean_inside(focal_phi(towards_truth, gamma=gamma), mask & _has_positive(labels))


def _targets(labels: Tensor, graded: bool) -> Tensor:
    if not graded:
        return (labels > 0).to(labels.dtype)
    return labels / labels.amax(1, keepdim=True).clamp(min=1e-9)


def _has_positive(labels: Tensor) -> Tensor:
    return labels.amax(1, keepdim=True) > 0    # [B, 1]
