"""Which rows make up which step: a function of (corpus, seed, step) that holds no state.

So resuming needs one integer, and any number of processes or micro-batches sees the same batches.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import polars as pl
import torch
from torch import Tensor

import corpus
from train.loss import IGNORED


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
    document: str
    language: str
    mode: str


class Order:
    """The endless order of rows: every epoch is another permutation of all of them."""

    def __init__(self, digest: str, seed: int, rows: int) -> None:
        self.digest, self.seed, self.rows = digest, seed, rows
        self._epoch, self._permutation = -1, np.zeros(0, np.int64)

    def of(self, step: int, batch: int) -> list[int]:
        """The rows of a step."""
        return [self._row(index) for index in range(step * batch, (step + 1) * batch)]

    def _row(self, index: int) -> int:
        epoch, at = divmod(index, self.rows)
        if epoch != self._epoch:
            key = hashlib.blake2b(f"{self.digest}:{self.seed}:{epoch}".encode(), digest_size=16).digest()
            # The raw stream of a bit generator is what numpy promises never to change.
            draws = np.random.Philox(key=int.from_bytes(key)).random_raw(self.rows)
            self._epoch, self._permutation = epoch, np.argsort(draws, kind="stable")
        return int(self._permutation[at])


class Rows:
    """The rows of a split, mapped from disk, and where the pieces in them end."""

    def __init__(self, table: corpus.Table, split: str) -> None:
        shards = [s for s in table.shards() if s.name.startswith(f"{split}-")]
        self._arrays = [np.load(table.file(shard), mmap_mode="r") for shard in shards]
        self._firsts = [0, *itertools.accumulate(len(array) for array in self._arrays)]
        spans = table.scan("spans").filter(pl.col("split") == split).sort("sequence", "start")
        self.spans = spans.select("sequence", *Placed._fields).collect()
        self._rows_of_spans = np.searchsorted(self.spans["sequence"].to_numpy(), range(len(self) + 1))
        self._ends = self.spans["end"].to_numpy()

    def __len__(self) -> int:
        return int(self._firsts[-1])

    def counts(self, ids: int) -> np.ndarray:
        """How often each id below ``ids`` occurs in the rows."""
        counts = [
            np.bincount(part.ravel(), minlength=ids) for array in self._arrays for part in _parts(array)
        ]
        total: np.ndarray = np.sum(counts, axis=0)
        return total

    def documents(self, rows: list[int]) -> list[str]:
        """The documents that these rows hold pieces of."""
        return sorted(self.spans.filter(pl.col("sequence").is_in(rows))["document"].unique())

    def tokens(self, row: int) -> np.ndarray:
        """(length + 1,) ids."""
        shard = int(np.searchsorted(self._firsts, row, side="right")) - 1
        ids: np.ndarray = self._arrays[shard][row - self._firsts[shard]]
        return ids

    def ends(self, row: int) -> list[int]:
        """Where the pieces of a row end; after the last one comes padding."""
        first, last = self._rows_of_spans[row : row + 2]
        return [int(end) for end in self._ends[first:last]]

    def placed(self, row: int) -> list[Placed]:
        """The pieces of a row in order."""
        first, last = self._rows_of_spans[row : row + 2]
        columns = self.spans[int(first) : int(last)].select(Placed._fields)
        return [Placed(*values) for values in columns.iter_rows()]

    def batch(self, rows: list[int], device: torch.device) -> Batch:
        """Rows as one run of inputs and labels; a piece's last token and padding predict nothing."""
        ids: list[np.ndarray] = []
        labels: list[np.ndarray] = []
        positions: list[np.ndarray] = []
        ends: list[int] = []
        for row in rows:
            tokens = self.tokens(row).astype(np.int64)
            wanted, place = tokens[1:].copy(), np.arange(len(tokens) - 1)
            base, pieces = len(ids) * len(wanted), self.ends(row)
            for start, end in itertools.pairwise([0, *pieces]):
                wanted[end - 1 : end] = IGNORED
                place[start:] -= place[start : start + 1]
            wanted[pieces[-1] - 1 :] = IGNORED
            if pieces[-1] < len(wanted):
                place[pieces[-1] :] = np.arange(len(wanted) - pieces[-1])
                pieces = [*pieces, len(wanted)]
            ends += [base + min(end, len(wanted)) for end in pieces]
            ids.append(tokens[:-1])
            labels.append(wanted)
            positions.append(place)
        labelled = sum(int((wanted != IGNORED).sum()) for wanted in labels)
        tensors = [torch.from_numpy(np.concatenate(parts)).to(device) for parts in (ids, labels, positions)]
        return Batch(tensors[0], tensors[1], tensors[2], ends, labelled)


def _parts(array: np.ndarray) -> Iterator[np.ndarray]:
    """Slices of rows that fit into memory."""
    for at in range(0, len(array), 1024):
        yield array[at : at + 1024]
