"""Which texts share something with the problems that will judge the model (section 2.4 of the paper).

The rule is the paper's: any 10 words in a row, or, for protected strings of 3 to 9 words, the string
itself.  It does not say what a word is.  Here: a run of ASCII letters, digits, underscores and
non-ASCII bytes, ASCII letters lower-cased, whatever stands between the words.  Short strings must match
with what is between their words too, up to case and white space: `return x + y` is not `return x - y`.

Fast because it is three passes of numpy over bytes: a hash for every word, a hash for every run of n
words from those, and a bitmap that few of them pass.  What passes is compared as text, so a collision
of hashes costs time and never a file.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]
Positions = npt.NDArray[np.int64]

_BREAK = 0
"""What every byte between words is turned into."""

_WORDS = bytes(
    byte + 32 if 65 <= byte <= 90 else byte if chr(byte).isalnum() or byte == 95 or byte > 127 else _BREAK
    for byte in range(256)
)

_BITS = 22
"""The bitmap has 2**22 places: 4 MB, and 2 in 100 words pass it with 100,000 protected n-grams."""

_CHUNK = 1 << 20
"""Bytes looked at together: the arrays of one pass stay near the caches."""

_BASE = 0x9E3779B97F4A7C15
_MIX = np.uint64(0xD6E8FEB86659FD93)


class Protected(NamedTuple):
    """One string that must not be in the training data."""

    problem: str
    text: str


class Hit(NamedTuple):
    """What a text shares with a problem, and where: ``text[start:end]``, in characters."""

    problem: str
    words: str
    start: int
    end: int


class Words(NamedTuple):
    """The words of a buffer: where each starts and ends, in bytes, and its hash."""

    lowered: bytes
    starts: Positions
    ends: Positions
    hashes: Hashes

    def between(self, first: int, count: int) -> str:
        """``count`` words, joined by single spaces."""
        run = self.lowered[self.starts[first] : self.ends[first + count - 1]]
        return b" ".join(run.replace(b"\0", b" ").split()).decode("utf-8", "replace")


class Index:
    """The protected strings, ready to be looked for.

    Args:
        ngram: Words in a row that a text may not share.
        shortest: Strings of fewer words are not looked for; those between are looked for whole.
        allow: Strings that anybody would write; not looked for.
    """

    def __init__(
        self, protected: Iterable[Protected], *, ngram: int = 10, shortest: int = 3, allow: Sequence[str] = ()
    ):
        self.ngram = ngram
        self._grams: dict[str, str] = {}
        self._strings: dict[str, str] = {}
        hashes: defaultdict[int, list[Hashes]] = defaultdict(list)
        allowed = {_core(text) for text in allow}
        for problem, text in sorted(set(protected)):
            words = split(text.encode())
            count = min(len(words.starts), ngram)
            if count < shortest or _core(text) in allowed:
                continue
            runs = next(runs for n, runs in ngrams(words.hashes, count) if n == count)
            if count < ngram:
                self._strings.setdefault(_core(text), problem)
                hashes[count].append(runs)
                continue
            grams = [words.between(first, ngram) for first in range(len(runs))]
            telling = [first for first, gram in enumerate(grams) if not _is_counting(gram)]
            self._grams |= {grams[first]: problem for first in telling if grams[first] not in self._grams}
            hashes[count].append(runs[telling])
        self._tables = {n: _Table(np.unique(np.concatenate(found))) for n, found in sorted(hashes.items())}

    def search(self, texts: Iterable[str]) -> Iterator[Hit | None]:
        """For each text the first thing it shares with a problem."""
        for chunk in _chunks(text.encode() for text in texts):
            yield from self._search(chunk)

    def _search(self, chunk: Sequence[bytes]) -> list[Hit | None]:
        joined = b"\n".join(chunk)
        words = split(joined)
        limits = np.cumsum([len(text) + 1 for text in chunk])
        found: list[tuple[int, int, str, str] | None] = [None] * len(chunk)
        for n, runs in ngrams(words.hashes, max(self._tables, default=0)):
            for first in self._tables[n].among(runs) if n in self._tables else ():
                start, end = int(words.starts[first]), int(words.ends[first + n - 1])
                text = int(np.searchsorted(limits, start, side="right"))
                earlier = found[text]
                if end > limits[text] or (earlier is not None and earlier[0] <= start):
                    continue
                if shared := self._exactly(words, int(first), n, joined[start:end]):
                    found[text] = (start, end, *shared)
        begins = [0, *limits]
        return [hit and _hit(chunk[text], int(begins[text]), *hit) for text, hit in enumerate(found)]

    def _exactly(self, words: Words, first: int, n: int, raw: bytes) -> tuple[str, str] | None:
        """The problem and what it shares, if the hashes did not lie."""
        if n == self.ngram:
            shared, problem = (gram := words.between(first, n)), self._grams.get(gram)
        else:
            shared, problem = (core := _squeezed(raw)), self._strings.get(core)
        return (problem, shared) if problem is not None else None


def _hit(text: bytes, begins: int, start: int, end: int, problem: str, shared: str) -> Hit:
    """A hit in bytes of a chunk as one in characters of its text."""
    before = len(text[: start - begins].decode("utf-8", "replace"))
    within = len(text[start - begins : end - begins].decode("utf-8", "replace"))
    return Hit(problem, shared, before, before + within)


def split(text: bytes) -> Words:
    """The words of ``text`` and their hashes: polynomials modulo 2**64, by differences of prefix sums."""
    lowered = text.translate(_WORDS)
    codes = np.frombuffer(b"\0" + lowered + b"\0", dtype=np.uint8)
    inside = codes != _BREAK
    starts = np.flatnonzero(inside[1:-1] & ~inside[:-2])
    ends = np.flatnonzero(inside[1:-1] & ~inside[2:]) + 1
    powers, inverses = _powers(len(codes))
    sums = np.cumsum(codes * powers, dtype=np.uint64)
    hashes = (sums[ends] - sums[starts]) * inverses[starts]
    hashes ^= hashes >> np.uint64(32)
    hashes *= _MIX
    return Words(lowered, starts, ends, hashes ^ (hashes >> np.uint64(29)))


class _Table:
    """A set of hashes, with a bitmap before it."""

    def __init__(self, hashes: Hashes):
        self._hashes = hashes
        self._bitmap = np.zeros(1 << _BITS, dtype=np.bool_)
        self._bitmap[hashes >> np.uint64(64 - _BITS)] = True

    def among(self, hashes: Hashes) -> Positions:
        """Where ``hashes`` holds a member."""
        likely = np.flatnonzero(self._bitmap[hashes >> np.uint64(64 - _BITS)])
        return likely[np.isin(hashes[likely], self._hashes)]


def ngrams(hashes: Hashes, longest: int) -> Iterator[tuple[int, Hashes]]:
    """For n = 1 … ``longest``: the hashes of all runs of n words, built up one word at a time."""
    runs = np.zeros(len(hashes) + 1, dtype=np.uint64)
    for n in range(1, longest + 1):
        runs = runs[:-1] * _MIX + hashes[n - 1 :] if len(hashes) >= n else runs[:0]
        mixed = runs ^ (runs >> np.uint64(31))
        yield n, mixed * np.uint64(_BASE)


def _chunks(texts: Iterable[bytes]) -> Iterator[list[bytes]]:
    chunk: list[bytes] = []
    size = 0
    for text in texts:
        chunk.append(text)
        size += len(text)
        if size >= _CHUNK:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


_POWERS: list[tuple[Hashes, Hashes]] = []


def _powers(count: int) -> tuple[Hashes, Hashes]:
    """_BASE to the powers 0 … count - 1 modulo 2**64, and their inverses."""
    if not _POWERS or len(_POWERS[0][0]) < count:
        size = 1 << max(count, 2 * _CHUNK).bit_length()
        both = [np.full(size, base, dtype=np.uint64) for base in (_BASE, pow(_BASE, -1, 1 << 64))]
        for powers in both:
            powers[0] = 1
            np.multiply.accumulate(powers, out=powers)
        _POWERS[:] = [(both[0], both[1])]
    powers, inverses = _POWERS[0]
    return powers[:count], inverses


_NUMERAL = re.compile(r"[0-9]\w*|[a-z]")


def _is_counting(gram: str) -> bool:
    """Whether 8 of 10 words are numerals or single letters.

    `0, 1, 2, … 9` and `a, b, c, …` stand in problems, and in every base64 table of the world.
    """
    words = gram.split(" ")
    return 5 * sum(_NUMERAL.fullmatch(word) is not None for word in words) >= 4 * len(words)


def _core(text: str) -> str:
    """From the first word to the last, ASCII letters lower-cased, white space squeezed to one space."""
    words = split(text.encode())
    if not len(words.starts):
        return ""
    return _squeezed(text.encode()[int(words.starts[0]) : int(words.ends[-1])])


def _squeezed(core: bytes) -> str:
    """The same of bytes that begin and end with a word; a hostile text has a hundred thousand of them."""
    return " ".join(core.lower().decode("utf-8", "replace").split())
