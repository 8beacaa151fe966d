"""Third pass of ``dedup substrings``: the spans of one unit's rows that stand somewhere before."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dedup import twin, windows
from dedup.kernel import Bytes, Ints
from dedup.mask import Cuts
from dedup.pieces import Pieces

OFFSET = np.uint64(windows.MOST_BYTES)


@dataclass(frozen=True)
class Spans:
    """What was found in one unit."""

    found: Ints
    """int64 [spans, 5], as ``windows.cover`` gives them, in order."""
    report: pa.Table
    """The same as the part ``repeats``: offsets in characters, rows by their ids."""
    stretches: Ints
    """The stretches of texts that were read for it."""
    data: Bytes

    def cuts(self, base: int, count: int) -> dict[int, Cuts]:
        """What is to be cut out of the rows from ``base`` on, by number among these ``count``."""
        low, high = np.searchsorted(self.found[:, 0], [base, base + count])
        starts, ends = (self.report[name].to_numpy()[low:high] for name in ("start", "end"))
        rows = self.found[low:high, 0] - base
        bounds = [*np.flatnonzero(np.diff(rows, prepend=-1)).tolist(), len(rows)]
        return {
            int(rows[start]): Cuts.of(starts[start:stop], ends[start:stop])
            for start, stop in pairwise(bounds)
        }

    def bare(self) -> Ints:
        """The rows of which no word that was read lies outside of the spans."""
        rows = np.unique(self.found[:, 0]).tolist()
        return np.array([row for row in rows if not self._words_left(row).any()], np.int64)

    def _words_left(self, row: int) -> NDArray[np.bool_]:
        """By byte of a row's text: whether it belongs to a word that was read and is in no span."""
        stretches, spans = _of_row(self.stretches, row), _of_row(self.found, row)
        origin = int(stretches[0, 1])
        words = np.zeros(int(stretches[-1, 3]) - origin, np.bool_)
        for begin, until in stretches[:, 4:6].tolist():
            words[begin - origin : until - origin] = twin.IS_WORD[self.data[begin:until]]
        for start, end in spans[:, 1:3].tolist():
            words[start:end] = False
        return words


def of(pieces: Pieces, unit: str) -> Spans:
    """Cover the repeated windows of a unit."""
    rows, data, writers = pieces.rows(), pieces.texts(), pieces.repeats.writers()
    texts = np.stack([rows["start"].to_numpy(), rows["end"].to_numpy()], axis=1)
    numbers = {name: number for number, name in enumerate(pieces.names())}
    found, stretches = [np.empty((0, 5), np.int64)], [np.empty((0, 6), np.int64)]
    for piece in pieces.of(unit):
        repeats, _ = pieces.repeats.read(writers, numbers[piece], numbers[piece] + 1)
        stretches.append(pieces.stretches(piece))
        found.append(windows.cover(data, texts, stretches[-1], repeats, pieces.words))
    spans = np.concatenate(found)
    return Spans(spans, _report(rows, data, spans), np.concatenate(stretches), data)


def _report(rows: pa.Table, data: Bytes, spans: Ints) -> pa.Table:
    firsts, origins = spans[:, 3].astype(np.uint64), rows["start"].to_numpy()
    first_rows, offsets = (firsts >> np.uint64(32)).astype(np.int64), (firsts & OFFSET).astype(np.int64)
    here, there = origins[spans[:, 0]], origins[first_rows]
    order = np.argsort(firsts, kind="stable")
    first_starts = np.empty(len(spans), np.int64)
    first_starts[order] = windows.characters(data, there[order], (there + offsets)[order])
    return pa.table(
        {
            "id": rows["id"].take(spans[:, 0]),
            "start": windows.characters(data, here, here + spans[:, 1]),
            "end": windows.characters(data, here, here + spans[:, 2]),
            "words": spans[:, 4],
            "first": rows["id"].take(first_rows),
            "first_start": first_starts,
        }
    )


def _of_row(table: Ints, row: int) -> Ints:
    """The lines of a table that is sorted by its first column, the row."""
    low, high = np.searchsorted(table[:, 0], [row, row + 1])
    return table[low:high]
