"""``crawl publish``: the corpus as a dataset directory that ``datasets.load_dataset`` streams, with its card.

Nothing leaves unless it passes the gates, which look at the very rows that are written: no secret is found
in them (`secrets`), none shares anything with a problem of the benchmarks (`contamination`), and no
document comes twice.  One finding, and there is no dataset.

Rows are those of the corpus; texts are ``large_string`` and row groups stay under 64 MB, so that no reader
needs more than that at a time.  The card (``README.md``) is made from the tables of the run: see `card`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import pyarrow as pa

import corpus
import guards
import passes
from corpus import Output, Refusal, Shard, Table
from crawl import card, chain, secrets
from crawl.config import Publish
from crawl.screen import index_of, texts_of

VERB = "crawl publish"

_FIRST = ("crawl list", "crawl fetch")

FILE_BYTES = 256 << 20
"""Of the corpus' shards, which are one for every repo, so many bytes go into one file."""


class Held(Refusal):
    """A gate has found something."""


def publish(src: Path, dst: Path, settings: Publish, workers: int) -> Table:
    """Write the dataset of the corpus at ``src``, whose run's other tables stand beside it."""
    if not settings.contact:
        raise Refusal("a release says how to be taken out of it: give --contact.")
    table = corpus.read(src, "corpus")
    run = chain.upstream(table, chain.tables_of(src.parent))
    problems = _problems(run, src)
    _refuse_stale(run, src)
    building = corpus.building(
        dst, "dataset", made_by=VERB, settings=settings, inputs=run, patterns=secrets.digest()
    )
    with building as out:
        if isinstance(out, Table):
            return out
        _refuse_twins(table)
        groups = {f"train-{number:05d}": group for number, group in enumerate(_groups(table.shards()))}
        screened = next(one for one in run if chain.verb(one) == "crawl screen")
        work = partial(write_file, out, table, screened, problems, groups)
        try:
            passes.each(work, out.left(groups), label=VERB, workers=workers)
        except Held:
            guards.clear(dst, ())  # what has passed is a dataset too, to whoever loads the directory
            raise
        out.write("card", {"README.md": card.of(run, settings).encode()})
        return out.seal()


def write_file(
    out: Output, table: Table, screened: Table, problems: Table, groups: dict[str, list[Shard]], unit: str
) -> None:
    """One file of the dataset, once its rows passed the gates."""
    rows = pa.concat_tables(table.frame(shard).to_arrow() for shard in groups[unit])
    rows = corpus.conform(rows, card.SCHEMA, VERB)
    for batch in rows.to_batches(max_chunksize=64):
        refuse_secrets(batch)
        refuse_contaminated(batch, screened, problems)
    out.write(unit, {"data": rows}, came_in=rows.num_rows, went_out=rows.num_rows)


def refuse_secrets(rows: pa.RecordBatch) -> None:
    """The first gate: what `crawl redact` looks for is not there, in no text and in no path."""
    columns = (rows[name].to_pylist() for name in ("id", "text", "files"))
    for name, text, files in zip(*columns, strict=True):
        paths = "\n".join(file["path"] for file in files)
        if found := secrets.find(text) or secrets.find(paths):
            first = found[0]
            raise Held(
                f"{name} holds {len(found)} secrets, the first ({first.kind}) at character {first.start}: "
                "nothing was published; run `crawl redact` and what follows it."
            )


def refuse_contaminated(rows: pa.RecordBatch, screened: Table, problems: Table) -> None:
    """The second gate: by the settings of `crawl screen`, nothing is shared with the problems."""
    settings = screened.manifest["settings"]
    sizes = (settings["ngram"], settings["shortest"], tuple(settings["allow"]))
    index = index_of(problems.path, problems.digest, *sizes)
    names = [
        (row["id"], file["path"]) for row in rows.select(["id", "files"]).to_pylist() for file in row["files"]
    ]
    texts = (
        text
        for row in rows.select(["text", "files"]).to_pylist()
        for text in texts_of(row["text"], row["files"])
    )
    for (name, path), hit in zip(names, index.search(texts), strict=True):
        if hit is not None:
            raise Held(
                f"{path} in {name} shares words with {hit.problem} ({hit.words}): nothing was published; "
                "run `crawl screen` again."
            )


def _refuse_twins(table: Table) -> None:
    ids = table.scan().select("id").collect()["id"]
    if twins := ids.filter(ids.is_duplicated()).to_list():
        raise Refusal(f"{table.path} holds {twins[0]} more than once: nothing was published.")


def _refuse_stale(run: Sequence[Table], src: Path) -> None:
    """Since an opt-out, or another list, the corpus may hold what must not leave, until `make` has run."""
    if not {"repos", "files"} <= {chain.kind(table) for table in run if chain.verb(table) in _FIRST}:
        raise Refusal(
            f"{src} was not made from the files that now stand beside it, so it may hold what was opted out: "
            "run make, then publish."
        )


def _problems(run: Sequence[Table], src: Path) -> Table:
    found = [table for table in run if chain.kind(table) == "problems"]
    if not found:
        raise Refusal(
            f"{src} was made with problems that do not stand beside it, so nobody can look again whether "
            "it shares anything with them: publish it from the directory of its run."
        )
    return found[0]


def _groups(shards: Sequence[Shard]) -> Iterator[list[Shard]]:
    group: list[Shard] = []
    for shard in shards:
        if group and sum(one.bytes for one in group) + shard.bytes > FILE_BYTES:
            yield group
            group = []
        group.append(shard)
    if group:
        yield group
