"""The table of problems: what is asked, how it is judged, and what must not be in the training data."""

from __future__ import annotations

import hashlib
import logging
import os
from dataclasses import asdict
from pathlib import Path

import httpx
import polars as pl

import corpus
from corpus import Refusal
from evals.config import Problems
from evals.suites import humaneval, mbpp
from evals.suites.problem import Problem

log = logging.getLogger(__name__)

LARGEST_DOWNLOAD = 16 << 20
TIMEOUT = httpx.Timeout(20.0, connect=10.0)


def write_problems(dst: Path, settings: Problems, cache: Path | None) -> corpus.Table:
    """The problems of every suite that can be had; one that cannot is left out and said so."""
    mbpp_data = _mbpp_data(settings, cache or _default_cache()) if "mbpp" in settings.suites else None
    pin = hashlib.sha256(mbpp_data).hexdigest() if mbpp_data else "absent"
    with corpus.building(
        dst, "problems", made_by="evals problems", settings=settings, humaneval=humaneval.SHA256, mbpp=pin
    ) as out:
        if isinstance(out, corpus.Table):
            return out
        for suite in out.left(dict.fromkeys(settings.suites)):
            if suite == "humaneval":
                found = humaneval.problems(imports=settings.imports)
                out.write(suite, {"": _rows(found)}, came_in=len(found))
            elif mbpp_data is not None:
                found = _mbpp_problems(mbpp_data, settings)
                out.write(suite, {"": _rows(found)}, came_in=len(found))
        return out.seal()


def read_problems(table: corpus.Table) -> list[Problem]:
    """All problems of a table, in its order."""
    return [Problem(**row) for shard in table.shards() for row in table.frame(shard).iter_rows(named=True)]


def _rows(problems: list[Problem]) -> pl.DataFrame:
    # No null column may be left without a type, hence the schema.
    schema = {"suffix": pl.String, "reference": pl.String, "entry_point": pl.String}
    return pl.DataFrame([asdict(problem) for problem in problems], schema_overrides=schema)


def _mbpp_problems(data: bytes, settings: Problems) -> list[Problem]:
    try:
        return mbpp.problems(data, imports=settings.imports)
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise Refusal(f"{settings.mbpp} is not MBPP ({error!r}): give mbpp.jsonl, 974 rows.") from None


def _mbpp_data(settings: Problems, cache: Path) -> bytes | None:
    """The bytes of mbpp.jsonl: the user's file, the kept download, or a new one; None if out of reach."""
    if settings.mbpp is not None:
        try:
            return settings.mbpp.read_bytes()
        except OSError as error:
            raise Refusal(f"{settings.mbpp}: {error.strerror}: give the path of MBPP's mbpp.jsonl.") from None
    kept = cache / "mbpp" / f"{mbpp.SHA256}.jsonl"
    if kept.exists() and corpus.sha256_of(kept) == mbpp.SHA256:
        return kept.read_bytes()
    url = settings.mbpp_url or mbpp.URL
    try:
        data = _download(url)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        log.warning("mbpp is left out: %s: %s; give its file with --mbpp FILE.", url, error)
        return None
    kept.parent.mkdir(parents=True, exist_ok=True)
    aside = kept.with_suffix(".part")
    aside.write_bytes(data)
    aside.replace(kept)
    return data


def _default_cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "fathom"


def _download(url: str) -> bytes:
    """The file at ``url`` if it is MBPP as published; ``ValueError`` if it is not."""
    data = bytearray()
    with httpx.stream("GET", url, timeout=TIMEOUT, follow_redirects=True) as response:
        response.raise_for_status()
        for piece in response.iter_bytes():
            data += piece
            if len(data) > LARGEST_DOWNLOAD:
                raise ValueError(f"more than {LARGEST_DOWNLOAD >> 20} MiB came")
    if (found := hashlib.sha256(data).hexdigest()) != mbpp.SHA256:
        raise ValueError(f"its sha256 is {found}, not that of the file as published")
    return bytes(data)
