"""Why two harnesses score the same completions differently: each moved verdict, and the rule that moved it.

The completions stay as they are; stop strings, extraction, what stands around the answer and the time
limit change from one preset to the other.  A rule has moved a verdict if it alone, put into the first
preset, gives the second's; where no single rule does, the fewest of them in order that together do.
What a model would have written to the other's prompt cannot be seen from here.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import corpus
from corpus import Refusal
from evals import judge, presets, rules, sandbox
from evals.backends import MARKED
from evals.config import Explain, Judge, Problems, check
from evals.extract import cut, extracted
from evals.problems import PARTS, files_of, problems_of
from evals.sandbox import Sandbox
from evals.suites.problem import Problem
from printable import visible

RULES: Mapping[str, tuple[str, ...]] = {
    "stop": ("stop",),
    "extract": ("extract", "prompt"),
    "program": ("header", "test"),
    "limit": ("seconds",),
}
"""What can move a verdict, and the columns of a problem that it is made of.  A clean-up may read the prompt,
so the two go together."""

Key = tuple[str, str]


class Moved(NamedTuple):
    """A sample that passes under one preset only."""

    problem: str
    sample: int
    a: str
    b: str
    by: str
    """The rules that moved it; several if each of them does, joined by + if only together."""
    detail: str


class Scored(NamedTuple):
    """The samples of one suite under two presets."""

    suite: str
    samples: int
    passed: tuple[int, int]
    open_ended: tuple[int, int]
    """Completions that ended at a stop string of neither's: what would have followed is not known."""
    moved: list[Moved]


def explain(a: str, b: str, samples: Path, settings: Explain, cache: Path | None) -> list[str]:
    """Lines about every suite of the samples that both presets have rules for."""
    check(settings)
    made = corpus.read(samples, "samples")
    tier = sandbox.require(unsafe=settings.unsafe_no_sandbox)
    suites = [suite for suite in _suites(made) if presets.protocol(a, suite) and presets.protocol(b, suite)]
    if not suites:
        raise Refusal(
            f"{a} and {b} have rules for none of the suites in {samples} ({', '.join(_suites(made))})."
        )
    asked = Problems(suites=tuple(suites), data=settings.data, mirror=settings.mirror)
    files, _ = files_of(asked, cache)
    if not files:
        raise Refusal("the suites' files cannot be had: give their folder with --data.")
    lines: list[str] = []
    limits = Judge(
        oracle="exact",
        memory_mb=settings.memory_mb,
        tier=tier,
        unsafe_no_sandbox=settings.unsafe_no_sandbox,
    )
    with judge.new_sandbox(limits) as box:
        for suite, found in files.items():
            both = [problems_of(suite, found, replace(asked, preset=name)) for name in (a, b)]
            for problems in both:
                judge.self_test(problems, limits)
            pair = [_by_key(problems) for problems in both]
            lines += _told(a, b, _scored(box, suite, made, pair, settings, limits), pair)
    return list(map(visible, lines))


def _suites(made: corpus.Table) -> list[str]:
    found: list[str] = made.scan().select("suite").unique().sort("suite").collect()["suite"].to_list()
    return [suite for suite in found if suite in PARTS]


def _by_key(problems: Sequence[Problem]) -> dict[str, Problem]:
    return {problem.problem: problem for problem in problems}


def _scored(
    box: Sandbox,
    suite: str,
    made: corpus.Table,
    pair: Sequence[Mapping[str, Problem]],
    settings: Explain,
    limits: Judge,
) -> Scored:
    passed, open_ended, count, moved = [0, 0], [0, 0], 0, []
    for row in _rows(made, suite):
        problems = [asked[row["problem"]] for asked in pair if row["problem"] in asked]
        if len(problems) < 2:
            raise Refusal(
                f"{row['problem']} of {made.path} is not in the files of {suite}: give theirs with --data."
            )
        judged = _Judged(box, row, settings, limits)
        verdicts = [judged(problem) for problem in problems]
        count += 1
        for side in (0, 1):
            passed[side] += verdicts[side].as_published == "passed"
            open_ended[side] += (
                row["finish"] == "stop" and cut(row["completion"], problems[side].stop) == row["completion"]
            )
        if (verdicts[0].as_published == "passed") != (verdicts[1].as_published == "passed"):
            by = _moved_by(judged, *problems)
            detail = next((one.detail for one in verdicts if one.as_published != "passed"), "") or ""
            a, b = (verdict.as_published for verdict in verdicts)
            moved.append(Moved(row["problem"], row["sample"], a, b, by, detail))
    return Scored(suite, count, (passed[0], passed[1]), (open_ended[0], open_ended[1]), moved)


def _rows(made: corpus.Table, suite: str) -> Iterator[dict[str, Any]]:
    for shard in made.shards():
        for row in made.frame(shard).iter_rows(named=True):
            if row["suite"] == suite and row["finish"] not in MARKED:
                yield row


class _Judged:
    """The verdict on one sample under any rules; a program that ran already is not run again."""

    def __init__(self, box: Sandbox, row: Mapping[str, Any], settings: Explain, limits: Judge) -> None:
        self.box, self.limits, self.text = box, limits, str(row["completion"])
        self.whole = row["finish"] == "given" and not settings.raw
        self.known: dict[tuple[str, float], rules.Judged] = {}

    def __call__(self, problem: Problem) -> rules.Judged:
        answer = self.text if self.whole else extracted(problem, self.text)
        key = problem.header + answer + problem.test, problem.seconds
        if key not in self.known:
            self.known[key] = rules.judge_one(self.box, problem, answer, self.limits)
        return self.known[key]


def _moved_by(judged: _Judged, a: Problem, b: Problem) -> str:
    """The rules of ``b`` that turn the verdict under ``a`` into the one under ``b``."""
    wanted = judged(b).as_published == "passed"
    differing = [rule for rule in RULES if _differs(a, b, rule)]

    def turns(*some: str) -> bool:
        changed = {name: getattr(b, name) for rule in some for name in RULES[rule]}
        return (judged(replace(a, **changed)).as_published == "passed") == wanted

    alone = [rule for rule in differing if turns(rule)]
    if alone:
        return ", ".join(alone)
    some = next(differing[:count] for count in range(2, len(differing) + 1) if turns(*differing[:count]))
    return " + ".join(some)


def _differs(a: Problem, b: Problem, rule: str) -> bool:
    if rule == "stop":
        return set(a.stop) != set(b.stop)  # the first in the text counts, not the first in the list
    if rule == "extract":
        return a.extract != b.extract
    return any(getattr(a, name) != getattr(b, name) for name in RULES[rule])


def _told(a: str, b: str, scored: Scored, pair: Sequence[Mapping[str, Problem]]) -> Iterator[str]:
    first = [next(iter(asked.values())) for asked in pair]
    yield (
        f"{scored.suite}: {scored.samples} samples, {a} passes {scored.passed[0]}, {b} {scored.passed[1]}; "
        f"{len(scored.moved)} verdicts moved"
    )
    for rule in RULES:
        if _differs(first[0], first[1], rule):
            yield f"  {rule}: {_shown(first[0], rule)} | {_shown(first[1], rule)}"
    by: dict[str, list[Moved]] = defaultdict(list)
    for one in scored.moved:
        by[one.by].append(one)
    for rule, some in sorted(by.items(), key=lambda item: -len(item[1])):
        ways = Counter(f"{one.a} -> {one.b}" for one in some)
        yield f"  moved by {rule}: {len(some)} ({', '.join(f'{count} {way}' for way, count in ways.items())})"
        for one in some:
            detail = " ".join(one.detail.split())[:80]
            yield f"    {one.problem} #{one.sample} {one.a} -> {one.b} {detail}".rstrip()
    for name, count in zip((a, b), scored.open_ended, strict=True):
        if count:
            yield f"  {count} completions end before any stop of {name}: sample with --stops=false"


def _shown(problem: Problem, rule: str) -> str:
    if rule == "stop":
        return " ".join(map(repr, problem.stop))
    if rule == "extract":
        return problem.extract
    if rule == "limit":
        return f"{problem.seconds:g} s"
    before = problem.header.replace("\n", "\\n")
    return f"{len(problem.header.splitlines())} lines before the answer, {before[:30]!r}"
