"""How a model lies on the machine: what is kept for the backward pass, what is compiled, who holds what.

None of this changes what is learned by more than rounding, so a run may go on with other choices.
"""

from __future__ import annotations

import logging
import os
import re
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

from train import quantise, shard
from train.config import Machine, Pretrain
from train.model import Trainee
from train.shard import Group

log = logging.getLogger(__name__)

_aten = torch.ops.aten
PRODUCTS = {
    _aten.mm.default,
    _aten.addmm.default,
    _aten._scaled_dot_product_flash_attention_for_cpu.default,
    _aten._scaled_dot_product_flash_attention.default,
    _aten._scaled_dot_product_efficient_attention.default,
    _aten._scaled_dot_product_cudnn_attention.default,
    torch.ops.torch_attn._varlen_attn.default,
}
"""What costs arithmetic; everything else in a layer costs a trip through memory."""


def prepare(trainee: Trainee, settings: Pretrain, machine: Machine, group: Group) -> None:
    """Quantise, checkpoint, compile and shard ``trainee``, in place, for its first forward pass."""
    if group.device.type == "cuda":
        _repeat(not machine.nondeterministic)
    if settings.precision in ("fp8", "int8"):
        quantise.linears(trainee, settings.precision, group.device)
    for layer in trainee.llama.model.layers:
        if machine.compile:
            layer.forward = torch.compile(layer.forward)
        recompute(layer, machine)
    shard.apply(trainee, group, settings.precision)
    if group.device.type != "cpu":
        trainee.to(
            group.device
        )  # what sharding has not moved yet, layer by layer: no GPU ever holds it whole


def _repeat(bits: bool) -> None:
    """Have CUDA's kernels give the same ``bits`` each time, or not.

    Only torch's strict mode has flash attention's backward pass add up in one order: with ``warn_only`` it
    does as it likes.
    """
    # Read by cuBLAS when it is first used; without it, strict mode refuses every matrix product.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # Else every new tensor is filled first: that finds bugs, and costs a pass over memory.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.use_deterministic_algorithms(bits)


def recompute(layer: nn.Module, machine: Machine) -> None:
    """Let a layer keep less for the backward pass, which computes it again; the gradients are the same bits.

    "none" keeps all, "selective" what matrix products and attention return, "full" the layer's input alone
    (names as in Megatron-LM's --recompute-granularity).  A compiled layer stays as it is for "selective":
    the compiler's partitioner keeps the products anyway, and inside its graphs no policy can see them.
    """
    if machine.recompute == "none" or (machine.compile and machine.recompute == "selective"):
        return
    contexts: dict[str, Any] = {}
    if machine.recompute == "selective":
        contexts = {"context_fn": partial(create_selective_checkpoint_contexts, _policy)}
    layer.forward = partial(
        checkpoint, layer.forward, use_reentrant=False, preserve_rng_state=False, **contexts
    )


def _policy(context: Any, operator: Any, *_: Any, **__: Any) -> CheckpointPolicy:
    return CheckpointPolicy.MUST_SAVE if operator in PRODUCTS else CheckpointPolicy.PREFER_RECOMPUTE


def warn(settings: Pretrain, group: Group) -> None:
    """Say so where fewer bits make a run slower."""
    if settings.precision != "fp32" and group.device.type == "cpu" and not multiplies_bf16():
        log.warning("this processor has no bf16 instructions: --precision fp32 is many times faster here.")


def multiplies_bf16(described: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the processor has instructions for bf16; where it cannot be asked, it is believed to."""
    # avx512_bf16 and amx_bf16 on x86, bf16 on ARM.
    return not described.exists() or re.search(r"bf16\b", described.read_text()) is not None
