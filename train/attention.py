"""Attention inside documents only, registered with transformers under one name for every device.

A packed row holds several pieces, and none may see another.  Instead of a dense mask (256 MiB at 16k
tokens, and silently dropped when a cache is on) the model is told where pieces end: on CUDA with 16-bit
inputs a variable-length flash kernel takes that as it is; elsewhere each piece is attended by itself.

Shapes: B rows, here always 1; H heads; T tokens; D width of a head.
"""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.varlen import varlen_attn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

NAME = "within_documents"


def within_documents(
    module: torch.nn.Module,
    query_BHTD: Tensor,
    key_BHTD: Tensor,
    value_BHTD: Tensor,
    attention_mask: Tensor | None = None,
    *,
    ends: list[int],
    scaling: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Causal attention within each piece; keys and values may have fewer heads than queries.

    Args:
        ends: Where pieces end, ascending; the last is T.

    Returns:
        (B, T, H, D) as transformers wants it, and no weights.
    """
    assert attention_mask is None, "pieces are told by their ends, not by a mask"
    assert len(query_BHTD) == 1 and ends[-1] == query_BHTD.shape[2], "one row, wholly covered"
    if query_BHTD.is_cuda and query_BHTD.dtype in (torch.bfloat16, torch.float16):
        return _flash(query_BHTD, key_BHTD, value_BHTD, ends, scaling), None
    parts = [
        scaled_dot_product_attention(
            query_BHTD[:, :, start:end],
            key_BHTD[:, :, start:end],
            value_BHTD[:, :, start:end],
            is_causal=True,
            scale=scaling,
            enable_gqa=query_BHTD.shape[1] != key_BHTD.shape[1],
        )
        for start, end in itertools.pairwise([0, *ends])
    ]
    return torch.cat(parts, dim=2).transpose(1, 2), None


def _flash(query: Tensor, key: Tensor, value: Tensor, ends: list[int], scaling: float | None) -> Tensor:
    lengths = torch.tensor([0, *ends], dtype=torch.int32, device=query.device)
    longest = max(end - start for start, end in itertools.pairwise([0, *ends]))
    out = varlen_attn(
        query[0].transpose(0, 1),
        key[0].transpose(0, 1),
        value[0].transpose(0, 1),
        lengths,
        lengths,
        longest,
        longest,
        scale=scaling,
        window_size=(-1, 0),  # causal
        enable_gqa=query.shape[1] != key.shape[1],
    )
    assert isinstance(out, Tensor)
    return out[None]


AttentionInterface.register(NAME, within_documents)
