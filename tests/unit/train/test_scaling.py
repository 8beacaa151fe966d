"""The scaling law gives the numbers that DeepSeek published."""

from __future__ import annotations

import tomllib

import pytest

from corpus import Refusal
from train import cli, scaling
from train.config import Pretrain
from train.model import SHAPES


@pytest.mark.parametrize(
    ("model", "lr", "batch", "off"),
    [("6.7b", 4.2e-4, 2304, 0.01), ("33b", 3.5e-4, 3840, 0.02), ("llm-67b", 3.2e-4, 4608, 0.1)],
)
def test_two_trillion_tokens_give_the_published_rate_and_batch(
    model: str, lr: float, batch: int, off: float
) -> None:
    found = scaling.preset(SHAPES[model], 2 * 10**12, 4096)
    assert found.lr == pytest.approx(lr, rel=off) and found.batch == pytest.approx(batch, rel=off)


def test_the_verb_prints_a_run_file(capsys: pytest.CaptureFixture[str]) -> None:
    cli.preset("tiny", 10**9, length=1024)
    told = tomllib.loads(capsys.readouterr().out)["train"]["pretrain"]
    assert Pretrain(**told).tokens == 10**9 and told["batch"] >= 1 and 1e-4 < told["lr"] < 1e-2
    with pytest.raises(Refusal, match="3b is unknown: give one of"):
        cli.preset("3b", 10**9)
