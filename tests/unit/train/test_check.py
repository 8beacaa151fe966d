"""What was foretold is measured by the loop itself; here on a processor."""

from __future__ import annotations

import sys

import pytest
import torch

from corpus import Refusal
from train import check, cli, shard


def test_the_memory_of_a_step_is_what_was_foretold(capsys: pytest.CaptureFixture[str]) -> None:
    lines = check.foretold(1, None)
    with shard.joined() as group:
        (found,) = check.measure(lines, group)
    assert isinstance(found.measured, check.Measured) and found.measured.speed > 0
    assert found.measured.peak == pytest.approx(found.foretold.need.peak, rel=0.03)
    _, row = check.table([found], "cpu")
    assert row.startswith("| nano, 256, none, fp32 |")


def test_what_does_not_fit_is_told_and_not_run() -> None:
    ((settings, line),) = check.foretold(1, None)
    unfit = line._replace(foretold=line.foretold._replace(fits=False))
    (found,) = check.measure([(settings, unfit)], shard.Group(torch.device("cpu")))
    assert "does not fit" in list(check.table([found], "cpu"))[1]


def test_a_line_that_cannot_be_run_says_why_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchao.float8", None)
    monkeypatch.setattr(check, "ON_CPU", (check.Case("nano", 256, precision="fp8"), *check.ON_CPU))
    lines = check.foretold(1, None)
    with shard.joined() as group:
        missing, found = check.measure(lines, group)
    assert "pip install 'fathom-coder[quantised]'" in str(missing.measured)
    assert isinstance(found.measured, check.Measured)


def test_rows_of_several_documents_end_where_documents_do() -> None:
    batch = check.Drawn(50, 10, 4).batch([0, 1], torch.device("cpu"))
    assert batch.ends == [4, 8, 10, 14, 18, 20] and batch.labelled == 14
    assert batch.positions_T.tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1] * 2
    assert (batch.labels_T == -100).nonzero().flatten().tolist() == [3, 7, 9, 13, 17, 19]


def test_without_a_gpu_it_is_said_in_a_line() -> None:
    with pytest.raises(Refusal, match="no GPU is here to be measured: `train plan` says"):
        cli.check_gpu()
