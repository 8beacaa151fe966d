"""What is exported reads the same in transformers 4.57, where the keys of the rotary embedding are others."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import corpus
from train import cli
from train.run import Sources

from .conftest import TRAIN

OLD = ["transformers==4.57.1", "tokenizers==0.22.1", "huggingface_hub==0.36.0"]

PROGRAM = """
import json, sys, torch, transformers
transformers.logging.set_verbosity_error()
assert transformers.__version__ == "4.57.1"
model = transformers.AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32)
ids = transformers.AutoTokenizer.from_pretrained(sys.argv[1])(sys.argv[2], return_tensors="pt").input_ids
said = model.generate(ids, max_new_tokens=4, do_sample=False)
logits = model(ids).logits[0, -1].tolist()
print(json.dumps([ids[0].tolist(), model.model.rotary_emb.inv_freq.tolist(), logits, said[0].tolist()]))
"""


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path | None:
    """A folder with the old readers, to be put before what is installed; None without a network."""
    folder = tmp_path_factory.mktemp("old")
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder), *OLD]
    made = subprocess.run(command, capture_output=True, text=True)
    if made.returncode != 0:
        warnings.warn(f"transformers 4.57.1 cannot be had ({made.stderr[-200:]}): not checked", stacklevel=1)
        return None
    return folder


@pytest.mark.net
def test_the_long_phase_has_the_same_frequencies_and_logits_in_transformers_4_57(
    old: Path | None, trained: corpus.Table, sources: Sources, tmp_path: Path
) -> None:
    if old is None:
        return
    settings = replace(TRAIN, rope_theta=100_000.0, rope_factor=4.0)
    paths = [sources.tokens[0].path, sources.words.path, tmp_path / "long"]
    long = cli.pretrain(*paths, start=str(trained.path), settings=settings)
    text = "def f(x):\n    return 1"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(long.path), text],
        env={**os.environ, "PYTHONPATH": str(old)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    ids, frequencies, logits, said = json.loads(done.stdout.splitlines()[-1])
    model, words = (kind.from_pretrained(long.path) for kind in (AutoModelForCausalLM, AutoTokenizer))
    assert ids == words(text).input_ids
    wanted = 100_000.0 ** -(torch.arange(0, 32, 2) / 32) / 4
    torch.testing.assert_close(torch.tensor(frequencies), wanted)
    torch.testing.assert_close(torch.tensor(frequencies), model.model.rotary_emb.inv_freq)
    torch.testing.assert_close(
        torch.tensor(logits), model(torch.tensor([ids])).logits[0, -1], rtol=1e-5, atol=1e-5
    )
    assert said == model.generate(torch.tensor([ids]), max_new_tokens=4, do_sample=False)[0].tolist()
