"""What this machine's sandbox is worth: the answer of ``evals doctor``, and one program for ``evals run``."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from corpus import Refusal
from evals import runtimes, sandbox
from evals.config import Run, check
from evals.sandbox import Limits, Sandbox, Test, Unavailable, Verdict
from evals.view import versions

CHECKS = {
    "a program that ends has passed": ("answer = 6 * 7", "passed"),
    "a program that raises has failed": ("raise ValueError", "failed"),
    "leaving with status 0 is no pass": ("import os; os._exit(0)", "failed"),
    "no network": ("import socket; socket.create_connection(('127.0.0.1', 22))", "failed"),
    "no host files": ("open('/etc/passwd')", "failed"),
    "a spin is stopped": ("while True: pass", "timeout"),
    "memory is bounded": ("held = bytearray(1 << 31)", "memory"),
}
"""What is claimed: the program that tries it, and the verdict it must get."""

GAPS = (
    "a flaw in the Linux kernel: put a virtual machine around programs that hunt for one",
    "kernel memory of pipes and socket pairs is bounded by their number alone",
    "processor caches and the clock are shared with the host",
    "programs of other languages can read their own test, so the word at its end can be found and forged",
)

QUICK = Limits(cpu_seconds=1.0, memory_bytes=256 << 20)

ADVICE = (
    "To allow it: run as root, or allow user namespaces: sysctl user.max_user_namespaces above 0; "
    "on Debian kernel.unprivileged_userns_clone=1; on Ubuntu "
    "kernel.apparmor_restrict_unprivileged_userns=0; in Docker add --cap-add SYS_ADMIN "
    "--security-opt seccomp=unconfined --security-opt systempaths=unconfined."
)


def examine() -> tuple[list[str], bool]:
    """Lines for the terminal, and whether programs of a stranger can be run here."""
    who = "root" if os.geteuid() == 0 else f"uid {os.geteuid()}"
    system = f"{platform.system()} {platform.release()} {platform.machine()}"
    lines = [f"{system}, Python {platform.python_version()}, {who}"]
    reason = sandbox.probe()
    if reason is not None:
        lines.append(f"sandbox: none ({reason})")
        lines.append(f"  {ADVICE}")
        lines.append("`evals judge` and `evals run` refuse to run programs here without --unsafe-no-sandbox.")
        return lines, False
    lines.append("sandbox: namespaces (user, mount, pid, net, ipc, uts), seccomp, resource limits")
    sound = True
    with Sandbox(QUICK) as box:
        for claim, (program, expected) in CHECKS.items():
            verdict = box.run(program)
            held = verdict.verdict == expected
            sound &= held
            lines.append(f"  {'yes' if held else 'NO '}  {claim}" + ("" if held else f": {verdict}"))
    lines += ["what it does not hold:", *(f"  {gap}" for gap in GAPS)]
    lines.append("Python programs may import, beside the standard library:")
    lines += [f"  {name:24}{version}" for name, version in versions().items()] or ["  nothing"]
    lines += ["languages, each with its tools' version:", *map(_language, runtimes.RUNTIMES)]
    return lines, sound


def _language(name: str) -> str:
    try:
        return f"  {name:12}{runtimes.toolchain(name).version}"
    except runtimes.Missing as missing:
        return f"  {name:12}not run: {missing}"


def run_file(path: Path, settings: Run) -> Verdict:
    """The verdict on one program file, under the test file of the settings if there is one."""
    check(settings)
    if settings.language != "python":
        runtimes.runtime(settings.language)
        if settings.test is not None:
            raise Refusal("--test is for Python: in other languages the test is a part of the program.")
    sandbox.require(unsafe=settings.unsafe_no_sandbox)
    if settings.test is not None and not settings.entry:
        raise Refusal("--test needs --entry: the names of the program's functions that the test calls.")
    test = Test(_read(settings.test), settings.entry) if settings.test is not None else None
    limits = Limits(cpu_seconds=settings.seconds, memory_bytes=settings.memory_mb << 20)
    with Sandbox(limits, walls=not settings.unsafe_no_sandbox) as box:
        try:
            return box.run(_read(path), test=test, language=settings.language)
        except runtimes.Missing as reason:
            raise Refusal(f"{settings.language} cannot be run: {reason}.") from None
        except Unavailable as reason:
            raise Refusal(f"the sandbox did not start: {reason}") from None


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError as error:
        raise Refusal(f"{path}: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise Refusal(f"{path} is not UTF-8 text.") from None
