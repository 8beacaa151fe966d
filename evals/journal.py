"""Finished samples as they come: an append-only file, one line of JSON for each, found again by content.

A sample is called by the hash of all that its text depends on, so whoever asks the same again gets the
same line, and a changed setting never meets an old one.  A killed run leaves at most one torn line, which
is skipped; what came before it is whole.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from evals.backends import REFUSED, Completion

SYNC_LINES = 32
SYNC_SECONDS = 2.0
"""Lines, and seconds, after which what was written is forced to the disk: a crash of the machine (not of
the run, which loses nothing) costs no more than that."""


class Journal:
    """The samples that are there, and a way to add one.  Made by ``opened``."""

    def __init__(self, path: Path) -> None:
        self.found = dict(_read(path))
        # One write for each line and O_APPEND: two runs that share a file do not tear each other's lines.
        self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        self._lines, self._synced = 0, time.monotonic()
        size = os.fstat(self._file).st_size
        if size and os.pread(self._file, 1, size - 1) != b"\n":
            os.write(self._file, b"\n")  # what is torn stays a line of its own

    def add(self, key: str, completion: Completion) -> None:
        """Keep one sample; one that a server would not take only for this run, for it may be mended."""
        self.found[key] = completion
        if completion.finish == REFUSED:
            return
        line = json.dumps({"key": key} | completion._asdict()).encode() + b"\n"
        while line:
            line = line[os.write(self._file, line) :]
        self._lines += 1
        if self._lines >= SYNC_LINES or time.monotonic() - self._synced > SYNC_SECONDS:
            self._sync()

    def close(self) -> None:
        self._sync()
        os.close(self._file)

    def _sync(self) -> None:
        os.fsync(self._file)
        self._lines, self._synced = 0, time.monotonic()


@contextmanager
def opened(path: Path) -> Iterator[Journal]:
    """The journal at ``path``, begun if it is not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    journal = Journal(path)
    try:
        yield journal
    finally:
        journal.close()


def _read(path: Path) -> Iterator[tuple[str, Completion]]:
    """The whole lines of a journal; of two with one key the first, since later readers used it."""
    if not path.exists():
        return
    seen: set[str] = set()
    with path.open("rb") as file:
        for line in file:
            try:
                row = json.loads(line)
                key, completion = row.pop("key"), Completion(**row)
            except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
                continue
            if key not in seen and completion.finish != REFUSED:
                seen.add(key)
                yield key, completion
