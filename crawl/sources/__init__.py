"""Where repos come from.  A source is a module with the three functions of ``Source``.

``list`` functions differ (each takes its own settings) and are called by ``crawl.listing``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from crawl.sources import archive, dataset, folder, git, packages
from crawl.sources.entry import Caps, Entry, Repo


def cache_folder(given: Path | None) -> Path:
    """Where downloads are kept: where the user says, or where caches are."""
    home = os.environ.get("XDG_CACHE_HOME")
    return given or (Path(home) if home else Path.home() / ".cache") / "fathom"


class Source(Protocol):
    """How the content of a listed repo is had and read."""

    def has(self, repo: Repo, cache: Path) -> bool:
        """Whether the cache holds the repo at its revision, as far as a look at file names can tell."""

    def obtain(self, repo: Repo, cache: Path, caps: Caps) -> int:
        """Bring what ``entries`` needs into the cache; returns the bytes that were stored for it.

        Raises:
            OutOfReach: It could not be had.
            BadRepo: It is more than the caps allow.
        """

    def entries(self, repo: Repo, cache: Path, caps: Caps) -> Iterator[Entry]:
        """The repo's entries at its revision, without network; raises ``BadRepo``."""


SOURCES: dict[str, Source] = {
    "pypi": packages,
    "npm": packages,
    "debian": packages,
    "git": git,
    "folder": folder,
    "archive": archive,
    "dataset": dataset,
}
"""By the ``source`` column of the table of repos."""
