"""Cross-file completion: CrossCodeEval (Ding et al. 2023, arXiv 2310.11248), and rows of our own in its form.

The rest of a statement that uses another file of the repo, asked for with retrieved context and, in the
suites called ``-infile``, without (the paper's Table 7).  CrossCodeEval's archive (Apache-2.0, in
github.com/amazon-science/cceval) could not be fetched here, so no hash of it is known: give its files.
Rows of our own are written by ``evals crossfile``.

Protocol: greedy, 50 new tokens, 2,048 tokens in all, 512 of them context, which stands first.  No tokenizer
is known when problems are written, so a token is taken as three characters.  The answer is the first
statement (Python: up to the first line end where all parses; else to the first of ``;{}``).
``as_published`` compares its lines without comments and blanks (scripts/eval_metric.py there), ``strict``
its text stripped at the ends; edit similarity is fuzzywuzzy's ratio.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from typing import Any

from evals.config import Problems
from evals.data import Source
from evals.suites.likeness import LONGEST, Match, edit_similarity
from evals.suites.problem import Problem

CHARACTERS_PER_TOKEN = 3
CONTEXT = 512 * CHARACTERS_PER_TOKEN
PROMPT = (2048 - 50) * CHARACTERS_PER_TOKEN

NEIGHBOURHOOD = 600
"""Characters before a cut that must not be in the training data, beside what is asked for."""


@dataclass(frozen=True)
class CrossFile:
    """One file of rows, with or without its context."""

    name: str
    source: Source
    language: str | None = None
    with_context: bool = True

    def sources(self) -> tuple[Source, ...]:
        """One file."""
        return (self.source,)

    def problems(self, files: list[bytes], settings: Problems) -> list[Problem]:
        """All problems, in the file's order."""
        return [self._problem(json.loads(line)) for line in files[0].decode().splitlines()]

    def _problem(self, row: dict[str, Any]) -> Problem:
        prompt, reference = row["prompt"], row["groundtruth"]
        found = row.get("crossfile_context") or ""
        found = found if isinstance(found, str) else found.get("text", "")
        context = f"{found[:CONTEXT]}\n" if self.with_context and found else ""
        return Problem(
            suite=self.name,
            problem=row["metadata"]["task_id"],
            language=self.language or row["metadata"]["language"],
            prompt=context + prompt[-(PROMPT - len(context)) :],
            header=prompt,
            stop=[],
            max_new_tokens=50,
            reference=reference,
            text=prompt[-NEIGHBOURHOOD:] + reference,
        )

    def match(self, problem: Problem, answer: str) -> Match:
        """How near the answer's first statement comes to the one that was cut off."""
        reference = problem.reference or ""
        found = statement(problem, answer)
        similarity = edit_similarity(_plain(found), _plain(reference))
        return Match(_lines(found) == _lines(reference), found.strip() == reference.strip(), similarity)

    def spoiled(self, problem: Problem) -> str:
        """Another name in the first place."""
        return f"not_{problem.reference}"


def statement(problem: Problem, answer: str) -> str:
    """The first statement of an answer, as CrossCodeEval cuts it."""
    answer = answer[:LONGEST]
    if problem.language != "python":
        last = re.search(r"[;{}]", answer)
        return answer[: last.end()] if last else answer
    for end in (found.start() for found in re.finditer("\n", answer)):
        if answer[:end].strip() and _parses(problem.header + answer[:end]):
            return answer[:end].rstrip()
    return answer


def _plain(text: str) -> str:
    return re.sub(r"//.*", "", re.sub(r"#.*", "", text))


def _lines(text: str) -> list[str]:
    return [line.strip() for line in _plain(text).split("\n") if line.strip()]


def _parses(code: str) -> bool:
    return not _parser().parse(code.encode("utf-8", "replace")).root_node.has_error


@cache
def _parser() -> Any:
    from tree_sitter_language_pack import get_parser

    return get_parser("python")


def _given(path: str, where: str) -> Source:
    return Source(path, where, sha256=None)


_PUBLISHED = "github.com/amazon-science/cceval, data/crosscodeeval_data.tar.xz"

_ROWS = {
    f"crosscodeeval-{language}": (
        _given(f"crosscodeeval_data/{folder}/line_completion_rg1_bm25.jsonl", _PUBLISHED),
        language,
    )
    for language, folder in (
        ("python", "python"),
        ("java", "java"),
        ("typescript", "typescript"),
        ("c-sharp", "csharp"),
    )
} | {"crossfile": (_given("crossfile/line_completion.jsonl", "evals crossfile"), None)}

SUITES = {
    name + ("" if with_context else "-infile"): CrossFile(
        name + ("" if with_context else "-infile"), source, language, with_context
    )
    for name, (source, language) in _ROWS.items()
    for with_context in (True, False)
}
