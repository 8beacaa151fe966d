"""Linear layers that multiply in 8 bits, and AdamW whose moments are kept in 8 bits: torchao's, optional.

Weights and gradients stay fp32 and what travels between processes bf16; only the operands of the layers'
products are rounded, row by row or tensor by tensor, each time anew.  The head stays in bf16, as everywhere.
torchao is imported only where it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeVar

import torch
from torch.distributed.tensor import DTensor

from corpus import Refusal
from train.model import Trainee

T = TypeVar("T")

FP8_MULTIPLE = 16
"""All sizes of an 8-bit product on a GPU are multiples of it; the backward pass sums over tokens."""


def linears(trainee: Trainee, kind: Literal["fp8", "int8"], device: torch.device) -> None:
    """Let the layers' products be done in 8 bits, in place, before the model is sharded."""
    if kind == "fp8":
        _installed(lambda: _fp8(trainee, device))
    else:
        _installed(lambda: _int8(trainee))


def refuse_tokens(tokens: int, device: torch.device) -> None:
    """Refuse passes of so many tokens that the 8-bit products of ``device`` cannot be had."""
    if tokens % FP8_MULTIPLE and _able(device):
        raise Refusal(
            f"fp8 multiplies {FP8_MULTIPLE} numbers at a time, and {tokens:,} tokens go through the model: "
            "give a length and a micro_batch whose product it divides."
        )


def adamw(groups: list[dict[str, Any]], **given: Any) -> torch.optim.Optimizer:
    """AdamW with both moments in blocks of 256 numbers of 8 bits and one fp32 scale."""

    def made() -> torch.optim.Optimizer:
        from torchao.optim import AdamW8bit

        optimizer: torch.optim.Optimizer = AdamW8bit(groups, **given)
        return optimizer

    return _installed(made)


def opened(state: Any) -> Any:
    """A state with its 8-bit tensors taken apart into plain ones, which checkpoints know; the same memory."""
    if isinstance(state, dict):
        return {name: opened(part) for name, part in state.items()}
    local: Any = state.to_local() if isinstance(state, DTensor) else state
    if not hasattr(local, "codes"):
        return state
    parts = {"codes": local.codes, "scale": local.scale}
    if not isinstance(state, DTensor):
        return parts
    where = state.device_mesh, state.placements
    return {name: DTensor.from_local(part, *where, run_check=False) for name, part in parts.items()}


def _fp8(trainee: Trainee, device: torch.device) -> None:
    from torchao.float8 import Float8LinearConfig, convert_to_float8_training

    # Emulated: rounded to 8 bits and multiplied in fp32, where the device has no such instructions.
    convert_to_float8_training(trainee.llama.model, config=Float8LinearConfig(emulate=not _able(device)))


def _able(device: torch.device) -> bool:
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 9)


def _int8(trainee: Trainee) -> None:
    from torchao.prototype.quantized_training import int8_mixed_precision_training
    from torchao.quantization import quantize_

    # Modules are swapped: as a wrapper of weights, FSDP's mixed precision takes it off without a word.
    quantize_(trainee.llama.model, int8_mixed_precision_training(module_swap=True))


def _installed(use: Callable[[], T]) -> T:
    try:
        return use()
    except ModuleNotFoundError as missing:
        raise Refusal(f"8 bits need {missing.name}: pip install 'fathom-coder[quantised]'.") from None
