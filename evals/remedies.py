"""What would give this machine a better sandbox: one command, as specific as can be seen from inside."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

_REFUSING = {
    "user/max_user_namespaces": ("0", "sysctl -w user.max_user_namespaces=65536"),
    "kernel/unprivileged_userns_clone": ("0", "sysctl -w kernel.unprivileged_userns_clone=1"),
    "kernel/apparmor_restrict_unprivileged_userns": (
        "1",
        "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
    ),
}
"""Files below /proc/sys, the value that refuses us user namespaces, and what changes it."""

_CONTAINER = (
    "docker run --cap-add SYS_ADMIN --security-opt seccomp=unconfined --security-opt apparmor=unconfined "
    "--security-opt systempaths=unconfined"
)
"""Docker's own filter refuses unshare and mount, its profile mounts, and a masked /proc a new one."""

_MARKS = ("docker", "kubepods", "containerd", "libpod", "lxc")

_INSTALL = {"apt": "apt install", "dnf": "dnf install", "apk": "apk add", "pacman": "pacman -S"}

_KERNEL = (5, 12)
"""The first with mount_setattr."""


def remedy(root: Path = Path("/"), *, system: str = "", release: str = "", uid: int | None = None) -> str:
    """The command (of an administrator) that would most likely give this machine its own namespaces.

    Args:
        root: Where /proc and the marks of a container are looked for.
        system: Name of the operating system, this one's if not given.
        release: Of the kernel, this one's if not given.
        uid: Of the user who asks, this process's if not given.
    """
    if (system or os.uname().sysname) != "Linux":
        return "docker run, or any virtual machine with Linux"
    release = release or os.uname().release
    if tuple(map(int, release.split("-")[0].split(".")[:2])) < _KERNEL:
        return f"upgrade the kernel to {'.'.join(map(str, _KERNEL))} or later: this is {release}"
    if (os.getuid() if uid is None else uid) != 0:  # root needs no user namespace for the others
        for name, (value, command) in _REFUSING.items():
            if _text(root / "proc/sys" / name) == value:
                return command
    if _in_container(root):
        return _CONTAINER
    if shutil.which("bwrap") is None:
        return (
            f"{next((_INSTALL[tool] for tool in _INSTALL if shutil.which(tool)), 'apt install')} bubblewrap"
        )
    return "systemd-run --pty --property NoNewPrivileges=no --property RestrictNamespaces=no evals doctor"


def _in_container(root: Path) -> bool:
    told = _text(root / "proc/1/cgroup")
    files = (root / ".dockerenv", root / "run/.containerenv")
    return any(file.exists() for file in files) or any(mark in told for mark in _MARKS)


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
