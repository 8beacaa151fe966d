"""From every unit of one pass to every unit of the next: pairs of 64-bit numbers, dealt into bins.

Each writer leaves one file of its pairs, bin after bin, and one of how many there are in each; a reader
takes some neighbouring bins of all files.  Nothing is ever held but what one of them asks for, and every
read is one stretch of a file.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dedup.kernel import Ints, Words

PAIR_BYTES = 16


@dataclass(frozen=True)
class Exchange:
    """A folder of such files."""

    folder: Path

    def write(self, name: str, chunks: Iterable[tuple[Words, Ints]]) -> None:
        """Leave the pairs of one writer.

        Args:
            chunks: uint64 [n, 2] pairs, and the sizes of the bins that they fill, which go on from the
                bins of the chunk before.
        """
        aside = self.folder / f"{name}.part"
        aside.parent.mkdir(parents=True, exist_ok=True)
        sizes = [np.zeros(1, np.int64)]
        with (self.folder / f"{name}.pairs").open("wb") as file:
            for pairs, filled in chunks:
                file.write(np.ascontiguousarray(pairs).data)
                sizes.append(filled)
        aside.write_bytes(np.cumsum(np.concatenate(sizes)).tobytes())
        aside.replace(self.folder / f"{name}.bounds")  # now the pairs count as written

    def writers(self) -> list[str]:
        """The names of those that are done, if no name has a folder."""
        return sorted(file.stem for file in self.folder.glob("*.bounds"))

    def has(self, name: str) -> bool:
        """Whether that writer is done."""
        return (self.folder / f"{name}.bounds").exists()

    def sizes(self, name: str) -> Ints:
        """How many pairs a writer left in each bin."""
        bounds: Ints = np.fromfile(self.folder / f"{name}.bounds", np.int64)
        return bounds[1:] - bounds[:-1]

    def bounds(self, names: Sequence[str], low: int, high: int) -> Ints:
        """int64 [names, 2]: where bins low to high - 1 start and end in each writer's file, in pairs."""
        found = np.empty((len(names), 2), np.int64)
        for bounds, name in zip(found, names, strict=True):
            with (self.folder / f"{name}.bounds").open("rb") as file:
                for i, at in enumerate((low, high)):
                    file.seek(8 * at)
                    bounds[i] = int.from_bytes(file.read(8), "little")
        return found

    def read(self, names: Sequence[str], low: int, high: int) -> tuple[Words, Ints]:
        """The pairs of bins low to high - 1 of each of the writers, and how many each has of them."""
        bounds = self.bounds(names, low, high)
        counts = bounds[:, 1] - bounds[:, 0]
        stored = np.empty(PAIR_BYTES * int(counts.sum()), np.uint8)
        places = PAIR_BYTES * np.concatenate([[0], np.cumsum(counts)])
        for i, name in enumerate(names):
            with (self.folder / f"{name}.pairs").open("rb") as file:
                file.seek(PAIR_BYTES * int(bounds[i, 0]))
                if file.readinto(stored[places[i] : places[i + 1]].data) < places[i + 1] - places[i]:
                    raise OSError(errno.EIO, "cut off since it was written", file.name)
        return stored.view(np.uint64).reshape(-1, 2), counts


def grouped(sizes: NDArray[np.int64], most: int) -> list[tuple[int, int]]:
    """Neighbours taken together up to ``most`` in all, or one by itself: where each group starts and ends."""
    groups: list[tuple[int, int]] = []
    start = held = 0
    for i, size in enumerate(sizes.tolist()):
        if i > start and held + size > most:
            groups.append((start, i))
            start, held = i, 0
        held += size
    return [*groups, (start, len(sizes))] if len(sizes) else groups
