"""Every loss with every combination of its options that means something, and a batch built from lists."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from headtail.losses import LOSSES
from headtail.losses.hybrid import HEADS_BY, WEIGHTS
from headtail.losses.listwise import LAMBDAS

Case = tuple[str, dict[str, Any]]

PER_DOC = "a number for each doc"    # stands in a case for a tensor [B, L], which `filled` draws

PHI_OPTIONS: list[dict[str, Any]] = [
    {"phi": "logistic"},
    {"phi": "hinge", "margin": 1.5},
    {"phi": "focal", "gamma": 1.5},
    {"phi": "capped", "cap_at": 2.0},
    {"phi": "capped", "cap": "both"},
    {"phi": "hinge", "margin": 2.0, "cap": "both", "cap_at": 2.5},
    {"phi": "focal", "cap": "easy"},
]

CASES: list[Case] = [
    ("bce", {}),
    ("bce", {"graded": True}),
    ("pairwise_logistic", {}),
    ("pairwise_logistic", {"cap": "easy"}),
    ("pairwise_logistic", {"cap": "both", "cap_at": 2.0}),
    ("mse", {}),
    ("focal", {}),
    ("focal", {"on": "docs", "gamma": 0.5}),
    ("focal", {"on": "pairs"}),
    ("focal", {"on": "pairs", "gamma": 1.0, "cap": "easy"}),
    ("hinge", {}),
    ("hinge", {"margin": 2.5, "cap": "both"}),
    ("hinge", {"margin": 2.0, "cap": "easy", "cap_at": 1.5}),
    ("margin_mse", {"teacher": PER_DOC}),
    ("margin_mse", {"teacher": PER_DOC, "cap": "easy"}),
    ("margin_mse", {"teacher": PER_DOC, "cap": "both", "cap_at": 1.0}),
    ("softmax", {}),
    ("poly1", {}),
    ("poly1", {"epsilon": 0.3}),
    ("listnet", {}),
    ("list_mle", {"ties": PER_DOC}),
    ("list_mle", {"ties": PER_DOC, "top_k": 1}),
    ("list_mle", {"ties": PER_DOC, "top_k": 2}),
    ("list_mle", {"ties": PER_DOC, "top_k": 50}),
    *[
        ("lambda_loss", {"weights": weights, "top_k": top_k} | cap)
        for weights in LAMBDAS
        for top_k, cap in ((None, {}), (2, {}), (3, {"cap": "easy"}), (50, {"cap": "both"}))
    ],
    ("lambda_loss", {"weights": "ndcg_loss2++", "mu": 2.0}),
    ("approx_ndcg", {}),
    ("approx_ndcg", {"temperature": 1.0}),
    ("plackett_luce_head_tail", {"ties": PER_DOC}),
    ("plackett_luce_head_tail", {"ties": PER_DOC, "alpha": 0.2, "top_k": 2}),
    ("plackett_luce_head_tail", {"ties": PER_DOC, "alpha": 1.0, "top_k": 1}),
    ("hybrid", {}),
    ("hybrid", {"alpha": 0.0}),
    ("hybrid", {"alpha": 1.0, "top_k": 1}),
]
for number, (head_by, phi, weights) in enumerate(itertools.product(HEADS_BY, PHI_OPTIONS, WEIGHTS)):
    options = {"alpha": (0.3, 0.5, 1.0)[number % 3], "top_k": (2, 3, 5)[number // 3 % 3]}
    CASES.append(("hybrid", options | {"head_by": head_by, "weights": weights} | phi))

assert {name for name, _ in CASES} == set(LOSSES)


def case_id(case: Case) -> str:
    return " ".join([case[0], *(f"{key}={value}" for key, value in case[1].items())])


def filled(options: dict[str, Any], mask: Tensor, seed: int = 0) -> dict[str, Any]:
    """The options with a drawn tensor in place of each PER_DOC, and a first stage's ranks where the head is theirs."""
    made = torch.Generator().manual_seed(seed)
    drawn = {key: torch.randn(mask.shape, generator=made, dtype=torch.float64) * 2 for key, value in options.items() if value is PER_DOC}
    if options.get("head_by") == "initial":
        drawn["initial"] = torch.rand(mask.shape, generator=made).masked_fill(~mask, 2.0).argsort(1).argsort(1)
    return options | drawn


def per_doc(options: dict[str, Any], change: Any) -> dict[str, Any]:
    """The options with `change` done to every tensor among them."""
    return {key: change(value) if isinstance(value, Tensor) else value for key, value in options.items()}


def batch(
    lists: Sequence[tuple[Sequence[float], Sequence[float]]], dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor, Tensor]:
    """Scores, labels and mask [B, L], lists padded on the right with zeros."""
    width = max(len(s) for s, _ in lists)
    scores, labels = torch.zeros(len(lists), width, dtype=dtype), torch.zeros(len(lists), width)
    mask = torch.zeros(len(lists), width, dtype=torch.bool)
    for row, (s, y) in enumerate(lists):
        scores[row, : len(s)] = torch.tensor(s, dtype=dtype)
        labels[row, : len(y)] = torch.tensor(y)
        mask[row, : len(s)] = True
    return scores, labels, mask


def value_and_gradient(loss_fn: Any, scores: Tensor, labels: Tensor, mask: Tensor, **options: Any) -> tuple[float, Tensor]:
    scores = scores.clone().requires_grad_()
    loss = loss_fn(scores, labels, mask, **options)
    (gradient,) = torch.autograd.grad(loss, scores)
    return float(loss.detach()), gradient
