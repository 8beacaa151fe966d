"""Exact similarity of the pairs that signatures leave in doubt, from the shingles that were laid aside."""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

from dedup import kernel
from dedup.sketch import Sketches

MOST_FILES = 256
"""Files of shingles that are open at a time, if two items do not lie in more."""

Ints = NDArray[np.int64]


class Texts:
    """The shingle sets of items, each one row or all rows of a repo."""

    def __init__(self, sketches: Sketches, members: Ints, bounds: Ints) -> None:
        """Item i consists of the rows ``members[bounds[i]:bounds[i + 1]]`` (row numbers of the source)."""
        self._sketches, self._members, self._bounds = sketches, members, bounds
        self._units = [unit for unit in sketches.source.units if unit.rows]
        self._bases = np.array([unit.base for unit in self._units], np.int64)
        self._starts = np.zeros((sketches.source.rows, 2), np.int64)
        self._files = np.full(len(self._units), -1, np.int32)

    def first_similar(self, item: int, others: bytes, threshold: float) -> tuple[int, float]:
        """The place of the first of ``others`` (uint32) whose exact similarity to ``item`` is at least
        ``threshold``, or -1; and that similarity."""
        if (self._files >= 0).sum() > MOST_FILES:
            self.close()
        return kernel.first_similar(
            self._members,
            self._bounds,
            self._bases,
            self._starts,
            self._files,
            others,
            item,
            threshold - 1e-9,
            self._open,
        )

    def close(self) -> None:
        """Let go of the files."""
        for number in np.flatnonzero(self._files >= 0).tolist():
            os.close(self._files[number])
            self._files[number] = -1

    def _open(self, number: int) -> None:
        unit = self._units[number]
        path, counts = self._sketches.laid_aside(unit)
        ends = np.cumsum(counts)
        self._starts[unit.base : unit.base + unit.rows] = np.stack([ends - counts, ends], axis=1)
        self._files[number] = os.open(path, os.O_RDONLY)
