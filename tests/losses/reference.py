"""The losses once more, from their definitions: Python loops over lists, docs and pairs in float64, gradients by hand.

Shares no code and no idea of layout with the package: no padding, no mask, no matrices. Each per-list function gives
(value, gradient), or None where the list has nothing to compare.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np

Result = tuple[float, np.ndarray] | None
Floats = Sequence[float]


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def cost(
    phi: str, d: float, *, cap: str = "easy", cap_at: float = 3.0, margin: float = 1.0, gamma: float = 2.0
) -> tuple[float, float]:
    """Cost of a margin d and its derivative."""
    if phi == "logistic":
        return softplus(-d), -sigmoid(-d)
    if phi == "hinge":
        return max(0.0, margin - d), (-1.0 if d < margin else 0.0)
    if phi == "focal":
        p = sigmoid(d)    # (1-p)^g * -log p, whose derivative in d is g p (1-p)^g log p - (1-p)^(g+1)
        return (1 - p) ** gamma * -math.log(p), gamma * p * (1 - p) ** gamma * math.log(p) - (1 - p) ** (gamma + 1)
    assert phi == "capped"
    if cap == "easy" and d <= 0:
        return cost("logistic", d)
    bent = math.tanh(d / cap_at)
    value, slope = cost("logistic", cap_at * bent)
    return value, slope * (1 - bent * bent)


def bce(s: Floats, y: Floats, *, graded: bool = False) -> Result:
    if not max(y) > 0:
        return None
    targets = [label / max(y) if graded else float(label > 0) for label in y]
    value = sum(t * softplus(-x) + (1 - t) * softplus(x) for x, t in zip(s, targets, strict=True)) / len(s)
    return value, np.array([(sigmoid(x) - t) / len(s) for x, t in zip(s, targets, strict=True)])


def softmax(s: Floats, y: Floats) -> Result:
    if not sum(y) > 0:
        return None
    top = max(s)
    log_z = top + math.log(sum(math.exp(x - top) for x in s))
    targets = [label / sum(y) for label in y]
    value = sum(t * (log_z - x) for x, t in zip(s, targets, strict=True))
    return value, np.array([math.exp(x - log_z) - t for x, t in zip(s, targets, strict=True)])


def over_pairs(s: Floats, weights: dict[tuple[int, int], float], phi: str, **options: object) -> Result:
    total = sum(weights.values())
    if total == 0:
        return None
    value, gradient = 0.0, np.zeros(len(s))
    for (i, j), weight in weights.items():
        c, slope = cost(phi, s[i] - s[j], **options)    # type: ignore[arg-type]
        value += weight * c / total
        gradient[i] += weight * slope / total
        gradient[j] -= weight * slope / total
    return value, gradient


def better(y: Floats) -> list[tuple[int, int]]:
    return [(i, j) for i, j in itertools.permutations(range(len(y)), 2) if y[i] > y[j]]


def pairwise_logistic(s: Floats, y: Floats, *, cap: str | None = None, cap_at: float = 3.0) -> Result:
    weights = dict.fromkeys(better(y), 1.0)
    return over_pairs(s, weights, "logistic") if cap is None else over_pairs(s, weights, "capped", cap=cap, cap_at=cap_at)


def top(values: Floats, k: int) -> set[int]:
    """Docs with fewer than k docs strictly above them."""
    return {i for i, value in enumerate(values) if sum(other > value for other in values) < k}


def dcg(order: Sequence[int], y: Floats, k: int) -> float:
    return sum((2 ** y[doc] - 1) / math.log2(rank + 1) for rank, doc in enumerate(order[:k], start=1))


def ndcg_change(s: Floats, y: Floats, i: int, j: int, k: int) -> float:
    """By swapping the two and computing nDCG@k again."""
    order = sorted(range(len(s)), key=lambda doc: -s[doc])
    swapped = [j if doc == i else i if doc == j else doc for doc in order]
    ideal = dcg(sorted(range(len(s)), key=lambda doc: -y[doc]), y, k)
    return abs(dcg(order, y, k) - dcg(swapped, y, k)) / ideal


def hybrid_parts(
    s: Floats, y: Floats, *, top_k: int = 5, head_by: str = "union", phi: str = "logistic", weights: str = "none", **options: object
) -> tuple[Result, Result]:
    n = len(s)
    if n < 2:
        return None, None
    head = {
        "scores": lambda: top(s, top_k),
        "disjoint": lambda: top(s, top_k),
        "labels": lambda: top(y, top_k),
        "union": lambda: top(s, top_k) | top(y, top_k),
        "initial": lambda: set(range(min(top_k, n))),
    }[head_by]()
    touch = all if head_by == "disjoint" else any
    weigh: dict[str, Callable[[int, int], float]] = {
        "none": lambda i, j: 1.0,
        "labels": lambda i, j: y[i] - y[j],
        "ndcg": lambda i, j: ndcg_change(s, y, i, j, top_k),
    }
    chosen = {(i, j): weigh[weights](i, j) for i, j in better(y) if touch((i in head, j in head))}
    pairs = over_pairs(s, chosen, phi, **options)
    outside = [i for i in range(n) if head_by != "disjoint" or i not in head]
    if len(outside) < 2:
        return _divided(pairs, cost(phi, 0.0, **options)[0]), None    # type: ignore[arg-type]
    listwise = softmax([s[i] for i in outside], [y[i] for i in outside])
    if listwise is not None:
        gradient = np.zeros(n)
        gradient[outside] = listwise[1]
        listwise = (listwise[0], gradient)
    return _divided(pairs, cost(phi, 0.0, **options)[0]), _divided(listwise, math.log(len(outside)))    # type: ignore[arg-type]


def _divided(result: Result, by: float) -> Result:
    return None if result is None else (result[0] / by, result[1] / by)


def mean_over(results: Sequence[Result], lengths: Sequence[int]) -> tuple[float, list[np.ndarray]]:
    """The mean over the lists that have a value; every list's gradient."""
    usable = max(1, sum(result is not None for result in results))
    value = sum(result[0] for result in results if result is not None) / usable
    gradients = [np.zeros(n) if r is None else r[1] / usable for r, n in zip(results, lengths, strict=True)]
    return value, gradients


def loss(name: str, lists: Sequence[tuple[Floats, Floats]], **options: object) -> tuple[float, list[np.ndarray]]:
    """Value of a batch of lists and the gradient of each list's scores."""
    lengths = [len(s) for s, _ in lists]
    if name != "hybrid":
        function = {"bce": bce, "softmax": softmax, "pairwise_logistic": pairwise_logistic}[name]
        return mean_over([function(s, y, **options) for s, y in lists], lengths)    # type: ignore[operator]
    alpha = float(options.pop("alpha", 0.5))    # type: ignore[arg-type]
    parts = [hybrid_parts(s, y, **options) for s, y in lists]    # type: ignore[arg-type]
    head, head_gradients = mean_over([part[0] for part in parts], lengths)
    whole, whole_gradients = mean_over([part[1] for part in parts], lengths)
    gradients = [alpha * h + (1 - alpha) * w for h, w in zip(head_gradients, whole_gradients, strict=True)]
    return alpha * head + (1 - alpha) * whole, gradients
