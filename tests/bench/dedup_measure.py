"""Whole processes measured: CPU seconds, peak memory and which rows a near-dedup tool keeps.

A record says what was measured (tool, version, corpus, threshold, machine), so that one made earlier is
taken up only if it is of the same.  Beside every run stands the CPU of the *limit*, a process that only
reads the texts and hashes them once: where that grew, the machine was busier.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
import polars as pl
from dedup_corpus import Corpus

ROOT = Path(__file__).resolve().parents[2]

REQUIREMENTS = {
    "datatrove": ["datatrove[io,processing]==0.10.1", "spacy==3.8.18"],
    "textdedup": ["text-dedup==0.4.1"],
    "dataprepkit": ["data-prep-toolkit-transforms[fdedup]==1.1.8", "pyarrow<18"],
    "datasketch": ["datasketch==2.0.0", "xxhash"],
    "rensa": ["rensa==0.5.0"],
    "gaoya": ["gaoya==0.2.2"],
    "limit": ["xxhash==3.5.0"],
}
"""The tools besides ours that run on a CPU and are released (NeMo Curator needs a GPU), and the limit."""

PEERS = tuple(tool for tool in REQUIREMENTS if tool != "limit")

# Order by id, as the peers keep the first; licence headers count, as they do for the peers.
SAME = ["--workers", "1", "--licence-headers", "--priority", "id"]

OURS = {"dedup": [*SAME, "--level", "row"], "dedup, repos too": [*SAME, "--level", "both"]}


class Run(NamedTuple):
    """One whole process with its children."""

    cpu: float
    wall: float
    memory: int


@dataclass(frozen=True)
class Record:
    """The runs of one tool on one slice, and the limit's CPU seconds before and after each."""

    tool: str
    version: str
    slice: str
    rows: int
    bytes: int
    digest: str
    threshold: float
    machine: str
    day: str
    load: float
    runs: list[Run] = field(default_factory=list)
    limit: list[float] = field(default_factory=list)

    @property
    def cpu(self) -> float:
        return median(run.cpu for run in self.runs)

    @property
    def memory(self) -> int:
        return max(run.memory for run in self.runs)


class Bench:
    """A folder of environments, records and what the tools kept."""

    def __init__(self, work: Path, reuse: bool) -> None:
        self.work, self.reuse = work, reuse
        (work / "records").mkdir(parents=True, exist_ok=True)

    def peer(self, tool: str, corpus: Corpus, threshold: float) -> Record:
        """One run of another tool, between two of the limit."""

        def runs(record: Record) -> None:
            record.limit.append(self.limit(corpus).cpu)
            record.runs.append(self._run(tool, corpus, threshold))
            record.limit.append(self.limit(corpus).cpu)

        return self._recorded([tool], corpus, threshold, lambda records: runs(records[0]))[0]

    def ours(self, tools: list[str], corpus: Corpus, threshold: float, times: int) -> list[Record]:
        """Our own tools in turn, so that what is compared ran under the same load."""

        def runs(records: list[Record]) -> None:
            for _ in range(times):
                before = self.limit(corpus).cpu
                for record in records:
                    record.runs.append(self._run(record.tool, corpus, threshold))
                after = self.limit(corpus).cpu
                for record in records:
                    record.limit.extend([before, after])

        return self._recorded(tools, corpus, threshold, runs)

    def limit(self, corpus: Corpus) -> Run:
        return self._run("limit", corpus, 0)

    def kept(self, record: Record) -> np.ndarray:
        """Which rows a tool kept (bool, by row)."""
        file = self._file(record.tool, record.slice, record.threshold).with_suffix(".npy")
        return np.unpackbits(np.load(file), count=record.rows).astype(bool)

    def found(self) -> list[Record]:
        """All records there are."""
        return [_read(file) for file in sorted((self.work / "records").glob("*.json"))]

    def _recorded(
        self, tools: list[str], corpus: Corpus, threshold: float, runs: Callable[[list[Record]], None]
    ) -> list[Record]:
        facts = (corpus.path.name, corpus.rows, corpus.bytes, corpus.digest, threshold, machine())
        day, load = f"{datetime.now(UTC):%Y-%m-%d %H:%M}", round(os.getloadavg()[0], 1)
        new = [Record(tool, version(tool), *facts, day, load) for tool in tools]
        files = [self._file(tool, corpus.path.name, threshold) for tool in tools]
        old = [_read(file) for file in files if file.exists()]
        if self.reuse and len(old) == len(new) and all(map(_same, old, new)):
            return old
        runs(new)
        for record, file in zip(new, files, strict=True):
            file.write_text(json.dumps(asdict(record)))
            print(f"{record.tool}, {record.slice} GB, {threshold}: {record.runs}", file=sys.stderr)
        return new

    def _file(self, tool: str, slice: str, threshold: float) -> Path:
        return self.work / "records" / f"{tool.replace(', ', '-').replace(' ', '-')}-{slice}-{threshold}.json"

    def _run(self, tool: str, corpus: Corpus, threshold: float) -> Run:
        out = self.work / "results" / f"{tool.split(',')[0]}-{os.getpid()}"
        shutil.rmtree(out, ignore_errors=True)
        out.parent.mkdir(exist_ok=True)
        if tool in OURS:
            program = str(Path(sys.executable).with_name("dedup"))
            command = [
                program,
                "scan",
                str(corpus.path),
                str(out),
                "--threshold",
                str(threshold),
                *OURS[tool],
            ]
        else:
            script = str(Path(__file__).with_name("dedup_peer.py"))
            command = [environment(tool, self.work), script, tool, str(corpus.path), str(out), str(threshold)]
        run = measured(command, self.work / "results" / f"{tool}.log")
        if out.exists():
            self._keep(tool, corpus, threshold, out)
        return run

    def _keep(self, tool: str, corpus: Corpus, threshold: float, out: Path) -> None:
        kept = np.zeros(corpus.rows, np.bool_)
        for file in sorted(out.glob("*.parquet")):
            kept[pl.read_parquet(file, columns=["id"])["id"].cast(pl.Int64).to_numpy()] = True
        np.save(self._file(tool, corpus.path.name, threshold).with_suffix(".npy"), np.packbits(kept))
        shutil.rmtree(out)


def measured(command: list[str], log: Path) -> Run:
    """Run a command to its end: CPU with that of its children, memory of the largest process."""
    with log.open("wb") as said:
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
    if status:
        raise SystemExit(f"{command[0]} failed: see {log}")
    return Run(round(usage.ru_utime + usage.ru_stime, 3), round(wall, 3), usage.ru_maxrss * 1024)


def environment(tool: str, work: Path) -> str:
    """The Python of a virtual environment with the tool in it."""
    python = work / "environments" / tool / "bin" / "python"
    done = python.parents[1] / ".ok"
    if not done.exists():
        base = shutil.which("python3.12") if tool == "textdedup" else sys.executable
        if base is None or subprocess.run([base, "--version"], check=False, capture_output=True).returncode:
            raise SystemExit("text-dedup 0.4.1 wants Python 3.12: put python3.12 on the PATH.")
        subprocess.run([base, "-m", "venv", "--clear", str(python.parents[1])], check=True)
        packages = [*REQUIREMENTS[tool], "numpy", "pyarrow"]
        subprocess.run([str(python), "-m", "pip", "install", "-q", *packages], check=True, stdout=2)
        done.touch()
    return str(python)


def version(tool: str) -> str:
    """What is measured: the pinned release of a peer, the commit of ours."""
    if tool in REQUIREMENTS:
        return REQUIREMENTS[tool][0]
    ours = ["dedup", "corpus.py", "passes.py", "runfile.py", "schemas.py"]
    commit = subprocess.run(["git", "log", "-1", "--format=%h", "--", *ours], **_GIT).stdout.strip()
    changed = subprocess.run(["git", "status", "--porcelain", "--", *ours], **_GIT).stdout.strip()
    return f"{commit}, changed" if changed else commit


_GIT = {"cwd": ROOT, "capture_output": True, "text": True}


def machine() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} processors"


def _same(old: Record, new: Record) -> bool:
    told = ("tool", "version", "digest", "threshold", "machine")
    return all(getattr(old, name) == getattr(new, name) for name in told) and "changed" not in new.version


def _read(file: Path) -> Record:
    stored = json.loads(file.read_text())
    return Record(**(stored | {"runs": [Run(*run) for run in stored["runs"]]}))
