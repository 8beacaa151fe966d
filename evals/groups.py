"""A control group for each slot, where this user may make one: the kernel counts what its processes use.

What /proc tells of processes is a look at those that live; a group counts those that have ended too, and
stops memory at once.  Version 1 has a hierarchy for each controller, version 2 one for all of them, in which
a controller must have been handed down.  A group that cannot be made is done without.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

_FILES = {
    1: {
        "memory": {
            "limit": "memory.limit_in_bytes",
            "usage": "memory.usage_in_bytes",
            "kills": "memory.oom_control",
        },
        "cpuacct": {"processor": "cpuacct.usage"},
        "pids": {"most": "pids.max", "tasks": "pids.current"},
    },
    2: {
        "memory": {"limit": "memory.max", "usage": "memory.current", "kills": "memory.events"},
        "cpu": {"processor": "cpu.stat"},
        "pids": {"most": "pids.max", "tasks": "pids.current"},
    },
}
"""What the slot reads and writes, by version and controller (``evals.slot.group``)."""

_SWAP = ("memory.swap.max", "memory.swappiness")
"""Written 0, so that memory which is put aside counts as before."""

_ALWAYS = {"cpu"}
"""Version 2 counts processor time in every group, whatever was handed down."""

_SECONDS_TO_END = 2.0
_count = itertools.count()


class Group:
    """The control groups of one slot; ``remove`` takes them away with whatever is in them.

    Args:
        made: False makes none, where the slot's processes are not ours to put there.

    Attributes:
        controllers: What it counts: memory, cpuacct or cpu, pids, each with its version.
        files: Open files by what the slot does with them; ``join`` has several.
    """

    def __init__(self, *, made: bool = True) -> None:
        self.controllers: list[str] = []
        self.files: dict[str, list[int]] = {}
        self._folders: list[Path] = []
        name = f"fathom-{os.getpid()}-{next(_count)}"
        for version, controller, base in _bases() if made else ():
            if not self.files.keys() & _FILES[version][controller].keys():
                with contextlib.suppress(OSError):
                    self._make(base / name, version, controller)

    def _make(self, folder: Path, version: int, controller: str) -> None:
        if folder not in self._folders:
            _sweep(folder.parent)
            folder.mkdir()
            self._folders.append(folder)
            self._open("join", folder / "cgroup.procs")
        for file in _SWAP:
            with contextlib.suppress(OSError):
                (folder / file).write_text("0")
        for use, file in _FILES[version][controller].items():
            self._open(use, folder / file)
        self.controllers.append(f"control group {controller} (version {version})")

    def _open(self, use: str, file: Path) -> None:
        writes = use in ("join", "limit", "most")
        self.files.setdefault(use, []).append(os.open(file, os.O_RDWR if writes else os.O_RDONLY))

    def hand_over(self) -> None:
        """Close the files here: the slot has them."""
        for file in itertools.chain.from_iterable(self.files.values()):
            os.close(file)
        self.files.clear()

    def remove(self) -> None:
        """End what still runs in the groups, and remove them."""
        deadline = time.monotonic() + _SECONDS_TO_END
        for folder in self._folders:
            while time.monotonic() < deadline:
                with contextlib.suppress(OSError):
                    for pid in map(int, (folder / "cgroup.procs").read_text().split()):
                        if pid:  # 0 stands for one of another pid namespace, and to kill would be all of ours
                            os.kill(pid, signal.SIGKILL)
                try:
                    folder.rmdir()
                    break
                except FileNotFoundError:
                    break
                except OSError:
                    time.sleep(0.005)


def _bases() -> Iterator[tuple[int, str, Path]]:
    """Version, controller and the group of ours in which another could be made, one for each controller."""
    ours: dict[str, str] = {}
    for line in _lines("/proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        ours |= dict.fromkeys(controllers.split(","), path.lstrip("/"))
    for line in _lines("/proc/mounts"):
        _, place, kind, options, *_ = line.split()
        if kind == "cgroup":
            for controller in _FILES[1].keys() & set(options.split(",")):
                yield 1, controller, _existing(Path(place), ours.get(controller, ""))
        elif kind == "cgroup2":
            yield from ((2, *found) for found in _handed_down(_existing(Path(place), ours.get("", ""))))


def _handed_down(own: Path) -> Iterator[tuple[str, Path]]:
    """Controllers of version 2 that a new group would have: beside our own, or else below it."""
    for base in (own.parent, own):
        given = {word for line in _lines(str(base / "cgroup.subtree_control")) for word in line.split()}
        found = _FILES[2].keys() & (given | _ALWAYS)
        if (
            os.access(base, os.W_OK)
            and (base / "cgroup.procs").exists()
            and (found != _ALWAYS or base == own)
        ):
            yield from ((controller, base) for controller in sorted(found))
            return


def _existing(mount: Path, path: str) -> Path:
    """Our group's folder; the mount itself in a container, whose groups are called otherwise outside."""
    return mount / path if (mount / path).is_dir() else mount


def _sweep(base: Path) -> None:
    """Remove what harnesses that were killed have left."""
    for folder in base.glob("fathom-*"):
        if not Path("/proc", folder.name.split("-")[1]).exists():
            with contextlib.suppress(OSError):
                folder.rmdir()


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
