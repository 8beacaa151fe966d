"""Are languages told right?  Real files of known projects, each language's accuracy, and files a second.

``languages_truth.toml`` pins the archives and says what their maintainers wrote in which language.  A file
counts as right if its language is the one stated, or if it has none where none of ours is stated.

    python tests/bench/languages_bench.py > table.md
"""

from __future__ import annotations

import argparse
import fnmatch
import hashlib
import os
import sys
import tempfile
import time
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from crawl import encodings, languages
from crawl.sources import packages
from crawl.sources.entry import BadRepo, Caps, OutOfReach, Repo

TRUTH = Path(__file__).with_name("languages_truth.toml")
PER_PROJECT = 150
"""Files of one language that one project may contribute, so that no project is the benchmark."""
CAPS = Caps(1 << 20, 1 << 31, 200_000, 1000)


class Labelled(NamedTuple):
    """One file with what its project says it is, and what we say."""

    project: str
    path: str
    truth: str
    answer: str


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--cache", type=Path, default=Path.home() / ".cache/fathom")
    arguments.add_argument("--wrong", action="store_true", help="list every file that is told wrong")
    given = arguments.parse_args()
    cache = Path(os.environ.get("FATHOM_CACHE", given.cache))
    truth = tomllib.loads(TRUTH.read_text())
    files: list[Labelled] = []
    count, seconds = 0, 0.0
    for repo in _repos(truth):
        try:
            packages.obtain(repo, cache, CAPS)
            texts = dict(_texts(repo, cache))
        except (OutOfReach, BadRepo) as missing:
            print(f"{repo.repo}: {missing}", file=sys.stderr)
            continue
        began = time.process_time()
        settled = languages.settle({path: languages.candidates(path, text) for path, text in texts.items()})
        seconds += time.process_time() - began
        count += len(texts)
        files += _sampled(repo.repo, settled, _labels(truth, repo))
    print(_page(files))
    print(f"\n{count:,} files in {seconds:.1f} CPU seconds: {count / seconds:,.0f} a second.")
    if given.wrong:
        for file in files:
            if file.truth != file.answer:
                print(f"{file.project}:{file.path}: {file.truth}, told {file.answer}", file=sys.stderr)


def _repos(truth: dict[str, Any]) -> list[Repo]:
    lines = ["registry\tname\tversion\tfile\tsha256\tbytes"]
    for key, pinned in truth.items():
        registry, name = key.split(":", 1)
        lines.append(
            "\t".join([registry, name, *(str(pinned[k]) for k in ("version", "file", "sha256", "bytes"))])
        )
    with tempfile.NamedTemporaryFile("w", suffix=".tsv") as file:
        file.write("\n".join(lines) + "\n")
        file.flush()
        return packages.list_repos(Path(file.name))


def _labels(truth: dict[str, Any], repo: Repo) -> list[tuple[str, str]]:
    registry, named = repo.repo.split("/", 1)
    return [(glob, label) for glob, label in truth[f"{registry}:{named.rsplit('@', 1)[0]}"]["labels"]]


def _texts(repo: Repo, cache: Path) -> Iterator[tuple[str, str]]:
    """Every text of an archive by its path below the one directory that all is in."""
    for entry in packages.entries(repo, cache, CAPS):
        if entry.kind == "file" and entry.data is not None and "/" in entry.path:
            decoded = encodings.decode(entry.data)
            if isinstance(decoded, encodings.Text):
                yield str(PurePosixPath(*PurePosixPath(entry.path).parts[1:])), decoded.text


def _sampled(
    project: str, settled: dict[str, str | None], labels: list[tuple[str, str]]
) -> Iterator[Labelled]:
    taken: Counter[str] = Counter()
    for path in sorted(settled, key=lambda path: hashlib.sha256(path.encode()).digest()):
        label = next((label for glob, label in labels if fnmatch.fnmatchcase(path, glob)), "-")
        taken[label] += 1
        if label != "-" and taken[label] <= PER_PROJECT:
            yield Labelled(project, path, label, settled[path] or "none")


def _page(files: list[Labelled]) -> str:
    by_language: dict[str, list[Labelled]] = defaultdict(list)
    for file in files:
        by_language[file.truth].append(file)
    lines = ["| language | projects | files | right | taken for |", "|---|---|---|---|---|"]
    shares = []
    for language, mine in sorted(by_language.items()):
        wrong = Counter(file.answer for file in mine if file.answer != language)
        shares.append(1 - wrong.total() / len(mine))
        told = ", ".join(f"{answer} {count}" for answer, count in wrong.most_common(3))
        projects = len({file.project for file in mine})
        lines.append(f"| {language} | {projects} | {len(mine)} | {shares[-1]:.1%} | {told} |")
    right = sum(file.truth == file.answer for file in files) / len(files)
    mean = sum(shares) / len(shares)
    lines.append(f"| **all** | | {len(files):,} | **{right:.1%}** | mean of the languages {mean:.1%} |")
    unseen = sorted(set(languages.LANGUAGES) - set(by_language))
    return "\n".join([*lines, "", f"No project at hand for: {', '.join(unseen)}."])


if __name__ == "__main__":
    main()
