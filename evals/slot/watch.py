"""What a slot does while a job runs: count its time, memory and output, stop it, and leave nothing behind.

Short jobs pay nothing for it: the processes of a job are looked at only every 25 to 50 milliseconds.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from evals.slot import directory, processes
from evals.slot.job import Limits, Slot

SECONDS_BETWEEN_LOOKS = 0.025, 0.05
SECONDS_IDLE = 2.0
"""Without processor time, and the job counts as one that waits; on a machine with 50 others it gets some."""
HEADS = {"report": 4096, "output": 4096, "stdout": 1 << 16, "stderr": 1 << 16}
"""Bytes that are kept of what a job says, by where it says it."""

SECONDS_BETWEEN_TRIES = 0.005
"""To see whether a process has ended, where nothing tells."""

_HANG_UP = getattr(select, "POLLRDHUP", select.POLLHUP)
_MAXRSS = 1 if sys.platform == "darwin" else 1024
"""Bytes in a unit of ru_maxrss (getrusage(2))."""


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
    children: list[int], limits: Limits, sources: Mapping[str, int], *, control: int, slot: Slot
) -> Outcome:
    """Wait for the last of ``children`` to end, or for a limit; then kill and reap whatever is left.

    The sources are closed at the end.

    Args:
        children: Pids; the job is over when the last of them has ended.
        sources: Read ends of the pipes that the job writes to, by what they are for (a key of ``HEADS``).
        control: The harness's end; if the harness is gone the slot ends at once.
    """
    outcome = Outcome(said=dict.fromkeys(sources, b""))
    names = {file: name for name, file in sources.items()}
    for file in names:
        os.set_blocking(file, False)
    started = time.monotonic()
    main = _end_of(children[-1])
    poller = select.poll()
    for file in (*names, *([main] if main >= 0 else [])):
        poller.register(file, select.POLLIN)
    poller.register(control, _HANG_UP)
    first, between = SECONDS_BETWEEN_LOOKS
    next_look = started + first
    try:
        while outcome.stopped is None:
            wait = max(next_look - time.monotonic(), 0)
            ready = dict(poller.poll(1000 * (wait if main >= 0 else min(wait, SECONDS_BETWEEN_TRIES))))
            if control in ready:
                os._exit(1)
            for file in names.keys() & ready.keys():
                if not _drain(outcome, file, names[file]):
                    poller.unregister(file)
            if main in ready or (main < 0 and _reap(outcome, children[-1], os.WNOHANG, children)):
                break
            now = time.monotonic()
            if outcome.written > limits.output_bytes:
                outcome.stopped = "output_limit"
            elif now >= next_look:
                outcome.stopped = _look(outcome, limits, slot, now - started)
                next_look = now + between
    finally:
        if main >= 0:
            os.close(main)
        _clear(outcome, children, slot)
    outcome.wall_seconds = time.monotonic() - started
    for file, name in names.items():
        while outcome.written <= limits.output_bytes and _drain(outcome, file, name):
            pass
        os.close(file)
    outcome.cpu_seconds = max(outcome.cpu_seconds, slot.group.cpu_seconds())
    # It may have ended before anybody looked.
    if outcome.stopped is None and (slot.group.is_full() or _was_unseen(outcome, limits, slot)):
        outcome.stopped = "memory"
    if outcome.stopped is None and (outcome.written > limits.output_bytes or _is_full(limits, slot)):
        outcome.stopped = "output_limit"
    return outcome


def signal_name(number: int) -> str:
    """A signal's name; most of the real-time ones have none."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


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


def _look(outcome: Outcome, limits: Limits, slot: Slot, seconds: float) -> str | None:
    """Sum memory and processor time over the job's processes; the name of a limit that is passed."""
    if slot.proc < 0:
        return "timeout" if seconds > limits.wall_seconds else None
    used = processes.look(slot.proc, limits.memory_bytes, shared=slot.crowded)
    cpu = max(used.cpu_seconds, slot.group.cpu_seconds())
    outcome.memory_bytes = max(outcome.memory_bytes, used.memory_bytes)
    if used.memory_bytes > limits.memory_bytes or slot.group.is_full():
        return "memory"
    if _is_full(limits, slot):
        return "output_limit"
    if cpu > outcome.worked[0]:
        outcome.worked = cpu, seconds
    waits = seconds - outcome.worked[1] > SECONDS_IDLE
    late = seconds > (limits.wall_seconds if waits else limits.longest_seconds)
    return "timeout" if late or cpu > limits.cpu_seconds else None


def _was_unseen(outcome: Outcome, limits: Limits, slot: Slot) -> bool:
    """Whether a process had too much memory where nobody could look while it ran."""
    return slot.proc < 0 and outcome.memory_bytes > limits.memory_bytes


def _is_full(limits: Limits, slot: Slot) -> bool:
    """Whether a job has written too much, where its directory does not bound itself."""
    if slot.folder is None:
        return False
    return directory.is_full(slot.folder, limits.disk_bytes, limits.disk_files)


def _clear(outcome: Outcome, children: list[int], slot: Slot) -> None:
    """Kill and reap until no process of the job is left."""
    while True:
        with contextlib.suppress(ProcessLookupError):
            if slot.alone:
                os.kill(-1, signal.SIGKILL)
            else:
                for child in children:
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.killpg(child, signal.SIGKILL)
        try:
            _reap(outcome, -1, 0, children)
        except ChildProcessError:
            return


def _reap(outcome: Outcome, pid: int, options: int, children: list[int]) -> bool:
    """Wait for a process (-1: any), and add up what it has used; False if it has not ended."""
    ended, status, usage = os.wait4(pid, options)
    if ended:
        outcome.cpu_seconds += usage.ru_utime + usage.ru_stime
        outcome.memory_bytes = max(outcome.memory_bytes, usage.ru_maxrss * _MAXRSS)
        if ended in children:
            outcome.statuses[ended] = os.waitstatus_to_exitcode(status)
    return ended != 0


def _end_of(pid: int) -> int:
    """A descriptor that can be read when a process ends; -1 where there is no such thing (gVisor, macOS)."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return -1
