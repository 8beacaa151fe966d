"""First pass of ``dedup substrings``: texts laid aside, and the windows of every piece of them.

Beside the output, in ``.work``: ``texts.u8`` (all texts, as they are, in any order: a window may have to be
compared with any other), for each unit one table of its rows that says where their texts lie, and for each
piece of a unit its stretches and its windows.  A unit whose table of rows is there is done.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import BinaryIO

import numpy as np
import polars as pl
import pyarrow as pa

from dedup import shingles, windows
from dedup.exchange import Exchange, grouped
from dedup.input import Source, Unit
from dedup.kernel import Bytes, Ints
from dedup.order import Order
from dedup.rows import facts_of
from dedup.shingles import How
from refusal import Refusal

PIECE_BYTES = 16 << 20
"""Text whose windows are handled at a time.  Longer texts are cut, at multiples of it from their start, so
that what is found depends on the text alone."""


@dataclass(frozen=True)
class Pieces:
    """What the passes leave in ``work``."""

    work: Path
    units: tuple[str, ...]
    words: int
    """Per window."""
    bins: int
    """Into so many bins windows are dealt by their hash."""

    @property
    def windows(self) -> Exchange:
        """Of each piece its windows (hash, place), in bins by hash."""
        return Exchange(self.work / "windows")

    @property
    def repeats(self) -> Exchange:
        """Of each group of those bins the repeated windows (place, first place), in bins by piece."""
        return Exchange(self.work / "repeats")

    def names(self) -> list[str]:
        """All pieces, in order."""
        return [piece for unit in self.units for piece in self.of(unit)]

    def of(self, unit: str) -> list[str]:
        """The pieces of a unit, in order."""
        return [f"{unit}/{file.stem}" for file in sorted((self.work / "stretches" / unit).iterdir())]

    def stretches(self, piece: str) -> Ints:
        """The stretches of a piece, as ``windows.windows`` takes them, in offsets into ``texts.u8``."""
        found: Ints = np.load(self.work / "stretches" / f"{piece}.npy")
        return found

    @property
    def texts_file(self) -> Path:
        return self.work / "texts.u8"

    def texts(self) -> Bytes:
        """All texts, not in memory until they are touched."""
        empty = self.texts_file.stat().st_size == 0
        return np.empty(0, np.uint8) if empty else np.memmap(self.texts_file, np.uint8, "r")

    def unit_file(self, unit: str) -> Path:
        return self.work / "rows" / f"{unit}.parquet"

    def unit_rows(self, unit: str) -> pl.DataFrame:
        """One row for every row of a unit: as a scan remembers it, and where its text starts and ends."""
        return pl.read_parquet(self.unit_file(unit), glob=False)

    @property
    def rows_file(self) -> Path:
        return self.work / "rows.arrow"

    def keep_rows(self, rows: pl.DataFrame) -> None:
        """Leave what ``rows`` gives."""
        schema = pa.schema([("id", pa.large_string())] + [(n, pa.int64()) for n in ("rank", "start", "end")])
        table = rows.select(schema.names).to_arrow().cast(schema).combine_chunks()
        aside = self.rows_file.with_suffix(".part")
        with pa.ipc.new_file(aside, schema) as file:
            file.write_table(table)
        aside.replace(self.rows_file)

    def rows(self) -> pa.Table:
        """id, rank, start and end of all rows by number, not in memory until they are touched."""
        with pa.memory_map(str(self.rows_file)) as file:
            return pa.ipc.open_file(file).read_all()


def lay_out(source: Source, how: How, order: Order, pieces: Pieces, name: str) -> None:
    """Do one unit."""
    unit, columns, numbers = source.unit(name), source.columns, count(1)
    named = (columns.id, columns.repo, columns.level)
    wanted = dict.fromkeys([*how.columns(columns), *named, *order.columns])
    none = facts_of(source, order, unit, 0, source.schema.empty_table(), False)
    frames = [none.with_columns(start=pl.lit(0, pl.Int64), end=pl.lit(0, pl.Int64))]
    for folder in (pieces.work / "stretches" / name, pieces.work / "rows"):
        folder.mkdir(parents=True, exist_ok=True)
    with pieces.texts_file.open("ab") as file:
        for base, table in source.groups(unit, [column for column in wanted if column]):
            facts = facts_of(source, order, unit, base, table, False)  # refuses odd text
            texts = shingles.texts_of(table, columns, how)
            _refuse_long(texts.offsets, unit, base)
            segments = _in_order(texts, unit, base)
            moved = _append(file, texts.data[texts.offsets[0] : texts.offsets[-1]]) - int(texts.offsets[0])
            for stretches, number in zip(_cut(texts, segments, unit.base + base), numbers, strict=False):
                _write_piece(pieces, f"{name}/{number:05d}", texts.data, stretches, moved)
            start, end = pl.Series(texts.offsets[:-1] + moved), pl.Series(texts.offsets[1:] + moved)
            frames.append(facts.with_columns(start=start, end=end))
    aside = pieces.unit_file(name).with_suffix(".part")
    pl.concat(frames).write_parquet(aside)
    aside.replace(pieces.unit_file(name))


def _write_piece(pieces: Pieces, piece: str, data: Bytes, stretches: Ints, moved: int) -> None:
    """The windows of a piece, and its stretches: in ``texts.u8`` all lies ``moved`` bytes further on."""
    records = windows.windows(data, stretches, pieces.words)
    pieces.windows.write(piece, [windows.deal(records, pieces.bins)])
    np.save(pieces.work / "stretches" / piece, stretches + np.array([0, *[moved] * 5]))


def _append(file: BinaryIO, data: Bytes) -> int:
    """Add to a file that other processes add to as well; where it starts there."""
    fcntl.flock(file, fcntl.LOCK_EX)
    try:
        start = file.seek(0, 2)
        file.write(data.data)
        file.flush()
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)
    return start


def _in_order(texts: shingles.Texts, unit: Unit, base: int) -> Ints:
    """The segments in order of where they start; refuses some that overlap."""
    order = np.lexsort((texts.ends, texts.starts))
    wrong = np.flatnonzero(texts.starts[order][1:] < texts.ends[order][:-1])
    if len(wrong):
        row = int(np.searchsorted(texts.rows, order[wrong[0]], side="right")) - 1
        raise Refusal(f"{unit.path}: files of row {unit.first + base + row} overlap: mend their spans.")
    return order


def _cut(texts: shingles.Texts, order: Ints, base: int) -> Iterator[Ints]:
    """The stretches of each piece: whole segments, or some ``PIECE_BYTES`` of a long one.

    Args:
        order: Segments in order.
        base: Number of the first row.
    """
    owner = np.repeat(np.arange(len(texts.rows) - 1), np.diff(texts.rows))
    times = np.maximum(1, -(-(texts.ends - texts.starts) // PIECE_BYTES))[order]
    which = np.repeat(order, times)
    turn = np.arange(len(which)) - np.repeat(np.cumsum(times) - times, times)
    start, end = texts.starts[which], texts.ends[which]
    begin = start + turn * PIECE_BYTES
    until = np.minimum(begin + PIECE_BYTES, end)
    row = owner[which]
    stretches = np.stack([row + base, texts.offsets[row], start, end, begin, until], axis=1)
    for low, high in grouped(until - begin, PIECE_BYTES):
        yield np.ascontiguousarray(stretches[low:high])


def _refuse_long(offsets: Ints, unit: Unit, base: int) -> None:
    long = np.flatnonzero(np.diff(offsets) > windows.MOST_BYTES)
    if len(long):
        raise Refusal(
            f"{unit.path}: the text of row {unit.first + base + int(long[0])} has 4 GB or more: split it."
        )
