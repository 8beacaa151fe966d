"""The tables of a run as they follow from one another, whichever verbs made them."""

from __future__ import annotations

from pathlib import Path

import corpus
from corpus import Refusal, Table


def tables_of(out: Path) -> list[Table]:
    """The finished tables directly below ``out``, each after those that it was made from."""
    if not out.is_dir():
        raise Refusal(f"{out} does not exist: give the directory that holds the tables of a run.")
    found = [
        corpus.read(path.parent)
        for path in sorted(out.glob("*/manifest.json"))
        if corpus.sealed_by_a_verb(path.parent)
    ]
    if not found:
        raise Refusal(f"{out} holds no finished table: give the directory that holds the tables of a run.")
    by_digest = {table.digest: table for table in found}
    placed: dict[str, Table] = {}

    def place(table: Table) -> None:
        for digest in sources_of(table):
            if digest in by_digest and digest not in placed:
                place(by_digest[digest])
        placed.setdefault(table.digest, table)

    for table in found:
        place(table)
    return list(placed.values())


def upstream(last: Table, tables: list[Table]) -> list[Table]:
    """``last`` and those of ``tables`` that it was made from, at first or any later hand, in their order."""
    needed = {last.digest}
    for table in reversed(tables):
        if table.digest in needed:
            needed |= set(sources_of(table))
    return [table for table in tables if table.digest in needed]


def sources_of(table: Table) -> list[str]:
    """The digests of the tables that a table was made from."""
    return [source["digest"] for source in table.manifest["inputs"] if source["made_by"]]


def kind(table: Table) -> str:
    """The name of its schema: files, documents, tokens, …"""
    return str(table.manifest["table"]).split("/")[0]


def verb(table: Table) -> str:
    return str(table.manifest["made_by"])


def stale(tables: list[Table]) -> list[Table]:
    """The tables that were made, at first or second hand, from others than stand beside them now."""
    fresh: set[str] = set()
    for table in tables:
        if all(digest in fresh for digest in sources_of(table)):
            fresh.add(table.digest)
    return [table for table in tables if table.digest not in fresh]
