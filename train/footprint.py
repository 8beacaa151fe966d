"""The memory that a step needs on each GPU, found without one.

The same model, sharding and recomputation that ``train pretrain`` uses run forward and backward on fake
tensors (shapes without data) in a fake group of processes, once with four layers and once with five; the
rest is a straight line, since layers are alike.  Optimizer states are counted by formula.

Counted is what is allocated at the worst moment.  What a GPU's allocator reserves is more: torchtitan's
published figures lie 6 to 15 % above what comes out here (tests/unit/train/test_plan.py), so a budget has
15 % and 1 GiB on top.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import LlamaConfig

from train import machine
from train.config import Machine, Pretrain
from train.model import Trainee
from train.shard import Group

GIB = 2**30
FEW = 4
"""Layers from which on a layer more always costs the same: with fewer, the head's memory is the peak."""
STATES = {"fp32": 8.0, "8bit": 2 * (1 + 4 / 256)}
"""Bytes of AdamW's two moments per parameter; in 8 bits, blocks of 256 share an fp32 scale."""


class Footprint(NamedTuple):
    """Bytes per GPU."""

    states: int
    """Optimizer states."""
    rest: int
    """Weights, gradients, gathered layers, activations: all that lives at the worst moment of a step."""

    @property
    def peak(self) -> int:
        return self.states + self.rest

    @property
    def budget(self) -> int:
        """What a GPU should have for it."""
        return int(self.peak * 1.15) + GIB


def of_step(config: LlamaConfig, settings: Pretrain, layout: Machine, gpus: int, tokens: int) -> Footprint:
    """What a step needs on each of ``gpus``, with ``tokens`` in a forward pass and several passes a step.

    A compiled model is taken to need as much as an eager one; it needs less.
    """
    eager = replace(layout, compile=False)
    with _pretended(gpus, layout.replicas) as mesh:
        few, more = (_traced(config, layers, settings, eager, mesh, tokens) for layers in (FEW, FEW + 1))
    states = int(STATES[settings.states] * parameters_of(config) / (gpus // layout.replicas))
    return Footprint(states, few + (config.num_hidden_layers - FEW) * (more - few))


def parameters_of(config: LlamaConfig) -> int:
    """How many parameters a model has."""
    with torch.device("meta"):
        return sum(p.numel() for p in Trainee(config, 0).parameters())


class Live(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Watches how many bytes of tensors are alive, at most, while it is on."""

    def __init__(self, tensors: Iterable[Tensor] = ()) -> None:
        """``tensors``: what is alive already."""
        super().__init__()  # type: ignore[no-untyped-call]
        self._storages: weakref.WeakValueDictionary[int, torch.UntypedStorage] = weakref.WeakValueDictionary()
        self.peak = 0
        self._see(tensors)

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = function(*args, **(kwargs or {}))
        self._see(leaf for leaf in pytree.tree_leaves(out) if isinstance(leaf, Tensor))
        return out

    def _see(self, tensors: Iterable[Tensor]) -> None:
        for tensor in tensors:
            storage = tensor.untyped_storage()
            self._storages[storage._cdata] = storage
        # Summed anew each time: FSDP frees gathered weights by resizing their storage.
        self.peak = max(self.peak, sum(storage.nbytes() for storage in list(self._storages.values())))


def _traced(
    config: LlamaConfig, layers: int, settings: Pretrain, layout: Machine, mesh: DeviceMesh, tokens: int
) -> int:
    """The worst moment of two forward and backward passes of a model with few layers."""
    shallow = LlamaConfig(**{**config.to_dict(), "num_hidden_layers": layers})
    group = Group(torch.device("cpu"), 0, mesh.size(), mesh)
    with FakeTensorMode(allow_non_fake_inputs=True):
        trainee = Trainee(shallow, 0)
        machine.prepare(trainee, settings, layout, group)
        ids, positions = torch.zeros(tokens, dtype=torch.long), torch.arange(tokens)
        with Live(_local(trainee.parameters())) as live:
            for _ in range(2):  # the second one while the gradients of the first are there
                trainee(ids, ids, positions, [tokens]).backward()
    peak: int = live.peak
    return peak


def _local(parameters: Iterable[nn.Parameter]) -> Iterator[Tensor]:
    for parameter in parameters:
        yield parameter.to_local() if hasattr(parameter, "to_local") else parameter.data


@contextmanager
def _pretended(gpus: int, replicas: int) -> Iterator[DeviceMesh]:
    """A group of so many processes, of which only this one exists."""
    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=gpus)
    try:
        yield init_device_mesh("cpu", (replicas, gpus // replicas), mesh_dim_names=("replicas", "shards"))
    finally:
        dist.destroy_process_group()
