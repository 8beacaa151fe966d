"""Which walls a slot has, and what it must know of them.

namespaces   it builds them itself (``room``)
given        it was started inside them: process 1 of its own pid namespace, in a root made for it
apart        the same, but it stays root there, and only its children become somebody else
landlock     files, sockets and signals are closed to its children, who otherwise live on the host
none         nothing but limits
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evals.slot import directory, kernel, landlock, room, seccomp
from evals.slot.job import Slot
from evals.slot.kernel import Filter

_LEAST_ABI, _LEAST_ABI_AS_ROOT = 6, 3
"""Of Landlock: 3 refuses truncation, 6 signals; a slot that root starts takes a uid that signals nobody else
(below 6 a program can still end its own slot, and the harness starts another)."""


def enter(asked: Mapping[str, Any], control: int) -> Slot:
    """Go behind the walls that the harness asks for.

    Args:
        asked: ``walls`` (one of those above), ``readable``, ``hidden``, ``commands``, and for the last two
            kinds ``folder``, which has two folders in it, ``work`` and ``packages``.
        control: A descriptor that hangs up when the harness goes away.

    Raises:
        room.NoWalls: this machine does not let us; says which call was refused.
    """
    kind = asked["walls"]
    if kind == "namespaces":
        proc = room.enter(asked["readable"], asked["hidden"], asked["commands"])
        return Slot(proc=proc, alone=True, exposed=asked["commands"], filter=Filter(seccomp.build()))
    if kind == "none":
        return Slot(folder=f"{asked['folder']}/work")
    try:
        return _landlock(asked, control) if kind == "landlock" else _given(apart=kind == "apart")
    except OSError as error:
        raise room.NoWalls(str(error)) from None


def _given(*, apart: bool) -> Slot:
    if os.getpid() != 1:
        raise room.NoWalls("the slot is not process 1 of a world of its own")
    proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY)
    identity = room.new_identity() if os.getuid() == 0 else None
    if identity is not None and apart:
        os.chown(room.WORK, identity, identity)
    elif identity is not None:
        kernel.become(identity)
    kernel.die_with_parent()
    return Slot(
        proc=proc,
        alone=True,
        exposed=True,
        folder=room.WORK,
        filter=Filter(seccomp.build()),
        identity=identity if apart else None,
    )


def _landlock(asked: Mapping[str, Any], control: int) -> Slot:
    version, is_root = landlock.abi(), os.getuid() == 0
    least = _LEAST_ABI_AS_ROOT if is_root else _LEAST_ABI
    if version < least:
        raise room.NoWalls(f"Landlock ABI {version} where {least} is needed" if version else "no Landlock")
    kernel.bar_capabilities()
    work, identity = f"{asked['folder']}/work", room.new_identity()
    if is_root:
        for place in (asked["folder"], work):
            os.chown(place, identity, identity)
    _signal_only_below(version)
    if not is_root:
        _check_alone()
    kernel.adopt_orphans()
    slot = os.fork()
    if slot:
        _keep(slot, control, identity if is_root else None, Path(asked["folder"]))
    if is_root:
        kernel.become(identity)
    _signal_only_below(version)
    _check_alone()
    kernel.adopt_orphans()
    kernel.die_with_parent()
    proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY)
    Path(f"/proc/self/task/{os.getpid()}/children").read_text()  # kernels may lack it
    rules = landlock.ruleset(_grants(asked, work))
    return Slot(
        proc=proc,
        alone=True,
        crowded=True,
        exposed=asked["commands"],
        folder=work,
        filter=Filter(seccomp.build(metadata=False)),
        rules=rules,
    )


def _signal_only_below(version: int) -> None:
    """From here on ``kill(-1)`` reaches the processes that this one forks, and no others."""
    if version >= _LEAST_ABI:
        kernel.no_new_privileges()
        landlock.keep_signals_inside()


def _check_alone() -> None:
    """Believe in ``kill(-1)`` only where the parent, who may be of the same user, cannot be signalled."""
    try:
        os.kill(os.getppid(), 0)
    except PermissionError:
        return
    raise room.NoWalls("a slot could signal processes outside")


def _grants(asked: Mapping[str, Any], work: str) -> dict[str, int]:
    """What programs may do with files, as rules of Landlock."""
    access = landlock.READ | (landlock.EXECUTE if asked["commands"] else 0)
    hidden = {os.path.realpath(path) for path in asked["hidden"]}
    granted: dict[str, int] = {}
    for path in {os.path.realpath(path) for path in asked["readable"].values()}:
        if not os.access(path, os.R_OK):
            raise room.NoWalls(f"{path} is closed to other users, which root's programs are")
        granted |= landlock.below(path, access, hidden)
    granted |= {f"/dev/{name}": landlock.READ_FILE | landlock.WRITE_FILE for name in room.DEVICES}
    if asked["commands"]:
        granted["/proc"] = landlock.READ
    return granted | {str(Path(work).parent / "packages"): landlock.READ, work: landlock.OWN}


def _keep(slot: int, control: int, identity: int | None, folder: Path) -> None:
    """Stay outside until slot or harness is gone; then end whatever they have started, and this process."""
    poller = select.poll()
    poller.register(control, select.POLLRDHUP)
    poller.register(os.pidfd_open(slot), select.POLLIN)
    poller.poll()
    if identity is not None:
        kernel.become(identity)
    with contextlib.suppress(ChildProcessError):
        while True:
            with contextlib.suppress(ProcessLookupError):
                os.kill(-1, signal.SIGKILL)
            os.waitpid(-1, 0)
    with contextlib.suppress(OSError):
        directory.clear(str(folder))
        folder.rmdir()
    os._exit(0)
