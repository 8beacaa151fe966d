"""What a person can put right is one clear line, and the last good checkpoint is intact."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import corpus
from corpus import Refusal
from train import checkpoint, cli, loop
from train.batches import Rows

from .conftest import ALONE, TRAIN


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system on which one checkpoint of the model fits, and not two."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", place], capture_output=True)
    if mounted.returncode:
        pytest.skip("only root may mount a small file system here")
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_full_disk_during_a_save_leaves_the_checkpoint_before_and_the_run_goes_on_from_it(
    trained: corpus.Table, tokens: corpus.Table, words: corpus.Table, small_disk: Path
) -> None:
    place = small_disk / "model"
    with pytest.raises(Refusal, match=r"a checkpoint could not be written .*: the one before is whole"):
        cli.pretrain(tokens.path, words.path, place, settings=TRAIN)
    found = checkpoint.newest(place / "running")
    assert found is not None and found[0] == 4 and not list((place / "running").glob(".step-*"))
    subprocess.run(["mount", "-o", "remount,size=64m", small_disk], check=True)
    again = cli.pretrain(tokens.path, words.path, place, settings=TRAIN)
    assert again is not None and again.digest == trained.digest


def test_a_run_with_other_settings_does_not_clear_the_checkpoints_of_the_one_before(
    tokens: corpus.Table, words: corpus.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, advance = tmp_path / "model", loop.advance

    def crashing(run: loop.Run, *args: object) -> loop.Step:
        if run.step == 6:
            raise InterruptedError
        return advance(run, *args)

    monkeypatch.setattr(loop, "advance", crashing)
    with pytest.raises(InterruptedError):
        cli.pretrain(tokens.path, words.path, place, settings=TRAIN)
    with pytest.raises(Refusal, match=r"model holds step-\* of a run with other lr: give another"):
        cli.pretrain(tokens.path, words.path, place, settings=replace(TRAIN, lr=1e-3))
    found = checkpoint.newest(place / "running")
    assert found is not None and found[0] == 4


def test_rows_that_are_not_those_that_were_packed_are_refused(
    tokens: corpus.Table, words: corpus.Table, tmp_path: Path
) -> None:
    copied = Path(shutil.copytree(tokens.path, tmp_path / "tokens"))
    shard = copied / "train-00000.npy"
    content = bytearray(shard.read_bytes())
    content[-2] ^= 1
    shard.write_bytes(content)
    with pytest.raises(Refusal, match=r"train-00000\.npy is not the file that train pack wrote"):
        cli.pretrain(copied, words.path, tmp_path / "model", settings=TRAIN)


def test_a_token_beyond_the_vocabulary_is_refused_before_anything_is_updated(
    run: loop.Run, tokens: corpus.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, strange = Rows([tokens], "train"), np.full(128, 768, np.uint16)
    monkeypatch.setattr(rows, "tokens", lambda row: strange)
    with pytest.raises(Refusal, match=r"one of rows 0 holds token 768, but the model knows 0 to 767"):
        loop.advance(run, rows, [0])
    assert run.step == 0


def test_a_checkpoint_whose_manifest_is_cut_short_counts_for_nothing(tmp_path: Path) -> None:
    saver = checkpoint.Saver(tmp_path, ALONE)
    for step in (1, 2):
        saver.save(step, {"weights": torch.full((4,), step)})
    saver.wait()
    os.truncate(tmp_path / "step-00000002" / "manifest.json", 20)
    found = checkpoint.newest(tmp_path)
    assert found is not None and found[0] == 1
