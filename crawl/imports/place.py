"""Paths of one repo, and which of several with the same name is meant: what all resolvers stand on.

A resolver knows the paths of one repo and what stands in its files, and nothing else: no build files, no
installed packages.  Where a target could mean several files it takes the closest, and where that is a tie
it takes none, because a wrong edge misplaces a file and a missing one only leaves it where its name would
put it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from posixpath import dirname, normpath
from typing import NamedTuple


class Source(NamedTuple):
    """What a resolver needs to know of a file: a row of ``parsed``."""

    path: str
    language: str
    imports: Sequence[str] = ()
    declares: str | None = None
    mentions: Sequence[str] = ()
    defines: Sequence[str] = ()


Resolve = Callable[[Source], Iterable[str]]
"""A file -> the paths of the files that it needs; of the same repo, and perhaps itself."""

Resolver = Callable[[Sequence[Source]], Resolve]
"""The files of one family of languages in one repo -> what resolves their imports."""

MAX_NAMESPACE = 200
"""Files of one package: beyond it, importing it says nothing about which file is needed."""

MAX_DEPTH = 24
"""Names in an import; no one writes more, and a path of a thousand directories has a thousand endings."""


def each(one: Callable[[str, str], str | None]) -> Resolve:
    """A resolver that takes every import by itself: (path of the importer, target) -> path or None."""

    def resolve(source: Source) -> Iterator[str]:
        yield from filter(None, (one(source.path, target) for target in source.imports))

    return resolve


class Index:
    """Paths by the names they go by; of those that share a name, the nearest to the importer is meant.

    Every directory above a path knows how many of its namesakes lie below it and which is the first: so a
    thousand importers of a thousand namesakes cost no million comparisons.
    """

    def __init__(self) -> None:
        self.paths: defaultdict[str, list[str]] = defaultdict(list)
        self.below: dict[str, dict[str, tuple[int, str]]] = {}

    def add(self, name: str, path: str) -> None:
        self.paths[name].append(path)

    def nearest(self, name: str, here: str, *, tie: bool = False) -> str | None:
        """The path of that name that shares most leading directories with the directory ``here``.

        Args:
            tie: Take the first of several that are equally close, instead of none.
        """
        if name not in self.paths:
            return None
        if name not in self.below:
            self.below[name] = _below_each(self.paths[name])
        known = self.below[name]
        count, first = next(known[folder] for folder in up(here) if folder in known)
        return first if tie or count == 1 else None


def by_endings(paths: Iterable[str]) -> Index:
    """The paths by each of their endings: "b.h", "a/b.h", …"""
    index = Index()
    for path in paths:
        parts = path.split("/")
        for start in range(max(0, len(parts) - MAX_DEPTH), len(parts)):
            index.add("/".join(parts[start:]), path)
    return index


def join(folder: str, target: str) -> str | None:
    """``folder/target`` without dots; None if that leaves the repo."""
    path = normpath(f"{folder}/{target}" if folder else target)
    if path == "." or path.startswith("/") or path.split("/")[0] == "..":
        return None
    return path


def below(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


@lru_cache(maxsize=1 << 16)
def up(folder: str) -> tuple[str, ...]:
    """The directory and all above it, the root ("") last."""
    parts = folder.split("/") if folder else []
    return (*("/".join(parts[:count]) for count in range(len(parts), 0, -1)), "")


def shared(here: str, path: str) -> int:
    """How many directories above ``path`` are also at or above ``here``."""
    return sum(1 for folder in up(dirname(path)) if folder == "" or f"{here}/".startswith(f"{folder}/"))


def _below_each(paths: Iterable[str]) -> dict[str, tuple[int, str]]:
    """For every directory above one of ``paths``: how many lie below it, and the first of them."""
    found: dict[str, tuple[int, str]] = {}
    for path in sorted(set(paths), key=lambda path: (path.count("/"), path)):
        for folder in up(dirname(path)):
            count, first = found.get(folder, (0, path))
            found[folder] = (count + 1, first)
    return found
