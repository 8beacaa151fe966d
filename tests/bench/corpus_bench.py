"""``make bench-corpus``: `runs/small.toml` with a git server, through make in one go, and what came of it.

Registries as the run file has them, and releases of packages as git repositories that ``git http-backend``
serves on loopback.  ``make corpus`` and the packed tokens, then the tests that count the numbers of the
card again and ask ``crawl explain`` about files of every fate, on this very run.

    PYTHONPATH=. python tests/bench/corpus_bench.py [--out DIR]

Prints a line for every verb, in files (`dedup scan` counts documents), and MB of text that came in for
every CPU second of ``make corpus``.  What is finished is not made again, so a second call tests alone.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import polars as pl

import corpus
from crawl.sources import cache_folder, packages
from tests.bench.git_bench import commit
from tests.unit.crawl import gitserver

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
TABLES = ("repos", "files", "kept", "redacted", "parsed", "documents", "unique", "corpus")
CLONED = ("rich", "rdflib", "jupytext", "attrs")


def forge(root: Path, cache: Path) -> list[str]:
    """Repositories with a commit for every pinned release; their names."""
    pinned = packages.list_repos(ROOT / "runs/demo-packages.tsv")
    for name in CLONED:
        work = root / f"{name}.git"
        work.mkdir(parents=True)
        gitserver.run("init", "--quiet", cwd=work)
        gitserver.run("config", "uploadpack.allowFilter", "true", cwd=work)
        for release in sorted((one for one in pinned if one.repo.startswith(f"pypi/{name}@")), key=str):
            commit(work, release, cache)
    return [f"{name}.git" for name in CLONED]


def run_file(path: Path, urls: list[str]) -> Path:
    """`runs/small.toml` with the git repositories besides, and a budget of tokens."""
    text = (ROOT / "runs/small.toml").read_text()
    listed = ", ".join(f'"{url}"' for url in urls)
    text = text.replace("[crawl.list]\n", f"[crawl.list]\ngit = [{listed}]\n", 1)
    path.write_text(text + "\n[train.pack]\nlength = 4096\nmax_tokens = 5_000_000\n")
    return path


def make(run: Path, out: Path, *targets: str) -> tuple[float, float]:
    """Wall and CPU seconds.  With one worker, for those of a pool are not this process' children to count."""
    before, began = os.times(), perf_counter()
    words = ["make", "-C", str(ROOT), *targets, f"RUN={run}", f"OUT={out}", f"VENV={BIN.parent}", "WORKERS=1"]
    subprocess.run(words, check=True)
    after, ended = os.times(), perf_counter()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return ended - began, spent


def table(out: Path, wall: float, spent: float) -> None:
    """A table for docs/benchmarks.md."""
    print("| verb | in | out | MB out | wall s |\n|---|---:|---:|---:|---:|")
    for name in TABLES:
        found = corpus.read(out / name)
        counts, size = found.counts, sum(shard.bytes for shard in found.shards())
        print(
            f"| {found.manifest['made_by']} | {counts['in']:,} | {counts['out']:,} "
            f"| {size / 1e6:,.0f} | {found.manifest['seconds']:,.0f} |"
        )
    text = corpus.read(out / "files").scan().select(pl.col("text").str.len_bytes().sum()).collect().item()
    rows = corpus.read(out / "corpus").scan().select("language", "bytes").collect()
    print(
        f"\n`make corpus`: {wall:,.0f} s, {spent:,.0f} CPU s; {text / 1e6:,.0f} MB of text came in, "
        f"{text / 1e6 / spent if spent else 0:.2f} MB/s a core; {rows['bytes'].sum() / 1e6:,.0f} MB went out "
        f"in {rows['language'].n_unique()} languages; load {os.getloadavg()[0]:.1f}."
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("out/bench-corpus"))
    out = parser.parse_args().out.resolve()
    with tempfile.TemporaryDirectory() as folder:
        names = forge(Path(folder) / "forge", cache_folder(None))
        with gitserver.serving(Path(folder) / "forge") as base:
            run = run_file(out.with_suffix(".toml"), [f"{base}/{name}" for name in names])
            table(out, *make(run, out, "corpus"))
            make(run, out, str(out / "tokens/manifest.json"))
    tests = [str(ROOT / "tests/integration" / name) for name in ("test_card.py", "test_explain.py")]
    return subprocess.run([sys.executable, "-m", "pytest", "--tables", str(out), *tests]).returncode


if __name__ == "__main__":
    sys.exit(main())
