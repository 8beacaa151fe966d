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
from torch.nn.functional import pad, scaled_dot_product_attention
from transformers import AttentionInterface

NAME = "within_documents"


class Pieces:
    """Where the pieces of a row end, made once for all layers of a forward pass.

    A plain class on purpose: the compiler looks into lists and tuples, and would compile again for every
    row whose documents have other lengths.
    """

    def __init__(self, ends: list[int], device: torch.device) -> None:
        """``ends`` ascend; the last is T."""
        self.spans = list(itertools.pairwise([0, *ends]))
        self.longest = max(end - start for start, end in self.spans)
        self.borders = torch.tensor([0, *ends], dtype=torch.int32, device=device)


@torch.compiler.disable  # type: ignore[untyped-decorator]  # a compiled layer is two graphs around it
def within_documents(
    module: torch.nn.Module,
    query_BHTD: Tensor,
    key_BHTD: Tensor,
    value_BHTD: Tensor,
    attention_mask: Tensor | None = None,
    *,
    pieces: Pieces,
    scaling: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Causal attention within each piece.

    Keys and values may have fewer heads than queries, and values a width of their own (DeepSeek's MLA).

    Returns:
        (B, T, H, D) as transformers wants it, and no weights.
    """
    assert attention_mask is None, "pieces are told by their ends, not by a mask"
    assert len(query_BHTD) == 1 and pieces.spans[-1][1] == query_BHTD.shape[2], "one row, wholly covered"
    if query_BHTD.is_cuda and query_BHTD.dtype in (torch.bfloat16, torch.float16):
        return _flash(query_BHTD, key_BHTD, value_BHTD, pieces, scaling), None
    parts = [
        scaled_dot_product_attention(
            query_BHTD[:, :, start:end],
            key_BHTD[:, :, start:end],
            value_BHTD[:, :, start:end],
            is_causal=True,
            scale=scaling,
            enable_gqa=query_BHTD.shape[1] != key_BHTD.shape[1],
        )
        for start, end in pieces.spans
    ]
    return torch.cat(parts, dim=2).transpose(1, 2), None


def _flash(query: Tensor, key: Tensor, value: Tensor, pieces: Pieces, scaling: float | None) -> Tensor:
    # The kernel wants one width for all: zeros beside the values add zeros beside the result.
    width, narrower = value.shape[-1], query.shape[-1] - value.shape[-1]
    out = varlen_attn(
        query[0].transpose(0, 1),
        key[0].transpose(0, 1),
        pad(value, (0, narrower))[0].transpose(0, 1) if narrower else value[0].transpose(0, 1),
        pieces.borders,
        pieces.borders,
        pieces.longest,
        pieces.longest,
        scale=query.shape[-1] ** -0.5 if scaling is None else scaling,
        window_size=(-1, 0),  # causal
        enable_gqa=query.shape[1] != key.shape[1],
    )
    assert isinstance(out, Tensor)
    return out[None, ..., :width]


AttentionInterface.register(NAME, within_documents)
