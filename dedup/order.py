"""Which duplicate is worth keeping: a list of SQL terms over the columns, as after ORDER BY."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import polars as pl
import pyarrow as pa

from corpus import Refusal
from dedup.input import Source

VENDORED = r"(^|/)(vendor|vendored|_vendor|third[-_]?party|node_modules|extern|external|deps)/"
"""Paths under which projects keep copies of others."""

USUAL = (
    (("license",), "license IS NULL"),
    (("is_fork",), "is_fork"),
    (("stars",), "stars DESC"),
    (("path",), f"path ~ '{VENDORED}'"),
    ((), "text_bytes DESC"),
)
"""The default, as far as there are the columns: a known licence first, as The Stack v2 does; more stars,
as OpenCoder does; the longest copy of several, as data-prep-kit does."""

_ENDING = re.compile(r"\s+(asc|desc)\s*$", re.IGNORECASE)
_NULLS = re.compile(r"\s+nulls\s+(first|last)\s*$", re.IGNORECASE)


@dataclass(frozen=True)
class Order:
    """Terms with their directions; nulls come last unless a term says otherwise."""

    terms: tuple[str, ...]
    descending: tuple[bool, ...]
    nulls_last: tuple[bool, ...]
    columns: tuple[str, ...]

    @staticmethod
    def of(priority: str, source: Source) -> Order:
        """Read ``priority``, or make the default; refuses terms that cannot be evaluated."""
        names = source.schema.names
        if not priority:
            usual = [term for needed, term in USUAL if all(name in names for name in needed)]
            priority = ", ".join(usual)
        terms, descending, nulls_last = [], [], []
        columns: set[str] = set()
        empty = _frame(pa.Table.from_batches([], source.schema), pl.Series([], dtype=pl.Int64))
        for part in _split(priority):
            nulls = _NULLS.search(part)
            bare = _NULLS.sub("", part)
            ending = _ENDING.search(bare)
            term = _ENDING.sub("", bare).strip()
            try:
                expression = pl.sql_expr(term)
                empty.select(expression.alias("term"))
            except (pl.exceptions.PolarsError, ValueError) as error:
                raise Refusal(
                    f'priority: "{part.strip()}" cannot be evaluated ({str(error).splitlines()[0]}): '
                    f"use SQL over the columns {', '.join(names)}."
                ) from None
            terms.append(term)
            descending.append(ending is not None and ending[1].lower() == "desc")
            nulls_last.append(nulls is None or nulls[1].lower() == "last")
            columns.update(name for name in expression.meta.root_names() if name in names)
        return Order(tuple(terms), tuple(descending), tuple(nulls_last), tuple(sorted(columns)))

    def keys(self, table: pa.Table, text_bytes: pl.Series) -> dict[str, pl.Series]:
        """The value of every term for every row; ``text_bytes`` may be used like a column."""
        frame = _frame(table.select(list(self.columns)), text_bytes)
        values = frame.select(pl.sql_expr(term).alias(f"term_{i}") for i, term in enumerate(self.terms))
        return {name: values[name] for name in values.columns}

    def ranked(self, rows: pl.DataFrame, first: tuple[str, ...] = ()) -> pl.DataFrame:
        """``rows`` best first; ties by content, then id, so that no two orders of the input differ.

        Args:
            first: Columns that count before the terms.
        """
        by: list[Any] = [f"term_{i}" for i in range(len(self.terms))]
        last = ("hash_high", "hash_low", "id", "batch")
        return rows.sort(
            [*first, *by, *last],
            descending=[*(False for _ in first), *self.descending, *(False for _ in last)],
            nulls_last=[*(True for _ in first), *self.nulls_last, *(True for _ in last)],
        )


def _frame(table: pa.Table, text_bytes: pl.Series) -> pl.DataFrame:
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame if "text_bytes" in frame.columns else frame.with_columns(text_bytes.alias("text_bytes"))


def _split(priority: str) -> list[str]:
    """Cut at the commas that stand outside of brackets and quotes."""
    parts, depth, quote, start = [], 0, "", 0
    for at, letter in enumerate(priority):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        elif letter in "()":
            depth += 1 if letter == "(" else -1
        elif letter == "," and depth == 0:
            parts.append(priority[start:at])
            start = at + 1
    return [part for part in [*parts, priority[start:]] if part.strip()]
