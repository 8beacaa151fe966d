"""The compiled kernel where it could be built, its numpy twin where not: same functions, same bits.

All arrays are C-contiguous and of the types that ``twin.py`` states; ``COMPILED`` says which one runs.
"""

from __future__ import annotations

import logging
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
    data: Bytes, starts: Ints, ends: Ints, rows: Ints, groups: Ints, groups_count: int, ngram: int
) -> tuple[Bytes, Words, Words]:
    """Signatures of rows.

    Args:
        data: Bytes of text.
        starts: Where each segment starts in ``data``; ``ends`` where it ends.
        rows: Row i has the segments ``rows[i]:rows[i + 1]``.
        groups: The group each row is merged into, -1 for none.
        groups_count: How many groups there are.
        ngram: Words per shingle.

    Returns:
        uint8 [rows, 256] signatures, uint64 [rows] number of shingles, uint64 [groups, 256] sketches.
    """
    signatures = np.empty((len(groups), BINS), np.uint8)
    counts = np.empty(len(groups), np.uint64)
    sketches = np.full((groups_count, BINS), np.iinfo(np.uint64).max, np.uint64)
    engine.sign(data, starts, ends, rows, groups, signatures, counts, sketches, ngram)
    return signatures, counts, sketches


def shingle(data: Bytes, starts: Ints, ends: Ints, ngram: int, room: int) -> Words:
    """The shingles of all segments in order, duplicates included; ``room`` is the most there can be."""
    out = np.empty(room, np.uint64)
    return out[: engine.shingle(data, starts, ends, out, ngram)]


def collide(
    signatures: Bytes,
    slots: Ints,
    alive: NDArray[np.bool_],
    fresh: NDArray[np.bool_],
    known: Words,
    *,
    bands: int,
    rows: int,
    limits: tuple[int, int, int],
    leaders: int,
    patience: int,
) -> tuple[NDArray[np.uint32], NDArray[np.bool_]]:
    """Candidate pairs of rows, which are numbered best first; see ``twin.collide``.

    Returns:
        uint32 [pairs, 3]: leader, row, number of equal bins; and which rows were set aside for a leader.
    """
    out = np.zeros(len(slots), np.uint8)
    found = engine.collide(
        signatures, slots, alive, fresh, out, known, bands, rows, *limits, leaders, patience
    )
    return np.frombuffer(found, np.uint32).reshape(-1, 3), out.astype(bool)


def jaccard(shingles: Words, starts: Ints, ends: Ints, left: Ints, right: Ints) -> NDArray[np.float64]:
    """Exact Jaccard similarity of the sets ``left[i]`` and ``right[i]``; set s is ``starts[s]:ends[s]``."""
    out = np.empty(len(left), np.float64)
    engine.jaccard(shingles, starts, ends, left, right, out)
    return out


def settle(keepers: Ints, rows: Ints, verdicts: Bytes, count: int) -> Bytes:
    """Which of ``count`` rows are kept (0), dropped (1), not known yet (2); see ``twin.settle``."""
    states = np.empty(count, np.uint8)
    engine.settle(keepers, rows, verdicts, states)
    return states


def describe() -> dict[str, Any]:
    """For manifests and benchmarks: which engine runs."""
    return {"compiled": COMPILED}
