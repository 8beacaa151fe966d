"""Two verdicts on every answer: by the benchmark's own rule, and by a strict one.

Published numbers depend on rules that nobody would choose (a C# program that crashes passes), so both are
always kept: ``as_published`` to compare with what was published, ``strict`` to trust.

For Python, ``as_published`` is the program in one process with its test, as its authors ran it;
``strict`` asks in addition that it passes with its test in a process of its own, where that can be done.
Where the authors keep expected values or comparisons to themselves too, one run apart gives both.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from evals.config import Judge
from evals.sandbox import Limits, Sandbox, Verdict
from evals.suites import APART, PROGRAMS, TEXTS
from evals.suites.problem import Problem


@dataclass(frozen=True)
class Judged:
    """What became of one answer."""

    as_published: str
    """The verdict by the benchmark's own rule."""
    strict: str
    """The verdict by the rule that leaves nothing to luck."""
    detail: str | None
    flagged: bool
    """Two ways of judging disagree about whether it passed: a person should look."""
    program: str = ""
    """What was run; the answer itself where nothing runs."""
    similarity: float | None = None
    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0
    memory_bytes: int = 0


def judge_one(box: Sandbox, problem: Problem, answer: str, settings: Judge) -> Judged:
    """Both verdicts on one answer."""
    if problem.suite in TEXTS:
        return _compared(problem, answer)
    if problem.language != "python":
        return Judged("not_run", "not_run", f"no toolchain for {problem.language}", flagged=False)
    return _python(box, problem, answer, settings)


def limits(problem: Problem, settings: Judge) -> Limits:
    """What a program of this problem may use: as published, unless the settings say otherwise."""
    return Limits(cpu_seconds=settings.seconds or problem.seconds, memory_bytes=settings.memory_mb << 20)


def _compared(problem: Problem, answer: str) -> Judged:
    match = TEXTS[problem.suite].match(problem, answer)
    words = ["passed" if equal else "failed" for equal in (match.as_published, match.strict)]
    return Judged(
        words[0],
        words[1],
        None,
        flagged=match.as_published != match.strict,
        program=answer,
        similarity=match.similarity,
    )


def _python(box: Sandbox, problem: Problem, answer: str, settings: Judge) -> Judged:
    suite, allowed = PROGRAMS[problem.suite], limits(problem, settings)
    program = suite.program(problem, answer)
    if problem.suite in APART:
        alone, test = suite.apart(problem, answer) or (program, None)
        assert test is not None
        return _both(None, box.run(alone, test=test, limits=allowed), program)
    exact = box.run(program, limits=allowed) if settings.oracle != "split" else None
    if exact is not None and (settings.oracle == "exact" or exact.verdict not in ("passed", "failed")):
        return _both(exact, None, program)  # one that had to be stopped once is not run again
    parts = suite.apart(problem, answer)
    split = box.run(parts[0], test=parts[1], limits=allowed) if parts else _NOT_APART
    if exact is None and split.verdict == "unfit":
        exact = box.run(program, limits=allowed)
    return _both(exact, split, program)


_NOT_APART = Verdict("unfit", "it uses a class of the program", 0.0, 0.0, 0)


def _both(exact: Verdict | None, split: Verdict | None, program: str) -> Judged:
    """The verdicts of one or two runs; a strict pass needs both, unless the test cannot run apart."""
    runs = [run for run in (exact, split) if run is not None]
    first = runs[0]
    judged = Judged(
        first.verdict,
        first.verdict,
        first.detail,
        flagged=False,
        program=program,
        cpu_seconds=sum(run.cpu_seconds for run in runs),
        wall_seconds=sum(run.wall_seconds for run in runs),
        memory_bytes=max(run.memory_bytes for run in runs),
    )
    if exact is None or split is None:
        return judged
    if split.verdict == "unfit":
        if exact.verdict != "passed":
            return judged
        return replace(judged, detail=f"not confirmed apart from its test: {split.detail}")
    if (exact.verdict == "passed") == (split.verdict == "passed"):
        return judged
    if split.verdict == "passed":
        return replace(judged, detail=f"passed only apart from its test: {exact.detail}", flagged=True)
    detail = f"passed with its test beside it, but apart from it: {split.detail or split.verdict}"
    return replace(judged, strict=split.verdict, detail=detail, flagged=True)
