"""Low-rank adapters (Hu et al. 2021, arXiv 2106.09685) in an encoder, through peft.

A linear layer W x of the encoder becomes W x + (alpha / rank) B A x: W stays as it was, A and B learn, and B starts at 0, so that
scores are the same until the first step. The adapters are put into the encoder in place: it keeps its class, its config and its
embeddings, and what is saved has B A added into W.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn

from headtail.errors import ModelError, unknown_name
from headtail.models.encoders import layer_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from headtail.models.ranker import Ranker


def add_lora(
    ranker: Ranker,
    *,
    rank: int = 16,
    alpha: float = 32.0,
    dropout: float = 0.05,
    targets: Sequence[str] | None = None,
    seed: int = 0,
) -> None:
    """Put adapters into a ranker's encoder; from then on they and the head are all that learns.

    Args:
        rank: rows of A [rank, in] and columns of B [out, rank].
        alpha: an adapter's output counts alpha / rank times.
        dropout: on what enters an adapter, in training only.
        targets: last names of linear layers ("q", "v"; "q_proj"; "query"); None is all of attention and feed-forward. Layers that
            are frozen already get none.
        seed: of A; the global generator is left alone.

    Raises:
        ModelError: peft is not installed, there are adapters already, or the encoder has no linear layer of a name in `targets`.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise ModelError("low-rank adapters need peft: pip install 'headtail[lora]'") from error
    if has_adapters(ranker.encoder):
        raise ModelError("the encoder has adapters already; save the ranker, which merges them, and load it again")
    chosen = _targets(ranker.encoder, targets)
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,    # type: ignore[arg-type]    # any number will do
        lora_dropout=dropout,
        target_modules=chosen,
        bias="none",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inject_adapter_in_model(config, ranker.encoder)


def has_adapters(encoder: nn.Module) -> bool:
    """Whether some layer of the encoder stands inside an adapter."""
    return any(_is_adapter(module) for module in encoder.modules())


def merge_adapters(encoder: PreTrainedModel) -> PreTrainedModel:
    """Add every adapter into the weights of its layer and take it out, in place: an encoder of the layout it was loaded with."""
    for name, module in list(encoder.named_modules()):
        if _is_adapter(module):
            module.merge()
            encoder.set_submodule(name, module.get_base_layer())
    return encoder


def _is_adapter(module: nn.Module) -> bool:
    return hasattr(module, "get_base_layer")    # peft's layers, told without importing it


def _targets(encoder: nn.Module, targets: Sequence[str] | None) -> list[str]:
    """Full names of the linear layers to adapt: in a numbered layer, with weights that learn; no pooler and no tower of images."""
    linear = [
        name
        for name, module in encoder.named_modules()
        if isinstance(module, nn.Linear) and layer_of(name).startswith("layer_") and module.weight.requires_grad
    ]
    known = {name.rpartition(".")[2] for name in linear}
    for target in targets or ():
        if target not in known:
            raise ModelError(unknown_name("layer for low-rank adapters", target, known))
    if not linear:
        raise ModelError("low-rank adapters: no linear layer of the encoder is left to adapt; freeze fewer layers")
    return [name for name in linear if targets is None or name.rpartition(".")[2] in targets]
