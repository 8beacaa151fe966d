"""`dedup substrings` beside a suffix array: CPU seconds and memory of whole processes, in one run.

    python tests/bench/substrings_bench.py CORPUS... --work DIR [--suffix-array PYTHON]

CORPUS is a folder of parquet with a column text, such as `make bench-dedup` builds.  PYTHON is the
interpreter of an environment of its own (`pip install pydivsufsort==0.0.20 pyarrow`): it reads the same texts
and builds the suffix array of all of them, which is the first of the steps of deduplicate-text-datasets.
Nothing is searched or written, so its figure is a lower bound.
Prints rows of a table in Markdown.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq

SUFFIX_ARRAY = """
import sys, numpy, pyarrow.parquet as pq
from pathlib import Path
from pydivsufsort import divsufsort
files = sorted(Path(sys.argv[1]).glob("*.parquet"))
texts = [t.as_py().encode() for f in files for t in pq.read_table(f, columns=["text"])["text"]]
divsufsort(numpy.frombuffer(b"\\0".join(texts), numpy.uint8).copy())
"""


def main() -> None:
    """Measure every tool on every corpus, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("corpora", type=Path, nargs="+")
    parser.add_argument("--work", type=Path, required=True, help="scratch")
    parser.add_argument("--suffix-array", type=Path, help="interpreter that has pydivsufsort")
    given = parser.parse_args()
    dedup = str(Path(sys.executable).with_name("dedup"))
    print("| corpus MB | tool | CPU s | MB per CPU s | memory MB |\n|---|---|---|---|---|")
    for corpus in given.corpora:
        megabytes = sum(map(text_bytes, sorted(corpus.glob("*.parquet")))) / 1e6
        out = given.work / "out"
        ours = [dedup, "substrings", str(corpus), str(out), "--workers", "1"]
        tools = {"dedup substrings": ours, "dedup substrings --mask": [*ours, "--mask"]}
        if given.suffix_array:
            tools["suffix array, built only"] = [str(given.suffix_array), "-c", SUFFIX_ARRAY, str(corpus)]
        for tool, command in tools.items():
            shutil.rmtree(out, ignore_errors=True)
            seconds, memory = measure(command)
            print(
                f"| {megabytes:,.0f} | {tool} | {seconds:.1f} | {megabytes / seconds:.1f} | {memory:,.0f} |",
                flush=True,
            )
        shutil.rmtree(out, ignore_errors=True)


def text_bytes(file: Path) -> int:
    """Bytes of text in a parquet file."""
    lengths = pc.binary_length(pq.read_table(file, columns=["text"])["text"])
    return int(pc.sum(lengths).as_py() or 0)


def measure(command: list[str]) -> tuple[float, float]:
    """CPU seconds (user and system) and peak memory in MB of a process; ends with it if it fails."""
    process = os.posix_spawn(command[0], command, os.environ)
    _, status, used = os.wait4(process, 0)
    if status:
        raise SystemExit(f"{command[:3]} failed")
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


if __name__ == "__main__":
    main()
