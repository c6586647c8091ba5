"""AdamW with one learning rate for each part of the ranker."""

from __future__ import annotations

import torch
from torch import nn


def build_optimizer(
    parts: dict[str, list[nn.Parameter]],
    *,
    embedding_lr: float = 5e-6,
    encoder_lr: float = 5e-5,
    head_lr: float = 2e-4,
    beta2: float = 0.97,
    weight_decay: float = 0.01,
) -> torch.optim.AdamW:
    """AdamW over `Ranker.parts()`, learning rates per optimizer step; norms and biases are not decayed.

    T5Gemma stores its norms as w - 1: decay would pull them to the identity, as it would pull any norm to 0.
    """
    rates = {"embeddings": embedding_lr, "encoder": encoder_lr, "head": head_lr}
    groups = []
    for part, parameters in parts.items():
        matrices = [parameter for parameter in parameters if parameter.ndim >= 2]
        vectors = [parameter for parameter in parameters if parameter.ndim < 2]
        for members, decay in ((matrices, weight_decay), (vectors, 0.0)):
            if members:
                groups.append({"params": members, "lr": rates[part], "weight_decay": decay, "part": part})
    return torch.optim.AdamW(groups, betas=(0.9, beta2), fused=True)
