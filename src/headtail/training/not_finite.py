"""NaN and infinity are stopped before they reach a weight, and named."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from headtail.errors import NotFiniteError
from headtail.training.batch import ListBatch

NAMED = 3    # docs, lists or parameters in one line


def check_finite(what: str, values: Tensor, batch: ListBatch) -> None:
    """Raise NotFiniteError if a score, the loss or the gradient of a score is NaN or infinite.

    Args:
        what: in words.
        values: one for each gathered score [size * M], or laid out already [B, L], or a scalar.
    """
    if torch.isfinite(values).all():
        return
    if values.ndim == 0:
        raise NotFiniteError(f"the {what} is {values.item()} on {_queries(batch)}", _ids(batch))
    laid_out = values if values.shape == batch.mask.shape else batch.lay_out(values)
    bad = ~torch.isfinite(laid_out) & batch.mask    # [B, L]
    pairs = [(batch.lists[row].query.query_id, batch.lists[row].docs[place].doc_id) for row, place in bad.nonzero().tolist()]
    named = _listed(f"({query_id!r}, {doc_id!r})" for query_id, doc_id in pairs)
    raise NotFiniteError(f"the {what} is not finite for {len(pairs)} of {int(batch.mask.sum())} pairs: {named}", _ids(batch))


def check_gradients(norm: float, named: Mapping[str, nn.Parameter], batch: ListBatch) -> None:
    """Raise NotFiniteError, naming parameters, if the norm of the whole gradient is NaN or infinite."""
    if math.isfinite(norm):
        return
    bad = [name for name, parameter in named.items() if parameter.grad is not None and not _whole(parameter.grad)]
    where = f"in {len(bad)} of {len(named)} parameters: {_listed(bad)}" if bad else "in its norm alone, which overflows"
    raise NotFiniteError(f"the gradient is not finite {where}, on {_queries(batch)}", _ids(batch))


def _whole(gradient: Tensor) -> bool:
    return bool(torch.isfinite(gradient).all())


def _queries(batch: ListBatch) -> str:
    return f"{len(batch.lists)} lists: {_listed(repr(ranked.query.query_id) for ranked in batch.lists)}"


def _ids(batch: ListBatch) -> dict[str, list[str]]:
    return {ranked.query.query_id: [doc.doc_id for doc in ranked.docs] for ranked in batch.lists}


def _listed(names: Iterable[str]) -> str:
    every = list(names)
    return ", ".join(every[:NAMED]) + (", …" if len(every) > NAMED else "")
