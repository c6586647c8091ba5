"""What a log line tells besides the loss: functions from tensors to named numbers.

Where there is nothing to measure the number is NaN, which the ledger writes as null.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from headtail.losses.pairs import Pairs

NAN = float("nan")
GRADIENT_RANKS = {"gradient_1_5": (1, 5), "gradient_6_20": (6, 20), "gradient_21_up": (21, None)}    # both ends count
COARSE = [step / 2 for step in range(-10, 11)]    # log temperatures tried first; 0, no temperature at all, among them
GOLDEN, NARROWINGS = (math.sqrt(5) - 1) / 2, 15    # a bracket of 1 shrinks to .618^15: the temperature to within .1 %
WORTH = 1e-6    # of loss: what a temperature has to gain

Layers = Mapping[str, Sequence[nn.Parameter]]


def separation(scores: Tensor, labels: Tensor, mask: Tensor) -> dict[str, float]:
    """How far positives stand above negatives of their own list, in logits and in spreads, and how often they stand below.

    Args:
        scores, labels, mask: [B, L].

    Returns:
        separation: mean of s_i - s_j over the pairs of a list with y_i > y_j, then over lists with a pair;
        wrong_pairs: share of those pairs in the wrong order, averaged the same way; both NaN where no list has a pair;
        d_prime: see `d_prime`.
    """
    scores = scores.detach().masked_fill(~mask, 0.0).float()
    pairs = Pairs.better(labels, mask)
    margins, counts = pairs.margins(scores), pairs.weights.sum((1, 2))    # [B, M, L], [B]
    apart = (margins * pairs.weights).sum((1, 2)) / counts                # [B], NaN where there is no pair
    wrong = ((margins <= 0) * pairs.weights).sum((1, 2)) / counts
    told = torch.stack([apart.nanmean(), wrong.nanmean(), d_prime(scores, labels, mask)])
    return dict(zip(("separation", "wrong_pairs", "d_prime"), told.tolist(), strict=True))


def d_prime(scores: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
    """Signal detection's d': by how many standard deviations positives (label > 0) stand above negatives (label 0).

    Source: Green & Swets, "Signal Detection Theory and Psychophysics", 1966; with unequal spreads it is d_a of Simpson &
    Fitter, "What is the best index of detectability?", Psychological Bulletin 80, 1973.

    Each list is shifted so that its negatives' mean is 0. Mean and variance of both classes are then taken over all lists
    together, each list weighing the same, so that one positive a list is enough:
    d' = (mean of positives - mean of negatives) / sqrt((variance of positives + variance of negatives) / 2). Unlike
    separation it stays the same when all scores are multiplied by one number.

    Args:
        scores, labels, mask: [B, L].

    Returns:
        Scalar; lists without a positive or without a negative do not count, NaN where none counts or nothing varies.
    """
    positive, negative = (labels > 0) & mask, (labels <= 0) & mask
    usable = positive.any(1) & negative.any(1)    # [B]

    def mean(values: Tensor, of: Tensor) -> Tensor:
        """Of each list, then over the usable ones."""
        each = values.masked_fill(~of, 0.0).sum(1) / of.sum(1)
        return torch.where(usable, each, torch.nan).nanmean()

    noise = scores.masked_fill(~negative, 0.0).sum(1) / negative.sum(1)    # [B]
    centred = scores - noise[:, None]
    apart = mean(centred, positive)
    spread = (mean((centred - apart) ** 2, positive) + mean(centred**2, negative)) / 2
    return torch.where(spread > 0, apart / spread.sqrt(), torch.nan)


def score_histogram(scores: Tensor, labels: Tensor, mask: Tensor, bins: int = 20) -> dict[str, list[float]]:
    """How the scores of positives (label > 0) and of negatives lie, between the lowest and the highest of them all.

    Args:
        scores, labels, mask: [B, L]; a score that is no finite number is left out.

    Returns:
        edges: bins + 1 of them, in logits; positives, negatives: docs in each bin, whose upper edge belongs to the next
        bin, the last bin's to itself. All three empty where there is no score.
    """
    real = mask & scores.isfinite()
    scores = scores.detach().float()
    if not real.any():
        return {"edges": [], "positives": [], "negatives": []}
    low, high = torch.stack(torch.aminmax(scores[real])).tolist()
    if low == high:
        room = max(0.5, abs(low) * 1e-3)    # one score for all docs: a bin around it
        low, high = low - room, high + room
    counts = [torch.histc(scores[real & of], bins, low, high).tolist() for of in (labels > 0, labels <= 0)]
    edges = [low + (high - low) * place / bins for place in range(bins + 1)]
    return {"edges": edges, "positives": counts[0], "negatives": counts[1]}


def gradient_share(gradient: Tensor, scores: Tensor, mask: Tensor) -> dict[str, float]:
    """Where in the list the loss pushes: the share of sum |dL/ds| that falls on docs at the ranks given by their scores.

    Args:
        gradient: dL/ds [B, L].
        scores, mask: [B, L]; of two equal scores the doc that stands first in its row has the better rank.

    Returns:
        gradient_1_5, gradient_6_20, gradient_21_up: sum to 1; means over the lists with a gradient, NaN where none has.
    """
    order = scores.detach().masked_fill(~mask, -torch.inf).argsort(dim=1, descending=True, stable=True)
    push = gradient.detach().masked_fill(~mask, 0.0).abs().float().gather(1, order)    # [B, L], best rank first
    shares = push / push.sum(1, keepdim=True)                                          # NaN where a list has no gradient
    ranges = [shares[:, first - 1 : last].sum(1).nanmean() for first, last in GRADIENT_RANKS.values()]
    return dict(zip(GRADIENT_RANKS, torch.stack(ranges).tolist(), strict=True))


def tie_rate(scores: Tensor, mask: Tensor) -> float:
    """Share of adjacent docs of a list, ordered by score, with one and the same float32 score; NaN where no list has two.

    The same number as `Run.tied_share`: pooled over all lists. scores, mask: [B, L].
    """
    ordered = scores.detach().float().masked_fill(~mask, -torch.inf).sort(dim=1, descending=True).values
    real = torch.arange(1, mask.shape[1], device=mask.device) < mask.sum(1, keepdim=True)    # [B, L - 1] both are docs
    tied = (ordered[:, 1:] == ordered[:, :-1]) & real
    return float((tied.sum() / real.sum()).item())


def head_turnover(before: Mapping[str, Sequence[str]], after: Mapping[str, Sequence[str]], k: int = 5) -> float:
    """Share of the head's docs that were not in the head before: 0 nothing moved in, 1 all are new.

    Args:
        before, after: query_id -> doc_ids, best first, of two rankings of the same candidates.
        k: ranks of the head.

    Returns:
        Mean over the queries that both hold; NaN where there is none.
    """
    shares = [
        sum(doc_id not in before[query_id][:k] for doc_id in docs[:k]) / len(docs[:k])
        for query_id, docs in after.items()
        if docs and query_id in before
    ]
    return sum(shares) / len(shares) if shares else NAN


def layer_norms(layers: Layers) -> dict[str, float]:
    """L2 norm of each layer's gradient; a parameter without one counts as 0.

    Args:
        layers: layer -> parameters, as `Ranker.layers()` gives them: a shared tensor stands in one layer only.
    """
    gradients = {name: [p.grad for p in parameters if p.grad is not None] for name, parameters in layers.items()}
    flat = [gradient for several in gradients.values() for gradient in several]
    norms = iter(_norms(flat))
    return {name: math.hypot(*(next(norms) for _ in several)) for name, several in gradients.items()}


def _norms(tensors: Sequence[Tensor]) -> list[float]:
    """The norm of each, with one wait for the device; of a tensor in shares on several devices the norm of the whole.

    Then all of those devices have to ask.
    """
    if not tensors:
        return []
    norms = [n.full_tensor() if hasattr(n, "full_tensor") else n for n in torch._foreach_norm(list(tensors), 2, torch.float32)]
    return torch.stack(norms).tolist()


def part_norms(norms: Mapping[str, float]) -> dict[str, float]:
    """Gradient norms of layers, from `layer_norms`, put together as norm_embeddings, norm_encoder and norm_head."""
    parts: dict[str, float] = {"embeddings": 0.0, "encoder": 0.0, "head": 0.0}
    for name, norm in norms.items():
        part = name if name in ("embeddings", "head") else "encoder"
        parts[part] = math.hypot(parts[part], norm)
    return {f"norm_{part}": norm for part, norm in parts.items()}


class Drift:
    """How far each layer has moved from the weights it started with.

    The start is kept whole, in fp32: 4 bytes a trainable parameter, 1.3 GB for a T5-large encoder. A run that is resumed
    makes it from the weights training once began with, before it loads the ones it had come to.

    Args:
        layers: layer -> parameters, as `Ranker.layers()` gives them; frozen ones are not among them.
        device: where the start is kept, the weights' own by default; "cpu" saves an accelerator's memory and costs a
            copy of all weights at each measurement.
    """

    def __init__(self, layers: Layers, device: torch.device | str | None = None) -> None:
        self._layers = {name: list(parameters) for name, parameters in layers.items()}
        self._start = {
            name: [p.detach().to(device or p.device, torch.float32, copy=True) for p in parameters]
            for name, parameters in layers.items()
        }
        self._length = {name: math.hypot(*_norms(start)) for name, start in self._start.items()}

    @torch.no_grad()
    def measure(self) -> dict[str, float]:
        """Layer -> ||w - w0|| / ||w0||, over all its tensors as one vector.

        A norm that is stored as w - 1 and starts at 0 so counts with the rest of its layer. A layer that starts at 0 as a
        whole gives ||w||.
        """
        return {name: self._moved(name) / (self._length[name] or 1.0) for name in self._layers}

    def _moved(self, name: str) -> float:
        """One layer at a time, so that the differences of one layer alone stand in memory."""
        start = self._start[name]
        now = [p.detach().to(before.device, torch.float32) for p, before in zip(self._layers[name], start, strict=True)]
        return math.hypot(*_norms(torch._foreach_sub(now, start))) if start else 0.0


def best_temperature(
    loss_fn: Callable[..., Tensor], scores: Tensor, labels: Tensor, mask: Tensor, **more: Tensor
) -> tuple[float, float]:
    """The temperature t that makes loss_fn(scores / t) least, and that loss: what is left of it once its scale is right.

    Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017. Above 1 the scores lie too far apart for the
    loss (over-confident), below 1 too close; no order depends on it.

    Args:
        loss_fn: (scores, labels, mask, **more) -> scalar; one that draws the order of ties draws the same at each t.
        scores, labels, mask: [B, L].
        more: what the loss takes besides, such as `teacher` [B, L].

    Returns:
        t between exp(-5) and exp(5), and the loss there; t is 1 where no other gains more than 1e-6, as for a loss that
        looks at the order alone. 37 evaluations of the loss at most.
    """
    scores = scores.detach().double()    # so that rounding makes no minima of its own

    @torch.no_grad()
    def cost(log_t: float) -> float:
        with torch.random.fork_rng(devices=[scores.device] if scores.is_cuda else []):    # and leaves no trace in training
            found = float(loss_fn(scores / math.exp(log_t), labels, mask, **more))
        return found if math.isfinite(found) else math.inf

    tried = {log_t: cost(log_t) for log_t in COARSE}
    middle = min(tried, key=lambda log_t: (tried[log_t], abs(log_t)))
    low, high = max(middle - 0.5, COARSE[0]), min(middle + 0.5, COARSE[-1])
    left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
    for _ in range(NARROWINGS):
        for inner in (left, right):
            if inner not in tried:
                tried[inner] = cost(inner)
        if tried[left] <= tried[right]:
            high, right, left = right, left, right - GOLDEN * (right - low)
        else:
            low, left, right = left, right, left + GOLDEN * (high - left)
    best = min(tried, key=lambda log_t: (tried[log_t], abs(log_t)))
    if not tried[0.0] - tried[best] > WORTH:
        return 1.0, tried[0.0] if math.isfinite(tried[0.0]) else NAN
    return math.exp(best), tried[best]
