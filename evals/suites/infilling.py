"""HumanEval infilling (Bavarian et al. 2022, arXiv 2207.14255): a span cut out of HumanEval's solutions.

Four sets from github.com/openai/human-eval-infilling (MIT): single lines (1,033), runs of lines (5,815), and
random spans, ten a problem (1,640) and one (164).  The program is prefix, completion, suffix and HumanEval's
test; no imports are added.  A completion ends where the model says so, with its end token; nothing is cut.
The limit is the repository's 3 s.  DeepSeek reports no score here: its FIM table is ``santacoder.py``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from evals.config import Problems
from evals.data import Source
from evals.sandbox import Test
from evals.suites.problem import Problem

URL = (
    "https://raw.githubusercontent.com/openai/human-eval-infilling/"
    "88062ff9859c875d04db115b698ed4b0f0395170/data/{}.jsonl.gz"
)


@dataclass(frozen=True)
class Infilling:
    """One of the four sets."""

    name: str
    file: str
    sha256: str

    def sources(self) -> tuple[Source, ...]:
        """One file."""
        return (Source(f"humaneval-infilling/{self.file}.jsonl", URL.format(self.file), self.sha256),)

    def problems(self, files: list[bytes], settings: Problems) -> list[Problem]:
        """All problems, in the file's order."""
        return [self._problem(json.loads(line)) for line in files[0].decode().splitlines()]

    def _problem(self, row: dict[str, str]) -> Problem:
        prompt, suffix, reference = row["prompt"], row["suffix"], row["canonical_solution"]
        return Problem(
            suite=self.name,
            problem=row["task_id"],
            prompt=prompt,
            suffix=suffix,
            header=prompt,
            test=f"\n{row['test']}\ncheck({row['entry_point']})\n",
            entry_point=row["entry_point"],
            stop=[],
            max_new_tokens=512,
            seconds=3.0,
            reference=reference,
            text=f"{prompt}{reference}{suffix}\n{row['test']}",
        )

    def program(self, problem: Problem, answer: str) -> str:
        """The whole program, test included."""
        return f"{problem.header}{answer}{problem.suffix}{problem.test}"

    def apart(self, problem: Problem, answer: str) -> tuple[str, Test] | None:
        """The program without its test, and the test, with the solution's helpers (HumanEval/32, 38, 50)."""
        assert problem.entry_point is not None
        given = f"{problem.header}{problem.reference}{problem.suffix}"
        test = Test(text=problem.test, calls=[problem.entry_point], given=given)
        return f"{problem.header}{answer}{problem.suffix}", test

    def spoiled(self, problem: Problem) -> str:
        """No span makes Python of this, be it in an expression or behind a comment."""
        return "\n)(\n"


SUITES = {
    f"infilling-{name}": Infilling(f"infilling-{name}", f"HumanEval-{file}", sha256)
    for name, file, sha256 in (
        (
            "single-line",
            "SingleLineInfilling",
            "6fffc71ec2f1674372fcc177511f92312f1a27a9eacd8e43255c9f5ee9eca8c8",
        ),
        (
            "multi-line",
            "MultiLineInfilling",
            "5b49f312f0a781420a4ae54f5e73176009b9cfc52731e3a0b9be726b451032d1",
        ),
        (
            "random-span",
            "RandomSpanInfilling",
            "4f15be2d4a479b504072c64e79702df184010f13bdf75f8b67ce08e054c48e26",
        ),
        (
            "random-span-light",
            "RandomSpanInfillingLight",
            "cbb2b36f90311a3a7d844b6361852bb33e3ab11ab3bca2b7e85bfb9bf78c5891",
        ),
    )
}
