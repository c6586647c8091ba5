"""LOSSES: name -> pure function (scores [B, L], labels [B, L], mask [B, L], **options) -> scalar."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torch import Tensor

from headtail.errors import ConfigError, unknown_name
from headtail.losses.hybrid import (
    HybridParts,
    hybrid,
    hybrid_parts,
    plackett_luce_head_tail,
    plackett_luce_parts,
)
from headtail.losses.listwise import approx_ndcg, lambda_loss, list_mle, listnet, poly1, softmax
from headtail.losses.pairwise import hinge, margin_mse, pairwise_logistic
from headtail.losses.pointwise import bce, focal, mse

LOSSES: dict[str, Callable[..., Tensor]] = {
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
    "hybrid": hybrid,
    "plackett_luce_head_tail": plackett_luce_head_tail,
}

__all__ = [
    "LOSSES",
    "HybridParts",
    "approx_ndcg",
    "bce",
    "check_loss",
    "focal",
    "hinge",
    "hybrid",
    "hybrid_parts",
    "lambda_loss",
    "list_mle",
    "listnet",
    "margin_mse",
    "mse",
    "pairwise_logistic",
    "plackett_luce_head_tail",
    "plackett_luce_parts",
    "poly1",
    "softmax",
]


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
