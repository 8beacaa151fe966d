"""Suites in other languages: how programs are put together, and by which rules they pass."""

import dataclasses
import json
import warnings

import pytest

from evals import runtimes
from evals.config import Judge, Problems
from evals.extract import answer
from evals.rules import PUBLISHED, judge_one
from evals.sandbox import Sandbox
from evals.suites import LANGUAGES, SUITES
from evals.suites.multiple import PAPER
from tests.unit.evals.conftest import published
from tests.unit.evals.replays import FOLDER, cruxeval, explained, replays, wizardcoder

ADD = {
    "js": (
        "//Add two numbers x and y\nfunction add(x, y){\n",
        "const assert = require('node:assert');\n\nfunction test() {\n  assert.deepEqual(add(0, 1),1);\n"
        "  assert.deepEqual(add(7, 5),12);\n}\n\ntest();",
    ),
    "sh": (
        "#!/bin/bash\n# $1 is an integer\n# $2 is an integer\nadd() {\n",
        '}\n\ncandidate() {\n    add "$@"\n}\n\nset -e\nrun_test() {\n'
        '    [[ $(candidate "7" "5") = "12" ]]\n}\n\nrun_test',
    ),
    "cs": (
        "using System;\nusing System.Diagnostics;\nclass Problem {\n"
        "    public static long Add(long x, long y) {\n",
        "    }\n    public static void Main(string[] args) {\n    Debug.Assert(Add((7L), (5L)) == (12L));\n"
        "    }\n\n}\n",
    ),
}
"""Prompts and tests in the form of the published rows."""


def problem_of(name, form="multiple"):
    """HumanEval/53 of a language, from a row of our own."""
    prompt, test = ADD[name]
    row = {"task_id": "HumanEval_53_add", "prompt": prompt, "test": test, "stop_tokens": ["\n}"]}
    (problem,) = SUITES[f"{form}-{name}"].problems([json.dumps(row).encode()], Problems())
    return problem


@pytest.fixture(scope="module")
def box():
    with Sandbox() as opened:
        yield opened


def there(name):
    """Whether a language's tools are on this machine; says so plainly if not."""
    language = LANGUAGES[f"multiple-{name}"].language
    try:
        runtimes.toolchain(language)
    except runtimes.Missing as missing:
        warnings.warn(f"{language} was not run: {missing}", stacklevel=2)
        return False
    return True


def words(box, name, body):
    judged = judge_one(box, problem_of(name), body, Judge())
    return judged.as_published, judged.strict, judged.flagged


@pytest.mark.parametrize("name", ADD)
def test_right_answer_passes_and_a_near_miss_fails_by_both_rules(box, name):
    if there(name):
        problem = problem_of(name)
        assert words(box, name, problem.reference) == ("passed", "passed", False)
        assert words(box, name, SUITES[problem.suite].spoiled(problem)) == ("failed", "failed", False)


def test_right_javascript_that_logs_passes_by_the_strict_rule_alone(box):
    if there("js"):
        assert words(box, "js", "    console.log(x);\n    return x + y;\n}") == ("failed", "passed", True)


def test_program_that_leaves_early_passes_as_published_alone(box):
    if there("js"):
        assert words(box, "js", "    process.exit(0);\n}") == ("passed", "failed", True)
    assert words(box, "sh", "    echo 12\n}\nexit 0\n{") == ("passed", "failed", True)


def test_csharp_that_crashes_passes_as_published_alone(box):
    if there("cs"):
        assert words(box, "cs", '        throw new Exception("no");') == ("passed", "failed", True)


def test_language_without_its_tools_is_not_run(box, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    runtimes.toolchain.cache_clear()
    judged = judge_one(box, problem_of("js"), "    return x + y;\n}", Judge())
    assert (judged.as_published, judged.strict) == ("not_run", "not_run")
    assert judged.detail == "node is not installed: nodejs"
    runtimes.toolchain.cache_clear()


def test_end_mark_is_the_last_statement_of_the_test():
    suite = SUITES["multiple-cs"]
    marked = suite.marked(problem_of("cs"), "        return x + y;", "MARK")
    assert marked.endswith("Debug.Assert(Add((7L), (5L)) == (12L));\n\nMARK\n    }\n\n}\n")
    go = SUITES["multiple-go"].marked(
        dataclasses.replace(problem_of("js"), header="package a\n"), "}", "MARK"
    )
    assert go.startswith('package a\nimport "os"\n')
    assert marked.replace("\nMARK\n", "") == suite.program(problem_of("cs"), "        return x + y;")


def test_every_rule_belongs_to_a_language_that_is_known():
    known = {suite.language for suite in LANGUAGES.values()}
    assert set(PUBLISHED) <= known and {SUITES[f"multiple-{name}"].language for name in PAPER} <= set(
        runtimes.RUNTIMES
    )


def test_whole_function_is_taken_from_the_first_fenced_block():
    problem = problem_of("cs", "instruct")
    assert problem.chat and problem.prompt.endswith("long Add(long x, long y) {\n```")
    body = "public static long Add(long x, long y) {\n        return x + y;\n"
    block = f"using System;\nclass Problem {{\n    static public int Z;\n    {body}    }}\n"
    block += "    public static void Main(string[] args) { Add(1, 2); }\n}"
    found = answer(problem, f"Here it is:\n```csharp\n{block}\n```\nor\n```csharp\nno\n```", "eos")
    assert found.endswith(
        "class Problem {\npublic static long Add(long x, long y) {\n        return x + y;\n"
    )
    assert answer(problem, "no block", "eos").endswith("long Add(long x, long y) {\nno block")


def test_bodies_get_their_closing_brace_back_where_the_test_has_none():
    block = "function add(x, y){\n    return x + y;\n}\n\nconsole.log(add(1, 2));\n"
    found = answer(problem_of("js", "instruct"), f"```javascript\n{block}```", "eos")
    assert found == "//Add two numbers x and y\nfunction add(x, y){\n    return x + y;\n}\n"


@pytest.mark.reference
@pytest.mark.parametrize("name", LANGUAGES)
def test_published_rows_have_the_problems_that_were_counted(name):
    if not FOLDER.exists():
        warnings.warn("published rows absent: nothing checked", stacklevel=1)
        return
    problems = published(name)
    counts = {"cpp": 161, "java": 158, "php": 161, "ts": 159, "cs": 158, "sh": 158, "js": 161}
    assert len(problems) == counts.get(name.split("-")[1], len(problems)) >= 154
    assert sum(problem.reference is not None for problem in problems) == 2
    for problem in problems:
        marked = SUITES[name].marked(problem, "answer", "MARK")
        assert marked.count("MARK") == 1 and marked.index("MARK") > marked.index("answer")


EVERY = {"js": 5, "php": 5, "sh": 5, "cs": 20, "java": 30, "cpp": 160, "ts": 30}
"""Of how many published samples one is run again here; all of them in `make bench`."""

DIFFERENT = {
    "php": {"HumanEval_16_count_distinct_characters": "php_8_2"},
    "sh": {"HumanEval_92_any_int": "no_bc", "HumanEval_47_median": "no_bc"},
}
"""What a full run found: no other verdict of these languages differs."""


@pytest.mark.reference
@pytest.mark.parametrize("name", EVERY)
def test_published_verdicts_of_a_real_model_are_reproduced_or_explained(box, name):
    if not FOLDER.exists():
        warnings.warn("published samples absent: nothing checked", stacklevel=1)
        return
    if not there(name):
        return
    known, found = DIFFERENT.get(name, {}), {}
    for number, one in enumerate(replays(name)):
        if number % EVERY[name] == 0 or one.problem.problem in known:
            judged = judge_one(box, one.problem, one.answer, Judge())
            if judged.as_published == "not_run":
                warnings.warn(f"{name} was not run: {judged.detail}", stacklevel=1)
                return
            why = explained(one, judged)
            if why == "?":  # a machine under load may have been too slow: its second word counts
                why = explained(one, judge_one(box, one.problem, one.answer, Judge()))
            found[one.problem.problem] = why
    assert {problem: why for problem, why in found.items() if why} == known


@pytest.mark.reference
@pytest.mark.parametrize("mode", ["input", "output"])
def test_cruxevals_own_verdicts_are_reproduced(box, mode):
    if not FOLDER.exists():
        warnings.warn("published samples absent: nothing checked", stacklevel=1)
        return
    some = list(cruxeval(mode).items())[::25]
    differing = [program for program, passed in some if (box.run(program).verdict == "passed") != passed]
    assert (differing, len(some) > 50) == ([], True)


@pytest.mark.reference
def test_wizardcoder_solves_as_many_problems_as_was_published(box):
    if not FOLDER.exists():
        warnings.warn("published samples absent: nothing checked", stacklevel=1)
        return
    known = {problem.problem: problem for problem in published("humaneval", imports=False)}
    judged = [judge_one(box, known[task], text, Judge()) for task, text in wizardcoder().items()]
    passed = [[getattr(one, rule) == "passed" for one in judged] for rule in ("as_published", "strict")]
    assert [sum(column) for column in passed] == [131, 131] and len(judged) == 164
