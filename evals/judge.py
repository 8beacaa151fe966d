"""Every sample becomes a program, every program runs in a sandbox, every run becomes a verdict.

Before any score the harness judges itself: reference solutions must pass and spoiled ones must fail, in
the same sandbox under the same limits; otherwise it refuses.
"""

from __future__ import annotations

import functools
import logging
import platform
import re
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl

import corpus
import passes
from corpus import Refusal
from evals import sandbox, scores
from evals.config import Judge, check
from evals.problems import read_problems
from evals.sandbox import Limits, Sandbox, Verdict
from evals.suites import SUITES
from evals.suites.problem import Problem

log = logging.getLogger(__name__)

SELF_TEST = 3
"""Problems of each suite that the harness judges before it is believed."""

Key = tuple[str, str]


def judge_samples(src: Path, samples: Path, dst: Path, settings: Judge, workers: int) -> corpus.Table:
    """One verdict for every sample, and pass@k in the manifest."""
    check(settings)
    problems, given = corpus.read(src, "problems"), corpus.read(samples, "samples")
    with corpus.building(
        dst, "verdicts", made_by="evals judge", settings=settings, inputs=[problems, given]
    ) as out:
        if isinstance(out, corpus.Table):
            return out
        sandbox.require(unsafe=settings.unsafe_no_sandbox)
        asked = {(problem.suite, problem.problem): problem for problem in read_problems(problems)}
        self_test(list(asked.values()), settings)
        units = [Path(shard.name).stem for shard in given.shards()]
        work = functools.partial(_judge_unit, out=out, src=src, samples=samples, settings=settings)
        passes.each(work, out.left(units), label="evals judge", workers=workers)
        _sandbox(settings).close()
        verdicts = _written(out.path)
        found = tally(verdicts, settings.k)
        _log_scores(found, verdicts)
        return out.seal(scores=found, sandbox=_conditions(settings))


def self_test(problems: list[Problem], settings: Judge) -> None:
    """Refuse to go on unless solutions pass and wrong ones fail, for a few problems of each suite."""
    with _new_sandbox(settings) as box:
        for name, suite in SUITES.items():
            known = [problem for problem in problems if problem.suite == name and problem.reference]
            for problem in known[:SELF_TEST]:
                assert problem.reference is not None
                for completion, expected in ((problem.reference, True), (suite.spoiled(problem), False)):
                    verdict, _ = judge_one(box, problem, completion, settings)
                    if (verdict.verdict == "passed") != expected:
                        kind = "reference solution" if expected else "wrong solution"
                        raise Refusal(
                            f"self-test: a {kind} of {problem.problem} got {verdict.verdict} "
                            f"({verdict.detail}), so no score can be believed: see `evals doctor`, "
                            "and --seconds and --memory-mb."
                        )


def judge_one(box: Sandbox, problem: Problem, completion: str, settings: Judge) -> tuple[Verdict, str]:
    """The verdict on one completion, and the program that was run."""
    suite = SUITES[problem.suite]
    program = suite.program(problem, completion)
    exact = box.run(program) if settings.oracle != "split" else None
    if exact is not None and (settings.oracle == "exact" or exact.verdict != "passed"):
        return exact, program
    parts = suite.apart(problem, completion)
    split = box.run(parts[0], test=parts[1]) if parts else _NOT_APART
    if exact is None and split.verdict != "unfit":
        return split, program
    return _agreed(exact or box.run(program), split), program


_NOT_APART = Verdict("unfit", "it uses a class of the program", 0.0, 0.0, 0)


def cut(completion: str, stops: list[str]) -> str:
    """What comes before the first of the stop strings."""
    return completion[: min((at for stop in stops if (at := completion.find(stop)) >= 0), default=None)]


def _agreed(exact: Verdict, split: Verdict) -> Verdict:
    """One verdict from two: a pass needs both, unless the test cannot run apart from the program."""
    cost = {
        "cpu_seconds": exact.cpu_seconds + split.cpu_seconds,
        "wall_seconds": exact.wall_seconds + split.wall_seconds,
        "memory_bytes": max(exact.memory_bytes, split.memory_bytes),
        "output": exact.output,
    }
    if split.verdict == "passed" or exact.verdict != "passed":
        return Verdict(exact.verdict, exact.detail, **cost)  # type: ignore[arg-type]
    if split.verdict == "unfit":
        return Verdict("passed", f"not confirmed apart from its test: {split.detail}", **cost)  # type: ignore[arg-type]
    detail = f"passed with its test beside it, but apart from it: {split.detail or split.verdict}"
    return Verdict(split.verdict, detail, **cost)  # type: ignore[arg-type]


def _judge_unit(unit: str, *, out: corpus.Output, src: Path, samples: Path, settings: Judge) -> None:
    asked, given = _problems(src), corpus.read(samples, "samples")
    (shard,) = (shard for shard in given.shards() if Path(shard.name).stem == unit)
    verdicts: list[tuple[Any, ...]] = []
    measured: list[tuple[Any, ...]] = []
    rejected: list[tuple[str, str, str | None, int, int]] = []
    seen: set[tuple[str, str, int]] = set()
    frame = given.frame(shard)
    for row in frame.iter_rows(named=True):
        key = row["suite"], row["problem"], row["sample"]
        problem = asked.get(key[:2])
        if problem is None or key in seen:
            reason = "unknown_problem" if problem is None else "duplicate_sample"
            rejected.append(("/".join(map(str, key)), reason, None, 1, len(row["completion"])))
            continue
        seen.add(key)
        completion = cut(row["completion"], problem.stop) if row["finish"] == "stop" else row["completion"]
        verdict, program = judge_one(_sandbox(settings), problem, completion, settings)
        verdicts.append((*key, verdict.verdict, verdict.detail and _settled(verdict.detail), program))
        measured.append((*key, verdict.cpu_seconds, verdict.wall_seconds, verdict.memory_bytes))
    contents = {
        "": pl.DataFrame(verdicts, schema=_VERDICTS, orient="row"),
        "measured": pl.DataFrame(measured, schema=_MEASURED, orient="row"),
        "rejects": corpus.rejects(rejected, "evals judge"),
    }
    out.write(unit, contents, came_in=len(frame))


def _settled(detail: str) -> str:
    """A detail without addresses, which differ from run to run."""
    return re.sub(r"0x[0-9a-f]+", "0x...", detail)


_KEY = {"suite": pl.String, "problem": pl.String, "sample": pl.Int32}
_VERDICTS = _KEY | {"verdict": pl.String, "detail": pl.String, "program": pl.String}
_MEASURED = _KEY | {"cpu_seconds": pl.Float32, "wall_seconds": pl.Float32, "memory_bytes": pl.Int64}


@functools.cache
def _problems(src: Path) -> dict[Key, Problem]:
    """The problems by key, once for each worker process."""
    return {(p.suite, p.problem): p for p in read_problems(corpus.read(src, "problems"))}


@functools.cache
def _sandbox(settings: Judge) -> Sandbox:
    """The worker process's own sandbox; it ends with the process."""
    return _new_sandbox(settings)


def _new_sandbox(settings: Judge) -> Sandbox:
    limits = Limits(cpu_seconds=settings.seconds, memory_bytes=settings.memory_mb << 20)
    return Sandbox(limits, walls=not settings.unsafe_no_sandbox)


def _written(path: Path) -> pl.DataFrame:
    files = sorted(path.glob("*.parquet"))
    return pl.concat([pl.read_parquet(file) for file in files]) if files else pl.DataFrame(schema=_VERDICTS)


def tally(verdicts: pl.DataFrame, ks: tuple[int, ...]) -> list[dict[str, Any]]:
    """pass@k of each suite with its 95 % interval, for each k that every problem has samples for.

    The interval is Wilson's where there is one sample a problem, else by bootstrap over problems.

    Args:
        verdicts: Columns suite, problem, verdict.
    """
    found = []
    for (suite,), rows in verdicts.group_by("suite", maintain_order=True):
        counts = rows.group_by("problem").agg(n=pl.len(), c=(pl.col("verdict") == "passed").sum())
        pairs = sorted(counts.select("n", "c").iter_rows())
        least, passed = min(n for n, _ in pairs), sum(c for _, c in pairs)
        for k in (k for k in ks if k <= least):
            values = [scores.pass_at_k(n, c, k) for n, c in pairs]
            single = len(rows) == len(pairs)
            low, high = scores.wilson(passed, len(pairs)) if single else scores.bootstrap(values)
            found.append(
                {
                    "suite": str(suite),
                    "k": k,
                    "value": sum(values) / len(values),
                    "low": low,
                    "high": high,
                    "interval": "wilson" if single else "bootstrap",
                    "problems": len(pairs),
                    "samples": len(rows),
                    "passed": passed,
                }
            )
    return found


def _log_scores(found: list[dict[str, Any]], verdicts: pl.DataFrame) -> None:
    for score in found:
        log.info(
            "%-10s pass@%-3d %5.1f %%  (95 %%: %.1f to %.1f)  %d problems, %d of %d samples passed",
            *(score["suite"], score["k"], 100 * score["value"], 100 * score["low"], 100 * score["high"]),
            *(score["problems"], score["passed"], score["samples"]),
        )
    for (suite,), rows in verdicts.group_by("suite", maintain_order=True):
        counts = Counter(rows["verdict"]).most_common()
        log.info("%-10s %s", suite, ", ".join(f"{count} {verdict}" for verdict, count in counts))


def _conditions(settings: Judge) -> dict[str, Any]:
    """What another machine would need to know to expect the same verdicts."""
    return {
        "tier": "none" if settings.unsafe_no_sandbox else "namespaces",
        "unsafe": settings.unsafe_no_sandbox,
        "python": platform.python_version(),
        "kernel": platform.release(),
        "machine": platform.machine(),
    }
