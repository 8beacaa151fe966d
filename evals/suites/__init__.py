"""The suites: each file says where its problems come from and how a completion becomes a program.

Most suites run programs; those that compare texts give a score by themselves.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from pathlib import Path
from typing import Protocol

from evals.config import Problems
from evals.data import Source
from evals.sandbox import Test
from evals.suites import (
    crosscodeeval,
    ds1000,
    evalplus,
    humaneval,
    infilling,
    instruct,
    leetcode,
    mbpp,
    multiple,
    pal,
    santacoder,
)
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
    """A suite whose completions become Python programs, which run in a sandbox."""

    def program(self, problem: Problem, answer: str) -> str:
        """The whole program, test included, as the benchmark's authors ran it."""

    def apart(self, problem: Problem, answer: str) -> tuple[str, Test] | None:
        """The program without its test, and the test; None if the two cannot be separated."""


class LanguageSuite(Suite, Protocol):
    """A suite whose completions become programs of another language than Python."""

    def program(self, problem: Problem, answer: str) -> str:
        """The whole program, test included, as the benchmark's authors ran it."""

    def marked(self, problem: Problem, answer: str, statement: str) -> str:
        """The program with a statement at the very end of its test."""

    def attempts(self, problem: Problem) -> list[tuple[str, ...] | None]:
        """Options of the compiler, each tried until a program passes; None stands for its own."""

    def beside(self, problem: Problem) -> dict[str, Path]:
        """Files that stand beside the program, by their names there.

        Raises:
            runtimes.Missing: one of them is not on this machine.
        """


class TextSuite(Suite, Protocol):
    """A suite whose completions are compared with the text that was cut out; nothing runs."""

    def match(self, problem: Problem, answer: str) -> Match:
        """How near the answer came to ``problem.reference``."""


PROGRAMS: Mapping[str, ProgramSuite] = {
    "humaneval": humaneval,
    "mbpp": mbpp,
    "instruct-python": instruct.Python(),
    "instruct-mbpp": mbpp.Instruct(),
    **evalplus.SUITES,
    **infilling.SUITES,
    **leetcode.SUITES,
    **pal.SUITES,
    **ds1000.SUITES,
}
APART: Set[str] = {*evalplus.SUITES, *pal.SUITES}
"""Suites of programs whose test runs apart from them or not at all."""
NEEDS: Mapping[str, tuple[str, ...]] = ds1000.NEEDS
"""Packages without which the programs of a suite are not run."""
LANGUAGES: Mapping[str, LanguageSuite] = {
    **{f"multiple-{name}": language for name, language in multiple.languages(multiple.Language).items()},
    **{f"instruct-{name}": language for name, language in instruct.languages().items()},
}
TEXTS: Mapping[str, TextSuite] = {**santacoder.SUITES, **crosscodeeval.SUITES}
SUITES: Mapping[str, Suite] = {**PROGRAMS, **LANGUAGES, **TEXTS}
