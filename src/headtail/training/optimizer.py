"""AdamW or Adafactor over a ranker, with a learning rate for each part and, if asked for, for each layer.

A group holds the weights of one part of one layer, decayed or not, and says so: `part`, `layer`. Groups stand in the order of the
layers, lowest first, so that a saved state fits the optimizer of the same ranker built again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import torch
from torch import nn

from headtail.errors import ConfigError, unknown_name

EPSILONS = (1e-16, 1e-3)    # Adafactor: of the variance, of the parameter's scale; see `_adafactor`


class Layered(Protocol):
    """What an optimizer asks of a ranker: its trainable weights, by part and by depth."""

    def parts(self) -> dict[str, list[nn.Parameter]]:
        """Embeddings, encoder, head."""

    def layers(self) -> dict[str, list[nn.Parameter]]:
        """Embeddings, layer_0, layer_1, …, top, head."""


def build_optimizer(
    ranker: Layered,
    *,
    name: str = "adamw",
    embedding_lr: float = 5e-6,
    encoder_lr: float = 5e-5,
    head_lr: float = 2e-4,
    beta2: float = 0.97,
    weight_decay: float = 0.01,
    layer_decay: float = 1.0,
) -> torch.optim.Optimizer:
    """The optimizer of a ranker's trainable weights; learning rates are per optimizer step.

    Args:
        name: one of OPTIMIZERS. "adafactor" has no beta2, and its rates are relative: a step moves a tensor by about `lr` times the
            root mean square of its own entries.
        embedding_lr: of the token embedding alone; positions, segments and their norm learn at encoder_lr.
        beta2: AdamW's; the second moment looks back about 1 / (1 - beta2) steps, at .97 33 of them. Fine-tuning starts with the
            large gradients that a random head sends, and takes some hundreds of steps: with the usual .999 those first gradients
            stay in the divisor for the whole run and hold its updates down. T5's own Adafactor, 1 - t^-.8, passes .97 at step 80.
        weight_decay: of matrices alone. Norms and biases are not decayed: T5Gemma stores a norm as w - 1, which decay would pull to
            the identity, as it would pull any other norm to 0.
        layer_decay: a layer learns at this factor of the rate of the layer above: layer i of n at encoder_lr *
            layer_decay^(n - 1 - i); the embeddings, which stand below all of them, at embedding_lr * layer_decay^n, so that they
            never overtake the layers above. The last norm and the head keep their full rate.

    Raises:
        ConfigError: an unknown name.
    """
    if name not in OPTIMIZERS:
        raise ConfigError(unknown_name("optimizer", name, OPTIMIZERS))
    rates = {"embeddings": embedding_lr, "encoder": encoder_lr, "head": head_lr}
    groups = []
    for layer, part, members in _by_layer_and_part(ranker):
        rate = rates[part] * layer_decay ** _layers_above(layer, ranker)
        matrices = [parameter for parameter in members if parameter.ndim >= 2]
        vectors = [parameter for parameter in members if parameter.ndim < 2]
        for parameters, decay in ((matrices, weight_decay), (vectors, 0.0)):
            if parameters:
                groups.append({"params": parameters, "lr": rate, "weight_decay": decay, "part": part, "layer": layer})
    return OPTIMIZERS[name](groups, beta2)


def _by_layer_and_part(ranker: Layered) -> Iterator[tuple[str, str, list[nn.Parameter]]]:
    """Layers from below, and inside one the token embedding before the rest."""
    part_of = {id(parameter): part for part, members in ranker.parts().items() for parameter in members}
    for layer, parameters in ranker.layers().items():
        for part in dict.fromkeys(part_of[id(parameter)] for parameter in parameters):
            yield layer, part, [parameter for parameter in parameters if part_of[id(parameter)] == part]


def _layers_above(layer: str, ranker: Layered) -> int:
    """Layers of the encoder above this one: 0 for the uppermost, the last norm and the head; all of them for the embeddings."""
    numbers = [int(name.removeprefix("layer_")) for name in ranker.layers() if name.startswith("layer_")]
    if not numbers or layer in ("top", "head"):
        return 0
    return max(numbers) - (int(layer.removeprefix("layer_")) if layer != "embeddings" else -1)


def _adamw(groups: list[dict[str, Any]], beta2: float) -> torch.optim.Optimizer:
    return torch.optim.AdamW(groups, betas=(0.9, beta2), fused=True)


def _adafactor(groups: list[dict[str, Any]], beta2: float) -> torch.optim.Optimizer:
    """Shazeer & Stern 2018 (arXiv 1804.04235) as T5X uses it: no momentum, beta2 = 1 - t^-.8, the root mean square of an update cut
    to 1, then times lr and the tensor's own root mean square (1e-3 at least).

    Where torch's differs from T5X's: lr is at most 1 / sqrt(t), which one below .004 does not feel in 50,000 steps; t counts from
    the start of this run and not from that of pretraining; every matrix is factored, and not only those from 128 x 128 on.
    torch's own first epsilon, 1.2e-7, is a floor under squared gradients, and those of a large model clipped to a norm of 1 lie
    below it (1e-8 at 100 M weights): all updates would then be of size 1. The paper's 1e-30 would underflow once squared, and the
    rows of unseen tokens become 0 / 0. 1e-16 does neither.
    """
    return torch.optim.Adafactor(groups, eps=EPSILONS)


OPTIMIZERS: dict[str, Callable[[list[dict[str, Any]], float], torch.optim.Optimizer]] = {"adamw": _adamw, "adafactor": _adafactor}
