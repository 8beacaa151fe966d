"""Completions of every problem: by a model, from the problems' own solutions, or from a samples file.

What a back end finishes goes line by line into a journal, and a killed run asks only for what is not
there; the table is written from the journal at the end.  A sample depends on the model, the settings and
its own key, never on the order in which samples were drawn.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import polars as pl

import corpus
import hub
import passes
from corpus import Refusal
from evals import journal, replay
from evals.backends import MARKED, Backend, Completion, Request, digest, seed_of
from evals.config import Sample, check
from evals.problems import read_problems
from evals.suites import SUITES
from evals.suites.problem import Problem

log = logging.getLogger(__name__)

PROBLEMS_PER_UNIT = 16

COLUMNS = {
    "suite": pl.String,
    "problem": pl.String,
    "sample": pl.Int32,
    "completion": pl.String,
    "finish": pl.String,
    "tokens": pl.Int32,
    "seed": pl.Int64,
    "detail": pl.String,
}

Samples = Mapping[tuple[str, str], list[Completion]]


class _Made(NamedTuple):
    """All samples, and what is to be said about them."""

    samples: Samples
    rejected: Sequence[replay.Rejected] = ()
    facts: Mapping[str, str] = MappingProxyType({})
    """For the manifest: the model, its tokenizer and template, the engine, and a hash of the prompts."""


def write_samples(
    src: Path, model: str, dst: Path, settings: Sample, cache: Path | None = None
) -> corpus.Table:
    """Samples of the problems in ``src``.

    Args:
        model: What ``--source model`` means by its form: a URL is a server, a folder with a config.json a
            model, anything else that exists a samples file or folder, and ``owner/name`` a model of the hub.
        cache: Where finished samples are kept by content, to be found again by other runs.
    """
    check(settings)
    asked = corpus.read(src, "problems")
    kind = _kind(model, settings)
    if kind == "hub":
        model, kind = hub.commit_of(model), settings.engine
    inputs, pins = _pinned(model, kind)
    with corpus.building(
        dst, "samples", made_by="evals sample", settings=settings, inputs=[asked, *inputs], **pins
    ) as out:
        if isinstance(out, corpus.Table):
            return out
        units = dict(_units(read_problems(asked), settings.limit))
        problems = [problem for some in units.values() for problem in some]
        source = pins or {"model": inputs[0].digest} if inputs or pins else {}
        made = _made(problems, model, kind, settings, source, cache or out.path / ".units")
        for unit in out.left(units):
            frame = _frame(units[unit], made.samples)
            out.write(unit, {"": frame}, came_in=len(frame))
        if made.rejected and out.left(["rejects"]):
            rejects = corpus.rejects(made.rejected, "evals sample")
            out.write("rejects", {"rejects": rejects}, came_in=len(rejects))
        return out.seal(marked=_marked(made.samples), generation=dict(made.facts))


def _kind(model: str, settings: Sample) -> str:
    """reference, spoiled, replay, server, hub, or the engine that runs a model's folder."""
    if settings.source != "model":
        return settings.source
    if model.startswith(("http://", "https://")):
        return "server"
    path = Path(model)
    if hub.named(model):
        return "hub"
    if not path.exists():
        raise Refusal(f"{model} does not exist: give a model's folder, a server's URL or a samples file.")
    if (path / "config.json").exists():
        return settings.engine
    weights = any(path.glob("*.safetensors")) or any(path.glob("*.bin"))
    if path.is_dir() and (weights or not (any(path.glob("*.json*")) or any(path.glob("*/*.py")))):
        raise Refusal(f"{model} holds no config.json: give a folder that transformers can load.")
    return "replay"


def _pinned(model: str, kind: str) -> tuple[list[corpus.Table], dict[str, str]]:
    """What the samples depend on beside the problems: a sealed model, or the hash of what is from outside."""
    path = Path(model)
    if kind in ("reference", "spoiled"):
        return [], {}
    if kind == "server":
        return [], {"server": model}
    if kind == "replay" and not path.exists():
        raise Refusal(f"{model} does not exist: --source replay reads a samples file or folder.")
    if hub.named(model):
        return [], {"model": model}
    if path.is_file():
        return [], {kind: corpus.sha256_of(path)}
    if (path / "manifest.json").exists() and kind != "replay":
        return [corpus.read(path, "model")], {}
    files = sorted(file for file in path.rglob("*") if file.is_file())
    listed = "\n".join(f"{file.relative_to(path)} {corpus.sha256_of(file)}" for file in files)
    return [], {"replay" if kind == "replay" else "model": hashlib.sha256(listed.encode()).hexdigest()}


def _units(problems: list[Problem], limit: int) -> Iterator[tuple[str, list[Problem]]]:
    """Names of units, in order, and the problems of each."""
    suites: dict[str, list[Problem]] = defaultdict(list)
    for problem in problems:
        suites[problem.suite].append(problem)
    for suite, some in suites.items():
        some = some[: limit or None]
        for start in range(0, len(some), PROBLEMS_PER_UNIT):
            yield f"{suite}-{start // PROBLEMS_PER_UNIT:04d}", some[start : start + PROBLEMS_PER_UNIT]


def _made(
    problems: list[Problem], model: str, kind: str, settings: Sample, source: Mapping[str, str], kept: Path
) -> _Made:
    """The samples of all problems."""
    if kind == "replay":
        return _Made(*replay.read(Path(model), problems))
    if kind == "reference":
        known = [problem for problem in problems if problem.reference is not None]
        return _Made({_key(p): [Completion(p.reference or "", "given")] for p in known})
    if kind == "spoiled":
        return _Made({_key(p): [Completion(SUITES[p.suite].spoiled(p), "given")] for p in problems})
    return _generated(_backend(model, kind, settings), problems, settings, source, kept)


def _backend(model: str, kind: str, settings: Sample) -> Backend:
    if kind != "server" and hub.named(model):
        model = str(hub.fetched(model))
    # Each brings libraries that the others do without.
    if kind == "server":
        from evals.backends.server import Server

        return Server(model, settings)
    if kind == "vllm":
        from evals.backends.vllm import Vllm

        return Vllm(Path(model), settings)
    from evals.backends.local import Local

    return Local(Path(model), settings)


def _generated(
    backend: Backend, problems: list[Problem], settings: Sample, source: Mapping[str, str], kept: Path
) -> _Made:
    """Draw what the journal does not hold yet."""
    identity = {**source, **backend.identity}
    sampling = [settings.temperature, settings.top_p]
    requests = [request for problem in problems for request in requests_of(backend, problem, settings)]
    keys = {request: digest(identity, sampling, request[3:]) for request in requests}
    with journal.opened(kept / f"samples-{digest(identity)[:16]}.jsonl") as finished:
        left = [request for request in requests if keys[request] not in finished.found]
        if len(left) < len(requests):
            log.info("evals sample: %s samples are there already", f"{len(requests) - len(left):,}")
        drawn = backend.generate(left) if left else iter(())
        for request, completion in passes.progress(drawn, label="evals sample", total=len(left)):
            finished.add(keys[request], completion)
        found: dict[tuple[str, str], list[Completion]] = defaultdict(list)
        for request in requests:
            found[request.suite, request.problem].append(finished.found[keys[request]])
    return _Made(found, facts={**identity, "prompts": digest([request.prompt for request in requests])})


def requests_of(backend: Backend, problem: Problem, settings: Sample) -> Iterator[Request]:
    most = settings.max_new_tokens or problem.max_new_tokens
    prompt = backend.prompt(problem, most)
    stops = tuple(problem.stop) if settings.stops else ()
    for number in range(settings.samples):
        seed = seed_of(settings.seed, problem.suite, problem.problem, number)
        yield Request(problem.suite, problem.problem, number, prompt, stops, most, seed)


def _key(problem: Problem) -> tuple[str, str]:
    return problem.suite, problem.problem


def _frame(problems: list[Problem], samples: Samples) -> pl.DataFrame:
    rows = [
        (*_key(problem), number, *completion)
        for problem in problems
        for number, completion in enumerate(samples.get(_key(problem), ()))
    ]
    return pl.DataFrame(rows, schema=COLUMNS, orient="row")


def _marked(samples: Samples) -> dict[str, int]:
    """How many samples are none, by how they ended; said aloud, since each counts as failed."""
    ends = Counter(completion.finish for some in samples.values() for completion in some)
    marked = {finish: ends[finish] for finish in MARKED if ends[finish]}
    for finish, count in marked.items():
        log.warning("evals sample: %d of %d samples are %s and count as failed", count, ends.total(), finish)
    return marked
