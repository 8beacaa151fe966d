"""What is computed for GPUs that are not here agrees with what others measured on them."""

from __future__ import annotations

import contextlib
import itertools
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts
from transformers import LlamaConfig

from corpus import Refusal
from train import footprint, loss, machine, plan
from train.config import Machine, Plan, Pretrain
from train.footprint import GIB

LLAMA3_8B = LlamaConfig(
    vocab_size=128_256, hidden_size=4096, intermediate_size=14_336, num_hidden_layers=32,
    num_attention_heads=32, num_key_value_heads=8,
)  # fmt: skip
LLAMA2_7B = LlamaConfig(vocab_size=32_000)

PUBLISHED = [
    # torchtitan, docs/performance.md of December 2024, on H100s with less power and slower memory than usual
    (LLAMA3_8B, Plan(length=8192, micro_batch=2), "selective", 5_762),
    (LLAMA3_8B, Plan(length=8192, micro_batch=2, compile=True), "selective", 6_667),
    (LLAMA3_8B, Plan(length=8192, micro_batch=2, compile=True, gpus=128), "selective", 6_514),
    (LLAMA3_8B, Plan(length=8192, micro_batch=2, compile=True, precision="fp8"), "selective", 8_532),
    (
        LLAMA3_8B,
        Plan(length=8192, micro_batch=2, compile=True, precision="fp8", gpus=128),
        "selective",
        8_380,
    ),
    (LLAMA3_8B, Plan(length=32_768, compile=True, precision="fp8"), "full", 3_890),
    # KempnerForge, 7B on one and four H200
    (LLAMA2_7B, Plan(length=4096, compile=True, gpu="H200", gpus=1), "full", 10_471),
    (LLAMA2_7B, Plan(length=4096, compile=True, gpu="H200", gpus=4), "full", 9_746),
]
"""Whose attention added up in any order."""

ONE = partial(Plan, model="1.3b", gpus=1)
OURS = [
    # docs/benchmarks.md, 26 November 2026
    (ONE(length=4096, micro_batch=4, nondeterministic=True), "none", 30_196),
    (ONE(length=4096, micro_batch=4, compile=True), "none", 40_975),
    (ONE(document=2048, compile=True), "none", 47_366),
    (ONE(document=2048, compile=True, nondeterministic=True), "none", 47_725),
    (ONE(), "selective", 16_883),
    (ONE(gpu="H200"), "selective", 18_346),
    (ONE(gpu="H200", nondeterministic=True), "selective", 23_031),
    (ONE(gpu="H200"), "full", 16_139),
    (ONE(gpu="H200", compile=True), "none", 22_341),
    (ONE(gpu="H200", document=2048, compile=True), "none", 45_731),
    (ONE(gpu="H200", length=4096, precision="fp32"), "none", 2_571),
]
SPEEDS = [
    *((config, replace(settings, nondeterministic=True), *rest) for config, settings, *rest in PUBLISHED),
    *((plan.configuration(settings), settings, *rest) for settings, *rest in OURS),
]


@pytest.mark.parametrize(("config", "settings", "recompute", "measured"), SPEEDS)
def test_measured_speeds_lie_in_the_band_that_is_printed(
    config: LlamaConfig, settings: Plan, recompute: Any, measured: float
) -> None:
    low, high = plan.BAND
    assert low <= measured / plan.tokens_a_second(config, settings, recompute) <= high


def test_memory_is_that_of_an_h100_and_an_h200() -> None:
    """GiB allocated at most, docs/benchmarks.md, 26 November 2026."""
    for settings, recompute, measured in (
        (ONE(length=4096), "none", 29.90),
        (ONE(), "selective", 40.66),
    ):
        found = plan.line(plan.configuration(settings), settings, recompute)  # type: ignore[arg-type]
        assert found.need.peak / GIB == pytest.approx(measured, rel=0.01)


def test_small_passes_are_said_to_be_slower_than_foretold() -> None:
    settings = ONE(length=4096)
    assert "--micro-batch 4" in plan.table(plan.lines(settings), settings)


def all_logits(hidden: Tensor, head: Tensor, labels: Tensor) -> Tensor:
    """The loss that torchtitan had when it published."""
    return torch.nn.functional.cross_entropy((hidden @ head.T).float(), labels, reduction="sum")


def every_second_product(layer: nn.Module, _: Machine) -> None:
    """torchtitan's selective checkpointing."""

    def contexts() -> tuple[contextlib.AbstractContextManager[None], ...]:
        counts = {False: itertools.count(), True: itertools.count()}

        def policy(context: Any, operator: Any, *_: Any, **__: Any) -> CheckpointPolicy:
            kept = operator in machine.PRODUCTS
            if operator is torch.ops.aten.mm.default:
                kept = next(counts[context.is_recompute]) % 2 == 0
            return CheckpointPolicy.MUST_SAVE if kept else CheckpointPolicy.PREFER_RECOMPUTE

        return create_selective_checkpoint_contexts(policy)

    layer.forward = partial(checkpoint, layer.forward, use_reentrant=False, context_fn=contexts)


def test_memory_is_that_of_torchtitans_published_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reserved 83.9 GiB with full checkpointing at 32k, 77.0 compiled and 82.4 eager with selective at 8k."""
    monkeypatch.setattr(loss, "summed", all_logits)
    full = footprint.of_step(LLAMA3_8B, Pretrain(), Machine(recompute="full"), 8, 32_768)
    monkeypatch.setattr(machine, "recompute", every_second_product)
    selective = footprint.of_step(LLAMA3_8B, Pretrain(), Machine(), 8, 2 * 8192)
    assert 0.85 <= full.peak / GIB / 83.9 <= 1.05 and 0.85 <= selective.peak / GIB / 82.4 <= 1.0


def test_6_7b_at_16k_fits_eight_gpus_of_80_gb_with_its_products_kept() -> None:
    none, selective, full = plan.lines(Plan())
    assert (none.fits, selective.fits, full.fits) == (False, True, True)
    assert "Take --recompute selective" in plan.table([none, selective, full], Plan())
    assert selective.speed == none.speed > full.speed


def test_33b_at_16k_does_not_fit_and_sixteen_gpus_are_a_way_out() -> None:
    """DeepSeek-Coder, issue 78."""
    settings = Plan(model="33b")
    least = plan.line(plan.configuration(settings), settings, "full")
    assert not least.fits
    said = plan.table([least], settings)
    assert "does not fit 8 x H100" in said and "--gpus 16 with --recompute full" in said


def test_what_is_foretold_for_a_processor_is_what_it_needs() -> None:
    """The same passes on real tensors, all of them counted."""
    settings = Plan(model="nano", length=256)
    config, trained = plan.configuration(settings), Pretrain(model="nano", precision="fp32")
    foretold = footprint.of_step(config, trained, Machine(), 1, 256)
    trainee = footprint.Trainee(config, 0)
    ids = torch.zeros(256, dtype=torch.long)
    with footprint.Live(trainee.parameters()) as live:
        for _ in range(2):
            trainee(ids, ids, torch.arange(256), [256]).backward()
    assert foretold.rest == pytest.approx(live.peak, rel=0.02)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"gpu": "H20"}, "--gpu H20 is unknown: give one of A100"),
        ({"gpus": 0}, "gpus is 0: give at least 1"),
        ({"replicas": 3}, "replicas is 3: give a divisor of 8"),
        ({"document": -5}, "document is -5: give 0 or more"),
    ],
)
def test_what_cannot_be_planned_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(Refusal, match=said):
        plan.lines(Plan(**given))
