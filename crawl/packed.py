"""Which tokens of the packed rows hold a file: from characters of a document to places in sequences.

Reads the table ``tokens`` through its columns.  A piece of a document is a run of tokens in a row; with
fill-in-the-middle its text was cut into prefix, middle and suffix and put into another order, so one file
may be up to three runs.  How many bytes each token stands for is kept with the rows (part ``vocabulary``);
special tokens stand for none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from corpus import Table

ARRANGED = {"text": ("whole",), "psm": ("prefix", "suffix", "middle"), "spm": ("suffix", "prefix", "middle")}


class Run(NamedTuple):
    """Tokens ``start`` to ``end`` of a sequence, which hold a part of a file."""

    split: str
    sequence: int
    start: int
    end: int
    mode: str


def runs_of(tokens: Table, document: str, text: str, first: int, last: int) -> Iterator[Run]:
    """Where characters ``first`` to ``last`` of a document went, in the order of the rows.

    Args:
        tokens: The table that `train pack` wrote.
        text: The document's text, as it was packed.
    """
    if first >= last:
        return
    pieces = (
        tokens.scan("spans")
        .filter(document=document)
        .filter(pl.col("text_start") < last, pl.col("text_end") > first)
    )
    widths = np.load(tokens.file(tokens.shards("vocabulary")[0]))
    for piece in pieces.sort("split", "sequence", "start").collect().iter_rows(named=True):
        row = _row(tokens, piece["split"], piece["sequence"])
        ends = np.cumsum(widths[row[piece["start"] : piece["end"]]].astype(np.int64))
        for start, end in _within(piece, text, ends, first, last):
            places = (piece["start"] + start, piece["start"] + end)
            yield Run(piece["split"], piece["sequence"], *places, piece["mode"])


def _within(
    piece: Mapping[str, Any], text: str, ends: NDArray[np.int64], first: int, last: int
) -> Iterator[tuple[int, int]]:
    """The runs of a piece's tokens whose bytes are characters ``first`` to ``last``.

    Args:
        ends: For each token of the piece, the bytes up to its end.
    """
    start, end, cut, hole = (piece[name] for name in ("text_start", "text_end", "cut", "hole"))
    parts = {"whole": (start, end), "prefix": (start, cut), "middle": (cut, hole), "suffix": (hole, end)}
    starts = np.concatenate([[0], ends[:-1]])
    base = 0
    for low, high in (parts[name] for name in ARRANGED[piece["mode"]]):
        begin, stop = max(low, first), min(high, last)
        if begin < stop:
            at = base + len(text[low:begin].encode())
            to = at + len(text[begin:stop].encode())
            yield int(np.searchsorted(ends, at, "right")), int(np.searchsorted(starts, to, "left"))
        base += len(text[low:high].encode())


def _row(tokens: Table, split: str, sequence: int) -> NDArray[Any]:
    first = 0
    for shard in tokens.shards():
        if shard.name.startswith(f"{split}-"):
            if first <= sequence < first + shard.rows:
                row: NDArray[Any] = np.load(tokens.path / shard.name, mmap_mode="r")[sequence - first]
                return row
            first += shard.rows
    raise AssertionError(f"{tokens.path} has no sequence {sequence} in {split}, but its spans do")
