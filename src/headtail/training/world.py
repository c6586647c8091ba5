"""One process or several under torchrun: who scores which pairs, and how their gradients become one.

Every process lays out the same global batch, scores its share of each small batch, and gets the scores of all. The loss
is computed on the whole global batch by every process, and each sends back the gradient of its own scores; summed over
the processes that is the gradient of one process. So the batch, its order and the loss do not depend on how many there
are (dropout draws other units, since each process has its own stream of random numbers).
"""

from __future__ import annotations

import copy
import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from headtail.errors import TrainingError, unknown_name

PARALLEL = ("ddp", "fsdp")
R = TypeVar("R", bound=nn.Module)


class World:
    """The processes of a training run; alone unless `join` found torchrun's variables.

    Args:
        parallel: "ddp" (whole weights in each process) or "fsdp" (a share of each weight in each process).
    """

    def __init__(self, rank: int = 0, size: int = 1, parallel: str = "ddp") -> None:
        if parallel not in PARALLEL:
            raise TrainingError(unknown_name("way to be parallel", parallel, PARALLEL))
        self.rank, self.size, self.parallel = rank, size, parallel
        self._plain: nn.Module | None = None

    @classmethod
    @contextmanager
    def join(cls, parallel: str, device: torch.device) -> Iterator[World]:
        """Join the processes that torchrun started; alone without it.

        Raises:
            TrainingError: fewer processes answered than were started.
        """
        if "RANK" not in os.environ or "MASTER_ADDR" not in os.environ:
            yield cls(parallel=parallel)
            return
        if device.type == "cuda":
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        dist.init_process_group("cuda:nccl,cpu:gloo" if device.type == "cuda" else "gloo")
        try:
            size, wanted = dist.get_world_size(), int(os.environ["WORLD_SIZE"])
            if size != wanted:
                raise TrainingError(f"expected {wanted} processes, found {size}; start them with torchrun")
            yield cls(dist.get_rank(), size, parallel)
            dist.barrier()    # none leaves while another still talks to it
        finally:
            gc.collect()    # modules that hold the group go first: its threads must not outlive it
            dist.destroy_process_group()

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes."""
        return self.rank == 0

    @property
    def sharded(self) -> bool:
        """Whether each process holds shares of the weights."""
        return self.size > 1 and self.parallel == "fsdp"

    def wrap(self, ranker: nn.Module) -> nn.Module:
        """The module to call in training; alone it is the ranker itself. FSDP changes the ranker in place."""
        if self.size == 1:
            return ranker
        if self.parallel == "fsdp":
            self._plain = copy.deepcopy(ranker).cpu() if self.first else None
            return _fully_shard(ranker)
        return nn.parallel.DistributedDataParallel(ranker, gradient_as_bucket_view=True)

    def whole(self, ranker: R) -> R:
        """A ranker that holds all its weights, to be saved by the first process: under FSDP a copy on the CPU."""
        if not self.sharded:
            return ranker
        gathered = {name: full(parameter.detach()).cpu() for name, parameter in ranker.named_parameters()}
        if self._plain is None:
            return ranker
        for name, parameter in self._plain.named_parameters():
            copy_into(parameter, gathered[name])
        return self._plain    # type: ignore[return-value]

    def let_go(self, ranker: nn.Module) -> None:
        """After scoring: weights that FSDP gathered for it are dropped, so that changed shares are gathered anew."""
        if self.sharded:
            ranker.reshard()    # type: ignore[operator]

    def hold_gradients(self, module: nn.Module, hold: bool) -> Any:
        """Within the block gradients stay in their process if `hold`: the last of several backward passes sends their sum."""
        if hold and isinstance(module, nn.parallel.DistributedDataParallel):
            return module.no_sync()
        return nullcontext()

    def gather(self, values: Tensor) -> Tensor:
        """[M] of each process -> [size * M], process after process."""
        if self.size == 1:
            return values
        parts = [torch.empty_like(values) for _ in range(self.size)]
        dist.all_gather(parts, values.contiguous())
        return torch.cat(parts)

    def own(self, values: Tensor) -> Tensor:
        """The share [M] of this process in [size * M]."""
        return values.view(self.size, -1)[self.rank]

    def any(self, flag: bool) -> bool:
        """Whether it is set in any process."""
        if self.size == 1:
            return flag
        flags: list[Any] = [None] * self.size
        dist.all_gather_object(flags, flag)
        return any(flags)

    def sum(self, values: Tensor) -> Tensor:
        """Summed over the processes, in place."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def share(self, value: Any) -> Any:
        """What the first process holds, in every process."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def wait(self) -> None:
        """Until every process is here."""
        if self.size > 1:
            dist.barrier()

    @contextmanager
    def first_alone(self) -> Iterator[None]:
        """The first process runs the block before the others, which then find what it left on the disk."""
        if not self.first:
            self.wait()
        yield
        if self.first:
            self.wait()


def full(tensor: Tensor) -> Tensor:
    """The whole of a tensor of which each process holds a share; every process has to ask."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def copy_into(target: Tensor, whole: Tensor) -> None:
    """Write a whole tensor into a plain or a shared one, in place."""
    if hasattr(target, "device_mesh") and hasattr(target, "placements"):
        from torch.distributed.tensor import distribute_tensor

        whole = distribute_tensor(whole.to(target.device), target.device_mesh, target.placements)
    with torch.no_grad():
        target.copy_(whole)


def _fully_shard(ranker: nn.Module) -> nn.Module:
    """FSDP2: each layer of the encoder gathers its weights when it runs, the rest stays with the ranker itself."""
    from torch.distributed.fsdp import fully_shard

    for layer in _layers(ranker):
        fully_shard(layer)
    fully_shard(ranker)
    return ranker


def _layers(ranker: nn.Module) -> list[nn.Module]:
    """The members of the longest list of modules: the encoder's layers."""
    lists = [list(module) for module in ranker.modules() if isinstance(module, nn.ModuleList)]
    return max(lists, key=len, default=[])

