"""The dedup section of ``docs/benchmarks.md``: targets, tables and a plot, from what was measured."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import dedup_plot
from dedup_measure import PEERS, Record

HEADING = "## Near-dedup beside its peers"

PLOT = "dedup-peers.svg"

SMALL, BIG = "0.1", "1"

TARGETS = {
    "datatrove": (80, 200),
    "textdedup": (75, 150),
    "dataprepkit": (15, 40),
    "datasketch": (8, 20),
    "gaoya": (3.5, 8),
    "rensa": (3.5, 8),
}
"""How many times our CPU seconds each peer is to take, on the small slice and on the big one."""

LIMIT, PRECISION, RECALL = 0.30, 0.9999, 0.999

BASE_BYTES, BYTES_PER_FILE = 600e6, 256

REPO_LEVEL = 0.05
"""More time that comparing whole repositories, too, may take."""


class Judged(NamedTuple):
    """A record, and how right what the tool kept is; None where that was not looked at."""

    record: Record
    precision: float | None
    recall: float | None


class Results:
    """Look-up by tool, slice and threshold."""

    def __init__(self, judged: Iterable[Judged]) -> None:
        self._by = {(one.record.tool, one.record.slice, one.record.threshold): one for one in judged}

    def get(self, tool: str, slice: str, threshold: float = 0.7) -> Judged | None:
        return self._by.get((tool, slice, threshold))

    def of(self, slice: str, threshold: float = 0.7) -> list[Judged]:
        """What ran on a slice, the quickest first."""
        found = [one for key, one in self._by.items() if key[1:] == (slice, threshold)]
        return sorted(found, key=lambda one: one.record.cpu)

    def slices(self) -> list[str]:
        return sorted({slice for tool, slice, _ in self._by if tool == "dedup"}, key=float)


def write(docs: Path, judged: list[Judged]) -> None:
    """Replace the section and its plot; what stands before and after it stays."""
    results = Results(judged)
    if results.get("dedup", SMALL) is None:
        raise SystemExit("our own tool has not been measured on the small slice: leave --tools out.")
    page = docs / "benchmarks.md"
    text = page.read_text()
    start = text.find(HEADING)
    end = text.find("\n## ", start + 1)
    before, after = (text, "") if start < 0 else (text[:start], "\n" + text[end:] if end > 0 else "\n")
    section = "\n".join([*head(results), *targets(results), *tables(results), *growth(results)])
    page.write_text(before.rstrip("\n") + "\n\n" + section + after)
    (docs / PLOT).write_text(dedup_plot.drawn(lines(results)))


def head(results: Results) -> Iterator[str]:
    ours = results.get("dedup", SMALL)
    assert ours is not None
    yield f"{HEADING} ({ours.record.day[:10]})"
    yield ""
    yield "Files of code of pinned PyPI, npm and Debian packages, most in two versions; `make bench-dedup`."
    yield f"Machine: {ours.record.machine}; our code: commit {ours.record.version}."
    yield (
        "CPU seconds of whole processes (user and system), one worker each, 5-word shingles, threshold 0.7;"
        " every tool reads the same parquet and writes what it keeps; ours verifies, and writes its clusters."
    )
    yield (
        "The *limit* is a process that reads the text column and hashes every text once with xxh3;"
        " it ran before and after every other, and its CPU seconds there say how busy the machine was."
    )
    yield (
        "Precision: dropped files with a kept file at or above the threshold; recall: these, of these and"
        " the duplicates left; by the exact similarity of all pairs, from shingles made by other code."
    )
    yield ""


def targets(results: Results) -> Iterator[str]:
    """Every target, its figure, and whether it is met."""
    yield "| target | wanted | here | |"
    yield "|---|---|---|---|"
    for slice in (SMALL, BIG):
        for tool in PEERS:
            yield _target(f"against {tool}, {_size(results, slice)}", *_ratio(results, tool, slice))
    yield _target(f"share of the limit, {_size(results, BIG)}", LIMIT, _share(results), "{:.2f}")
    for slice in (SMALL, BIG):
        for threshold in (0.7, 0.85):
            one, of = results.get("dedup", slice, threshold), f"{threshold}, {_size(results, slice)}"
            yield _target(f"precision at {of}", PRECISION, one and one.precision, "{:.5f}")
            yield _target(f"recall at {of}", RECALL, one and one.recall, "{:.5f}")
    for slice in results.slices():
        one = results.get("dedup", slice)
        assert one is not None
        most = BASE_BYTES + BYTES_PER_FILE * one.record.rows
        verdict = "met" if one.record.memory <= most else "**missed**"
        here = f"{one.record.memory / 1e6:.0f} MB | {verdict}"
        yield f"| memory, {_size(results, slice)} | at most {most / 1e6:.0f} MB | {here} |"
    for slice in (SMALL, BIG):
        more, wanted = _more(results, slice), f"at most {REPO_LEVEL:.0%}"
        verdict = "" if more is None else "met" if more <= REPO_LEVEL else "**missed**"
        here = "not run" if more is None else f"{more:.1%}"
        yield f"| more time for repos, {_size(results, slice)} | {wanted} | {here} | {verdict} |"
    yield ""


def _target(name: str, wanted: float, found: float | None, form: str = "{:.1f}x") -> str:
    if found is None:
        return f"| {name} | {wanted:g} | not run | |"
    return f"| {name} | {wanted:g} | {form.format(found)} | {'met' if found >= wanted else '**missed**'} |"


def _ratio(results: Results, tool: str, slice: str) -> tuple[float, float | None]:
    wanted = TARGETS[tool][slice == BIG]
    ours, theirs = results.get("dedup", slice), results.get(tool, slice)
    return wanted, theirs.record.cpu / ours.record.cpu if ours and theirs else None


def _share(results: Results) -> float | None:
    ours = results.get("dedup", BIG)
    return sum(ours.record.limit) / len(ours.record.limit) / ours.record.cpu if ours else None


def _more(results: Results, slice: str) -> float | None:
    row, both = results.get("dedup", slice), results.get("dedup, repos too", slice)
    return both.record.cpu / row.record.cpu - 1 if row and both else None


def tables(results: Results) -> Iterator[str]:
    """One table for the small slice and one for the big."""
    for slice in (SMALL, BIG):
        ours = results.get("dedup", slice)
        if ours is None:
            continue
        yield f"### {_size(results, slice)}, {ours.record.rows:,} files"
        yield ""
        yield "| tool | CPU s | x ours | MB/CPU s | memory MB | precision | recall | runs | limit | when |"
        yield "|---|---|---|---|---|---|---|---|---|---|"
        for one in results.of(slice):
            r = one.record
            limit = sum(r.limit) / len(r.limit)
            quality = " | ".join("" if q is None else f"{q:.4f}" for q in one[1:])
            yield (
                f"| {r.tool} | {r.cpu:.1f} | {r.cpu / ours.record.cpu:.1f} | {r.bytes / 1e6 / r.cpu:.1f} "
                f"| {r.memory / 1e6:.0f} | {quality} | {_range(r)} | {limit:.2f} "
                f"| {r.day}, load {r.load:.0f} |"
            )
        yield ""


def _range(record: Record) -> str:
    runs = [run.cpu for run in record.runs]
    return "1" if len(runs) == 1 else f"{len(runs)}, {min(runs):.1f} to {max(runs):.1f}"


def growth(results: Results) -> Iterator[str]:
    """Our own cost by size."""
    yield "### Cost by size"
    yield ""
    yield "| text | files | CPU s | s per GB | memory MB |"
    yield "|---|---|---|---|---|"
    for slice in results.slices():
        one = results.get("dedup", slice)
        assert one is not None
        r = one.record
        yield (
            f"| {_size(results, slice)} | {r.rows:,} | {r.cpu:.1f} | {r.cpu / (r.bytes / 1e9):.1f} "
            f"| {r.memory / 1e6:.0f} |"
        )
    yield ""
    yield f"![CPU seconds by size of the corpus, on logarithmic scales]({PLOT})"


def _size(results: Results, slice: str) -> str:
    one = results.get("dedup", slice)
    size = one.record.bytes if one else float(slice) * 1e9
    return f"{size / 1e6:,.0f} MB"


def lines(results: Results) -> dict[str, list[tuple[float, float]]]:
    """By tool: GB of text and CPU seconds, for the plot."""
    found: dict[str, list[tuple[float, float]]] = {}
    for slice in results.slices():
        for tool in ("dedup", *PEERS):
            if one := results.get(tool, slice):
                found.setdefault(tool, []).append((one.record.bytes / 1e9, one.record.cpu))
                if tool == "dedup":
                    limit = sum(one.record.limit) / len(one.record.limit)
                    found.setdefault("limit", []).append((one.record.bytes / 1e9, limit))
    return found
