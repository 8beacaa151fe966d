"""Tombstones: take rows out of an index, and wipe what it keeps of their texts."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

import corpus
from corpus import Refusal
from dedup import index
from dedup.input import Unit
from dedup.shingles import How
from dedup.sketch import sketch_repos_again


def forget(path: str | Path, ids: Iterable[str]) -> str:
    """Take rows out of an index: they are nobody's partner any more.

    Rows that were dropped for them before stay dropped, unless a scan reconsiders them; the answer names
    them, a line each.

    Args:
        path: The index.
        ids: Ids of its rows; ids that it forgot before are passed over.
    """
    path, wanted = Path(path), pl.Series("id", sorted(set(ids)), dtype=pl.String)
    if not (path / "index.json").exists():
        raise Refusal(f"{path} is not an index: give the directory that `dedup scan --index` wrote.")
    with corpus.only_writer(path):
        settings, batches = index.load(path)
        units = tuple(index.units_of(path, batches))
        known, past = index.ids_of(path, units), index.forgotten(path)
        named = known.filter(pl.col("id").is_in(wanted.implode()))
        if strangers := sorted(set(wanted) - set(named["id"])):
            raise Refusal(
                f"{path} never had a row {strangers[0]} ({len(strangers):,} such ids): give ids of its rows."
            )
        gone = named.join(past, on="row", how="anti")
        # Wiping may be repeated, and is if it was stopped: until it is done no scan is let in.
        (path / index.WIPING).touch()
        index.publish(pl.concat([past, gone]).sort("row"), path / "forgotten.parquet")
        rows = index.forgotten(path)["row"].to_numpy()
        for unit in units:
            _wipe(path, unit, rows, How(settings["ngram"], settings["licence_headers"]))
        (path / index.WIPING).unlink()
        fates = pl.read_parquet(path / "fates" / f"{batches[-1].name}.parquet", glob=False)
    orphans = known.join(
        fates.join(gone, left_on="keeper_row", right_on="row", how="semi"), on="row", how="semi"
    )
    lines = [f"{len(gone):,} rows forgotten; {len(orphans):,} rows had been dropped for them"]
    return "\n".join([*lines, *(f"  {name}" for name in orphans["id"].sort())])


def _wipe(path: Path, unit: Unit, forgotten: NDArray[np.int64], how: How) -> None:
    """Empty the texts of a unit's forgotten rows, and take them out of the sketches of their repos."""
    mine = forgotten[(forgotten >= unit.base) & (forgotten < unit.base + unit.rows)] - unit.base
    if not len(mine):
        return
    table = pq.read_table(unit.path)
    gone = np.zeros(unit.rows, np.bool_)
    gone[mine] = True
    empty = {field.name: pa.scalar("" if field.name == "text" else [], field.type) for field in table.schema}
    columns = [pc.if_else(pa.array(gone), empty[name], table[name]) for name in table.column_names]
    aside = corpus.unfinished(unit.path)
    corpus.write_parquet(aside, pa.table(columns, schema=table.schema))
    aside.replace(unit.path)
    sketch_repos_again(path, unit, how)
