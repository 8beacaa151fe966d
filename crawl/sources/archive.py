"""Archives on this machine as repos: tar, however packed, and zip.  They are read where they are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from corpus import Refusal, sha256_of
from crawl import archives
from crawl.sources.entry import BadRepo, Caps, Entry, Repo, printable


def list_repo(path: Path) -> Repo:
    """An archive as a repo; its revision is the file's hash."""
    if not path.is_file():
        raise Refusal(f"{path} is not a file: correct the setting `archives`.")
    path = path.resolve()
    name = printable(path.name).replace(":", "_")
    return Repo(
        f"archive/{name}", f"sha256:{sha256_of(path)}", "archive", path.as_uri(), bytes=path.stat().st_size
    )


def has(repo: Repo, cache: Path) -> bool:
    """It is there already; that it is the one that was listed is checked on reading."""
    return True


def obtain(repo: Repo, cache: Path, caps: Caps) -> int:
    """Nothing travels."""
    return 0


def entries(repo: Repo, cache: Path, caps: Caps) -> Iterator[Entry]:
    """The members of the archive."""
    path = Path(unquote(urlsplit(repo.url).path))
    if not path.is_file() or f"sha256:{sha256_of(path)}" != repo.revision:
        raise BadRepo("changed", "the archive is not what it was when it was listed: list again")
    yield from archives.entries(path, caps)
