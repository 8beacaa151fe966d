"""What published tables call their columns, and what a row is: a file, a repository's files, or prose.

Prose, such as the questions of StackExchange with their answers, has no paths: each row becomes a Markdown
file that is called by a hash of its text, and goes through the same verbs as code.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from typing import Any

import polars as pl

from corpus import Refusal
from crawl.config import PERMISSIVE

COLUMNS = {
    "repo": ("repo", "repo_name", "repository_name", "max_stars_repo_name", "repo_id", "repository"),
    "path": ("path", "file_path", "max_stars_repo_path", "file_name", "filename"),
    "content": ("content", "code", "contents", "text"),
    "license": ("license", "content_license", "licenses", "detected_licenses", "max_stars_repo_licenses"),
    "stars": ("stars", "star_events_count", "max_stars_count", "stars_count", "stargazers_count"),
}
"""What published tables call them; the first that is there counts."""

FILES = "files"
"""The column of a repository's list of files."""

PROSE = {
    "title": ("title", "Title", "question_title"),
    "body": ("question", "body", "Body", "question_body", *COLUMNS["content"]),
    "answers": ("answers", "answer", "Answers", "response"),
}
"""The same for prose."""

_ANSWER = ("body", "Body", "text", "answer", "content")
"""What an answer is called inside of a list of them."""

_OF_FILES = {name for ours in ("path", "content") for name in COLUMNS[ours]}


_SPDX = {name.lower(): name for name in PERMISSIVE}
"""Some tables write identifiers in lower case."""


def plain(frame: pl.DataFrame) -> pl.DataFrame:
    """One row a file, under our names; refuses a table that has no content."""
    if FILES in frame.columns and isinstance(frame.schema[FILES], pl.List):
        frame = _a_row_a_file(frame)
    if not any(name in frame.columns for name in COLUMNS["path"]):
        frame = _prose(frame)
    found = {ours: [name for name in names if name in frame.columns] for ours, names in COLUMNS.items()}
    for ours in ("repo", "path", "content"):
        if not found[ours]:
            raise Refusal(
                f"the table has no column of {ours} that is known by one of the names "
                f"{', '.join(COLUMNS[ours])}: it has {', '.join(frame.columns)[:200]}."
            )
    return frame.select(
        pl.col(found["repo"][0]).cast(pl.String).fill_null("unknown").alias("repo"),
        pl.col(found["path"][0]).cast(pl.String).fill_null("unknown").alias("path"),
        pl.col(found["content"][0]).cast(pl.String).fill_null("").alias("content"),
        _license(frame, *found["license"][:1]),
        _stars(*found["stars"][:1]),
    )


def _prose(frame: pl.DataFrame) -> pl.DataFrame:
    """Rows of prose as Markdown files, in repositories of a 256th each where the table names none."""
    here = [name for names in PROSE.values() for name in names if name in frame.columns]
    columns = [next((name for name in names if name in here), None) for names in PROSE.values()]
    if columns[1] is None:
        return frame
    found = [
        [None] * frame.height if name is None else frame[name].to_arrow().to_pylist() for name in columns
    ]
    texts = [_markdown(*row) for row in zip(*found, strict=True)]
    names = [hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16] for text in texts]
    rows = pl.DataFrame({"content": texts, "path": [f"{name}.md" for name in names]}, orient="col")
    if not any(name in frame.columns for name in COLUMNS["repo"]):
        rows = rows.with_columns(repo=pl.Series([f"part-{name[:2]}" for name in names], dtype=pl.String))
    return frame.with_columns(rows.cast(pl.String))


def _markdown(title: Any, body: Any, answers: Any) -> str:
    """A question with its answers, or whatever of it there is."""
    parts = [
        f"# {title}" if title else "",
        _said(body),
        *map(_said, answers if isinstance(answers, list) else [answers]),
    ]
    return "\n\n".join(part for part in parts if part)


def _said(value: Any) -> str:
    """A text, or the one inside of a record, which may itself be written as JSON."""
    if isinstance(value, str) and value.startswith("{"):
        with suppress(ValueError, RecursionError):
            value = json.loads(value)
    if isinstance(value, dict):
        value = next((value[name] for name in _ANSWER if name in value), None)
    return value if isinstance(value, str) else ""


def _a_row_a_file(frame: pl.DataFrame) -> pl.DataFrame:
    """Rows of repositories as rows of their files; what both have is the repository's, but for the text."""
    frame = frame.rename({FILES: "\0file"}).explode("\0file").filter(pl.col("\0file").is_not_null())
    fields = frame["\0file"].struct.fields
    wanted = [name for name in fields if name in _OF_FILES or name not in frame.columns]
    frame = frame.drop(name for name in wanted if name in frame.columns)
    return frame.with_columns(pl.col("\0file").struct.field(name) for name in wanted)


def _license(frame: pl.DataFrame, name: str | None = None) -> pl.Expr:
    """What the table says of a row, by SPDX identifiers; several licences are all of them."""
    if name is None:
        return pl.lit(None, pl.String).alias("license")
    column = pl.col(name)
    if isinstance(frame.schema[name], pl.List):
        known = _spdx(pl.element().cast(pl.String))
        column = column.list.eval(known).list.unique().list.sort().list.join(" AND ")
    else:
        column = _spdx(column.cast(pl.String))
    return pl.when(column != "").then(column).alias("license")


def _spdx(name: pl.Expr) -> pl.Expr:
    return name.str.to_lowercase().replace_strict(_SPDX, default=name, return_dtype=pl.String)


def _stars(name: str | None = None) -> pl.Expr:
    column = pl.lit(None) if name is None else pl.col(name)
    return column.cast(pl.Int32, strict=False).alias("stars")
