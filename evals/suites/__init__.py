"""The suites: each file says where its problems come from and how a completion becomes a program.

Most suites run programs; those that compare texts give a score by themselves.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Protocol

from evals.config import Problems
from evals.data import Source
from evals.sandbox import Test
from evals.suites import evalplus, humaneval, infilling, leetcode, mbpp, santacoder
from evals.suites.likeness import Match
from evals.suites.problem import Problem


class Suite(Protocol):
    """What every suite offers: a module, or an object where one file holds a family of suites."""

    def sources(self) -> tuple[Source, ...]:
        """The files that its problems are made from."""

    def problems(self, files: list[bytes], settings: Problems) -> list[Problem]:
        """All its problems, in their order.

        Args:
            files: The contents of ``sources``, unpacked.

        Raises:
            ValueError, KeyError, TypeError, AttributeError, IndexError: the files are something else.
        """

    def spoiled(self, problem: Problem) -> str:
        """A completion that is wrong, for checking that the harness can say no."""


class ProgramSuite(Suite, Protocol):
    """A suite whose completions become programs, which run in a sandbox."""

    def program(self, problem: Problem, answer: str) -> str:
        """The whole program, test included, as the benchmark's authors ran it."""

    def apart(self, problem: Problem, answer: str) -> tuple[str, Test] | None:
        """The Python program without its test, and the test; None if the two cannot be separated."""


class TextSuite(Suite, Protocol):
    """A suite whose completions are compared with the text that was cut out; nothing runs."""

    def match(self, problem: Problem, answer: str) -> Match:
        """How near the answer came to ``problem.reference``."""


PROGRAMS: Mapping[str, ProgramSuite] = {
    "humaneval": humaneval,
    "mbpp": mbpp,
    **evalplus.SUITES,
    **infilling.SUITES,
    **leetcode.SUITES,
}
APART: Set[str] = set(evalplus.SUITES)
"""Suites of programs whose test runs apart from them or not at all."""
TEXTS: Mapping[str, TextSuite] = santacoder.SUITES
SUITES: Mapping[str, Suite] = {**PROGRAMS, **TEXTS}
