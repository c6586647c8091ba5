"""Everything a step reads and changes, as named tensors and plain numbers: what a checkpoint holds."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from headtail.errors import CheckpointError
from headtail.training.ema import Ema
from headtail.training.world import copy_into, full

Named = Mapping[str, nn.Parameter]    # trainable parameters, as `named_parameters` of the ranker gives them


@dataclass(slots=True)
class Progress:
    """How far a run is; plain numbers alone, so that it is JSON as it stands.

    `window` holds a row for each step since the last log line, `heads` the first docs of each dev query at the last
    validation, `train_loss` sum and count of the losses since then, `ledger` the bytes of the ledger.
    """

    step: int = 0
    seconds: float = 0.0
    skipped: int = 0
    best_step: int | None = None
    best: dict[str, float] = field(default_factory=dict)
    since_best: int = 0
    stopped_early: bool = False
    window: list[dict[str, float]] = field(default_factory=list)
    train_loss: list[float] = field(default_factory=lambda: [0.0, 0.0])
    heads: dict[str, list[str]] = field(default_factory=dict)
    ledger: int = 0

    def plain(self) -> dict[str, Any]:
        """As JSON takes it; a number that is not finite is written as its name."""
        return _plain(dataclasses.asdict(self))    # type: ignore[no-any-return]

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> Progress:
        """The other way."""
        return cls(**_numbers(dict(values)))


def tensors_of(named: Named, optimizer: torch.optim.Optimizer, ema: Ema | None) -> dict[str, dict[str, Tensor]]:
    """Whole tensors by file: weights, optimizer (`parameter/key`) and, with one, ema. Every process has to call it."""
    names = {id(parameter): name for name, parameter in named.items()}
    remembered = {
        f"{names[id(parameter)]}/{key}": full(torch.as_tensor(value))
        for group in optimizer.param_groups
        for parameter in group["params"]
        for key, value in sorted(optimizer.state.get(parameter, {}).items())
        if value is not None
    }
    tensors = {"weights": {name: full(parameter.detach()) for name, parameter in named.items()}, "optimizer": remembered}
    return tensors | ({"ema": {name: full(mean) for name, mean in ema.state().items()}} if ema is not None else {})


def restore(
    tensors: Mapping[str, Mapping[str, Tensor]], named: Named, optimizer: torch.optim.Optimizer, ema: Ema | None
) -> None:
    """Put back what `tensors_of` gave, in place.

    Raises:
        CheckpointError: it is of another model.
    """
    weights = tensors["weights"]
    strange = sorted(set(weights) ^ set(named)) or [name for name in named if weights[name].shape != named[name].shape]
    if strange:
        raise CheckpointError(f"the checkpoint is of another model: it differs in {strange[0]!r}; --overwrite begins anew")
    for name, parameter in named.items():
        copy_into(parameter, weights[name])
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    names = {id(parameter): name for name, parameter in named.items()}
    places = {names[id(parameter)]: place for place, parameter in enumerate(parameters)}
    kept: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors["optimizer"].items():
        name, _, what = key.rpartition("/")
        kept.setdefault(places[name], {})[what] = _like(tensor, parameters[places[name]])
    optimizer.load_state_dict({**optimizer.state_dict(), "state": kept})
    for name, mean in (ema.state() if ema is not None else {}).items():
        copy_into(mean, tensors["ema"][name])


def _like(whole: Tensor, parameter: Tensor) -> Tensor:
    """Shared among the processes as its parameter is; step counts and the factors of a matrix stay whole."""
    if whole.shape != parameter.shape or whole.ndim == 0:
        return whole
    like = torch.empty_like(parameter)
    copy_into(like, whole)
    return like


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not abs(value) < float("inf"):
        return {"float": repr(value)}
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value


def _numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return float(value["float"]) if set(value) == {"float"} else {key: _numbers(inner) for key, inner in value.items()}
    return [_numbers(inner) for inner in value] if isinstance(value, list) else value
