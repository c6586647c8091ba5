"""Attention in training on a CPU: torch's fused kernel is slow there in two cases, and another way gives the same.

- In bf16 its backward pass takes three to seven times as long as in fp32 (four shapes tried, docs/results.md).
- A position bias that learns (T5's) rules it out; torch's fallback guards against rows that are masked whole, which no text
  gives, and the guard costs more than the softmax.

`faster_attention(encoder)` puts the other ways into transformers' table of attentions for the length of a block.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

NAME = "headtail_cpu_training"


@contextmanager
def faster_attention(encoder: nn.Module) -> Iterator[None]:
    """Within the block those parts of an encoder on a CPU that ask for "sdpa" get `attend`."""
    _register()
    found = {id(module.config): module.config for module in encoder.modules() if hasattr(module, "config")}
    configs: list[Any] = [config for config in found.values() if getattr(config, "_attn_implementation", None) == "sdpa"]
    try:
        for config in configs:
            config._attn_implementation = NAME
        yield
    finally:
        for config in configs:
            config._attn_implementation = "sdpa"


def _register() -> None:
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, sdpa_mask)


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    position_bias: Tensor | None = None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **more: Any,
) -> tuple[Tensor, None]:
    """As transformers asks an attention: query, key, value [N, H, T, D], mask [N, 1, T, T], bias [1, H, T, T] -> [N, T, H, D]."""
    from transformers.integrations.sdpa_attention import create_position_bias_mask, sdpa_attention_forward

    options = {"dropout": dropout, "scaling": scaling, **more}
    if not query.requires_grad:
        return sdpa_attention_forward(module, query, key, value, attention_mask, position_bias=position_bias, **options)
    if position_bias is not None and position_bias.requires_grad and key.shape == query.shape:
        scale = query.shape[-1] ** -0.5 if scaling is None else scaling
        masked_bias = create_position_bias_mask(position_bias, attention_mask, False, query, key)
        return _plain(query, key, value, masked_bias, dropout, scale), None
    if query.dtype != torch.bfloat16:
        return sdpa_attention_forward(module, query, key, value, attention_mask, position_bias=position_bias, **options)
    parts, bias = (query.float(), key.float(), value.float()), None if position_bias is None else position_bias.float()
    if attention_mask is not None and attention_mask.is_floating_point():
        attention_mask = attention_mask.float()
    out, _ = sdpa_attention_forward(module, *parts, attention_mask, position_bias=bias, **options)
    return out.to(query.dtype), None


def _plain(query: Tensor, key: Tensor, value: Tensor, bias: Tensor, dropout: float, scale: float) -> Tensor:
    """Softmax of the scaled products plus the bias; each is rounded to the dtype given, as in transformers' eager attention."""
    products = query @ key.transpose(-1, -2)
    weights = torch.softmax((products * scale if scale != 1 else products) + bias, dim=-1)
    return (nn.functional.dropout(weights, dropout) @ value).transpose(1, 2).contiguous()
