"""Recipes are compared by pairs of one seed, on the same questions, and no more is claimed than is shown."""

from __future__ import annotations

import polars as pl
import pytest

import corpus
from corpus import Refusal
from train import ablate, probes, recipes
from train.config import Ablate
from train.recipes import AXES, Recipe

from .conftest import TRAIN


def test_axes_vary_by_themselves_or_all_together() -> None:
    settings = Ablate(order=("topological", "random", "path"), fim_rate=(0.5, 0.0))
    first, *others = recipes.grid(settings)
    assert first == Recipe("topological", "both", 0.5, "document")
    assert [sum(a != b for a, b in zip(first, other, strict=True)) for other in others] == [1, 1, 1]
    assert len(recipes.grid(Ablate(order=settings.order, fim_rate=(0.5, 0.0), product=True))) == 6
    with pytest.raises(Refusal, match="order is empty"):
        recipes.grid(Ablate(order=()))


def test_an_effect_is_the_mean_of_pairs_and_its_interval_is_students() -> None:
    chosen = recipes.grid(Ablate(order=("topological", "random"), fim_rate=(0.5, 0.0)))
    # Seeds differ by much, recipes by little: only pairs of one seed show it.
    losses = {("topological", 0.5): (5.0, 7.0, 6.0), ("random", 0.5): (5.1, 7.12, 6.11)}
    losses[("topological", 0.0)] = (4.9, 7.3, 5.9)
    rows = [
        {**recipe._asdict(), "seed": seed, "probe": "cross_file", "loss": loss}
        for recipe in chosen
        for seed, loss in enumerate(losses[recipe.order, recipe.fim_rate])
    ]
    order, fim = ablate.effects(pl.DataFrame(rows), chosen)
    assert (order.axis, order.value, order.first, order.base) == ("order", "random", "topological", 6.0)
    assert order.difference == pytest.approx(0.11)
    assert (order.low, order.high) == pytest.approx((0.11 - 0.02484, 0.11 + 0.02484), abs=1e-4)
    assert order.told == "worse" and fim.told == "no difference shown" and fim.seeds == 3
    assert "| order random | topological | cross_file | 6.0000 | +0.1100 |" in ablate.table([order])


def test_probes_ask_for_the_losses_that_validation_finds_and_for_files_behind_those_they_import(
    trained: corpus.Table, tokens: corpus.Table, documents: corpus.Table, words: corpus.Table
) -> None:
    pairs = [
        (document["repo"], document["files"][1]["path"], document["files"][0]["path"])
        for document in documents.scan().collect().iter_rows(named=True)
        if len(document["files"]) > 1
    ]
    edges = pl.DataFrame(pairs, schema=["repo", "importer", "imported"], orient="row")
    yard = probes.yardstick(tokens, tokens, documents, words, edges, TRAIN.valid_sequences, 5)
    asked = probes.ask(trained.path, yard)
    assert asked["left_to_right"].loss == pytest.approx(trained.manifest["valid_loss"], rel=1e-5)
    assert asked["cross_file"].tokens == asked["cross_file_alone"].tokens > 50
    assert asked["cross_file_gain"].loss == asked["cross_file"].loss - asked["cross_file_alone"].loss != 0
    assert 0 < asked["infill"].tokens < asked["left_to_right"].tokens
    assert all(len(file.imported) <= 63 and len(file.heading + file.text) <= 63 for file in yard.importers)


def test_every_axis_is_a_column_of_the_table() -> None:
    assert corpus.SCHEMAS["ablation"].names[: len(AXES)] == list(AXES)
