"""Where repos come from.  A source is a module with the two functions of ``Source``.

``list`` functions differ (each takes its own settings) and are called by ``crawl.listing``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from crawl.sources import folder, git, packages
from crawl.sources.entry import Caps, Entry, Repo


def cache_folder(given: Path | None) -> Path:
    """Where downloads are kept: where the user says, or where caches are."""
    home = os.environ.get("XDG_CACHE_HOME")
    return given or (Path(home) if home else Path.home() / ".cache") / "fathom"


class Source(Protocol):
    """How the content of a listed repo is had and read."""

    def obtain(self, repo: Repo, cache: Path, caps: Caps) -> None:
        """Bring what ``entries`` needs into the cache; raises ``OutOfReach`` or ``BadRepo``."""

    def entries(self, repo: Repo, cache: Path, caps: Caps) -> Iterator[Entry]:
        """The repo's entries at its revision, without network; raises ``BadRepo``."""


SOURCES: dict[str, Source] = {
    "pypi": packages,
    "npm": packages,
    "debian": packages,
    "git": git,
    "folder": folder,
}
"""By the ``source`` column of the table of repos."""
