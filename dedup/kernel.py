"""The compiled kernel where it could be built, its numpy twin where not: same functions, same bits.

All arrays are C-contiguous and of the types that ``twin.py`` states; ``COMPILED`` says which one runs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dedup import twin

try:
    from dedup import _kernel as compiled
except ImportError:
    logging.getLogger(__name__).warning(
        "dedup was installed without a C compiler: the numpy twin gives the same result, many times slower."
    )
    COMPILED = False
else:
    COMPILED = True

engine: ModuleType = compiled if COMPILED else twin

BINS = twin.BINS
MOST_WORDS = twin.MOST_WORDS

Ints = NDArray[np.int64]
Words = NDArray[np.uint64]
Bytes = NDArray[np.uint8]


def behead(data: Bytes, starts: Ints, ends: Ints) -> None:
    """Move every start behind the licence header of its text, in place."""
    engine.behead(data, starts, ends)


def sign(
    data: Bytes,
    starts: Ints,
    ends: Ints,
    rows: Ints,
    groups: Ints,
    groups_count: int,
    ngram: int,
    file: int = -1,
) -> tuple[Bytes, Words, Words]:
    """Signatures of rows.

    Args:
        data: Bytes of text.
        starts: Where each segment starts in ``data``; ``ends`` where it ends.
        rows: Row i has the segments ``rows[i]:rows[i + 1]``.
        groups: The group each row is merged into, -1 for none.
        groups_count: How many groups there are.
        ngram: Words per shingle.
        file: Descriptor of a file to which the rows' shingles are written as well.

    Returns:
        uint8 [rows, 256] signatures, uint64 [rows] number of shingles, uint64 [groups, 256] sketches.
    """
    signatures = np.empty((len(groups), BINS), np.uint8)
    counts = np.empty(len(groups), np.uint64)
    sketches = np.full((groups_count, BINS), np.iinfo(np.uint64).max, np.uint64)
    engine.sign(data, starts, ends, rows, groups, signatures, counts, sketches, ngram, file)
    return signatures, counts, sketches


def shingle(data: Bytes, starts: Ints, ends: Ints, ngram: int, room: int) -> Words:
    """The shingles of all segments in order, duplicates included; ``room`` is the most there can be."""
    out = np.empty(room, np.uint64)
    return out[: engine.shingle(data, starts, ends, out, ngram)]


def choose(
    signatures: Bytes,
    slots: Ints,
    settled: NDArray[np.bool_],
    compare: twin.Compare,
    *,
    bands: int,
    rows: int,
    limits: tuple[int, int],
    bucket: int,
) -> tuple[Ints, NDArray[np.float64], NDArray[np.bool_]]:
    """Which rows, numbered best first, are kept; see ``twin.choose``.

    Returns:
        By row: its keeper (itself if kept), the similarity to it, whether that was computed exactly.
    """
    count = len(slots)
    keepers, similarities = np.empty(count, np.int64), np.empty(count, np.float64)
    exact = np.empty(count, np.bool_)
    engine.choose(
        signatures, slots, settled, keepers, similarities, exact, bands, rows, *limits, bucket, compare
    )
    return keepers, similarities, exact


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
    """The place of the first of ``others`` that is similar to an item, or -1; see ``twin.first_similar``."""
    found: tuple[int, float] = engine.first_similar(
        members, bounds, bases, starts, files, others, item, threshold, opened
    )
    return found


def similarity(left: Any, right: Any) -> float:
    """Exact Jaccard similarity of two lists of shingles (uint64, or their bytes), as sets."""
    found: float = engine.similarity(left, right)
    return found


def jaccard(shingles: Words, starts: Ints, ends: Ints, left: Ints, right: Ints) -> NDArray[np.float64]:
    """Exact Jaccard similarity of the sets ``left[i]`` and ``right[i]``; set s is ``starts[s]:ends[s]``."""
    out = np.empty(len(left), np.float64)
    engine.jaccard(shingles, starts, ends, left, right, out)
    return out


def describe() -> dict[str, Any]:
    """For manifests and benchmarks: which engine runs."""
    return {"compiled": COMPILED}
