"""The rules by which files are dropped: a versioned table over signals, evaluated lazily.

``rules.toml`` is the table.  A profile is a list of rules with their sources: ``deepseek`` (section 2.1 of
the paper, thresholds as printed), ``bigcode`` (the table by extension that it says it follows),
``opencoder``, and the flags ``generated`` and ``vendored``.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl

from refusal import Refusal

_OPERATORS: dict[str, Callable[[pl.Expr, float], pl.Expr]] = {
    "<": pl.Expr.lt,
    "<=": pl.Expr.le,
    ">": pl.Expr.gt,
    ">=": pl.Expr.ge,
}


@dataclass(frozen=True)
class Rule:
    """A row of the table; a file fails if ``signal operator threshold`` holds of it."""

    profile: str
    id: str
    signal: str
    operator: str
    threshold: float
    source: str
    languages: tuple[str, ...] = ()
    besides: tuple[str, ...] = ()
    extensions: tuple[str, ...] = ()
    but: tuple[str, ...] = ()

    @property
    def measure(self) -> pl.Expr:
        """The signal as a number."""
        return pl.col(self.signal).cast(pl.Float64)

    @property
    def fails(self) -> pl.Expr:
        """Whether a row of the table ``signals`` fails; never null."""
        judged = _OPERATORS[self.operator](self.measure, self.threshold)
        for column, only, never in (
            ("language", self.languages, self.besides),
            ("extension", self.extensions, self.but),
        ):
            if only:
                judged &= pl.col(column).is_in(only)
            if never:
                judged &= ~pl.col(column).is_in(never)
        return judged.fill_null(False)


@cache
def _table() -> tuple[int, dict[str, tuple[Rule, ...]]]:
    table: dict[str, Any] = tomllib.loads(Path(__file__).with_name("rules.toml").read_text())
    version = int(table.pop("version"))
    return version, {profile: tuple(_rule(profile, row) for row in rows) for profile, rows in table.items()}


def _rule(profile: str, row: dict[str, Any]) -> Rule:
    row["besides"] = row.pop("except", ())
    facts: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in row.items()}
    return Rule(profile=profile, **facts)


def version() -> int:
    """The version of the table."""
    return _table()[0]


def of(profiles: Sequence[str]) -> tuple[Rule, ...]:
    """The rules of profiles, in order.

    Raises:
        Refusal: a profile has no rules.
    """
    known = _table()[1]
    if stray := [profile for profile in profiles if profile not in known]:
        raise Refusal(f"there is no profile {stray[0]!r} of rules: choose among {', '.join(known)}.")
    return tuple(rule for profile in profiles for rule in known[profile])


def judge(signals: pl.LazyFrame, rules: Sequence[Rule]) -> pl.LazyFrame:
    """``signals`` with two more columns: ``reason``, the first rule that a file fails, and its ``measure``.

    Both are null where a file passes.
    """
    reasons: list[pl.Expr] = [pl.when(rule.fails).then(pl.lit(rule.id)) for rule in rules]
    measures: list[pl.Expr] = [pl.when(rule.fails).then(rule.measure) for rule in rules]
    return signals.with_columns(
        pl.coalesce([*reasons, pl.lit(None, pl.String)]).alias("reason"),
        pl.coalesce([*measures, pl.lit(None, pl.Float64)]).alias("measure"),
    )


def effects(signals: pl.LazyFrame, rules: Sequence[Rule]) -> pl.DataFrame:
    """What every rule would do to a table: one row a rule.

    Columns: profile, id, ``fail`` (files that fail it), ``first`` (those that no earlier rule of its profile
    drops), ``only`` (those that no other rule of it drops), ``bytes`` of those that fail, ``share`` of all.
    """
    rows = []
    for rule in rules:
        mine = [other for other in rules if other.profile == rule.profile]
        earlier = [other.fails for other in mine[: mine.index(rule)]]
        others = pl.any_horizontal([pl.lit(False), *(other.fails for other in mine if other != rule)])
        size = pl.col("bytes").filter(rule.fails).sum()
        columns = {
            "profile": pl.lit(rule.profile),
            "id": pl.lit(rule.id),
            "fail": rule.fails.sum(),
            "first": (rule.fails & ~pl.any_horizontal([pl.lit(False), *earlier])).sum(),
            "only": (rule.fails & ~others).sum(),
            "bytes": size,
            "share": size / pl.col("bytes").sum(),
        }
        rows.append(signals.select(**columns))
    return pl.concat(pl.collect_all(rows))


def printed(effects: pl.DataFrame) -> str:
    """What ``effects`` found, as lines to read."""
    lines = [f"{'profile':<10} {'rule':<24}{'fail':>10}{'first':>10}{'only':>10}{'share':>9}"]
    for row in effects.iter_rows(named=True):
        counts = "".join(f"{row[name]:>10,}" for name in ("fail", "first", "only"))
        lines.append(f"{row['profile']:<10} {row['id']:<24}{counts}{row['share'] or 0:>9.2%}")
    return "\n".join(lines)
