"""LeetCode contest: one object answers all asserts; the block is found as DeepSeek's script finds it."""

import json

import pytest

from evals.config import Problems
from evals.extract import answer
from evals.problems import problems_of
from tests.unit.evals.conftest import outcome, real, right_and_wrong

ROW = {
    "task_id": "weekly-contest-1-add",
    "prompt": '"""\nAdd.\n"""\nclass Solution:\n    def add(self, a: int) -> int:\n        ',
    "prompt_sft": "Add.\n```python\nclass Solution:\n    def add(self, a: int) -> int:\n        \n```",
    "test": "my_solution = Solution()\n\ntest_input = {'a': 1}\nassert my_solution.add(**test_input) == 2",
}
SOLUTION = "class Solution:\n    def add(self, a: int) -> int:\n        return a + 1"


@pytest.fixture
def asked():
    return problems_of("leetcode", [json.dumps(ROW).encode()], Problems())[0]


def test_solution_s_methods_are_called_from_outside(box, asked):
    assert outcome(box, [asked], lambda _: SOLUTION) == ([asked.problem], [])
    assert outcome(box, [asked], lambda _: SOLUTION.replace("1", "2")) == ([], [asked.problem])
    assert outcome(box, [asked], lambda _: "Solution = type('S', (), {'add': lambda s, a: A()})")[0] == []


def test_outline_is_asked_for_in_a_suite_of_its_own(asked):
    (outlined,) = problems_of("leetcode-outline", [json.dumps(ROW).encode()], Problems())
    assert asked.chat and asked.prompt == ROW["prompt_sft"]
    assert outlined.prompt.removeprefix(asked.prompt) == (
        "\nYou need first write a step-by-step outline and then write the code."
    )


@pytest.mark.parametrize(
    "completion",
    [
        f"First:\n```python\n{SOLUTION}\n```\nThen\n```python\nx\n```",
        f"[PYTHON]\n{SOLUTION}\n[/PYTHON]",
        f"{SOLUTION}\nprint(1)",
    ],
)
def test_block_is_found(asked, completion):
    assert answer(asked, completion, "eos") == SOLUTION


def test_body_without_a_head_goes_below_the_template_and_an_open_block_is_taken_whole(asked):
    body = "\n        return a + 1"
    assert answer(asked, body, "eos") == f"class Solution:\n    def add(self, a: int) -> int:\n{body}"
    assert answer(asked, "```python\nx = 1", "length") == "```python\nx = 1"


@pytest.mark.reference
def test_all_180_problems_are_read_and_our_solutions_of_three_pass(box):
    problems = real("leetcode")
    if not problems:
        return
    known = [problem for problem in problems if problem.reference]
    assert (len(problems), len(known), right_and_wrong(box, known)) == (180, 3, (3, 3))
    assert len(outcome(box, problems[::20], lambda p: "class Solution: pass")[1]) == 9
