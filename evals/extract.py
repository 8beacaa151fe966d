"""Where the answer is in a completion: how much of what a model wrote goes into the program.

Each function is named in ``Problem.extract``; a sample that was given rather than generated is taken whole.
Completions are hostile: each function takes time in proportion to their length.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from evals.sanitize import sanitize
from evals.suites import instruct
from evals.suites.problem import Problem


def answer(problem: Problem, completion: str, finish: str) -> str:
    """What of a completion is judged.

    Args:
        finish: How the completion ended, see ``docs/contract.md``.
    """
    return completion if finish == "given" else extracted(problem, completion)


def extracted(problem: Problem, completion: str) -> str:
    """The answer in what a model wrote: cut at the first stop string, then by the problem's own function."""
    return EXTRACT[problem.extract](problem, cut(completion, problem.stop))


def cut(completion: str, stops: list[str]) -> str:
    """What comes before the first of the stop strings."""
    return completion[: min((at for stop in stops if (at := completion.find(stop)) >= 0), default=None)]


def whole(problem: Problem, completion: str) -> str:
    """All of it."""
    return completion


def fenced(problem: Problem, completion: str) -> str:
    """What stands in the first fenced block of the problem's language; all of it where there is none."""
    tags = "|".join(map(re.escape, (*_TAGS.get(problem.language, ()), problem.language)))
    found = re.search(rf"```(?:{tags})[ \t]*\n(.*?)```", completion, re.DOTALL | re.IGNORECASE)
    return found[1] if found else completion


def contest(problem: Problem, completion: str) -> str:
    """As DeepSeek's LeetCode script does it (evaluate_leetcode.py).

    The first Python block; without one, what comes before the first of five stops; a body without a head
    goes below the template of the prompt.
    """
    if completion.startswith("\n" + 8 * " "):
        template = re.search(r"```python\n(.*?)\n```", problem.prompt, re.DOTALL)
        return f"{template[1].strip() if template else ''}\n{completion}"
    text = completion.replace("[PYTHON]", "```python").replace("[/PYTHON]", "```")
    if "```python" not in text:
        return cut(text, ["\ndef", "\nclass", "\nif", "\n#", "\nprint"])
    block = text.partition("```python\n")[2]
    return block[: block.index("\n```")] if "\n```" in block else completion


def solution(problem: Problem, completion: str) -> str:
    """The first Python block that defines ``solution()``, as in DeepSeek's PAL-Math script; or nothing."""
    block = completion.partition("```python\n")[2]
    end = block.find("```", block.find(_SOLUTION) + len(_SOLUTION)) if _SOLUTION in block else -1
    return block[:end] if end >= 0 else ""


_SOLUTION = "def solution():\n"
_TAGS = {
    "csharp": ("c#", "cs"),
    "bash": ("sh", "shell"),
    "cpp": ("c++",),
    "javascript": ("js",),
    "typescript": ("ts",),
}


def stripped(problem: Problem, completion: str) -> str:
    """All of it but blanks at both ends."""
    return completion.strip()


def tabs(problem: Problem, completion: str) -> str:
    """All of it, tabs as four spaces (EvalPlus and Qwen do so to what is generated)."""
    return completion.replace("\t", "    ")


def evalplus(problem: Problem, completion: str) -> str:
    """The whole program as EvalPlus cleans it up."""
    return sanitize(problem.prompt + tabs(problem, completion), problem.entry_point or "")


def lm_eval(problem: Problem, completion: str) -> str:
    """The first fenced block, one being thought open before the text; nothing where none is closed."""
    for text in ("```" + completion, completion.replace("```python", "```")):
        if text.count("```") > 1:
            found = re.search(r"```(?:\w+)?\n?(.*?)\n?```", text, re.DOTALL)
            return found[1] if found else ""
    return ""


EXTRACT: dict[str, Callable[[Problem, str], str]] = {
    "whole": whole,
    "fenced": fenced,
    "deepseek": instruct.extract,
    "stripped": stripped,
    "tabs": tabs,
    "evalplus": evalplus,
    "lm_eval": lm_eval,
    "contest": contest,
    "solution": solution,
}
