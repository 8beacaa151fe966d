"""The Linux system calls that Python's standard library lacks, by ctypes.

Every failure is an ``OSError`` that names the call; nothing here decides anything.
"""

from __future__ import annotations

import ctypes
import os
from typing import Any, cast

NEWNS, NEWCGROUP, NEWUTS, NEWIPC = 0x00020000, 0x02000000, 0x04000000, 0x08000000
NEWUSER, NEWPID, NEWNET = 0x10000000, 0x20000000, 0x40000000
"""CLONE_* flags of namespaces (linux/sched.h)."""

RDONLY, NOSUID, NODEV, NOEXEC, REMOUNT = 1, 2, 4, 8, 32
BIND, REC, PRIVATE = 4096, 16384, 1 << 18
"""MS_* flags (linux/mount.h)."""

_DETACH = 2
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_MOUNT_SETATTR = 442
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_ATTR_RDONLY, _ATTR_NOSUID, _ATTR_NODEV = 1, 2, 4

_PR_SET_DUMPABLE, _PR_SET_PDEATHSIG, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 4, 1, 24, 38
_PR_SET_CHILD_SUBREAPER = 36
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 47, 4, 22, 2
_CAPABILITY_VERSION_3 = 0x20080522

_HEADER = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
_NO_CAPABILITIES = (ctypes.c_uint32 * 6)()

_libc = ctypes.CDLL(None, use_errno=True)
_capset, _prctl = (cast(Any, getattr(_libc, name, None)) for name in ("capset", "prctl"))  # not on macOS
"""What every child calls is looked up and laid out here, once: a child pays for each page that it writes to,
and ctypes writes to fifty to look up a function or to make a buffer."""


def unshare(flags: int) -> None:
    """Enter new namespaces."""
    _check(_libc.unshare(flags), "unshare")


def mount(source: str, target: str, kind: str, flags: int = 0, options: str = "") -> None:
    """mount(2); ``kind`` is the file system's type, empty for binds and remounts."""
    done = _libc.mount(
        source.encode(),
        target.encode(),
        kind.encode() or None,
        ctypes.c_ulong(flags),
        options.encode() or None,
    )
    _check(done, f"mount {kind or 'bind'} on {target}")


def detach(target: str) -> None:
    """Take a mount out of the tree at once, whoever still uses it."""
    _check(_libc.umount2(target.encode(), _DETACH), f"umount {target}")


def make_readonly(target: str) -> None:
    """Make a bind mount and all below it read-only, without setuid programs and devices."""
    attributes = (ctypes.c_uint64 * 4)(_ATTR_RDONLY | _ATTR_NOSUID | _ATTR_NODEV, 0, 0, 0)
    done = _libc.syscall(
        ctypes.c_long(_MOUNT_SETATTR),
        _AT_FDCWD,
        target.encode(),
        ctypes.c_uint(_AT_RECURSIVE),
        attributes,
        ctypes.c_size_t(32),
    )
    _check(done, f"mount_setattr {target}")


def pivot_root(new: str) -> None:
    """Make ``new`` the root of this mount namespace and let go of the old one."""
    os.chdir(new)
    number = _PIVOT_ROOT[os.uname().machine]
    _check(_libc.syscall(ctypes.c_long(number), b".", b"."), "pivot_root")
    detach(".")
    os.chdir("/")


def become(identity: int) -> None:
    """Leave root for a uid and gid, for good, but keep one's files in /proc."""
    os.setgroups([])
    os.setresgid(identity, identity, identity)
    os.setresuid(identity, identity, identity)
    set_dumpable()


def die_with_parent() -> None:
    """Be killed when the parent ends.  Any later change of identity cancels it."""
    _set(_PR_SET_PDEATHSIG, 9)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends, as process 1 would."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def set_dumpable(value: bool = True) -> None:
    """Own one's files in /proc (again, after a change of identity), or be closed to all of one's user."""
    _set(_PR_SET_DUMPABLE, int(value))


def bar_capabilities() -> None:
    """Let no process from here on gain a capability by what it executes; those held now stay."""
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    for capability in range(64):
        if _prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0) != 0:
            break
    no_new_privileges()


def drop_capabilities() -> None:
    """Give up every capability, for good."""
    _check(_capset(_HEADER, _NO_CAPABILITIES), "capset")


def no_new_privileges() -> None:
    """No program that is executed from here on gains privileges; seccomp asks for it."""
    _set(_PR_SET_NO_NEW_PRIVS, 1)


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_void_p)]


class Filter:
    """A seccomp filter, laid out for the kernel from a classic BPF program of eight bytes an instruction."""

    def __init__(self, code: bytes) -> None:
        self._held = ctypes.create_string_buffer(code, len(code))
        self._program = _Program(len(code) // 8, ctypes.cast(self._held, ctypes.c_void_p))
        self._reference = ctypes.byref(self._program)

    def install(self) -> None:
        """Attach it to this process, for good."""
        done = _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, self._reference, 0, 0)
        _check(done, "prctl seccomp")


def _set(option: int, value: int) -> None:
    _check(_prctl(option, ctypes.c_ulong(value), 0, 0, 0), f"prctl {option}")


def _check(result: int, call: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")
