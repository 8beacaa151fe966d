"""The suites: each file says where its problems come from and how a completion becomes a program."""

from __future__ import annotations

from typing import Protocol

from evals.sandbox import Test
from evals.suites import humaneval, mbpp
from evals.suites.problem import Problem


class Suite(Protocol):
    """What a suite's module offers."""

    def program(self, problem: Problem, completion: str) -> str:
        """The whole program, test included, as the benchmark's authors ran it."""

    def apart(self, problem: Problem, completion: str) -> tuple[str, Test] | None:
        """The program without its test, and the test; None if the two cannot be separated."""

    def spoiled(self, problem: Problem) -> str:
        """A completion that is wrong, for checking that the harness can say no."""


SUITES: dict[str, Suite] = {"humaneval": humaneval, "mbpp": mbpp}
