"""Packed rows as the model takes them: one run of tokens, its labels, and where its pieces end."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import polars as pl
import torch
from torch import Tensor

import corpus
from train.loss import IGNORED

PART = 1024
"""Rows looked at together, so that they fit into memory."""


class Batch(NamedTuple):
    """Rows flattened into one run of T tokens, with what the model must know about their pieces."""

    ids_T: Tensor
    labels_T: Tensor
    positions_T: Tensor
    ends: list[int]
    labelled: int


class Placed(NamedTuple):
    """A piece in a row: ``row[start:end]``, and what it is of."""

    start: int
    end: int
    language: str
    mode: str


class Rows:
    """The rows of a split, mapped from disk, and where the pieces in them end.

    Those of several tables are numbered through, in the order of the tables.
    """

    def __init__(
        self, tables: Sequence[corpus.Table], split: str, attend: Literal["document", "row"] = "document"
    ) -> None:
        """Map the rows.

        Args:
            attend: With "row", the pieces of a row are one to the model.
        """
        self._arrays: list[np.ndarray] = []
        self._answers: list[np.ndarray | None] = []
        self.sizes: list[int] = []
        self._attend = attend
        spans = []
        for table in tables:
            shards = [s for s in table.shards() if s.name.startswith(f"{split}-")]
            arrays = [np.load(table.file(shard), mmap_mode="r") for shard in shards]
            here = table.scan("spans").filter(pl.col("split") == split).sort("sequence", "start")
            spans.append(here.with_columns(pl.col("sequence") + sum(self.sizes)))
            self._arrays += arrays
            masks = [s for s in table.shards("answers") if s.name.startswith(f"answers/{split}-")]
            self._answers += [np.load(table.file(s), mmap_mode="r") for s in masks] or [None] * len(arrays)
            self.sizes.append(sum(map(len, arrays)))
        self._firsts = [0, *itertools.accumulate(len(array) for array in self._arrays)]
        self._spans = pl.concat(spans)
        # Every process holds these of every piece, so names of documents stay on disk.
        few = pl.col("language", "mode").cast(pl.Categorical)
        held = self._spans.select("sequence", *Placed._fields).with_columns(few).collect()
        self._rows_of_spans = np.searchsorted(held["sequence"].to_numpy(), range(len(self) + 1))
        self._pieces = held.drop("sequence")
        self._ends = self._pieces["end"].to_numpy()

    def __len__(self) -> int:
        return int(self._firsts[-1])

    def counts(self, ids: int) -> np.ndarray:
        """(tables, ids) how often each id occurs in the rows of each table, of dialogues in the answers."""
        counts = np.zeros((len(self.sizes), ids), np.int64)
        lasts = np.cumsum(self.sizes)
        for array, answers, first in zip(self._arrays, self._answers, self._firsts[:-1], strict=True):
            table = int(np.searchsorted(lasts, first, side="right"))
            for at in range(0, len(array), PART):
                part = array[at : at + PART]
                told = part.ravel() if answers is None else part[answers[at : at + PART]]
                counts[table] += np.bincount(told, minlength=ids)
        return counts

    def documents(self, rows: list[int]) -> list[str]:
        """The documents that these rows hold pieces of."""
        of_rows = self._spans.filter(pl.col("sequence").is_in(rows))
        return sorted(of_rows.select(pl.col("document").unique()).collect()["document"])

    def tokens(self, row: int) -> np.ndarray:
        """(length + 1,) ids."""
        shard, at = self._place(row)
        ids: np.ndarray = self._arrays[shard][at]
        return ids

    def _place(self, row: int) -> tuple[int, int]:
        """The shard of a row, and where it is in that."""
        shard = int(np.searchsorted(self._firsts, row, side="right")) - 1
        return shard, row - self._firsts[shard]

    def _labels(self, row: int) -> np.ndarray:
        """(length,) the token after each, where it is one that is predicted."""
        wanted: np.ndarray = self.tokens(row)[1:].astype(np.int64)
        shard, at = self._place(row)
        answers = self._answers[shard]
        if answers is not None:
            wanted[~answers[at][1:]] = IGNORED
        pieces = self.ends(row)
        for end in pieces:
            wanted[end - 1 : end] = IGNORED
        wanted[pieces[-1] - 1 :] = IGNORED
        return wanted

    def ends(self, row: int) -> list[int]:
        """Where the pieces of a row end; after the last one comes padding."""
        first, last = self._rows_of_spans[row : row + 2]
        return [int(end) for end in self._ends[first:last]]

    def placed(self, row: int) -> list[Placed]:
        """The pieces of a row in order."""
        first, last = self._rows_of_spans[row : row + 2]
        return [Placed(*values) for values in self._pieces[int(first) : int(last)].iter_rows()]

    def batch(self, rows: list[int], device: torch.device) -> Batch:
        """Rows as one run of inputs and labels.

        A piece's last token and padding predict nothing, nor does what comes before a token that is no part
        of an answer, in rows of dialogues.
        """
        ids: list[np.ndarray] = []
        labels: list[np.ndarray] = []
        positions: list[np.ndarray] = []
        ends: list[int] = []
        for row in rows:
            wanted, place = self._labels(row), np.arange(self.tokens(row).size - 1)
            base, pieces = len(ids) * len(wanted), self.ends(row)
            if self._attend == "row":
                pieces = pieces[-1:]
            for start in [0, *pieces[:-1]]:
                place[start:] -= place[start : start + 1]
            if pieces[-1] < len(wanted):
                place[pieces[-1] :] = np.arange(len(wanted) - pieces[-1])
                pieces = [*pieces, len(wanted)]
            ends += [base + min(end, len(wanted)) for end in pieces]
            ids.append(self.tokens(row)[:-1].astype(np.int64))
            labels.append(wanted)
            positions.append(place)
        labelled = sum(int((wanted != IGNORED).sum()) for wanted in labels)
        tensors = [torch.from_numpy(np.concatenate(parts)).to(device) for parts in (ids, labels, positions)]
        return Batch(tensors[0], tensors[1], tensors[2], ends, labelled)
