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


def mse(s: Floats, y: Floats) -> Result:
    if not max(y) > 0:
        return None
    return sum((x - t) ** 2 for x, t in zip(s, y, strict=True)) / len(s), np.array([2 * (x - t) / len(s) for x, t in zip(s, y, strict=True)])


def focal(s: Floats, y: Floats, *, on: str = "docs", gamma: float = 2.0, cap: str | None = None, cap_at: float = 3.0) -> Result:
    if on == "pairs":
        return over_pairs(s, dict.fromkeys(better(y), 1.0), "focal", bend=cap, cap_at=cap_at, gamma=gamma)
    if not max(y) > 0:
        return None
    signs = [1.0 if label > 0 else -1.0 for label in y]
    each = [cost("focal", sign * x, gamma=gamma) for x, sign in zip(s, signs, strict=True)]
    return sum(c for c, _ in each) / len(s), np.array([sign * slope / len(s) for (_, slope), sign in zip(each, signs, strict=True)])


def hinge(s: Floats, y: Floats, *, margin: float = 1.0, cap: str | None = None, cap_at: float = 3.0) -> Result:
    return over_pairs(s, dict.fromkeys(better(y), 1.0), "hinge", bend=cap, cap_at=cap_at, margin=margin)


def margin_mse(s: Floats, y: Floats, *, teacher: Floats, cap: str | None = None, cap_at: float = 3.0) -> Result:
    pairs = better(y)
    if not pairs:
        return None
    value, gradient = 0.0, np.zeros(len(s))
    for i, j in pairs:
        d, slope = bent(s[i] - s[j], cap, cap_at)
        miss = d - bent(teacher[i] - teacher[j], cap, cap_at)[0]
        value += miss**2 / len(pairs)
        gradient[i] += 2 * miss * slope / len(pairs)
        gradient[j] -= 2 * miss * slope / len(pairs)
    return value, gradient


def bent(d: float, cap: str | None, cap_at: float) -> tuple[float, float]:
    """A margin bent by tanh, and its derivative."""
    if cap is None or (cap == "easy" and d <= 0):
        return d, 1.0
    t = math.tanh(d / cap_at)
    return cap_at * t, 1 - t * t


def poly1(s: Floats, y: Floats, *, epsilon: float = 1.0) -> Result:
    found = softmax(s, y)
    if found is None:
        return None
    p, t = shares(s), [label / sum(y) for label in y]
    hit = sum(a * b for a, b in zip(p, t, strict=True))
    return found[0] + epsilon * (1 - hit), found[1] - epsilon * np.array([a * (b - hit) for a, b in zip(p, t, strict=True)])


def shares(s: Floats) -> list[float]:
    top = max(s)
    powers = [math.exp(x - top) for x in s]
    return [power / sum(powers) for power in powers]


def listnet(s: Floats, y: Floats) -> Result:
    if len(s) < 2 or not sum(y) > 0:
        return None
    p, t = shares(s), shares(y)
    top = max(s)
    log_z = top + math.log(sum(math.exp(x - top) for x in s))
    return sum(b * (log_z - x) for x, b in zip(s, t, strict=True)), np.array(p) - np.array(t)


def factors(s: Floats, order: Sequence[int], k: int) -> tuple[float, np.ndarray]:
    """-log of the first k choices of a Plackett-Luce model that draws the docs in that order."""
    value, gradient = 0.0, np.zeros(len(s))
    for place in range(min(k, len(s))):
        left = list(order[place:])
        p = shares([s[doc] for doc in left])
        value -= math.log(p[0]) if p[0] > 0 else s[left[0]] - max(s[doc] for doc in left)
        gradient[left] += p
        gradient[left[0]] -= 1
    return value, gradient


def label_order(y: Floats, ties: Floats) -> list[int]:
    return sorted(range(len(y)), key=lambda doc: (-y[doc], ties[doc]))


def list_mle(s: Floats, y: Floats, *, ties: Floats, top_k: int | None = None) -> Result:
    if len(s) < 2 or not max(y) > 0:
        return None
    k = len(s) if top_k is None else min(top_k, len(s))
    value, gradient = factors(s, label_order(y, ties), k)
    return value / k, gradient / k


def plackett_luce_parts(s: Floats, y: Floats, *, ties: Floats, top_k: int = 5) -> tuple[Result, Result]:
    if len(s) < 2 or not max(y) > 0:
        return None, None
    order = label_order(y, ties)
    head = _divided(factors(s, order, top_k), factors([0.0] * len(s), order, top_k)[0])
    rest = order[top_k:]
    listwise = softmax([s[doc] for doc in rest], [y[doc] for doc in rest])
    if listwise is None:
        return head, None
    gradient = np.zeros(len(s))
    gradient[rest] = listwise[1]
    return head, _divided((listwise[0], gradient), math.log(len(rest)))


def lambda_loss(
    s: Floats, y: Floats, *, weights: str = "lambdarank", top_k: int | None = None, mu: float = 10.0, cap: str | None = None, cap_at: float = 3.0
) -> Result:
    pairs = better(y)
    if not pairs:
        return None
    k = top_k or len(s)
    ideal = dcg(sorted(range(len(s)), key=lambda doc: -y[doc]), y, k)
    order = sorted(range(len(s)), key=lambda doc: -s[doc])
    rank = {doc: place for place, doc in enumerate(order, start=1)}
    value, gradient = 0.0, np.zeros(len(s))
    for i, j in pairs:
        apart, lower = abs(rank[i] - rank[j]), max(rank[i], rank[j])
        step = 1 / math.log2(1 + apart) - 1 / math.log2(2 + apart)
        if lower > k:
            step /= 1 - 1 / math.log2(1 + lower)
        step *= abs(2 ** y[i] - 2 ** y[j]) / ideal
        swap = ndcg_change(s, y, i, j, k)
        weight = {"lambdarank": swap, "ndcg_loss2": step, "ndcg_loss2++": swap + mu * step}[weights]
        d, bend = bent(s[i] - s[j], cap, cap_at)
        c, slope = cost("logistic", d)
        value += weight * c
        gradient[i] += weight * slope * bend
        gradient[j] -= weight * slope * bend
    return value, gradient


def approx_ndcg(s: Floats, y: Floats, *, temperature: float = 0.1) -> Result:
    if len(s) < 2 or not max(y) > 0:
        return None
    n = len(s)
    ideal = dcg(sorted(range(n), key=lambda doc: -y[doc]), y, n)
    value, gradient = 0.0, np.zeros(n)
    for i in range(n):
        above = {j: sigmoid((s[j] - s[i]) / temperature) for j in range(n) if j != i}
        rank = 1 + sum(above.values())
        gain = (2 ** y[i] - 1) / ideal
        value -= gain / math.log2(1 + rank)
        per_rank = gain / (math.log2(1 + rank) ** 2 * (1 + rank) * math.log(2))
        for j, p in above.items():
            gradient[j] += per_rank * p * (1 - p) / temperature
            gradient[i] -= per_rank * p * (1 - p) / temperature
    return value, gradient


def softmax(s: Floats, y: Floats) -> Result:
    if len(s) < 2 or not sum(y) > 0:
        return None
    top = max(s)
    log_z = top + math.log(sum(math.exp(x - top) for x in s))
    targets = [label / sum(y) for label in y]
    value = sum(t * (log_z - x) for x, t in zip(s, targets, strict=True))
    return value, np.array([math.exp(x - log_z) - t for x, t in zip(s, targets, strict=True)])


def over_pairs(
    s: Floats, weights: dict[tuple[int, int], float], phi: str, *, bend: str | None = None, cap_at: float = 3.0, **options: object
) -> Result:
    total = sum(weights.values())
    if total == 0:
        return None
    value, gradient = 0.0, np.zeros(len(s))
    for (i, j), weight in weights.items():
        d, bent_slope = bent(s[i] - s[j], bend, cap_at)
        c, slope = cost(phi, d, **({"cap_at": cap_at} | options if phi == "capped" else options))    # type: ignore[arg-type]
        slope *= bent_slope
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
    s: Floats,
    y: Floats,
    *,
    top_k: int = 5,
    head_by: str = "union",
    phi: str = "logistic",
    weights: str = "none",
    initial: Floats | None = None,
    cap: str | None = None,
    cap_at: float = 3.0,
    **options: object,
) -> tuple[Result, Result]:
    n = len(s)
    if phi == "capped":
        phi, cap = "logistic", cap or "easy"
    if n < 2:
        return None, None
    head = {
        "scores": lambda: top(s, top_k),
        "disjoint": lambda: top(s, top_k),
        "labels": lambda: top(y, top_k),
        "union": lambda: top(s, top_k) | top(y, top_k),
        "initial": lambda: top([-rank for rank in initial or range(n)], top_k),
    }[head_by]()
    touch = all if head_by == "disjoint" else any
    weigh: dict[str, Callable[[int, int], float]] = {
        "none": lambda i, j: 1.0,
        "labels": lambda i, j: y[i] - y[j],
        "ndcg": lambda i, j: ndcg_change(s, y, i, j, top_k),
    }
    chosen = {(i, j): weigh[weights](i, j) for i, j in better(y) if touch((i in head, j in head))}
    pairs = over_pairs(s, chosen, phi, bend=cap, cap_at=cap_at, **options)
    outside = [i for i in range(n) if head_by != "disjoint" or i not in head]
    listwise = softmax([s[i] for i in outside], [y[i] for i in outside])
    if listwise is not None:
        gradient = np.zeros(n)
        gradient[outside] = listwise[1]
        listwise = (listwise[0] / math.log(len(outside)), gradient / math.log(len(outside)))
    return _divided(pairs, cost(phi, 0.0, **options)[0]), listwise    # type: ignore[arg-type]


def _divided(result: Result, by: float) -> Result:
    return None if result is None else (result[0] / by, result[1] / by)


def mean_over(results: Sequence[Result], lengths: Sequence[int]) -> tuple[float, list[np.ndarray]]:
    """The mean over the lists that have a value; every list's gradient."""
    usable = max(1, sum(result is not None for result in results))
    value = sum(result[0] for result in results if result is not None) / usable
    gradients = [np.zeros(n) if r is None else r[1] / usable for r, n in zip(results, lengths, strict=True)]
    return value, gradients


def loss(
    name: str, lists: Sequence[tuple[Floats, Floats]], per_doc: dict[str, Sequence[Floats]] | None = None, **options: object
) -> tuple[float, list[np.ndarray]]:
    """Value of a batch of lists and the gradient of each list's scores; `per_doc` are options with a number for each doc."""
    lengths = [len(s) for s, _ in lists]
    own = [{key: list(rows[number]) for key, rows in (per_doc or {}).items()} for number in range(len(lists))]
    if name not in PARTS:
        return mean_over([FUNCTIONS[name](s, y, **options, **more) for (s, y), more in zip(lists, own, strict=True)], lengths)
    alpha = float(options.pop("alpha", 0.5))    # type: ignore[arg-type]
    parts = [PARTS[name](s, y, **options, **more) for (s, y), more in zip(lists, own, strict=True)]
    head, head_gradients = mean_over([part[0] for part in parts], lengths)
    whole, whole_gradients = mean_over([part[1] for part in parts], lengths)
    gradients = [alpha * h + (1 - alpha) * w for h, w in zip(head_gradients, whole_gradients, strict=True)]
    return alpha * head + (1 - alpha) * whole, gradients


FUNCTIONS: dict[str, Callable[..., Result]] = {
    "bce": bce,
    "mse": mse,
    "focal": focal,
    "pairwise_logistic": pairwise_logistic,
    "hinge": hinge,
    "margin_mse": margin_mse,
    "softmax": softmax,
    "poly1": poly1,
    "listnet": listnet,
    "list_mle": list_mle,
    "lambda_loss": lambda_loss,
    "approx_ndcg": approx_ndcg,
}
PARTS: dict[str, Callable[..., tuple[Result, Result]]] = {"hybrid": hybrid_parts, "plackett_luce_head_tail": plackett_luce_parts}
