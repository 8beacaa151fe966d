"""The list of what must not be used: repositories, owners, commits, contents and paths, one entry a line.

    repo github.com/owner/name        at any revision or version: `repo pypi/attrs` is every release
    owner github.com/owner            all their repositories, those of tomorrow too
    forks github.com/owner/name       the repository, and what `crawl optout` finds to be copies of it
    commit 3f1c…                      whatever was read at this revision
    hash 9ae0…                        a file by the sha256 of its bytes, wherever it turns up
    path github.com/owner/name:src/*  files of a repository; * stands for anything, / included

The list only grows: what was taken out once stays out of every later crawl.  Blank lines and lines that
begin with # say nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from fnmatch import translate
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import polars as pl

import reuse
from corpus import Refusal, Table
from schemas import RejectRow

REASON = "opted_out"

KINDS = ("repo", "owner", "forks", "commit", "hash", "path")

MIN_COMMIT = 7
"""Letters of an abbreviated commit, as git prints it."""


class Entry(NamedTuple):
    """One line of the list."""

    kind: str
    what: str

    def __str__(self) -> str:
        return f"{self.kind} {self.what}"


class Optouts:
    """The entries of a list, ready to be asked about repos and files."""

    def __init__(self, entries: Iterable[Entry] = ()):
        self.entries = list(entries)

    @property
    def pin(self) -> str:
        """A hash of all entries in their order."""
        return pin_of(self.entries)

    def of_repo(self, repo: str, revision: str) -> str | None:
        """The entry by which a repo must not be read at all, or None."""
        names = [repo.casefold(), repo.casefold().rpartition("@")[0]]
        owners = ["/".join(names[0].split("/")[:count]) for count in range(2, names[0].count("/") + 1)]
        kinds = [(kind, name) for kind in ("repo", "forks") for name in names if name]
        kinds += [("owner", owner) for owner in owners]
        if found := next((key for key in kinds if key in self._named), None):
            return str(self._named[found])
        bare = revision.rpartition(":")[2]  # of an archive it is sha256:… or sha512:…
        commits = (entry for entry in self._of("commit") if bare.startswith(entry.what.rpartition(":")[2]))
        commit = next(commits, None)
        return str(commit) if commit else None

    def of_files(self, files: pl.DataFrame) -> list[str | None]:
        """For each row (repo, path, sha256), the entry by which the file must not be used, or None.

        Of several it is the first, which stays the first when the list grows.
        """
        if not self._hashes and not self._paths:
            return [None] * files.height
        return [self._of_file(*row) for row in files.select("repo", "path", "sha256").iter_rows()]

    def _of_file(self, repo: str, path: str, sha256: str) -> str | None:
        names = {repo.casefold(), repo.casefold().rpartition("@")[0]}
        found = [at for name, matches, at in self._paths if name in names and matches(path)][:1]
        found += [self._hashes[sha256]] if sha256 in self._hashes else []
        return str(self.entries[min(found)]) if found else None

    def _of(self, kind: str) -> list[Entry]:
        return [entry for entry in self.entries if entry.kind == kind]

    @cached_property
    def _named(self) -> dict[tuple[str, str], Entry]:
        return {(entry.kind, entry.what.casefold()): entry for entry in self.entries}

    @cached_property
    def _hashes(self) -> dict[str, int]:
        places = [(entry.what, at) for at, entry in enumerate(self.entries) if entry.kind == "hash"]
        return dict(reversed(places))

    @cached_property
    def _paths(self) -> list[tuple[str, Callable[[str], object], int]]:
        places = [(entry.what, at) for at, entry in enumerate(self.entries) if entry.kind == "path"]
        split = [(*what.rpartition(":")[::2], at) for what, at in places]
        return [(repo.casefold(), re.compile(translate(pattern)).match, at) for repo, pattern, at in split]


def read(path: Path | None) -> Optouts:
    """The list at ``path``; an empty one if there is none.

    Raises:
        Refusal: A line that is no entry; nothing is guessed.
    """
    if path is None:
        return Optouts()
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise Refusal(
            f"{path} cannot be read ({error}): give a list of opt-outs, one entry a line."
        ) from None
    return Optouts(
        _entry(line.strip(), f"{path}, line {number}")
        for number, line in enumerate(lines, 1)
        if line.strip() and not line.startswith("#")
    )


def pin_of(entries: Iterable[Entry]) -> str:
    return reuse.hash_of(map(str, entries))


def applied(table: Table) -> str:
    """The pin of the entries that a table of files was made with."""
    pins = [source["digest"] for source in table.manifest["inputs"] if source["table"] == "optouts"]
    return str(pins[0])


def refuse_shrunk(table: Table, optouts: Optouts) -> None:
    """A list may grow and nothing else: the entries that were applied before stand first in it, unchanged."""
    count = table.manifest["optouts"]
    if pin_of(optouts.entries[:count]) != applied(table):
        raise Refusal(
            f"{table.path} was made without what {count:,} opt-outs name, and the list given does not begin "
            "with them: an entry is never changed or taken back; give the same list, with new ones below."
        )


def apply(
    files: pl.DataFrame, rejects: list[RejectRow], optouts: Optouts
) -> tuple[pl.DataFrame, list[RejectRow]]:
    """Rows of files without those that were opted out of; each of these is a reject."""
    why = optouts.of_files(files)
    if not any(why):
        return files, rejects
    keys = files.select("repo", "path", "bytes").iter_rows()
    gone: list[RejectRow] = [
        (f"{repo}:{path}", REASON, entry, 1, size)
        for (repo, path, size), entry in zip(keys, why, strict=True)
        if entry is not None
    ]
    return files.filter(pl.Series([entry is None for entry in why], dtype=pl.Boolean)), rejects + gone


def _entry(line: str, where: str) -> Entry:
    kind, _, what = line.partition(" ")
    what = what.strip()
    if kind not in KINDS or not what:
        raise Refusal(f"{where}: {line!r} is no entry: begin it with one of {', '.join(KINDS)}.")
    if kind == "hash" and not re.fullmatch(r"[0-9a-f]{64}", what):
        raise Refusal(f"{where}: {what!r} is no sha256 of a file: give its 64 hex digits.")
    if kind == "commit" and not re.fullmatch(rf"(sha256:)?[0-9a-f]{{{MIN_COMMIT},64}}", what):
        raise Refusal(f"{where}: {what!r} is no revision: give at least {MIN_COMMIT} of its hex digits.")
    if kind == "path" and not all(what.rpartition(":")):
        raise Refusal(f"{where}: {what!r} names no file: write REPO:PATH.")
    return Entry(kind, what)
