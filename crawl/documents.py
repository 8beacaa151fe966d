"""``crawl order``: a repo's related files become one document, each under a comment with its path.

Languages whose imports we can follow give one document for every connected component of the repo's
import graph (``level`` repo); every file of another language is a document by itself (``level`` file).
A document is a run of pieces ``comment, newline, text, newline``, and ``files`` says where each text
stands, in characters.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

import corpus
import passes
import reuse
from corpus import Output, Refusal, Shard, Table
from crawl import languages
from crawl.config import Order
from crawl.imports.families import FAMILY_OF, edges
from crawl.imports.place import Source
from crawl.order import Strategy, orders
from crawl.reach import Reach, reach
from schemas import SCHEMAS


class File(NamedTuple):
    """One row of ``files``, as far as a document needs it."""

    path: str
    language: str
    license: str | None
    text: str
    bytes: int


class Span(NamedTuple):
    """Where a file's text stands in its document, in characters."""

    path: str
    start: int
    end: int


def order_repos(src: Path, parsed: Path, dst: Path, settings: Order, workers: int) -> Table:
    """Write the table ``documents`` from the files at ``src`` and what ``crawl parse`` found in them."""
    kept, found = corpus.read(src, "files"), corpus.read(parsed, "parsed")
    if kept.digest not in {source["digest"] for source in found.manifest["inputs"]}:
        raise Refusal(f"{parsed} was made from other files than {src}: run `crawl parse {src} {parsed}`.")
    inputs = [kept, found]
    origins = reuse.by_shard(inputs)
    building = corpus.building(
        dst, "documents", origins, made_by="crawl order", settings=settings, inputs=inputs
    )
    with building as out:
        if isinstance(out, Table):
            return out
        shards = {Path(shard.name).stem: shard for shard in kept.shards()}
        work = partial(order_shard, out, kept, found, shards, settings)
        passes.each(work, out.left(shards), label="crawl order", workers=workers)
        return out.seal()


def order_shard(
    out: Output, kept: Table, found: Table, shards: dict[str, Shard], settings: Order, unit: str
) -> None:
    """The repos of one shard, one after the other."""
    twin = next(shard for shard in found.shards() if Path(shard.name).stem == unit)
    sources = {repo: rows for (repo,), rows in found.frame(twin).partition_by("repo", as_dict=True).items()}
    documents: list[dict[str, Any]] = []
    imported: list[dict[str, str]] = []
    worth: list[dict[str, Any]] = []
    rejects: list[tuple[str, str, str | None, int, int]] = []
    files = kept.frame(shards[unit])
    for (repo,), rows in files.partition_by("repo", as_dict=True, maintain_order=True).items():
        imports = edges([_source(row) for row in sources[repo].iter_rows(named=True)])
        imported += [{"repo": repo, "importer": importer, "imported": path} for importer, path in imports]
        of_repo = {file.path: file for file in map(File._make, rows.select(File._fields).iter_rows())}
        laid = lay_out(of_repo, imports, settings, str(repo))
        worth += [
            {"repo": repo, "strategy": strategy, **counted._asdict()}
            for strategy, counted in laid.reach.items()
            if imports
        ]
        for document, members in documents_of(rows.row(0, named=True), of_repo, laid.documents):
            if any(file.text.strip() for file in members):
                documents.append(document)
            else:
                rejects += [(f"{repo}:{file.path}", "empty", None, 1, file.bytes) for file in members]
    out.write(
        unit,
        {
            "": _table(documents),
            "edges": pa.Table.from_pylist(imported, schema=SCHEMAS["edges"]),
            "reach": pa.Table.from_pylist(worth, schema=SCHEMAS["reach"]),
            "rejects": corpus.rejects(rejects, "crawl order"),
        },
        came_in=files.height,
        went_out=sum(len(document["files"]) for document in documents),
    )


def documents_of(
    first: dict[str, Any], files: dict[str, File], laid: Sequence[tuple[str, list[str]]]
) -> Iterator[tuple[dict[str, Any], list[File]]]:
    """The documents of one repo as rows of the table, each with its files; ``first`` is any of its rows."""
    parts: Counter[str] = Counter()
    for level, paths in laid:
        members = [files[path] for path in paths]
        text, spans = join(members)
        language = main_language(members)
        part = parts[language]
        parts[language] += 1
        document = {
            "id": f"{first['repo']}#{language}-{part:05d}",
            "repo": first["repo"],
            "revision": first["revision"],
            "part": part,
            "level": level,
            "language": language,
            "license": joint_license(file.license for file in members),
            "stars": first["stars"],
            "text": text,
            "files": [span._asdict() for span in spans],
            "bytes": len(text.encode()),
        }
        yield document, members


class Layout(NamedTuple):
    """What becomes a document, as (level, paths in order), and what each strategy would be worth."""

    documents: list[tuple[str, list[str]]]
    reach: dict[Strategy, Reach]


def lay_out(files: dict[str, File], imports: Sequence[tuple[str, str]], settings: Order, repo: str) -> Layout:
    """The documents of one repo, sorted by the smallest path of each component."""
    related = [path for path, file in files.items() if file.language in FAMILY_OF]
    alone = [("file", [path]) for path, file in files.items() if file.language not in FAMILY_OF]
    sizes = {path: len(join([files[path]])[0].encode()) for path in related}
    documents = {
        strategy: [document for part in ordered for document in _fitting(part, sizes, settings)]
        for strategy, ordered in orders(related, imports, f"{settings.seed}\0{repo}").items()
    }
    worth = {
        strategy: reach((paths for _, paths in laid), imports, sizes) for strategy, laid in documents.items()
    }
    return Layout(sorted(alone) + documents[settings.strategy], worth)


def _fitting(paths: list[str], sizes: dict[str, int], settings: Order) -> list[tuple[str, list[str]]]:
    parts = split(paths, sizes, settings.max_bytes)
    if len(parts) > 1 and settings.oversize == "files":
        return [("file", [path]) for path in paths]
    return [("repo", part) for part in parts]


def split(paths: Sequence[str], sizes: dict[str, int], limit: int) -> list[list[str]]:
    """Cut an ordering where the next file would bring a part above ``limit`` bytes (0 is no limit)."""
    parts: list[list[str]] = []
    size = 0
    for path in paths:
        if not parts or (limit and size + sizes[path] > limit):
            parts.append([])
            size = 0
        parts[-1].append(path)
        size += sizes[path]
    return parts


def join(files: Sequence[File]) -> tuple[str, list[Span]]:
    """The text of a document, and where each file's own text stands in it."""
    pieces: list[str] = []
    spans: list[Span] = []
    length = 0
    for file in files:
        head = heading(file.path, file.language)
        start = length + len(head)
        end = start + len(file.text)
        spans.append(Span(file.path, start, end))
        pieces += [head, file.text, "\n"]
        length = end + 1
    return "".join(pieces), spans


UNSAFE = frozenset('\\*?<>"')
"""What ends a comment, opens another inside it (OCaml), or continues a line comment on the next line."""


def heading(path: str, language: str) -> str:
    """The line above a file that says its path; nothing where the language has no comments.

    A path is hostile text: what could break out of the comment is written as %XX.

    >>> heading("a/*/b\\n.c", "c")
    '// a/%2A/b%0A.c\\n'
    """
    safe = "".join(char if char.isprintable() and char not in UNSAFE else _percent(char) for char in path)
    comment = languages.comment(language, safe)
    return f"{comment}\n" if comment else ""


def main_language(files: Sequence[File]) -> str:
    """The language of most bytes."""
    sizes: defaultdict[str, int] = defaultdict(int)
    for file in files:
        sizes[file.language] += file.bytes
    return min(sizes, key=lambda language: (-sizes[language], language))


def joint_license(licenses: Iterable[str | None]) -> str | None:
    """All licences that hold for some file, as one SPDX expression."""
    known = sorted({license for license in licenses if license is not None})
    if len(known) < 2:
        return known[0] if known else None
    return " AND ".join(f"({license})" if " OR " in license else license for license in known)


def _percent(char: str) -> str:
    return "".join(f"%{byte:02X}" for byte in char.encode())


def _source(row: dict[str, Any]) -> Source:
    return Source(**{name: row[name] for name in Source._fields})


def _table(documents: list[dict[str, Any]]) -> pa.Table:
    schema = SCHEMAS["documents"]
    documents = sorted(documents, key=lambda document: document["id"])
    columns = [pa.array([row[field.name] for row in documents], field.type) for field in schema]
    return pa.table(columns, schema=schema)
