"""The loss on held-out rows: of all their tokens, and apart by language and by how a piece was arranged.

Which groups a token counts in is told by the span of its piece.  Sums are taken row by row, so that any
number of processes gives the same bits.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from train.batches import Placed, Rows
from train.loss import IGNORED
from train.model import Trainee
from train.shard import Group

BY = ("language", "mode")
"""Columns of ``spans`` by which the loss is told apart; a mode is text (left to right), psm or spm."""


@torch.no_grad()
def validate(trainee: Trainee, valid: Rows, most: int, group: Group) -> dict[str, Any]:
    """Mean losses per token over held-out rows, in nats.

    Args:
        most: Rows to look at, evenly spaced, so that each of several tables has its share.

    Returns:
        ``valid_loss``, and ``valid_loss_by`` a column's name and value.
    """
    trainee.eval()
    count = min(len(valid), most)
    chosen = evenly(len(valid), most)
    keys = sorted({key for row in chosen for piece in valid.placed(row) for key in _keys(piece)})
    sums = np.zeros((count, len(keys), 2))
    for number in range(group.rank, -(-count // group.size) * group.size, group.size):
        row = chosen[number % count]  # sharded weights want every process at work
        batch = valid.batch([row], group.device)
        losses = trainee(batch.ids_T, batch.labels_T, batch.positions_T, batch.ends, each=True)
        if number < count:
            labelled = (batch.labels_T != IGNORED).cpu().numpy()
            _count(sums[number], keys, losses.double().cpu().numpy(), labelled, valid.placed(row))
    everyones = np.array(group.gathered(sums.ravel().tolist())).sum(axis=0).reshape(sums.shape)
    totals = {key: _mean(everyones[:, number]) for number, key in enumerate(keys)}
    by = {name: {value: loss for (of, value), loss in totals.items() if of == name} for name in BY}
    return {"valid_loss": totals["all", ""], "valid_loss_by": by}


def evenly(rows: int, most: int) -> list[int]:
    """At most so many of so many rows, evenly spaced."""
    count = min(rows, most)
    return [number * rows // count for number in range(count)]


def _keys(piece: Placed) -> list[tuple[str, str]]:
    return [("all", ""), *((name, getattr(piece, name)) for name in BY)]


def _count(
    sums: np.ndarray,
    keys: list[tuple[str, str]],
    losses: np.ndarray,
    labelled: np.ndarray,
    pieces: list[Placed],
) -> None:
    """Add the losses and numbers of a row's predicted tokens to each group that its pieces are in."""
    for piece in pieces:
        place = slice(piece.start, piece.end)
        told = math.fsum(losses[place]), int(labelled[place].sum())
        for key in _keys(piece):
            sums[keys.index(key)] += told


def _mean(sums: np.ndarray) -> float:
    """Of (rows, 2) sums and numbers."""
    return math.fsum(sums[:, 0]) / max(1, int(sums[:, 1].sum()))
