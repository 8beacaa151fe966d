"""The card of a published corpus holds no number that the tables of its run do not give.

Of the small world, or of any finished run: ``pytest tests/integration/test_card.py --tables out/small``.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import corpus
from crawl.config import Publish
from crawl.publish import publish

FUNNEL = ("files", "kept", "redacted", "documents", "unique", "corpus")
TEXTS = ("text", "imports", "comments")
"""Columns that no number of the card is counted from; of a large run they would not fit."""


@pytest.fixture(scope="module")
def published(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("release") / "dataset"
    asked = Publish(title="A release", contact="open an issue at example.org/removals")
    publish(finished / "corpus", path, asked, workers=1)
    return path


def rows_of(table: corpus.Table, part: str = "") -> Iterator[dict[str, Any]]:
    for shard in table.shards(part):
        names = pq.read_schema(table.path / shard.name).names
        columns = [name for name in names if name not in TEXTS]
        yield from pq.read_table(table.path / shard.name, columns=columns).to_pylist()


def counted(finished: Path) -> dict[str, list[tuple[str, ...]]]:
    """What every table of the card must say, counted one row at a time."""

    def told(*cells: object) -> tuple[str, ...]:
        return tuple(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in cells)

    rows = list(rows_of(corpus.read(finished / "corpus")))
    total = sum(row["bytes"] for row in rows)
    expected: dict[str, list[tuple[str, ...]]] = {}
    for column in ("language", "license"):
        sums: dict[str, Counter[str]] = {}
        for row in rows:
            one = sums.setdefault(row[column] or "none stated", Counter())
            one.update({"documents": 1, "files": len(row["files"]), "bytes": row["bytes"]})
        ranked = sorted(sums.items(), key=lambda pair: (-pair[1]["bytes"], pair[0]))
        expected[column] = [
            told(name, n["documents"], n["files"], n["bytes"], f"{n['bytes'] / total:.2%}")
            for name, n in ranked
        ]
    steps, reasons = [], []
    for name in FUNNEL:
        table = corpus.read(finished / name)
        verb = table.manifest["made_by"]
        gone: dict[str, Counter[str]] = {}
        for row in rows_of(table, "rejects"):
            gone.setdefault(row["reason"], Counter()).update({"files": row["files"], "bytes": row["bytes"]})
        dropped = sum(n["files"] for n in gone.values())
        left = sum(len(row.get("files", "1")) for row in rows_of(table))
        steps.append(told(verb, left + dropped, dropped, left))
        reasons += [told(verb, f"`{why}`", n["files"], n["bytes"]) for why, n in sorted(gone.items())]
    source_of = {row["repo"]: row["source"] for row in rows_of(corpus.read(finished / "repos"))}
    listed = Counter(source_of.values())
    sources = []
    for name in sorted(listed):
        here = [row for row in rows if source_of[row["repo"]] == name]
        files, size = sum(len(row["files"]) for row in here), sum(row["bytes"] for row in here)
        sources.append(told(name, listed[name], len({row["repo"] for row in here}), files, size))
    return expected | {"step in": steps, "step why": reasons, "source": sources}


def tables_in(card: str) -> Iterator[tuple[str, list[tuple[str, ...]]]]:
    for block in re.findall(r"(?:^\|.*\n)+", card, re.MULTILINE):
        head, _, *body = (
            tuple(cell.strip() for cell in line.split("|")[1:-1]) for line in block.splitlines()
        )
        names = {"reason": "step why", "files in": "step in"}
        yield next((names[cell] for cell in head if cell in names), head[0]), body


def test_every_table_of_the_card_is_what_its_rows_add_up_to(finished: Path, published: Path) -> None:
    found = dict(tables_in((published / "README.md").read_text()))
    assert {name: body for name, body in found.items() if name != "column"} == counted(finished)
    assert [name.strip("`") for name, _ in found["column"]] == corpus.SCHEMAS["corpus"].names


def test_every_number_in_the_card_s_sentences_is_counted_from_the_tables(
    finished: Path, published: Path
) -> None:
    card = (published / "README.md").read_text()
    text = re.sub(r"^---\n.*?\n---\n|```.*?```|^\|.*?$", "", card, flags=re.MULTILINE | re.DOTALL)
    rows, files = list(rows_of(corpus.read(finished / "corpus"))), corpus.read(finished / "files")
    numbers = [len(rows), sum(len(row["files"]) for row in rows), len({row["repo"] for row in rows})]
    numbers += [len({row["language"] for row in rows}), sum(row["bytes"] for row in rows)]
    days = [part for key in ("started", "finished") for part in files.manifest[key][:10].split("-")]
    suites = Counter(row["suite"] for row in rows_of(corpus.read(finished / "problems")))
    gates = ["0", *(f"{suites[suite]:,}" for suite in sorted(suites)), "0", "0"]
    gone = sum(row["files"] for row in rows_of(files, "rejects") if row["reason"] == "opted_out")
    removal = [f"{files.manifest.get('optouts', 0):,}", f"{gone:,}"]
    assert re.findall(r"\d+(?:,\d{3})*", text) == [*(f"{n:,}" for n in numbers), *days, *gates, *removal]
    rules = json.loads(card.split("```json")[1].split("```")[0])
    assert {verb: told["digest"] for verb, told in rules.items()} == {
        corpus.read(path.parent).manifest["made_by"]: corpus.read(path.parent).digest
        for path in finished.glob("*/manifest.json")
        if path.parent.name in (*FUNNEL, "repos", "parsed", "problems")
    }
