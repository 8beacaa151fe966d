"""Data recipes: a grid of them, and the real chain of verbs from a crawl's files to a small model.

Stages never import one another: what is needed of another one is asked of its command, as ``make`` does,
and comes back as a table.  A table that is finished and up to date is not made again, and recipes share
those that they have in common.
"""

from __future__ import annotations

import itertools
import logging
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import corpus
from corpus import Refusal
from train.config import Ablate

log = logging.getLogger(__name__)

NEEDED = ("redacted", "parsed", "documents", "problems", "corpus", "tokenizer")
"""Tables of the run that are read, under their names in the Makefile."""


class Recipe(NamedTuple):
    """How a corpus becomes rows and what a model sees of them; the names are those of the grid's axes."""

    order: str
    dedup: str
    fim_rate: float
    attend: str

    def name(self) -> str:
        return "-".join(map(str, self))


AXES = Recipe._fields


def grid(settings: Ablate) -> list[Recipe]:
    """The recipes to compare, the first value of every axis first.

    Every axis is varied by itself, from the first values of the others; with ``product`` all together.
    """
    values = [tuple(dict.fromkeys(getattr(settings, axis))) for axis in AXES]
    for axis, given in zip(AXES, values, strict=True):
        if not given:
            raise Refusal(f"{axis} is empty: give it the values to compare, the usual one first.")
    if settings.product:
        return [Recipe(*chosen) for chosen in itertools.product(*values)]
    first = Recipe(*(given[0] for given in values))
    others = [
        first._replace(**{axis: value})
        for axis, given in zip(AXES, values, strict=True)
        for value in given[1:]
    ]
    return [first, *others]


@dataclass
class Kitchen:
    """Makes the tables of recipes in a folder that outlives the comparison, each once."""

    run: Path
    """The run file: settings that the grid does not name."""
    tables: Path
    """The folder of the run's tables."""
    folder: Path
    workers: int = 0
    _made: set[Path] = field(default_factory=set)

    def inputs(self) -> list[corpus.Table]:
        """The tables that every recipe starts from; refuses a run that has not come so far."""
        return [corpus.read(self.tables / name) for name in NEEDED]

    def corpus(self, recipe: Recipe) -> Path:
        """The recipe's corpus: its order of files, deduplicated at its level, screened."""
        order, level = recipe.order, recipe.dedup
        name = f"documents-{order}"
        documents = self._make(name, "crawl order", "redacted", "parsed", strategy=order, spread=True)
        if level != "none":
            name = f"unique-{order}-{level}"
            documents = self._make(name, "dedup scan", documents, level=level, spread=True)
        name = f"corpus-{order}-{level}"
        return self._make(name, "crawl screen", documents, "parsed", "problems", spread=True)

    def rows(self, documents: Path, fim_rate: float) -> Path:
        """The documents as rows of tokens, always by the run's own tokenizer, so that losses compare."""
        name = f"tokens-{documents.name}-{fim_rate}"
        flags = {"fim_rate": fim_rate, "parsed": self.tables / "parsed"}
        return self._make(name, "train pack", documents, "tokenizer", spread=True, **flags)

    def model(self, recipe: Recipe, seed: int) -> Path:
        """A model trained by the recipe: the run file's size, tokens and rates for all of them."""
        rows = self.rows(self.corpus(recipe), recipe.fim_rate)
        name = f"model-{recipe.name()}-{seed}"
        return self._make(name, "train pretrain", rows, "tokenizer", attend=recipe.attend, seed=seed)

    def _make(
        self, name: str, verb: str, *sources: str | Path, spread: bool = False, **flags: object
    ) -> Path:
        """Call a verb: sources by their name in the run or by path, flags by the names of its settings."""
        place = self.folder / name
        if place in self._made:
            return place
        given = [str(self.tables / source if isinstance(source, str) else source) for source in sources]
        flags |= {"run": self.run} | ({"workers": self.workers} if spread else {})
        words = [word for key, value in flags.items() for word in (f"--{key.replace('_', '-')}", str(value))]
        stage, _, what = verb.partition(" ")
        command = [str(Path(sys.executable).with_name(stage)), what, *given, str(place), *words]
        log.info("ablate: %s %s", verb, place)
        done = subprocess.run(command, check=False)
        if done.returncode:
            raise Refusal(f"`{' '.join(command)}` ended with {done.returncode}, as it says above.")
        self._made.add(place)
        return place
