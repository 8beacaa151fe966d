"""Maths questions answered by programs (PAL, Gao et al. 2023, arXiv 2211.10435), as DeepSeek ran them.

GSM8K, MATH, GSM-Hard, SVAMP, TabMWP, ASDiv and MAWPS from DeepSeek's repository (the sets are MIT, ASDiv
CC-BY-NC-4.0, TabMWP CC-BY-NC-SA-4.0; TabMWP's file could not be seen here, so it is the user's to give).

Protocol (Evaluation/PAL-Math/run.py): three solved examples, for MATH four; greedy, 512 new tokens, ending
at ``Question`` or ``----------------``; the first Python block that defines ``solution()``; 5 s.  The
text of what it returns is compared in a process of its own (``mathequal.py``), there and here.  The
executor in the repository's last commit takes all builtins from the program, under which no import works:
the published scores are older, and so is what we follow.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evals.config import Problems
from evals.data import DEEPSEEK, Source
from evals.sandbox import Test
from evals.suites import mathequal
from evals.suites.mathequal import normal
from evals.suites.problem import Problem

STOP = ["Question", "----------------"]

_SERVE = "\n\ndef answered():\n    return str(solution())\n"
_EQUAL = Path(mathequal.__file__).read_text()

Row = dict[str, Any]


@dataclass(frozen=True)
class Maths:
    """One set of questions: where it is, and what a row of it says."""

    name: str
    prompt: Source
    files: tuple[Source, ...]
    question: Callable[[Row], str]
    expected: Callable[[Row], str]
    solution: Callable[[Row], str] = lambda row: ""

    def sources(self) -> tuple[Source, ...]:
        """The solved examples, then the questions."""
        return (self.prompt, *self.files)

    def problems(self, files: list[bytes], settings: Problems) -> list[Problem]:
        """All problems, in the order of the files."""
        examples, *tables = (file.decode() for file in files)
        return [
            self._problem(f"{Path(source.path).stem}/{number}", json.loads(line), examples)
            for source, table in zip(self.files, tables, strict=True)
            for number, line in enumerate(table.splitlines())
        ]

    def _problem(self, number: str, row: Row, examples: str) -> Problem:
        question, expected = self.question(row).strip(), normal(self.expected(row))
        solution = self.solution(row)
        return Problem(
            suite=self.name,
            problem=f"{self.name.removeprefix('pal-')}/{number.removeprefix('test/')}",
            prompt=f"{examples}\n\nQuestion: {question}\n",
            test=f"assert agree({expected!r}, answered())\n",
            stop=STOP,
            extract="solution",
            max_new_tokens=512,
            seconds=5.0,
            reference=solution or f"def solution():\n    return {expected!r}\n",
            text=f"{question}\n{row.get('solution') or row.get('answer') or ''}\n{solution}",
        )

    def program(self, problem: Problem, answer: str) -> str:
        """The program; what it returns is compared elsewhere."""
        return answer

    def apart(self, problem: Problem, answer: str) -> tuple[str, Test] | None:
        """The program, which tells its answer as text, and the comparison."""
        return answer + _SERVE, Test(text=problem.test, calls=["answered"], given=_EQUAL)

    def spoiled(self, problem: Problem) -> str:
        """A number that is no answer to anything."""
        return "def solution():\n    return -987654.321\n"


def boxed(solution: str) -> str:
    r"""What stands in the last ``\boxed{}`` of a solution of MATH."""
    tail = solution.rpartition("boxed")[2]
    if not tail.startswith("{"):
        return tail.partition("$")[0].strip()
    depth = 0
    for place, character in enumerate(tail):
        depth += {"{": 1, "}": -1}.get(character, 0)
        if depth == 0:
            return tail[1:place]
    return tail[1:]


def _ended(row: Row) -> str:
    return str(row["answer"]).partition("####")[2]


def _sentences(row: Row) -> str:
    body = row["Body"].strip()
    return f"{body if body.endswith('.') else body + '.'} {row['Question'].strip()}"


def _table(row: Row) -> str:
    title = f'regarding "{row["table_title"]}" ' if row["table_title"] else ""
    asked = f"Read the following table {title}and answer a question:\n{row['table']}\n{row['question']}"
    options = f" Please select from the following options: {row['choices']}" if row["choices"] else ""
    return asked + options


def _of_table(row: Row) -> str:
    answer = str(row["answer"])
    if row["ans_type"] not in ("integer_number", "decimal_number"):
        return answer
    if "/" in answer:
        above, below = answer.split("/")
        return str(int(above) / int(below))
    return str(float(answer.partition("%")[0]) / 100 if "%" in answer else float(answer.replace(",", "")))


def _prompt(name: str, sha256: str) -> Source:
    return Source(f"pal-math/prompts/{name}.md", f"{DEEPSEEK}/PAL-Math/prompts/{name}.md", sha256)


def _file(path: str, sha256: str | None) -> Source:
    return Source(f"pal-math/{path}", f"{DEEPSEEK}/PAL-Math/datasets/{path}", sha256)


_GSM8K = _prompt("gsm8k", "91340987e54a8ff53b82d09a285defbdabc3ed78e631d3429b69fa2d107b10f9")

SUITES = {
    suite.name: suite
    for suite in (
        Maths(
            "pal-gsm8k",
            _GSM8K,
            (_file("gsm8k/test.json", "9f098df7ff4522078d6ccec27a5c38a454790fdb51131bedfaa0e490070d5394"),),
            lambda row: str(row["question"]),
            _ended,
        ),
        Maths(
            "pal-math",
            _prompt("math", "b791c1ef5c8d4192d75186d35259fc315ea9530785c080a4548a158d5481c7b8"),
            (_file("math/test.json", "3371949f33dd702d04b43fddd7d53a028de0aaca0e76abb1b875a050297b3aa4"),),
            lambda row: str(row["problem"]),
            lambda row: boxed(row["solution"]).partition("\n")[0].removeprefix(":").removesuffix("."),
        ),
        Maths(
            "pal-gsm-hard",
            _GSM8K,
            (
                _file(
                    "gsm-hard/test.json", "45db606263a4902580aba3974e8b7fb3f66012877889209af206b1c1b2f208f5"
                ),
            ),
            lambda row: str(row["input"]),
            lambda row: str(row["target"]),
            lambda row: str(row["code"]),
        ),
        Maths(
            "pal-svamp",
            _GSM8K,
            (_file("svamp/test.json", "d0826ff1264f3860e46fc4e71db9e31d2d188960db87090e22677f9493e67a0d"),),
            _sentences,
            lambda row: str(row["Answer"]),
        ),
        Maths("pal-tabmwp", _GSM8K, (_file("tabmwp/test.json", None),), _table, _of_table),
        Maths(
            "pal-asdiv",
            _GSM8K,
            (_file("asdiv/test.json", "5759580385e706f961a30d4c07d6925b35c3f7c86d6c50bc413957169693dad2"),),
            lambda row: f"{row['body'].strip()} {row['question'].strip()}",
            lambda row: re.sub(r"\(.*?\)", "", row["answer"]),
        ),
        Maths(
            "pal-mawps",
            _GSM8K,
            (
                _file(
                    "mawps/addsub.jsonl", "2fae2c92530cdf1ac0487db9a90e68d6af84049d755c07c4486411c1d7f43e75"
                ),
                _file(
                    "mawps/multiarith.jsonl",
                    "12e8295088364af21fb6591dbdbd1dda452aade57227f63d725677471ded2951",
                ),
                _file(
                    "mawps/singleeq.jsonl", "07bec92bae226dd5231a966e907a0f097ba3170a1557c73ceeb135caad8d09f8"
                ),
                _file(
                    "mawps/singleop.jsonl", "feb012e7ed5503cdb96fd127d539692b033000e9134655acaf4f4e0091328e94"
                ),
            ),
            lambda row: str(row["input"]),
            lambda row: str(row["target"]),
        ),
    )
}
