"""Pairwise care for the head, listwise order for the whole list: the losses this project was started for."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from headtail.errors import ConfigError, unknown_name
from headtail.losses.listwise import has_target, label_order, plackett_luce, softmax
from headtail.losses.pairs import Pairs
from headtail.losses.pairwise import PHIS, cap_margins, phi_at_zero
from headtail.losses.ranks import discount, gains_of, ideal_dcg, ranks_of, top
from headtail.losses.reduce import check_shapes, check_top_k, expect, mean_inside, mean_over, real_only

HEADS_BY = ("scores", "labels", "union", "initial", "disjoint")
WEIGHTS = ("none", "labels", "ndcg")


class HybridParts(NamedTuple):
    """The two parts of a head and tail loss; each is 1 for an untrained ranker."""

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
    cap: str | None = None,
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
        top_k: docs in the head; of a shorter list, all. Docs tied at the cut all belong to it, so that no order of the
            input decides.
        head_by: what chooses the head: "scores" the ranker's own first k, "labels" the k best by label, "union" both,
            "initial" the first stage's first k; "disjoint" takes the scores' head, compares pairs inside it only, and
            spreads the softmax over the docs outside it only.
        phi: cost of a pair: "logistic", "hinge" (`margin`), "focal" (`gamma`), or "capped": logistic with cap="easy".
        weights: of a pair: "none", "labels" |y_i - y_j|, or "ndcg" the change of nDCG@top_k if the two swapped
            (docs with equal scores rank in the order given: none of their pairs would weigh anything otherwise).
        cap: None, "easy" or "both", for any phi: see `pairwise.cap_margins`.
        cap_at: the margin that counts as easy enough, in logits.
        margin: the difference that is far enough for "hinge", in logits.
        gamma: how little an easy pair costs, for "focal".
        initial: [B, L] first-stage ranks from 0, for head_by="initial"; None is the order of the docs in the list.

    Returns:
        Scalar: each part is a mean over the lists that have it, 0 where none has; a list of fewer than two docs has
        neither.

    Raises:
        ConfigError: an option that means nothing, or nothing beside the others.
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
    cap: str | None = None,
    cap_at: float = 3.0,
    margin: float = 1.0,
    gamma: float = 2.0,
    initial: Tensor | None = None,
) -> HybridParts:
    """The hybrid's two parts before they are mixed, with the lists that lack one; options as in `hybrid`.

    Takes O(B M L) memory, M the docs of the longest head: pairs outside the head are never formed.
    """
    _check(alpha, top_k)
    _check_choices(head_by=head_by, phi=phi, weights=weights)
    expect(phi == "hinge" or margin == 1.0, "margin with phi='hinge' alone", margin=margin, phi=phi)
    expect(phi == "focal" or gamma == 2.0, "gamma with phi='focal' alone", gamma=gamma, phi=phi)
    if phi == "capped" and cap is None:
        cap = "easy"
    scores, labels = real_only(scores, labels, mask)
    head = head_docs(scores.detach(), labels, mask, top_k=top_k, head_by=head_by, initial=initial)    # [B, L]
    inside, outside = (head, mask & ~head) if head_by == "disjoint" else (mask, mask)

    pairs = Pairs.touching(head, labels, inside)
    margins = cap_margins(pairs.margins(scores), cap, cap_at)                                         # [B, M, L]
    costs = PHIS[phi](margins, margin=margin, gamma=gamma)
    weighed = pairs.weights * pair_weights(pairs, scores.detach(), labels, mask, weights, top_k)
    head_costs, has_pair = mean_inside(costs, weighed)                                                # [B]

    list_costs, has_label = softmax.per_list(scores, labels * outside, outside)                       # [B]
    list_costs = list_costs / log_docs(outside, scores.dtype)
    return HybridParts(
        mean_over(head_costs, has_pair) / phi_at_zero(phi, margin=margin, gamma=gamma),
        mean_over(list_costs, has_label),
        int((~has_pair).sum()),
        int((~has_label).sum()),
    )


def head_docs(
    scores: Tensor, labels: Tensor, mask: Tensor, *, top_k: int, head_by: str, initial: Tensor | None = None
) -> Tensor:
    """[B, L] bool: which docs stand in the head; ties at the cut all do.

    By label, docs of the list's lowest label stay out: where the cut falls among them every better doc is in the head
    already, and they would add no pair.
    """
    if head_by in ("labels", "union"):
        lowest = labels.masked_fill(~mask, float("inf")).amin(1, keepdim=True)
        by_label = top(labels, mask, top_k) & (labels > lowest)
        return by_label if head_by == "labels" else by_label | top(scores, mask, top_k)
    if head_by == "initial":
        ranks = torch.arange(mask.shape[1], device=mask.device).expand_as(mask) if initial is None else initial
        check_shapes(mask, initial=ranks)
        return top(-ranks.to(scores.dtype), mask, top_k)
    return top(scores, mask, top_k)


def pair_weights(
    pairs: Pairs, scores: Tensor, labels: Tensor, mask: Tensor, weights: str, top_k: int
) -> Tensor:
    """[B, M, L] >= 0; no gradient flows through it."""
    if weights == "labels":
        return pairs.differences(labels).abs()
    if weights == "ndcg":    # |G_i - G_j| |d_i - d_j| / ideal DCG
        ranks, gains = ranks_of(scores, mask), gains_of(labels)
        discounts = discount(ranks, scores.dtype) * (ranks <= top_k)
        ideal = ideal_dcg(gains, top_k)[:, None, None]
        return pairs.differences(gains).abs() * pairs.differences(discounts).abs() / ideal
    return scores.new_ones(())


def plackett_luce_head_tail(
    scores: Tensor,
    labels: Tensor,
    mask: Tensor,
    *,
    alpha: float = 0.5,
    top_k: int = 5,
    ties: Tensor | None = None,
) -> Tensor:
    """alpha * Plackett-Luce of the first k docs + (1 - alpha) * softmax over the rest, each 1 at equal scores.

    One probability model cut in two: P(order) = P(first k given all) P(rest given rest). The first k are those of the
    label order, docs of one label in an order drawn anew each time. It needs grades, or more than k positives: with one
    positive among docs labelled 0 the other k - 1 of the first k are docs drawn at random, pushed up like the positive,
    and no positive is left for the rest.

    Source: this project, on Xia et al., "Statistical Consistency of Top-k Ranking", NIPS 2009.

    Args:
        scores: [B, L], any real number.
        labels: [B, L], graded relevance, higher is better.
        mask: [B, L] bool, False on padding.
        alpha: the head's share, 0 to 1.
        top_k: docs in the head; of a shorter list, all.
        ties: [B, L], numbers that order docs of one label, smallest first; None draws them.

    Returns:
        Scalar: each part is a mean over the lists that have it (a positive among the first k, or behind them), 0 where
        none has; a list of fewer than two docs has neither.

    Raises:
        ConfigError: alpha outside 0 to 1, top_k below 1.
    """
    head, rest, *_ = plackett_luce_parts(scores, labels, mask, alpha, top_k, ties)
    return alpha * head + (1 - alpha) * rest


def plackett_luce_parts(
    scores: Tensor, labels: Tensor, mask: Tensor, alpha: float = 0.5, top_k: int = 5, ties: Tensor | None = None
) -> HybridParts:
    """The two parts before they are mixed; options as in `plackett_luce_head_tail`."""
    _check(alpha, top_k)
    scores, labels = real_only(scores, labels, mask)
    order = label_order(labels, mask, ties)
    costs = plackett_luce(scores, order, mask, top_k).sum(1)                                          # [B]
    untrained = plackett_luce(torch.zeros_like(scores), order, mask, top_k).sum(1)
    has_head = has_target(labels, mask)

    behind = torch.zeros_like(mask).scatter(1, order[:, top_k:], True) & mask                        # [B, L]
    rest_costs, has_rest = softmax.per_list(scores, labels * behind, behind)
    return HybridParts(
        mean_over(costs / untrained.clamp(min=1e-9), has_head),
        mean_over(rest_costs / log_docs(behind, scores.dtype), has_rest),
        int((~has_head).sum()),
        int((~has_rest).sum()),
    )


def log_docs(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """[B] ln n, what the softmax of an untrained ranker costs on n docs; ln 2 where there are fewer than two."""
    return torch.log(mask.sum(1).clamp(min=2).to(dtype))


def _check(alpha: float, top_k: int) -> None:
    expect(0 <= alpha <= 1, "0 <= alpha <= 1", alpha=alpha)
    check_top_k(top_k)


def _check_choices(**chosen: str) -> None:
    for kind, name in chosen.items():
        known = {"head_by": HEADS_BY, "phi": PHIS, "weights": WEIGHTS}[kind]
        if name not in known:
            raise ConfigError(unknown_name(kind, name, known))
