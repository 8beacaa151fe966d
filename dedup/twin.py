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

import numpy as np
from numpy.typing import NDArray

BINS = 256
MOST_WORDS = 64
ROUNDS = 32
HEADER_BYTES = 16384
MOST_DOUBTS, LIKELY = 128, 4

Ints = NDArray[np.int64]
Words = NDArray[np.uint64]
Bytes = NDArray[np.uint8]

_U = np.uint64
_WORD, _LENGTH = _U(0x9E3779B97F4A7C15), _U(0xD1B54A32D192ED03)
_ROLL, _SALT = _U(0xD6E8FEB86659FD93), 0xA24BAED4963EE407
_VALUE = _U((1 << 56) - 1)
_EMPTY = _U(0xFFFFFFFFFFFFFFFF)

IS_WORD = np.zeros(256, np.bool_)
IS_WORD[[*b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_", *range(0x80, 0x100)]] = True

KEPT, DROPPED, UNKNOWN = 0, 1, 2
NO, YES, DOUBT = 0, 1, 2


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
) -> None:
    """Fill ``signatures``, ``counts`` and the merged ``sketches``: ``kernel.sign`` says what they are."""
    data = np.frombuffer(data, np.uint8)
    for i, group in enumerate(groups):
        parts = [shingles_of(data[starts[s] : ends[s]], ngram) for s in range(rows[i], rows[i + 1])]
        shingles = np.concatenate([*parts, np.empty(0, np.uint64)])
        bins = sketch_of(shingles)
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


def collide(
    signatures: Bytes,
    slots: Ints,
    alive: NDArray[np.bool_],
    fresh: NDArray[np.bool_],
    out: Bytes,
    known: Words,
    bands: int,
    rows: int,
    low: int,
    middle: int,
    high: int,
    leaders: int,
    patience: int,
) -> bytes:
    """Candidate pairs, band after band, as uint32 triples (leader, row, equal bins).

    A bucket holds the rows that are alive, not set aside, and equal in the band's bins; rows are numbered
    best first.  In a bucket each row meets the *leaders*, the first ``leaders`` rows that were not set
    aside, best first, if one of the two is fresh and the pair (leader << 32 | row) is not ``known``, sorted,
    to be different.  Below ``low`` equal bins a pair is nothing, from ``high`` it is certain, between it is
    in doubt.  A row is set aside (``out``) after ``patience`` leaders that are certain, of which LIKELY in
    doubt with at least ``middle`` equal bins count as one: so a cluster costs its size, not its square.  A
    row proposes at most MOST_DOUBTS pairs of fewer equal bins, and each pair once.
    """
    met = _Meeting(signatures, slots, np.asarray(fresh, bool), out, known, (low, middle, high), patience)
    for band in range(bands):
        here = np.flatnonzero(np.asarray(alive, bool) & (np.asarray(out) == 0))
        keys = np.ascontiguousarray(signatures[slots[here], band * rows : (band + 1) * rows])
        order = np.lexsort(keys.T[::-1]) if len(here) else here
        changes = np.flatnonzero((keys[order][1:] != keys[order][:-1]).any(axis=1)) + 1
        for bucket in np.split(here[order], changes):
            if len(bucket) > 1 and met.fresh[bucket].any():
                met.bucket(bucket, leaders)
    return np.array(met.found, np.uint32).tobytes()


class _Meeting:
    """The state of ``collide``."""

    def __init__(
        self,
        signatures: Bytes,
        slots: Ints,
        fresh: NDArray[np.bool_],
        out: Bytes,
        known: Words,
        limits: tuple[int, int, int],
        patience: int,
    ) -> None:
        self.signatures, self.slots, self.fresh, self.out = signatures, slots, fresh, out
        self.known = set(known.tolist())
        self.limits, self.patience, self.enough = limits, patience, LIKELY
        self.doubts, self.bets = [0] * len(slots), [0] * len(slots)
        self.found: list[tuple[int, int, int]] = []
        self.met: set[tuple[int, int]] = set()

    def bucket(self, bucket: Ints, leaders: int) -> None:
        """Every leader in turn against all the rows after it that are still in."""
        self.enough = LIKELY * (1 if len(bucket) > leaders else self.patience)
        led = 0
        for i, leader in enumerate(bucket.tolist()):
            if self.out[leader]:
                continue
            if led == leaders:
                return
            led += 1
            rest = bucket[i + 1 :]
            rest = rest[(self.out[rest] == 0) & (self.fresh[rest] | self.fresh[leader])]
            same = (self.signatures[self.slots[rest]] == self.signatures[self.slots[leader]]).sum(axis=1)
            for row, bins in zip(rest.tolist(), same.tolist(), strict=True):
                self.pair(leader, row, bins)

    def pair(self, leader: int, row: int, bins: int) -> None:
        low, middle, high = self.limits
        known = bins < high and leader << 32 | row in self.known
        if bins < low or known or (leader, row) in self.met:
            return
        if bins >= middle:
            self.bets[row] += LIKELY if bins >= high else 1
            self.out[row] = self.bets[row] >= self.enough
        else:
            self.doubts[row] += 1
            if self.doubts[row] > MOST_DOUBTS:
                return
        self.met.add((leader, row))
        self.found.append((leader, row, bins))


def jaccard(
    shingles: Words, starts: Ints, ends: Ints, left: Ints, right: Ints, out: NDArray[np.float64]
) -> None:
    """Fill ``out``: |A and B| / |A or B| of two sets of shingles; 1 for two empty ones."""
    for i, (a, b) in enumerate(zip(left, right, strict=True)):
        x, y = np.unique(shingles[starts[a] : ends[a]]), np.unique(shingles[starts[b] : ends[b]])
        common = len(np.intersect1d(x, y, assume_unique=True))
        out[i] = common / (len(x) + len(y) - common) if len(x) + len(y) else 1.0


def settle(keepers: Ints, rows: Ints, verdicts: Bytes, states: Bytes) -> None:
    """Best row first: drop what has a kept partner, keep what has none, and say where a doubt prevents both.

    Args:
        keepers: The better row of each pair.
        rows: The other one; pairs are sorted by it.
        verdicts: NO, YES or DOUBT, by pair.
        states: To be filled, by row: KEPT, DROPPED or UNKNOWN.
    """
    states[:] = KEPT
    row, state = -1, KEPT
    for keeper, this, verdict in zip(keepers.tolist(), rows.tolist(), verdicts.tolist(), strict=True):
        if this != row:
            row, state = this, KEPT
        if verdict != NO and states[keeper] != DROPPED:
            if verdict == YES and states[keeper] == KEPT:
                state = DROPPED
            elif state == KEPT:
                state = UNKNOWN
        states[row] = state


def _salt(turn: int) -> np.uint64:
    return _U(turn * _SALT & 0xFFFFFFFFFFFFFFFF)


def _fold(words: Words) -> Words:
    return words | (_U(0x2020202020202020) & ~(words >> _U(2)))
