"""The kinds of sandbox, best first, and how a slot is started in each.

    >>> [tier.name for tier in TIERS.values() if not tier.asked]
    ['namespaces', 'bwrap', 'landlock']

All run the same slot (``evals.slot``) and differ in who builds the walls and in what these hold.  A machine
has a tier if a slot starts in it; ``sandbox.choose`` tries them in this order.  What each does not hold is
its ``gaps``, which ``evals doctor`` prints.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corpus import Refusal
from evals.slot.job import Limits
from evals.slot.room import DEVICES, WORK

PYTHON = ("-s", "-S", "-P", "-B", "-X", "utf8", "-c")
_START = "import sys; sys.path.insert(0, {!r}); from evals.slot.main import main; main()"
_EVALS = Path(__file__).parent
_CODE = "/fathom"
"""Where the slot's own code lies in a root that is made before the slot starts."""

View = Mapping[str, Any]


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
    command: Callable[[View], list[str]]
    """What starts a slot with a view (``evals.view``)."""
    asked: bool = False
    """Only for who asks for it by name."""
    folder: bool = False
    """Jobs work in a folder of the host, which the harness makes and removes."""


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


def python(view: View) -> list[str]:
    """The slot's interpreter, as it lies on the host."""
    return [sys.executable, *PYTHON, _START.format(str(_EVALS.parent))]


def bwrap(view: View) -> list[str]:
    """bubblewrap, which makes the root that ``slot.room`` would, and the slot as its process 1.

    Started by root it makes no user namespace, and leaves the slot two capabilities, to become nobody with.
    """
    command = [shutil.which("bwrap") or "bwrap", "--unshare-ipc", "--unshare-pid", "--unshare-net"]
    command += ["--unshare-uts", "--unshare-cgroup-try", "--die-with-parent", "--as-pid-1"]
    command += ["--hostname", "sandbox"]
    if os.getuid() == 0:
        command += ["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    else:
        command += ["--unshare-user", "--uid", "1000", "--gid", "1000"]
    interpreter = os.path.realpath(sys.executable)
    shown = dict(view["readable"]) | {interpreter: interpreter} | _code()
    places = {above for inside in (*shown, "/dev/null") for above in Path(inside).parents}
    for above in sorted(map(str, places - {Path("/")})):
        command += ["--perms", "755", "--dir", above]  # bwrap would close those that are closed on the host
    for inside, path in shown.items():
        command += ["--ro-bind", path, inside]
    for covered in view["hidden"]:
        command += ["--size", "65536", "--tmpfs", covered, "--remount-ro", covered]
    for name in DEVICES:
        command += ["--dev-bind", f"/dev/{name}", f"/dev/{name}"]
    for link, target in _links(view).items():
        command += ["--symlink", target, link]
    command += ["--proc", "/proc", "--perms", "1777", "--size", str(Limits().disk_bytes), "--tmpfs", WORK]
    return [*command, "--remount-ro", "/", "--chdir", "/", interpreter, *PYTHON, _START.format(_CODE)]


def _code() -> dict[str, str]:
    """The slot's own code: host paths by where it lies in a root that is made before the slot starts."""
    return {f"{_CODE}/evals/{name}": str(_EVALS / name) for name in ("__init__.py", "slot")}


def _links(view: View) -> dict[str, str]:
    """The links of such a root with their targets, as ``slot.room`` makes them."""
    taken = {Path(inside).parts[1] for inside in (*view["readable"], os.path.realpath(sys.executable))}
    links = {"/dev/shm": WORK} | ({} if "tmp" in taken else {"/tmp": WORK})  # noqa: S108  (inside)
    if view["commands"]:
        links |= {"/dev/fd": "/proc/self/fd", "/dev/stdin": "/proc/self/fd/0"}
        links |= {"/dev/stdout": "/proc/self/fd/1", "/dev/stderr": "/proc/self/fd/2"}
        links |= {} if "bin" in taken else {"/bin": "usr/bin"}
    return links


def _no_linux() -> str | None:
    return None if sys.platform == "linux" else f"this is {sys.platform}, not Linux"


def _no_bwrap() -> str | None:
    program = shutil.which("bwrap")
    if program is None:
        return "bwrap is not installed"
    told = subprocess.run([program, "--help"], capture_output=True, text=True, check=False).stdout
    return None if "--size" in told else "this bwrap is older than 0.7"


TIERS: dict[str, Tier] = {
    tier.name: tier
    for tier in (
        Tier(
            name="namespaces",
            walls="namespaces",
            holds="user, mount, pid, net, ipc and uts namespaces, a private root, seccomp, resource limits",
            missing=_no_linux,
            command=python,
        ),
        Tier(
            name="bwrap",
            walls="given",
            holds="the same namespaces and root, made by bubblewrap; seccomp, resource limits",
            gaps=(
                "programs see a /proc: their own processes, and facts of the machine such as its processors",
                "the number of files that a program makes is looked at every 25 to 50 ms",
            ),
            missing=lambda: _no_linux() or _no_bwrap(),
            command=bwrap,
        ),
        Tier(
            name="landlock",
            walls="landlock",
            holds="Landlock (files, TCP, signals), seccomp (no socket at all), resource limits",
            gaps=(
                "whether a file of the host exists, and how large it is, can be seen; nothing in it",
                "other processes can be seen, by their number or (in other languages) their command line",
                "disk space is looked at every 25 to 50 ms, and files deleted while open are not seen",
                "programs cannot change modes and times of files, not even of their own",
                "for an ordinary user the limit of processes counts those of the user that ran before",
            ),
            missing=_no_linux,
            command=python,
            folder=True,
        ),
        Tier(
            name="none",
            walls="none",
            holds="nothing but resource limits",
            gaps=("anything: such a program is a program of yours",),
            command=python,
            asked=True,
            folder=True,
        ),
    )
}
"""The kinds of sandbox by name, best first, then those that have to be asked for."""
