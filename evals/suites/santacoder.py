"""Single-line infilling in Python, Java and JavaScript (SantaCoder, Allal et al. 2023, arXiv 2301.03988).

The paper's FIM table (Table 6; corrected in DeepSeek-Coder-V2, arXiv 2406.11931, Table 6) is the share of
lines given back exactly, by language.  The rows are ``bigcode/santacoder-fim-task`` (prompt, suffix,
canonical_solution, language; MIT), cut out of MultiPL-E's solutions to HumanEval.  They are published as
parquet, which could not be fetched here, so no hash of them is known: give the file.

DeepSeek published no code.  Two cuts are kept: ``as_published`` compares the first line that holds
anything, as Qwen2.5-Coder's script does; ``strict`` the whole output, as BigCode's harness does, but for
white space at its ends.  Greedy; a completion ends at the end token or after 128 tokens (SantaCoder's and
Qwen's limits lie between 50 and 128, DeepSeek's is unknown).
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from typing import Any

import polars as pl

from evals.config import Problems
from evals.data import Source
from evals.suites.likeness import Match, edit_similarity, first_line
from evals.suites.problem import Problem

SOURCE = Source(
    path="santacoder-fim/train.parquet",
    url="https://huggingface.co/datasets/bigcode/santacoder-fim-task",
    sha256=None,
)
"""Parquet, or JSON lines under the same name."""


@dataclass(frozen=True)
class SingleLine:
    """The rows of one language."""

    name: str
    language: str
    tag: str

    def sources(self) -> tuple[Source, ...]:
        """One file for all three languages."""
        return (SOURCE,)

    def problems(self, files: list[bytes], settings: Problems) -> list[Problem]:
        """The problems of this language, numbered as the rows of the file."""
        numbered = enumerate(_rows(files[0]))
        return [self._problem(number, row) for number, row in numbered if row["language"] == self.tag]

    def _problem(self, number: int, row: dict[str, Any]) -> Problem:
        return Problem(
            suite=self.name,
            problem=f"{self.tag}/{number}",
            language=self.language,
            prompt=row["prompt"],
            suffix=row["suffix"],
            stop=[],
            max_new_tokens=128,
            reference=row["canonical_solution"],
            text=f"{row['prompt']}{row['canonical_solution']}{row['suffix']}",
        )

    def match(self, problem: Problem, answer: str) -> Match:
        """Whether the first line, and whether all of the answer, is the line that was cut out."""
        reference = (problem.reference or "").strip()
        line = first_line(answer)
        return Match(line == reference, answer.strip() == reference, edit_similarity(line, reference))

    def spoiled(self, problem: Problem) -> str:
        """Another line."""
        return f"{problem.reference} is not here"


def _rows(data: bytes) -> list[dict[str, Any]]:
    if data[:4] == b"PAR1":
        return pl.read_parquet(io.BytesIO(data)).to_dicts()
    return [json.loads(line) for line in data.decode().splitlines()]


SUITES = {
    f"santacoder-{language}": SingleLine(f"santacoder-{language}", language, tag)
    for language, tag in (("python", "py"), ("java", "java"), ("javascript", "js"))
}
