"""Means that give every list the same say: first inside a list, then over the lists that have something to compare.

A mean over all pairs of a batch would hand a list of 900 pairs 99 % of the gradient of a list of 9.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import torch
from torch import Tensor

from headtail.errors import ConfigError, HeadtailError

PerList = Callable[..., tuple[Tensor, Tensor]]


class Loss:
    """A pure function (scores, labels, mask, **options) -> scalar, made from the cost of each list.

    The scalar is the mean over the lists with something to compare, a differentiable 0 where none has. Scores are
    raised to fp32 at least; labels below 0 count as 0; nothing that stands on padding is read.

    Attributes:
        per_list: (scores, labels, mask, **options) -> costs [B] and which lists count [B] bool, for the log.
    """

    def __init__(self, per_list: PerList) -> None:
        self._per_list = per_list
        functools.update_wrapper(self, per_list)    # its name, docstring and signature

    def __call__(self, scores: Tensor, labels: Tensor, mask: Tensor, **options: object) -> Tensor:
        """The scalar."""
        return mean_over(*self.per_list(scores, labels, mask, **options))

    def per_list(self, scores: Tensor, labels: Tensor, mask: Tensor, **options: object) -> tuple[Tensor, Tensor]:
        """Costs [B], 0 where a list has nothing to compare, and which lists have something [B] bool."""
        return self._per_list(*real_only(scores, labels, mask), mask, **options)


def real_only(scores: Tensor, labels: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """fp32 (or fp64) scores and labels >= 0 [B, L] with 0 on padding, whatever stood there, NaN included.

    Raises:
        HeadtailError: tensors of other shapes; a score or label of a real doc that is NaN or infinite, with its list.
    """
    check_shapes(mask, scores=scores, labels=labels)
    dtype = torch.promote_types(scores.dtype, torch.float32)
    padding = ~mask
    scores, labels = (values.to(dtype).masked_fill(padding, 0.0) for values in (scores, labels))
    if not math.isfinite((scores.detach() + labels).sum().item()):    # one pass and one wait for the device; then with care
        _name_the_list("score", scores, "a lower learning rate or gradient clipping keeps a ranker from that")
        _name_the_list("label", labels, "a label is a number from 0 upward")
    return scores, labels.clamp_(min=0)


def check_shapes(mask: Tensor, **per_doc: Tensor) -> None:
    """One number for each place of a list, in every tensor: [1, L] or [L] would be read as other lists' numbers.

    Raises:
        HeadtailError: a mask that is not [B, L] bool, or another tensor of another shape.
    """
    if mask.dim() != 2 or mask.shape[1] == 0 or mask.dtype != torch.bool:
        raise HeadtailError(f"expected a mask [B, L] of booleans with L >= 1, found {list(mask.shape)} of {mask.dtype}")
    for name, values in per_doc.items():
        if values.shape != mask.shape:
            raise HeadtailError(f"expected {name} of the mask's shape {list(mask.shape)}, found {list(values.shape)}")


def real_teacher(teacher: Tensor, mask: Tensor, dtype: torch.dtype) -> Tensor:
    """A teacher's scores [B, L] with 0 on padding.

    Raises:
        HeadtailError: another shape; a score of a real doc that is NaN or infinite, with its list.
    """
    check_shapes(mask, teacher=teacher)
    teacher = teacher.to(dtype).masked_fill(~mask, 0.0)
    _name_the_list("teacher's score", teacher, "look at the run that teaches")
    return teacher


def _name_the_list(kind: str, values: Tensor, way_out: str) -> None:
    for row, place in (~torch.isfinite(values)).nonzero()[:1].tolist():
        found = values[row, place].item()
        raise HeadtailError(f"list {row} of the batch: expected a finite {kind}, found {found} for its doc {place}; {way_out}")


def check_top_k(top_k: int | None) -> None:
    """Raise a ConfigError for what cannot count docs; None is the whole list."""
    expect(top_k is None or (isinstance(top_k, int) and top_k >= 1), "top_k >= 1, a whole number", top_k=top_k)


def expect(holds: bool, condition: str, **found: object) -> None:
    """Raise a ConfigError that names the condition and the options that do not meet it."""
    if not holds:
        raise ConfigError(f"expected {condition}, found {', '.join(f'{name}={value}' for name, value in found.items())}")


def mean_inside(values: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted mean of each list, and which lists have any weight.

    Args:
        values: [B, ...], finite.
        weights: [B, ...], boolean or >= 0.

    Returns:
        means [B], 0 where a list has no weight; usable [B] bool.
    """
    values, weights = values.flatten(1), weights.to(values.dtype).flatten(1)    # [B, M]
    total = weights.sum(1, keepdim=True)                                        # [B, 1]
    shares = weights / total.clamp(min=torch.finfo(values.dtype).tiny)          # no gradient flows through a weight
    return (values * shares).sum(1), total[:, 0] > 0


def mean_over(per_list: Tensor, usable: Tensor) -> Tensor:
    """Mean of [B] over the usable lists; a differentiable 0 when there is none."""
    usable = usable.to(per_list.dtype)
    return (per_list * (usable / usable.sum().clamp(min=1))).sum()
