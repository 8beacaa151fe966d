"""Exact similarity of the pairs that signatures leave in doubt.

The texts concerned are read once more, row group by row group, and their shingles are laid beside the
output; the pairs are then compared set by set.  Memory is bounded by ``HELD`` shingles and the two
largest sets.
"""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import passes
from dedup import kernel, shingles
from dedup.input import Source
from dedup.sketch import Sketches

HELD = 16 << 20
"""Shingles that are compared at a time: 128 MB."""

Ints = NDArray[np.int64]


class Texts:
    """The shingle sets of items, each one row or all rows of a repo; read when they are first asked for."""

    def __init__(
        self, source: Source, sketches: Sketches, members: Ints, bounds: Ints, workers: int, name: str
    ) -> None:
        """Item i consists of the rows ``members[bounds[i]:bounds[i + 1]]`` (row numbers of the source)."""
        self._source, self._sketches, self._workers = source, sketches, workers
        self._members, self._bounds = members, bounds
        self._folder = sketches.work / "sets" / name
        shutil.rmtree(self._folder, ignore_errors=True)
        self._at = np.full(source.rows, -1, np.int64)
        """By row of the source: where its shingles start in the file of sets; -1: not read yet."""
        self._end = 0

    def expect(self, rows: Ints) -> None:
        """Read the shingles of these items."""
        self._read(np.unique(rows))

    def compare(self, left: Ints, right: Ints) -> NDArray[np.float64]:
        """Exact Jaccard similarity of items ``left[i]`` and ``right[i]``."""
        self._read(np.unique(np.concatenate([left, right])))
        order = np.lexsort((right, left))
        result = np.empty(len(left), np.float64)
        sizes = self._sizes()
        for chunk in _chunks(left[order], right[order], sizes):
            these = order[chunk]
            items, places = np.unique(np.concatenate([left[these], right[these]]), return_inverse=True)
            held = self._gather(items, int(sizes[items].sum()))
            ends = np.cumsum(sizes[items])
            result[these] = kernel.jaccard(
                held, ends - sizes[items], ends, places[: len(these)].copy(), places[len(these) :].copy()
            )
        return result

    def _sizes(self) -> Ints:
        total = np.concatenate([[0], np.cumsum(self._sketches.shingles[self._members])])
        return np.asarray(total[self._bounds[1:]] - total[self._bounds[:-1]], np.int64)

    def _gather(self, items: Ints, size: int) -> NDArray[np.uint64]:
        stored = np.memmap(self._file, np.uint64, "r") if self._end else np.empty(0, np.uint64)
        held, n = np.empty(size, np.uint64), 0
        for item in items:
            for row in self._members[self._bounds[item] : self._bounds[item + 1]]:
                length = int(self._sketches.shingles[row])
                held[n : n + length] = stored[self._at[row] : self._at[row] + length]
                n += length
        return held

    @property
    def _file(self) -> Path:
        return self._folder / "shingles.u64"

    def _read(self, items: Ints) -> None:
        """Make sure that the shingles of ``items`` are in the file of sets."""
        pieces = [self._members[self._bounds[item] : self._bounds[item + 1]] for item in items]
        rows = np.unique(np.concatenate(pieces))
        rows = rows[(self._at[rows] < 0) & (self._sketches.shingles[rows] > 0)]
        if not len(rows):
            return
        lengths = self._sketches.shingles[rows]
        self._at[rows] = self._end + np.cumsum(lengths) - lengths
        self._end += int(lengths.sum())
        self._folder.mkdir(parents=True, exist_ok=True)
        with self._file.open("ab") as file:
            file.truncate(8 * self._end)
        wanted = self._folder / "wanted.npy"
        np.save(wanted, np.stack([rows, self._at[rows]]))
        names = [unit.name for unit in self._source.units if _within(rows, unit.base, unit.rows).size]
        work = partial(_extract, self._source, wanted, self._file, self._sketches.how)
        passes.each(work, names, label="comparing texts", workers=self._workers)


def _extract(source: Source, wanted: Path, file: Path, how: shingles.How, name: str) -> None:
    """Write the shingles of one unit's wanted rows to their places."""
    unit = source.unit(name)
    rows, places = np.load(wanted)
    here = _within(rows, unit.base, unit.rows)
    columns = unit.columns or source.columns
    for base, table in source.groups(unit, [*how.columns(columns)], rows[here] - unit.base):
        inside = here[(rows[here] >= unit.base + base) & (rows[here] < unit.base + base + table.num_rows)]
        if not len(inside):
            continue
        texts = shingles.texts_of(table.take(rows[inside] - unit.base - base), columns, how)
        found = kernel.shingle(texts.data, texts.starts, texts.ends, how.ngram, texts.room)
        # Rows that follow one another in `wanted` follow one another in the file.
        with file.open("r+b") as out:
            out.seek(8 * int(places[inside[0]]))
            out.write(found.tobytes())


def _within(rows: Ints, base: int, count: int) -> Ints:
    """The places in the sorted ``rows`` of those in [base, base + count)."""
    return np.arange(np.searchsorted(rows, base), np.searchsorted(rows, base + count))


def _chunks(left: Ints, right: Ints, sizes: Ints) -> list[slice]:
    """Cut pairs, sorted by ``left``, so that each cut has at most ``HELD`` shingles, or a single pair."""
    cuts, held, start, last = [], 0, 0, -1
    for i, (a, b) in enumerate(zip(left.tolist(), right.tolist(), strict=True)):
        more = int(sizes[b]) + (int(sizes[a]) if a != last or i == start else 0)
        if i > start and held + more > HELD:
            cuts.append(slice(start, i))
            start, held, more = i, 0, int(sizes[a] + sizes[b])
        held, last = held + more, a
    return [*cuts, slice(start, len(left))]
