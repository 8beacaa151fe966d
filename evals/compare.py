"""Two runs on the same problems: which is better, how sure one may be, and what the set can show at all.

Runs are compared problem by problem: that a problem is hard for both says nothing about either, so only
problems on which they differ count.  Two intervals that overlap may still be a clear difference.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import polars as pl

import corpus
from corpus import Refusal, Table
from evals import scores
from evals.judge import RULES
from printable import visible


class Comparison(NamedTuple):
    """One suite under one rule; shares are means over the problems that both runs have."""

    suite: str
    rule: str
    problems: int
    a: float
    b: float
    low: float
    high: float
    """95 % interval of b - a, by bootstrap over problems."""
    better: int
    """Problems that b solves more often than a."""
    worse: int
    mcnemar: float | None
    """Exact two-sided p of so uneven a split, where each problem has one sample; else None."""
    permutation: float
    """p of so large a difference if it were chance which run is called a on each problem."""
    shown: int
    """Problems by which two runs that differ as often must differ at least to be told apart at 95 %."""


class Moved(NamedTuple):
    """A problem that the runs solve differently often."""

    suite: str
    problem: str
    a: str
    b: str
    detail: str


def compare(a: Path, b: Path) -> list[str]:
    """Lines about every suite that both runs have verdicts on, for a person to read."""
    tables = corpus.read(a, "verdicts"), corpus.read(b, "verdicts")
    lines = [told(one) for one in comparisons(*tables)]
    changed = [*moved(*tables)]
    lines += [f"{len(changed)} problems are solved differently often (strict):"] if changed else []
    lines += [f"  {one.suite}  {one.problem}  {one.a} -> {one.b}  {one.detail}".rstrip() for one in changed]
    return list(map(visible, lines))


def comparisons(a: Table, b: Table) -> list[Comparison]:
    """Every suite that both have, by each rule; refuses tables that have none in common."""
    found = [
        _compared(str(suite), rule, rows)
        for rule in RULES
        for (suite,), rows in _paired(a, b, rule).group_by("suite", maintain_order=True)
    ]
    if not found:
        raise Refusal(f"{a.path} and {b.path} judged no problem both: give verdicts on the same suites.")
    return sorted(found)


def moved(a: Table, b: Table) -> Iterator[Moved]:
    """The problems that are solved differently often by the strict rule, with the reason where one failed."""
    reasons = [
        table.scan().filter(pl.col("strict") != "passed").group_by("suite", "problem").agg(pl.first("detail"))
        for table in (a, b)
    ]
    rows = _paired(a, b, "strict").filter(pl.col("a") != pl.col("b")).lazy()
    for side, reason in zip("ab", reasons, strict=True):
        named = reason.rename({"detail": f"detail_{side}"})
        rows = rows.join(named, on=["suite", "problem"], how="left")
    for row in rows.sort("suite", "problem").collect().iter_rows(named=True):
        detail = row["detail_a"] if row["a"] < row["b"] else row["detail_b"]
        first, second = (f"{row[side] * row[f'n_{side}']:.0f}/{row[f'n_{side}']}" for side in "ab")
        yield Moved(row["suite"], row["problem"], first, second, " ".join((detail or "").split())[:100])


def told(one: Comparison) -> str:
    """One comparison in a line."""
    sure = f"permutation p {one.permutation:.3g}"
    if one.mcnemar is not None:
        sure = f"McNemar p {one.mcnemar:.3g}, {sure}"
    return (
        f"{one.suite} ({one.rule}): {100 * one.a:.1f} % -> {100 * one.b:.1f} %, "
        f"{100 * (one.b - one.a):+.1f} points (95 %: {100 * one.low:+.1f} to {100 * one.high:+.1f}) "
        f"on {one.problems} problems; {one.better} better, {one.worse} worse; {sure}; "
        f"a difference shows from {one.shown} problems ({100 * one.shown / one.problems:.1f} points) on"
    )


def _paired(a: Table, b: Table, rule: str) -> pl.DataFrame:
    """One row a problem that both ran: suite, problem, shares that passed (a, b), samples (n_a, n_b)."""
    sides = []
    for name, table in (("a", a), ("b", b)):
        ran = table.scan().filter(pl.col(rule) != "not_run").group_by("suite", "problem")
        sides.append(ran.agg((pl.col(rule) == "passed").mean().alias(name), pl.len().alias(f"n_{name}")))
    return sides[0].join(sides[1], on=["suite", "problem"]).sort("suite", "problem").collect()


def _compared(suite: str, rule: str, rows: pl.DataFrame) -> Comparison:
    differences = (rows["b"] - rows["a"]).to_list()
    better, worse = sum(x > 0 for x in differences), sum(x < 0 for x in differences)
    single = rows.select(pl.max_horizontal(pl.max("n_a"), pl.max("n_b"))).item() == 1
    low, high = scores.bootstrap(differences)
    return Comparison(
        suite,
        rule,
        len(rows),
        rows["a"].mean(),  # type: ignore[arg-type]
        rows["b"].mean(),  # type: ignore[arg-type]
        low,
        high,
        better,
        worse,
        scores.mcnemar(better, worse) if single else None,
        scores.permutation(differences),
        scores.smallest_difference(better + worse),
    )
