"""``make bench-dedup``: near-dedup tools and ours side by side on pinned public packages.

Builds a corpus of files from pinned PyPI and npm archives (downloaded, never run), computes the exact
similarity of all pairs that reach the threshold, runs every tool as a whole process, and writes CPU
seconds, memory, precision and recall with a plot into ``docs/benchmarks.md``.

    python tests/bench/dedup_bench.py --work DIR [--size small|full] [--tools dedup gaoya …]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from dedup import kernel

ROOT = Path(__file__).resolve().parents[2]

PACKAGES = Path(__file__).with_name("dedup_packages.tsv")
"""Pinned packages, most in two versions; the full corpus is all of them, the small one those marked small."""

CODE = {
    ".py",
    ".pyi",
    ".pyx",
    ".c",
    ".h",
    ".js",
    ".mjs",
    ".cjs",
    ".ts",
    ".mts",
    ".cts",
    ".tsx",
    ".css",
    ".html",
    ".sh",
    ".vue",
    ".rs",
    ".java",
    ".go",
}

REQUIREMENTS = {
    "gaoya": ["gaoya==0.2.2"],
    "rensa": ["rensa==0.5.0"],
    "datasketch": ["datasketch==2.0.0", "xxhash"],
    "datatrove": ["datatrove[io,processing]==0.10.1", "spacy==3.8.18"],
    "textdedup": ["text-dedup==0.4.1"],
    "dataprepkit": ["data-prep-toolkit-transforms[fdedup]==1.1.8", "pyarrow<18"],
}
"""The tools besides ours that run on a CPU and are released; NeMo Curator needs a GPU."""


class Run(NamedTuple):
    """One tool's whole process."""

    tool: str
    out: Path
    cpu: float
    wall: float
    memory: int


class Result(NamedTuple):
    """A run, and how good what it kept is."""

    tool: str
    cpu: float
    memory: int
    kept: int
    precision: float
    recall: float


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True, help="scratch: archives, environments, results")
    parser.add_argument("--size", choices=("small", "full"), default="small")
    parser.add_argument("--tools", nargs="*", default=["dedup", *REQUIREMENTS])
    parser.add_argument("--thresholds", nargs="*", type=float, default=[0.7])
    parser.add_argument("--reuse", action="store_true", help="take up runs that are in the work directory")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs")
    given = parser.parse_args()
    work = given.work.resolve()
    corpus = build_corpus(work, given.size)
    for threshold in given.thresholds:
        # Runs come first: a child's peak memory counts that of its parent when it was started.
        runs = [measure(tool, corpus, work, threshold, given.reuse) for tool in given.tools]
        truth = true_pairs(corpus, threshold)
        results = [judged(run, truth) for run in runs]
        write_report(given.docs, corpus, threshold, truth, results)


def build_corpus(work: Path, size: str) -> Path:
    """Parquet files (id, repo, path, text) of about 16 MB of text each, packages in the order listed."""
    corpus = work / size
    if (corpus / "done").exists():
        return corpus
    shutil.rmtree(corpus, ignore_errors=True)
    corpus.mkdir(parents=True)
    rows: list[tuple[str, str, str, str]] = []
    number = count = held = 0
    listed = [line.split("\t") for line in PACKAGES.read_text().splitlines()[1:]]
    for pin in [pin for mark, pin in listed if mark == "small" or size == "full"]:
        for path, text in sorted(files_of(archive(pin, work / "archives"))):
            rows.append((f"{count:07d}", pin, path, text))
            count, held = count + 1, held + len(text)
            if held > 16 << 20:
                write_rows(rows, corpus / f"{number:03d}.parquet")
                rows, number, held = [], number + 1, 0
    write_rows(rows, corpus / f"{number:03d}.parquet")
    (corpus / "done").touch()
    return corpus


def write_rows(rows: list[tuple[str, str, str, str]], path: Path) -> None:
    columns = [list(column) for column in zip(*rows, strict=True)]
    pq.write_table(pa.table(columns, names=["id", "repo", "path", "text"]), path, compression="zstd")


def archive(pin: str, cache: Path) -> Path:
    """The archive of a pinned package, downloaded once by pip or npm; nothing of it is run."""
    registry, name = pin.split(":", 1)
    folder = cache / registry / name.replace("/", "__")
    if not any(folder.glob("*")):
        folder.mkdir(parents=True, exist_ok=True)
        pip = ["-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", "-d", str(folder), name]
        npm = ["npm", "pack", "--silent", "--ignore-scripts", "--pack-destination", str(folder), name]
        subprocess.run([sys.executable, *pip] if registry == "pypi" else npm, check=True, stdout=2)
    return next(file for file in sorted(folder.iterdir()) if file.suffix in (".whl", ".tgz", ".gz", ".zip"))


def files_of(path: Path) -> Iterator[tuple[str, str]]:
    """The text files of code in an archive, at most 1 MiB each."""
    if path.suffix in (".whl", ".zip"):
        with zipfile.ZipFile(path) as opened:
            members = [(info.filename, info.file_size) for info in opened.infolist()]
            found = [(name, opened.read(name)) for name, size in members if wanted(name, size)]
    else:
        with tarfile.open(path) as tar:
            found = [
                (member.name, tar.extractfile(member).read())  # type: ignore[union-attr]
                for member in tar
                if member.isreg() and wanted(member.name, member.size)
            ]
    for name, raw in found:
        try:
            yield name, raw.decode()
        except UnicodeDecodeError:
            continue


def wanted(name: str, size: int) -> bool:
    return Path(name).suffix in CODE and 0 < size <= 1 << 20


class Truth(NamedTuple):
    """All pairs of rows whose exact Jaccard similarity reaches the threshold."""

    rows: int
    bytes: int
    left: np.ndarray
    right: np.ndarray


def true_pairs(corpus: Path, threshold: float) -> Truth:
    """By prefix filtering (Chaudhuri et al. 2006), which is exact: of two sets with similarity t, sorted by
    rarity, the first |x| - ceil(t |x|) + 1 members of each have one in common."""
    texts = [
        text for file in shards(corpus) for text in pq.read_table(file, columns=["text"])["text"].to_pylist()
    ]
    sets = []
    for text in texts:
        raw = np.frombuffer(text.encode(), np.uint8)
        found = kernel.shingle(raw, np.array([0]), np.array([len(raw)]), 5, len(raw) // 2 + 1)
        sets.append(np.unique(found))
    sizes = np.array([len(items) for items in sets])
    owners, items = np.repeat(np.arange(len(sets)), sizes), np.concatenate(sets)
    _, code, frequency = np.unique(items, return_inverse=True, return_counts=True)
    order = np.lexsort((code, frequency[code], owners))  # rare shingles first, in one order for all
    place = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    prefix = order[place < np.repeat(sizes - np.ceil(threshold * sizes - 1e-9).astype(int) + 1, sizes)]
    pairs = candidates(code[prefix], owners[prefix], len(sets))
    left, right = pairs // len(sets), pairs % len(sets)
    ends = np.cumsum(sizes)
    similar = kernel.jaccard(items, ends - sizes, ends, left, right) >= threshold - 1e-9
    return Truth(len(sets), sum(len(text.encode()) for text in texts), left[similar], right[similar])


def candidates(code: np.ndarray, owner: np.ndarray, count: int) -> np.ndarray:
    """Pairs of rows that share a code, each once, as left * count + right."""
    order = np.lexsort((owner, code))
    code, owner = code[order], owner[order]
    found, lag = np.empty(0, np.int64), 1
    while (same := np.flatnonzero(code[lag:] == code[:-lag])).size:
        found = np.unique(np.concatenate([found, owner[same] * count + owner[same + lag]]))
        lag += 1
    return found


def shards(corpus: Path) -> list[Path]:
    return sorted(corpus.glob("*.parquet"))


def measure(tool: str, corpus: Path, work: Path, threshold: float, reuse: bool) -> Run:
    """Run a tool as a process of its own."""
    out = work / "results" / f"{tool}-{corpus.name}-{threshold}"
    record = out.with_name(out.name + ".json")
    if reuse and record.exists():
        return Run(tool, out, **json.loads(record.read_text()))
    shutil.rmtree(out, ignore_errors=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    if tool == "dedup":
        flags = ["--workers", "1", "--level", "row", "--licence-headers", "--priority", "id"]
        program = str(Path(sys.executable).with_name("dedup"))
        command = [program, "scan", str(corpus), str(out), "--threshold", str(threshold), *flags]
    else:
        command = [
            environment(tool, work),
            str(ROOT / "tests/bench/dedup_peer.py"),
            tool,
            str(corpus),
            str(out),
        ]
        command.append(str(threshold))
    started = time.perf_counter()
    log = (work / "results" / f"{tool}.log").open("w")
    process = subprocess.Popen(command, stdout=log, stderr=log)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    if status:
        raise SystemExit(f"{tool} failed: see {log.name}")
    found = {"cpu": usage.ru_utime + usage.ru_stime, "wall": wall, "memory": usage.ru_maxrss * 1024}
    record.write_text(json.dumps(found))
    print(tool, found, file=sys.stderr)
    return Run(tool, out, **found)


def judged(run: Run, truth: Truth) -> Result:
    """What a run kept, against the exact pairs."""
    ids = pl.concat([pl.read_parquet(file, columns=["id"]) for file in sorted(run.out.glob("*.parquet"))])[
        "id"
    ]
    kept = np.zeros(truth.rows, np.bool_)
    kept[ids.cast(pl.Int64).to_numpy()] = True
    return Result(run.tool, run.cpu, run.memory, int(kept.sum()), *judge(kept, truth))


def environment(tool: str, work: Path) -> str:
    """The Python of a virtual environment with the tool in it."""
    python = work / "environments" / tool / "bin" / "python"
    if not python.exists():
        base = "python3.12" if tool == "textdedup" else sys.executable  # 0.4.1 wants 3.12
        subprocess.run([base, "-m", "venv", str(python.parents[1])], check=True)
        packages = [*REQUIREMENTS[tool], "numpy", "pyarrow"]
        subprocess.run([str(python), "-m", "pip", "install", "-q", *packages], check=True, stdout=2)
    return str(python)


def judge(kept: np.ndarray, truth: Truth) -> tuple[float, float]:
    """Precision: dropped rows with a kept partner.  Recall: of these and the surplus partners still kept."""
    justified = np.zeros(truth.rows, np.bool_)
    justified[truth.right[kept[truth.left]]] = True
    justified[truth.left[kept[truth.right]]] = True
    dropped, right = int((~kept).sum()), int((justified & ~kept).sum())
    both = kept[truth.left] & kept[truth.right]
    surplus = spanning(truth.left[both].tolist(), truth.right[both].tolist())
    return right / max(1, dropped), right / max(1, right + surplus)


def spanning(left: list[int], right: list[int]) -> int:
    """Edges of a spanning forest: how many rows a cleaner result would still drop."""
    parent: dict[int, int] = {}

    def root(x: int) -> int:
        while parent.setdefault(x, x) != x:
            parent[x] = x = parent[parent[x]]
        return x

    joined = 0
    for a, b in zip(left, right, strict=True):
        a, b = root(a), root(b)
        parent[a] = b
        joined += a != b
    return joined


def write_report(docs: Path, corpus: Path, threshold: float, truth: Truth, results: list[Result]) -> None:
    """A dated section at the end of benchmarks.md, and its plot."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    machine = f"{processor()}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}"
    day = f"{datetime.now(UTC):%Y-%m-%d}"
    ours = next((result for result in results if result.tool == "dedup"), results[0])
    plot = f"dedup-{corpus.name}-{threshold}.svg"
    lines = [
        "",
        f"## Near-dedup beside its peers, {truth.bytes / 1e6:.0f} MB, threshold {threshold} ({day})",
        "",
        f"{truth.rows:,} files of pinned packages; {len(truth.left):,} pairs reach {threshold}.",
        f"Machine: {machine}; Python {platform.python_version()}, commit {commit.stdout.strip()}.",
        "CPU seconds of whole processes (user and system), one worker each; every tool reads the same parquet"
        " and writes what it keeps.",
        "Precision: dropped files with a kept file at or above the threshold."
        " Recall: these, of these and the duplicates left among the kept.",
        "",
        "| tool | CPU s | x ours | MB per CPU s | memory MB | kept | precision | recall |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for r in sorted(results, key=lambda r: r.cpu):
        lines.append(
            f"| {r.tool} | {r.cpu:.1f} | {r.cpu / ours.cpu:.1f} | {truth.bytes / 1e6 / r.cpu:.1f} "
            f"| {r.memory / 1e6:.0f} | {r.kept:,} | {r.precision:.4f} | {r.recall:.4f} |"
        )
    lines += ["", f"![CPU seconds and precision]({plot})", ""]
    page = docs / "benchmarks.md"
    before = page.read_text() if page.exists() else "# Benchmarks\n"
    page.write_text(before.rstrip("\n") + "\n" + "\n".join(lines))
    (docs / plot).write_text(drawn(results))


def drawn(results: list[Result]) -> str:
    """Bars of CPU seconds on a logarithmic scale, with the share of justified removals beside them."""
    results = sorted(results, key=lambda r: r.cpu)
    low, high = np.log10(results[0].cpu / 2), np.log10(results[-1].cpu)
    rows = []
    for i, r in enumerate(results):
        width = 20 + 400 * (np.log10(r.cpu) - low) / max(high - low, 1e-9)
        colour = "#2563eb" if r.tool == "dedup" else "#94a3b8"
        y = 34 + 30 * i
        rows.append(
            f'<text x="96" y="{y + 14}" text-anchor="end">{r.tool}</text>'
            f'<rect x="104" y="{y}" width="{width:.0f}" height="20" rx="3" fill="{colour}"/>'
            f'<text x="{112 + width:.0f}" y="{y + 14}">{r.cpu:.1f} s, {r.precision:.1%} justified</text>'
        )
    height = 44 + 30 * len(results)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 {height}" '
        'font-family="sans-serif" font-size="13">'
        f'<rect width="720" height="{height}" fill="white"/>'
        '<text x="12" y="20" font-weight="bold">CPU seconds (logarithmic); justified removals</text>'
        + "".join(rows)
        + "</svg>\n"
    )


def processor() -> str:
    info = Path("/proc/cpuinfo")
    names = [
        line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")
    ]
    return names[0] if names else platform.processor()


if __name__ == "__main__":
    main()
