"""Tables of code that others have published: parquet and jsonl, in folders or on the Hugging Face hub.

A row is a file of a repository (the Stack and its kin), or a repository with a list of its files (the
Stack v3).  The rows are streamed once and dealt out by repository into the cache, so that a repo can be
read alone and as a whole wherever its rows stood; from there on it is a repo like any other.  Memory
holds a 256th of the table at most.  A token for the hub comes from ``HF_TOKEN``.
"""

from __future__ import annotations

import fcntl
import hashlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urldefrag, urlsplit

import polars as pl
import pyarrow.parquet as pq

from corpus import Refusal, sha256_of
from crawl.sources import columns
from crawl.sources.entry import BadRepo, Caps, Entry, OutOfReach, Repo, printable

BUFFER = 128 << 20
"""Bytes of text that are dealt out at a time."""

ROWS = 64
"""Rows that are read at a time: one may be a whole repository."""

GROUP = 500
"""Files in a row group of what is dealt out: as much is read for one small repo."""

_HUB = re.compile(r"hf://datasets/([\w.-]+/[\w.-]+)(?:@([\w./-]+?))?(?:/([^@#]+))?")
_SUFFIXES = {"parquet": (".parquet",), "json": (".jsonl", ".jsonl.gz", ".jsonl.zst", ".json.gz")}


class Table(NamedTuple):
    """A table at one revision: its address, which names the revision where it can, and its label."""

    url: str
    revision: str
    label: str


def list_repos(address: str, cache: Path) -> list[Repo]:
    """The repositories in a table, which is read for that.

    Args:
        address: A file, a folder, or ``hf://datasets/OWNER/NAME[@REVISION][/PATTERN]``.
    """
    table = _on_hub(address) if address.startswith("hf://") else _on_disk(Path(address))
    folder = _folder(table.url, table.revision, cache)
    try:
        _deal_out(table.url, folder)
    except OutOfReach as failure:
        raise Refusal(f"{address}: {failure.detail}.") from None
    rows = pl.read_parquet(folder / _INDEX).to_dicts()
    return [_repo(table, row) for row in rows]


def has(repo: Repo, cache: Path) -> bool:
    """Whether its table has been dealt out."""
    return (_folder(urldefrag(repo.url).url, repo.revision, cache) / _INDEX).exists()


def obtain(repo: Repo, cache: Path, caps: Caps) -> int:
    """Deal its table out if that is not done yet; returns the bytes that were stored."""
    url = urldefrag(repo.url).url
    if urlsplit(url).scheme == "file" and not has(repo, cache) and _revision(_path(url)) != repo.revision:
        raise OutOfReach("changed", "the table is not what it was when it was listed: list again")
    return _deal_out(url, _folder(url, repo.revision, cache))


def entries(repo: Repo, cache: Path, caps: Caps) -> Iterator[Entry]:
    """The files of the repo, in path order."""
    url, name = urldefrag(repo.url)
    name = unquote(name)
    total = count = 0
    for path, content in _rows(_folder(url, repo.revision, cache) / f"{_bucket(name)}.parquet", name):
        data = content.encode("utf-8", "surrogatepass")
        count, total = count + 1, total + len(data)
        if count > caps.files:
            raise BadRepo("too_many_files", f"more than {caps.files}")
        if total > caps.repo_bytes:
            raise BadRepo("too_large", f"more than {caps.repo_bytes} bytes")
        yield Entry(path, "file", len(data), data if len(data) <= caps.file_bytes else None)


def _repo(table: Table, row: dict[str, Any]) -> Repo:
    name = printable(row["repo"]).replace(":", "_")
    return Repo(
        repo=f"{table.label}/{name}",
        revision=table.revision,
        source="dataset",
        url=f"{table.url}#{quote(row['repo'], safe='')}",
        license=row["license"],
        stars=row["stars"],
        bytes=row["bytes"],
    )


# ------------------------------------------------------------------------------------- where it is


def _on_hub(address: str) -> Table:
    """A table on the hub, pinned to a commit."""
    found = _HUB.fullmatch(address)
    if not found:
        raise Refusal(f"{address!r} is no dataset: write hf://datasets/OWNER/NAME[@REVISION][/PATTERN].")
    from huggingface_hub import HfApi

    name, revision, pattern = found.groups()
    try:
        commit = HfApi().dataset_info(name, revision=revision).sha
    except Exception as error:  # some thirty kinds, all about the hub
        raise Refusal(f"{address}: {_line(error)}: check the name, HF_TOKEN and the network.") from None
    url = f"hf://datasets/{name}@{commit}" + (f"/{pattern}" if pattern else "")
    return Table(url, str(commit), f"hf/{name}")


def _on_disk(path: Path) -> Table:
    if not _data_files(path):
        raise Refusal(
            f"{path} is, or has in it, no file of parquet or jsonl: correct the setting `datasets`."
        )
    path = path.resolve()
    return Table(path.as_uri(), _revision(path), f"table/{path.name.split('.')[0].replace(':', '_')}")


def _path(url: str) -> Path:
    return Path(unquote(urlsplit(url).path))


def _data_files(path: Path) -> list[Path]:
    every = sum(_SUFFIXES.values(), ())
    files = [path] if path.is_file() else sorted(path.rglob("*")) if path.is_dir() else []
    return [file for file in files if file.name.endswith(every)]


def _revision(path: Path) -> str:
    lines = [f"{file.relative_to(path.parent)} {sha256_of(file)}\n" for file in _data_files(path)]
    return f"sha256:{hashlib.sha256(''.join(lines).encode()).hexdigest()}"


def _folder(url: str, revision: str, cache: Path) -> Path:
    name = hashlib.sha256(f"{url} {revision}".encode()).hexdigest()
    return cache / "tables" / name


# ------------------------------------------------------------------------------------- dealing out

_INDEX = "repos.parquet"


def _deal_out(url: str, folder: Path) -> int:
    """Stream a table once into files by repository; the index is written last.  Returns the bytes."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (folder / _INDEX).exists():
            return 0
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for number, frame in enumerate(_buffered(_frames(url))):
            buckets = {name: _bucket(name) for name in frame["repo"].unique()}
            frame = frame.with_columns(bucket=pl.col("repo").replace_strict(buckets, return_dtype=pl.String))
            for (bucket,), rows in frame.partition_by("bucket", as_dict=True, include_key=False).items():
                rows.write_parquet(folder / f"{bucket}.{number:06}.part")
        summaries = [
            _gather(folder, bucket) for bucket in sorted({p.name[:2] for p in folder.glob("*.part")})
        ]
        if not summaries:
            raise OutOfReach("unreachable", "it has no rows")
        pl.concat(summaries).sort("repo").write_parquet(folder / f".{_INDEX}")
        (folder / f".{_INDEX}").replace(folder / _INDEX)
        return sum(file.stat().st_size for file in folder.iterdir())


def _gather(folder: Path, bucket: str) -> pl.DataFrame:
    """One bucket in one file, whole repositories one after another; returns a row for each of them."""
    parts = sorted(folder.glob(f"{bucket}.*.part"))
    rows = pl.concat([pl.read_parquet(part) for part in parts])
    keys = {name: _key(name) for name in rows["repo"].unique()}
    rows = rows.with_columns(key=pl.col("repo").replace_strict(keys, return_dtype=pl.String))
    rows = rows.sort("key", "path", maintain_order=True)
    rows.select("key", "path", "content").write_parquet(
        folder / f"{bucket}.parquet", row_group_size=GROUP, statistics=True
    )
    for part in parts:
        part.unlink()
    return rows.group_by("repo", maintain_order=True).agg(
        pl.col("license").drop_nulls().first(),
        pl.col("stars").max(),
        pl.col("content").str.len_bytes().sum().alias("bytes"),
    )


def _key(name: str) -> str:
    """What a repo is found by: of fixed length, so that the bounds of a row group are exact."""
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _bucket(name: str) -> str:
    return _key(name)[:2]


def _rows(file: Path, name: str) -> Iterator[tuple[str, str]]:
    """Path and content of a repo's files, from the row groups that may hold them."""
    if not file.exists():
        raise BadRepo("broken_table", "its rows are not in the cache")
    table, key = pq.ParquetFile(file), _key(name)
    for group in range(table.num_row_groups):
        bounds = table.metadata.row_group(group).column(0).statistics
        if bounds is None or not bounds.has_min_max or bounds.min <= key <= bounds.max:
            frame = pl.from_arrow(table.read_row_group(group))
            assert isinstance(frame, pl.DataFrame)
            yield from frame.filter(pl.col("key") == key).select("path", "content").iter_rows()


# ----------------------------------------------------------------------------------------- reading


def _frames(url: str) -> Iterator[pl.DataFrame]:
    """A table's rows as repo, path, content, license, stars; a few at a time."""
    for batch in _stream(url):
        frame = pl.from_arrow(batch)
        assert isinstance(frame, pl.DataFrame)
        yield columns.plain(frame)


def _stream(url: str) -> Iterator[Any]:
    """Arrow tables of a few rows, by the `datasets` library, which knows the forms and the hub."""
    import datasets

    try:
        for kind, files in _data(url).items():
            rows = datasets.load_dataset(kind, **files, split="train", streaming=True)
            yield from rows.with_format("arrow").iter(batch_size=ROWS)
    except StopIteration:  # what the library makes of an empty file
        return
    except Exception as error:  # some thirty kinds, all about the hub or the files
        raise OutOfReach("unreachable", _line(error)) from None


def _line(error: Exception) -> str:
    return printable(" ".join(str(error).split())[:200]) or type(error).__name__


def _data(url: str) -> dict[str, dict[str, Any]]:
    """What to load: by kind of file on the disk, by name on the hub."""
    if hub := _HUB.fullmatch(url):
        name, commit, pattern = hub.groups()
        return {name: {"revision": commit} | ({"data_files": pattern} if pattern else {})}
    files = _data_files(_path(url))
    chosen = {
        kind: [str(file) for file in files if file.name.endswith(suffixes)]
        for kind, suffixes in _SUFFIXES.items()
    }
    return {kind: {"data_files": names} for kind, names in chosen.items() if names}


def _buffered(frames: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    held: list[pl.DataFrame] = []
    for frame in frames:
        held.append(frame)
        if sum(one.estimated_size() for one in held) > BUFFER:
            yield pl.concat(held)
            held = []
    if held:
        yield pl.concat(held)
