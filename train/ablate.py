"""Which data recipe makes the better model: small proxies over a grid, and how sure one may be.

Every recipe goes through the real chain of verbs and the real training loop, with the same number of
tokens; models of one seed begin with the same weights.  All are asked the same questions (``train.probes``)
about repos that none was trained on.  An effect is the difference of a value from the first of its axis,
paired by seed; its interval is Student's t over the seeds: it covers initial weights and the order of
rows, not the choice of repos.
"""

from __future__ import annotations

import logging
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pyarrow as pa

import corpus
from corpus import Refusal
from schemas import SCHEMAS
from train import probes, recipes
from train.config import Ablate
from train.recipes import AXES, Kitchen, Recipe

log = logging.getLogger(__name__)

T_975 = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip
"""97.5 % quantiles of Student's t with 1, 2, … 30 degrees of freedom; beyond, those of 30 serve."""


class Effect(NamedTuple):
    """What a value does to a loss, against the first value of its axis."""

    axis: str
    value: str
    first: str
    probe: str
    base: float
    """The loss with the first value, in nats a token."""
    difference: float
    low: float
    high: float
    seeds: int

    @property
    def told(self) -> str:
        """In a word; nothing is claimed where the interval holds 0."""
        return "better" if self.high < 0 else "worse" if self.low > 0 else "no difference shown"


def write(run: Path, tables: Path, dst: Path, settings: Ablate, workers: int = 0) -> corpus.Table:
    """Train and ask the proxies, and seal the ``ablation`` table; what is finished is not done again.

    Args:
        run: The run file whose settings hold wherever the grid does not say otherwise.
        tables: The folder of the run's tables.
    """
    chosen = recipes.grid(settings)
    if settings.seeds < 2 or min(settings.probe_rows, settings.probe_files) < 1:
        raise Refusal("give at least 2 seeds, or there is no interval, and 1 of probe_rows and probe_files.")
    if not run.is_file():
        raise Refusal(f"{run} is not there: give the run file that the tables were made with.")
    kitchen = Kitchen(run, tables, dst.with_name(f"{dst.name}.cells"), workers)
    inputs, pin = kitchen.inputs(), corpus.sha256_of(run)
    kitchen.folder.mkdir(parents=True, exist_ok=True)
    opened = corpus.building(
        dst, "ablation", made_by="train ablate", settings=settings, inputs=inputs, run=pin
    )
    with opened as out:
        if isinstance(out, corpus.Table):
            return out
        yard = _yardstick(kitchen, settings)
        cells = [(recipe, seed) for seed in range(settings.seeds) for recipe in chosen]
        for number, (recipe, seed) in enumerate(cells, 1):
            unit = f"{recipe.name()}-{seed}"
            if out.left([unit]):
                log.info("ablate: cell %s of %s: %s, seed %s", number, len(cells), recipe.name(), seed)
                out.write(unit, {"": _cell(kitchen, yard, recipe, seed)}, came_in=1, went_out=1)
        found = pl.concat(pl.read_parquet(path) for path in sorted(dst.glob("*.parquet")))
        told = effects(found, chosen)
        out.write("effects", {"effects.md": table(told).encode()})
        return out.seal(effects=[one._asdict() for one in told])


def effects(losses: pl.DataFrame, chosen: Sequence[Recipe]) -> list[Effect]:
    """Of every value but the first of every axis, on every probe.

    Args:
        losses: The rows of the ``ablation`` table.
        chosen: The recipes, the first of which has every axis' first value.
    """
    by_cell = {
        (Recipe(*cell), seed, probe): loss
        for *cell, seed, probe, loss in losses.select(*AXES, "seed", "probe", "loss").iter_rows()
    }
    seeds = sorted(losses["seed"].unique())
    asked = list(dict.fromkeys(losses["probe"]))
    found: list[Effect] = []
    for axis in AXES:
        first = getattr(chosen[0], axis)
        for value in dict.fromkeys(getattr(recipe, axis) for recipe in chosen):
            pairs = [
                (with_it, with_it._replace(**{axis: first}))
                for with_it in chosen
                if getattr(with_it, axis) == value != first
            ]
            for probe in asked if pairs else ():
                differences = [
                    statistics.fmean(by_cell[a, seed, probe] - by_cell[b, seed, probe] for a, b in pairs)
                    for seed in seeds
                ]
                base = statistics.fmean(by_cell[b, seed, probe] for _, b in pairs for seed in seeds)
                found.append(Effect(axis, str(value), str(first), probe, base, *interval(differences)))
    return found


def interval(differences: Sequence[float]) -> tuple[float, float, float, int]:
    """Mean, the ends of its 95 % interval by Student's t, and the number of differences.

    >>> [round(one, 3) for one in interval([0.1, 0.2, 0.3])]
    [0.2, -0.048, 0.448, 3]
    """
    count, mean = len(differences), statistics.fmean(differences)
    half = T_975[min(count - 1, len(T_975)) - 1] * statistics.stdev(differences) / math.sqrt(count)
    return mean, mean - half, mean + half, count


def table(told: Sequence[Effect]) -> str:
    """The effects for people, as a Markdown table; losses in nats a token, lower is better."""
    lines = [
        "| axis | instead of | probe | loss | difference | 95 % interval | seeds | |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {one.axis} {one.value} | {one.first} | {one.probe} | {one.base:.4f} | {one.difference:+.4f} "
        f"| {one.low:+.4f} to {one.high:+.4f} | {one.seeds} | {one.told} |"
        for one in told
    ]
    return "\n".join(lines) + "\n"


def _yardstick(kitchen: Kitchen, settings: Ablate) -> probes.Yardstick:
    """From the run's own corpus, whatever the recipes do with theirs."""
    text, holed = (kitchen.rows(kitchen.tables / "corpus", rate) for rate in (0.0, 1.0))
    return probes.yardstick(
        corpus.read(text, "tokens"),
        corpus.read(holed, "tokens"),
        corpus.read(kitchen.tables / "corpus"),
        corpus.read(kitchen.tables / "tokenizer"),
        corpus.read(kitchen.tables / "documents").scan("edges").collect(),
        settings.probe_rows,
        settings.probe_files,
    )


def _cell(kitchen: Kitchen, yard: probes.Yardstick, recipe: Recipe, seed: int) -> pa.Table:
    """Train a proxy and ask it."""
    _refuse_leak(kitchen, yard, recipe)
    made = kitchen.model(recipe, seed)
    rows = [
        {**recipe._asdict(), "seed": seed, "probe": probe, "loss": mean.loss, "tokens": mean.tokens}
        for probe, mean in probes.ask(made, yard).items()
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMAS["ablation"])


def _refuse_leak(kitchen: Kitchen, yard: probes.Yardstick, recipe: Recipe) -> None:
    """No recipe may train on a repo that the models are asked about."""
    documents = kitchen.corpus(recipe)
    rows = corpus.read(kitchen.rows(documents, recipe.fim_rate), "tokens")
    packed = rows.scan("spans").filter(split="train").select(pl.col("document").unique())
    repos = corpus.read(documents).scan().select("id", "repo").join(packed, left_on="id", right_on="document")
    if both := set(repos.collect()["repo"]) & yard.repos:
        raise Refusal(f"{rows.path} trains on {min(both)}, of which the models are asked: hold it out there.")
