"""What the kernel counts of a slot's jobs in its control group, through files that the harness opened.

A slot joins before it does anything else and forks its jobs in the group, so what one job uses is what the
group has used since, less the slot's own part.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

_TICKS = 100
"""Processor time is told in hundredths of a second, as in /proc: a slot's own part is subtracted less
precisely than it is counted, and one that waits must seem to."""


@dataclass
class Group:
    """A slot's control group.

    Args:
        files: Descriptors by their use (``evals.groups``); those that could not be had are missing.
    """

    files: Mapping[str, list[int]] = field(default_factory=dict)
    _before: tuple[int, int] | None = None
    """Bytes and tasks of the slot itself."""
    _bounds: tuple[int, int] = 0, 0
    _seconds: float = 0.0
    _kills: int = 0

    def join(self) -> None:
        """Move this process there, and all that it will fork; where that is refused there is no group."""
        try:
            for file in self.files.get("join", []):
                os.write(file, b"0")
        except OSError:
            self.files = {}

    def begin(self, memory_bytes: int, processes: int) -> None:
        """A job starts now: bound it, and remember what was used before.

        Args:
            memory_bytes: What it may use, its files in memory included.
            processes: How many it may have, this one included.
        """
        if self._before is None:
            self._before = int(self._text("usage") or 0), int(self._text("tasks") or 0)
        bounds = self._before[0] + memory_bytes, self._before[1] + processes - 1
        if bounds != self._bounds:
            for use, bound in zip(("limit", "most"), bounds, strict=True):
                self._write(use, bound)
            self._bounds = bounds
        self._seconds, self._kills = self._counted(), self._killed()

    def cpu_seconds(self) -> float:
        """Processor time of the job so far, of all its processes; 0 if nobody counts it."""
        return max(int((self._counted() - self._seconds) * _TICKS), 0) / _TICKS

    def is_full(self) -> bool:
        """Whether the kernel has killed a process of the job for the memory of all of them."""
        return self._killed() > self._kills

    def _counted(self) -> float:
        text = self._text("processor")
        if not text:
            return 0.0
        used = int(text) / 1e9 if text.strip().isdigit() else _number("usage_usec", text) / 1e6
        return used - time.process_time()

    def _killed(self) -> int:
        return _number("oom_kill", self._text("kills"))

    def _text(self, use: str) -> str:
        return os.pread(self.files[use][0], 4096, 0).decode() if use in self.files else ""

    def _write(self, use: str, number: int) -> None:
        if use in self.files:
            with contextlib.suppress(OSError):  # no bound can lie below what is used: the old one stays
                os.pwrite(self.files[use][0], str(number).encode(), 0)


def _number(name: str, text: str) -> int:
    """The number behind a name in a list of such lines; 0 if it is not there."""
    words = text.split()
    return int(words[words.index(name) + 1]) if name in words else 0
