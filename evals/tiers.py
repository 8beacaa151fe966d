"""The kinds of sandbox, best first, and how a slot is started in each.

    >>> [tier.name for tier in TIERS.values() if not tier.asked]
    ['namespaces', 'bwrap', 'landlock', 'sandbox-exec']

All run the same slot (``evals.slot``) and differ in who builds the walls and in what these hold.  A machine
has a tier if a slot starts in it; a sandbox tries them in this order.  What each does not hold is
its ``gaps``, which ``evals doctor`` prints.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

from corpus import Refusal
from evals import launch
from evals.launch import View


@dataclass(frozen=True, kw_only=True)
class Tier:
    """One kind of sandbox."""

    name: str
    walls: str
    """Whose business they are, for ``evals.slot.walls``."""
    holds: str
    """What they are made of, in one line."""
    gaps: tuple[str, ...] = ()
    """What it does not hold, beyond ``GAPS``."""
    missing: Callable[[], str | None] = lambda: None
    """A reason why this machine cannot have it that is seen without trying."""
    command: Callable[[View, str], list[str]]
    """What starts a slot, given its view (``evals.view``) and its folder if it has one."""
    asked: bool = False
    """Only for who asks for it by name."""
    folder: bool = False
    """Jobs work in a folder of the host, which the harness makes and removes."""
    stream: bool = False
    """Requests reach the slot as bytes alone, without open files; its processes are another's children."""


GAPS = (
    "a flaw in the Linux kernel: put a virtual machine around programs that hunt for one",
    "kernel memory of pipes and socket pairs is bounded by their number alone",
    "processor caches and the clock are shared with the host",
    "programs of other languages can read their own test, so the word at its end can be found and forged",
)
"""What no tier holds."""


def find(name: str) -> Tier:
    """The tier of that name, or a refusal that lists them."""
    if name not in TIERS:
        raise Refusal(f"{name} is no kind of sandbox: give {', '.join(TIERS)}, or nothing for the best here.")
    return TIERS[name]


def best() -> list[Tier]:
    """Those that nobody has to ask for, best first."""
    return [tier for tier in TIERS.values() if not tier.asked]


_CONTAINER_GAPS = (
    "programs see a /proc, a /sys, a /dev and an /etc: the container's, and facts of the machine",
    "the number of files that a program makes is looked at every 25 to 50 ms",
    "programs cannot write to /tmp, only to their working directory",
)
_GVISOR_GAPS = (
    "time and memory are as gVisor counts them, so limits strike earlier or later than elsewhere",
)

TIERS: dict[str, Tier] = {
    tier.name: tier
    for tier in (
        Tier(
            name="namespaces",
            walls="namespaces",
            holds="user, mount, pid, net, ipc and uts namespaces, a private root, seccomp, resource limits",
            missing=launch.no_linux,
            command=launch.python,
        ),
        Tier(
            name="bwrap",
            walls="given",
            holds="the same namespaces and root, made by bubblewrap; seccomp, resource limits",
            gaps=(
                "programs see a /proc: their own processes, and facts of the machine such as its processors",
                "the number of files that a program makes is looked at every 25 to 50 ms",
            ),
            missing=launch.no_bwrap,
            command=launch.bwrap,
        ),
        Tier(
            name="landlock",
            walls="landlock",
            holds="Landlock (files, TCP, signals), seccomp (no socket at all), resource limits",
            gaps=(
                "whether a file of the host exists, its size, owner and times can be seen; nothing in it",
                "other processes can be seen, by their number or (in other languages) their command line",
                "disk space is looked at every 25 to 50 ms, and files deleted while open are not seen",
                "programs cannot change modes and times of files, not even of their own",
                "for an ordinary user the limit of processes counts those of the user that ran before",
            ),
            missing=launch.no_linux,
            command=launch.python,
            folder=True,
        ),
        Tier(
            name="sandbox-exec",
            walls="none",
            holds="macOS's sandbox (files, network, signals by a profile), resource limits; never run by us",
            gaps=(
                "memory is looked at when a program has ended, and no limit stops it before",
                "a process that leaves its group outlives its program until the slot ends",
                "the limit of processes is the user's own",
                "disk space is looked at when a program has ended",
            ),
            missing=launch.no_macos,
            command=launch.sandbox_exec,
            folder=True,
        ),
        Tier(
            name="docker",
            walls="given",
            holds="a container with an image of nothing and without privileges, seccomp, resource limits",
            gaps=_CONTAINER_GAPS,
            missing=functools.partial(launch.no_docker, ""),
            command=functools.partial(launch.docker, ""),
            asked=True,
            stream=True,
        ),
        Tier(
            name="gvisor",
            walls="apart",
            holds="such a container on a kernel of its own (gVisor), seccomp, resource limits",
            gaps=(*_CONTAINER_GAPS, *_GVISOR_GAPS),
            missing=functools.partial(launch.no_docker, "runsc"),
            command=functools.partial(launch.docker, "runsc"),
            asked=True,
            stream=True,
        ),
        Tier(
            name="none",
            walls="none",
            holds="nothing but resource limits",
            gaps=("anything: such a program is a program of yours",),
            command=launch.python,
            asked=True,
            folder=True,
        ),
    )
}
"""The kinds of sandbox by name, best first, then those that have to be asked for."""
