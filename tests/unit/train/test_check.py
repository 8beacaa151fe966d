"""What was foretold is measured by the loop itself; here on a processor."""

from __future__ import annotations

import pytest
import torch

from corpus import Refusal
from train import check, cli, shard


def test_the_memory_of_a_step_is_what_was_foretold(capsys: pytest.CaptureFixture[str]) -> None:
    lines = check.foretold(1, None)
    with shard.joined() as group:
        (found,) = check.measure(lines, group)
    assert found.measured is not None
    peak, speed = found.measured
    assert peak == pytest.approx(found.foretold.need.peak, rel=0.03) and speed > 0
    assert "| nano, 256, none |" in check.table([found], "cpu")


def test_what_does_not_fit_is_told_and_not_run() -> None:
    ((settings, line),) = check.foretold(1, None)
    unfit = line._replace(foretold=line.foretold._replace(fits=False))
    (found,) = check.measure([(settings, unfit)], shard.Group(torch.device("cpu")))
    assert found.measured is None and "does not fit" in check.table([found], "cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_without_a_gpu_it_is_said_in_a_line() -> None:
    with pytest.raises(Refusal, match="no GPU is here to be measured: `train plan` says"):
        cli.check_gpu()
