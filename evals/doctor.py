"""What this machine's sandbox is worth: the answer of ``evals doctor``, and one program for ``evals run``."""

from __future__ import annotations

import os
import platform
from dataclasses import asdict
from pathlib import Path
from typing import Any

from corpus import Refusal
from evals import runtimes, sandbox, tiers
from evals.config import Run, check
from evals.remedies import remedy
from evals.sandbox import Limits, Sandbox, Test, Unavailable
from evals.tiers import Tier
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

QUICK = Limits(cpu_seconds=1.0, memory_bytes=256 << 20)


def examine(asked: str = "") -> tuple[list[str], bool]:
    """Lines for the terminal, and whether programs of a stranger can be run here.

    Args:
        asked: Name of the tier to check; the best that this machine has if not given.
    """
    who = "root" if os.geteuid() == 0 else f"uid {os.geteuid()}"
    system = f"{platform.system()} {platform.release()} {platform.machine()}"
    lines, refused = [f"{system}, Python {platform.python_version()}, {who}"], []
    for tier in [tiers.find(asked)] if asked else tiers.best():
        reason = sandbox.probe(tier.name)
        if reason is None:
            break
        refused.append(f"  not {reason}")
    else:
        if asked:
            return [*lines, "sandbox: none of that kind", *refused], False
        lines += ["sandbox: none", *refused, f"  to have one: {remedy()}"]
        lines.append("`evals judge` and `evals run` refuse to run programs here without --unsafe-no-sandbox.")
        return lines, False
    lines.append(f"sandbox: {tier.name}: {tier.holds}")
    if refused:
        lines += [*refused, f"  to have a better one: {remedy()}"]
    checked, sound = _check(tier)
    lines += [*checked, "what it does not hold:", *(f"  {gap}" for gap in (*tier.gaps, *tiers.GAPS))]
    lines.append("Python programs may import, beside the standard library:")
    lines += [f"  {name:24}{version}" for name, version in versions().items()] or ["  nothing"]
    lines += ["languages, each with its tools' version:", *map(_language, runtimes.RUNTIMES)]
    return lines, sound


def _check(tier: Tier) -> tuple[list[str], bool]:
    """Every claim, whether it holds in this tier, and whether all do."""
    lines, sound = [], True
    with Sandbox(QUICK, tier=tier.name) as box:
        lines.append(f"  memory and processor time: {box.counted_by()}")
        for claim, (program, expected) in CHECKS.items():
            verdict = box.run(program)
            held = verdict.verdict == expected
            sound &= held
            lines.append(f"  {'yes' if held else 'NO '}  {claim}" + ("" if held else f": {verdict}"))
    return lines, sound


def _language(name: str) -> str:
    try:
        return f"  {name:12}{runtimes.toolchain(name).version}"
    except runtimes.Missing as missing:
        return f"  {name:12}not run: {missing}"


def run_file(path: Path, settings: Run) -> dict[str, Any]:
    """The verdict on one program file, under the test file of the settings if there is one."""
    check(settings)
    if settings.language != "python":
        runtimes.runtime(settings.language)
        if settings.test is not None:
            raise Refusal("--test is for Python: in other languages the test is a part of the program.")
    tier = sandbox.require(settings.tier, unsafe=settings.unsafe_no_sandbox)
    if settings.test is not None and not settings.entry:
        raise Refusal("--test needs --entry: the names of the program's functions that the test calls.")
    test = Test(_read(settings.test), settings.entry) if settings.test is not None else None
    limits = Limits(cpu_seconds=settings.seconds, memory_bytes=settings.memory_mb << 20)
    with Sandbox(limits, tier=tier) as box:
        try:
            verdict = box.run(_read(path), test=test, language=settings.language)
            return asdict(verdict) | {"unsafe": settings.unsafe_no_sandbox}
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
