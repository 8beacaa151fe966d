"""The ``dedup`` command; what takes time to import waits until a verb is called."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import dedup
import runfile
from dedup.config import Scan, Substrings
from refusal import Refusal

# pyarrow's allocator gives freed memory back after 10 ms, and the next batch of texts asks for it again:
# that is a sixth of the time of a scan.  It reads this when pyarrow is first imported.
os.environ.setdefault("MIMALLOC_PURGE_DELAY", "-1")

app = runfile.stage("dedup", dedup.__doc__ or "")


@app.command
def scan(*paths: Path, settings: Scan = Scan(), workers: int = 0, index: Path | None = None) -> Any:
    """Keep one of every set of duplicates and say for each dropped row which one, and how similar.

    Args:
        paths: SRC… DST.  Sources are finished tables, parquet, jsonl (.gz, .zst), folders saved by
            Hugging Face datasets, or folders of source code; DST is where the result goes.
        workers: Processes; 0 is one per processor.
        index: Directory that remembers what was scanned with it: rows are compared with those, too.
    """
    if len(paths) < 2:
        raise Refusal("give at least one source and where the result goes: dedup scan SRC… DST.")
    return dedup.scan(paths[:-1], paths[-1], settings, workers, index)


@app.command
def forget(index: Path, /, *ids: str, file: Path | None = None) -> None:
    """Take rows out of an index: they are compared with no more, and their texts are wiped.

    Args:
        index: The directory that was given with --index.
        ids: Ids of rows.
        file: A file of further ids, one a line.
    """
    more = file.read_text().splitlines() if file else []
    if not [*ids, *more]:
        raise Refusal("give the ids to forget, or a file of them with --file: dedup forget INDEX ID….")
    print(dedup.forget(index, [*ids, *filter(None, more)]))


@app.command
def substrings(*paths: Path, settings: Substrings = Substrings(), workers: int = 0) -> Any:
    """Find every run of words that stands somewhere before, byte for byte, and cut it out if asked.

    Args:
        paths: SRC… DST, as for scan.  DST gets the part repeats, and with --mask the rows.
        workers: Processes; 0 is one per processor.
    """
    if len(paths) < 2:
        raise Refusal("give at least one source and where the result goes: dedup substrings SRC… DST.")
    return dedup.substrings(paths[:-1], paths[-1], settings, workers)


@app.command
def plan(*paths: Path, settings: Scan = Scan(), workers: int = 0) -> None:
    """Print what a scan would take in time, memory and disk, from the footers of parquet files.

    Args:
        paths: SRC…, as for scan.
        workers: Processes; 0 is one per processor.
    """
    if not paths:
        raise Refusal("give at least one source: dedup plan SRC….")
    print(dedup.plan(paths, settings, workers))


@app.command
def explain(table: Path, row: str, other: str | None = None, /) -> None:
    """Print why a row was dropped or what was dropped for it, and how the two texts differ.

    Of what substrings wrote, print what is repeated in a row.

    Args:
        table: What scan or substrings wrote.
        row: An id.
        other: Another id to show the difference to.
    """
    print(dedup.explain(table, row, other))


@app.command
def stats(table: Path, /, *, top: int = 10) -> None:
    """Print the largest clusters, the losses by reason, repo and language, and a histogram of similarity.

    Of what substrings wrote, print how much is repeated and what is copied most.

    Args:
        table: What scan or substrings wrote.
        top: Lines per list.
    """
    print(dedup.stats(table, top))
