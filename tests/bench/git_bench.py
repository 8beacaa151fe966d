"""What a crawl of git repositories costs in bytes and requests, beside plain clones.

Real content over a real server: releases of packages become commits, a fork of one becomes a repository
of its own, and ``git http-backend`` serves them on loopback, where every request and byte is counted.

    PYTHONPATH=. python tests/bench/git_bench.py

Peers: ``git clone --depth 1 --bare``, and the same with ``--filter=blob:limit=1m``, each into a folder
of its own for every revision, as a crawler without memory does.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from crawl.sources import cache_folder, git, packages
from crawl.sources.entry import Caps, tidy
from tests.unit.crawl.gitserver import Backend, asked, run, serving

CAPS = Caps(1 << 20, 1 << 30, 100_000, 200)


class Counted(NamedTuple):
    """What a server was asked and sent."""

    requests: int
    bytes: int


def commit(work: Path, repo: packages.Repo, cache: Path) -> str:
    """The files of an archive as one commit."""
    packages.obtain(repo, cache, CAPS)
    for old in work.iterdir():
        if old.name != ".git":
            shutil.rmtree(old) if old.is_dir() else old.unlink()
    for entry in packages.entries(repo, cache, CAPS):
        path = tidy(entry.path)
        if path is not None and entry.kind == "file" and entry.data is not None:
            file = work / path.split("/", 1)[-1]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(entry.data)
    run("add", "--all", "--force", ".", cwd=work)
    run("commit", "--quiet", "--allow-empty", "-m", repo.repo, cwd=work)
    return run("rev-parse", "HEAD", cwd=work)


def build(root: Path, cache: Path) -> list[tuple[str, str, str]]:
    """Repositories to crawl, in order: what each step is, its name, its commit."""
    pinned = packages.list_repos(Path("runs/demo-packages.tsv"))
    steps = []
    for wanted in ("pypi/rich@", "pypi/vispy@", "pypi/rdflib@", "pypi/jupytext@", "pypi/pip@", "pypi/attrs@"):
        releases = sorted((repo for repo in pinned if repo.repo.startswith(wanted)), key=lambda r: r.repo)
        name = wanted.split("/")[1].rstrip("@")
        work = root / f"{name}.git"
        work.mkdir()
        run("init", "--quiet", cwd=work)
        run("config", "uploadpack.allowFilter", "true", cwd=work)
        commits = [commit(work, repo, cache) for repo in releases]
        steps.append(("first crawl", name, commits[0]))
        steps += [("next release", name, later) for later in commits[1:]]
    shutil.copytree(root / "vispy.git", root / "fork.git")
    (root / "fork.git/FORK.md").write_text("a fork\n")
    run("add", ".", cwd=root / "fork.git")
    run("commit", "--quiet", "-m", "fork", cwd=root / "fork.git")
    steps.append(("fork", "fork", run("rev-parse", "HEAD", cwd=root / "fork.git")))
    steps += [("same again", name, commit_) for _, name, commit_ in steps]
    return steps


def crawled(steps: list[tuple[str, str, str]], fetch: Callable[[str, str], object]) -> dict[str, Counted]:
    """By kind of step, what a way to fetch asked for and was sent."""
    sums: dict[str, Counted] = {}
    for kind, name, revision in steps:
        since, Backend.sent = len(Backend.headers_seen), 0
        fetch(name, revision)
        before = sums.get(kind, Counted(0, 0))
        sums[kind] = Counted(before.requests + asked(since), before.bytes + Backend.sent)
    return sums


def main() -> None:
    """Print a table for docs/benchmarks.md."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "forge").mkdir()
        steps = build(root / "forge", cache_folder(None))
        with serving(root / "forge") as base:

            def plain(*more: str) -> Callable[[str, str], object]:
                def fetch(name: str, revision: str) -> None:
                    with tempfile.TemporaryDirectory(dir=root) as clone:
                        run("init", "--quiet", "--bare", ".", cwd=Path(clone))
                        run(
                            "fetch",
                            "--quiet",
                            "--depth=1",
                            *more,
                            f"{base}/{name}.git",
                            revision,
                            cwd=Path(clone),
                        )

                return fetch

            def ours(name: str, revision: str) -> None:
                git.obtain(git.Repo(name, revision, "git", f"{base}/{name}.git"), root / "cache", CAPS)

            ways = {
                "shallow clone": crawled(steps, plain()),
                "and blobs up to 1 MB": crawled(steps, plain("--filter=blob:limit=1m")),
                "Fathom": crawled(steps, ours),
            }
    kinds = list(dict.fromkeys(kind for kind, _, _ in steps))
    print("| way | " + " | ".join(kinds) + " |")
    print("|---|" + "---|" * len(kinds))
    for way, sums in ways.items():
        cells = [f"{sums[kind].bytes / 1e6:,.2f} MB, {sums[kind].requests}" for kind in kinds]
        print(f"| {way} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    sys.exit(main())
