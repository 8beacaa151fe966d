"""Which rows make up which step: a function of (rows, seed, mixture, step) that holds no state.

So resuming needs one integer, and any number of processes or micro-batches sees the same batches.  The
rows of several tables are drawn by weight in a fixed pattern, so every batch has the mixture, not only
the run as a whole.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from corpus import Refusal

SLOTS = 1000
"""The pattern's length: a weight counts to a thousandth of their sum."""


class Order:
    """The endless order of the rows of one or more tables."""

    def __init__(
        self, digests: Sequence[str], sizes: Sequence[int], seed: int, weights: Sequence[float] = ()
    ) -> None:
        """Lay out the pattern.

        Args:
            digests: Of the tables; each permutation is a hash of one, the seed and the epoch.
            sizes: Rows in each table.
            weights: Of each table; none makes them one, whose rows all count the same.
        """
        if not sum(sizes):
            raise Refusal("there is no row to train on: all were held out, or the tables are empty.")
        if not weights:
            digests, sizes, weights = [":".join(digests)], [sum(sizes)], [1.0]
        self._tables = [_Table(digest, size, seed) for digest, size in zip(digests, sizes, strict=True)]
        self._firsts = np.cumsum([0, *sizes])
        self._slots = slots(weights, len(sizes))
        self._turns = np.bincount(self._slots, minlength=len(sizes))
        self._before = np.zeros(SLOTS, np.int64)
        for table, count in enumerate(self._turns):
            self._before[self._slots == table] = range(count)

    def of(self, step: int, batch: int) -> list[int]:
        """The rows of a step, numbered through all tables."""
        return [self._row(index) for index in range(step * batch, (step + 1) * batch)]

    def _row(self, index: int) -> int:
        turn, slot = divmod(index, SLOTS)
        table = int(self._slots[slot])
        drawn = turn * int(self._turns[table]) + int(self._before[slot])
        return int(self._firsts[table]) + self._tables[table].row(drawn)


def slots(weights: Sequence[float], tables: int) -> np.ndarray:
    """(SLOTS,) the table that each row of the pattern comes from, every table spread evenly."""
    shares = np.array(weights, np.float64)
    if len(shares) != tables:
        raise Refusal(f"mixture has {len(shares)} weights for {tables} tables of rows: give one for each.")
    if not np.isfinite(shares).all() or (shares <= 0).any():
        raise Refusal(f"mixture is {shares.tolist()}: give numbers above 0, and rows to every table.")
    shares *= SLOTS / shares.sum()
    counts = np.floor(shares).astype(np.int64)
    counts[np.argsort(counts - shares, kind="stable")[: SLOTS - counts.sum()]] += 1
    if (counts == 0).any():
        raise Refusal(
            f"mixture: a table gets less than one row in {SLOTS:,}: weigh it more, or leave it out."
        )
    places = np.concatenate([(np.arange(count) + 0.5) / count for count in counts])
    tables_of: np.ndarray = np.repeat(np.arange(tables), counts)[np.argsort(places, kind="stable")]
    return tables_of


class _Table:
    """One table's rows: every epoch is another permutation of all of them."""

    def __init__(self, digest: str, rows: int, seed: int) -> None:
        self._digest, self._rows, self._seed = digest, rows, seed
        self._epoch, self._permutation = -1, np.zeros(0, np.int64)

    def row(self, index: int) -> int:
        epoch, at = divmod(index, self._rows)
        if epoch != self._epoch:
            key = hashlib.blake2b(f"{self._digest}:{self._seed}:{epoch}".encode(), digest_size=16).digest()
            # The raw stream of a bit generator is what numpy promises never to change.
            draws = np.random.Philox(key=int.from_bytes(key)).random_raw(self._rows)
            self._epoch, self._permutation = epoch, np.argsort(draws, kind="stable")
        return int(self._permutation[at])
