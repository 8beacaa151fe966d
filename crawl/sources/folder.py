"""Local directories as repos.  Links are never followed; ``.git`` and the like are not entered."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import NoReturn

from corpus import Refusal
from crawl.sources.entry import BadRepo, Caps, Entry, Repo, printable

SKIPPED = {".git", ".hg", ".svn"}
"""Version control's own files are no content of a repo."""


def list_repo(folder: Path) -> Repo:
    """A directory as a repo; its revision is a hash over all names and contents."""
    if not folder.is_dir():
        raise Refusal(f"{folder} is not a directory: correct the setting `folders`.")
    root = folder.resolve()
    if printable(root.as_posix()) != root.as_posix():
        raise Refusal(f"{printable(root.as_posix())}: rename the directory, its path is no plain text.")
    # A colon ends a repo's name in the key of a file.
    name = root.name.replace(":", "_") or "root"
    return Repo(f"folder/{name}", _revision(root), "folder", root.as_posix())


def has(repo: Repo, cache: Path) -> bool:
    """A folder is there already; that it is the one that was listed is checked on reading."""
    return True


def obtain(repo: Repo, cache: Path, caps: Caps) -> int:
    """Nothing travels."""
    return 0


def entries(repo: Repo, cache: Path, caps: Caps) -> Iterator[Entry]:
    """The files of the folder, in path order."""
    root = Path(repo.url)
    if not root.is_dir() or _revision(root) != repo.revision:
        raise BadRepo("changed", "the folder is not what it was when it was listed: list again")
    total = 0
    for count, (path, status) in enumerate(_walk(root), 1):
        total += status.st_size
        if count > caps.files:
            raise BadRepo("too_many_files", f"more than {caps.files}")
        if total > caps.repo_bytes:
            raise BadRepo("too_large", f"more than {caps.repo_bytes} bytes")
        name = path.relative_to(root).as_posix()
        if not stat.S_ISREG(status.st_mode):
            yield Entry(name, "symlink" if stat.S_ISLNK(status.st_mode) else "special", 0)
        elif status.st_size > caps.file_bytes:
            yield Entry(name, "file", status.st_size)
        else:
            with _open(path) as file:
                data = file.read()
            yield Entry(name, "file", len(data), data)


def _walk(root: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Everything but directories, in path order, with its own (not a link's target's) status."""
    for directory, names, files in os.walk(root, onerror=_unreadable, followlinks=False):
        linked = [name for name in names if Path(directory, name).is_symlink()]
        names[:] = sorted(name for name in names if name not in SKIPPED and name not in linked)
        for name in sorted(files + linked):
            path = Path(directory, name)
            yield path, path.lstat()


def _revision(root: Path) -> str:
    listing = hashlib.sha256()
    for path, status in _walk(root):
        regular = stat.S_ISREG(status.st_mode)
        content = _digest(path) if regular else stat.S_IFMT(status.st_mode)
        name = os.fsencode(path.relative_to(root)).hex()
        listing.update(f"{name} {content}\n".encode())
    return f"sha256:{listing.hexdigest()}"


def _open(path: Path) -> BufferedReader:
    """A file to read, refusing to follow a link that took its place meanwhile."""
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb")


def _digest(path: Path) -> str:
    with _open(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _unreadable(error: OSError) -> NoReturn:
    raise error  # os.walk would leave the directory out without a word
