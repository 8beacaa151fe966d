"""Attention stays inside documents, in DeepSeek's MLA as well, by either of its two ways."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import DeepseekV3Config, DeepseekV3ForCausalLM

from train import attention

ENDS = [20, 33, 70]


@pytest.fixture(scope="module")
def latent() -> DeepseekV3ForCausalLM:
    """MLA with queries and keys 48 wide and values 32, and two layers of experts."""
    config = DeepseekV3Config(
        vocab_size=500, hidden_size=64, intermediate_size=96, moe_intermediate_size=32, num_hidden_layers=3,
        num_attention_heads=4, num_key_value_heads=4, n_routed_experts=4, num_experts_per_tok=2, n_group=1,
        topk_group=1, first_k_dense_replace=1, q_lora_rank=32, kv_lora_rank=16, qk_nope_head_dim=32,
        qk_rope_head_dim=16, v_head_dim=32, n_shared_experts=1, max_position_embeddings=128,
    )  # fmt: skip
    torch.manual_seed(0)
    model = DeepseekV3ForCausalLM(config)
    model.set_attn_implementation(attention.NAME)
    return model


def loss(model: Any, ids: Tensor, positions: Tensor, ends: list[int]) -> Tensor:
    """Summed loss of next tokens inside pieces."""
    pieces = attention.Pieces(ends, ids.device)
    out = model.model(input_ids=ids[None], position_ids=positions[None], use_cache=False, pieces=pieces)
    logits, labels = model.lm_head(out.last_hidden_state[0]), ids.roll(-1)
    labels[[end - 1 for end in ends]] = -100
    return torch.nn.functional.cross_entropy(logits, labels, reduction="sum")


def test_packed_is_separate_with_latent_attention_and_experts(latent: DeepseekV3ForCausalLM) -> None:
    ids = torch.randint(0, 500, (ENDS[-1],))
    spans = list(itertools.pairwise([0, *ENDS]))
    positions = torch.cat([torch.arange(end - start) for start, end in spans])
    together = loss(latent, ids, positions, ENDS)
    together.backward()
    packed = [p.grad.clone() for p in latent.parameters() if p.grad is not None]
    latent.zero_grad()
    apart = [loss(latent, ids[s:e], torch.arange(e - s), [e - s]) for s, e in spans]
    sum(apart).backward()
    torch.testing.assert_close(together, sum(apart))
    separate = [p.grad for p in latent.parameters() if p.grad is not None]
    torch.testing.assert_close(packed, separate, rtol=1e-4, atol=1e-4)


def test_without_the_mask_a_document_sees_the_one_before_it(latent: DeepseekV3ForCausalLM) -> None:
    """``attend = "row"``, as DeepSeek-V3 was pretrained: one piece, whose end is that of the row."""
    ids, changed = (torch.randint(0, 500, (70,)) for _ in range(2))
    changed[20:] = ids[20:]
    hidden = []
    for row in (ids, changed):
        pieces = attention.Pieces([70], row.device)
        where = torch.arange(70)[None]
        out = latent.model(input_ids=row[None], position_ids=where, use_cache=False, pieces=pieces)
        hidden.append(out.last_hidden_state[0, 20:])
    assert not torch.allclose(*hidden)


def one_width(query: Tensor, key: Tensor, value: Tensor, borders: Tensor, *_: Any, **given: Any) -> Tensor:
    """What the flash kernel does, with its demand that all widths be one; (T, H, D)."""
    assert query.shape[-1] == key.shape[-1] == value.shape[-1] and given["window_size"] == (-1, 0)
    parts = [
        scaled_dot_product_attention(
            *(tensor[start:end].transpose(0, 1) for tensor in (query, key, value)),
            is_causal=True, scale=given["scale"], enable_gqa=given["enable_gqa"],
        ).transpose(0, 1)
        for start, end in itertools.pairwise(borders.tolist())
    ]  # fmt: skip
    return torch.cat(parts)


@pytest.mark.parametrize(("kv_heads", "width"), [(4, 32), (4, 48), (2, 48)])
def test_what_the_flash_kernel_is_given_comes_to_the_same(
    monkeypatch: pytest.MonkeyPatch, kv_heads: int, width: int
) -> None:
    monkeypatch.setattr(attention, "varlen_attn", one_width)  # it has no kernel for a CPU
    query, key = torch.randn(1, 4, 70, 48), torch.randn(1, kv_heads, 70, 48)
    value, pieces = torch.randn(1, kv_heads, 70, width), attention.Pieces(ENDS, torch.device("cpu"))
    plain, _ = attention.within_documents(torch.nn.Module(), query, key, value, pieces=pieces)
    torch.testing.assert_close(attention._flash(query, key, value, pieces, None), plain)
