"""Losses on two docs of a list whose labels differ, and what they are made of: PHIS, the cost of one pair's margin."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from headtail.errors import ConfigError, unknown_name
from headtail.losses.pairs import Pairs
from headtail.losses.reduce import Loss, expect, mean_inside, real_teacher

CAPS = ("easy", "both")
Phi = Callable[..., Tensor]


def cap_margins(margins: Tensor, cap: str | None, cap_at: float) -> Tensor:
    """Bend margins towards +-cap_at by tanh, so that an easy pair earns no more for being driven further apart.

    "easy" bends only pairs already in the right order; "both" bends the worst mistakes as well, and with them their
    gradient (.005 of a logistic pair's at a margin of -10): it is here to repeat what was done before.
    """
    if cap is None:
        expect(cap_at == 3.0, "cap_at beside a cap, 'easy' or 'both'", cap_at=cap_at, cap=cap)
        return margins
    if cap not in CAPS:
        raise ConfigError(unknown_name("cap", str(cap), CAPS))
    expect(cap_at > 0, "cap_at > 0", cap_at=cap_at)
    bent = cap_at * torch.tanh(margins / cap_at)
    return bent if cap == "both" else torch.where(margins > 0, bent, margins)


def logistic(margins: Tensor, **_: object) -> Tensor:
    """log(1 + exp(-d))."""
    return F.softplus(-margins)


def hinge_phi(margins: Tensor, *, margin: float = 1.0, **_: object) -> Tensor:
    """max(0, margin - d)."""
    expect(margin > 0, "margin > 0", margin=margin)
    return F.relu(margin - margins)


def focal_phi(margins: Tensor, *, gamma: float = 2.0, **_: object) -> Tensor:
    """(1 - sigma(d))^gamma log(1 + exp(-d)); Lin et al., ICCV 2017."""
    expect(gamma >= 0, "gamma >= 0", gamma=gamma)
    return torch.exp(-gamma * F.softplus(margins)) * F.softplus(-margins)


PHIS: dict[str, Phi] = {
    "logistic": logistic,
    "hinge": hinge_phi,
    "focal": focal_phi,
    "capped": logistic,    # of margins that are bent: its cap is never None
}


def phi_at_zero(phi: str, *, margin: float = 1.0, gamma: float = 2.0) -> float:
    """The cost of a pair with equal scores: what an untrained ranker pays."""
    return {"hinge": margin, "focal": math.log(2) * math.pow(0.5, gamma)}.get(phi, math.log(2))


def over_pairs(
    scores: Tensor, labels: Tensor, mask: Tensor, phi: Phi, *, cap: str | None, cap_at: float, **options: float
) -> tuple[Tensor, Tensor]:
    """The mean cost of each list's pairs [B], and which lists have a pair [B]."""
    pairs = Pairs.better(labels, mask)
    return mean_inside(phi(cap_margins(pairs.margins(scores), cap, cap_at), **options), pairs.weights)


@Loss
def pairwise_logistic(
    scores: Tensor, labels: Tensor, mask: Tensor, *, cap: str | None = None, cap_at: float = 3.0
) -> tuple[Tensor, Tensor]:
    """Logistic loss on every two docs of a list whose labels differ (RankNet).

    Source: Burges et al., "Learning to Rank using Gradient Descent", ICML 2005.

    Args:
        scores: [B, L], any real number.
        labels: [B, L], graded relevance, higher is better.
        mask: [B, L] bool, False on padding.
        cap: None, "easy" or "both": see `cap_margins`.
        cap_at: the margin that counts as easy enough, in logits.

    Returns:
        Mean over the pairs of a list, then over the lists that have a pair; 0 if none has.
    """
    return over_pairs(scores, labels, mask, logistic, cap=cap, cap_at=cap_at)


@Loss
def hinge(
    scores: Tensor, labels: Tensor, mask: Tensor, *, margin: float = 1.0, cap: str | None = None, cap_at: float = 3.0
) -> tuple[Tensor, Tensor]:
    """max(0, margin - difference) on every two docs of a list whose labels differ: a pair far enough apart costs nothing.

    Source: Herbrich et al., "Large margin rank boundaries for ordinal regression", 2000; Joachims, KDD 2002.

    Args:
        scores: [B, L], any real number.
        labels: [B, L], graded relevance, higher is better.
        mask: [B, L] bool, False on padding.
        margin: the difference that is far enough, in logits.
        cap: None, "easy" or "both": see `cap_margins`.
        cap_at: the margin that counts as easy enough, in logits.

    Returns:
        Mean over the pairs of a list, then over the lists that have a pair; 0 if none has.
    """
    return over_pairs(scores, labels, mask, hinge_phi, cap=cap, cap_at=cap_at, margin=margin)


@Loss
def margin_mse(
    scores: Tensor,
    labels: Tensor,
    mask: Tensor,
    *,
    teacher: Tensor | None = None,
    cap: str | None = None,
    cap_at: float = 3.0,
) -> tuple[Tensor, Tensor]:
    """Squared distance between the ranker's and a teacher's difference, on every two docs whose labels differ.

    Source: Hofstätter et al., "Improving Efficient Neural Ranking Models with Cross-Architecture Knowledge
    Distillation", arXiv 2010.02666.

    Args:
        scores: [B, L], any real number.
        labels: [B, L], graded relevance, higher is better.
        mask: [B, L] bool, False on padding.
        teacher: [B, L], the teacher's scores, on whatever scale the ranker is to learn.
        cap: None, "easy" or "both", on both differences alike: see `cap_margins`.
        cap_at: the margin that counts as easy enough, in logits.

    Returns:
        Mean over the pairs of a list, then over the lists that have a pair; 0 if none has.

    Raises:
        ConfigError: no teacher.
        HeadtailError: a teacher of another shape, or with a score that is NaN or infinite.
    """
    if teacher is None:
        raise ConfigError("loss 'margin_mse': expected a teacher's scores, found none; name a run of them: teacher of [[train]]")
    teacher = real_teacher(teacher, mask, scores.dtype)
    pairs = Pairs.better(labels, mask)
    wanted = cap_margins(pairs.margins(teacher), cap, cap_at)                # [B, M, L]
    return mean_inside((cap_margins(pairs.margins(scores), cap, cap_at) - wanted).square(), pairs.weights)
