"""What saves memory or time on a machine leaves gradients as they are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from train import machine
from train.batches import Rows
from train.config import Machine
from train.run import Sources, start

from .conftest import ALONE, TRAIN


def backward(sources: Sources, rows: Rows, layout: Machine) -> tuple[int, list[torch.Tensor]]:
    """Bytes that the forward pass keeps for the backward one, and the gradients."""
    run = start(sources, TRAIN, ALONE, layout)
    batch = rows.batch([0, 1], run.device)
    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = run.trainee(batch.ids_T, batch.labels_T, batch.positions_T, batch.ends)
    loss.backward()
    return sum(kept.values()), [p.grad for p in run.trainee.parameters() if p.grad is not None]


@pytest.mark.parametrize("recompute", ["selective", "full"])
def test_what_is_recomputed_gives_the_same_bits_from_less_memory(
    sources: Sources, rows: Rows, recompute: str
) -> None:
    most, wanted = backward(sources, rows, Machine())
    kept, gradients = backward(sources, rows, Machine(recompute=recompute))
    assert all(torch.equal(*pair) for pair in zip(gradients, wanted, strict=True))
    assert kept < most / 2  # selective keeps products in a store of its own, which is not counted here


def test_selective_computes_no_product_of_the_forward_pass_again(sources: Sources, rows: Rows) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    counts = {}
    for recompute in ("none", "selective", "full"):
        with FlopCounterMode(display=False) as counter:
            backward(sources, rows, Machine(recompute=recompute))
        counts[recompute] = counter.get_total_flops()
    assert counts["selective"] == counts["none"] < counts["full"]


def test_compiled_layers_give_the_gradients_of_eager_ones(sources: Sources, rows: Rows) -> None:
    most, wanted = backward(sources, rows, Machine())
    kept, gradients = backward(sources, rows, Machine(compile=True))
    for compiled, eager in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(
            compiled, eager, rtol=1e-4, atol=1e-3
        )  # summed losses: gradients reach 100
    assert kept < most


def test_the_same_bits_are_asked_for_strictly(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a warning instead, flash attention's backward pass adds up in any order all the same."""
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    try:
        machine._repeat(True)
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.is_deterministic_algorithms_warn_only_enabled()
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
        machine._repeat(False)
        assert not torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize(
    ("flags", "able"), [("avx2 avx512_bf16 aes", True), ("asimd bf16", True), ("avx2 fma", False)]
)
def test_a_processor_without_bf16_instructions_is_known(tmp_path: Path, flags: str, able: bool) -> None:
    (tmp_path / "cpuinfo").write_text(f"flags\t\t: {flags}\n")
    assert machine.multiplies_bf16(tmp_path / "cpuinfo") is able
    assert machine.multiplies_bf16(tmp_path / "nowhere")
