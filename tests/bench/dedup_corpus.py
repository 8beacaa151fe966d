"""The public corpus of the dedup benchmark: files of code from pinned archives, in nested slices.

    python tests/bench/dedup_corpus.py --work DIR [--slices 0.1 0.5 1 2]

``dedup_packages.tsv`` lists PyPI wheels, npm tarballs and upstream tarballs of Debian's sources, most
projects in two versions, with the hash of every archive.  pip, npm and apt download them once; nothing of
them is installed or run.  A slice holds whole packages in all their versions, and every row of a smaller
slice is in the larger ones.  The same list gives the same rows in the same order anywhere.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

PACKAGES = Path(__file__).with_name("dedup_packages.tsv")

SLICES = ("0.1", "0.5", "1", "2")
"""About so many GB of text."""

CODE = frozenset(
    {
        *("asm", "bash", "c", "cc", "cjs", "clj", "cljc", "cljs", "cmake", "cpp", "cs", "css", "cts", "cxx"),
        *("erb", "erl", "ex", "exs", "gemspec", "go", "groovy", "h", "hh", "hpp", "hrl", "hs", "htm", "html"),
        *("hxx", "inc", "inl", "ipp", "java", "js", "jsx", "kt", "kts", "l", "less", "lua", "mjs", "ml"),
        *("mli", "mts", "php", "phpt", "pl", "pm", "proto", "pxd", "py", "pyi", "pyx", "r", "rake", "rb"),
        *("rs", "s", "scala", "scss", "sh", "sql", "swift", "t", "tcl", "ts", "tsx", "vim", "vue", "y"),
    }
)

MOST_BYTES = 1 << 20
"""Of a file; larger ones are passed over."""

SHARD_BYTES, GROUP_BYTES = 32 << 20, 16 << 20
"""Text in a parquet file, and in a row group of it."""

SCHEMA = pa.schema([(name, pa.string()) for name in ("id", "repo", "path")] + [("text", pa.large_string())])


class Archive(NamedTuple):
    """A line of the list: the smallest slice that holds it, the pinned package, its file and hash."""

    slice: str
    package: str
    file: str
    sha256: str


class Corpus(NamedTuple):
    """A slice that is built: a folder of parquet with the columns id, repo, path, text."""

    path: Path
    rows: int
    bytes: int
    digest: str


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True, help="archives and slices lie here")
    parser.add_argument("--slices", nargs="*", default=list(SLICES), choices=SLICES)
    given = parser.parse_args()
    for corpus in build(given.work.resolve(), given.slices):
        print(f"{corpus.path}: {corpus.rows:,} files, {corpus.bytes / 1e6:,.1f} MB, {corpus.digest[:12]}")


def build(work: Path, slices: list[str]) -> list[Corpus]:
    """The slices, built where they are not there yet or the list has changed since."""
    listed = [Archive(*line.split("\t")) for line in PACKAGES.read_text().splitlines()[1:]]
    writers = {}
    for name in slices:
        members = [archive for archive in listed if SLICES.index(archive.slice) <= SLICES.index(name)]
        if not up_to_date(work / name, members):
            writers[name] = Writer(work / name, members)
    # Versions of a project do not follow one another: by the hash of the package, not by its name.
    for archive in sorted(listed, key=lambda one: hashlib.sha256(repr(one[1:3]).encode()).digest()):
        takers = [writer for writer in writers.values() if archive in writer.members]
        if takers:
            for path, text in files_of(fetched(archive, work / "archives")):
                for writer in takers:
                    writer.add(archive.package, path, text)
    for writer in writers.values():
        writer.finish()
    return [opened(work / name) for name in slices]


def opened(path: Path) -> Corpus:
    about = json.loads((path / "corpus.json").read_text())
    return Corpus(path, about["rows"], about["bytes"], about["digest"])


def up_to_date(path: Path, members: list[Archive]) -> bool:
    record = path / "corpus.json"
    return record.exists() and json.loads(record.read_text())["archives"] == [one.sha256 for one in members]


class Writer:
    """One slice being written."""

    def __init__(self, path: Path, members: list[Archive]) -> None:
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        self.path, self.members = path, members
        self._held: list[tuple[str, str, str, str]] = []
        self._size = self._rows = self._bytes = self._shards = 0
        self._digest = hashlib.sha256()

    def add(self, package: str, path: str, text: str) -> None:
        raw = text.encode()
        self._digest.update(f"{package}\0{path}\0{len(raw)}\0".encode() + raw)
        self._held.append((f"{self._rows:07d}", package, path, text))
        self._rows, self._bytes, self._size = self._rows + 1, self._bytes + len(raw), self._size + len(raw)
        if self._size >= SHARD_BYTES:
            self._flush()

    def finish(self) -> None:
        self._flush()
        about = {"rows": self._rows, "bytes": self._bytes, "digest": self._digest.hexdigest()}
        about["archives"] = [one.sha256 for one in self.members]
        (self.path / "corpus.json").write_text(json.dumps(about))

    def _flush(self) -> None:
        if not self._held:
            return
        columns = [pa.array(column, field.type) for column, field in zip(zip(*self._held), SCHEMA)]  # noqa: B905
        group = max(1, len(self._held) * GROUP_BYTES // self._size)
        final = self.path / f"{self._shards:05d}.parquet"
        pq.write_table(pa.table(columns, schema=SCHEMA), final, compression="zstd", row_group_size=group)
        self._held, self._size, self._shards = [], 0, self._shards + 1


def fetched(archive: Archive, cache: Path) -> Path:
    """The archive on disk, downloaded by its registry's own client, after its hash was checked."""
    registry, pin = archive.package.split(":", 1)
    folder = cache / registry / re.sub(r"[/:]", "_", pin)
    file = folder / archive.file
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        {"pypi": pip, "npm": npm, "debian": apt}[registry](pin, folder, cache)
    if not file.exists():
        raise SystemExit(
            f"{archive.package}: the registry no longer has {archive.file}: find a copy of sha256 "
            f"{archive.sha256} (snapshot.debian.org keeps Debian's) and put it into {folder}."
        )
    if hashlib.sha256(file.read_bytes()).hexdigest() != archive.sha256:
        raise SystemExit(f"{file} is not what {PACKAGES.name} pins (its hash differs): delete it, run again.")
    return file


def pip(pin: str, folder: Path, cache: Path) -> None:
    """A wheel for CPython 3.11 on Linux, whatever runs here."""
    where = ["--platform", "manylinux2014_x86_64", "--platform", "manylinux_2_17_x86_64"]
    command = ["download", "-q", "--no-deps", "--only-binary=:all:", "--python-version", "3.11", *where]
    run([sys.executable, "-m", "pip", *command, "-d", str(folder), pin], folder)


def npm(pin: str, folder: Path, cache: Path) -> None:
    run(["npm", "pack", "--silent", "--ignore-scripts", "--pack-destination", str(folder), pin], folder)


def apt(pin: str, folder: Path, cache: Path) -> None:
    """An upstream tarball, by a source list of our own: the machine's set-up of apt stays as it is."""
    home = cache / "apt"
    listed = home / "sources.list"
    where = [f"Dir::Etc::sourcelist={listed}", "Dir::Etc::sourceparts=/dev/null", f"Dir::Cache={home}"]
    where += [f"Dir::State::lists={home / 'lists'}", "APT::Sandbox::User=root"]
    command = ["apt-get", "-qq", *[part for option in where for part in ("-o", option)]]
    if not any((home / "lists").glob("*Sources*")):
        (home / "lists/partial").mkdir(parents=True, exist_ok=True)
        key = "/usr/share/keyrings/debian-archive-keyring.gpg"
        suites = ("bookworm", "bookworm-updates", "trixie")
        lines = [f"deb-src [signed-by={key}] http://deb.debian.org/debian {suite} main\n" for suite in suites]
        listed.write_text("".join(lines))
        run([*command, "update"], folder)
    run([*command, "source", "--download-only", pin], folder)


def run(command: list[str], folder: Path) -> None:
    """Whether it fetched what is wanted is seen from the file: apt fails for a patch that we do not need."""
    subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)


def files_of(path: Path) -> Iterator[tuple[str, str]]:
    """Paths and texts of the files of code in an archive."""
    for name, raw in members_of(path):
        if b"\0" in raw:
            continue
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            text = raw.decode("latin-1")
        if text.strip():
            yield name, text


def members_of(path: Path) -> Iterator[tuple[str, bytes]]:
    if path.suffix in (".whl", ".zip"):
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                if wanted(info.filename, info.file_size):
                    yield info.filename, archive.read(info)
        return
    with tarfile.open(path, "r|*") as archive:
        for member in archive:
            if member.isreg() and wanted(member.name, member.size):
                yield member.name, archive.extractfile(member).read()  # type: ignore[union-attr]


def wanted(name: str, size: int) -> bool:
    return Path(name).suffix[1:].lower() in CODE and 0 < size <= MOST_BYTES


if __name__ == "__main__":
    main()
