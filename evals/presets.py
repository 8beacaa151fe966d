"""How other harnesses ask, cut and judge: ``presets.toml``, applied to a suite's own problems.

A preset changes the rules and never the problems, so that completions can be scored under two of them.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from corpus import Refusal
from evals.suites.problem import IMPORTS, Problem

Parts = Mapping[str, Mapping[str, str]]
"""By problem, the pieces that a suite's rows are made of."""


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """What one harness does with one suite; the head of ``presets.toml`` says what each field is."""

    source: str
    prompt: str
    header: str
    test: str
    stop: tuple[str, ...]
    extract: str
    max_new_tokens: int
    seconds: float
    rule: str
    shot: str = ""
    between: str = ""
    shots: tuple[str, ...] = ()

    def applied(self, problem: Problem, parts: Parts, *, imports: bool = True) -> Problem:
        """The problem as this harness asks and judges it."""
        own = {**parts[problem.problem], "imports": IMPORTS if imports else ""}
        header = self.header.format_map(own)
        # A prompt that lost its last newline is continued with one.
        lead = "" if header.endswith("\n") or not header else "\n"
        shots = [self.shot.format_map(parts[name]) + self.between for name in self.shots]
        return replace(
            problem,
            prompt="".join(shots) + self.prompt.format_map(own),
            header=header,
            test=self.test.format_map(own),
            stop=list(self.stop),
            extract=self.extract,
            max_new_tokens=self.max_new_tokens,
            seconds=self.seconds,
            reference=None if problem.reference is None else lead + problem.reference,
        )


def names() -> Sequence[str]:
    """The presets there are."""
    return list(_all())


def protocol(preset: str, suite: str) -> Protocol | None:
    """What a preset says of a suite; None if nothing."""
    if preset not in _all():
        raise Refusal(f"no preset is called {preset}: there are {', '.join(_all())}.")
    return _all()[preset].get(suite)


@cache
def _all() -> dict[str, dict[str, Protocol]]:
    tables = tomllib.loads(Path(__file__).with_suffix(".toml").read_text())
    return {
        preset: {suite: _protocol(fields) for suite, fields in suites.items()}
        for preset, suites in tables.items()
    }


def _protocol(fields: Mapping[str, object]) -> Protocol:
    settled = {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
    return Protocol(**settled)  # type: ignore[arg-type]
