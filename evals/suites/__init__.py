"""The suites: each file says where its problems come from and how a completion becomes a program.

Most suites run programs; those that compare texts give a score by themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from evals.config import Problems
from evals.data import Source
from evals.sandbox import Test
from evals.suites import humaneval, mbpp
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


class Match(NamedTuple):
    """How near a text came to the one that was asked for."""

    as_published: bool
    """Equal under the benchmark's own rule."""
    strict: bool
    """Equal as a whole."""
    similarity: float | None = None
    """Edit similarity from 0 to 1, where the benchmark reports one."""


class TextSuite(Suite, Protocol):
    """A suite whose completions are compared with the text that was cut out; nothing runs."""

    def match(self, problem: Problem, answer: str) -> Match:
        """How near the answer came to ``problem.reference``."""


PROGRAMS: Mapping[str, ProgramSuite] = {"humaneval": humaneval, "mbpp": mbpp}
TEXTS: Mapping[str, TextSuite] = {}
SUITES: Mapping[str, Suite] = {**PROGRAMS, **TEXTS}
