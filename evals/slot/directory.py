"""The working directory of a job: empty, bounded in bytes and files, gone with the job.

Most programs never touch it.  Then the next job gets the same one, for mounting and unmounting cost as much
as running a short program; whoever did anything to it takes it along.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from evals.slot import kernel
from evals.slot.room import WORK

_mounted: tuple[str, os.stat_result] | None = None
"""Options of the directory that is mounted, and what was seen of it then."""


@contextlib.contextmanager
def empty(size: int, files: int, *, walls: bool) -> Iterator[str]:
    """Be in an empty directory; all processes that know it must have ended before this does.

    Args:
        size: Bytes it holds at most.
        files: Files it holds at most.
        walls: Without them it is an ordinary temporary directory, and not bounded.
    """
    if not walls:
        with _temporary() as place:
            yield place
        return
    _mount(f"size={size},nr_inodes={files},mode=700")
    os.chdir(WORK)
    try:
        yield WORK
    finally:
        os.chdir("/")
        if not _is_untouched():
            _unmount()


@contextlib.contextmanager
def _temporary() -> Iterator[str]:
    import tempfile  # only where there are no walls: every page of a slot makes its forks dearer

    with tempfile.TemporaryDirectory(prefix="fathom-", ignore_cleanup_errors=True) as place:
        os.chdir(place)
        yield place
        os.chdir("/")


def _mount(options: str) -> None:
    global _mounted
    if _mounted is not None and _mounted[0] != options:
        _unmount()
    if _mounted is None:
        kernel.mount("tmpfs", WORK, "tmpfs", kernel.NOSUID | kernel.NODEV, options)
        _mounted = options, Path(WORK).stat()


def _unmount() -> None:
    global _mounted
    kernel.detach(WORK)
    _mounted = None


def _is_untouched() -> bool:
    """Whether nothing can be found in it that was not there when it was mounted."""
    assert _mounted is not None
    try:
        now, then = Path(WORK).stat(), _mounted[1]
        times = now.st_ctime_ns, now.st_mtime_ns, now.st_mode
        same = times == (then.st_ctime_ns, then.st_mtime_ns, then.st_mode)
        return same and not any(Path(WORK).iterdir()) and not os.listxattr(WORK)
    except OSError:
        return False
