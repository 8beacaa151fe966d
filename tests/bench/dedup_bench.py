"""``make bench-dedup``: near-dedup tools and ours side by side on pinned public packages.

Builds the corpus (``dedup_corpus``), runs every tool as a whole process (``dedup_measure``), compares what
each kept with the exact similarity of all pairs (``dedup_truth``), and writes tables, targets and a plot
into ``docs/benchmarks.md`` (``dedup_page``).

    python tests/bench/dedup_bench.py --work DIR [--reuse] [--tools dedup gaoya …] [--slices 0.1 1]

On 1 GB the slowest peers take most of an hour of CPU each.  ``--reuse`` takes up records of the same tool,
version, corpus and machine, so a run that was stopped goes on; the page says when each was made.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import dedup_corpus
import dedup_page
from dedup_corpus import Corpus
from dedup_measure import OURS, PEERS, ROOT, Bench, Record

PEERS_ON = ("0.1", "1")
"""Slices that the peers run on; the others show how our own cost grows."""

THRESHOLDS = (0.7, 0.85)
"""Of the comparison with all pairs; the peers run at the first."""

TIMES = 3
"""Runs of ours, of which the median counts."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True, help="scratch: archives, environments, records")
    parser.add_argument("--slices", nargs="*", default=list(dedup_corpus.SLICES))
    parser.add_argument("--tools", nargs="*", default=["dedup", *PEERS], help="the others keep their records")
    parser.add_argument("--reuse", action="store_true", help="take up records of the same")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="where benchmarks.md is")
    given = parser.parse_args()
    work = given.work.resolve()
    corpora = dedup_corpus.build(work, given.slices)
    bench = Bench(work, given.reuse)
    for corpus in corpora:
        measure(bench, corpus, given.tools)
    records = [record for record in bench.found() if record.digest in {corpus.digest for corpus in corpora}]
    judged = [dedup_page.Judged(record, *quality(bench, record)) for record in records]
    dedup_page.write(given.docs, judged)


def measure(bench: Bench, corpus: Corpus, tools: list[str]) -> None:
    """All that is run on one slice, the quick before the slow."""
    peers_too = corpus.path.name in PEERS_ON
    if "dedup" in tools:
        bench.ours(list(OURS) if peers_too else ["dedup"], corpus, THRESHOLDS[0], TIMES)
        for threshold in THRESHOLDS[1:] if peers_too else ():
            bench.ours(["dedup"], corpus, threshold, 1)
    for tool in reversed(PEERS) if peers_too else ():
        if tool in tools:
            bench.peer(tool, corpus, THRESHOLDS[0])


def quality(bench: Bench, record: Record) -> tuple[float | None, float | None]:
    """Precision and recall of what a tool kept, where all pairs are known."""
    if record.slice not in PEERS_ON or record.tool not in ("dedup", *PEERS):
        return None, None
    truth = bench.work / f"truth-{record.digest[:12]}-{record.threshold}.npz"
    if not truth.exists():  # a process of its own: a child's peak memory counts that of its parent
        script = str(Path(__file__).with_name("dedup_truth.py"))
        aside = truth.with_suffix(".part")
        command = [sys.executable, script, str(bench.work / record.slice), str(record.threshold), str(aside)]
        subprocess.run(command, check=True)
        aside.replace(truth)
    import dedup_truth

    return dedup_truth.judge(bench.kept(record), dedup_truth.load(truth))


if __name__ == "__main__":
    main()
