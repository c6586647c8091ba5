"""LOSSES: name -> pure function (scores [B, L], labels [B, L], mask [B, L], **options) -> scalar."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
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
from headtail.losses.reduce import Loss

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
    "options_of",
    "pairwise_logistic",
    "parts_of",
    "plackett_luce_head_tail",
    "plackett_luce_parts",
    "poly1",
    "softmax",
    "takes_teacher",
]


PARTS: dict[str, Callable[..., HybridParts]] = {"hybrid": hybrid_parts, "plackett_luce_head_tail": plackett_luce_parts}


def parts_of(name: str) -> Callable[..., dict[str, float]]:
    """What a log line tells of a loss besides its value; takes what the loss takes, gives plain numbers, no gradient.

    Every loss: `lists_without`, lists that had nothing to compare. Those of a head and a tail instead: `loss_head` and
    `loss_whole`, each 1 for an untrained ranker, with `lists_without_pair` and `lists_without_label`.
    """

    @torch.no_grad()
    def of_parts(scores: Tensor, labels: Tensor, mask: Tensor, **options: Any) -> dict[str, float]:
        head, whole, without_pair, without_label = PARTS[name](scores, labels, mask, **options)
        parts = {"loss_head": head.item(), "loss_whole": whole.item()}
        return parts | {"lists_without_pair": float(without_pair), "lists_without_label": float(without_label)}

    @torch.no_grad()
    def of_lists(scores: Tensor, labels: Tensor, mask: Tensor, **options: Any) -> dict[str, float]:
        loss = LOSSES[name]
        assert isinstance(loss, Loss)
        return {"lists_without": float((~loss.per_list(scores, labels, mask, **options)[1]).sum())}

    return of_parts if name in PARTS else of_lists


def options_of(name: str) -> dict[str, Any]:
    """The options of a loss with their defaults, in the order of its signature.

    Raises:
        ConfigError: an unknown loss, with the nearest name.
    """
    if name not in LOSSES:
        raise ConfigError(unknown_name("loss", name, LOSSES))
    parameters = inspect.signature(LOSSES[name]).parameters.values()
    return {parameter.name: parameter.default for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY}


def takes_teacher(name: str) -> bool:
    """Whether the loss learns from the scores of another ranker."""
    return "teacher" in options_of(name)


def check_loss(name: str, options: Mapping[str, Any]) -> Callable[..., Tensor]:
    """The loss of that name, once its options are known to be its own.

    Raises:
        ConfigError: an unknown loss or option, with the nearest name.
    """
    known = list(options_of(name))
    for option in options:
        if option not in known:
            raise ConfigError(unknown_name(f"option of loss {name!r}", option, known or ["(it has none)"]))
    return LOSSES[name]
