"""What the kernel computes of windows, in numpy: ``windows.py`` says what that is."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dedup import twin
from dedup.twin import mix

Ints = NDArray[np.int64]
Words = NDArray[np.uint64]
Bytes = NDArray[np.uint8]

_U = np.uint64
_WORD, _LENGTH = _U(0x9E3779B97F4A7C15), _U(0xD1B54A32D192ED03)
_ROLL, _SALT = _U(0xD6E8FEB86659FD93), _U(0xA24BAED4963EE407)
_OFFSET = (1 << 32) - 1


def windows(data: Bytes, stretches: Ints, records: Words, words: int) -> int:
    """Fill ``records`` with the hash and place of every window; how many there are."""
    data, n = np.frombuffer(data, np.uint8), 0
    for stretch in stretches:
        starts, _, hashes = _windows_of(data, stretch, words)
        records[n : n + len(starts), 0] = hashes
        records[n : n + len(starts), 1] = _place(int(stretch[0]), starts - stretch[1])
        n += len(starts)
    return n


def _windows_of(data: Bytes, stretch: Ints, words: int) -> tuple[Ints, Ints, Words]:
    """Start and end in ``data`` and hash of every window that begins in a stretch."""
    _, _, start, end, begin, until = stretch.tolist()
    text = data[start:end]
    inside = np.concatenate([[False], twin.IS_WORD[text], [False]])
    edges = np.flatnonzero(inside[1:] != inside[:-1])
    starts, ends = edges[0::2], edges[1::2]
    if len(starts) < words:
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.uint64)
    bare = _hashes(text, starts, ends - starts)
    steps = bare.copy()
    steps[1:] ^= _hashes(text, ends[:-1], starts[1:] - ends[:-1]) * _SALT
    count = len(starts) - words + 1
    total = bare[:count].copy()
    for i in range(1, words):
        total = total * _ROLL + steps[i : i + count]
    here = (starts[:count] + start >= begin) & (starts[:count] + start < until)
    return starts[:count][here] + start, ends[words - 1 :][here] + start, mix(total)[here]


def _hashes(text: Bytes, starts: Ints, lengths: Ints) -> Words:
    """A hash of the bytes of each piece; none is empty."""
    padded = np.concatenate([text, np.zeros(8, np.uint8)])
    eights = np.ndarray((len(text) + 1,), "<u8", padded, strides=(1,))
    hashes, start, left = lengths.astype(np.uint64) * _LENGTH, starts.copy(), lengths.copy()
    while (long := np.flatnonzero(left > 8)).size:
        h = (hashes[long] ^ eights[start[long]]) * _WORD
        hashes[long] = h ^ (h >> _U(32))
        start[long] += 8
        left[long] -= 8
    keep = _U(0xFFFFFFFFFFFFFFFF) >> (_U(64) - _U(8) * left.astype(np.uint64))
    hashes = (hashes ^ (eights[start] & keep)) * _WORD
    mixed: Words = hashes ^ (hashes >> _U(29))
    return mixed


def _place(row: int, offsets: Ints) -> Words:
    return _U(row) << _U(32) | offsets.astype(np.uint64)


def deal(records: Words, dealt: Words, bounds: Ints) -> None:
    """Fill ``dealt`` with the records bin by bin, and ``bounds`` with where each bin starts and ends."""
    bits = (len(bounds) - 1).bit_length() - 1
    bins = (records[:, 0] >> _U(64 - bits)).astype(np.int64) if bits else np.zeros(len(records), np.int64)
    dealt[:] = records[np.argsort(bins, kind="stable")]
    bounds[:] = np.concatenate([[0], np.cumsum(np.bincount(bins, minlength=len(bounds) - 1))])


def firsts(records: Words, ranks: Ints, places: Words) -> None:
    """Fill ``places``: for every record the first place that has its hash."""
    rows = (records[:, 1] >> _U(32)).astype(np.int64)
    order = np.lexsort((records[:, 1], ranks[rows], records[:, 0]))
    _, first, which = np.unique(records[order, 0], return_index=True, return_inverse=True)
    places[order] = records[order[first[which]], 1]


def cover(data: Bytes, texts: Ints, stretches: Ints, repeats: Words, spans: Ints, words: int) -> int:
    """Fill ``spans``; how many there are."""
    data = np.frombuffer(data, np.uint8)
    repeats[:] = repeats[np.argsort(repeats[:, 0], kind="stable")]
    first_of = dict(repeats[::-1].tolist())
    n = 0
    for stretch in stretches:
        row, origin = int(stretch[0]), int(stretch[1])
        starts, ends, _ = _windows_of(data, stretch, words)
        runs: list[Span] = []
        for number, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
            first = first_of.get(row << 32 | start - origin)
            if first is None or (first >> 32 == row and (first & _OFFSET) + end - start > start - origin):
                continue
            if runs and start < runs[-1].end and _goes_on(data, texts, runs[-1], end):
                runs[-1] = runs[-1]._replace(end=end, words=number - runs[-1].number + words)
            elif _bytes(data, texts, first, end - start)[0] == data[start:end].tobytes():
                runs.append(Span(start, end, first, words, number))
        for span in _fewest(runs):
            spans[n] = (row, span.start - origin, span.end - origin, span.first, span.words)
            n += 1
    return n


class Span(NamedTuple):
    start: int
    end: int
    """Both in ``data``."""
    first: int
    words: int
    number: int
    """Of its first window within the stretch."""


def _goes_on(data: Bytes, texts: Ints, run: Span, end: int) -> bool:
    """Whether a run of words goes on up to ``end`` as it does where it stands first."""
    there, following = _bytes(data, texts, run.first, end - run.start)
    return there == data[run.start : end].tobytes() and not twin.IS_WORD[following].any()


def _bytes(data: Bytes, texts: Ints, first: int, length: int) -> tuple[bytes, Bytes]:
    """Bytes at a place, as far as the text goes, and the one after them, if there is one."""
    start, end = texts[first >> 32].tolist() if first >> 32 < len(texts) else (0, 0)
    at = min(start + (first & _OFFSET), end)
    return data[at : min(at + length, end)].tobytes(), data[min(at + length, end) : min(at + length + 1, end)]


def _fewest(runs: list[Span]) -> list[Span]:
    """Of the runs that begin in the one before, only the last is taken."""
    chosen: list[Span] = []
    while runs:
        inside = [i for i, run in enumerate(runs) if chosen and run.start < chosen[-1].end]
        take = inside[-1] if inside else 0
        chosen.append(runs[take])
        runs = runs[take + 1 :]
    return chosen


def characters(data: Bytes, origins: Ints, ends: Ints, counts: Ints) -> None:
    """Fill ``counts``: bytes that begin a character, by piece."""
    data = np.frombuffer(data, np.uint8)
    for i, (start, end) in enumerate(zip(origins.tolist(), ends.tolist(), strict=True)):
        counts[i] = ((data[start:end] & 0xC0) != 0x80).sum()
