"""The system calls that a program under test may not make, as a seccomp filter built by hand.

Namespaces already take away what most of these calls would reach; the filter takes away the kernel
code behind them.  Calls are refused with EPERM, so a program sees an ordinary ``PermissionError``.

* Foreign architectures are killed, and numbers with the x32 bit are refused: the x32 table is the usual
  hole in filters that look at numbers alone.
* ``clone`` with any namespace flag is refused; ``clone3`` answers ENOSYS, because its flags lie in memory
  where a filter cannot look, and libc then falls back to ``clone``.
* ``memfd_create``, System V memory and shared anonymous mappings are refused: what was written there and
  then unmapped by one process, or dropped by ``madvise``, stays allocated and no resident size shows it.
* ``prlimit64`` is for oneself alone: with it a program could take away what the slot, which runs as the
  same user, needs for later programs.
* Priorities and processors of the slot cannot be changed either, for later programs would inherit them;
  ``sched_setscheduler`` stays for the ordinary policy, which Mono sets for its threads.
* ``setsockopt`` is refused, so that a socket pair's buffer, which nobody counts, cannot be made larger.
* ``socketpair`` stays: asyncio needs it, and it reaches nobody.  But not for datagrams, which could be sent
  to any Unix socket of the host that a path leads to.
"""

from __future__ import annotations

import errno
import os
import struct

from evals.slot import kernel

ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""AUDIT_ARCH_* (linux/audit.h)."""

X32_BIT = 0x40000000

REFUSED: dict[str, tuple[int | None, int | None]] = {
    # other processes
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "pidfd_getfd": (438, 438),
    "process_madvise": (440, 440),
    "process_mrelease": (448, 448),
    "setpriority": (141, 140),
    "ioprio_set": (251, 30),
    "sched_setaffinity": (203, 122),
    "sched_setattr": (314, 274),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    # the network
    "socket": (41, 198),
    "connect": (42, 203),
    "bind": (49, 200),
    "listen": (50, 201),
    "setsockopt": (54, 208),
    # namespaces and mounts
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "open_tree_attr": (467, 467),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    # large kernel surfaces with a history
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "fanotify_init": (300, 262),
    "personality": (135, 92),
    "modify_ldt": (154, None),
    "uselib": (134, None),
    "lookup_dcookie": (212, 18),
    "vmsplice": (278, 75),
    # memory that belongs to no process
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "shmat": (30, 196),
    "msgget": (68, 186),
    "semget": (64, 190),
    "mq_open": (240, 180),
    # the machine
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "reboot": (169, 142),
    "acct": (163, 89),
    "syslog": (103, 116),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "adjtimex": (159, 171),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "iopl": (172, None),
    "ioperm": (173, None),
    "vhangup": (153, 58),
}
"""Name: number on x86-64, number on arm64 (asm/unistd.h; both share the numbers from 424 on)."""

METADATA: dict[str, tuple[int | None, int | None]] = {
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "chown": (92, None),
    "lchown": (94, None),
    "fchown": (93, 55),
    "fchownat": (260, 54),
    "utime": (132, None),
    "utimes": (235, None),
    "futimesat": (261, None),
    "utimensat": (280, 88),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "setxattrat": (463, 463),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    "removexattrat": (466, 466),
    "file_setattr": (469, 469),
    "inotify_init": (253, None),
    "inotify_init1": (294, 26),
}
"""What Landlock does not ask about: to change modes, owners, times and attributes of files anywhere, and to
watch what others do with them.  The ioctls that do the same (``_FILE_SYSTEMS``) go with them."""

_IOCTL = (16, 29)
_FILE_SYSTEMS = (0x6600, 0x5800, 0x7600, 0x9400)
"""The types of ioctls on files and directories (of all, XFS, versions, btrfs): flags, verity, subvolumes; a
descriptor that was opened for reading is enough for them (Documentation/userspace-api/ioctl)."""
_SOCKETPAIR = (53, 199)
_DATAGRAMS = 0b10
"""A bit of SOCK_DGRAM and SOCK_RAW, which is the same for Unix sockets, but not of SOCK_STREAM and
SOCK_SEQPACKET (linux/net.h)."""
_SCHEDULER = (144, 119)
_SCHED_OTHER = 0
_CLONE = (56, 220)
_CLONE3 = 435
_PRLIMIT = (302, 261)
_MMAP = (9, 222)
_SHARED_ANONYMOUS = 0x01 | 0x20
"""MAP_SHARED and MAP_ANONYMOUS (asm-generic/mman.h)."""
_NAMESPACES = (
    kernel.NEWNS
    | kernel.NEWCGROUP
    | kernel.NEWUTS
    | kernel.NEWIPC
    | kernel.NEWUSER
    | kernel.NEWPID
    | kernel.NEWNET
)

_LOAD, _AND, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENT_AT, _ARGUMENT_1_AT, _ARGUMENT_3_AT = 0, 4, 16, 24, 40
"""Offsets in struct seccomp_data; an argument's low half, both machines being little-endian."""


def build(machine: str | None = None, *, metadata: bool = True) -> bytes:
    """The filter for a machine, this one if not given.

    Args:
        metadata: Whether programs may make the calls of ``METADATA`` and ioctls on file systems.

    Raises:
        KeyError: a machine whose system call numbers are not listed here.
    """
    machine = machine or os.uname().machine
    column = list(ARCHITECTURES).index(machine) if machine in ARCHITECTURES else -1
    if column < 0:
        raise KeyError(f"no system call numbers for {machine}")
    refuse = _ERRNO | errno.EPERM
    code = [
        (_LOAD, 0, 0, _ARCHITECTURE_AT),
        (_EQUAL, 1, 0, ARCHITECTURES[machine]),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER_AT),
        (_AT_LEAST, 0, 1, X32_BIT),
        (_RETURN, 0, 0, refuse),
        (_EQUAL, 0, 1, _CLONE3),
        (_RETURN, 0, 0, _ERRNO | errno.ENOSYS),
        (_EQUAL, 0, 4, _CLONE[column]),
        (_LOAD, 0, 0, _ARGUMENT_AT),
        (_ANY_BIT, 0, 1, _NAMESPACES),
        (_RETURN, 0, 0, refuse),
        (_RETURN, 0, 0, _ALLOW),
        (_EQUAL, 0, 4, _PRLIMIT[column]),
        (_LOAD, 0, 0, _ARGUMENT_AT),
        (_EQUAL, 1, 0, 0),
        (_RETURN, 0, 0, refuse),
        (_RETURN, 0, 0, _ALLOW),
        (_EQUAL, 0, 5, _MMAP[column]),
        (_LOAD, 0, 0, _ARGUMENT_3_AT),
        (_AND, 0, 0, _SHARED_ANONYMOUS),
        (_EQUAL, 0, 1, _SHARED_ANONYMOUS),
        (_RETURN, 0, 0, refuse),
        (_RETURN, 0, 0, _ALLOW),
        (_EQUAL, 0, 4, _SCHEDULER[column]),
        (_LOAD, 0, 0, _ARGUMENT_1_AT),
        (_EQUAL, 1, 0, _SCHED_OTHER),
        (_RETURN, 0, 0, refuse),
        (_RETURN, 0, 0, _ALLOW),
        (_EQUAL, 0, 4, _SOCKETPAIR[column]),
        (_LOAD, 0, 0, _ARGUMENT_1_AT),
        (_ANY_BIT, 0, 1, _DATAGRAMS),
        (_RETURN, 0, 0, refuse),
        (_RETURN, 0, 0, _ALLOW),
    ]
    if not metadata:
        more = len(_FILE_SYSTEMS)
        code += [
            (_EQUAL, 0, more + 4, _IOCTL[column]),
            (_LOAD, 0, 0, _ARGUMENT_1_AT),
            (_AND, 0, 0, 0xFF00),
            *((_EQUAL, more - n, 0, kind) for n, kind in enumerate(_FILE_SYSTEMS)),
            (_RETURN, 0, 0, _ALLOW),
            (_RETURN, 0, 0, refuse),
        ]
    for numbers in (REFUSED if metadata else REFUSED | METADATA).values():
        number = numbers[column]
        if number is not None:
            code += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, refuse)]
    code.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)
