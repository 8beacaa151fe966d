"""The loop is exact: the same run however it is cut into micro-batches, processes and lives."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import corpus
from corpus import Refusal
from tests.waiting import until
from train import checkpoint, cli, export, loop
from train.batches import Rows
from train.run import Run, Sources, start

from .conftest import ALONE, TRAIN

SIZES = ["tokens", "batch", "micro_batch", "valid_sequences", "valid_every", "checkpoint_every"]


def gradients(run: Run, rows: Rows, micro_batch: int) -> tuple[float, list[torch.Tensor]]:
    wanted = list(range(4))
    run.settings = replace(TRAIN, micro_batch=micro_batch)
    run.optimizer.step = lambda: None  # only the gradients are looked at
    step = loop.advance(run, rows, wanted)
    return step.facts["loss"], [p.grad.clone() for p in run.trainee.parameters()]


def test_micro_batches_of_one_two_and_four_rows_give_the_same_gradients(run: Run, rows: Rows) -> None:
    results = [gradients(run, rows, size) for size in (1, 2, 4)]
    for loss, grads in results[1:]:
        assert loss == pytest.approx(results[0][0], rel=1e-6)
        for ours, first in zip(grads, results[0][1], strict=True):
            torch.testing.assert_close(ours, first, rtol=1e-4, atol=1e-7)


def test_labels_are_the_next_token_of_the_same_piece_and_nothing_else(rows: Rows) -> None:
    for row in range(len(rows)):
        batch, tokens, ends = rows.batch([row], torch.device("cpu")), rows.tokens(row), rows.ends(row)
        lasts = {end - 1 for end in ends}
        for at in range(len(tokens) - 1):
            silent = at in lasts or at >= ends[-1]
            assert batch.labels_T[at] == (-100 if silent else int(tokens[at + 1]))
        starts = [0, *(end for end in batch.ends[:-1])]
        assert [int(batch.positions_T[start]) for start in starts] == [0] * len(starts)


def test_attending_to_the_row_joins_its_pieces_and_moves_no_label(tokens: corpus.Table, rows: Rows) -> None:
    whole = Rows([tokens], "train", "row")
    row = next(row for row in range(len(rows)) if len(rows.ends(row)) > 1)
    apart, joined = (each.batch([row, row], torch.device("cpu")) for each in (rows, whole))
    last, length = rows.ends(row)[-1], len(apart.ids_T) // 2
    assert torch.equal(apart.labels_T, joined.labels_T) and joined.labelled == apart.labelled
    assert joined.positions_T[:last].tolist() == list(range(last))
    assert joined.ends == sorted({min(last, length), length, length + min(last, length), 2 * length})


def test_the_loss_falls_and_the_journal_says_how(trained: corpus.Table) -> None:
    lines = [json.loads(line) for line in (trained.path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 13))
    assert (
        lines[0]["loss"] == pytest.approx(math.log(768), abs=0.1)
        and lines[-1]["loss"] < lines[0]["loss"] - 0.7
    )
    assert [line["step"] for line in lines if "valid_loss" in line] == [5, 10, 12]
    assert 0 < trained.manifest["unigram_entropy"] < math.log(610)
    assert len((trained.path / "measured" / "seconds.jsonl").read_text().splitlines()) == 12


def test_the_unigram_entropy_is_that_of_the_shares() -> None:
    import numpy as np

    assert export.unigram_entropy(np.array([[7, 2, 2, 0]]), [0]) == pytest.approx(math.log(2))
    # Drawn from as often, two tables of one word each are two words, however long one of them is.
    assert export.unigram_entropy(np.array([[9, 5, 0], [0, 0, 70]]), [0], (1, 1)) == pytest.approx(
        math.log(2)
    )


PROGRAM = """
import sys, pathlib, torch
torch.set_num_threads(1)
from train import cli
from train.config import Pretrain
cli.pretrain(*map(pathlib.Path, sys.argv[1:]), settings={settings!r})
"""


def pretrain(tokens: corpus.Table, words: corpus.Table, dst: Path) -> subprocess.Popen[bytes]:
    program = PROGRAM.format(settings=replace(TRAIN, checkpoint_every=1, precision="bf16"))
    return subprocess.Popen([sys.executable, "-c", program, str(tokens.path), str(words.path), str(dst)])


def test_a_killed_run_ends_with_the_same_bits_as_an_undisturbed_one(
    tokens: corpus.Table, words: corpus.Table, tmp_path: Path
) -> None:
    undisturbed = pretrain(tokens, words, tmp_path / "whole")
    process = pretrain(tokens, words, tmp_path / "killed")
    until(process, tmp_path / "killed", "running/step-*5")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "killed" / "manifest.json").exists()
    assert pretrain(tokens, words, tmp_path / "killed").wait() == undisturbed.wait() == 0
    whole, killed = (corpus.read(tmp_path / name, "model") for name in ("whole", "killed"))
    assert killed.digest == whole.digest  # weights and metrics, to the bit


def test_a_loss_that_is_not_finite_stops_before_the_update_and_names_the_documents(
    run: Run, rows: Rows
) -> None:
    with torch.no_grad():
        run.trainee.llama.lm_head.weight[0, 0] = math.nan
    before = run.trainee.llama.model.norm.weight.clone()
    with pytest.raises(Refusal) as refusal:
        loop.advance(run, rows, [0, 1])
    assert all(name in str(refusal.value) for name in rows.documents([0, 1]))
    assert run.step == 0 and torch.equal(run.trainee.llama.model.norm.weight, before)


def test_a_tokenizer_that_did_not_make_the_rows_is_refused(
    tokens: corpus.Table, words: corpus.Table, documents: corpus.Table, tmp_path: Path
) -> None:
    from train.config import Tokenizer

    other = cli.tokenizer(documents.path, tmp_path / "other", settings=Tokenizer(vocabulary=400))
    with pytest.raises(Refusal, match="was not made with"):
        cli.pretrain(tokens.path, other.path, tmp_path / "model", settings=TRAIN)


@pytest.mark.parametrize("name", SIZES)
def test_sizes_below_one_are_refused_by_name(sources: Sources, name: str) -> None:
    with pytest.raises(Refusal, match=f"{name} is 0: give at least 1"):
        start(sources, replace(TRAIN, **{name: 0}), ALONE)


def test_settings_that_would_fail_only_in_the_end_are_refused_at_the_start(sources: Sources) -> None:
    wrong = {"lora_rank": -1, "rope_factor": 0.0, "rope_theta": -1.0, "init_std": -0.02}
    for name, value in wrong.items():
        with pytest.raises(Refusal, match=f"{name} is {value}: give"):
            start(sources, replace(TRAIN, **{name: value}), ALONE)
    with pytest.raises(Refusal, match="give one of the two"):
        start(sources, replace(TRAIN, keep_optimizer=True, states="8bit"), ALONE)


def test_a_torn_checkpoint_is_passed_over_for_the_one_before(tmp_path: Path) -> None:
    saver = checkpoint.Saver(tmp_path, ALONE)
    for step in (1, 2, 3):
        saver.save(step, {"weights": torch.full((4,), step)})
    saver.wait()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000002", "step-00000003"]
    with (tmp_path / "step-00000003" / "__0_0.distcp").open("r+b") as file:
        file.truncate(40)
    found, state = checkpoint.newest(tmp_path), {"weights": torch.zeros(4, dtype=torch.int64)}
    assert found is not None and found[0] == 2
    checkpoint.load(found[1], state, ALONE)
    assert state["weights"].tolist() == [2, 2, 2, 2]
    assert checkpoint.newest(tmp_path / "nowhere") is None
