"""Pairwise care for the head, listwise order for the whole list: the loss this project was started for."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from headtail.errors import ConfigError, unknown_name
from headtail.losses.listwise import softmax_per_list
from headtail.losses.pairwise import PHIS, better_pairs, pair_margins, phi_at_zero
from headtail.losses.reduce import mean_inside, mean_over, real_only

HEADS_BY = ("scores", "labels", "union", "initial", "disjoint")
WEIGHTS = ("none", "labels", "ndcg")


class HybridParts(NamedTuple):
    """The two parts of the hybrid for the log; each is 1 for an untrained ranker."""

    head: Tensor                # scalar
    whole: Tensor               # scalar
    lists_without_pair: int     # lists that gave the head nothing to compare
    lists_without_label: int    # lists that gave the whole no positive, or a single doc


def hybrid(
    scores: Tensor,
    labels: Tensor,
    mask: Tensor,
    *,
    alpha: float = 0.5,
    top_k: int = 5,
    head_by: str = "union",
    phi: str = "logistic",
    weights: str = "none",
    cap: str = "easy",
    cap_at: float = 3.0,
    margin: float = 1.0,
    gamma: float = 2.0,
    initial: Tensor | None = None,
) -> Tensor:
    """alpha * pairs that touch the head + (1 - alpha) * softmax over the list, each 1 at equal scores.

    Source: this project; its parts are RankNet (Burges et al., ICML 2005) and RankT5's softmax (arXiv 2210.10634).

    Args:
        scores: [B, L], any real number.
        labels: [B, L], graded relevance, higher is better.
        mask: [B, L] bool, False on padding.
        alpha: the head's share, 0 to 1; 0 is softmax / ln n, 1 with top_k >= L is pairwise_logistic / ln 2.
        top_k: docs in the head. Docs tied at the cut all belong to it, so that no order of the input decides.
        head_by: what chooses the head: "scores" the ranker's own first k, "labels" the k best by label, "union" both,
            "initial" the first stage's first k; "disjoint" takes the scores' head, compares pairs inside it only, and
            spreads the softmax over the docs outside it only.
        phi: cost of a pair: "logistic", "hinge" (`margin`), "capped" (`cap`, `cap_at`) or "focal" (`gamma`).
        weights: of a pair: "none", "labels" |y_i - y_j|, or "ndcg" the change of nDCG@top_k if the two swapped
            (docs with equal scores rank in the order given: none of their pairs would weigh anything otherwise).
        initial: [B, L] first-stage ranks from 0, for head_by="initial"; None is the order of the docs in the list.

    Returns:
        Scalar: each part is a mean over the lists that have it; a list of fewer than two docs has neither.
    """
    options = (alpha, top_k, head_by, phi, weights, cap, cap_at, margin, gamma, initial)
    head, whole, *_ = hybrid_parts(scores, labels, mask, *options)
    return alpha * head + (1 - alpha) * whole


def hybrid_parts(
    scores: Tensor,
    labels: Tensor,
    mask: Tensor,
    alpha: float = 0.5,
    top_k: int = 5,
    head_by: str = "union",
    phi: str = "logistic",
    weights: str = "none",
    cap: str = "easy",
    cap_at: float = 3.0,
    margin: float = 1.0,
    gamma: float = 2.0,
    initial: Tensor | None = None,
) -> HybridParts:
    """The hybrid's two parts before they are mixed, with the lists that lack one; options as in `hybrid`."""
    _check(alpha, top_k, head_by, phi, weights)
    mask = mask & (mask.sum(1, keepdim=True) >= 2)
    scores, labels = real_only(scores, labels, mask)
    head = head_docs(scores.detach(), labels, mask, top_k=top_k, head_by=head_by, initial=initial)    # [B, L]
    inside, outside = (head, mask & ~head) if head_by == "disjoint" else (mask, mask)

    pairs = better_pairs(labels, inside) & (head[:, :, None] | head[:, None, :])                      # [B, L, L]
    costs = PHIS[phi](pair_margins(scores), cap=cap, cap_at=cap_at, margin=margin, gamma=gamma)       # [B, L, L]
    pair_weights = pairs * _pair_weights(scores.detach(), labels, mask, weights, top_k)
    head_costs, has_pair = mean_inside(costs, pair_weights)                                           # [B]

    list_costs, has_label = softmax_per_list(scores, labels * outside, outside)                       # [B]
    docs = outside.sum(1)
    has_label = has_label & (docs >= 2)
    list_costs = list_costs / torch.log(docs.clamp(min=2).to(scores.dtype))
    return HybridParts(
        mean_over(head_costs, has_pair) / phi_at_zero(phi, margin=margin, gamma=gamma),
        mean_over(list_costs, has_label),
        int((~has_pair).sum()),
        int((~has_label).sum()),
    )


def head_docs(
    scores: Tensor, labels: Tensor, mask: Tensor, *, top_k: int, head_by: str, initial: Tensor | None = None
) -> Tensor:
    """[B, L] bool: which docs stand in the head; ties at the cut all do."""
    if head_by == "labels":
        return _top(labels, mask, top_k)
    if head_by == "union":
        return _top(scores, mask, top_k) | _top(labels, mask, top_k)
    if head_by == "initial":
        ranks = torch.arange(mask.shape[1], device=mask.device).expand_as(mask) if initial is None else initial
        return _top(-ranks.to(scores.dtype), mask, top_k)
    return _top(scores, mask, top_k)


def _top(values: Tensor, mask: Tensor, top_k: int) -> Tensor:
    values = values.masked_fill(~mask, float("-inf"))
    cut = values.topk(min(top_k, values.shape[1]), dim=1).values[:, -1:]    # [B, 1]
    return mask & (values >= cut)


def _pair_weights(scores: Tensor, labels: Tensor, mask: Tensor, weights: str, top_k: int) -> Tensor:
    """[B, L, L] >= 0; no gradient flows through it."""
    if weights == "labels":
        return pair_margins(labels).abs()
    if weights == "ndcg":
        return _ndcg_change(scores, labels, mask, top_k)
    return scores.new_ones(())


def _ndcg_change(scores: Tensor, labels: Tensor, mask: Tensor, top_k: int) -> Tensor:
    """|G_i - G_j| |d_i - d_j| / ideal DCG: the change of nDCG@top_k if docs i and j swapped places."""
    ranks = scores.masked_fill(~mask, float("-inf")).argsort(dim=1, descending=True, stable=True).argsort(dim=1) + 1
    discounts = (1 / torch.log2(1 + ranks.to(scores.dtype))) * (ranks <= top_k)                    # [B, L]
    gains = (2**labels.clamp(min=0) - 1) * mask                                                    # [B, L]
    places = torch.arange(2, 2 + min(top_k, gains.shape[1]), device=scores.device, dtype=scores.dtype)
    ideal = (gains.topk(len(places), dim=1).values / torch.log2(places)).sum(1).clamp(min=1e-9)    # [B]
    return pair_margins(gains).abs() * pair_margins(discounts).abs() / ideal[:, None, None]


def _check(alpha: float, top_k: int, head_by: str, phi: str, weights: str) -> None:
    for kind, name, known in (("head_by", head_by, HEADS_BY), ("phi", phi, PHIS), ("weights", weights, WEIGHTS)):
        if name not in known:
            raise ConfigError(unknown_name(kind, name, known))
    if not 0 <= alpha <= 1 or top_k < 1:
        raise ConfigError(f"hybrid: expected 0 <= alpha <= 1 and top_k >= 1, found alpha={alpha}, top_k={top_k}")
