"""All pairs of files that are near-duplicates, exactly, and how right a tool's choice is by them.

    python tests/bench/dedup_truth.py CORPUS THRESHOLD TRUTH.npz

Words and shingles are made by other code than the tool's own, so that the two check one another.  Files
with the same set of shingles are one *class*; pairs of classes are found by prefix filtering (Chaudhuri et
al. 2006; with the bound by position of Xiao et al. 2008), which misses none.
"""

from __future__ import annotations

import hashlib
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from dedup import kernel

NGRAM = 5

WORD = r"[0-9A-Za-z_\u{80}-\u{10FFFF}]+"

MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)

RARITY_BITS = 26
"""Shingles are counted by so many of their bits: any order serves the prefix filter, rare first the best."""

HELD = 1 << 25
"""Candidate pairs before they are made unique."""


class Truth(NamedTuple):
    """Which class each row is of, and all pairs of classes that reach the threshold."""

    classes: np.ndarray
    left: np.ndarray
    right: np.ndarray

    @property
    def pairs(self) -> int:
        """How many pairs of files reach the threshold."""
        size = np.bincount(self.classes).astype(np.int64)
        return int((size * (size - 1) // 2).sum() + (size[self.left] * size[self.right]).sum())


class Quality(NamedTuple):
    precision: float
    """The share of the dropped files that have a kept partner at or above the threshold."""
    recall: float
    """Of the files dropped with reason and those that should go still: the share dropped."""


def main() -> None:
    corpus, threshold, out = Path(sys.argv[1]), float(sys.argv[2]), Path(sys.argv[3])
    truth = true_pairs(corpus, threshold)
    with out.open("wb") as file:
        np.savez(file, **truth._asdict())
    print(f"{len(truth.classes):,} files, {truth.pairs:,} pairs reach {threshold}")


def load(path: Path) -> Truth:
    with np.load(path) as stored:
        return Truth(*(stored[name] for name in Truth._fields))


def true_pairs(corpus: Path, threshold: float) -> Truth:
    sets: list[np.ndarray] = []
    numbers: dict[bytes, int] = {}
    classes: list[int] = []
    for found in shingle_sets(corpus):
        number = numbers.setdefault(hashlib.sha256(found.tobytes()).digest(), len(sets))
        if number == len(sets):
            sets.append(found)
        classes.append(number)
    sizes = np.array([len(found) for found in sets])
    items, ends = np.concatenate(sets), np.cumsum(sizes)
    pairs = candidates(sets, threshold)
    left, right = pairs // len(sets), pairs % len(sets)
    similar = kernel.jaccard(items, ends - sizes, ends, left, right) >= threshold - 1e-9
    return Truth(np.array(classes), left[similar], right[similar])


def shingle_sets(corpus: Path) -> Iterator[np.ndarray]:
    """The set of shingles of every row, sorted: hashes of five words in a row, or of all there are."""
    for file in sorted(corpus.glob("*.parquet")):
        texts = pq.read_table(file, columns=["text"])["text"].to_pylist()
        lowered = pl.Series([text.encode().lower().decode() for text in texts])  # bytes.lower: ASCII only
        words = lowered.str.extract_all(WORD)
        hashes = words.explode().drop_nulls().hash(1).to_numpy()
        ends = np.cumsum(words.list.len().to_numpy().astype(np.int64))
        rolled = windows(hashes, NGRAM)
        for text, start, end in zip(texts, [0, *ends[:-1].tolist()], ends.tolist(), strict=True):
            if end - start >= NGRAM:
                yield np.unique(rolled[start : end - NGRAM + 1])
            elif end > start:
                yield windows(hashes[start:end], end - start)
            else:  # without words: like its exact copies only
                yield np.frombuffer(hashlib.sha256(text.encode()).digest(), np.uint64)[:1]


def windows(hashes: np.ndarray, width: int) -> np.ndarray:
    """One value for every ``width`` hashes in a row."""
    total = np.zeros(max(0, len(hashes) - width + 1), np.uint64)
    for i in range(width):
        total = total * MULTIPLIER + hashes[i : len(hashes) - width + 1 + i]
    return total


def candidates(sets: list[np.ndarray], threshold: float) -> np.ndarray:
    """Pairs of sets that may be similar, each once, as left * count + right.

    Of two sets with similarity t, sorted by rarity, the first |x| - ceil(t |x|) + 1 items have one in
    common; and after the first common item, enough must follow in both.
    """
    item, owner, place = prefixes(sets, threshold)
    order = np.lexsort((owner, item))
    item, owner, place = item[order], owner[order], place[order]
    size = np.array([len(found) for found in sets])
    found, held = [np.empty(0, np.int64)], 0
    here, lag = np.arange(len(item) - 1), 1
    while len(here := here[here + lag < len(item)]) and len(here := here[item[here + lag] == item[here]]):
        a, b = owner[here], owner[here + lag]
        needed = np.ceil(threshold / (1 + threshold) * (size[a] + size[b]) - 1e-9)
        able = np.minimum(size[a] - place[here], size[b] - place[here + lag]) >= needed
        found.append(a[able] * len(sets) + b[able])
        held, lag = held + len(found[-1]), lag + 1
        if held > HELD:
            found, held = [np.unique(np.concatenate(found))], 0
    return np.unique(np.concatenate(found))


def prefixes(sets: list[np.ndarray], threshold: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The items that may be the first that two sets share: the item, its set, its place there by rarity."""
    shift = np.uint64(64 - RARITY_BITS)
    often = np.zeros(1 << RARITY_BITS, np.int32)
    for found in sets:
        often[found >> shift] += 1
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for number, found in enumerate(sets):
        rarity = often[found >> shift]
        length = len(found) - math.ceil(threshold * len(found) - 1e-9) + 1
        first = np.lexsort((found, rarity))[:length]
        place = np.flatnonzero(rarity[first] > 1)  # what is counted once is shared with nobody
        parts.append((found[first[place]], np.full(len(place), number), place))
    return tuple(np.concatenate(column) for column in zip(*parts, strict=True))  # type: ignore[return-value]


def judge(kept: np.ndarray, truth: Truth) -> Quality:
    """How right it is to keep these rows (bool, by row)."""
    count = np.bincount(truth.classes, weights=kept).astype(np.int64)
    stays = count > 0
    partner = stays.copy()
    partner[truth.left[stays[truth.right]]] = True
    partner[truth.right[stays[truth.left]]] = True
    dropped, right = int((~kept).sum()), int((~kept & partner[truth.classes]).sum())
    both = stays[truth.left] & stays[truth.right]
    surplus = int((count[stays] - 1).sum()) + spanning(truth.left[both].tolist(), truth.right[both].tolist())
    return Quality(right / max(1, dropped), right / max(1, right + surplus))


def spanning(left: list[int], right: list[int]) -> int:
    """Edges of a spanning forest: how many rows a cleaner result would still drop."""
    parent: dict[int, int] = {}

    def root(x: int) -> int:
        while parent.setdefault(x, x) != x:
            parent[x] = x = parent[parent[x]]
        return x

    joined = 0
    for a, b in zip(left, right, strict=True):
        a, b = root(a), root(b)
        parent[a] = b
        joined += a != b
    return joined


if __name__ == "__main__":
    main()
