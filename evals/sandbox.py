"""Run a program that nobody vouches for, and say what became of it.

    >>> with Sandbox() as sandbox:
    ...     sandbox.run("print(1 / 0)").verdict
    'failed'

A sandbox is one warm slot (``evals.slot``) for each language that it is asked for: a fresh interpreter
behind walls, which forks a confined child for each program.  Of which kind the walls are, and what they do
not hold, is its tier (``evals.tiers``, ``docs/evals.md``).

* ``run(program)`` executes the text as it is; it passed if it ran to its end.
* ``run(program, language="java")`` compiles and runs it with that language's tools (``evals.runtimes``).
* ``execute(program, "java")`` does the same and tells what was seen, for a rule of one's own.
* ``run(program, test=Test(...))`` keeps the test in a process of its own and lets it call the program's
  functions over a border that only plain data cross, so a program cannot touch what decides about it.

Where the machine allows no walls, a sandbox refuses to start.
"""

from __future__ import annotations

import contextlib
import json
import logging
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from corpus import Refusal
from evals import runtimes, tiers
from evals.compilers import Compilers
from evals.execution import Execution, not_compiled, not_confined, seen
from evals.slot.job import Limits
from evals.slots import Slot, Unavailable
from evals.view import view
from printable import storable

log = logging.getLogger(__name__)

__all__ = ["Execution", "Limits", "Sandbox", "Test", "Unavailable", "Verdict", "probe", "require"]

VERDICTS = ("passed", "failed", "timeout", "memory", "output_limit", "crashed", "error")

GRACE_SECONDS = 15.0
"""Beyond the longest wall time, before a slot that does not answer is killed."""

COMPILER = Limits(cpu_seconds=60.0, memory_bytes=2 << 30)
"""What a compiler may use at least: DeepSeek's harness gives javac 60 s, and the program its own limit."""


@dataclass(frozen=True)
class Test:
    """A test that runs apart from the program it tests."""

    __test__ = False  # not a test of ours, whatever pytest thinks of the name

    text: str
    """What is executed; raising nothing is a pass."""
    calls: Sequence[str]
    """Names of the program's functions that the text calls."""
    given: str = ""
    """Executed first on the test's side: imports, helpers that belong to the problem."""


@dataclass(frozen=True)
class Verdict:
    """What became of a program."""

    verdict: str
    """One of ``VERDICTS``; ``unfit`` if its test cannot be run apart from it."""
    detail: str | None
    cpu_seconds: float
    wall_seconds: float
    memory_bytes: int
    """Peak of all its processes together."""
    output: str = ""
    """The first 4 KiB that it printed."""
    tier: str = ""
    """The kind of sandbox it ran in."""


class Sandbox:
    """Slots, one for each language.  One starts with its first program, and again after a crash.

    Args:
        limits: What each program may use.
        tier: The kind of sandbox (a key of ``tiers.TIERS``); the best that this machine has if not given.
            "none" runs programs with limits but without walls: never for programs you do not trust.
        packages: A folder of packages that Python programs may import, in place of ``view.PACKAGES``.
    """

    def __init__(self, limits: Limits | None = None, *, tier: str = "", packages: Path | None = None) -> None:
        self.limits = limits or Limits()
        self.packages = packages
        self._tiers = [tiers.find(tier)] if tier else tiers.best()
        self._slots: dict[str, Slot] = {}
        self._compilers = Compilers(self._started)

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def tier(self) -> str:
        """The kind of sandbox that this is.

        Raises:
            Unavailable: this machine has none.
        """
        if len(self._tiers) > 1:
            self.start()
        return self._tiers[0].name

    def run(
        self,
        program: str,
        *,
        test: Test | None = None,
        language: str = "python",
        limits: Limits | None = None,
    ) -> Verdict:
        """What becomes of ``program``, by itself or (in Python) under a test.

        A program of another language has passed if it ended with status 0.

        Args:
            limits: What this program may use, if not what the sandbox's programs may.

        Raises:
            Unavailable: no slot can be started on this machine.
            runtimes.Missing: the language's tools are not installed.
        """
        if language != "python":
            assert test is None, "a test apart from its program is for Python"
            seen = self.execute(program, language, limits=limits)
            cost = seen.cpu_seconds, seen.wall_seconds, seen.memory_bytes
            return Verdict(seen.verdict, seen.detail, *cost, (seen.stdout + seen.stderr)[:4096], self.tier)
        texts, allowed = [_bytes_of(program)], limits or self.limits
        if test is not None:
            task = {"given": test.given, "calls": list(test.calls), "test": test.text}
            texts.append(json.dumps(task).encode())
        # A second slot for those that need numpy: its pages make each fork dearer, and its import would more.
        slot = "numpy" if any(b"numpy" in text for text in texts) else "python"
        for _ in range(2):  # a slot may have died or been spoiled by an earlier program; twice is a finding
            reply = self._ask(slot, texts, {"limits": asdict(allowed)}, allowed.longest_seconds)
            if reply.get("verdict", "error") != "error":
                break
            self._end(slot)
        if "verdict" in reply:
            said = {name: reply[name] and storable(reply[name]) for name in ("detail", "output")}
            return Verdict(**reply | said, tier=self.tier)
        died = f"the slot died: {reply.get('broken', 'no answer')}"[-500:]
        return Verdict("error", died, 0.0, 0.0, 0, tier=self.tier)

    def execute(
        self,
        program: str,
        language: str,
        *,
        word: str = "",
        options: Sequence[str] | None = None,
        beside: Mapping[str, Path] | None = None,
        limits: Limits | None = None,
    ) -> Execution:
        """What is seen of a program of another language: compiled where it must be, then run.

        Args:
            language: A key of ``runtimes.RUNTIMES``.
            word: A word that the program's test reports as its last statement (``Runtime.report``); make a
                new one for each run, so that no program knows it beforehand.
            options: The compiler's, in place of the language's own.
            beside: Files that are put beside the program, by their name there.
            limits: What this program may use, if not what the sandbox's programs may.

        Raises:
            Unavailable: no slot can be started on this machine.
            runtimes.Missing: the language's tools are not installed.
        """
        commands, text = runtimes.commands(language, options), _bytes_of(program)
        allowed = limits or self.limits
        open_files = max(allowed.open_files, runtimes.runtime(language).open_files)
        run = replace(allowed, open_files=open_files)
        stages = [_compiler(run) for _ in commands[:-1]] + [run]
        files: dict[str, bytes | Path] = {runtimes.runtime(language).source: text, **(beside or {})}
        warm = None
        if not self._tiers[0].stream:  # a warm compiler's own line is an open file
            warm = self._compilers.compile(program, language, options, beside or {})
        if warm is not None and warm.status != 0:
            return not_compiled(warm.status, warm.message, warm.cpu_seconds, warm.wall_seconds)
        if warm is not None:
            commands, stages, files = commands[1:], stages[1:], {**warm.files, **(beside or {})}
        request = {
            "commands": [[command, asdict(limit)] for command, limit in zip(commands, stages, strict=True)],
            "names": list(files),
            "environment": runtimes.environment(language),
        }
        seconds = sum(limit.longest_seconds for limit in stages)
        for _ in range(2):  # as in run
            reply = self._ask(language, list(files.values()), request, seconds)
            if "commands" in reply and not any(map(not_confined, reply["commands"])):
                found = seen(reply["commands"], len(commands), word)
                return found if warm is None else found.after(warm.cpu_seconds, warm.wall_seconds)
            self._end(language)
        said = reply.get("broken") or str(reply.get("commands", "the slot died"))
        return Execution("error", None, None, "", storable(said)[-500:], False, 0.0, 0.0, 0)

    def start(self, slot: str = "python") -> None:
        """Start a slot if it does not run: python, numpy (Python that has imported it), or a language's."""
        if slot not in self._slots:
            tools = None if slot in ("python", "numpy") else runtimes.readable(slot)
            warm = [slot] if slot == "numpy" else []
            self._slots[slot] = self._started(view(tools=tools, warm=warm, folder=self.packages))

    def counted_by(self) -> str:
        """Who counts what all processes of a program use together."""
        self.start()
        groups = self._slots["python"].group.controllers
        return " and ".join([*groups, "a look at /proc every 25 to 50 ms"])

    def close(self) -> None:
        """End the slots and all that runs in them."""
        self._compilers.close()
        for language in list(self._slots):
            self._end(language)

    def _started(self, shown: dict[str, Any]) -> Slot:
        """A slot of the first tier that this machine has, told if not the best; later ones are the same."""
        refused = []
        for tier in self._tiers:
            try:
                slot = Slot(shown, tier)
            except Unavailable as reason:
                refused.append(f"{tier.name}: {reason}")
            else:
                if refused:
                    log.warning("sandbox: %s, for there is no better one (%s)", tier.name, "; ".join(refused))
                self._tiers = [tier]
                return slot
        raise Unavailable("; ".join(refused))

    def _end(self, language: str) -> None:
        slot = self._slots.pop(language, None)
        if slot is not None:
            slot.close()

    def _ask(
        self,
        slot: str,
        contents: Sequence[bytes | Path],
        request: dict[str, Any],
        seconds: float,
    ) -> dict[str, Any]:
        self.start(slot)
        with contextlib.ExitStack() as stack:
            files = [stack.enter_context(_file_of(content)) for content in contents]
            return self._slots[slot].ask(request, files, seconds + GRACE_SECONDS)


def probe(tier: str = "") -> str | None:
    """Why this machine allows no sandbox of a tier, or none at all; None if it does."""
    with Sandbox(tier=tier) as sandbox:
        try:
            sandbox.start()
        except Unavailable as reason:
            return str(reason)
    return None


def require(tier: str = "", *, unsafe: bool) -> str:
    """The tier that programs will run in; refuse in one line if there is none, unless the user insists."""
    if unsafe and tier not in ("", "none"):
        raise Refusal(f"--unsafe-no-sandbox and --tier {tier} exclude one another.")
    if not unsafe and tier == "none":
        raise Refusal("no sandbox at all has a flag of its own: --unsafe-no-sandbox.")
    with Sandbox(tier="none" if unsafe else tier) as sandbox:
        try:
            sandbox.start()
            return sandbox.tier
        except Unavailable as reason:
            raise Refusal(
                f"no sandbox on this machine ({reason}): `evals doctor` says more; "
                "--unsafe-no-sandbox runs the programs all the same, and marks the result."
            ) from None


def _compiler(run: Limits) -> Limits:
    """A compiler's limits: the program's own where those are wider."""
    cpu = max(run.cpu_seconds, COMPILER.cpu_seconds)
    return replace(run, cpu_seconds=cpu, memory_bytes=max(run.memory_bytes, COMPILER.memory_bytes))


def _bytes_of(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _file_of(content: bytes | Path) -> IO[bytes]:
    """An open file: the one at a path, or one without a name that holds these bytes."""
    if isinstance(content, Path):
        return content.open("rb")
    file = tempfile.TemporaryFile()  # noqa: SIM115  (the caller closes it)
    file.write(content)
    file.seek(0)
    return file
