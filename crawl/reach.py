"""What an order is worth: the share of imports whose file the model has just read (part ``reach``).

An import is satisfied *earlier* if the imported file stands before its importer in the same document, and
*near* if it also begins no more than a window before it: then all of it is in context when the model comes
to the importer.  Neither DeepSeek-Coder nor its second version, which gave up dependency order for a
random one, published such a figure; every run of ``crawl order`` has it for every strategy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

WINDOW_BYTES = 3 * 16_384
"""The paper's long context, 16k tokens, at three bytes a token of code."""


class Reach(NamedTuple):
    """Imports between files of one repo, under one strategy."""

    imports: int
    earlier: int
    near: int


def reach(
    documents: Iterable[Sequence[str]], imports: Sequence[tuple[str, str]], sizes: Mapping[str, int]
) -> Reach:
    """Count the ``imports`` (importer, imported) that an order of files satisfies.

    Args:
        documents: The paths of each document, in its order.
        sizes: Bytes that a file takes in a document.
    """
    places: dict[str, tuple[int, int]] = {}
    for number, paths in enumerate(documents):
        start = 0
        for path in paths:
            places[path] = (number, start)
            start += sizes[path]
    distances = [
        places[importer][1] - places[imported][1]
        for importer, imported in imports
        if places[importer][0] == places[imported][0]
    ]
    earlier = [distance for distance in distances if distance > 0]
    return Reach(len(imports), len(earlier), sum(distance <= WINDOW_BYTES for distance in earlier))
