"""AdamW with DeepSeek's numbers, the shapes of the learning rate, and clipping by a float64 norm."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor, nn

from train import quantise
from train.config import Pretrain

BETAS = (0.9, 0.95)
"""Paper, 3.4."""
WEIGHT_DECAY = 0.1
"""DeepSeek LLM, 2.3; on matrices, embeddings included, not on the norms' gains."""
CLIP = 1.0
"""DeepSeek LLM, 2.3."""


def adamw(model: nn.Module, states: Literal["fp32", "8bit"] = "fp32") -> torch.optim.Optimizer:
    """The optimizer; the learning rate is set at each step."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": WEIGHT_DECAY},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if states == "8bit":
        return quantise.adamw(groups, lr=0.0, betas=BETAS)
    return torch.optim.AdamW(groups, lr=0.0, betas=BETAS, fused=True)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of the next step."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):  # compiled steps read it from a tensor
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def rate(step: int, steps: int, settings: Pretrain) -> float:
    """The learning rate of step 0, 1, … of ``steps``: warm-up, then what ``schedule`` says.

    ``steps`` is the paper's (3.4): the rate is lower by sqrt(1/10) from the step on before which a share
    ``falls`` of the tokens has been seen.  The cosine goes from the end of the warm-up to that of the run.
    """
    if step < settings.warmup_steps:
        return settings.lr * (step + 1) / settings.warmup_steps
    if settings.schedule == "constant":
        return settings.lr
    if settings.schedule == "cosine":
        done = (step - settings.warmup_steps) / max(1, steps - 1 - settings.warmup_steps)
        wave = (1 + math.cos(math.pi * min(1.0, done))) / 2
        return settings.lr * (settings.lr_end + (1 - settings.lr_end) * wave)
    fallen = sum(step / steps >= share for share in settings.falls)
    return float(settings.lr * 10 ** (-fallen / 2))


def clip(parameters: Iterable[nn.Parameter], squares: Tensor, largest: float = CLIP) -> float:
    """Scale gradients so that their common norm is at most ``largest``; returns the norm before.

    Args:
        squares: (P,) their squared norms in float64, over all processes: in float32 the order of the sum
            shows in the weights.
    """
    # Rounded to float32, so that the last bits of the sum, which the number of processes moves, are gone.
    norm = float(squares.sum().sqrt().float())
    if norm > largest:
        for parameter in parameters:
            if parameter.grad is not None:
                parameter.grad.mul_(largest / norm)
    return norm
