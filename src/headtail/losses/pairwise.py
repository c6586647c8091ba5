"""Losses on two docs of a list whose labels differ, and what they are made of: PHIS, the cost of one pair's margin."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from headtail.errors import ConfigError, unknown_name
from headtail.losses.reduce import mean_over_lists, real_only

CAPS = ("easy", "both")


def pair_margins(scores: Tensor) -> Tensor:
    """[B, L] -> [B, L, L], s_i - s_j."""
    return scores[:, :, None] - scores[:, None, :]


def better_pairs(labels: Tensor, mask: Tensor) -> Tensor:
    """[B, L] -> [B, L, L] bool: both docs are real and y_i > y_j."""
    return (labels[:, :, None] > labels[:, None, :]) & mask[:, :, None] & mask[:, None, :]


def cap_margins(margins: Tensor, cap: str | None, cap_at: float) -> Tensor:
    """Bend margins towards +-cap_at by tanh, so that an easy pair earns no more for being driven further apart.

    "easy" bends only pairs already in the right order; "both" bends the worst mistakes as well, and with them their
    gradient (.005 of a logistic pair's at a margin of -10): it is here to repeat what was done before.
    """
    if cap is None:
        return margins
    if cap not in CAPS:
        raise ConfigError(unknown_name("cap", str(cap), CAPS))
    bent = cap_at * torch.tanh(margins / cap_at)
    return bent if cap == "both" else torch.where(margins > 0, bent, margins)


def logistic(margins: Tensor, **_: object) -> Tensor:
    """log(1 + exp(-d))."""
    return F.softplus(-margins)


def hinge_phi(margins: Tensor, *, margin: float = 1.0, **_: object) -> Tensor:
    """max(0, margin - d)."""
    return F.relu(margin - margins)


def focal_phi(margins: Tensor, *, gamma: float = 2.0, **_: object) -> Tensor:
    """(1 - sigma(d))^gamma log(1 + exp(-d)); Lin et al., ICCV 2017, on pairs."""
    return torch.exp(-gamma * F.softplus(margins)) * F.softplus(-margins)


def capped_phi(margins: Tensor, *, cap: str = "easy", cap_at: float = 3.0, **_: object) -> Tensor:
    """The logistic cost of a margin bent by tanh."""
    return F.softplus(-cap_margins(margins, cap, cap_at))


PHIS: dict[str, Callable[..., Tensor]] = {
    "logistic": logistic,
    "hinge": hinge_phi,
    "capped": capped_phi,
    "focal": focal_phi,
}


def phi_at_zero(phi: str, *, margin: float = 1.0, gamma: float = 2.0) -> float:
    """The cost of a pair with equal scores: what an untrained ranker pays."""
    return {"hinge": margin, "focal": math.log(2) * math.pow(0.5, gamma)}.get(phi, math.log(2))


def pairwise_logistic(
    scores: Tensor, labels: Tensor, mask: Tensor, *, cap: str | None = None, cap_at: float = 3.0
) -> Tensor:
    """Logistic loss on every two docs of a list whose labels differ (RankNet).

    Source: Burges et al., "Learning to Rank using Gradient Descent", ICML 2005.

    Args:
        scores: [B, L], any real number.
        labels: [B, L], graded relevance, higher is better.
        mask: [B, L] bool, False on padding.
        cap: None, "easy" or "both": see `cap_margins`.
        cap_at: the margin that counts as easy enough, in logits.

    Returns:
        Scalar: mean over the pairs of a list, then over the lists that have a pair; 0 if none has.
    """
    scores, labels = real_only(scores, labels, mask)
    margins = cap_margins(pair_margins(scores), cap, cap_at)                 # [B, L, L]
    return mean_over_lists(F.softplus(-margins), where=better_pairs(labels, mask))
