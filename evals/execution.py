"""What was seen of a program of any language, before any rule has judged it."""

from __future__ import annotations

import signal
from dataclasses import dataclass, replace
from typing import Any

from evals.slot.job import NOT_CONFINED
from evals.slot.watch import signal_name


@dataclass(frozen=True)
class Execution:
    """Facts, for a pass rule to judge."""

    stage: str
    """``compile`` if it did not get further, else ``run``; ``error`` if the sandbox itself failed."""
    stopped: str | None
    """The limit that was passed, if any: timeout, memory or output_limit."""
    status: int | None
    """Exit status of that stage's process; negative is a signal's number; None if it was stopped."""
    stdout: str
    """Of that stage; the first 64 KiB, and so is ``stderr``."""
    stderr: str
    ended: bool
    """Whether the word given to ``execute``, and nothing else, came on descriptor 3 of the program."""
    cpu_seconds: float
    """Of all stages together, and so are the next two."""
    wall_seconds: float
    memory_bytes: int

    @property
    def verdict(self) -> str:
        """One of ``sandbox.VERDICTS``; passed means that everything ended with status 0."""
        if self.stopped is not None or self.stage == "error":
            return self.stopped or "error"
        if self.status == -signal.SIGXCPU:
            return "timeout"
        assert self.status is not None
        return "crashed" if self.status < 0 else "failed" if self.status or self.stage != "run" else "passed"

    def after(self, cpu_seconds: float, wall_seconds: float) -> Execution:
        """The same with what its compiler cost elsewhere."""
        cpu, wall = self.cpu_seconds + cpu_seconds, self.wall_seconds + wall_seconds
        return replace(self, cpu_seconds=cpu, wall_seconds=wall)

    @property
    def detail(self) -> str | None:
        """What it said of its failure, in a few lines."""
        if self.verdict == "passed":
            return None
        said = (self.stderr.strip() or self.stdout.strip())[-500:]
        where = "compiler: " if self.stage == "compile" else ""
        if self.status is not None and self.status < 0:
            where += f"{signal_name(-self.status)} "
        return (where + said).strip() or None


def not_compiled(status: int, message: str, cpu_seconds: float, wall_seconds: float) -> Execution:
    """A program that its compiler has refused."""
    return Execution("compile", None, status, message[: 1 << 16], "", False, cpu_seconds, wall_seconds, 0)


def not_confined(step: dict[str, Any]) -> bool:
    """Whether the sandbox could not even start a command."""
    said: str = step["report"]
    return step["status"] == NOT_CONFINED and said.startswith('{"verdict": "error"')


def seen(steps: list[dict[str, Any]], commands: int, word: str) -> Execution:
    """What a slot tells of the first ``steps`` of so many commands."""
    last = steps[-1]
    return Execution(
        stage="run" if len(steps) == commands else "compile",
        stopped=last["stopped"],
        status=None if last["stopped"] else last["status"],
        stdout=last["stdout"],
        stderr=last["stderr"],
        ended=bool(word) and len(steps) == commands and last["report"] == word,
        cpu_seconds=sum(step["cpu_seconds"] for step in steps),
        wall_seconds=sum(step["wall_seconds"] for step in steps),
        memory_bytes=max(step["memory_bytes"] for step in steps),
    )
