"""Landlock: a process gives up files, sockets and signals for good, without any privilege.

Three system calls (Documentation/userspace-api/landlock.rst of the kernel; ABI 6 is Linux 6.12):

* files below the paths of a rule may be used as the rule says, all others not at all; what the kernel
  does not ask about is whether a file exists, who owns it and when it changed, and the calls that change
  or watch those (``seccomp.METADATA`` refuses them);
* no TCP, from ABI 4; no signal and no abstract Unix socket beyond the processes confined with it or by it,
  from ABI 6;
* no process outside may be traced, nor its memory and environment read in /proc.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
"""The same numbers on every machine."""

_VERSION = 1
_PATH_BENEATH = 1

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
REMOVE_DIR, REMOVE_FILE = 1 << 4, 1 << 5
MAKE_CHAR, MAKE_DIR, MAKE_REG, MAKE_SOCK, MAKE_FIFO, MAKE_BLOCK, MAKE_SYM = (1 << n for n in range(6, 13))
REFER, TRUNCATE, IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
"""LANDLOCK_ACCESS_FS_* (linux/landlock.h)."""

_FILES_BY_ABI = {1: MAKE_SYM, 2: REFER, 3: TRUNCATE, 5: IOCTL_DEV}
"""The last access that each ABI came to know."""

_TCP = 0b11
_ABSTRACT_SOCKETS, _SIGNALS = 1, 2
_ON_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
"""What may be granted on a file; the rest makes sense for directories only."""

READ = READ_FILE | READ_DIR
OWN = (READ | EXECUTE | WRITE_FILE | TRUNCATE | REFER | REMOVE_DIR | REMOVE_FILE) | (
    MAKE_DIR | MAKE_REG | MAKE_FIFO | MAKE_SYM | MAKE_SOCK
)
"""All that one may do in a directory of one's own; devices are nobody's."""

_libc = ctypes.CDLL(None, use_errno=True)


def abi() -> int:
    """The kernel's version of Landlock; 0 where it has none or this process may not ask for it."""
    return max(_call(CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint(_VERSION)), 0)


def ruleset(granted: Mapping[str, int]) -> int:
    """A descriptor of the rules that ``restrict`` puts on a process: all is refused but what is granted.

    Args:
        granted: Access by path, links followed; an access that the kernel does not know is left out.
    """
    version = abi()
    known = _known(version)
    made = _create(known, _TCP if version >= 4 else 0, _scopes(version))
    for path, access in granted.items():
        file = os.open(path, os.O_PATH)
        try:
            allowed = access & known & (~0 if Path(path).is_dir() else _ON_FILES)
            rule = struct.pack("=Qi", allowed, file)
            _check(_call(ADD_RULE, made, _PATH_BENEATH, rule, 0), f"landlock_add_rule {path}")
        finally:
            os.close(file)
    return made


def restrict(rules: int) -> None:
    """Live under these rules from here on, and all children too; needs ``no_new_privileges``."""
    _check(_call(RESTRICT_SELF, rules, 0), "landlock_restrict_self")


def keep_signals_inside() -> None:
    """Signal nobody from here on but processes that were forked since.  Nothing else is given up."""
    rules = _create(0, 0, _scopes(abi()))
    restrict(rules)
    os.close(rules)


def below(path: str, access: int, hidden: Iterable[str]) -> dict[str, int]:
    """Grants of ``access`` to all below a path but what is hidden.

    A rule cannot be taken back further down, so where something is hidden every entry beside the way to
    it gets a rule of its own, and the names of what is hidden can still be listed.
    """
    if path in hidden:
        return {path: READ_DIR}
    inside = [one for one in hidden if one.startswith(f"{path}/")]
    if not inside:
        return {path: access}
    found = {path: READ_DIR}
    for entry in os.scandir(path):
        if not entry.is_symlink():  # what a link leads to has its own rule or none
            found |= below(entry.path, access, inside)
    return found


def _known(version: int) -> int:
    return max(last for since, last in _FILES_BY_ABI.items() if since <= version) * 2 - 1


def _scopes(version: int) -> int:
    return _ABSTRACT_SOCKETS | _SIGNALS if version >= 6 else 0


def _create(files: int, net: int, scopes: int) -> int:
    attributes = struct.pack("=QQQ", files, net, scopes)
    size = 24 if scopes else 16 if net else 8
    made = _call(CREATE_RULESET, attributes, ctypes.c_size_t(size), ctypes.c_uint(0))
    _check(min(made, 0), "landlock_create_ruleset")
    return made


def _call(number: int, *given: object) -> int:
    return int(_libc.syscall(ctypes.c_long(number), *given))


def _check(result: int, call: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")
