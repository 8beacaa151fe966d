"""``crawl learn``: a scorer of quality from labelled samples, for ``crawl screen --scorer``."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import polars as pl

import corpus
from corpus import Output, Refusal, Table
from crawl.config import Learn
from crawl.quality import area, learn

COLUMNS = ("text", "language", "good")

FEWEST = 20
"""Samples of each kind; from fewer nothing is learned."""


def learn_scorer(labelled: Path, dst: Path, settings: Learn) -> Table:
    """Write the table ``scorer``: the weights, and in the manifest what they are worth on held-out samples.

    Raises:
        Refusal: the samples cannot be read, lack a column, or are too few of one kind.
    """
    samples = _samples(labelled)
    pin = corpus.sha256_of(labelled)
    with corpus.building(dst, "scorer", made_by="crawl learn", settings=settings, labelled=pin) as out:
        if not isinstance(out, Output):
            return out
        held = [_held_out(text, settings.held_out) for text, _, _ in samples]
        train = [sample for sample, aside in zip(samples, held, strict=True) if not aside]
        test = [sample for sample, aside in zip(samples, held, strict=True) if aside]
        scorer = learn(train, settings.seed)
        scores = np.array([scorer.score(text, language) for text, language, _ in test])
        good = np.array([good for *_, good in test], dtype=np.bool_)
        out.write("scorer", {"": scorer.packed()}, came_in=len(samples), went_out=len(train))
        return out.seal(held_out=len(test), area_under_curve=round(area(scores, good), 4))


def _samples(path: Path) -> list[tuple[str, str, bool]]:
    """The labelled samples, sorted, so that the order of the file moves no weight."""
    try:
        rows = pl.read_parquet(path) if path.suffix == ".parquet" else pl.read_ndjson(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise Refusal(f"{path} is no parquet file and no jsonl file: {error}.") from None
    if missing := sorted(set(COLUMNS) - set(rows.columns)):
        raise Refusal(f"{path} has no column {missing[0]!r}: samples have {', '.join(COLUMNS)}.")
    rows = rows.select("text", "language", pl.col("good").cast(pl.Boolean)).drop_nulls().sort(COLUMNS)
    counts = [rows["good"].sum(), (~rows["good"]).sum()]
    if min(counts) < FEWEST:
        raise Refusal(
            f"{path} has {counts[0]} good and {counts[1]} bad samples: give {FEWEST} of each or more."
        )
    return list(rows.iter_rows())


def _held_out(text: str, share: float) -> bool:
    """By the text's own hash: equal texts are never on both sides."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4]) < share * (1 << 32)
