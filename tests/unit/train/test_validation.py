"""The held-out loss is the mean over its tokens, and that of its languages and modes."""

from __future__ import annotations

import pytest
import torch

import corpus
from train import validation
from train.batches import Rows
from train.run import Run

from .conftest import ALONE

ROWS = 70


def test_the_loss_of_each_group_is_that_of_its_pieces_alone(run: Run, tokens: corpus.Table) -> None:
    valid = Rows([tokens], "valid")
    told = validation.validate(run.trainee, valid, ROWS, ALONE)
    assert len(valid) > ROWS
    sums: dict[tuple[str, str], list[float]] = {}
    for row in (number * len(valid) // ROWS for number in range(ROWS)):  # evenly spaced
        ids = torch.from_numpy(valid.tokens(row).astype(int))
        for piece in valid.placed(row):
            part = ids[piece.start : piece.end]
            alone = run.trainee(part[:-1], part[1:], torch.arange(len(part) - 1), [len(part) - 1]).item()
            for key in (("language", piece.language), ("mode", piece.mode), ("", "")):
                sums.setdefault(key, []).append(alone)
                sums.setdefault((*key, "tokens"), []).append(len(part) - 1)
    means = {key: sum(sums[key]) / sum(sums[*key, "tokens"]) for key in sums if len(key) == 2}
    assert told["valid_loss"] == pytest.approx(means.pop(("", "")), rel=1e-5)
    by = told["valid_loss_by"]
    found = {(column, name): loss for column, losses in by.items() for name, loss in losses.items()}
    assert found == pytest.approx(means, rel=1e-5)
    assert {"python", "markdown"} <= set(by["language"])
    assert {"text", "psm"} <= set(by["mode"])
