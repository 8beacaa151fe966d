"""LeetCode Contest (DeepSeek-Coder, section 4.1): 180 problems of July 2023 to January 2024.

Protocol (Evaluation/LeetCode of DeepSeek's repository): instruct models only, the problem is a user's turn,
with a sentence that asks for an outline first in the variant with chain of thought; greedy, 1,024 new
tokens; the first fenced Python block counts; the program is 16 imports, the block, some 100 asserts; 10 s.

DeepSeek's code is MIT; the statements are LeetCode's and have no licence: for evaluation on your own
machine, not to be passed on.  No solutions are published, so three problems have ours.
"""

from __future__ import annotations

import json
import textwrap
from dataclasses import dataclass
from typing import Any

from evals.config import Problems
from evals.data import DEEPSEEK, Source
from evals.sandbox import Test
from evals.suites.problem import IMPORTS, Problem

SOURCE = Source(
    path="leetcode-contest/20240121-Jul.jsonl",
    url=f"{DEEPSEEK}/LeetCode/data/20240121-Jul.jsonl",
    sha256="7630417651034cfef749d2b21b47163921e1199e078b39ecbc218b4e7c73fbfc",
)

OUTLINE = "\nYou need first write a step-by-step outline and then write the code."

_HEADER = f"{IMPORTS}from functools import *\n"

_SERVE = textwrap.dedent(
    """

    def solve(name, given, kept=[]):
        if not kept:
            kept.append(Solution())
        return getattr(kept[0], name)(**given)
    """
)
"""Beside the program: one object answers all calls, as in the published test."""

_CALL = textwrap.dedent(
    """
    class Solution:
        def __getattr__(self, name):
            return lambda **given: solve(name, given)
    """
)
"""Beside the test: what stands for the program's class there."""


@dataclass(frozen=True)
class Contest:
    """The problems, asked for with or without an outline."""

    name: str
    ask: str = ""

    def sources(self) -> tuple[Source, ...]:
        """One file."""
        return (SOURCE,)

    def problems(self, files: list[bytes], settings: Problems) -> list[Problem]:
        """All problems, in the file's order."""
        return [self._problem(json.loads(line)) for line in files[0].decode().splitlines()]

    def _problem(self, row: dict[str, Any]) -> Problem:
        return Problem(
            suite=self.name,
            problem=row["task_id"],
            prompt=row["prompt_sft"] + self.ask,
            chat=True,
            header=_HEADER,
            test=f"\n{row['test']}\n",
            stop=[],
            extract="contest",
            max_new_tokens=1024,
            reference=SOLVED.get(row["task_id"]),
            text=f"{row['prompt']}\n{row['test']}",
        )

    def program(self, problem: Problem, answer: str) -> str:
        """The whole program, test included."""
        return problem.header + answer + problem.test

    def apart(self, problem: Problem, answer: str) -> tuple[str, Test] | None:
        """The program without its test, and the test; not for the two whose lists are linked objects."""
        if "ListNode(" in problem.test:
            return None
        test = Test(text=problem.test, calls=["solve"], given=problem.header + _CALL)
        return problem.header + answer + _SERVE, test

    def spoiled(self, problem: Problem) -> str:
        """A class whose methods all return nothing."""
        return "class Solution:\n    def __getattr__(self, name):\n        return lambda **given: None"


SUITES = {suite.name: suite for suite in (Contest("leetcode"), Contest("leetcode-outline", OUTLINE))}

SOLVED = {
    "weekly-contest-381-minimum-number-of-pushes-to-type-word-i": textwrap.dedent(
        """\
        class Solution:
            def minimumPushes(self, word: str) -> int:
                return sum(1 + place // 8 for place in range(len(word)))"""
    ),
    "weekly-contest-380-count-elements-with-maximum-frequency": textwrap.dedent(
        """\
        class Solution:
            def maxFrequencyElements(self, nums: List[int]) -> int:
                counts = Counter(nums).values()
                return sum(count for count in counts if count == max(counts))"""
    ),
    "weekly-contest-377-minimum-number-game": textwrap.dedent(
        """\
        class Solution:
            def numberGame(self, nums: List[int]) -> List[int]:
                nums.sort()
                return [nums[place ^ 1] for place in range(len(nums))]"""
    ),
}
"""Our own solutions, for the harness to judge itself by."""
