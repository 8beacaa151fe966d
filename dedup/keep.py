"""Which rows are kept: the one answer that a patient reader of all pairs would give.

Rows are numbered best first.  Going through them in this order, a row is dropped exactly if it is
similar to a row that was kept before: the lexicographically first maximal independent set of the graph
of similar pairs.  So no chain A-B-C drops C for the sake of B, which is gone itself, and the answer does
not depend on shards, workers or the order of bands.

It is computed as it is said.  Only rows that are kept enter the tables of bands, so a cluster of a million
costs a million looks at the one row that was kept of it, and a row in doubt is compared with kept rows only.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from dedup import bands, kernel

BUCKET = 512
"""Kept rows with equal bins in a band that a row meets: bounds the cost of buckets full of different rows."""

Ints = NDArray[np.int64]


class Comparer(Protocol):
    """Knows the texts."""

    def first_similar(self, row: int, others: bytes, threshold: float, /) -> tuple[int, float]:
        """The place of the first of ``others`` (uint32) that is similar to ``row``, or -1; how similar."""


class Choice(NamedTuple):
    """By row: its keeper (itself if kept), the similarity to it, whether that was computed exactly."""

    keeper: Ints
    similarity: NDArray[np.float64]
    exact: NDArray[np.bool_]


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
        settled: Rows that are known to be kept.
    """

    def compare(row: int, others: bytes) -> tuple[int, float]:
        return texts.first_similar(row, others, threshold)

    found = kernel.choose(
        signatures,
        slots,
        np.zeros(len(slots), np.bool_) if settled is None else settled,
        compare,
        bands=shape.bands,
        rows=shape.rows,
        limits=bands.limits_for(threshold),
        bucket=BUCKET,
    )
    return Choice(*found)
