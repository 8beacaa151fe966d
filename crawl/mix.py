"""``crawl mix``: how much of each language a corpus holds, by caps and by shares.

The paper's Table 1 gives the share of every language and says nothing of how it came about; 37 of its 87
languages end just under 0.92 GB, so a cap is likely.  Here both are settings: a cap in bytes for all or for
single languages, and shares of a total.  A language that has less than its share gives all that it has,
once: repetition is a matter of training.  Which documents stay is decided by a hash of seed and id, so a
smaller mix is part of a larger one; the others are rejects.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import polars as pl

import corpus
import passes
from corpus import Output, Refusal, Shard, Table
from crawl import languages
from crawl.config import Mix

VERB = "crawl mix"


def mix(src: Path, dst: Path, settings: Mix, workers: int) -> Table:
    """Write the documents of the corpus at ``src`` that fit into the budgets of their languages."""
    table = corpus.read(src, "corpus")
    _check(settings)
    with corpus.building(dst, "corpus", made_by=VERB, settings=settings, inputs=[table]) as out:
        if isinstance(out, Table):
            return out
        facts = table.scan().select("id", "language", "bytes").collect()
        sizes = dict(facts.group_by("language").agg(pl.col("bytes").sum()).iter_rows())
        staying = chosen(facts, budgets(sizes, settings), settings.seed)
        shards = {Path(shard.name).stem: shard for shard in table.shards()}
        work = partial(mix_shard, out, table, shards, staying)
        passes.each(work, out.left(shards), label=VERB, workers=workers)
        return out.seal()


def mix_shard(
    out: Output, table: Table, shards: dict[str, Shard], staying: frozenset[str], unit: str
) -> None:
    """The documents of one shard."""
    rows = table.frame(shards[unit])
    stays = rows["id"].is_in(staying)
    gone = rows.filter(~stays).select("id", "language", pl.col("files").list.len(), "bytes")
    rejects = [
        (name, "over_budget", language, files, size) for name, language, files, size in gone.iter_rows()
    ]
    kept = rows.filter(stays)
    came_in, went_out = (int(frame["files"].list.len().sum()) for frame in (rows, kept))
    tables = {"": kept, "rejects": corpus.rejects(rejects, VERB)}
    out.write(unit, tables, came_in=came_in, went_out=went_out)


def budgets(sizes: Mapping[str, int], settings: Mix) -> dict[str, int]:
    """Bytes that each language may have, given those that there are.

    >>> budgets({"c": 900, "go": 50}, Mix(total=1000, shares={"c": 60, "go": 40}))
    {'c': 600, 'go': 50}
    """
    shares = shares_of(settings)
    total = settings.total or sum(sizes.values())
    whole = sum(shares.values())
    found = {}
    for language, size in sorted(sizes.items()):
        limits = [size, settings.caps.get(language, settings.cap or size)]
        if shares:
            limits.append(int(total * shares.get(language, 0.0) / whole))
        found[language] = min(limits)
    return found


def chosen(facts: pl.DataFrame, budget: Mapping[str, int], seed: int) -> frozenset[str]:
    """The ids of the documents that stay: of each language the first by hash, until the budget is spent."""
    order = [hashlib.sha256(f"{seed}\0{name}".encode()).hexdigest() for name in facts["id"]]
    ranked = facts.with_columns(order=pl.Series(order, dtype=pl.String)).sort("order", "id")
    limits = pl.col("language").replace_strict(budget, return_dtype=pl.Int64)
    fits = ranked.filter(pl.col("bytes").cum_sum().over("language") <= limits)
    return frozenset(fits["id"])


def shares_of(settings: Mix) -> Mapping[str, float]:
    """The shares that were asked for, in any unit: those of the preset, the settings' own above them."""
    if not settings.preset:
        return settings.shares
    presets = tomllib.loads((Path(__file__).parent / "mixes.toml").read_text())
    if settings.preset not in presets:
        raise Refusal(f"{settings.preset!r} is no mix; there are {', '.join(sorted(presets))}.")
    return {**presets[settings.preset], **settings.shares}


def _check(settings: Mix) -> None:
    named = [*settings.shares, *settings.caps]
    if strange := sorted(set(named) - set(languages.LANGUAGES)):
        raise Refusal(f"{strange[0]} is no language of ours: see crawl/languages.py for their keys.")
    if any(
        value < 0
        for value in [*settings.shares.values(), *settings.caps.values(), settings.cap, settings.total]
    ):
        raise Refusal("a share, a cap or a total below 0 makes no sense: 0 stands for none.")
