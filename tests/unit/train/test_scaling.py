"""The scaling law gives the numbers that DeepSeek published."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from corpus import Refusal
from train import cli, optim, scaling
from train.config import Instruct, Pretrain
from train.model import SHAPES

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("model", "lr", "batch", "off"),
    [("6.7b", 4.2e-4, 2304, 0.01), ("33b", 3.5e-4, 3840, 0.02), ("llm-67b", 3.2e-4, 4608, 0.1)],
)
def test_two_trillion_tokens_give_the_published_rate_and_batch(
    model: str, lr: float, batch: int, off: float
) -> None:
    found = scaling.preset(SHAPES[model], 2 * 10**12, 4096)
    assert found.lr == pytest.approx(lr, rel=off) and found.batch == pytest.approx(batch, rel=off)


def test_the_papers_curriculum_adds_up() -> None:
    run = tomllib.loads((ROOT / "runs/deepseek.toml").read_text())["train"]
    base, long = run["pretrain"], run["pretrain"]["phases"]["long"]
    assert long["tokens"] == 1000 * long["batch"] * run["pack"]["phases"]["long"]["length"]
    assert optim.rate(999, 1000, Pretrain(lr=base["lr"], warmup_steps=20)) == pytest.approx(long["lr"])
    assert run["instruct"]["batch"] * run["chat"]["length"] == pytest.approx(4e6, rel=0.05)
    told, defaults = run["instruct"], Instruct()
    assert {name: getattr(defaults, name) for name in told} == told
    assert {name: getattr(Pretrain(), name) for name in ("falls", "warmup_steps", "schedule")} == {
        "falls": tuple(base["falls"]), "warmup_steps": base["warmup_steps"], "schedule": base["schedule"]
    }  # fmt: skip


def test_the_verb_prints_a_run_file(capsys: pytest.CaptureFixture[str]) -> None:
    cli.preset("tiny", 10**9, length=1024)
    told = tomllib.loads(capsys.readouterr().out)["train"]["pretrain"]
    assert Pretrain(**told).tokens == 10**9 and told["batch"] >= 1 and 1e-4 < told["lr"] < 1e-2
    with pytest.raises(Refusal, match="3b is unknown: give one of"):
        cli.preset("3b", 10**9)
    for tokens, length in ((0, 4096), (10**9, 0)):
        with pytest.raises(Refusal, match="give at least 1 of each"):
            cli.preset("tiny", tokens, length=length)
