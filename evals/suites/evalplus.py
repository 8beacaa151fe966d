"""HumanEval+ and MBPP+ (Liu et al. 2023, arXiv 2305.01210): the same tasks under hundreds of inputs.

An output is right if it agrees with what the reference returns (``agreement.py``).  EvalPlus computes the
expected outputs beforehand and hands them to the process that runs the program; here the reference runs
on the test's side, apart from the program, which sees arguments only.

Protocol (EvalPlus 0.3.1, Apache-2.0): zero-shot; the prompt stripped, with a newline; the stops below; the
program is the prompt and the completion, without imports; base and plus inputs must all agree.  EvalPlus
gives each input four times the reference's time, at least 1 s, at most 60 s together; here one limit
holds for all of them, and it is processor time: 60 s for the program and as many for the reference, which
runs beside it (Mbpp/599 needs 28 s each).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evals.config import Problems
from evals.data import Source
from evals.sandbox import Test
from evals.suites import agreement
from evals.suites.problem import Problem

RELEASES = "https://github.com/evalplus/{0}_release/releases/download/v{1}/{2}.jsonl.gz"

SECONDS = 2 * 60.0
"""Processor time of the program and of the reference together."""

_ENDS = ["\nif __name__", "\ndef main(", "\nprint("]
_AGREEMENT = Path(agreement.__file__).read_text()


@dataclass(frozen=True)
class EvalPlus:
    """One of the two sets, at one release."""

    name: str
    source: Source
    stop: tuple[str, ...]
    mbpp: bool = False

    def sources(self) -> tuple[Source, ...]:
        """One file."""
        return (self.source,)

    def problems(self, files: list[bytes], settings: Problems) -> list[Problem]:
        """All problems, in the file's order."""
        return [self._problem(json.loads(line)) for line in files[0].decode().splitlines()]

    def _problem(self, row: dict[str, Any]) -> Problem:
        prompt, reference, name = row["prompt"], row["canonical_solution"], row["entry_point"]
        inputs = [_rebuilt(row["task_id"], given) for given in _inputs(row)]
        test = (
            'inf, nan, _reference = float("inf"), float("nan"), {}\n'
            f"exec({prompt + reference!r}, _reference)\n"
            f"compare_with_reference({name}, _reference[{name!r}], {inputs!r}, "
            f"name={name!r}, atol={row['atol']!r}, mbpp={self.mbpp})\n"
        )
        return Problem(
            suite=self.name,
            problem=row["task_id"],
            prompt=prompt.strip() + "\n",
            header=prompt,
            test=test,
            entry_point=name,
            stop=[*_ENDS, *self.stop],
            max_new_tokens=768,
            seconds=SECONDS,
            reference=reference,
            text=f"{prompt}{reference}\n{row.get('test') or row.get('assertion') or ''}",
        )

    def program(self, problem: Problem, answer: str) -> str:
        """The program without its test, which is never beside it."""
        return problem.header + answer

    def apart(self, problem: Problem, answer: str) -> tuple[str, Test] | None:
        """The program, and the comparison with the reference."""
        assert problem.entry_point is not None
        test = Test(text=problem.test, calls=[problem.entry_point], given=_AGREEMENT)
        return self.program(problem, answer), test

    def spoiled(self, problem: Problem) -> str:
        """The function answers everything with a word, or raises where any answer is right."""
        does = "raise ValueError" if problem.entry_point == "are_equivalent" else 'return "spoiled"'
        return f"\ndef {problem.entry_point}(*given): {does}\n" if self.mbpp else f"    {does}\n"


def _release(name: str, version: str, sha256: str) -> Source:
    return Source(
        path=f"{name.lower()}/{name}{f'-v{version}' if name == 'MbppPlus' else ''}.jsonl",
        url=RELEASES.format(name.lower(), version, name),
        sha256=sha256,
    )


SUITES = {
    suite.name: suite
    for suite in (
        EvalPlus(
            "humaneval-plus",
            _release(
                "HumanEvalPlus", "0.1.10", "42526ec0e7d5f3ee0b06d6ced98f8c8bae3d76519151bfb3d36f79010645bd7f"
            ),
            ("\ndef ", "\nclass ", "\nimport ", "\nfrom ", "\nassert "),
        ),
        EvalPlus(
            "mbpp-plus",
            _release("MbppPlus", "0.2.0", "b54e762755248ca411b523c917fa9f93c07b5ff2966bf60b3917b853926a3dad"),
            ('\n"""', "\nassert"),
            mbpp=True,
        ),
        EvalPlus(
            "mbpp-plus-v0.1.0",
            _release("MbppPlus", "0.1.0", "a855b9de667baea8e2f8aa61f898767a7336872208a85222b35622545e819fe9"),
            ('\n"""', "\nassert"),
            mbpp=True,
        ),
    )
}
"""MBPP+ 0.2.0 has 378 tasks; scores published in 2023 and 2024 are on the 399 of 0.1.0."""


# ------------------------------------------------------------------- arguments that JSON cannot hold


def _rebuilt(task: str, given: Any) -> Any:
    """The arguments of one call, with the tuples, sets and numbers that JSON made into something else."""
    dataset, _, number = task.partition("/")
    rebuild = _REBUILD.get(int(number)) if dataset == "Mbpp" else None
    return rebuild(given) if rebuild else given


def _inputs(row: dict[str, Any]) -> list[Any]:
    return [*row["base_input"], *row["plus_input"]]  # where there are none it is an empty object


def _deep(value: Any) -> Any:
    return tuple(map(_deep, value)) if isinstance(value, list) else value


def _tuples(value: Any) -> list[Any]:
    return [tuple(part) for part in value]


_ARE_TUPLES = (2, 116, 132, 143, 222, 261, 273, 394, 399, 421, 424, 429, 470, 560, 579, 596, 616, 630, 726)
_HOLD_TUPLES = (63, 64, 70, 94, 120, 237, 272, 299, 400, 409, 417, 438, 473, 614, 780)

_KINDS: list[tuple[tuple[int, ...], Callable[[Any], Any]]] = [
    ((*_ARE_TUPLES, 740, 744, 809), _tuples),
    (_HOLD_TUPLES, lambda given: [_tuples(one) for one in given]),
    ((75, 413, 444, 753), lambda given: [_tuples(given[0]), given[1]]),
    ((106, 750), lambda given: [given[0], tuple(given[1])]),
    ((115,), lambda given: [[set(part) if isinstance(part, list) and part else {} for part in given[0]]]),
    ((124,), lambda given: [float(given[0]), complex(given[1])]),
    ((250, 405, 446, 617, 720, 763, 808), lambda given: [tuple(given[0]), given[1]]),
    ((252,), lambda given: [complex(given[0])]),
    ((259, 401, 445), lambda given: [tuple(_tuples(one)) for one in given]),
    ((278,), lambda given: [tuple(tuple(part) if isinstance(part, list) else part for part in given[0])]),
    ((307,), lambda given: [tuple(given[0]), given[1], given[2]]),
    ((580, 615, 791), _deep),
    ((722,), lambda given: [{key: tuple(value) for key, value in given[0].items()}, *given[1:]]),
]
"""By task of MBPP, as evalplus/data/mbpp.py does it."""

_REBUILD = {task: rebuild for tasks, rebuild in _KINDS for task in tasks}
