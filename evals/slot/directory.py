"""The working directory of a job: empty, bounded in bytes and files, gone with the job.

Where the slot can mount, it is a tmpfs.  Most programs never touch it.  Then the next job gets the same one,
for mounting and unmounting cost as much as running a short program; whoever did anything to it takes it
along.  Elsewhere it is a folder that is emptied after every job; what a job holds there is looked at while
it runs.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from evals.slot import kernel
from evals.slot.room import WORK


class _Mounted(NamedTuple):
    """The directory that is mounted: its options, itself, and what was seen of it then."""

    options: str
    file: int
    seen: os.stat_result


_mounted: _Mounted | None = None


@contextlib.contextmanager
def empty(size: int, files: int, folder: str | None) -> Iterator[str]:
    """Be in an empty directory; all processes that know it must have ended before this does.

    Args:
        size: Bytes it holds at most.
        files: Files it holds at most.
        folder: An empty folder to use, which does not bound itself (``is_full`` says when it is too much);
            without one, a tmpfs is mounted that does.
    """
    if folder is None:
        _mount(f"size={size},nr_inodes={files},mode=700")
    os.chdir(folder or WORK)
    try:
        yield folder or WORK
    finally:
        os.chdir("/")
        if folder is not None:
            clear(folder)
        elif not _is_untouched():
            _unmount()


def is_full(folder: str, size: int, files: int) -> bool:
    """Whether more lies below a folder than may: bytes on disk, or files, directories and links.

    A directory that cannot be looked into, closed or too deep for a path, counts as too much.
    """
    waiting, used, count = [folder], 0, 0
    while waiting and used <= size and count <= files:
        try:
            for entry in os.scandir(waiting.pop()):
                used, count = used + entry.stat(follow_symlinks=False).st_blocks * 512, count + 1
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                if count > files:
                    break
        except FileNotFoundError:  # it vanished meanwhile
            continue
        except OSError:
            return True
    return used > size or count > files


def clear(folder: str) -> None:
    """Remove all that lies in a folder, however deep, and whatever was done to the folder itself.

    Directories are moved up before they are emptied, so that no depth is too much for a path.
    """
    base = Path(folder)
    with contextlib.suppress(OSError):  # where its owner is somebody else, programs cannot have changed it
        base.chmod(stat.S_IRWXU)
        for name in os.listxattr(folder) if hasattr(os, "listxattr") else ():  # macOS has none in Python
            os.removexattr(folder, name)
    while entries := list(base.iterdir()):
        for entry in entries:
            if not _is_directory(entry):
                entry.unlink()
                continue
            entry.chmod(stat.S_IRWXU)
            for inner in entry.iterdir():
                if _is_directory(inner):
                    inner.chmod(stat.S_IRWXU)  # one that is not writable cannot be moved
                    inner.rename(base / os.urandom(16).hex())
                else:
                    inner.unlink()
            entry.rmdir()


def _is_directory(path: Path) -> bool:
    return stat.S_ISDIR(path.lstat().st_mode)


def _mount(options: str) -> None:
    global _mounted
    if _mounted is not None and _mounted.options != options:
        _unmount()
    if _mounted is None:
        kernel.mount("tmpfs", WORK, "tmpfs", kernel.NOSUID | kernel.NODEV, options)
        file = os.open(WORK, os.O_RDONLY | os.O_DIRECTORY)
        _mounted = _Mounted(options, file, os.fstat(file))


def _unmount() -> None:
    global _mounted
    assert _mounted is not None
    os.close(_mounted.file)
    kernel.detach(WORK)
    _mounted = None


def _is_untouched() -> bool:
    """Whether nothing can be found in it that was not there when it was mounted."""
    assert _mounted is not None
    try:
        now, then = os.fstat(_mounted.file), _mounted.seen
        times = now.st_ctime_ns, now.st_mtime_ns, now.st_mode
        same = times == (then.st_ctime_ns, then.st_mtime_ns, then.st_mode)
        # Without pathlib: after each fork a slot pays for every page that it writes to.
        names = os.listdir(_mounted.file)  # noqa: PTH208
        return same and not names and not os.listxattr(_mounted.file)
    except OSError:
        return False
