"""How much of the hardware a step puts to use: model FLOPs over time (MFU, PaLM's appendix B).

Counted is what the mathematics of the model asks for, forward and backward: activations that are computed
again and attention across documents are none of it.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from transformers import LlamaConfig

PEAKS = {
    "A100": 312e12,
    "A800": 312e12,
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "H800": 989e12,
    "H200": 989e12,
    "B200": 2250e12,
    "L40S": 362e12,
    "4090": 165e12,
}
"""Dense bf16 FLOPs a second by the vendor's data sheets; a device is known by the first name in its own."""


def of_pieces(config: LlamaConfig, lengths: Iterable[int]) -> float:
    """FLOPs of training on pieces of so many tokens, each attended causally by itself.

    A parameter of a matrix costs 6 a token (2 forward, 4 backward), the input embedding nothing; attention
    costs 6 times layers, width and half the square of the length, twice: for scores and for values.
    """
    linear, squares = 6.0 * matrices(config), 6.0 * config.num_hidden_layers * config.hidden_size
    return sum(linear * length + squares * length * length for length in lengths)


def matrices(config: LlamaConfig) -> int:
    """Parameters of the layers' matrices and the head."""
    hidden, heads = config.hidden_size, config.num_attention_heads
    attention = 2 * hidden * (hidden // heads) * (heads + (config.num_key_value_heads or heads))
    layer = attention + 3 * hidden * config.intermediate_size
    return int(config.num_hidden_layers * layer + hidden * config.vocab_size)


def peak(device: torch.device) -> float | None:
    """What the device could do at most in bf16, in FLOPs a second; None where no data sheet says."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((flops for part, flops in PEAKS.items() if part in name), None)
