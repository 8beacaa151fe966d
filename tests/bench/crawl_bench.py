"""Signals and secrets beside their peers, on the files of a run: megabytes a CPU second, in one go.

Each tool measures the same texts in a process of its own, in turns, with its own environment's interpreter;
a peer whose environment is not there is left out.  The peers are so slow that they see a sample; we are given
both the sample and the whole, so that like stands beside like.

    python tests/bench/crawl_bench.py out/tiny/files --environments DIR

``DIR/detectsecrets`` has detect-secrets 1.5.0, ``DIR/dataprepkit`` data-prep-toolkit-transforms 1.1.8 with
beautifulsoup4.  OpenCoder's signals are scripts that need a GPU cluster's worth of packages: its figure in
docs/benchmarks.md is the published one.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

EVERY = 200
SLOWEST = 1000
"""Of how many files the peers see one: data-prep-kit, and detect-secrets."""

Run = Callable[[pa.Table], Any]


def our_signals(rows: pa.Table) -> None:
    from crawl import signals

    signals.table(rows.to_batches(max_chunksize=1024))


def our_secrets(rows: pa.Table) -> int:
    from crawl import secrets

    return sum(len(secrets.find(text)) for text in rows["text"].to_pylist())


def our_redaction(rows: pa.Table) -> int:
    from crawl.redact import redact

    pairs = zip(rows["text"].to_pylist(), rows["repo"].to_pylist(), strict=True)
    return sum(len(redact(text, repo, b"")[1]) for text, repo in pairs)


def our_licenses(rows: pa.Table) -> None:
    from crawl import evidence

    said = evidence.gather({"LICENSE": "MIT"}, "MIT")
    for path, text in zip(rows["path"].to_pylist(), rows["text"].to_pylist(), strict=True):
        evidence.of(path, text, said)


def detect_secrets(rows: pa.Table) -> int:
    from detect_secrets.core.scan import scan_line
    from detect_secrets.settings import default_settings

    with default_settings():
        return sum(
            1 for text in rows["text"].to_pylist() for line in text.split("\n") for _ in scan_line(line)
        )


def data_prep_kit(rows: pa.Table) -> None:
    """code_quality, with a tokenizer that costs nothing, since the real one is not what is measured."""
    from dpk_code_quality import transform

    class Free:
        def __call__(self, *_: object, **__: object) -> dict[str, list[int]]:
            return {"input_ids": [0]}

        def encode(self, *_: object, **__: object) -> list[int]:
            return [0]

        def tokenize(self, *_: object, **__: object) -> list[str]:
            return ["x"]

    transform.load_model = lambda *_, **__: Free()  # type: ignore[attr-defined]
    settings = {"contents_column_name": "text", "language_column_name": "language"}
    settings |= {"tokenizer": "none", "hf_token": "none"}
    transform.CodeQualityTransform({"code_quality": settings}).transform(rows)


TOOLS: dict[str, tuple[str | None, Run, int]] = {
    "crawl filter, signals": (None, our_signals, 1),
    "crawl filter, signals of the sample": (None, our_signals, EVERY),
    "data-prep-kit 1.1.8, code_quality": ("dataprepkit", data_prep_kit, EVERY),
    "crawl redact, finding": (None, our_secrets, 1),
    "crawl redact, finding and placing": (None, our_redaction, 1),
    "crawl redact, finding in the sample": (None, our_secrets, SLOWEST),
    "detect-secrets 1.5.0, line by line": ("detectsecrets", detect_secrets, SLOWEST),
    "crawl fetch, licences": (None, our_licenses, 1),
}
"""By name: the peer's environment, what it does, and of how many files it sees one."""


def rows_of(files: Path, every: int) -> pa.Table:
    columns = ["repo", "path", "language", "bytes", "text"]
    rows = pa.concat_tables(
        [pq.read_table(file, columns=columns) for file in sorted(files.glob("*.parquet"))]
    )
    return rows.take(list(range(0, rows.num_rows, every)))


def measured(name: str, files: Path) -> dict[str, float]:
    _, run, every = TOOLS[name]
    rows = rows_of(files, every)
    run(rows.slice(0, 5))  # imports and tables
    began = time.process_time()
    found = run(rows)
    seconds = time.process_time() - began
    size = sum(len(text.encode()) for text in rows["text"].to_pylist())
    return {"megabytes": size / 1e6, "files": rows.num_rows, "seconds": seconds, "found": found or 0}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("files", type=Path)
    arguments.add_argument("--environments", type=Path, default=Path("out/environments"))
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--tool", help="measure one tool here and print JSON")
    given = arguments.parse_args()
    if given.tool:
        print(json.dumps(measured(given.tool, given.files)))
        return
    found: dict[str, list[dict[str, float]]] = {}
    for _ in range(given.rounds):
        for name, (environment, _, _) in TOOLS.items():
            python = given.environments / environment / "bin/python" if environment else Path(sys.executable)
            if not python.exists():
                continue
            words = [str(python), __file__, str(given.files), "--tool", name]
            done = subprocess.run(words, capture_output=True, text=True)
            if done.returncode:
                print(f"{name}: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
                continue
            found.setdefault(name, []).append(json.loads(done.stdout.splitlines()[-1]))
    print("| tool | MB | files | MB a CPU second | CPU ms a file | found |\n|---|---|---|---|---|---|")
    for name, runs in found.items():
        one, seconds = runs[0], statistics.median(run["seconds"] for run in runs)
        speed, each = one["megabytes"] / seconds, 1000 * seconds / one["files"]
        cells = [name, f"{one['megabytes']:.1f}", f"{one['files']:,.0f}", f"{speed:.2f}", f"{each:.3f}"]
        print("| " + " | ".join([*cells, f"{one['found']:,.0f}"]) + " |")


if __name__ == "__main__":
    main()
