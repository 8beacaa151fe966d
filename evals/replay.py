"""Samples that another harness wrote, matched to the problems that are asked here.

Texts are taken as they are, except that a program which ran with its test loses what the problem's own
program has before and after the answer.  What cannot be used becomes a reject with its reason; of a
problem that has fewer samples than the others, what is missing becomes a sample that cannot pass.
"""

from __future__ import annotations

import logging
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from corpus import Refusal
from evals.backends import LARGEST_TEXT, Completion
from evals.forms import Given, Place, Unreadable, samples
from evals.suites.problem import Problem

log = logging.getLogger(__name__)

Rejected = tuple[str, str, str | None, int, int]
Key = tuple[str, str]


def read(path: Path, problems: Sequence[Problem]) -> tuple[dict[Key, list[Completion]], list[Rejected]]:
    """The samples of each problem that has any, in the file's order; and what was left out.

    Raises:
        Refusal: the file or folder is none of the forms above, or is damaged as a whole.
    """
    names = _names(problems)
    found: dict[Key, list[Completion]] = defaultdict(list)
    rejected: list[Rejected] = []
    numbers: set[tuple[Key, str]] = set()
    for one in samples(path):
        if isinstance(one, Unreadable):
            rejected.append((one.where, one.reason, None, 1, one.bytes))
            continue
        problem = _problem(one, names, problems)
        reason = _unusable(one, problem)
        if problem is not None and reason is None:
            key = problem.suite, problem.problem
            if one.number is not None and (key, str(one.number)) in numbers:
                reason = "duplicate_sample"
            else:
                numbers.add((key, str(one.number)))
                found[key].append(_completion(problem, one))
        if reason is not None:
            size = len(one.text) if isinstance(one.text, str) else 0
            task = str(one.task)[:200].encode("utf-8", "replace").decode()
            rejected.append((one.where, reason, task, 1, size))
    return _evened(found, problems, path, rejected), rejected


def _names(problems: Sequence[Problem]) -> dict[str, list[Problem]]:
    names: dict[str, list[Problem]] = defaultdict(list)
    for problem in problems:
        names[_plain(problem.problem)].append(problem)
    return names


def _plain(name: str) -> str:
    """HumanEval/0, HumanEval_0 and humaneval/0 are one problem; Mbpp/2 and MBPP/2 are."""
    return re.sub(r"[^a-z0-9]+", "_", name[:500].lower())


def _problem(one: Given, names: dict[str, list[Problem]], problems: Sequence[Problem]) -> Problem | None:
    if isinstance(one.task, Place):
        return _at(one.task, problems)
    found = names.get(_plain(one.task), [])
    if len(found) > 1:  # MultiPL-E's languages share their names; a file says which it is
        words = set(re.split(r"[^a-z0-9]+", one.where.lower()))
        found = [problem for problem in found if set(problem.suite.split("-")[1:]) & words]
    return found[0] if len(found) == 1 else None


def _at(place: Place, problems: Sequence[Problem]) -> Problem:
    """The problem at a place in a list that names none: of the one suite that has as many."""
    suites = Counter(problem.suite for problem in problems)
    fitting = [suite for suite, count in suites.items() if count == place.of]
    if len(fitting) != 1:
        sizes = ", ".join(f"{suite} {count}" for suite, count in suites.items())
        raise Refusal(
            f"a list of {place.of} problems without names fits {len(fitting)} of the suites asked ({sizes}): "
            "make the table of problems with the one suite that it is for."
        )
    return [problem for problem in problems if problem.suite == fitting[0]][place.at]


def _unusable(one: Given, problem: Problem | None) -> str | None:
    if problem is None:
        return "unknown_problem"
    if not isinstance(one.text, str):
        return "no_completion"
    if not one.text.isascii() and any("\ud800" <= character <= "\udfff" for character in one.text):
        return "not_unicode"
    if one.program and _inner(problem, one.text) is None:
        return "other_program"
    return None


def _completion(problem: Problem, one: Given) -> Completion:
    assert isinstance(one.text, str)
    said = {None: None, True: "published: passed", False: "published: failed"}[one.published]
    text = _inner(problem, one.text) if one.program else one.text
    assert text is not None
    if one.prompt and text.startswith(one.prompt):
        text = text[len(one.prompt) :].removeprefix("\n")
    if len(text) > LARGEST_TEXT:
        return Completion("", "too_large", detail=f"{len(text):,} characters")
    return Completion(text, "given", detail=said)


def _inner(problem: Problem, program: str) -> str | None:
    """The answer in a program that ran with its test: what stands between the prompt and the test."""
    begin = program.find(problem.prompt)
    end = program.rfind(problem.test.strip())
    if begin < 0 or end < begin + len(problem.prompt):
        return None
    return program[begin + len(problem.prompt) : end].removeprefix("\n")


def _evened(
    found: dict[Key, list[Completion]], problems: Sequence[Problem], path: Path, rejected: list[Rejected]
) -> dict[Key, list[Completion]]:
    """As many samples for each problem of a suite as most have: repeats of one text go, gaps are marked."""
    for suite in dict.fromkeys(suite for suite, _ in list(found)):
        keys = [(suite, problem.problem) for problem in problems if problem.suite == suite]
        counts = Counter(len(found[key]) for key in keys if key in found)
        usual = max(counts, key=lambda count: (counts[count], count))
        for key in keys:
            repeats = _drop_repeats(found[key], usual)
            rejected += [(f"{path.name}:{key[1]}", "duplicate_sample", None, 1, size) for size in repeats]
        short = [key for key in keys if len(found[key]) < usual]
        if short:
            log.warning(
                "%s: %d of %d problems of %s have fewer than %d samples (%s), which count as failed.",
                *(path, len(short), len(keys), suite, usual, ", ".join(name for _, name in short[:5])),
            )
        for key in short:
            missing = usual - len(found[key])
            found[key] += [Completion("", "missing", detail=f"not in {path.name}")] * missing
    return dict(found)


def _drop_repeats(some: list[Completion], usual: int) -> list[int]:
    """Take texts out that stand there before, the last first, until ``usual`` are left; their sizes."""
    first: dict[str, int] = {}
    repeats = [at for at, one in enumerate(some) if first.setdefault(one.text, at) != at]
    last_ones = repeats[::-1][: max(len(some) - usual, 0)]
    return [len(some.pop(at).text) for at in last_ones]
