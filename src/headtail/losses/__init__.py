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


def _leaving_no_trace(told: Callable[..., dict[str, float]]) -> Callable[..., dict[str, float]]:
    """No gradient, and the random numbers it draws (orders of ties) are left for the loss that is called next."""

    def wrapped(scores: Tensor, labels: Tensor, mask: Tensor, **options: Any) -> dict[str, float]:
        with torch.no_grad(), torch.random.fork_rng(devices=[scores.device] if scores.is_cuda else []):
            return told(scores, labels, mask, **options)

    return wrapped


def parts_of(name: str) -> Callable[..., dict[str, float]]:
    """What a log line tells of a loss besides its value; takes what the loss takes, gives plain numbers, no gradient.

    Every loss: `lists_without`, lists that had nothing to compare. Those of a head and a tail instead: `loss_head` and
    `loss_whole`, each 1 for an untrained ranker, with `lists_without_pair` and `lists_without_label`. A loss that draws
    the order of ties draws the same one when it is called right after this.
    """

    @_leaving_no_trace
    def of_parts(scores: Tensor, labels: Tensor, mask: Tensor, **options: Any) -> dict[str, float]:
        head, whole, without_pair, without_label = PARTS[name](scores, labels, mask, **options)
        parts = {"loss_head": head.item(), "loss_whole": whole.item()}
        return parts | {"lists_without_pair": float(without_pair), "lists_without_label": float(without_label)}

    @_leaving_no_trace
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
    """The loss of that name, once its options are known to be its own and to give a number on a list of three docs.

    Raises:
        ConfigError: an unknown loss or option, with the nearest name; a value of the wrong kind, or that means nothing.
    """
    known = list(options_of(name))
    for option, value in options.items():
        if option not in known:
            raise ConfigError(unknown_name(f"option of loss {name!r}", option, known or ["(it has none)"]))
        _check_kind(name, option, value)
    _try_loss(name, options)
    return LOSSES[name]


KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    "bool": ((bool,), "true or false"),
    "int": ((int,), "a whole number"),
    "float": ((int, float), "a number"),
    "str": ((str,), "a word"),
    "Tensor": ((Tensor,), "a tensor [B, L], another one for each batch"),
}


def _check_kind(name: str, option: str, value: Any) -> None:
    """Raise ConfigError for a value of another kind than the signature says: 'False' in quotes would count as true."""
    kind, _, rest = inspect.signature(LOSSES[name]).parameters[option].annotation.partition(" | ")
    if kind not in KINDS or (value is None and rest == "None"):
        return
    types, told = KINDS[kind]
    if not isinstance(value, types) or (isinstance(value, bool) and kind != "bool"):
        raise ConfigError(f"loss {name!r}: option {option!r}: expected {told}, found {value!r}")


def _try_loss(name: str, options: Mapping[str, Any]) -> None:
    """Raise now what the loss would say to its options at the first step."""
    values = {option: value for option, value in options.items() if not isinstance(value, Tensor)}
    scores, labels, mask = torch.tensor([[0.0, 1.0, 2.0]]), torch.tensor([[1.0, 0.0, 0.0]]), torch.ones(1, 3, dtype=torch.bool)
    taught = {"teacher": scores} if takes_teacher(name) else {}
    with torch.random.fork_rng(devices=[]):    # a loss may draw the order of ties
        cost = LOSSES[name](scores, labels, mask, **values | taught)
    if not torch.isfinite(cost):
        raise ConfigError(f"loss {name!r} gives {cost.item()} on a list of three docs with the options {dict(options)}")
