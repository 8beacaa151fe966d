"""What published tables of code call their columns, and what a row is: a file, or a repository's files."""

from __future__ import annotations

import polars as pl

from corpus import Refusal
from crawl.config import PERMISSIVE

COLUMNS = {
    "repo": ("repo", "repo_name", "repository_name", "max_stars_repo_name", "repo_id", "repository"),
    "path": ("path", "file_path", "max_stars_repo_path", "file_name", "filename"),
    "content": ("content", "code", "contents", "text"),
    "license": ("license", "licenses", "detected_licenses", "max_stars_repo_licenses"),
    "stars": ("stars", "star_events_count", "max_stars_count", "stars_count", "stargazers_count"),
}
"""What published tables call them; the first that is there counts."""

FILES = "files"
"""The column of a repository's list of files."""

_OF_FILES = {name for ours in ("path", "content") for name in COLUMNS[ours]}


_SPDX = {name.lower(): name for name in PERMISSIVE}
"""Some tables write identifiers in lower case."""


def plain(frame: pl.DataFrame) -> pl.DataFrame:
    """One row a file, under our names; refuses a table that has no content."""
    if FILES in frame.columns and isinstance(frame.schema[FILES], pl.List):
        frame = _a_row_a_file(frame)
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
