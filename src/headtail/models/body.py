"""How the encoder computes in training while its weights stay fp32: in bf16, by copies of them made once a step.

Autocast would copy each weight again for every small batch, hold the copies of all of them until the backward pass, and cast
the states between each norm and each product. Here the body runs in bf16 as it does in `Ranker.score`, and each small batch
adds its gradient to the fp32 weights' own. Embeddings are looked up in fp32, so that the gradients of a token that stands
in a thousand places are summed in fp32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from headtail.models.attention import faster_attention
from headtail.models.precision import autocast


class Body:
    """The encoder as it computes in training.

    Weights that FSDP shares out, or that torch.compile has built into a graph, cannot be exchanged: there autocast does it.

    Args:
        dtype: of the body; fp32 leaves it as it is.
        alone: whether all gradients are this process's: then on a CPU those of the token embedding stay with the rows they touch.
    """

    def __init__(self, encoder: nn.Module, dtype: torch.dtype, *, alone: bool = True) -> None:
        self.encoder, self.dtype = encoder, dtype
        weight = next(encoder.parameters())
        self.device = weight.device
        self.fixed = hasattr(weight, "device_mesh") or getattr(encoder, "_compiled_call_impl", None) is not None
        self.lookups = self._lookups() if alone and not self.fixed and self.device.type == "cpu" else []
        self.gradient: Tensor | None = None    # of the token embedding, kept between steps

    @contextmanager
    def step(self) -> Iterator[None]:
        """Around all forward and backward passes of a step."""
        with ExitStack() as stack:
            if not self.fixed:
                if self.device.type == "cpu":
                    stack.enter_context(faster_attention(self.encoder))
                if self.dtype != torch.float32:
                    stack.enter_context(_copies(self.encoder, self.dtype))
            if self.lookups:
                stack.enter_context(self._sparse())
            yield

    def forward(self) -> AbstractContextManager[object]:
        """Around each forward pass, within `step`; the backward pass repeats its formats by itself."""
        return autocast(self.dtype, self.device) if self.fixed else nullcontext()

    def _lookups(self) -> list[nn.Embedding]:
        """The modules that look tokens up in the embedding, if it learns: T5 has two of them."""
        weight = getattr(self.encoder.get_input_embeddings(), "weight", None)    # type: ignore[operator]
        found = [module for module in self.encoder.modules() if isinstance(module, nn.Embedding) and module.weight is weight]
        return [module for module in found if module.weight.requires_grad and not module.sparse]

    @contextmanager
    def _sparse(self) -> Iterator[None]:
        """Each small batch adds its rows to one dense gradient, instead of a gradient of the whole table, nearly all zeros."""
        weight = self.lookups[0].weight
        if weight.grad is None:
            self.gradient = torch.zeros_like(weight) if self.gradient is None else self.gradient.zero_()
            weight.grad = self.gradient
        for module in self.lookups:
            module.sparse = True
        try:
            yield
        finally:
            for module in self.lookups:
                module.sparse = False


@contextmanager
def _copies(encoder: nn.Module, dtype: torch.dtype) -> Iterator[None]:
    """Each weight but those of embeddings stands there as a copy in `dtype`, through which gradients reach the weight itself."""
    embeddings = [module for module in encoder.modules() if isinstance(module, nn.Embedding)]
    kept = {id(weight) for module in embeddings for weight in module.parameters()}
    copies: dict[int, Tensor] = {}    # a shared weight has one copy
    places: list[tuple[dict[str, Any], str, nn.Parameter]] = []
    hooks = [module.register_forward_hook(_cast_output(dtype)) for module in embeddings]
    try:
        for module in encoder.modules():
            for name, weight in module._parameters.items():
                if weight is None or id(weight) in kept:
                    continue
                if id(weight) not in copies:
                    copies[id(weight)] = weight.to(dtype)
                places.append((module._parameters, name, weight))
                module._parameters[name] = copies[id(weight)]    # type: ignore[assignment]
        yield
    finally:
        for parameters, name, weight in places:
            parameters[name] = weight
        for hook in hooks:
            hook.remove()


def _cast_output(dtype: torch.dtype) -> Callable[[nn.Module, Any, Tensor], Tensor]:
    return lambda module, inputs, output: output.to(dtype)
