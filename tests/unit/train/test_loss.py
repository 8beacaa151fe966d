"""The chunked loss is cross-entropy, its gradients too."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy

from train import loss


def inputs(
    tokens: int = 37, width: int = 16, ids: int = 53
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    hidden = torch.randn(tokens, width, requires_grad=True)
    head = torch.randn(ids, width, requires_grad=True)
    labels = torch.randint(0, ids, (tokens,))
    labels[::5] = loss.IGNORED
    return hidden, head, labels


@pytest.mark.parametrize("chunk", [1, 8, 1000])
def test_sum_and_gradients_are_those_of_torch_on_full_logits(chunk: int) -> None:
    hidden, head, labels = inputs()
    oracle = cross_entropy(hidden @ head.T, labels, ignore_index=loss.IGNORED, reduction="sum")
    wanted = torch.autograd.grad(oracle / 3, (hidden, head))
    ours = loss.summed(hidden, head, labels, chunk)
    torch.testing.assert_close(ours, oracle)
    torch.testing.assert_close(torch.autograd.grad(ours / 3, (hidden, head)), wanted)


def test_nothing_labelled_is_zero_and_not_nan() -> None:
    hidden, head, labels = inputs()
    total = loss.summed(hidden, head, torch.full_like(labels, loss.IGNORED))
    total.backward()
    assert total.item() == 0 and hidden.grad.abs().max() == 0 and head.grad.abs().max() == 0


def test_bf16_inputs_still_give_a_sum_in_fp32() -> None:
    hidden, head, labels = inputs()
    full = loss.summed(hidden, head, labels)
    half = loss.summed(hidden.bfloat16(), head, labels)
    assert half.dtype == torch.float32 and half.item() == pytest.approx(full.item(), rel=1e-2)
    assert half.item() != half.bfloat16().item()


def test_the_value_is_the_same_without_gradients() -> None:
    hidden, head, labels = inputs()
    with torch.no_grad():
        assert loss.summed(hidden, head, labels) == loss.summed(hidden.detach(), head, labels)
