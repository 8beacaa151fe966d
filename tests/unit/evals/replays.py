"""Verdicts that others published, and why a run of the same programs here may differ.

The Qwen2.5-Coder repository holds the completions of its 1.5B base model on DeepSeek's files with a verdict
for each, made by a fork of DeepSeek's harness: an oracle that we did not write.
"""

import gzip
import json
import zipfile
from typing import NamedTuple

from evals.suites import SUITES
from tests.unit.evals.conftest import SHARED, published

FOLDER = SHARED / "data/eval/samples-qwen2.5-coder-1.5b-base/multipl-e"


class Replay(NamedTuple):
    """One published sample of a problem."""

    problem: object
    answer: str
    passed: bool
    said: str
    """What their harness said of it."""


def replays(name):
    """The published samples of one language, in the order of the problems.

    The program that was run is published too: ours must be the same to the byte.
    """
    details = json.loads(gzip.decompress((FOLDER / f"humaneval-{name}-details.json.gz").read_bytes()))
    found = []
    for problem in published(f"multiple-{name}"):
        [[_, told]] = details[problem.problem]
        answer = told["code"].removeprefix(problem.header).removesuffix(problem.test)
        assert SUITES[problem.suite].program(problem, answer) == told["code"]
        found.append(Replay(problem, answer, told["passed"], told["result"]))
    assert len(found) == len(details)
    return found


EXPLANATIONS = {
    "no_bc": lambda replay: "bc: command not found" in replay.said,
    "php_8_2": lambda replay: "str_split(" in replay.answer and 'candidate("")' in replay.problem.test,
}
"""Why a program that failed there may pass here, by rule id: their machine had no bc; ``str_split("")`` is
an empty array from PHP 8.2 on."""


def explained(replay, ours):
    """The rule id that explains a difference; None if there is no difference; "?" if nothing does."""
    passed = ours.as_published == "passed"
    if passed == replay.passed:
        return None
    return next((name for name, why in EXPLANATIONS.items() if passed and why(replay)), "?")


PLUS = {"humaneval-plus": "humaneval", "mbpp-plus-v0.1.0": "mbpp"}
"""Suites of EvalPlus, and the folder of Qwen2.5-Coder-1.5B's completions of them."""

PLUS_EXPLANATIONS = {
    "sets": ("Mbpp/2", "Mbpp/232", "Mbpp/249", "Mbpp/579"),
    "large_output": ("Mbpp/255",),
}
"""Tasks whose verdicts may differ, by rule id: a later EvalPlus compares these outputs as sets; one result is
larger than what crosses the border between program and test."""


def plus(suite):
    """Each problem of a suite of EvalPlus with its one completion, and whether EvalPlus 0.3 let it pass."""
    folder = SHARED / "data/eval/samples-qwen2.5-coder-1.5b-base/evalplus" / PLUS[suite]
    theirs = json.loads(gzip.decompress((folder / "generated_eval_results.json.gz").read_bytes()))["eval"]
    known = {problem.problem: problem for problem in published(suite)}
    for line in gzip.decompress((folder / "generated.jsonl.gz").read_bytes()).splitlines():
        row = json.loads(line)
        task = row["task_id"]
        yield known[task], row["completion"], theirs[task][0]["plus_status"] == "pass"


def wizardcoder():
    """WizardCoder-33B's 164 published completions of HumanEval by task: 131 pass, as published (79.9 %)."""
    folder = zipfile.ZipFile(SHARED / "data/eval/samples-wizardcoder-33b" / WIZARD)
    lines = folder.read("T0.0_N1_humaneval_wizardcoder33b_v1.1_vllm.jsonl").splitlines()
    return {row["task_id"]: row["completion"] for row in map(json.loads, lines)}


WIZARD = "humaneval_mbpp_wizardcoder33b_v1.1_results.zip"


def cruxeval(mode):
    """Programs of CRUXEval's published samples (CodeLlama 7B), each once, with its authors' verdict.

    As in their evaluation/utils_general.py; what they decide without running anything is left out.
    """
    folder = SHARED / "data/eval/cruxeval"
    told = json.loads(gzip.decompress((folder / f"codellama-7b_temp0.2_{mode}.scored.json.gz").read_bytes()))
    rows = map(json.loads, gzip.decompress((folder / "cruxeval.jsonl.gz").read_bytes()).splitlines())
    found = {}
    for row in rows:
        made, scored = (told[name][row["id"]] for name in ("raw_generations", "raw_scored_generations"))
        for written, passed in zip(made, scored, strict=True):
            decided = "f(" not in written if mode == "input" else f"f({row['input']})" in written
            if not decided:
                found[f"{row['code']}\nassert {row['output']} == {written}"] = passed
    return found
