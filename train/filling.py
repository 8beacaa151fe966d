"""Rows that best fit leaves partly empty are filled with the pieces of other rows, cut in two or more.

Best fit keeps whole what fits into a row.  Where most documents take more than half of one (DeepSeek's cap
of 32 KB against rows of 16,384 tokens) it leaves several percent of all places empty, and a step costs
the same.  So rows of left-to-right text are taken apart, the emptiest first, and their pieces poured into
the rooms of the other rows: first of those that cannot be taken apart, and the largest first, which cuts
the fewest.  Each part begins with BOS, as a piece does.  Pieces that were arranged for fill-in-the-middle
stay whole.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import polars as pl

SHORTEST = 64
"""Tokens of the smallest room that is filled; a part of a piece may have half of it or a little less."""


class Texts(NamedTuple):
    """The tokens of all pieces, and what each stands for."""

    arrays: Mapping[str, np.ndarray]
    """(tokens,) ids by the name that pieces have in ``shard``."""
    characters: np.ndarray
    """(ids,) how many characters begin in an id."""
    opens: np.ndarray
    """(ids,) whether an id begins with a whole character, and not within one of several bytes."""

    def cut(self, shard: str, offset: int, above: int, most: int) -> int:
        """The last token up to number ``most`` after ``offset`` before which the text can be cut.

        A character has at most four tokens, a part more; so there is one above ``above``.
        """
        ids = self.arrays[shard]
        return next(at for at in range(most, above, -1) if self.opens[ids[offset + at]])

    def within(self, shard: str, start: int, end: int) -> int:
        """Characters of the tokens ``start`` to ``end`` of a shard."""
        return int(self.characters[self.arrays[shard][start:end]].sum())


def fill(placed: pl.DataFrame, capacity: int, texts: Texts, share: float) -> pl.DataFrame:
    """Pieces with their places, such that ``share`` of all places is taken, or as much as can be.

    Args:
        placed: Pieces with ``sequence``, from 0 on without gaps, ``start`` and ``again``: whether one begins
            with a BOS of its own, which is counted in ``tokens`` but does not stand at ``offset``.
        capacity: Tokens of a row.
    """
    rows = placed.group_by("sequence").agg(
        free=capacity - pl.col("tokens").sum(), text=(pl.col("mode") == "text").all()
    )
    free, text = (rows.sort("sequence")[name].to_numpy() for name in ("free", "text"))
    if not len(free) or free.sum() <= (1 - share) * len(free) * capacity:
        return placed
    rooms = _Rooms(free, text, capacity)
    sparse = rows.filter("text").sort(["free", "sequence"], descending=[True, False])["sequence"]
    pieces = _by_row(placed, sparse)
    gone: set[int] = set()
    made: list[dict[str, Any]] = []
    for sequence in sparse:
        if rooms.empty <= (1 - share) * rooms.rows * capacity:
            break
        # A little more than it holds, for the BOS of each part.
        wanted = capacity - int(free[sequence]) + SHORTEST
        if not rooms.without(sequence, wanted):
            continue
        gone.add(sequence)
        for piece in pieces[sequence]:
            made += _poured(piece, rooms, texts)
    kept = placed.filter(~pl.col("sequence").is_in(sorted(gone)))
    filled = pl.concat([kept, pl.DataFrame(made, schema=placed.schema)])
    return filled.with_columns(sequence=pl.col("sequence").rank("dense").cast(pl.Int64) - 1)


class _Rooms:
    """What is free in which row."""

    def __init__(self, free: np.ndarray, text: np.ndarray, capacity: int) -> None:
        # Untouched rows of text can still be taken apart; the others can only be filled.
        self._capacity, self._free, self._apart = capacity, free.tolist(), text.tolist()
        rooms = enumerate(zip(self._apart, self._free, strict=True))
        self._first = [(text, -room, row) for row, (text, room) in rooms if room >= SHORTEST]
        heapq.heapify(self._first)
        self._usable = sum(-room for _, room, _ in self._first)
        self.rows, self.empty = len(free), int(free.sum())

    def without(self, row: int, wanted: int) -> bool:
        """Take a row away to pour it elsewhere, if the rooms of the others are enough for ``wanted``."""
        room = self._free[row]
        others = self._usable - (room if room >= SHORTEST else 0)
        if others < wanted or not self._apart[row]:
            return False
        self._usable, self._free[row] = others, -1
        self.rows, self.empty = self.rows - 1, self.empty - room
        return True

    def take(self) -> tuple[int, int, int]:
        """The row to fill next, a new one where none has room; where its room begins, and how large it is."""
        while self._first:
            _, room, row = heapq.heappop(self._first)
            if self._free[row] == -room:
                self._usable += room
                return row, self._capacity + room, -room
        self._free.append(self._capacity)
        self._apart.append(False)
        self.rows, self.empty = self.rows + 1, self.empty + self._capacity
        return len(self._free) - 1, 0, self._capacity

    def put(self, row: int, used: int) -> None:
        """Back with ``used`` tokens less; what is too small stays empty."""
        self._apart[row] = False
        self._free[row] -= used
        self.empty -= used
        if self._free[row] >= SHORTEST:
            heapq.heappush(self._first, (False, -self._free[row], row))
            self._usable += self._free[row]


def _poured(piece: dict[str, Any], rooms: _Rooms, texts: Texts) -> Iterator[dict[str, Any]]:
    """The parts of a piece, each in a room."""
    shard, offset, count = piece["shard"], piece["offset"], piece["tokens"]
    done, character = 0, piece["text_start"]
    while done < count:
        row, start, room = rooms.take()
        again, end = done > 0, count
        if count - done + again > room:
            # What is left is no crumb either, unless the piece itself is one.
            most = min(done + room - again, max(count - SHORTEST, done + SHORTEST // 2))
            end = texts.cut(shard, offset, done, most)
        used = end - done + again
        until = (
            piece["text_end"]
            if end == count
            else character + texts.within(shard, offset + done, offset + end)
        )
        yield {
            **piece,
            "text_start": character,
            "text_end": until,
            "offset": offset + done,
            "tokens": used,
            "token": piece["token"] + done,
            "sequence": row,
            "start": start,
            "again": again,
        }
        rooms.put(row, used)
        done, character = end, until


def _by_row(placed: pl.DataFrame, rows: pl.Series) -> dict[int, list[dict[str, Any]]]:
    found: dict[int, list[dict[str, Any]]] = {row: [] for row in rows}
    for piece in placed.filter(pl.col("sequence").is_in(rows.implode())).sort("sequence", "start").to_dicts():
        found[piece["sequence"]].append(piece)
    return found
