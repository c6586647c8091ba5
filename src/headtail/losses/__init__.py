"""LOSSES: name -> pure function (scores [B, L], labels [B, L], mask [B, L], **options) -> scalar."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torch import Tensor

from headtail.errors import ConfigError, unknown_name
from headtail.losses.hybrid import HybridParts, hybrid, hybrid_parts
from headtail.losses.listwise import softmax
from headtail.losses.pairwise import pairwise_logistic
from headtail.losses.pointwise import bce

LOSSES: dict[str, Callable[..., Tensor]] = {
    "bce": bce,
    "pairwise_logistic": pairwise_logistic,
    "softmax": softmax,
    "hybrid": hybrid,
}

__all__ = ["LOSSES", "HybridParts", "bce", "check_loss", "hybrid", "hybrid_parts", "pairwise_logistic", "softmax"]


def check_loss(name: str, options: dict[str, Any]) -> Callable[..., Tensor]:
    """The loss of that name, once its options are known to be its own.

    Raises:
        ConfigError: an unknown loss or option, with the nearest name.
    """
    if name not in LOSSES:
        raise ConfigError(unknown_name("loss", name, LOSSES))
    parameters = inspect.signature(LOSSES[name]).parameters.values()
    known = [parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]
    for option in options:
        if option not in known:
            raise ConfigError(unknown_name(f"option of loss {name!r}", option, known or ["(it has none)"]))
    return LOSSES[name]
