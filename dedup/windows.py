"""Windows of words: their hashes, where each stands first, and the spans that repeated ones cover.

A *window* is some words in a row and the bytes between them, from the first byte of the first word to the
last byte of the last; two windows are equal if their bytes are.  A *place* is a row's number and an offset
in bytes within its text, in one integer: ``row << 32 | offset``.

These are the compiled loops where they could be built, the numpy twin where not: same functions, same bits.
"""

from __future__ import annotations

from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from dedup import kernel, twin_windows

engine: ModuleType = kernel.engine if kernel.COMPILED else twin_windows

MOST_WORDS = 1024
"""Largest window."""

MOST_BYTES = (1 << 32) - 1
"""Longest text whose offsets fit into a place."""

Ints = NDArray[np.int64]
Words = NDArray[np.uint64]
Bytes = NDArray[np.uint8]


def windows(data: Bytes, stretches: Ints, words: int) -> Words:
    """The windows that begin in some stretches of texts, in order.

    Args:
        data: Bytes of texts.
        stretches: int64 [stretches, 6]: number of the row, then offsets into ``data``: where the row's text
            starts, where the segment that windows may not leave starts and ends, and between which two
            offsets windows begin.  A word that an offset cuts belongs to the stretch in which it begins.
        words: Words per window.

    Returns:
        uint64 [windows, 2]: hash, place.
    """
    room = int(
        ((stretches[:, 5] - stretches[:, 4]) // 2 + 1).sum()
    )  # no two words begin at neighbouring bytes
    records = np.empty((room, 2), np.uint64)
    return records[: engine.windows(data, stretches, records, words)]


def deal(records: Words, bins: int) -> tuple[Words, Ints]:
    """Records by the top bits of their hash, in order within each bin; and the size of each bin."""
    dealt, bounds = np.empty_like(records), np.empty(bins + 1, np.int64)
    engine.deal(records, dealt, bounds)
    return dealt, np.diff(bounds)


def firsts(records: Words, ranks: Ints) -> Words:
    """For every record the place where its hash stands first: in the row of least rank, then leftmost.

    Args:
        records: uint64 [n, 2]: hash, place.
        ranks: By row.
    """
    places = np.empty(len(records), np.uint64)
    engine.firsts(records, ranks, places)
    return places


def cover(data: Bytes, texts: Ints, stretches: Ints, repeats: Words, words: int) -> Ints:
    """The fewest spans that cover every window that stands elsewhere before.

    A span is a run of windows that stand in the same order elsewhere.  Its bytes were compared: a window
    whose hash only happens to be that of another is passed over, as is one that overlaps its first place.

    Args:
        data: Bytes of texts.
        texts: int64 [rows, 2]: where each row's text starts and ends in ``data``.
        stretches: As for ``windows``, in order.
        repeats: uint64 [n, 2]: place, and the first place with its hash.  They are sorted by place.

    Returns:
        int64 [spans, 5]: row, start and end in bytes within its text, first place, number of words.
    """
    spans = np.empty((len(repeats), 5), np.int64)
    return spans[: engine.cover(data, texts, stretches, repeats, spans, words)].copy()


def characters(data: Bytes, origins: Ints, ends: Ints) -> Ints:
    """How many characters of UTF-8 begin in ``data[origins[i]:ends[i]]``; quick if sorted by both."""
    counts = np.empty(len(origins), np.int64)
    engine.characters(data, origins, ends, counts)
    return counts
