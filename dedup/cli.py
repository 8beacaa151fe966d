"""The ``dedup`` command."""

from __future__ import annotations

from pathlib import Path

import corpus
import dedup
import runfile
from corpus import Refusal
from dedup.config import Scan

app = runfile.stage("dedup", dedup.__doc__ or "")


@app.command
def scan(*paths: Path, settings: Scan = Scan(), workers: int = 0) -> corpus.Table:
    """Keep one of every set of duplicates and say for each dropped row which one, and how similar.

    Args:
        paths: SRC… DST.  Sources are finished tables, parquet, jsonl (.gz, .zst), folders saved by
            Hugging Face datasets, or folders of source code; DST is where the result goes.
        workers: Processes; 0 is one per processor.
    """
    if len(paths) < 2:
        raise Refusal("give at least one source and where the result goes: dedup scan SRC… DST.")
    return dedup.scan(paths[:-1], paths[-1], settings, workers)
