"""HumanEval for instruction-tuned models, in the paper's eight languages, as DeepSeek ran it.

Protocol (Evaluation/HumanEval/eval_instruct.py and utils/utils.py of DeepSeek's repository): one user turn
through the model's chat template, 1,024 new tokens, 3 s for a program.  The answer is the whole code: the
head of the prompt, then the function as found in the first fenced block of the language.  Its authors say
that most of the distance of others' figures comes from this extraction (their issue 26).
"""

from __future__ import annotations

import dataclasses
import re

from evals.config import Problems
from evals.data import Source
from evals.sandbox import Test
from evals.suites import humaneval, multiple
from evals.suites.problem import IMPORTS, Problem

_ASK = (
    "Please continue to complete the function. You are not allowed to modify the given code and do the "
    "completion only. Please return all completed function in a codeblock. "
    "Here is the given code to do completion:\n```{fence}\n"
)
_END = "\n```"
MAX_NEW_TOKENS = 1024
SECONDS = 3.0


class Python:
    """The suite in Python."""

    def sources(self) -> tuple[Source, ...]:
        """HumanEval's one file."""
        return humaneval.sources()

    def problems(self, files: list[bytes], settings: Problems) -> list[Problem]:
        """All 164 problems, in the order of their numbers."""
        before = IMPORTS if settings.imports else ""
        return [_asked(base, "python", before) for base in humaneval.problems(files, settings)]

    def program(self, problem: Problem, answer: str) -> str:
        """The whole program, test included."""
        return f"{problem.header}{answer}{problem.test}"

    def apart(self, problem: Problem, answer: str) -> tuple[str, Test] | None:
        """The program without its test, and the test, which has the prompt's helpers as in ``humaneval``."""
        assert problem.entry_point is not None
        given = f"{problem.header}{question(problem)}\n"
        return problem.header + answer, Test(problem.test, [problem.entry_point], given)

    def spoiled(self, problem: Problem) -> str:
        """The function does nothing."""
        return f"{question(problem)}\n{humaneval.spoiled(problem)}"


class Other(multiple.Language):
    """The suite in one other language."""

    def problems(self, files: list[bytes], settings: Problems) -> list[Problem]:
        """All problems, in the order of the file."""
        return [_asked(base, self.fence, self.before) for base in super().problems(files, settings)]

    def spoiled(self, problem: Problem) -> str:
        """A near miss where we have one, else a body that raises."""
        return f"{question(problem)}\n{super().spoiled(problem)}"


def languages() -> dict[str, Other]:
    """The paper's languages beside Python, by MultiPL-E's short name."""
    return {name: one for name, one in multiple.languages(Other).items() if name in multiple.PAPER}


def _asked(base: Problem, fence: str, before: str) -> Problem:
    """The instruct form of a problem of the base protocol."""
    given = base.header.removeprefix(before).strip()
    return dataclasses.replace(
        base,
        suite=f"instruct-{fence if base.suite == 'humaneval' else base.suite.removeprefix('multiple-')}",
        prompt=f"{_ASK.format(fence=fence)}{given}{_END}",
        chat=True,
        header=before,
        stop=[],
        extract="deepseek",
        max_new_tokens=MAX_NEW_TOKENS,
        seconds=SECONDS,
        reference=None if base.reference is None else f"{given}\n{base.reference}",
    )


def question(problem: Problem) -> str:
    """The code that the user's turn asks to complete."""
    return problem.prompt.split("```", 1)[1].split("\n", 1)[1].removesuffix(_END)


# ------------------------------------------------------------------------------------- extraction


def extract(problem: Problem, completion: str) -> str:
    """The whole code of an answer, by DeepSeek's rules.

    Without a fenced block of the language, the prompt followed by all that was written.
    """
    fence = problem.prompt.split("```", 1)[1].split("\n", 1)[0]
    blocks = re.findall(rf"```{re.escape(fence)}\n(.*?)```", completion, re.DOTALL | re.IGNORECASE)
    if not blocks:
        return f"{question(problem)}\n{completion}"
    block, (head, function) = blocks[0], _split(question(problem), problem.language)
    main, closes, indent = _SETTINGS.get(problem.language, ("", False, 4))
    if main and main in block:
        block = block[: block.index(main)]
    start = block.lower().find(function.lower())
    if start >= 0:
        indent = start - len(block[:start].rstrip(" "))
    start = max(start, 0)
    brace = "\n" + " " * indent + "}"
    end = block.rfind(brace)
    body = block[start : end if end >= 0 else len(block)]
    return f"{head}\n{body}{brace if closes else ''}\n"


def _split(code: str, language: str) -> tuple[str, str]:
    """What stands before the function's head, without blank lines, and the head up to its parameters."""
    lines = [line for line in code.split("\n") if line.strip()]
    if language == "python":
        at = max(n for n, line in enumerate(lines) if line.startswith("def "))
        return "\n".join(lines[:at]), lines[at].split("(")[0].strip()
    return "\n".join(lines[:-1]), lines[-1].split("{")[0].strip()


_SETTINGS = {one.language: (one.main, one.closes, 4 * (one.name == "java")) for one in languages().values()}
"""By language: what is cut off a block, whether a body gets its closing brace back, and the indent where
the function's head is not found."""
