"""``make bench-crawl``: the chain from archives to the ordered, screened corpus, verb by verb, one process.

CPU seconds and peak memory of every verb, children included, on a quarter, half and all of the packages of
`runs/demo-packages.tsv`, downloaded before.

    python tests/bench/chain_bench.py [--work DIR]

Text is what `crawl fetch` took out of the archives and kept, archives are all that was unpacked.  Memory is
that of the largest process: a verb's own, or the one that parses for it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import polars as pl

import corpus
from crawl import parse, syntax
from crawl.config import Parse

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
LISTED = ROOT / "runs/demo-packages.tsv"
VERBS: dict[str, tuple[str, ...]] = {
    "files": ("crawl", "fetch", "repos"),
    "kept": ("crawl", "filter", "files"),
    "redacted": ("crawl", "redact", "kept"),
    "parsed": ("crawl", "parse", "redacted"),
    "documents": ("crawl", "order", "redacted", "parsed"),
    "unique": ("dedup", "scan", "documents"),
    "corpus": ("crawl", "screen", "unique", "parsed", "problems"),
}
ALONE = ("--workers", "1")
ORDERED = ("files", "kept", "redacted", "parsed", "documents")


class Cost(NamedTuple):
    """Of one verb."""

    seconds: float
    """CPU."""
    peak: float
    """MB."""


def call(words: list[str]) -> Cost:
    """Run a verb by itself, its progress hidden."""
    pid = os.posix_spawn(
        words[0],
        words,
        os.environ,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
            (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
        ],
    )
    _, status, used = os.wait4(pid, 0)
    if status:
        raise SystemExit(f"{' '.join(words)} failed: call it by itself")
    return Cost(used.ru_utime + used.ru_stime, used.ru_maxrss / 1e3)


def packages(share: float) -> str:
    """The head of the list, and every so manieth of its packages."""
    lines = LISTED.read_text().splitlines(keepends=True)
    head = next(n for n, line in enumerate(lines) if line.startswith("registry\t")) + 1
    rows = lines[head:]
    return "".join(
        lines[:head] + [row for n, row in enumerate(rows) if int(n * share) != int((n + 1) * share)]
    )


def chain(out: Path, share: float) -> dict[str, Cost]:
    """All verbs on a share of the packages."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    (out / "packages.tsv").write_text(packages(share))
    (out / "run.toml").write_text(f'[crawl.list]\npackages = "{out / "packages.tsv"}"\n')
    run = ["--run", str(out / "run.toml")]
    call([str(BIN / "crawl"), "list", str(out / "repos"), *run])
    call([str(BIN / "evals"), "problems", str(out / "problems"), "--suites", "humaneval", *run])
    return {
        table: call(
            [str(BIN / stage), verb, *(str(out / s) for s in sources), str(out / table), *run, *ALONE]
        )
        for table, (stage, verb, *sources) in VERBS.items()
    }


def sizes(out: Path) -> tuple[float, float]:
    """MB of text that was kept, and of all that was unpacked."""
    table = corpus.read(out / "files")
    text = table.scan().select(pl.col("text").str.len_bytes().sum()).collect().item()
    gone = table.scan("rejects").select(pl.col("bytes").sum()).collect().item()
    return text / 1e6, (text + gone) / 1e6


def parsing(out: Path, verb: Cost) -> tuple[float, float]:
    """MB of parsed text a CPU second: of the verb, and of its work in a process that nothing may kill."""
    files, settings = corpus.read(out / "redacted"), Parse()
    seconds, size = 0.0, 0
    for shard in files.shards():
        for batch in files.batches(shard, ["path", "language", "text"]):
            for file in batch.to_pylist():
                grammar, source = parse.grammar_for(file, settings), file["text"].encode()
                if isinstance(grammar, str):
                    began = time.process_time()
                    syntax.look(source, grammar)
                    seconds += time.process_time() - began
                    size += len(source)
    return size / 1e6 / verb.seconds, size / 1e6 / seconds


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, help="where tables are made; a temporary folder if not given")
    work = (parser.parse_args().work or Path(tempfile.mkdtemp())).resolve()
    call([str(BIN / "crawl"), "fetch", *_downloaded(work)])
    shares = (0.25, 0.5, 1.0)
    costs = {share: chain(work / f"{share:.0%}", share) for share in shares}
    text = {share: sizes(work / f"{share:.0%}") for share in shares}
    print("| verb | " + " | ".join(f"{text[s][0]:,.0f} MB: CPU s, peak MB" for s in shares) + " |")
    print("|---|" + "---|" * len(shares))
    for table, (stage, verb, *_) in VERBS.items():
        cells = [f"{costs[s][table].seconds:.1f}, {costs[s][table].peak:,.0f}" for s in shares]
        print(f"| {stage} {verb} | " + " | ".join(cells) + " |")
    for name, tables in (("archive to ordered documents", ORDERED), ("archive to corpus", tuple(VERBS))):
        spent = {s: sum(costs[s][table].seconds for table in tables) for s in shares}
        cells = [
            f"{text[s][0] / spent[s]:.2f} MB/s of text, {text[s][1] / spent[s]:.2f} unpacked" for s in shares
        ]
        print(f"| {name} | " + " | ".join(cells) + " |")
    rates = [parsing(work / f"{s:.0%}", costs[s]["parsed"]) for s in shares]
    cells = [f"{verb:.2f} MB/s of parsed text, {alone:.2f} in one process" for verb, alone in rates]
    print("| parse and imports | " + " | ".join(cells) + " |")
    print(f"\nLoad {os.getloadavg()[0]:.1f}.")


def _downloaded(work: Path) -> list[str]:
    """Words of a fetch that fills the cache, so that no download is timed."""
    shutil.rmtree(work / "cache", ignore_errors=True)
    (work / "cache").mkdir(parents=True)
    (work / "cache/run.toml").write_text(f'[crawl.list]\npackages = "{LISTED}"\n')
    run = ["--run", str(work / "cache/run.toml")]
    call([str(BIN / "crawl"), "list", str(work / "cache/repos"), *run])
    return [str(work / "cache/repos"), str(work / "cache/files"), *run]


if __name__ == "__main__":
    main()
