"""Several processes train one model: weights, gradients and optimizer states are sharded (FSDP2, ZeRO-3).

Started by ``torchrun``, a run has as many processes as that says, one a GPU (or, to prove it, several on a
CPU by gloo); started alone it has one.  A step is the same either way: gradients are *summed* over
processes and were divided by the labels of the whole batch, so one process with two micro-batches and two
with one give the same bits.

Mixed precision is FSDP2's too: each process keeps its part of the fp32 weights and gathers them in bf16;
gradients are summed and kept in fp32.  So a run in bf16 is sharded even over a single process.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed import HashStore  # type: ignore[attr-defined]
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor

from corpus import Refusal
from train.model import Trainee


@dataclass(frozen=True)
class Group:
    """The processes of a run."""

    device: torch.device
    rank: int = 0
    size: int = 1
    mesh: DeviceMesh | None = None
    """Two dimensions: ``replicas`` of the model, and the ``shards`` of each."""
    saving: dist.ProcessGroup | None = None
    """For checkpoints alone: two collectives at a time in one group wait for each other for ever."""

    def share(self, rows: list[int], name: str = "batch") -> list[int]:
        """This process's part of ``rows``; refuses a number that does not divide."""
        if len(rows) % self.size:
            raise Refusal(f"{name} is {len(rows)}: give a multiple of {self.size}, the number of processes.")
        return rows[self.rank :: self.size]

    def gathered(self, numbers: list[float]) -> list[list[float]]:
        """``numbers`` of every process, in the order of their ranks."""
        mine = torch.tensor(numbers, dtype=torch.float64, device=self.device)
        if self.size == 1:
            return [numbers]
        everyones = [torch.empty_like(mine) for _ in range(self.size)]
        dist.all_gather(everyones, mine)
        return [theirs.tolist() for theirs in everyones]

    def told(self, word: str | None = None) -> str:
        """What the first process says."""
        words = [word]
        if self.size > 1:
            dist.broadcast_object_list(words, src=0)
        assert words[0] is not None
        return words[0]


@contextmanager
def joined(replicas: int = 1) -> Iterator[Group]:
    """Meet the other processes that ``torchrun`` started, if it did.

    Args:
        replicas: Groups of processes that each hold the whole model.
    """
    cuda = torch.cuda.is_available()
    size, local = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("LOCAL_RANK", 0))
    if replicas < 1 or size % replicas:
        raise Refusal(f"replicas is {replicas}: give a divisor of {size}, the number of processes.")
    device = torch.device("cuda", local) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(device)
    # gloo beside nccl: checkpoints are written from the processor's memory, and refused without it.
    backend, bound = ("cpu:gloo,cuda:nccl", device) if cuda else ("gloo", None)
    if size == 1:
        dist.init_process_group(backend, store=HashStore(), rank=0, world_size=1, device_id=bound)
    else:
        dist.init_process_group(backend, device_id=bound)
    try:
        if dist.get_rank() > 0:
            logging.disable(logging.WARNING)  # the first process speaks for all
        mesh = init_device_mesh(
            device.type, (replicas, size // replicas), mesh_dim_names=("replicas", "shards")
        )
        saving = dist.new_group(backend="gloo") if size > 1 else None
        yield Group(device, dist.get_rank(), size, mesh, saving)
    finally:
        dist.destroy_process_group()


def apply(trainee: Trainee, group: Group, precision: str) -> None:
    """Shard every layer, then what is left, over the processes of ``group``, in place."""
    if group.size == 1 and precision == "fp32":
        return  # nothing to share and nothing to cast
    assert group.mesh is not None, "only joined processes shard or cast"
    mesh = group.mesh if group.mesh["replicas"].size() > 1 else group.mesh["shards"]
    policy = MixedPrecisionPolicy()
    if precision != "fp32":
        policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    for layer in trainee.llama.model.layers:
        fully_shard(layer, mesh=mesh, mp_policy=policy)
    fully_shard(trainee, mesh=mesh, mp_policy=policy)
    for module in trainee.modules():
        if isinstance(module, FSDPModule):  # each one: the root's setting does not reach the layers
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)


def squares(parameters: list[nn.Parameter], group: Group) -> Tensor:
    """(P,) squared norms of the gradients of all processes together, float64."""
    gradients = [p.grad.to_local() if isinstance(p.grad, DTensor) else p.grad for p in parameters]
    norms = [torch.linalg.vector_norm(g, dtype=torch.float64) for g in gradients if g is not None]
    total = torch.stack(norms) ** 2
    if group.mesh is not None and group.size > 1:
        dist.all_reduce(total, group=group.mesh["shards"].get_group())  # every replica has all of them
    return total
