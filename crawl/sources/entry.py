"""What every source of repos speaks: repos in a list, their entries, and what can go wrong."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

MAX_PATH = 400
"""Characters; longer paths do not fit a path comment either."""

MAX_DEPTH = 40
"""Directories."""

_DRIVE = re.compile(r"[A-Za-z]:")
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\\]")


@dataclass(frozen=True)
class Repo:
    """A row of the table of repos; see ``docs/contract.md``."""

    repo: str
    revision: str
    source: str
    url: str
    license: str | None = None
    stars: int | None = None
    bytes: int | None = None
    id: int | None = None
    forks: int | None = None
    is_fork: bool | None = None
    archived: bool | None = None
    created: datetime | None = None
    pushed: datetime | None = None


@dataclass(frozen=True)
class Entry:
    """One thing in a repo that is not a directory.

    Attributes:
        path: As the source states it: not to be trusted, see ``tidy``.
        kind: "file", or what else it is: "symlink", "special" (links, devices), "submodule", or "binary"
            for a file that its name alone tells from text, so that it was not fetched.
        data: The bytes of a file, or None where it is larger than ``Caps.file_bytes``.
    """

    path: str
    kind: str
    size: int
    data: bytes | None = None


@dataclass(frozen=True)
class Caps:
    """How much of a hostile repo is read before it is given up."""

    file_bytes: int
    repo_bytes: int
    files: int
    ratio: int
    seconds: float = 600.0


class BadRepo(Exception):
    """A repo that is rejected whole: broken, or a bomb."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


class OutOfReach(Exception):
    """A repo whose content could not be had."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


def tidy(path: str) -> str | None:
    """A relative path without "." and doubled slashes; None for a path that no honest repo holds.

    >>> tidy("./a//b.py"), tidy("../b.py"), tidy("/etc/passwd")
    ('a/b.py', None, None)
    """
    if path.startswith("/") or _DRIVE.match(path) or _UNSAFE.search(path) or len(path) > MAX_PATH:
        return None
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if not parts or ".." in parts or len(parts) > MAX_DEPTH:
        return None
    return "/".join(parts)


def printable(path: str) -> str:
    """Any path as text that is safe to show and to store."""
    return _UNSAFE.sub(lambda found: f"\\x{ord(found[0]):02x}", path)[:MAX_PATH]
