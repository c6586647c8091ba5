"""Every loss with every combination of its options that means something, and a batch built from lists."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from headtail.losses import LOSSES
from headtail.losses.hybrid import HEADS_BY, WEIGHTS

Case = tuple[str, dict[str, Any]]

PHI_OPTIONS: list[dict[str, Any]] = [
    {"phi": "logistic"},
    {"phi": "hinge", "margin": 1.5},
    {"phi": "focal", "gamma": 1.5},
    {"phi": "capped", "cap": "easy", "cap_at": 2.0},
    {"phi": "capped", "cap": "both"},
]

CASES: list[Case] = [
    ("bce", {}),
    ("bce", {"graded": True}),
    ("pairwise_logistic", {}),
    ("pairwise_logistic", {"cap": "easy"}),
    ("pairwise_logistic", {"cap": "both", "cap_at": 2.0}),
    ("softmax", {}),
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
