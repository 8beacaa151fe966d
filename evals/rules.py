"""Two verdicts on every answer: by the benchmark's own rule, and by a strict one.

Published numbers depend on rules that nobody would choose (a C# program that crashes passes), so both are
always kept: ``as_published`` to compare with what was published, ``strict`` to trust.

For Python, ``as_published`` is the program in one process with its test, as its authors ran it;
``strict`` asks in addition that it passes with its test in a process of its own, where that can be done.
Where the authors keep expected values or comparisons to themselves too, one run apart gives both.
For other languages, ``as_published`` is the program byte for byte under the rule of the language in
``PUBLISHED``; ``strict`` runs it again with an end mark, a fresh word that the last statement of its test
reports on a descriptor of its own, and asks for the mark, status 0 and no sign of a failed assertion.
That is proof against leaving early, not against a program that reads its own test.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypedDict

from evals import runtimes
from evals.config import Judge
from evals.sandbox import Execution, Limits, Sandbox, Verdict
from evals.suites import APART, LANGUAGES, NEEDS, PROGRAMS, TEXTS
from evals.suites.problem import Problem
from evals.view import packages


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
    if problem.suite in LANGUAGES:
        return _language(box, problem, answer, settings)
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
    absent = [name for name in NEEDS.get(problem.suite, ()) if name not in packages(settings.packages)]
    if absent:
        return Judged("not_run", "not_run", f"not installed: {', '.join(absent)}", flagged=False)
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
        **_cost(runs),
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


# ---------------------------------------------------------------------------------- other languages


def status(seen: Execution) -> bool:
    """It compiled, and ended with status 0."""
    return seen.verdict == "passed"


def silent(seen: Execution) -> bool:
    """It ended, whatever its status, and printed nothing: a right answer that logs a line fails."""
    return seen.stage == "run" and seen.stopped is None and not seen.stdout and not seen.stderr


def no_failure(seen: Execution) -> bool:
    """It ended, whatever its status, and nothing says Fail on stderr: a crash passes."""
    return seen.stage == "run" and seen.stopped is None and "Fail" not in seen.stderr


def quiet(seen: Execution) -> bool:
    """Status 0 and nothing on stderr: where a failed check says so and goes on."""
    return seen.verdict == "passed" and not seen.stderr


PUBLISHED: dict[str, Callable[[Execution], bool]] = {
    "javascript": silent,
    "csharp": no_failure,
    "racket": quiet,
    "scala": quiet,
}
"""How the languages' owners tell a pass, if not by the status: DeepSeek's harness (human_eval/execution.py
of its repository) for JavaScript and C#, MultiPL-E's evaluators for Racket and Scala."""

_STRICT = {"csharp": no_failure, "racket": quiet}
"""What a strict pass needs beside status 0 and the end mark."""


def _language(box: Sandbox, problem: Problem, answer: str, settings: Judge) -> Judged:
    suite, language = LANGUAGES[problem.suite], problem.language
    program = suite.program(problem, answer)
    try:
        beside, allowed = suite.beside(problem), limits(problem, settings)
        run = partial(box.execute, language=language, beside=beside, limits=allowed)
        seen, options = _attempted(run, program, suite.attempts(problem), language)
        marked = None
        if seen[-1].verdict == "passed":
            word = secrets.token_hex(16)
            report = runtimes.runtime(language).report.format(word=word)
            marked = run(suite.marked(problem, answer, report), options=options, word=word)
    except runtimes.Missing as reason:
        return Judged("not_run", "not_run", str(reason), flagged=False, program=program)
    return _ruled(seen, marked, language, program)


def _attempted(
    run: Callable[..., Execution], program: str, attempts: list[tuple[str, ...] | None], language: str
) -> tuple[list[Execution], tuple[str, ...] | None]:
    """Runs under each of the compiler's options until one passes as published, and the last options."""
    seen: list[Execution] = []
    for options in attempts:
        seen.append(run(program, options=options))
        if PUBLISHED.get(language, status)(seen[-1]):
            break
    return seen, options


def _ruled(seen: list[Execution], marked: Execution | None, language: str, program: str) -> Judged:
    """Both verdicts from the runs as published and the one with an end mark."""
    last = seen[-1]
    strict, detail = _to_the_end(marked or last, language)
    published = "failed" if last.verdict == "passed" else last.verdict
    if PUBLISHED.get(language, status)(last):
        published = "passed"
    elif strict == "passed":
        detail = f"passed, but not as published, for it printed: {last.stderr or last.stdout}"[:500]
    return Judged(
        published,
        strict,
        detail,
        flagged=(published == "passed") != (strict == "passed"),
        program=program,
        **_cost(seen if marked is None else [*seen, marked]),
    )


def _to_the_end(seen: Execution, language: str) -> tuple[str, str | None]:
    """The strict verdict on a run with an end mark, or on one that did not get as far as to have one."""
    if seen.verdict != "passed":
        return seen.verdict, seen.detail
    if not seen.ended:
        return "failed", "it left before the end of its test"
    if not _STRICT.get(language, status)(seen):
        return "failed", seen.stderr[-500:]
    return "passed", None


class _Cost(TypedDict):
    cpu_seconds: float
    wall_seconds: float
    memory_bytes: int


def _cost(runs: Sequence[Execution | Verdict]) -> _Cost:
    """What all runs took together."""
    return {
        "cpu_seconds": sum(run.cpu_seconds for run in runs),
        "wall_seconds": sum(run.wall_seconds for run in runs),
        "memory_bytes": max(run.memory_bytes for run in runs),
    }
