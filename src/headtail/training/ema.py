"""A running mean of the weights: often a better model than the last step's, and a steadier one to validate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from headtail.errors import ConfigError, TrainingError


class Ema:
    """Exponential moving average of named weights (Polyak & Juditsky 1992), kept in fp32 beside them.

    Args:
        parameters: name -> the live tensor; the mean starts as a copy of it.
        decay: share of the mean that an update keeps, 0 <= decay < 1; the mean looks back about 1 / (1 - decay) steps.
    """

    def __init__(self, parameters: Mapping[str, Tensor], decay: float) -> None:
        if not 0 <= decay < 1:
            raise ConfigError(f"ema: expected a decay from 0 to below 1, found {decay}")
        self.decay = decay
        self._names = list(parameters)
        self._live = [parameter.detach() for parameter in parameters.values()]    # share the memory of the weights
        self._mean = [tensor.to(torch.float32, copy=True) for tensor in self._live]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """After optimizer step `step`, from 1: mean <- d mean + (1 - d) weights with d = min(decay, (1 + step) / (10 + step)).

        The second term is that of TensorFlow's ExponentialMovingAverage: the weights that training starts from count .18 after the
        first step and .00006 after the tenth, and are not carried along for the first 1 / (1 - decay) steps.
        """
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self._mean, [tensor.float() for tensor in self._live], 1 - decay)

    @contextmanager
    def swapped(self) -> Iterator[None]:
        """The mean in the place of the weights, which come back bit for bit, after an error too; needs room for one more copy."""
        kept = [tensor.clone() for tensor in self._live]
        with torch.no_grad():
            torch._foreach_copy_(self._live, self._mean)
        try:
            yield
        finally:
            with torch.no_grad():
                torch._foreach_copy_(self._live, kept)

    def state(self) -> dict[str, Tensor]:
        """Name -> mean in fp32, to be saved; the tensors are the mean's own."""
        return dict(zip(self._names, self._mean, strict=True))

    @torch.no_grad()
    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take up a saved mean.

        Raises:
            TrainingError: it has other names or shapes than the weights.
        """
        shapes = {name: tuple(mean.shape) for name, mean in self.state().items()}
        found = {name: tuple(tensor.shape) for name, tensor in state.items()}
        if found != shapes:
            differ = sorted(name for name in found.keys() | shapes.keys() if found.get(name) != shapes.get(name))
            raise TrainingError(f"the saved mean of the weights fits another ranker: {len(differ)} tensors differ ({differ[0]}, …)")
        torch._foreach_copy_(self._mean, [state[name] for name in self._names])
