"""Losses on a whole list at once."""

from __future__ import annotations

import torch
from torch import Tensor

from headtail.errors import ConfigError, unknown_name
from headtail.losses.pairs import Pairs, places_of
from headtail.losses.pairwise import cap_margins, logistic
from headtail.losses.ranks import discount, gains_of, ideal_dcg, ranks_of
from headtail.losses.reduce import Loss, check_shapes, check_top_k, expect

LAMBDAS = ("lambdarank", "ndcg_loss2", "ndcg_loss2++")


def log_shares(scores: Tensor, mask: Tensor) -> Tensor:
    """[B, L] log softmax over the real docs, 0 on padding."""
    floor = torch.finfo(scores.dtype).min
    return torch.log_softmax(scores.masked_fill(~mask, floor), dim=1).masked_fill(~mask, 0.0)


def label_shares(labels: Tensor) -> Tensor:
    """Labels [B, L] scaled to sum to 1; 0 where a list has no positive."""
    total = labels.sum(1, keepdim=True)
    return labels / total.masked_fill(total == 0, 1.0)


def has_target(labels: Tensor, mask: Tensor) -> Tensor:
    """[B] bool: lists with a positive, and another doc for it to beat."""
    return (labels.amax(1) > 0) & (mask.sum(1) >= 2)


@Loss
def softmax(scores: Tensor, labels: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Softmax cross-entropy over the docs of a list: -sum_i (y_i / sum_j y_j) log softmax(s)_i.

    Source: RankT5, arXiv 2210.10634; TF-Ranking's softmax loss. The labels are scaled, not put through a softmax as
    ListNet does: with 36 docs and one positive ListNet gives that positive .072 of the target and pushes it *down*
    once it leads by 3.

    Args:
        scores: [B, L], any real number.
        labels: [B, L], graded relevance, higher is better.
        mask: [B, L] bool, False on padding.

    Returns:
        Mean over the lists of two docs or more with a positive; 0 if there is none.
    """
    return -(label_shares(labels) * log_shares(scores, mask)).sum(1), has_target(labels, mask)


@Loss
def poly1(scores: Tensor, labels: Tensor, mask: Tensor, *, epsilon: float = 1.0) -> tuple[Tensor, Tensor]:
    """softmax + epsilon (1 - p), p the softmax's probability of the targets: a positive near the top is pushed on.

    Source: Leng et al., "PolyLoss", ICLR 2022; RankT5, arXiv 2210.10634.

    Args:
        scores: [B, L], any real number.
        labels: [B, L], graded relevance, higher is better.
        mask: [B, L] bool, False on padding.
        epsilon: weight of the added term; 0 is `softmax`.

    Returns:
        Mean over the lists of two docs or more with a positive; 0 if there is none.
    """
    targets, logs = label_shares(labels), log_shares(scores, mask)
    hit = (targets * logs.exp()).sum(1)
    return -(targets * logs).sum(1) + epsilon * (1 - hit), has_target(labels, mask)


@Loss
def listnet(scores: Tensor, labels: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """-sum_i softmax(y)_i log softmax(s)_i: for graded labels read as scores, not for one positive a list.

    Source: Cao et al., "Learning to rank: from pairwise approach to listwise approach", ICML 2007 (top-one
    probabilities). It is not RankT5's softmax: see `softmax`.

    Args:
        scores: [B, L], any real number.
        labels: [B, L], graded relevance, higher is better.
        mask: [B, L] bool, False on padding.

    Returns:
        Mean over the lists of two docs or more with a positive; 0 if there is none.
    """
    targets = log_shares(labels, mask).exp() * mask
    return -(targets * log_shares(scores, mask)).sum(1), has_target(labels, mask)


def label_order(labels: Tensor, mask: Tensor, ties: Tensor | None) -> Tensor:
    """[B, L] docs by label, best first, padding last; docs of one label in the order of `ties`, by default random."""
    ties = torch.rand(labels.shape, device=labels.device) if ties is None else ties
    check_shapes(mask, ties=ties)
    shuffled = ties.argsort(dim=1)
    keys = labels.masked_fill(~mask, -1.0).gather(1, shuffled)
    return shuffled.gather(1, keys.argsort(dim=1, descending=True, stable=True))


def plackett_luce(scores: Tensor, order: Tensor, mask: Tensor, top_k: int | None) -> Tensor:
    """[B, L]: -log of each factor of the order's probability, at the place of its doc in `order`; 0 from top_k on."""
    floor = torch.finfo(scores.dtype).min
    highest = scores.detach().masked_fill(~mask, floor).amax(1, keepdim=True)    # near it fp32 resolves differences best
    placed = (scores - highest).masked_fill(~mask, floor).gather(1, order)
    remaining = placed.flip(1).logcumsumexp(1).flip(1)    # log of what was left to choose from at each place
    real = mask.gather(1, order)
    if top_k is not None:
        real = real & (torch.arange(real.shape[1], device=real.device) < top_k)
    return (remaining - placed).masked_fill(~real, 0.0)


@Loss
def list_mle(
    scores: Tensor, labels: Tensor, mask: Tensor, *, top_k: int | None = None, ties: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """-log of the Plackett-Luce probability of the label order, docs of one label in an order drawn anew each time.

    Source: Xia et al., "Listwise approach to learning to rank", ICML 2008; top-k: Xia et al., NIPS 2009.

    Args:
        scores: [B, L], any real number.
        labels: [B, L], graded relevance, higher is better.
        mask: [B, L] bool, False on padding.
        top_k: only the first k factors; None is all of them.
        ties: [B, L], numbers that order docs of one label, smallest first; None draws them.

    Returns:
        Mean over the factors of a list, so that a long one counts no more than a short one, then over the lists of
        two docs or more with a positive; 0 if there is none.
    """
    check_top_k(top_k)
    costs = plackett_luce(scores, label_order(labels, mask, ties), mask, top_k)
    factors = mask.sum(1) if top_k is None else mask.sum(1).clamp(max=top_k)
    return costs.sum(1) / factors.clamp(min=1), has_target(labels, mask)


@Loss
def lambda_loss(
    scores: Tensor,
    labels: Tensor,
    mask: Tensor,
    *,
    weights: str = "lambdarank",
    top_k: int | None = None,
    mu: float = 10.0,
    cap: str | None = None,
    cap_at: float = 3.0,
) -> tuple[Tensor, Tensor]:
    """Logistic pairs, each weighted by how much nDCG it moves.

    Source: LambdaRank: Burges et al., NIPS 2006; NDCG-Loss2 and 2++: Wang et al., CIKM 2018; the cut at k: Jagerman
    et al., SIGIR 2022. A cut that kept only pairs with both docs in the first k would leave a positive below rank k
    without any push; here a pair counts as soon as one of the two stands there (LambdaRank), or all pairs do, those
    that reach below k by Jagerman's weight (NDCG-Loss2).

    Args:
        scores: [B, L], any real number.
        labels: [B, L], graded relevance, higher is better.
        mask: [B, L] bool, False on padding.
        weights: "lambdarank" |G_i - G_j| |d(r_i) - d(r_j)|; "ndcg_loss2" |G_i - G_j| (d(n) - d(n + 1)), n the
            distance of the two ranks; "ndcg_loss2++" the first plus mu times the second; all over the ideal DCG.
        top_k: optimise nDCG@k; None is the whole list.
        mu: for "ndcg_loss2++".
        cap: None, "easy" or "both": see `pairwise.cap_margins`.
        cap_at: the margin that counts as easy enough, in logits.

    Returns:
        Sum over the pairs of a list (their weights are shares of its nDCG), mean over the lists with a pair; 0 if none has.

    Raises:
        ConfigError: unknown weights or cap; an option that the weights make no use of.
    """
    if weights not in LAMBDAS:
        raise ConfigError(unknown_name("weights", weights, LAMBDAS))
    check_top_k(top_k)
    expect(mu >= 0, "mu >= 0", mu=mu)
    expect(mu == 10.0 or weights == "ndcg_loss2++", "mu with weights='ndcg_loss2++' alone", mu=mu, weights=weights)
    gains, ranks = gains_of(labels), ranks_of(scores, mask)
    if weights == "lambdarank" and top_k is not None:    # no other pair weighs anything
        pairs = Pairs.touching((ranks <= top_k) & mask, labels, mask)
    else:
        pairs = Pairs.better(labels, mask)
    gain = pairs.differences(gains).abs() / ideal_dcg(gains, top_k)[:, None, None]               # [B, M, L]
    moved = torch.zeros_like(gain)
    if weights != "ndcg_loss2":
        moved = moved + rank_change(pairs, ranks, top_k, scores.dtype)
    if weights != "lambdarank":
        moved = moved + (mu if weights.endswith("++") else 1.0) * rank_distance(pairs, ranks, top_k, scores.dtype)
    costs = logistic(cap_margins(pairs.margins(scores), cap, cap_at))
    return (pairs.weights * gain * moved * costs).sum((1, 2)), pairs.weights.amax((1, 2)) > 0


def rank_change(pairs: Pairs, ranks: Tensor, top_k: int | None, dtype: torch.dtype) -> Tensor:
    """[B, M, L] |d(r_i) - d(r_j)|, what a gain wins by the swap of the two; d is 0 below rank k."""
    worth = discount(ranks, dtype)
    return pairs.differences(worth if top_k is None else worth * (ranks <= top_k)).abs()


def rank_distance(pairs: Pairs, ranks: Tensor, top_k: int | None, dtype: torch.dtype) -> Tensor:
    """[B, M, L] d(n) - d(n + 1) for ranks n apart; where one lies below rank k, over 1 - d(the lower rank)."""
    apart = pairs.differences(ranks).abs().clamp(min=1)
    worth = discount(apart, dtype) - discount(apart + 1, dtype)
    if top_k is None:
        return worth
    lower = torch.maximum(ranks.gather(1, pairs.places)[:, :, None], ranks[:, None, :]).clamp(min=2)
    return torch.where(lower > top_k, worth / (1 - discount(lower, dtype)), worth)


@Loss
def approx_ndcg(
    scores: Tensor, labels: Tensor, mask: Tensor, *, temperature: float = 0.1
) -> tuple[Tensor, Tensor]:
    """-nDCG with each rank replaced by 1 + sum over the other docs of sigma((s_j - s_i) / temperature).

    Source: Qin et al., "A general approximation framework for direct optimization of information retrieval
    measures", 2010; Bruch et al., SIGIR 2019.

    Args:
        scores: [B, L], any real number.
        labels: [B, L], graded relevance, higher is better.
        mask: [B, L] bool, False on padding.
        temperature: above 0, in logits; the smaller, the nearer to nDCG and the fewer pairs get a gradient: a positive
            more than 17 temperatures from every other doc gets none in fp32.

    Returns:
        -1 (the best order) to 0: mean over the lists of two docs or more with a positive; 0 if there is none.

    Raises:
        ConfigError: a temperature that is not above 0.
    """
    expect(temperature > 0, "temperature > 0", temperature=temperature)
    gains, places = gains_of(labels), places_of(labels > 0)                                      # [B, L], [B, M]
    ahead = scores[:, None, :] - scores.gather(1, places)[:, :, None]                            # [B, M, L]
    above = torch.sigmoid(ahead / temperature) * mask[:, None, :]
    ranks = 0.5 + above.sum(2)                                               # [B, M]; a doc is half above itself
    return -(gains.gather(1, places) * discount(ranks, scores.dtype)).sum(1) / ideal_dcg(gains), has_target(labels, mask)
