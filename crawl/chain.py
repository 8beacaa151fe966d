"""The tables of a run as they follow from one another, whichever verbs made them."""

from __future__ import annotations

from pathlib import Path

import corpus
from corpus import Refusal, Table

Key = tuple[str, str]
"""Verb and digest: where a verb dropped nothing, the digest alone is that of the table before."""


def tables_of(out: Path) -> list[Table]:
    """The finished tables directly below ``out``, each after those that it was made from."""
    if not out.is_dir():
        raise Refusal(f"{out} does not exist: give the directory that holds the tables of a run.")
    paths = [path.parent for path in sorted(out.glob("*/manifest.json"))]
    found = {key(table): table for table in map(corpus.read, filter(corpus.sealed_by_a_verb, paths))}
    if not found:
        raise Refusal(f"{out} holds no finished table: give the directory that holds the tables of a run.")
    placed: dict[Key, Table] = {}

    def place(table: Table) -> None:
        for source in sources_of(table):
            if source in found and source not in placed:
                place(found[source])
        placed.setdefault(key(table), table)

    for table in found.values():
        place(table)
    return list(placed.values())


def upstream(last: Table, tables: list[Table]) -> list[Table]:
    """``last`` and those of ``tables`` that it was made from, at first or any later hand, in their order."""
    needed = {key(last)}
    for table in reversed(tables):
        if key(table) in needed:
            needed |= set(sources_of(table))
    return [table for table in tables if key(table) in needed]


def stale(tables: list[Table]) -> list[Table]:
    """The tables that were made, at first or second hand, from others than stand beside them now."""
    fresh: set[Key] = set()
    for table in tables:
        if all(source in fresh for source in sources_of(table)):
            fresh.add(key(table))
    return [table for table in tables if key(table) not in fresh]


def sources_of(table: Table) -> list[Key]:
    """The tables that a table was made from."""
    inputs = table.manifest["inputs"]
    return [(source["made_by"], source["digest"]) for source in inputs if source["made_by"]]


def key(table: Table) -> Key:
    return verb(table), table.digest


def kind(table: Table) -> str:
    """The name of its schema: files, documents, tokens, …"""
    return str(table.manifest["table"]).split("/")[0]


def verb(table: Table) -> str:
    return str(table.manifest["made_by"])
