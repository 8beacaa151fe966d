"""What a slot does while a job runs: count its time, memory and output, stop it, and leave nothing behind.

Short jobs pay nothing for it: the processes of a job are looked at only every 25 to 50 milliseconds.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from evals.slot.job import Limits

SECONDS_BETWEEN_LOOKS = 0.025, 0.05
SECONDS_IDLE = 2.0
"""Without processor time, and the job counts as one that waits; on a machine with 50 others it gets some."""
HEADS = {"report": 4096, "output": 4096, "stdout": 1 << 16, "stderr": 1 << 16}
"""Bytes that are kept of what a job says, by where it says it."""

_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass
class Outcome:
    """What became of a job's processes."""

    stopped: str | None = None
    """The limit that was passed: timeout, memory or output_limit."""
    said: dict[str, bytes] = field(default_factory=dict)
    """The first bytes of each source."""
    written: int = 0
    """Bytes of all sources together."""
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0
    memory_bytes: int = 0
    worked: tuple[float, float] = 0.0, 0.0
    """Processor time at the last look that found more of it, and the wall time of that look."""
    statuses: dict[int, int] = field(default_factory=dict)
    """Exit status by pid, negative for a signal, of the children the slot started itself."""


def until_done(
    children: list[int], limits: Limits, sources: Mapping[str, int], *, control: int, proc: int, walls: bool
) -> Outcome:
    """Wait for the last of ``children`` to end, or for a limit; then kill and reap whatever is left.

    The sources are closed at the end.

    Args:
        children: Pids; the job is over when the last of them has ended.
        sources: Read ends of the pipes that the job writes to, by what they are for (a key of ``HEADS``).
        control: The harness's end; if the harness is gone the slot ends at once.
        proc: Descriptor of /proc, or -1.
    """
    outcome = Outcome(said=dict.fromkeys(sources, b""))
    names = {file: name for name, file in sources.items()}
    for file in names:
        os.set_blocking(file, False)
    started = time.monotonic()
    main = os.pidfd_open(children[-1])
    poller = select.poll()
    for file in (main, *names):
        poller.register(file, select.POLLIN)
    poller.register(control, select.POLLRDHUP)
    first, between = SECONDS_BETWEEN_LOOKS
    next_look = started + first
    try:
        while outcome.stopped is None:
            ready = dict(poller.poll(max(next_look - time.monotonic(), 0) * 1000))
            if control in ready:
                os._exit(1)
            for file in names.keys() & ready.keys():
                if not _drain(outcome, file, names[file]):
                    poller.unregister(file)
            if main in ready:
                break
            now = time.monotonic()
            if outcome.written > limits.output_bytes:
                outcome.stopped = "output_limit"
            elif now >= next_look:
                outcome.stopped = _look(outcome, limits, proc, now - started)
                next_look = now + between
    finally:
        os.close(main)
        _clear(outcome, children, walls)
    outcome.wall_seconds = time.monotonic() - started
    for file, name in names.items():
        while outcome.written <= limits.output_bytes and _drain(outcome, file, name):
            pass
        os.close(file)
    if outcome.stopped is None and outcome.written > limits.output_bytes:
        outcome.stopped = "output_limit"  # it ended before anybody looked
    return outcome


def signal_name(number: int) -> str:
    """A signal's name; most of the real-time ones have none."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def address_space(proc: int) -> int:
    """Bytes of address space that this process uses now, or 0 where there is no /proc."""
    return int(_text(proc, "self/statm").split()[0]) * _PAGE if proc >= 0 else 0


def _drain(outcome: Outcome, file: int, name: str) -> bool:
    """Take what is there to read; False when there is nothing or never will be."""
    try:
        data = os.read(file, 1 << 16)
    except BlockingIOError:
        return False
    if len(outcome.said[name]) < HEADS[name]:
        outcome.said[name] = (outcome.said[name] + data)[: HEADS[name]]
    outcome.written += len(data)
    return bool(data)


def _look(outcome: Outcome, limits: Limits, proc: int, seconds: float) -> str | None:
    """Sum memory and processor time over the job's processes; the name of a limit that is passed."""
    if proc < 0:
        return "timeout" if seconds > limits.wall_seconds else None
    cpu, memory, pids = 0.0, 0, _pids(proc)
    for pid in pids:
        with contextlib.suppress(OSError, IndexError):
            # After the name in parentheses: field 3 on; 14 to 17 are ticks, 24 resident pages (proc(5)).
            fields = _text(proc, f"{pid}/stat").rpartition(")")[2].split()
            cpu += sum(map(int, fields[11:15])) / _TICK
            memory += int(fields[21]) * _PAGE or _resident(proc, _living(proc, pid))
    if memory > limits.memory_bytes:
        # Forked processes share pages, which resident size counts once for each of them.
        memory = sum(_proportional(proc, pid) for pid in pids)
    outcome.memory_bytes = max(outcome.memory_bytes, memory)
    if memory > limits.memory_bytes:
        return "memory"
    if cpu > outcome.worked[0]:
        outcome.worked = cpu, seconds
    waits = seconds - outcome.worked[1] > SECONDS_IDLE
    late = seconds > (limits.wall_seconds if waits else limits.longest_seconds)
    return "timeout" if late or cpu > limits.cpu_seconds else None


def _pids(proc: int) -> list[str]:
    return [name for name in os.listdir(proc) if name.isdigit() and name != "1"]


def _living(proc: int, pid: str) -> str:
    """Where /proc tells of a process's memory: by a thread that lives, for one that has ended has none."""
    with contextlib.suppress(OSError, IndexError):
        tasks = os.open(f"{pid}/task", os.O_RDONLY | os.O_DIRECTORY, dir_fd=proc)
        try:
            threads = [f"{pid}/task/{thread}" for thread in _pids(tasks)]
        finally:
            os.close(tasks)
        return next((thread for thread in threads if _resident(proc, thread)), pid)
    return pid


def _resident(proc: int, place: str) -> int:
    return int(_text(proc, f"{place}/statm").split()[1]) * _PAGE


def _proportional(proc: int, pid: str) -> int:
    """Resident bytes, where a page that n processes share counts as 1/n of one."""
    with contextlib.suppress(OSError, IndexError):
        for line in _text(proc, f"{_living(proc, pid)}/smaps_rollup").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def _text(proc: int, name: str) -> str:
    file = os.open(name, os.O_RDONLY, dir_fd=proc)
    try:
        return os.read(file, 1 << 14).decode("ascii", "replace")
    finally:
        os.close(file)


def _clear(outcome: Outcome, children: list[int], walls: bool) -> None:
    """Kill and reap until no process of the job is left."""
    while True:
        with contextlib.suppress(ProcessLookupError):
            if walls:
                assert os.getpid() == 1, "only process 1 of its own world may kill everything"
                os.kill(-1, signal.SIGKILL)
            else:
                for child in children:
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.killpg(child, signal.SIGKILL)
        try:
            pid, status, usage = os.wait4(-1, 0)
        except ChildProcessError:
            return
        outcome.cpu_seconds += usage.ru_utime + usage.ru_stime
        outcome.memory_bytes = max(outcome.memory_bytes, usage.ru_maxrss * 1024)
        if pid in children:
            outcome.statuses[pid] = os.waitstatus_to_exitcode(status)
