"""The card of a published corpus: what is in it, where it is from, what was left out and why.

Every number is counted from the tables of the run when the card is made; a test counts them again, in
another way, and finds no other number in the text.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import polars as pl

from corpus import Table
from crawl import chain, optouts
from crawl.config import Publish
from schemas import SCHEMAS

SCHEMA = SCHEMAS["corpus"]

SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
"""The hub's classes of size, by rows."""

FILES = "data/train-*.parquet"

COLUMNS = {
    "id": "name of the document in this corpus",
    "repo": "the repository or package, with its registry or host",
    "revision": "the commit, or the hash of the archive or listing, that was read",
    "part": "number of the document within repository and language",
    "level": "`repo` for the files of one connected part of the import graph, `file` for a single file",
    "language": "the language of most of its bytes",
    "license": "SPDX expression of all licences that hold for some file of it",
    "stars": "of the repository when it was listed",
    "text": "the files one after the other, each under a comment with its path, imported files first",
    "files": "for every file its path, and where it stands in `text`, in characters",
    "bytes": "of `text` in UTF-8",
}


def of(run: Sequence[Table], settings: Publish) -> str:
    """The card for the corpus that stands last in ``run``, the tables from the list of repos on."""
    rows = run[-1].scan()
    sections = [
        _head(rows, settings),
        _sources(run),
        _funnel(run),
        _shares(rows, "language", "Languages", "By the language of most of a document's bytes."),
        _shares(rows, "license", "Licences", "As SPDX expressions, by document; with AND, all of them hold."),
        _columns(),
        _gates(run),
        _removal(run, settings),
        _limits(),
        _rules(run),
    ]
    return "\n".join(sections)


def _head(rows: pl.LazyFrame, settings: Publish) -> str:
    total = rows.select(
        documents=pl.len(),
        files=pl.col("files").list.len().sum(),
        bytes=pl.col("bytes").sum(),
        repos=pl.col("repo").n_unique(),
        languages=pl.col("language").n_unique(),
    ).collect()
    count = total.row(0, named=True)
    size = next((name for limit, name in SIZES if count["documents"] < limit), "n>1M")
    facts = {
        "pretty_name": settings.title,
        "license": "other",
        "license_name": "as-stated-by-each-document",
        "language": ["code"],
        "task_categories": ["text-generation"],
        "size_categories": [size],
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": FILES}]}],
    }
    yaml = "\n".join(f"{name}: {json.dumps(value)}" for name, value in facts.items())
    return (
        f"---\n{yaml}\n---\n\n# {settings.title}\n\n"
        f"{count['documents']:,} documents of source code: {count['files']:,} files of {count['repos']:,} "
        f"repositories in {count['languages']:,} languages, {count['bytes']:,} bytes of text.\n"
        "A document holds the files of a repository that import one another, imported files first.\n\n"
        "```python\nfrom datasets import load_dataset\n\n"
        'rows = load_dataset("path/or/name", split="train", streaming=True)\n```\n'
    )


def _sources(run: Sequence[Table]) -> str:
    listed = next(table for table in run if chain.kind(table) == "repos").scan()
    held = run[-1].scan().select("repo", "bytes", files=pl.col("files").list.len())
    per = held.group_by("repo").agg(pl.col("bytes", "files").sum(), documents=pl.len())
    table = (
        listed.select("repo", "source")
        .join(per, on="repo", how="left")
        .group_by("source")
        .agg(
            pl.len().alias("listed"),
            pl.col("documents").is_not_null().sum().alias("here"),
            pl.col("files", "bytes").sum(),
        )
        .sort("source")
        .collect()
    )
    fetched = next(table for table in run if chain.verb(table) == "crawl fetch")
    heads = ["source", "repositories listed", "in this corpus", "files", "bytes"]
    days = f"{fetched.manifest['started'][:10]} to {fetched.manifest['finished'][:10]}"
    return _section(
        "Sources",
        f"Read from {days}, each repository at the one revision that its rows name.",
        "",
        _markdown(heads, table.iter_rows()),
    )


def _funnel(run: Sequence[Table]) -> str:
    steps: list[tuple[Any, ...]] = []
    reasons: list[tuple[Any, ...]] = []
    for table in run:
        if chain.kind(table) not in ("files", "documents", "corpus"):
            continue
        gone = (
            table.scan("rejects")
            .group_by("reason")
            .agg(pl.col("files", "bytes").sum())
            .sort("reason")
            .collect()
        )
        left = _files_in(table)
        steps.append((chain.verb(table), left + int(gone["files"].sum()), int(gone["files"].sum()), left))
        reasons += [
            (chain.verb(table), f"`{reason}`", files, size) for reason, files, size in gone.iter_rows()
        ]
    return _section(
        "What was left out",
        "Files that came into each step, and why some did not leave it.",
        "A repository that could not be read counts as one.",
        "",
        _markdown(["step", "files in", "dropped", "files out"], steps),
        "",
        _markdown(["step", "reason", "files", "bytes"], reasons),
    )


def _files_in(table: Table) -> int:
    rows = table.scan()
    count = pl.col("files").list.len().sum() if "files" in rows.collect_schema().names() else pl.len()
    return int(rows.select(count).collect().item())


def _shares(rows: pl.LazyFrame, column: str, title: str, about: str) -> str:
    table = (
        rows.group_by(pl.col(column).fill_null("none stated"))
        .agg(pl.len(), pl.col("files").list.len().sum(), pl.col("bytes").sum())
        .sort(["bytes", column], descending=[True, False])
        .collect()
    )
    total = int(table["bytes"].sum()) or 1
    lines = ((name, *counts, f"{counts[-1] / total:.2%}") for name, *counts in table.iter_rows())
    return _section(title, about, "", _markdown([column, "documents", "files", "bytes", "share"], lines))


def _columns() -> str:
    return _section(
        "Columns", _markdown(["column", "meaning"], ((f"`{n}`", COLUMNS[n]) for n in SCHEMA.names))
    )


def _gates(run: Sequence[Table]) -> str:
    problems = next(table for table in run if chain.kind(table) == "problems")
    suites = problems.scan().group_by("suite").len().sort("suite").collect()
    told = ", ".join(f"{suite} ({count:,})" for suite, count in suites.iter_rows())
    return _section(
        "Checked before it was written",
        "- Secrets and personal data found in the published rows: 0.",
        f"- Files that share anything with the problems of {told}: 0.",
        "- Documents that come twice: 0.",
    )


def _removal(run: Sequence[Table], settings: Publish) -> str:
    fetched = next(table for table in run if chain.verb(table) == "crawl fetch")
    opted_out = fetched.scan("rejects").filter(reason=optouts.REASON)
    gone = opted_out.select(pl.col("files").sum()).collect().item()
    return _section(
        "Removal",
        "A repository, all of an owner's, its forks, a commit, a file or a path can be taken out.",
        f"To ask for it: {settings.contact}.",
        "The list of removals only grows; each release is made, or made again, without all that it names.",
        f"This one was made with {fetched.manifest.get('optouts', 0):,} entries, "
        f"which kept out {gone:,} repositories and files.",
    )


def _limits() -> str:
    return _section(
        "Limits",
        "- Licences are what repositories, manifests and file headers state; nobody checked if they may.",
        "- Secrets and personal data are found by patterns: names, and what has no form, stay.",
        "- Code is as people wrote it: with its bugs, its vulnerabilities and its comments.",
        "- Near-duplicates are dropped by the similarity of their words; what is alike in idea stays.",
        "- Only the benchmarks named above were looked for.",
    )


def _rules(run: Sequence[Table]) -> str:
    told = {
        chain.verb(table): {"settings": table.manifest["settings"], "digest": table.digest} for table in run
    }
    block = f"```json\n{json.dumps(told, indent=1)}\n```"
    return _section("Rules", "The settings of every step, and the digest of what it wrote.", "", block)


def _section(title: str, *lines: str) -> str:
    return "\n".join([f"## {title}", "", *lines, ""])


def _markdown(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    cells = ((f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row) for row in rows)
    numbers = "|".join(["---", *["---:"] * (len(heads) - 1)])
    return "\n".join(
        [f"| {' | '.join(heads)} |", f"|{numbers}|", *(f"| {' | '.join(row)} |" for row in cells)]
    )
