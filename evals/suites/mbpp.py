"""MBPP (Austin et al. 2021, arXiv 2108.07732), tasks 11 to 510, as DeepSeek ran its base models.

Nobody ships the rows in a package, so they come from a file that the user names or from a repository
that publishes them, at a fixed commit and with a fixed hash.

Protocol (DeepSeek-Coder repository, Evaluation/MBPP): three shots, tasks 2, 3 and 4; the query ends with
``[BEGIN]`` and no newline; the completion is what comes before ``[DONE]``, stripped; the program is 15
imports, the completion, the asserts.  ``test_setup_code`` is not run, as there: task 367 needs it and
cannot pass, so 499 is the most that a model can reach.

``Instruct`` is the protocol of instruction-tuned models (eval_instruct.py there): the same shots in one user
turn, 512 new tokens, the first fenced block, no imports.
"""

from __future__ import annotations

import ast
import dataclasses
import json
import warnings
from collections.abc import Iterable
from typing import Any

from evals.config import Problems
from evals.data import DEEPSEEK, Source
from evals.sandbox import Test
from evals.suites.problem import IMPORTS, Problem

SOURCE = Source(
    path="mbpp/mbpp.jsonl",
    url=f"{DEEPSEEK}/MBPP/data/mbpp.jsonl",
    sha256="ccf64ceae9c5403bf50a044cb6d505bfd2a2963ee58338ba268fd65beab92a9f",
)
"""974 rows, CC-BY-4.0."""

SHOTS = (2, 3, 4)
TESTED = range(11, 511)
STOP = ["[DONE]"]

_ASK = (
    "You are an expert Python programmer, and here is your task: {text} "
    "Your code should pass these tests:\n\n{tests}\n[BEGIN]"
)


def sources() -> tuple[Source, ...]:
    """One file."""
    return (SOURCE,)


def problems(files: list[bytes], settings: Problems) -> list[Problem]:
    """The 500 problems that are tested."""
    rows = _by_task(files)
    shots = "".join(f"{_ask(rows[task])}\n{_code(rows[task])}\n[DONE]\n" for task in SHOTS)
    return [_problem(rows[task], shots, IMPORTS if settings.imports else "") for task in TESTED]


def parts(files: list[bytes]) -> dict[str, dict[str, str]]:
    """All rows by problem, shots too, in the pieces that ``presets.toml`` names."""
    rows = [json.loads(line) for line in files[0].decode().splitlines()]
    return {
        f"MBPP/{row['task_id']}": {
            "text": row["text"],
            "tests": "\n".join(row["test_list"]),
            "first_test": row["test_list"][0],
            "code": row["code"],
            "clean": _code(row),
        }
        for row in rows
    }


def _by_task(files: list[bytes]) -> dict[int, dict[str, Any]]:
    return {row["task_id"]: row for row in map(json.loads, files[0].decode().splitlines())}


def _problem(row: dict[str, Any], shots: str, imports: str) -> Problem:
    tests = "\n".join(row["test_list"])
    return Problem(
        suite="mbpp",
        problem=f"MBPP/{row['task_id']}",
        prompt=shots + _ask(row),
        header=imports,
        test=f"\n{tests}\n",
        entry_point=min(_called(tests) & _defined(row["code"]), default=None),
        stop=STOP,
        extract="stripped",
        reference=_code(row),
        text=f"{row['text']}\n{_code(row)}\n{tests}",
    )


def _ask(row: dict[str, Any]) -> str:
    return _ASK.format(text=row["text"], tests="\n".join(row["test_list"]))


def _code(row: dict[str, Any]) -> str:
    return str(row["code"]).replace("\r", "").replace("\t", "    ")


def program(problem: Problem, answer: str) -> str:
    """The whole program, test included."""
    return problem.header + answer + problem.test


def apart(problem: Problem, answer: str) -> tuple[str, Test] | None:
    """The program without its test, and the test.

    Which names the test takes from the program follows from the reference, never from the program: what
    a program defines must not replace the ``all`` or ``isclose`` of a test.
    """
    calls = _calls(problem)
    reference = _tree(problem.reference or "").body
    if any(isinstance(node, ast.ClassDef) and node.name in calls for node in reference):
        return None  # objects of the program's own classes are not plain data
    return problem.header + answer, Test(text=problem.test, calls=calls, given=problem.header)


def _calls(problem: Problem) -> list[str]:
    return sorted(_called(problem.test) & _defined(problem.reference or ""))


def _called(test: str) -> set[str]:
    return {node.id for node in ast.walk(_tree(test)) if isinstance(node, ast.Name)}


def _tree(code: str) -> ast.Module:
    with warnings.catch_warnings(action="ignore"):  # some solutions hold escapes that Python deprecates
        return ast.parse(code)


def _defined(code: str) -> set[str]:
    return set(_names(_tree(code).body))


def _names(body: Iterable[ast.stmt]) -> Iterable[str]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))


def spoiled(problem: Problem) -> str:
    """The functions take anything and do nothing."""
    return "\n".join(f"def {name}(*given, **named): return None" for name in _calls(problem))


class Instruct:
    """MBPP for instruction-tuned models: the same problems and tests, asked otherwise."""

    def sources(self) -> tuple[Source, ...]:
        """MBPP's one file."""
        return sources()

    def problems(self, files: list[bytes], settings: Problems) -> list[Problem]:
        """The 500 problems that are tested."""
        rows = _by_task(files)
        shots = (f"- Example {n}:\n{_shown(rows[task], solved=True)}" for n, task in enumerate(SHOTS, 1))
        examples = "\n\n".join(shots)
        return [self._problem(rows[task], examples) for task in TESTED]

    def _problem(self, row: dict[str, Any], examples: str) -> Problem:
        return dataclasses.replace(
            _problem(row, "", ""),
            suite="instruct-mbpp",
            prompt=_TURN.format(examples=examples, problem=_shown(row, solved=False)).strip(),
            chat=True,
            stop=[],
            extract="fenced",
            max_new_tokens=512,
        )

    program, apart, spoiled = staticmethod(program), staticmethod(apart), staticmethod(spoiled)


_TURN = (
    "Please refer the given examples and generate a python function for my problem.\n"
    "Examples are listed as follows:\n{examples}\n\nHere is my problem:\n{problem}"
)


def _shown(row: dict[str, Any], *, solved: bool) -> str:
    tests = "\n".join(row["test_list"])
    asked = f">>> Problem:\n{row['text'].strip()}\n>>> Test Cases:\n{tests}\n"
    return f"{asked}\n>>> Code:\n```python\n{_code(row)}\n```" if solved else asked
