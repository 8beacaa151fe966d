"""The table of problems: what is asked, how it is judged, and what must not be in the training data."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable
from dataclasses import asdict
from fnmatch import fnmatchcase
from pathlib import Path

import polars as pl

import corpus
from corpus import Refusal
from evals import data, presets
from evals.config import Problems
from evals.suites import SUITES, humaneval, mbpp
from evals.suites.problem import Problem

log = logging.getLogger(__name__)

PARTS: dict[str, Callable[[list[bytes]], presets.Parts]] = {"humaneval": humaneval.parts, "mbpp": mbpp.parts}
"""The suites that presets have rules for, and what their rows are made of."""


def write_problems(dst: Path, settings: Problems, cache: Path | None) -> corpus.Table:
    """The problems of every suite that can be had; one that cannot is left out and said so."""
    files, left_out = files_of(settings, cache)
    hashes = ((name, hashlib.sha256(file).hexdigest()) for name, found in files.items() for file in found)
    pins = ", ".join(map(" ".join, hashes))
    with corpus.building(dst, "problems", made_by="evals problems", settings=settings, data=pins) as out:
        if isinstance(out, corpus.Table):
            return out
        for suite in out.left(files):
            found = problems_of(suite, files[suite], settings)
            out.write(suite, {"": _rows(found)}, came_in=len(found))
        return out.seal(left_out=left_out, presets=_presets(files, settings))


def _presets(suites: Iterable[str], settings: Problems) -> dict[str, str]:
    """Whose rules each suite follows: the preset's, or its own where the preset says nothing."""
    own = [suite for suite in suites if presets.protocol(settings.preset, suite) is None]
    if own and settings.preset != Problems.preset:
        log.warning("preset %s says nothing of %s: its own rules hold.", settings.preset, ", ".join(own))
    return {suite: "its own" if suite in own else settings.preset for suite in suites}


def read_problems(table: corpus.Table) -> list[Problem]:
    """All problems of a table, in its order."""
    return [Problem(**row) for shard in table.shards() for row in table.frame(shard).iter_rows(named=True)]


def problems_of(suite: str, files: list[bytes], settings: Problems) -> list[Problem]:
    """The problems of one suite, made from its files.

    Raises:
        Refusal: the files are something else.
    """
    protocol = presets.protocol(settings.preset, suite)
    try:
        found = SUITES[suite].problems(files, settings)
        if protocol is None or settings.preset == Problems.preset:
            return found
        parts = PARTS[suite](files)
        return [protocol.applied(problem, parts, imports=settings.imports) for problem in found]
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        paths = ", ".join(source.path for source in SUITES[suite].sources())
        raise Refusal(
            f"{suite}: what was given as {paths} is something else ({error!r}): fetch it again."
        ) from None


def chosen(patterns: tuple[str, ...]) -> list[str]:
    """The suites that the patterns name, each once, in the order of the patterns."""
    found: dict[str, None] = {}
    for pattern in patterns:
        matching = [name for name in SUITES if fnmatchcase(name, pattern)]
        if not matching:
            raise Refusal(f"no suite is called {pattern}: there are {', '.join(SUITES)}.")
        found |= dict.fromkeys(matching)
    return list(found)


def files_of(settings: Problems, cache: Path | None) -> tuple[dict[str, list[bytes]], dict[str, str]]:
    """The files of the suites that can be had; why each of the others is left out."""
    files, left_out = {}, {}
    for name in chosen(settings.suites):
        sources = SUITES[name].sources()
        try:
            files[name] = [data.read(source, settings.data, settings.mirror, cache) for source in sources]
        except data.Absent as error:
            left_out[name] = str(error)
            log.warning("%s is left out: %s; give a folder of its files with --data DIR.", name, error)
    return files, left_out


def _rows(problems: list[Problem]) -> pl.DataFrame:
    # No null column may be left without a type, hence the schema.
    schema: dict[str, pl.DataType | type[pl.DataType]] = {
        "suffix": pl.String,
        "reference": pl.String,
        "entry_point": pl.String,
        "max_new_tokens": pl.Int32,
        "stop": pl.List(pl.String),
    }
    return pl.DataFrame([asdict(problem) for problem in problems], schema_overrides=schema)
