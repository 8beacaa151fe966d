"""Every sample becomes a program, every program runs in a sandbox, every run becomes two verdicts.

Before any score the harness judges itself: reference solutions must pass and spoiled ones must fail, in
the same sandbox under the same limits; otherwise it refuses.
"""

from __future__ import annotations

import functools
import logging
import platform
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from multiprocessing import util
from pathlib import Path
from typing import Any

import polars as pl

import corpus
import passes
from corpus import Refusal
from evals import rules, sandbox, scores
from evals.backends import MARKED
from evals.config import Judge, check
from evals.extract import answer
from evals.problems import read_problems
from evals.runtimes import RUNTIMES, Missing, toolchain
from evals.sandbox import Sandbox
from evals.suites import SUITES
from evals.suites.problem import Problem
from evals.view import versions

log = logging.getLogger(__name__)

SELF_TEST = 3
"""Problems of each suite that the harness judges before it is believed."""

KS = (1, 10, 100)
"""pass@k that is estimated unasked, where there are as many samples."""

RULES = ("as_published", "strict")
"""The columns of verdicts."""

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
        _refuse_too_few(given, settings.k)
        tier = sandbox.require(settings.tier, unsafe=settings.unsafe_no_sandbox)
        settings = replace(settings, tier=tier)  # so that all workers have the same
        asked = {(problem.suite, problem.problem): problem for problem in read_problems(problems)}
        self_test(list(asked.values()), settings)
        units = [Path(shard.name).stem for shard in given.shards()]
        work = functools.partial(_judge_unit, out=out, src=src, samples=samples, settings=settings)
        passes.each(work, out.left(units), label="evals judge", workers=workers)
        _sandbox(settings).close()
        verdicts = _written(out.path)
        found = tally(verdicts, settings.k)
        _log_scores(found, verdicts)
        made = given.manifest.get("generation", {})
        conditions = _conditions(asked.values(), settings)
        return out.seal(scores=found, sandbox=conditions, generation=made)


def _refuse_too_few(given: corpus.Table, ks: tuple[int, ...]) -> None:
    """There is no unbiased pass@k from fewer than k samples, so nobody who asks for it is left to guess."""
    most = max(ks, default=0)
    counts = given.scan().select(list(_KEY)).unique().group_by("suite", "problem").len()
    fewest = counts.filter(pl.col("len") < most).sort("len", "problem").head(1)
    for _, problem, there in fewest.collect().rows():
        raise Refusal(
            f"pass@{most} needs {most} samples of every problem, and {problem} has {there}: "
            f"draw more (evals sample --samples {most}) or ask for a smaller --k."
        )


def self_test(problems: list[Problem], settings: Judge) -> None:
    """Refuse to go on unless solutions pass and wrong ones fail, for a few problems of each suite."""
    with new_sandbox(settings) as box:
        for name in dict.fromkeys(problem.suite for problem in problems):
            known = [problem for problem in problems if problem.suite == name and problem.reference]
            if not known:
                raise Refusal(f"self-test: no solution of {name} is known, so no score could be believed.")
            for problem in known[:SELF_TEST]:
                _tested(box, problem, settings)


def _tested(box: Sandbox, problem: Problem, settings: Judge) -> None:
    """Refuse unless both rules let the solution pass and neither the wrong one."""
    assert problem.reference is not None
    wrong = SUITES[problem.suite].spoiled(problem)
    for completion, expected in ((problem.reference, True), (wrong, False)):
        judged = rules.judge_one(box, problem, completion, settings)
        for rule in RULES:
            verdict = getattr(judged, rule)
            if verdict != "not_run" and (verdict == "passed") != expected:
                kind = "reference solution" if expected else "wrong solution"
                raise Refusal(
                    f"self-test: a {kind} of {problem.problem} got {verdict} ({judged.detail}), "
                    "so no score can be believed: see `evals doctor`, and --seconds and --memory-mb."
                )


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
        judged = _judged(problem, row, settings)
        detail = judged.detail and _settled(judged.detail)
        told = judged.as_published, judged.strict, judged.flagged, detail, judged.similarity, judged.program
        verdicts.append((*key, *told))
        measured.append((*key, judged.cpu_seconds, judged.wall_seconds, judged.memory_bytes))
    contents = {
        "": pl.DataFrame(verdicts, schema=_VERDICTS, orient="row"),
        "measured": pl.DataFrame(measured, schema=_MEASURED, orient="row"),
        "rejects": corpus.rejects(rejected, "evals judge"),
    }
    out.write(unit, contents, came_in=len(frame))


def _judged(problem: Problem, row: Mapping[str, Any], settings: Judge) -> rules.Judged:
    """Both verdicts on a sample; one that is none (the model broke, say) cannot pass."""
    if row["finish"] in MARKED:
        return rules.Judged("failed", "failed", f"{row['finish']}: {row['detail']}", flagged=False)
    found = answer(problem, row["completion"], row["finish"])
    return rules.judge_one(_sandbox(settings), problem, found, settings)


def _settled(detail: str) -> str:
    """A detail without addresses, which differ from run to run."""
    return re.sub(r"0x[0-9a-f]+", "0x...", detail)


_KEY = {"suite": pl.String, "problem": pl.String, "sample": pl.Int32}
_VERDICTS = _KEY | {
    "as_published": pl.String,
    "strict": pl.String,
    "flagged": pl.Boolean,
    "detail": pl.String,
    "similarity": pl.Float32,
    "program": pl.String,
}
_MEASURED = _KEY | {"cpu_seconds": pl.Float32, "wall_seconds": pl.Float32, "memory_bytes": pl.Int64}


@functools.cache
def _problems(src: Path) -> dict[Key, Problem]:
    """The problems by key, once for each worker process."""
    return {(p.suite, p.problem): p for p in read_problems(corpus.read(src, "problems"))}


@functools.cache
def _sandbox(settings: Judge) -> Sandbox:
    """The worker process's own sandbox; it ends with the process, which in a pool runs no ``atexit``."""
    box = new_sandbox(settings)
    util.Finalize(None, box.close, exitpriority=1)
    return box


def new_sandbox(settings: Judge) -> Sandbox:
    tier = "none" if settings.unsafe_no_sandbox else settings.tier
    return Sandbox(tier=tier, packages=settings.packages)


def _written(path: Path) -> pl.DataFrame:
    files = sorted(path.glob("*.parquet"))
    return pl.concat([pl.read_parquet(file) for file in files]) if files else pl.DataFrame(schema=_VERDICTS)


def tally(verdicts: pl.DataFrame, ks: tuple[int, ...]) -> list[dict[str, Any]]:
    """pass@k of each suite by each rule, with its 95 % interval; ``KS`` where no k is named.

    The interval is Wilson's where there is one sample a problem, else by bootstrap over problems.  A suite
    whose programs were not run, for want of a toolchain, has no score.

    Args:
        verdicts: Columns suite, problem, as_published, strict.
    """
    found = []
    for (suite,), rows in verdicts.group_by("suite", maintain_order=True):
        if (rows["strict"] == "not_run").any():
            continue
        for rule in RULES:
            counts = rows.group_by("problem").agg(n=pl.len(), c=(pl.col(rule) == "passed").sum())
            pairs = sorted(counts.select("n", "c").iter_rows())
            found += [{"suite": str(suite), "rule": rule} | score for score in _scores(pairs, ks)]
    return found


def _scores(pairs: list[tuple[int, int]], ks: tuple[int, ...]) -> Iterator[dict[str, Any]]:
    """pass@k from (samples, passed) of each problem."""
    samples, passed = (sum(column) for column in zip(*pairs, strict=True))
    single = samples == len(pairs)
    least = min(n for n, _ in pairs)
    for k in ks or [k for k in KS if k <= least]:
        values = [scores.pass_at_k(n, c, k) for n, c in pairs]
        low, high = scores.wilson(passed, len(pairs)) if single else scores.bootstrap(values)
        yield {
            "k": k,
            "value": sum(values) / len(values),
            "low": low,
            "high": high,
            "interval": "wilson" if single else "bootstrap",
            "problems": len(pairs),
            "samples": samples,
            "passed": passed,
        }


def _log_scores(found: list[dict[str, Any]], verdicts: pl.DataFrame) -> None:
    for score in found:
        log.info(
            "%-16s pass@%-3d %5.1f %% %-12s (95 %%: %.1f to %.1f)  %d problems, %d of %d samples passed",
            *(score["suite"], score["k"], 100 * score["value"], score["rule"]),
            *(100 * score["low"], 100 * score["high"]),
            *(score["problems"], score["passed"], score["samples"]),
        )
    for (suite,), rows in verdicts.group_by("suite", maintain_order=True):
        counts = Counter(rows["strict"]).most_common()
        log.info("%-16s %s", suite, ", ".join(f"{count} {verdict}" for verdict, count in counts))
        unrun = rows.filter(pl.col("strict") == "not_run")
        if len(unrun):
            log.warning("%s has no score: %s.", suite, unrun["detail"][0])
        if flagged := rows["flagged"].sum():
            log.warning("%s: %d samples are judged otherwise by another rule or oracle.", suite, flagged)


def _conditions(problems: Iterable[Problem], settings: Judge) -> dict[str, Any]:
    """What another machine would need to know to expect the same verdicts."""
    languages = sorted({problem.language for problem in problems} & set(RUNTIMES))
    return {
        "tier": settings.tier,
        "unsafe": settings.unsafe_no_sandbox,
        "python": platform.python_version(),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "packages": versions(settings.packages),
        "toolchains": {language: _fingerprint(language) for language in languages},
    }


def _fingerprint(language: str) -> dict[str, str] | None:
    """The version of a language's tools and the hash of each; None if they are not here."""
    try:
        found = toolchain(language)
    except Missing:
        return None
    hashes = {name: corpus.sha256_of(Path(path)) for name, path in found.paths.items()}
    return {"version": found.version} | hashes
