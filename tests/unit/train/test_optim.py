"""DeepSeek's schedule at its corners, and clipping by a norm that does not depend on the order."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from train import optim, shard
from train.config import Pretrain

from .conftest import ALONE

SETTINGS = Pretrain(lr=1.0, warmup_steps=20)


@pytest.mark.parametrize(
    ("step", "wanted"),
    [
        (0, 1 / 20),
        (9, 0.5),
        (19, 1),
        (20, 1),
        (799, 1),
        (800, 10**-0.5),
        (899, 10**-0.5),
        (900, 0.1),
        (999, 0.1),
    ],
)
def test_the_rate_warms_up_and_falls_twice_by_the_root_of_ten(step: int, wanted: float) -> None:
    assert optim.rate(step, 1000, SETTINGS) == pytest.approx(wanted)


@pytest.mark.parametrize(("step", "wanted"), [(0, 0.05), (19, 1), (20, 1), (509, 0.5507), (999, 0.1)])
def test_the_cosine_goes_from_the_warm_up_to_its_end(step: int, wanted: float) -> None:
    settings = replace(SETTINGS, schedule="cosine")
    assert optim.rate(step, 1000, settings) == pytest.approx(wanted, abs=1e-3)


def test_a_constant_rate_and_other_falls_are_settings() -> None:
    assert optim.rate(999, 1000, replace(SETTINGS, schedule="constant", warmup_steps=0)) == 1
    assert optim.rate(600, 1000, replace(SETTINGS, falls=(0.6, 0.9))) == pytest.approx(10**-0.5)


def test_gradients_are_scaled_to_norm_one_and_small_ones_are_left_alone() -> None:
    big, small = torch.nn.Parameter(torch.zeros(3)), torch.nn.Parameter(torch.zeros(2))
    big.grad, small.grad = torch.tensor([3.0, 0.0, 0.0]), torch.tensor([0.0, 4.0])
    assert optim.clip([big, small], shard.squares([big, small], ALONE)) == 5
    assert big.grad.tolist() == pytest.approx([0.6, 0, 0]) and small.grad.tolist() == pytest.approx([0, 0.8])
    before = big.grad.clone()
    assert optim.clip([big], shard.squares([big], ALONE)) == pytest.approx(0.6)
    assert torch.equal(big.grad, before)


def test_only_matrices_decay() -> None:
    groups = optim.adamw(torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.LayerNorm(2))).param_groups
    decays = {(p.ndim, group["weight_decay"]) for group in groups for p in group["params"]}
    assert decays == {(2, 0.1), (1, 0.0)} and groups[0]["betas"] == (0.9, 0.95)
