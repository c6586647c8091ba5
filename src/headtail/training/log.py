"""What a line of the ledger holds: figures of each step, their means, and the layers at the moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from headtail.training.diagnostics import gradient_share, separation, tie_rate

COUNTS = ("lists", "tokens", "seconds")    # summed over the steps of a line, all else is a mean
TIMES = ("lists_per_second", "tokens_per_second", "seconds")    # all in which two runs of one config differ


def step_figures(scores: Tensor, gradient: Tensor, labels: Tensor, mask: Tensor) -> dict[str, float]:
    """Of one step's lists, all [B, L]: separation, ties, and at which ranks the loss pushes."""
    return {
        **separation(scores, labels, mask),
        "tie_rate": tie_rate(scores, mask),
        **gradient_share(gradient, scores, mask),
    }


def means(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each figure over the rows that have it, and how many lists and tokens went through in a second."""
    totals = {name: sum(row[name] for row in rows) for name in COUNTS}
    found = {}
    for name in dict.fromkeys(name for row in rows for name in row if name not in COUNTS):
        values = [row[name] for row in rows if name in row and row[name] == row[name]]
        if values:
            found[name] = sum(values) / len(values)
    seconds = max(totals["seconds"], 1e-9)
    return found | {"lists_per_second": totals["lists"] / seconds, "tokens_per_second": totals["tokens"] / seconds}


def rates(optimizer: torch.optim.Optimizer) -> tuple[dict[str, float], dict[str, float]]:
    """Learning rates as they are: lr_embeddings, lr_encoder, lr_head (the highest of each part), and layer -> rate."""
    parts: dict[str, float] = {}
    layers: dict[str, float] = {}
    for group in optimizer.param_groups:
        part, layer = f"lr_{group['part']}", group["layer"]
        parts[part] = max(parts.get(part, 0.0), group["lr"])
        layers[layer] = max(layers.get(layer, 0.0), group["lr"])
    return parts, layers


def layer_rows(*columns: tuple[str, Mapping[str, float]]) -> dict[str, dict[str, Any]]:
    """{layer: {"lr": …, "norm": …, "drift": …}} of named columns that each map layers to numbers."""
    return {layer: {name: column[layer] for name, column in columns if layer in column} for layer in columns[0][1]}
