"""Cross-entropy in fp32 without ever holding all logits: the head is applied a chunk of tokens at a time.

At 16k tokens and 32,256 ids the logits alone are 2 GB in fp32, their gradient as much again.  Here
each chunk's gradient is taken while its logits exist, so the extra memory is one chunk, and no matrix
product is done twice.  Sums, not means: who adds up micro-batches divides once, by the count of the
whole batch.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

IGNORED = -100
"""Label of tokens that are not predicted."""

CHUNK = 1024
"""Tokens whose logits exist at a time."""


def summed(hidden_TC: Tensor, head_VC: Tensor, labels_T: Tensor, chunk: int = CHUNK) -> Tensor:
    """Sum of -log p(label) over the labelled tokens, a float32 scalar; 0 where none is labelled.

    Args:
        hidden_TC: Last hidden states, float32 or bfloat16; products are done in this precision.
        head_VC: Weights of the head.
        labels_T: Ids to predict, already shifted; ``IGNORED`` where there is none.
    """
    loss: Tensor = _Summed.apply(  # type: ignore[no-untyped-call]
        hidden_TC, head_VC, labels_T, chunk, torch.is_grad_enabled()
    )
    return loss


@torch.no_grad()
def each(hidden_TC: Tensor, head_VC: Tensor, labels_T: Tensor, chunk: int = CHUNK) -> Tensor:
    """(T,) -log p(label) of every token in float32, 0 where none is labelled; without gradients."""
    with torch.autocast(hidden_TC.device.type, enabled=False):
        weights = head_VC.to(hidden_TC.dtype)
        parts = zip(torch.split(hidden_TC, chunk), torch.split(labels_T, chunk), strict=True)
        return torch.cat([_losses((part @ weights.T).float(), labels)[0] for part, labels in parts])


class _Summed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, head: Tensor, labels: Tensor, chunk: int, training: bool) -> Tensor:
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        of_hidden = torch.empty_like(hidden) if training else None
        of_head = torch.zeros_like(head, dtype=torch.float32) if training else None
        with torch.autocast(hidden.device.type, enabled=False):
            weights = head.to(hidden.dtype)
            for at in range(0, len(hidden), chunk):
                part, wanted = hidden[at : at + chunk], labels[at : at + chunk]
                logits = (part @ weights.T).float()
                losses, spread = _losses(logits, wanted)
                total += losses.sum()
                if of_hidden is None or of_head is None:
                    continue
                slope = _slope(logits, wanted, spread).to(hidden.dtype)
                of_hidden[at : at + chunk] = slope @ weights
                of_head += slope.T @ part
        ctx.save_for_backward(of_hidden, of_head)
        ctx.head_type = head.dtype
        return total

    @staticmethod
    def backward(ctx: Any, *of_loss: Tensor) -> tuple[Tensor | None, ...]:
        of_hidden, of_head = ctx.saved_tensors
        scale = of_loss[0]  # fp32: rounded to bf16 it would be wrong by up to 0.4 % for all tokens alike
        return (
            (of_hidden.float() * scale).to(of_hidden.dtype),
            (of_head * scale).to(ctx.head_type),
            None,
            None,
            None,
        )


def _losses(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """-log p(label) per token, and the log of the sum of exponentials; 0 and infinite without a label."""
    spread = torch.logsumexp(logits, dim=-1)
    losses = spread - logits.gather(1, labels.clamp(min=0)[:, None])[:, 0]
    ignored = labels == IGNORED
    return losses.masked_fill(ignored, 0.0), spread.masked_fill(ignored, torch.inf)


def _slope(logits: Tensor, labels: Tensor, spread: Tensor) -> Tensor:
    """Gradient of the summed loss by the logits, in their memory: softmax less one at the label."""
    slope = logits.sub_(spread[:, None]).exp_()  # exp(-inf) is 0 where there is no label
    labelled = (labels != IGNORED).to(slope.dtype)
    slope.scatter_add_(1, labels.clamp(min=0)[:, None], -labelled[:, None])
    return slope
