"""The walls of a slot: its own namespaces, an identity nobody else has, and a private root.

Afterwards the slot is process 1 of a world with no network, no other process, no host file but the
interpreter and its libraries (read-only), three harmless devices and the jobs' empty directories.
Started by root, the slot takes an unused high uid before any program runs; started by an ordinary user
it stays that user.  Inside, both look like uid 1000, and neither holds a privilege outside.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from evals.slot import kernel

WORK = "/sandbox"
"""Where each job's own empty directory is mounted; /tmp and /dev/shm lead here.  A name that no host path
has: an interpreter below it would vanish under the jobs' mounts."""

INSIDE_ID = 1000
FIRST_HIGH_ID = 1_900_000_000
"""Uids from here on belong to nobody; each slot takes one, so that limits per user bind to it alone
(a process limit of 64 did not bind a root uid, even inside its own user namespace)."""

DEVICES = ("null", "random", "urandom")
"""Not /dev/zero: mapped shared, it is memory that no process's resident size shows."""

_PROC_FLAGS = kernel.NOSUID | kernel.NODEV | kernel.NOEXEC

_BUILD_SITE = "/tmp"  # noqa: S108  (exists everywhere; covered by our own tmpfs in our own namespace)


def new_identity() -> int:
    """A uid that belongs to nobody, whatever runs beside."""
    return FIRST_HIGH_ID + int.from_bytes(os.urandom(3), "big")


class NoWalls(Exception):
    """This machine does not let us build a wall; says which call was refused."""


def enter(readable: Mapping[str, str], hidden: Iterable[str], commands: bool = False) -> int:
    """Move this single-threaded process behind the walls; returns in the new process 1.

    The calling process stays outside as a keeper that ends when process 1 ends.

    Args:
        readable: Host directories that programs may read, by their path inside.
        hidden: Directories below those that are empty in here.
        commands: Programs are commands of the system, which expect /bin, /dev/fd and a /proc; in that they
            see their own processes and nothing else.

    Returns:
        A descriptor of a fresh /proc of the new world, which is mounted nowhere.
    """
    try:
        return _enter(readable, list(hidden), commands)
    except OSError as error:
        raise NoWalls(str(error)) from None


def _enter(readable: Mapping[str, str], hidden: list[str], commands: bool) -> int:
    uid, gid = os.getuid(), os.getgid()
    spaces = kernel.NEWNS | kernel.NEWPID | kernel.NEWNET | kernel.NEWIPC | kernel.NEWUTS
    if uid == 0:
        kernel.unshare(spaces)
    else:
        kernel.unshare(kernel.NEWUSER | spaces)
        proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY)
        _map_ids(proc, uid, gid)
        os.close(proc)
    with contextlib.suppress(OSError):  # a kernel without cgroups
        kernel.unshare(kernel.NEWCGROUP)
    identity = FIRST_HIGH_ID + os.getpid()
    first = os.fork()
    if first:
        os.closerange(0, 256)
        os.waitpid(first, 0)
        os._exit(0)
    proc = _build(readable, hidden, commands)
    socket.sethostname("sandbox")
    if uid == 0:
        _become_nobody(identity, proc)
    kernel.die_with_parent()
    return proc


def _build(readable: Mapping[str, str], hidden: list[str], commands: bool) -> int:
    """Make the private root, move into it, and return a descriptor of the new world's /proc."""
    kernel.mount("none", "/", "", kernel.REC | kernel.PRIVATE)
    # Held open, because some of them may lie below the directory that is about to be covered.
    held = {inside: os.open(path, os.O_PATH) for inside, path in readable.items()}
    held |= {f"/dev/{name}": os.open(f"/dev/{name}", os.O_PATH) for name in DEVICES}
    root = _BUILD_SITE
    kernel.mount("tmpfs", root, "tmpfs", kernel.NOSUID | kernel.NODEV, "size=1m,nr_inodes=2048,mode=755")
    for name in ("/proc", "/dev", WORK):
        Path(root + name).mkdir(0o755)
    for inside, file in held.items():
        _show(file, root + inside)
        os.close(file)
        for covered in (one for one in hidden if one.startswith(f"{inside}/")):
            kernel.mount("tmpfs", root + covered, "tmpfs", kernel.NOSUID, "size=64k,nr_inodes=64,mode=755")
    for covered in hidden:
        kernel.make_readonly(root + covered)
    for link in (Path(root, "tmp"), Path(root, "dev/shm")):
        if not link.exists():  # /tmp does, read-only, where the interpreter itself lies below it
            link.symlink_to(WORK)
    kernel.mount("proc", f"{root}/proc", "proc", _PROC_FLAGS)
    proc = os.open(f"{root}/proc", os.O_RDONLY | os.O_DIRECTORY)
    kernel.detach(f"{root}/proc")
    if commands:
        _furnish(root)
    kernel.pivot_root(root)
    kernel.mount("none", "/", "", kernel.REMOUNT | kernel.BIND | kernel.RDONLY | kernel.NOSUID | kernel.NODEV)
    return proc


def _furnish(root: str) -> None:
    """What commands of the system expect beside their own files."""
    if not Path(root, "bin").exists():
        Path(root, "bin").symlink_to("usr/bin")
    for name, target in {"fd": "", "stdin": "/0", "stdout": "/1", "stderr": "/2"}.items():
        Path(root, "dev", name).symlink_to(f"/proc/self/fd{target}")
    kernel.mount("proc", f"{root}/proc", "proc", _PROC_FLAGS, "subset=pid,hidepid=ptraceable")


def _show(file: int, inside: str) -> None:
    """Bind what a descriptor stands for at a path of the new root, read-only."""
    Path(inside).parent.mkdir(0o755, parents=True, exist_ok=True)
    is_device = stat.S_ISCHR(os.fstat(file).st_mode)
    if stat.S_ISDIR(os.fstat(file).st_mode):
        Path(inside).mkdir(0o755, exist_ok=True)
    else:
        os.close(os.open(inside, os.O_CREAT, 0o644))
    kernel.mount(f"/proc/self/fd/{file}", inside, "", kernel.BIND | kernel.REC)
    if not is_device:
        kernel.make_readonly(inside)


def _become_nobody(identity: int, proc: int) -> None:
    """Leave root for good, then own a user namespace in which jobs can be given their directories."""
    try:
        os.setgroups([])
        os.setresgid(identity, identity, identity)
        os.setresuid(identity, identity, identity)
    except OSError as error:
        # Root of somebody's user namespace that holds no such uid: an ordinary user outside already.
        if error.errno != errno.EINVAL:
            raise
    kernel.set_dumpable()
    uid, gid = os.getuid(), os.getgid()
    kernel.unshare(kernel.NEWUSER | kernel.NEWNS)
    _map_ids(proc, uid, gid)


def _map_ids(proc: int, uid: int, gid: int) -> None:
    """Be one uid and one gid, ``INSIDE_ID``, in the user namespace just entered."""
    maps = {"setgroups": "deny", "uid_map": f"{INSIDE_ID} {uid} 1", "gid_map": f"{INSIDE_ID} {gid} 1"}
    for name, text in maps.items():
        file = os.open(f"self/{name}", os.O_WRONLY, dir_fd=proc)
        os.write(file, text.encode())
        os.close(file)
