"""What the tables of a model tell: its training, its verdicts, and the chain of manifests behind both.

Tables in, plain values out, like ``account``; whatever is not there is ``None``.
"""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from corpus import Table
from evals.account import Tables

VERDICTS = ("passed", "failed", "error", "timeout", "memory", "output_limit", "crashed", "not_run")
"""The order in which verdicts are told."""


class Score(NamedTuple):
    """One pass@k of one suite with its 95 % interval, all as shares."""

    suite: str
    rule: str
    k: int
    value: float
    low: float
    high: float
    interval: str
    problems: int
    samples: int


class Training(NamedTuple):
    """A model and how it came to be."""

    metrics: list[dict[str, Any]]
    config: dict[str, Any]
    manifest: Mapping[str, Any]

    @property
    def entropy(self) -> float | None:
        """Nats a token of whoever knows only how frequent each token is; a trained model must do better."""
        return self.manifest.get("unigram_entropy")

    def curve(self, key: str) -> list[tuple[float, float]]:
        """(tokens, value) of every step that has both."""
        return [(line["tokens"], line[key]) for line in self.metrics if key in line and "tokens" in line]

    def held_out(self, by: str) -> dict[str, list[tuple[float, float]]]:
        """(tokens, held-out loss) of every language or mode, by the last loss."""
        told = [line for line in self.metrics if by in line.get("valid_loss_by", {})]
        last = told[-1]["valid_loss_by"][by] if told else {}
        return {
            value: [(line["tokens"], losses[value]) for line in told if value in (losses := _by(line, by))]
            for value in sorted(last, key=last.__getitem__)
        }

    def median(self, key: str) -> float | None:
        """Over the steps that have it."""
        values = [line[key] for line in self.metrics if line.get(key) is not None]
        return statistics.median(values) if values else None

    def last(self, key: str) -> float | None:
        return next((line[key] for line in reversed(self.metrics) if line.get(key) is not None), None)

    def final_loss(self) -> tuple[str, float] | None:
        """The last held-out loss, or else the last training loss, and which of them it is."""
        for kind, key in (("held out", "valid_loss"), ("training", "loss")):
            last = self.last(key)
            if last is not None:
                return kind, last
        return None


def _by(line: Mapping[str, Any], by: str) -> dict[str, float]:
    losses: dict[str, float] = line["valid_loss_by"][by]
    return losses


class Sample(NamedTuple):
    """One completion and what became of it; ``rest`` is what the model wrote after the stop."""

    problem: str
    number: int
    verdict: str
    """By the strict rule."""
    published: str
    cpu_seconds: float | None
    memory_bytes: int | None
    detail: str
    prompt: str
    completion: str
    rest: str
    program: str


class Link(NamedTuple):
    """A table in the chain of manifests, and whether its inputs are the tables that stand beside it."""

    verb: str
    table: str
    digest: str
    rows: int
    seconds: float
    finished: str
    settings: dict[str, str]
    inputs: list[str]
    strangers: list[str]


# ---------------------------------------------------------------------------------------- training


def training(tables: Tables) -> Training | None:
    """The curves, the shape and the cost of the model."""
    verb = next((verb for verb in ("train instruct", "train pretrain") if verb in tables), None)
    if verb is None:
        return None
    model = tables[verb]
    return Training(
        metrics=sorted(_metrics(model), key=lambda line: line.get("step", 0)),
        config=_json(model, "config.json"),
        manifest=model.manifest,
    )


def ablation(tables: Tables) -> list[dict[str, Any]]:
    """What ``train ablate`` says of every value of every axis, on every question."""
    return list(tables["train ablate"].manifest["effects"]) if "train ablate" in tables else []


def packed(tables: Tables) -> Mapping[str, Any]:
    """What ``train pack`` says about its training rows."""
    found: Mapping[str, Any] = (
        tables["train pack"].manifest.get("train", {}) if "train pack" in tables else {}
    )
    return found


def _metrics(model: Table) -> list[dict[str, Any]]:
    """The lines of every journal, metrics and seconds, those of one step joined."""
    steps: dict[int, dict[str, Any]] = {}
    for part in model.manifest["parts"]:
        for shard in model.shards(part):
            if shard.name.endswith(("metrics.jsonl", "seconds.jsonl")):
                for line in model.file(shard).read_text().splitlines():
                    found = json.loads(line)
                    steps.setdefault(found.get("step", len(steps)), {}).update(found)
    return list(steps.values())


def _json(table: Table, name: str) -> dict[str, Any]:
    shard = next((shard for shard in table.shards() if shard.name == name), None)
    return dict(json.loads(table.file(shard).read_text())) if shard else {}


# ---------------------------------------------------------------------------------------- verdicts


def scores(tables: Tables) -> list[Score]:
    """What ``evals judge`` wrote down about each suite, by both rules, the strict one last."""
    if "evals judge" not in tables:
        return []
    told = tables["evals judge"].manifest["scores"]
    return sorted(Score(*(score[name] for name in Score._fields)) for score in told)


def source(tables: Tables) -> str:
    """Where the samples come from: a model, unless they were made to try the harness."""
    settings = tables["evals sample"].manifest["settings"] if "evals sample" in tables else {}
    return str(settings.get("source", "model"))


def suite_sizes(tables: Tables) -> dict[str, int]:
    """How many problems each suite has; 0 for one that was asked for and could not be had."""
    if "evals problems" not in tables:
        return {}
    table = tables["evals problems"]
    found = dict(table.scan().group_by("suite").len().sort("suite").collect().iter_rows())
    return dict.fromkeys(table.manifest["left_out"], 0) | found


def verdict_counts(table: Table) -> dict[str, dict[str, int]]:
    """How many samples of each suite came to which verdict."""
    rows = table.scan().group_by("suite", "strict").len().sort("suite").collect()
    counts: dict[str, Counter[str]] = {}
    for suite, verdict, count in rows.iter_rows():
        counts.setdefault(suite, Counter())[verdict] += count
    return {suite: {name: found[name] for name in VERDICTS if found[name]} for suite, found in counts.items()}


def samples(tables: Tables, most: int) -> Iterator[tuple[str, list[Sample]]]:
    """The samples of each suite in the order of its problems, the first ones of every problem first.

    Args:
        most: How many samples to give in all.
    """
    key = ["suite", "problem"]
    cost = tables["evals judge"].scan("measured").select(*key, "sample", "cpu_seconds", "memory_bytes")
    judged = tables["evals judge"].scan().join(cost, on=[*key, "sample"], how="left")
    if "evals sample" in tables:
        made = tables["evals sample"].scan().select(*key, "sample", "completion", "finish")
        judged = judged.join(made, on=[*key, "sample"], how="left")
    if "evals problems" in tables:
        posed = tables["evals problems"].scan().select(*key, "prompt", "stop")
        judged = judged.join(posed, on=key, how="left")
    rows = judged.sort("sample", *key).head(most).collect()
    for (suite,), part in rows.group_by("suite", maintain_order=True):
        found = [_sample(row) for row in part.iter_rows(named=True)]
        yield str(suite), sorted(found, key=lambda one: (_natural(one.problem), one.number))


def _sample(row: dict[str, Any]) -> Sample:
    completion = row.get("completion") or ""
    stops = row.get("stop") or () if row.get("finish") != "given" else ()
    end = min((at for stop in stops if (at := completion.find(stop)) >= 0), default=len(completion))
    prompt, detail = row.get("prompt") or "", row["detail"] or ""
    texts = (prompt, completion[:end], completion[end:], row["program"])
    cost = row["cpu_seconds"], row["memory_bytes"]
    return Sample(row["problem"], row["sample"], row["strict"], row["as_published"], *cost, detail, *texts)


def _natural(name: str) -> tuple[str, int, str]:
    """HumanEval/9 before HumanEval/10."""
    head, _, tail = name.rpartition("/")
    return (head, int(tail), "") if tail.isascii() and tail.isdigit() else (head, -1, tail)


# -------------------------------------------------------------------------------------- provenance


def chain(tables: Tables) -> list[Link]:
    """Every table with its maker, and inputs that are not the tables given here under the maker's name."""
    return [_link(table, tables) for table in tables.values()]


def _link(table: Table, tables: Tables) -> Link:
    manifest = table.manifest
    inputs, strangers = [], []
    for one in manifest["inputs"]:
        name = one["made_by"] or one["table"]
        inputs.append(f"{name} {one['digest'][:12]}")
        if name in tables and tables[name].digest != one["digest"]:
            strangers.append(name)
    settings = {key: json.dumps(value, ensure_ascii=False) for key, value in manifest["settings"].items()}
    return Link(
        verb=manifest["made_by"],
        table=manifest["table"],
        digest=table.digest,
        rows=sum(shard.rows for shard in table.shards()),
        seconds=manifest["seconds"],
        finished=manifest["finished"],
        settings=settings,
        inputs=inputs,
        strangers=strangers,
    )
