"""Eight bits run on a CPU: the wiring, not the speed; the loss stays in a band around that of bf16."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import pytest

import corpus
from corpus import Refusal
from tests.waiting import until
from train import cli, quantise
from train.config import Pretrain

from .conftest import TRAIN

PROGRAM = """
import functools, pathlib, sys, torch
torch.set_num_threads(1)
torch.compile = functools.partial(torch.compile, backend="eager")  # torchao's step is half a minute otherwise
from train import cli
from train.config import Pretrain
cli.pretrain(*map(pathlib.Path, sys.argv[1:]), settings={settings!r})
"""


@pytest.fixture(scope="module")
def torchao(tmp_path_factory: pytest.TempPathFactory) -> Path | None:
    """A folder with torchao, to be put before what is installed; None without a network."""
    folder = tmp_path_factory.mktemp("torchao")
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder)]
    made = subprocess.run([*command, "torchao==0.18.0"], capture_output=True, text=True)
    if made.returncode != 0:
        warnings.warn(f"torchao 0.18.0 cannot be had ({made.stderr[-200:]}): not checked", stacklevel=1)
        return None
    return folder


class Training:
    """Starts runs over the same rows, with torchao at hand."""

    def __init__(self, torchao: Path, tokens: corpus.Table, words: corpus.Table) -> None:
        self._sources = [str(tokens.path), str(words.path)]
        self._environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(torchao), *sys.path])}

    def start(self, dst: Path, settings: Pretrain) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", PROGRAM.format(settings=settings), *self._sources, str(dst)]
        return subprocess.Popen(command, env=self._environment)


@pytest.mark.net
@pytest.mark.parametrize("given", [{"precision": "fp8"}, {"precision": "int8"}, {"states": "8bit"}])
def test_a_run_in_eight_bits_ends_near_one_in_bf16(
    torchao: Path | None, tokens: corpus.Table, words: corpus.Table, tmp_path: Path, given: dict[str, str]
) -> None:
    if torchao is None:
        return
    wanted = replace(TRAIN, precision="bf16")
    process = Training(torchao, tokens, words).start(tmp_path / "8bit", replace(wanted, **given))
    whole = cli.pretrain(tokens.path, words.path, tmp_path / "bf16", settings=wanted)
    assert process.wait(300) == 0
    eight = corpus.read(tmp_path / "8bit", "model")
    assert eight.digest != whole.digest  # it did something
    assert eight.manifest["loss"] == pytest.approx(whole.manifest["loss"], rel=0.02)


@pytest.mark.net
def test_a_killed_run_with_states_of_eight_bits_goes_on_to_the_same_bits(
    torchao: Path | None, tokens: corpus.Table, words: corpus.Table, tmp_path: Path
) -> None:
    if torchao is None:
        return
    training = Training(torchao, tokens, words)
    settings = replace(TRAIN, precision="bf16", states="8bit", checkpoint_every=1)
    whole, killed = (training.start(tmp_path / name, settings) for name in ("whole", "killed"))
    until(killed, tmp_path / "killed", "running/step-*5")
    killed.kill()
    killed.wait()
    assert not (tmp_path / "killed" / "manifest.json").exists()
    assert training.start(tmp_path / "killed", settings).wait(300) == whole.wait(300) == 0
    digests = {corpus.read(tmp_path / name, "model").digest for name in ("whole", "killed")}
    assert len(digests) == 1


def test_without_torchao_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchao.optim", None)
    with pytest.raises(Refusal, match=r"pip install 'fathom-coder\[quantised\]'"):
        quantise.adamw([])
