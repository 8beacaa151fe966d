"""The same problems under six harnesses' rules, and why a completion passes under one and not another."""

import json
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

import corpus
from evals import judge, presets
from evals.backends import LARGEST_TEXT
from evals.config import Explain, Judge, Problems
from evals.explain import explain
from evals.extract import EXTRACT, extracted
from evals.problems import PARTS, files_of, problems_of, read_problems, write_problems
from evals.sample import COLUMNS
from evals.sanitize import sanitize


@pytest.fixture(scope="module")
def files(problems):
    """The files of both suites, MBPP's rows made up."""
    found, _ = files_of(Problems(data=folder(problems)), None)
    return found


def folder(problems):
    return Path(problems.manifest["settings"]["data"])


def asked(files, suite, preset):
    return problems_of(suite, files[suite], Problems(preset=preset))


@pytest.mark.parametrize("suite", ["humaneval", "mbpp"])
def test_deepseek_as_data_is_what_the_suites_do(files, suite):
    own = asked(files, suite, "deepseek-v1")
    protocol, parts = presets.protocol("deepseek-v1", suite), PARTS[suite](files[suite])
    assert [protocol.applied(problem, parts) for problem in own] == own


@pytest.mark.parametrize("preset", presets.names())
def test_references_pass_and_wrong_ones_fail_under_every_preset(files, preset):
    for suite in files:
        if presets.protocol(preset, suite):
            judge.self_test(asked(files, suite, preset)[:3], Judge(oracle="both"))


def test_each_preset_names_its_source_and_rules_that_there_are():
    for preset in presets.names():
        assert presets.protocol(preset, "humaneval") is not None
        for suite in ("humaneval", "mbpp"):
            protocol = presets.protocol(preset, suite)
            assert protocol is None or (protocol.source and protocol.rule and protocol.extract in EXTRACT)
    with pytest.raises(corpus.Refusal, match="no preset is called deepseek: there are deepseek-v1"):
        presets.protocol("deepseek", "humaneval")


def test_prompts_differ_as_their_authors_say(files):
    def prompt(preset, suite="humaneval"):
        return asked(files, suite, preset)[0].prompt

    whole = prompt("openai")
    assert prompt("deepseek-v1") == prompt("bigcode") == whole.strip()
    assert prompt("qwen2.5") == prompt("evalplus") == whole.strip() + "\n" and prompt("lm-eval") == whole
    assert prompt("bigcode", "mbpp") == '"""\nWrite a function to add 11.\nassert add_11(0) == 11\n"""\n'
    shots, question = prompt("lm-eval", "mbpp").rsplit("\n\nYou are", 1)
    assert question.endswith("[BEGIN]\n") and shots.count("[DONE]") == 3 and "\r\n\treturn x + 2" in shots


def test_preset_that_says_nothing_of_a_suite_leaves_it_as_it_is(files, tmp_path, caplog, problems):
    settings = Problems(preset="openai", data=folder(problems))
    table = write_problems(tmp_path / "problems", settings, None)
    assert table.manifest["presets"] == {"humaneval": "openai", "mbpp": "its own"}
    assert "preset openai says nothing of mbpp" in caplog.text
    assert read_problems(table)[-1] == asked(files, "mbpp", "deepseek-v1")[-1]


def samples(problems, dst, rows):
    with corpus.building(dst, "samples", made_by="test", settings={}, inputs=[problems]) as out:
        numbered = [(f"HumanEval/{task}", at, text) for at, (task, text) in enumerate(rows)]
        full = [("humaneval", *row, "eos", 9, None, None) for row in numbered]
        out.write("all", {"": pl.DataFrame(full, schema=COLUMNS, orient="row")}, came_in=len(full))
        return out.seal()


def test_explain_names_the_rule_that_moved_each_verdict(files, problems, tmp_path):
    body = "\n" + asked(files, "humaneval", "deepseek-v1")[0].reference
    rows = [
        (0, body),
        (0, f"{body}@nobody\ndef more(): pass"),  # bigcode cuts at the decorator
        (2, "\n    return '\x1b' and math.modf(number)[0]\n"),  # only DeepSeek's imports know math
        (0, f"{body}\nThis is the solution."),  # only a clean-up takes prose out
        (0, "\n    return 'wrong'\n"),
    ]
    table = samples(problems, tmp_path / "samples", rows)

    def told(a, b):
        return "\n".join(explain(a, b, table.path, Explain(), None))

    found = told("deepseek-v1", "bigcode")
    assert "5 samples, deepseek-v1 passes 2, bigcode 2; 2 verdicts moved" in found
    assert "moved by stop: 1 (1 failed -> passed)\n    HumanEval/0 #1" in found
    assert "return '\\x1b'" in found and "\x1b" not in found  # a terminal obeys nothing of it
    assert (
        "moved by program: 1 (1 passed -> failed)\n    HumanEval/2 #2" in found
        and "limit: 10 s | 3 s" in found
    )
    found = told("lm-eval", "evalplus")
    assert "moved by extract" in found and "HumanEval/0 #3" in found
    assert "0 verdicts moved" in told("openai", "lm-eval")
    with pytest.raises(corpus.Refusal, match="no preset is called x"):
        told("openai", "x")
    table = samples(problems, tmp_path / "others", [(999, body)])
    with pytest.raises(corpus.Refusal, match=r"HumanEval/999 of .* is not in the files of humaneval"):
        told("openai", "lm-eval")


def test_explain_counts_nothing_where_the_solutions_fail(files, problems, tmp_path):
    rows = [
        json.loads(line) | {"canonical_solution": "    return\n"}
        for line in files["humaneval"][0].splitlines()
    ]
    (tmp_path / "data/humaneval").mkdir(parents=True)
    (tmp_path / "data/humaneval/HumanEval.jsonl").write_text("\n".join(map(json.dumps, rows)))
    table = samples(problems, tmp_path / "samples", [(0, "    pass\n")])
    with pytest.raises(corpus.Refusal, match="self-test: a reference solution of HumanEval/0 got failed"):
        explain("openai", "lm-eval", table.path, Explain(data=tmp_path / "data"), None)


@pytest.mark.parametrize("name", EXTRACT)
def test_no_completion_takes_an_extraction_more_than_its_length(files, name):
    code = "```python\ndef f(n):\n```"
    problem = replace(asked(files, "mbpp", "deepseek-v1")[0], extract=name, prompt=code, stop=[])
    opened, defined = "```python\nx" * (LARGEST_TEXT // 22), "def solution():\n" * (LARGEST_TEXT // 32)
    for hostile in ("a" * LARGEST_TEXT, opened + defined, "```" + defined, f"```python\n{defined}"):
        assert len(extracted(problem, hostile)) <= len(hostile) + len(code)


def test_clean_up_keeps_what_the_entry_point_needs(files):
    helper = "def helper(n):\n    return n * X\n"
    silent = "def silent(n):\n    print(n)\n"  # without return: EvalPlus drops it
    asked_for = "def f(n):\n    silent(n)\n    return helper(n)\n"
    code = f"Here it is:\nimport math\nX = 2\nY = 3\n{helper}{silent}{asked_for}def f(n):\n    return 0\nf("
    kept = f"import math\nX = 2\n{helper}{asked_for}".rstrip()
    assert sanitize(code, "f") == kept
    assert sanitize("x = (", "f") == "x = (" and len(sanitize("(" * 40_000, "f")) == 40_000
    problem = asked(files, "mbpp", "lm-eval")[0]
    assert (
        extracted(problem, "python\nx = 1\n```\n[DONE]") == "x = 1"
        and extracted(problem, "x = 1[DONE]") == ""
    )
