"""Exact similarity of the pairs that signatures leave in doubt, from the shingles that were laid aside."""

from __future__ import annotations

import os
from bisect import bisect_right
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dedup import kernel
from dedup.sketch import Sketches

MOST_FILES = 256
"""Files of shingles that are open at a time."""

LARGE = 1 << 20
"""Shingles (8 MB) from which a row's are mapped and not read, so that they need not all be in memory."""

Ints = NDArray[np.int64]


class Texts:
    """The shingle sets of items, each one row or all rows of a repo."""

    def __init__(self, sketches: Sketches, members: Ints, bounds: Ints) -> None:
        """Item i consists of the rows ``members[bounds[i]:bounds[i + 1]]`` (row numbers of the source)."""
        self._sketches, self._members, self._bounds = sketches, members, bounds
        self._units = [unit for unit in sketches.source.units if unit.rows]
        self._bases = [unit.base for unit in self._units]
        self._starts: dict[int, Ints] = {}
        """By unit, where each row's shingles start in its file, and the end of the last."""
        self._files: dict[int, int] = {}
        self._held: tuple[int, Any] = (-1, b"")

    def similarity(self, left: int, right: int) -> float:
        """Exact Jaccard similarity of two items; the left one is remembered for the next call."""
        if self._held[0] != left:
            self._held = left, self._set(left)
        return kernel.similarity(self._held[1], self._set(right))

    def close(self) -> None:
        """Let go of the files."""
        while self._files:
            os.close(self._files.popitem()[1])

    def _set(self, item: int) -> Any:
        """The shingles of an item, uint64, duplicates included."""
        rows = self._members[self._bounds[item] : self._bounds[item + 1]].tolist()
        return self._row(rows[0]) if len(rows) == 1 else b"".join([self._row(row) for row in rows])

    def _row(self, row: int) -> Any:
        number = bisect_right(self._bases, row) - 1
        file = self._files.get(number) or self._open(number)
        here = row - self._bases[number]
        start, end = self._starts[number][here : here + 2].tolist()
        if end - start > LARGE:
            with os.fdopen(os.dup(file), "rb") as mapped:
                return np.memmap(mapped, np.uint64, "r", 8 * start, (end - start,))
        return os.pread(file, 8 * (end - start), 8 * start)

    def _open(self, number: int) -> int:
        if len(self._files) == MOST_FILES:
            os.close(self._files.pop(next(iter(self._files))))
        path, counts = self._sketches.laid_aside(self._units[number])
        self._starts[number] = np.concatenate([[0], np.cumsum(counts)])
        self._files[number] = os.open(path, os.O_RDONLY)
        return self._files[number]
