"""What the kernel computes, in numpy: its oracle in the tests, and its stand-in where it was not built.

* A *word* is a longest run of ``[0-9A-Za-z_]`` and bytes from 0x80; ASCII letters count as lower case.
* A *shingle* is the hash of ``ngram`` words in a row; a text with fewer words is one shingle of them all.
* A *signature* has 256 bins and stems from a Fast Similarity Sketch (Dahlgaard, Knudsen, Thorup, "Fast
  Similarity Sketching", FOCS 2017): in round 0 each shingle throws its hash into one bin, which holds the
  least; as long as bins are empty, further rounds throw again with new hashes.  The low 8 bits of each bin
  are kept.  Two sets have equal bins in the share of their Jaccard similarity J (plus chance:
  J + (1 - J) / 256), and the least of two sketches is the sketch of the union.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

BINS = 256
MOST_WORDS = 64
ROUNDS = 32
HEADER_BYTES = 16384
MOST_DOUBTS = 128

Ints = NDArray[np.int64]
Words = NDArray[np.uint64]
Bytes = NDArray[np.uint8]
Compare = Callable[[int, bytes], tuple[int, float]]
"""Given a row and others (uint32, as bytes): the place of the first similar one or -1, and how similar."""

_U = np.uint64
_WORD, _LENGTH = _U(0x9E3779B97F4A7C15), _U(0xD1B54A32D192ED03)
_ROLL, _SALT = _U(0xD6E8FEB86659FD93), 0xA24BAED4963EE407
_VALUE = _U((1 << 56) - 1)
_EMPTY = _U(0xFFFFFFFFFFFFFFFF)

IS_WORD = np.zeros(256, np.bool_)
IS_WORD[[*b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_", *range(0x80, 0x100)]] = True


def mix(x: Words) -> Words:
    """splitmix64's finaliser (Steele, Lea, Flood 2014): a bijection that spreads every bit."""
    x = (x ^ (x >> _U(30))) * _U(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> _U(27))) * _U(0x94D049BB133111EB)
    return x ^ (x >> _U(31))


def words_of(text: Bytes) -> Words:
    """The hash of every word of a text, in order."""
    inside = np.concatenate([[False], IS_WORD[text], [False]])
    edges = np.flatnonzero(inside[1:] != inside[:-1])
    start, left = edges[0::2].copy(), edges[1::2] - edges[0::2]
    padded = np.concatenate([text, np.zeros(8, np.uint8)])
    eights = np.ndarray((len(text) + 1,), "<u8", padded, strides=(1,))
    hashes = left.astype(np.uint64) * _LENGTH
    while (long := np.flatnonzero(left > 8)).size:
        h = (hashes[long] ^ _fold(eights[start[long]])) * _WORD
        hashes[long] = h ^ (h >> _U(32))
        start[long] += 8
        left[long] -= 8
    keep = _EMPTY >> (_U(64) - _U(8) * left.astype(np.uint64))
    hashes = (hashes ^ (_fold(eights[start]) & keep)) * _WORD
    return hashes ^ (hashes >> _U(29))


def shingles_of(text: Bytes, ngram: int) -> Words:
    """The shingles of one text, in order, duplicates included."""
    words = words_of(text)
    if len(words) == 0:
        return words
    width = min(ngram, len(words))
    total = np.zeros(len(words) - width + 1, np.uint64)
    for i in range(width):
        total = total * _ROLL + words[i : len(words) - width + 1 + i]
    return mix(total)


def sketch_of(shingles: Words) -> Words:
    """The 256 bins of a set of shingles: (round << 56 | hash), the least of each bin."""
    bins = np.full(BINS, _EMPTY, np.uint64)
    if len(shingles) == 0:
        return bins
    for turn in range(ROUNDS):
        x = mix(shingles ^ _salt(turn)) if turn else shingles
        np.minimum.at(bins, (x >> _U(56)).astype(np.intp), _U(turn) << _U(56) | (x & _VALUE))
        if (bins != _EMPTY).all():
            return bins
    for j in np.flatnonzero(bins == _EMPTY):  # tiny sets: the bins still empty get hashes of their own
        x = mix(shingles ^ _salt(ROUNDS + int(j)))
        bins[j] = _U(ROUNDS) << _U(56) | (x & _VALUE).min()
    return bins


def sign(
    data: Bytes,
    starts: Ints,
    ends: Ints,
    rows: Ints,
    groups: Ints,
    signatures: Bytes,
    counts: Words,
    sketches: Words,
    ngram: int,
    file: int,
) -> None:
    """Fill ``signatures``, ``counts`` and the merged ``sketches``: ``kernel.sign`` says what they are."""
    data = np.frombuffer(data, np.uint8)
    for i, group in enumerate(groups):
        parts = [shingles_of(data[starts[s] : ends[s]], ngram) for s in range(rows[i], rows[i + 1])]
        shingles = np.concatenate([*parts, np.empty(0, np.uint64)])
        bins = sketch_of(shingles)
        if file >= 0:
            _write(file, shingles.tobytes())
        counts[i] = len(shingles)
        signatures[i] = (bins & _U(0xFF)).astype(np.uint8)
        if group >= 0:
            sketches[group] = np.minimum(sketches[group], bins)


def shingle(data: Bytes, starts: Ints, ends: Ints, out: Words, ngram: int) -> int:
    """The shingles of all segments, one after the other, into ``out``; how many there are."""
    data, n = np.frombuffer(data, np.uint8), 0
    for start, end in zip(starts, ends, strict=True):
        found = shingles_of(data[start:end], ngram)
        out[n : n + len(found)] = found
        n += len(found)
    return n


def behead(data: Bytes, starts: Ints, ends: Ints) -> None:
    """Move every start behind the comments at the head of its text, up to the last that speaks of rights."""
    data = np.frombuffer(data, np.uint8)
    for s, (start, end) in enumerate(zip(starts, ends, strict=True)):
        starts[s] = start + _body(data[start : min(end, start + HEADER_BYTES)].tobytes())


def _body(head: bytes) -> int:
    at, body = 3 if head.startswith(b"\xef\xbb\xbf") else 0, 0
    while True:
        at = len(head) - len(head[at:].lstrip(b" \t\r\n\f\v"))
        close = _comment(head, at)
        if close is None:
            return body
        text = head[at:close].lower()
        if b"copyright" in text or b"licen" in text or b"spdx" in text:
            body = close
        at = close


def _comment(head: bytes, at: int) -> int | None:
    for opens, closes in ((b"/*", b"*/"), (b"<!--", b"-->"), (b"<?", b"\n")):
        if head.startswith(opens, at):
            close = head.find(closes, at + len(opens))
            return None if close < 0 else close + len(closes)
    for line in (b"//", b"#", b"--", b";", b"%"):
        if head.startswith(line, at):
            following = stop = at
            while head.startswith(line, following):
                newline = head.find(b"\n", following)
                stop = len(head) if newline < 0 else newline + 1
                following = len(head) - len(head[stop:].lstrip(b" \t"))
            return stop
    return None


def choose(
    signatures: Bytes,
    slots: Ints,
    settled: NDArray[np.bool_],
    keepers: Ints,
    similarities: NDArray[np.float64],
    exact: NDArray[np.bool_],
    bands: int,
    rows: int,
    low: int,
    high: int,
    bucket: int,
    compare: Compare,
) -> None:
    """Go through the rows, best first: one goes for the kept row that is most like it, or is kept itself.

    A row meets the kept rows that are equal to it in all bins of a band, in each band the first ``bucket``
    of them.  Below ``low`` equal bins a pair is nothing.  From ``high`` it is certain: the row goes for the
    partner with most equal bins.  Else ``compare`` looks at the MOST_DOUBTS partners with most equal bins,
    and the row goes for the first that it finds similar.  Among equals the better row comes first.

    Args:
        settled: Rows that are kept without being looked at.
        keepers: To be filled, by row, as are ``similarities`` and whether they are ``exact``.
    """
    kept: dict[tuple[int, bytes], list[int]] = {}
    for row in range(len(slots)):
        mine = signatures[slots[row]]
        keys = [(band, mine[band * rows : (band + 1) * rows].tobytes()) for band in range(bands)]
        keepers[row], similarities[row], exact[row] = row, 1, True
        partners = sorted({other for key in keys for other in kept.get(key, ())}) if not settled[row] else []
        same = (signatures[slots[partners]] == mine).sum(axis=1)
        nearest = sorted((BINS - int(n), other) for n, other in zip(same, partners, strict=True) if n >= low)
        if nearest and BINS - nearest[0][0] >= high:
            chance = 1 / BINS
            estimate = ((BINS - nearest[0][0]) / BINS - chance) / (1 - chance)
            keepers[row], similarities[row], exact[row] = nearest[0][1], estimate, False
        elif nearest:
            others = np.array([other for _, other in nearest[:MOST_DOUBTS]], np.uint32)
            place, similarity = compare(row, others.tobytes())
            if place >= 0:
                keepers[row], similarities[row] = others[place], similarity
        if keepers[row] == row:
            for key in keys:
                if len(kept.setdefault(key, [])) < bucket:
                    kept[key].append(row)


def first_similar(
    members: Ints,
    bounds: Ints,
    bases: Ints,
    starts: Ints,
    files: NDArray[np.int32],
    others: bytes,
    item: int,
    threshold: float,
    opened: Callable[[int], None],
) -> tuple[int, float]:
    """The place of the first of ``others`` that is similar to an item, or -1; the last similarity found.

    Args:
        members: Item i consists of the rows ``members[bounds[i]:bounds[i + 1]]``.
        bases: The first row of each unit.
        starts: int64 [rows, 2]: where the shingles of a row start and end in the file of its unit.
        files: Descriptors by unit; ``opened`` fills in one that is below 0, and the starts of its rows.
        others: Items, uint32.
    """

    def load(number: int) -> Words:
        parts = [np.empty(0, np.uint64)]
        for row in members[bounds[number] : bounds[number + 1]].tolist():
            unit = int(np.searchsorted(bases, row, "right")) - 1
            if files[unit] < 0:
                opened(unit)
            start, end = starts[row].tolist()
            parts.append(np.frombuffer(os.pread(files[unit], 8 * (end - start), 8 * start), np.uint64))
        return np.concatenate(parts)

    mine, found = load(item), 0.0
    for place, other in enumerate(np.frombuffer(others, np.uint32).tolist()):
        found = similarity(mine, load(other))
        if found >= threshold:
            return place, found
    return -1, found


def similarity(left: Words, right: Words) -> float:
    """|A and B| / |A or B| of two sets of shingles; 1 for two empty ones."""
    x, y = np.unique(np.frombuffer(left, np.uint64)), np.unique(np.frombuffer(right, np.uint64))
    common = len(np.intersect1d(x, y, assume_unique=True))
    return common / (len(x) + len(y) - common) if len(x) + len(y) else 1.0


def jaccard(
    shingles: Words, starts: Ints, ends: Ints, left: Ints, right: Ints, out: NDArray[np.float64]
) -> None:
    """Fill ``out``: the similarity of the sets ``left[i]`` and ``right[i]``."""
    for i, (a, b) in enumerate(zip(left, right, strict=True)):
        out[i] = similarity(shingles[starts[a] : ends[a]], shingles[starts[b] : ends[b]])


def _write(file: int, data: bytes) -> None:
    while data:
        data = data[os.write(file, data) :]


def _salt(turn: int) -> np.uint64:
    return _U(turn * _SALT & 0xFFFFFFFFFFFFFFFF)


def _fold(words: Words) -> Words:
    return words | (_U(0x2020202020202020) & ~(words >> _U(2)))
