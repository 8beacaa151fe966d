"""Which rows are kept: the one answer that a patient reader of all pairs would give.

Rows are numbered best first.  Going through them in this order, a row is dropped exactly if it is
similar to a row that was kept before: the lexicographically first maximal independent set of the graph
of similar pairs.  So no chain A-B-C drops C for the sake of B, which is gone itself, and the answer does
not depend on shards, workers or the order of bands.

Not all pairs are looked at.  In a bucket a row meets only the *leaders*, and a row that found one is set
aside.  Where its leader is dropped in the end, the row comes back and meets again, until nobody is left
who was set aside and is kept: from then on every two kept rows that share a bucket have met, which makes
the answer the one above (by induction over the order: a kept row has no kept partner before it, a
dropped one has).
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from dedup import bands, kernel
from dedup.twin import DOUBT, DROPPED, KEPT, NO, UNKNOWN, YES

LEADERS = 512
"""Leaders of a bucket that a row meets: bounds the cost of buckets full of different rows."""

PATIENCE = 8
"""Partners after which a row is set aside.  With one, chains of partners that are dropped in turn made
rows come back ninety times on 14,520 files; with eight, a few."""

Ints = NDArray[np.int64]


class Comparer(Protocol):
    """Knows the texts."""

    def expect(self, rows: Ints, /) -> None:
        """These rows may have to be compared: read them while at it."""

    def compare(self, left: Ints, right: Ints, /) -> NDArray[np.float64]:
        """Exact similarity of rows left[i] and right[i]."""


class Choice(NamedTuple):
    """By row: its keeper (itself if kept), the similarity to it, whether that was computed exactly."""

    keeper: Ints
    similarity: NDArray[np.float32]
    exact: NDArray[np.bool_]


_PAIR = np.dtype(
    [("row", "i8"), ("keeper", "i8"), ("similarity", "f8"), ("verdict", "u1"), ("exact", "?")], align=True
)
"""A pair that met: two rows, the better one as keeper; pairs are kept sorted by row, then keeper."""

Pairs = NDArray[np.void]


def choose(
    signatures: NDArray[np.uint8],
    slots: Ints,
    threshold: float,
    shape: bands.Shape,
    texts: Comparer,
    settled: NDArray[np.bool_] | None = None,
) -> Choice:
    """Decide for every row whether it is kept.

    Args:
        signatures: uint8 [slots, 256].
        slots: Where each row's signature stands; best row first.
        threshold: Jaccard similarity from which two rows are duplicates.
        shape: How signatures are cut into bands.
        texts: Compares the pairs that the signatures leave in doubt.
        settled: Rows that were compared with one another before and are kept; they are the best ones.
    """
    count, limits = len(slots), bands.limits_for(threshold)
    pairs: Pairs = np.empty(0, _PAIR)
    alive, fresh = np.ones(count, np.bool_), np.ones(count, np.bool_)
    if settled is not None:
        assert not settled[settled.sum() :].any(), "settled rows come first"
        fresh &= ~settled
    states = np.zeros(count, np.uint8)
    while fresh.any():
        met, aside = kernel.collide(
            signatures, slots, alive, fresh, _different(pairs),
            bands=shape.bands, rows=shape.rows, limits=limits, leaders=LEADERS,
            patience=PATIENCE,
        )  # fmt: skip
        pairs = _joined(pairs, met, limits)
        states = _settled(pairs, count, threshold, texts)
        complete = alive & ~aside
        alive = states == KEPT
        fresh = alive & ~complete
    return _choice(pairs, states)


def _different(pairs: Pairs) -> NDArray[np.uint64]:
    """The pairs that were compared and are not similar, as the sorted keys that the kernel looks up."""
    pairs = pairs[pairs["exact"] & (pairs["verdict"] == NO)]
    return np.sort((pairs["keeper"] << 32 | pairs["row"]).astype(np.uint64))


def _joined(pairs: Pairs, met: NDArray[np.uint32], limits: bands.Limits) -> Pairs:
    """``pairs`` and the newly met ones, each pair once, with what is known of it."""
    new = np.zeros(len(met), _PAIR)
    new["keeper"], new["row"] = met[:, 0], met[:, 1]
    new["similarity"] = bands.similarity(met[:, 2])
    new["verdict"] = np.where(met[:, 2] >= limits.high, YES, DOUBT)
    both = np.concatenate([pairs, new])
    keys = both["row"] << 32 | both["keeper"]
    order = np.argsort(
        keys, kind="stable"
    )  # quick, as the first part is sorted; and the old pair comes first
    first = np.ones(len(both), np.bool_)
    first[1:] = keys[order][1:] != keys[order][:-1]
    return both[order[first]]


def _settled(pairs: Pairs, count: int, threshold: float, texts: Comparer) -> NDArray[np.uint8]:
    """Compare the pairs in doubt whose rows are not certainly dropped; then everything is decided."""
    states = _states(pairs, count)
    gone = states == DROPPED
    doubtful = (pairs["verdict"] == DOUBT) & ~gone[pairs["row"]] & ~gone[pairs["keeper"]]
    if not doubtful.any():
        return states
    inquired = pairs[pairs["verdict"] == DOUBT]
    texts.expect(np.concatenate([inquired["keeper"], inquired["row"]]))
    exact = texts.compare(pairs["keeper"][doubtful], pairs["row"][doubtful])
    pairs["similarity"][doubtful] = exact
    pairs["verdict"][doubtful] = np.where(exact >= threshold - 1e-9, YES, NO)
    pairs["exact"][doubtful] = True
    states = _states(pairs, count)
    assert not (states == UNKNOWN).any()
    return states


def _states(pairs: Pairs, count: int) -> NDArray[np.uint8]:
    columns = [np.ascontiguousarray(pairs[name]) for name in ("keeper", "row", "verdict")]
    return kernel.settle(columns[0], columns[1], columns[2], count)


def _choice(pairs: Pairs, states: NDArray[np.uint8]) -> Choice:
    """Every dropped row goes to the kept partner that is most similar to it, the best one among equals."""
    count = len(states)
    choice = Choice(np.arange(count), np.ones(count, np.float32), np.ones(count, np.bool_))
    able = (pairs["verdict"] == YES) & (states[pairs["keeper"]] == KEPT) & (states[pairs["row"]] == DROPPED)
    pairs = pairs[able]
    pairs = pairs[np.lexsort((-pairs["keeper"], pairs["similarity"], pairs["row"]))]
    choice.keeper[pairs["row"]] = pairs["keeper"]  # the last one written wins
    choice.similarity[pairs["row"]] = pairs["similarity"]
    choice.exact[pairs["row"]] = pairs["exact"]
    gone = np.flatnonzero(states == DROPPED)
    assert (choice.keeper[gone] < gone).all() and (states[choice.keeper[gone]] == KEPT).all()
    return choice
