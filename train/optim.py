"""AdamW with DeepSeek's numbers, its three-step learning rate, and clipping by a float64 norm."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from train.config import Pretrain

BETAS = (0.9, 0.95)
"""Paper, 3.4."""
WEIGHT_DECAY = 0.1
"""DeepSeek LLM, 2.3; on matrices, embeddings included, not on the norms' gains."""
CLIP = 1.0
"""DeepSeek LLM, 2.3."""


def adamw(model: nn.Module) -> torch.optim.AdamW:
    """The optimizer; the learning rate is set at each step."""
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": WEIGHT_DECAY},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=0.0, betas=BETAS, fused=True)


def rate(step: int, steps: int, settings: Pretrain) -> float:
    """The learning rate of step 0, 1, … of ``steps``: warm-up, then three stages, each lower by sqrt(1/10).

    A stage begins with the step during which its share of the tokens has been seen (paper, 3.4).
    """
    if step < settings.warmup_steps:
        return settings.lr * (step + 1) / settings.warmup_steps
    seen = step / steps
    stages = (seen >= settings.second_stage) + (seen >= settings.third_stage)
    return float(settings.lr * 10 ** (-stages / 2))


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
