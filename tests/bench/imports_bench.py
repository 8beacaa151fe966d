"""Edges between files, beside those that each language's own tool finds: the table of docs/imports.md.

Runs compilers on a few known packages, pinned by hash, in a directory of their own; the product never does.
Needs grimp, gcc, javac with jdeps, go, rustc and tsc on the PATH; a language without its tool is left out.

    python tests/bench/imports_bench.py [LANGUAGE...]
"""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import grimp

from crawl.imports.families import edges
from crawl.imports.place import Source
from crawl.sources import cache_folder, packages
from crawl.sources.entry import Caps, Repo, tidy
from crawl.syntax import grammar_of, look

HERE = Path(__file__).parent
PINNED = HERE / "imports_packages.tsv"
CAPS = Caps(file_bytes=4 << 20, repo_bytes=1 << 30, files=50_000, ratio=200)
ENDINGS = {
    "python": (".py",),
    "c": (".c", ".h"),
    "java": (".java",),
    "go": (".go",),
    "rust": (".rs",),
    "typescript": (".ts", ".tsx", ".d.ts"),
}

Edges = set[tuple[str, str]]


class Row(NamedTuple):
    """One package: edges that both find, that only the tool finds, that only we find."""

    package: str
    files: int
    both: int
    missed: int
    extra: int

    @property
    def precision(self) -> float:
        return self.both / max(1, self.both + self.extra)

    @property
    def recall(self) -> float:
        return self.both / max(1, self.both + self.missed)


def ours(root: Path, language: str) -> Edges:
    """What `crawl parse` and `crawl order` would find in a tree."""
    sources = []
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_file() and name.endswith(ENDINGS[language]) and (grammar := grammar_of(language, name)):
            seen = look(path.read_bytes(), grammar)
            sources.append(Source(name, language, seen.imports, seen.declares, seen.mentions, seen.defines))
    return set(edges(sources))


# ------------------------------------------------------------------------------------------ tools


def run(*words: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(map(str, words)),
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=600,
    )


def python(root: Path) -> Iterator[tuple[Edges, Edges]]:
    """grimp, which follows Python's own rules, on the top-level packages of the archive."""
    inits = [*root.glob("*/__init__.py"), *root.glob("src/*/__init__.py")]
    found = [path.parent for path in inits if path.parent.name not in ("tests", "test", "docs", "examples")]
    sys.path[:0] = sorted({str(package.parent) for package in found})
    graph = grimp.build_graph(*(package.name for package in found), cache_dir=None)
    files = {
        ".".join(path.relative_to(package.parent).with_suffix("").parts).removesuffix(".__init__"): path
        for package in found
        for path in package.rglob("*.py")
    }
    names = {
        module: files[module].relative_to(root).as_posix() for module in graph.modules if module in files
    }
    theirs = {
        (names[one], names[other])
        for one in names
        for other in graph.find_modules_directly_imported_by(one)
        if other in names and one != other
    }
    known = set(names.values())
    yield {edge for edge in ours(root, "python") if set(edge) <= known}, theirs


def c(root: Path) -> Iterator[tuple[Edges, Edges]]:
    """gcc -E -dI, which keeps every include that it came upon, also of what was open before (-H does not).

    Only units that preprocess count, with what they reach; what stands in a branch that this machine does
    not take is seen by us and not by gcc.
    """
    folders = [
        f"-I{folder}" for folder in (root, root / "include", root / "src", root / "lib") if folder.is_dir()
    ]
    theirs: Edges = set()
    reached: set[str] = set()
    for unit in sorted(root.rglob("*.c")):
        done = run("gcc", "-E", "-dI", *folders, unit, cwd=root)
        if done.returncode != 0:
            continue
        opened = {
            os.path.normpath(root / name)
            for name in re.findall(r'^# \d+ "([^"<]+)"', done.stdout, re.MULTILINE)
        }
        inside = {os.path.relpath(name, root) for name in opened if Path(name).is_relative_to(root)}
        reached |= inside
        here = ""
        for line in done.stdout.splitlines():
            if marker := re.match(r'# \d+ "([^"]+)"', line):
                here = os.path.relpath(os.path.normpath(root / marker[1]), root)
            elif (said := re.match(r'#include(?:_next)? [<"]([^>"]+)[>"]', line)) and here in inside:
                beside = os.path.normpath(f"{Path(here).parent}/{said[1]}")
                ending = "/" + os.path.normpath(said[1]).lstrip("./")
                found = (
                    [beside] if beside in inside else [name for name in inside if f"/{name}".endswith(ending)]
                )
                theirs |= {(here, found[0])} if len(found) == 1 else set()
    yield {edge for edge in ours(root, "c") if set(edge) <= reached}, {(a, b) for a, b in theirs if a != b}


def java(root: Path) -> Iterator[tuple[Edges, Edges]]:
    """javac, then jdeps on the classes: every class that another one's bytecode names."""
    base = root / "src/main/java"
    sources = [
        path for path in base.rglob("*.java") if path.name not in ("module-info.java", "package-info.java")
    ]
    with tempfile.TemporaryDirectory() as classes:
        flags = ("-proc:none", "-nowarn", "-encoding", "UTF-8", "-d", classes)
        done = run("javac", *flags, *sources, cwd=root)
        assert done.returncode == 0, done.stderr[-500:]
        listed = run("jdeps", "-verbose:class", "-filter:none", classes, cwd=root).stdout
    files = {
        ".".join(path.relative_to(base).with_suffix("").parts): path.relative_to(root).as_posix()
        for path in sources
    }
    theirs: Edges = set()
    importer = ""
    for line in listed.splitlines():
        if begun := re.match(r"   (\w\S*)", line):
            importer = begun[1].split("$")[0]
        if found := re.search(r" -> (\S+)", line):
            pair = importer, found[1].split("$")[0]
            if pair[0] != pair[1] and set(pair) <= set(files):
                theirs.add((files[pair[0]], files[pair[1]]))
    known = set(files.values())
    yield {edge for edge in ours(root, "java") if set(edge) <= known}, theirs


def go(root: Path) -> Iterator[tuple[Edges, Edges]]:
    """go list, which knows imports by package; so edges are between directories here."""
    if not (root / "go.mod").exists():
        return
    done = run(
        "go", "list", "-e", "-json", "./...", cwd=root, GOFLAGS="-mod=mod", GOPROXY="off", GO111MODULE="on"
    )
    decoder, listed, at = json.JSONDecoder(), [], 0
    while at < len(done.stdout.rstrip()):
        found, at = decoder.raw_decode(done.stdout, at)
        at += 1
        listed.append(found)
    folders = {one["ImportPath"]: Path(one["Dir"]).relative_to(root).as_posix() for one in listed}
    built = {
        f"{folders[one['ImportPath']]}/{file}".removeprefix("./")
        for one in listed
        for kind in ("GoFiles", "CgoFiles")
        for file in one.get(kind) or ()
    }
    theirs = {
        (folders[one["ImportPath"]], folders[path])
        for one in listed
        for path in one.get("Imports") or ()
        if path in folders
    }
    pairs = {(a, b) for a, b in ours(root, "go") if a in built and b in built}
    yield {(str(Path(a).parent), str(Path(b).parent)) for a, b in pairs}, theirs


def rust(root: Path) -> Iterator[tuple[Edges, Edges]]:
    """rustc's dep-info, which lists the files of a crate: those that our edges lead to from its root."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for importer, imported in ours(root, "rust"):
        found[importer].add(imported)
    for top in sorted(root.rglob("src/lib.rs")):
        if {"cargo", "vendor"} & set(top.relative_to(root).parts):
            continue  # copies of other projects
        with tempfile.TemporaryDirectory() as built:
            target = Path(built) / "deps.d"
            flags = ("--edition=2021", "--crate-type=lib", f"--emit=dep-info={target}", *_features(top))
            run("rustc", *flags, top, cwd=root)
            listed = target.read_text() if target.exists() else ""
        name = top.relative_to(root).as_posix()
        files = set(re.findall(r"^(\S+):\s*$", listed, re.MULTILINE))
        theirs = {os.path.relpath(root / file, root) for file in files if file.endswith(".rs")} - {name}
        reached, left = {name}, [name]
        while left:
            new = found[left.pop()] - reached
            reached |= new
            left += new
        inside = {file for file in reached - {name} if file.startswith(f"{Path(name).parent}/")}
        if theirs:  # a file of another crate of the repo is no file of this one
            yield {(name, file) for file in inside}, {(name, file) for file in theirs}


def _features(top: Path) -> list[str]:
    """All features of a crate switched on, for imports are followed whatever is switched on."""
    with suppress(OSError):
        manifest = tomllib.loads((top.parent.parent / "Cargo.toml").read_text())
        optional = [
            name
            for name, how in manifest.get("dependencies", {}).items()
            if isinstance(how, dict) and how.get("optional")
        ]
        return [
            word
            for name in [*manifest.get("features", {}), *optional]
            for word in ("--cfg", f'feature="{name}"')
        ]
    return []


def typescript(root: Path) -> Iterator[tuple[Edges, Edges]]:
    """tsc --traceResolution, which says for every specifier which file it opened."""
    inside = [path for path in root.rglob("*.ts*") if path.name.endswith((".ts", ".tsx"))]
    sources = [
        path for path in inside if not path.name.endswith(".d.ts") and "node_modules" not in path.parts
    ]
    flags = ("--noEmit", "--traceResolution", "--skipLibCheck", "--jsx", "preserve")
    done = run("tsc", *flags, "--moduleResolution", "node", *sources, cwd=root)
    theirs: Edges = set()
    pattern = r"======== Module name '([^']+)' was successfully resolved to '([^']+)'"
    importer = ""
    for line in done.stdout.splitlines():
        if begun := re.match(r"======== Resolving module '[^']+' from '([^']+)'", line):
            importer = begun[1]
        elif (ended := re.match(pattern, line)) and ended[1].startswith("."):
            theirs.add((os.path.relpath(importer, root), os.path.relpath(ended[2], root)))
    typed = {pair for pair in theirs if all(name.endswith((".ts", ".tsx")) for name in pair)}
    importers = {path.relative_to(root).as_posix() for path in sources}
    yield (
        {edge for edge in ours(root, "typescript") if edge[0] in importers},
        {(a, b) for a, b in typed if a in importers and a != b},
    )


TOOLS: dict[str, tuple[str, str, Callable[[Path], Iterator[tuple[Edges, Edges]]]]] = {
    "python": ("python3", "grimp", python),
    "java": ("jdeps", "javac, jdeps -verbose:class", java),
    "go": ("go", "go list -json", go),
    "rust": ("rustc", "rustc --emit=dep-info", rust),
    "c": ("gcc", "gcc -E -dI", c),
    "typescript": ("tsc", "tsc --traceResolution", typescript),
}


# ------------------------------------------------------------------------------------------ table


def unpacked(repo: Repo, into: Path) -> Path:
    """The archive's files below one directory; only plain files with harmless paths."""
    cache = cache_folder(None)
    packages.obtain(repo, cache, CAPS)
    for entry in packages.entries(repo, cache, CAPS):
        path = tidy(entry.path)
        if path and entry.kind == "file" and entry.data is not None:
            file = into / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(entry.data)
    tops = list(into.iterdir())
    return tops[0] if len(tops) == 1 and tops[0].is_dir() else into


def measured(language: str, repo: Repo) -> Row | None:
    with tempfile.TemporaryDirectory() as folder:
        root = unpacked(repo, Path(folder).resolve())
        both = missed = extra = 0
        files = sum(1 for path in root.rglob("*") if path.name.endswith(ENDINGS[language]))
        for found, truth in TOOLS[language][2](root):
            both += len(found & truth)
            missed += len(truth - found)
            extra += len(found - truth)
            if "--show" in sys.argv:
                for sign, some in (("-", truth - found), ("+", found - truth)):
                    print("\n".join(f"{sign} {a} {b}" for a, b in sorted(some)[:12]), file=sys.stderr)
        return Row(repo.repo, files, both, missed, extra) if both + missed + extra else None


def main(languages: list[str]) -> None:
    with PINNED.open(newline="") as file:
        of = {
            f"{row['registry']}/{row['name']}@{row['version']}": row["language"]
            for row in csv.DictReader(file, delimiter="\t")
        }
    print(
        "| language | package | files | edges of the tool | precision | recall | tool |\n"
        "|---|---|---:|---:|---:|---:|---|"
    )
    for language in languages or list(TOOLS):
        program, name, _ = TOOLS[language]
        if shutil.which(program) is None:
            print(f"{language}: {program} is not on the PATH; left out.", file=sys.stderr)
            continue
        rows = [
            row
            for repo in packages.list_repos(PINNED)
            if of[repo.repo] == language and (row := measured(language, repo))
        ]
        total = Row(
            f"all {len(rows)}", *(sum(column) for column in zip(*(row[1:] for row in rows), strict=True))
        )
        for row in [*rows, total]:
            share = f"{row.both + row.missed:,} | {row.precision:.3f} | {row.recall:.3f}"
            print(f"| {language} | {row.package} | {row.files:,} | {share} | {name} |", flush=True)


if __name__ == "__main__":
    main([word for word in sys.argv[1:] if not word.startswith("-")])
