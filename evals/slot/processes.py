"""What /proc says of a job's processes: which they are, their memory, their processor time.

In a pid namespace of its own a slot sees its jobs' processes and no others.  Elsewhere /proc shows the
whole machine, and a job's are those that descend from the slot, which adopts every orphan.
"""

from __future__ import annotations

import contextlib
import os
from typing import NamedTuple

_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Used(NamedTuple):
    """By all processes of a job that live now, and by children of theirs that were waited for."""

    cpu_seconds: float
    memory_bytes: int


def look(proc: int, most_bytes: int, *, shared: bool) -> Used:
    """What the job's processes use now.

    Forked processes share pages, which resident size counts once for each of them; only if that passes
    ``most_bytes`` is it worth the time to count them in shares.

    Args:
        proc: Descriptor of /proc.
        shared: Whether /proc shows processes of others too.
    """
    cpu, memory, pids = 0.0, 0, _descendants(proc, str(os.getpid())) if shared else _numbers(proc)
    for pid in pids:
        with contextlib.suppress(OSError, IndexError):
            # After the name in parentheses: field 3 on; 14 to 17 are ticks, 24 resident pages (proc(5)).
            fields = _text(proc, f"{pid}/stat").rpartition(")")[2].split()
            cpu += sum(map(int, fields[11:15])) / _TICK
            memory += int(fields[21]) * _PAGE or _resident(proc, _living(proc, pid))
    if memory > most_bytes:
        memory = sum(_proportional(proc, pid) for pid in pids)
    return Used(cpu, memory)


def address_space(proc: int) -> int:
    """Bytes of address space that this process uses now, or 0 where there is no /proc."""
    return int(_text(proc, "self/statm").split()[0]) * _PAGE if proc >= 0 else 0


def threads_of_user(proc: int) -> int:
    """Threads of this process's user on the whole machine, which is what RLIMIT_NPROC counts."""
    count, uid = 0, os.getuid()
    for pid in _numbers(proc):
        with contextlib.suppress(OSError, IndexError):
            if os.stat(pid, dir_fd=proc).st_uid == uid:
                count += int(_text(proc, f"{pid}/stat").rpartition(")")[2].split()[17])
    return count


def _numbers(proc: int) -> list[str]:
    return [name for name in os.listdir(proc) if name.isdigit() and name != "1"]


def _descendants(proc: int, pid: str) -> list[str]:
    """Processes below one, found thread by thread, for each thread has the children that it forked."""
    found = []
    for thread in _threads(proc, pid):
        with contextlib.suppress(OSError):
            for child in _text(proc, f"{thread}/children").split():
                found += [child, *_descendants(proc, child)]
    return found


def _threads(proc: int, pid: str) -> list[str]:
    with contextlib.suppress(OSError):
        tasks = os.open(f"{pid}/task", os.O_RDONLY | os.O_DIRECTORY, dir_fd=proc)
        try:
            return [f"{pid}/task/{thread}" for thread in os.listdir(tasks)]  # noqa: PTH208  (a descriptor)
        finally:
            os.close(tasks)
    return []


def _living(proc: int, pid: str) -> str:
    """Where /proc tells of a process's memory: by a thread that lives, for one that has ended has none."""
    with contextlib.suppress(OSError, IndexError):
        return next((one for one in _threads(proc, pid) if _resident(proc, one)), pid)
    return pid


def _resident(proc: int, place: str) -> int:
    return int(_text(proc, f"{place}/statm").split()[1]) * _PAGE


def _proportional(proc: int, pid: str) -> int:
    """Resident bytes, where a page that n processes share counts as 1/n of one.

    All of them where the kernel does not tell: of a process that is closed to its own user.
    """
    place = _living(proc, pid)
    with contextlib.suppress(OSError, IndexError):
        for line in _text(proc, f"{place}/smaps_rollup").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    with contextlib.suppress(OSError, IndexError):
        return _resident(proc, place)
    return 0


def _text(proc: int, name: str) -> str:
    file = os.open(name, os.O_RDONLY, dir_fd=proc)
    try:
        return os.read(file, 1 << 14).decode("ascii", "replace")
    finally:
        os.close(file)
