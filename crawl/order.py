"""The order of a repo's files: Algorithm 1 of the paper (section 2.2).

An edge runs from the imported file to the importer.  Each weakly connected component is one sequence:
of the files not yet placed, the next is the one with the fewest imports not yet placed.  With a
minimum in place of zero, cycles need no special case.  Two things the paper leaves open are settled by
path: which of several minima is next, and the order of the components.

The paper's algorithm looks at every pair of files; this one keeps a heap, O((files + edges) log files).

Three other strategies order the same components, so that the choice can be measured: by ``path``;
``random``, as DeepSeek-Coder-V2 did (its issue 22); and ``mixed``, random as a whole with local clusters,
after aiXcoder-7B: the files of a directory stay together in the order of Algorithm 1, the directories come
at random.
"""

from __future__ import annotations

import hashlib
import heapq
from collections import defaultdict
from collections.abc import Iterable, Sequence
from posixpath import dirname
from typing import Literal

Strategy = Literal["topological", "random", "path", "mixed"]


def orders(
    paths: Iterable[str], edges: Iterable[tuple[str, str]], seed: str = ""
) -> dict[Strategy, list[list[str]]]:
    """By strategy, the files of one repo as one list for every connected component.

    The result does not depend on the order of ``paths`` or ``edges``.

    Args:
        paths: Every file once.
        edges: Pairs (importer, imported), both in ``paths``.
        seed: What ``random`` hashes with the path, and ``mixed`` with the directory.
    """
    names = sorted(paths)
    number = {path: i for i, path in enumerate(names)}
    pairs = {(number[importer], number[imported]) for importer, imported in edges if importer != imported}
    components = _components(len(names), pairs)
    by_path = [[names[i] for i in component] for component in components]
    algorithm_1 = [[names[i] for i in component] for component in _by_fewest_imports(components, pairs)]
    return {
        "topological": algorithm_1,
        "random": [sorted(part, key=lambda path: (_hash(seed, path), path)) for part in by_path],
        "path": by_path,
        "mixed": [sorted(part, key=lambda path: _hash(seed, dirname(path))) for part in algorithm_1],
    }


def _components(count: int, pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    """The weakly connected components, each sorted, in the order of their first members."""
    parent = list(range(count))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for a, b in pairs:
        a, b = root(a), root(b)
        parent[max(a, b)] = min(a, b)
    members: defaultdict[int, list[int]] = defaultdict(list)
    for i in range(count):
        members[root(i)].append(i)
    return [members[first] for first in sorted(members)]


def _by_fewest_imports(components: list[list[int]], pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    importers: defaultdict[int, list[int]] = defaultdict(list)
    degree: defaultdict[int, int] = defaultdict(int)
    for importer, imported in pairs:
        importers[imported].append(importer)
        degree[importer] += 1
    return [_place(component, importers, degree) for component in components]


def _place(component: Sequence[int], importers: dict[int, list[int]], degree: dict[int, int]) -> list[int]:
    """Repeatedly the file with the smallest (in-degree, number).

    A file whose degree falls is pushed again; its older entries, which come later, find it placed.
    """
    heap = [(degree[i], i) for i in component]
    heapq.heapify(heap)
    placed: dict[int, None] = {}
    while heap:
        _, file = heapq.heappop(heap)
        if file in placed:
            continue
        placed[file] = None
        for importer in importers.get(file, ()):
            if importer not in placed:
                degree[importer] -= 1
                heapq.heappush(heap, (degree[importer], importer))
    return list(placed)


def _hash(seed: str, path: str) -> str:
    return hashlib.sha256(f"{seed}\0{path}".encode()).hexdigest()
