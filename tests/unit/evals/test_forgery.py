"""Programs that are wrong and try to be judged right: none passes once its test runs apart from it."""

import os

import pytest

from evals.config import Judge
from evals.rules import judge_one
from evals.sandbox import Limits, Sandbox, Test
from tests.unit.evals.conftest import published
from tests.unit.evals.run_as import EVERYWHERE, TIERS, programs, tried

TEST = Test(
    """
import math
import unittest


class Check(unittest.TestCase):
    def check(self):
        self.assertEqual(f(4), 16180339)


assert f(2) == 27182818
assert all(x == f(x) for x in (31415926,))
assert math.isclose(f(3.0), 14142135.5)
Check("check").check()
""",
    ["f"],
)

FORGERIES = programs("forgeries.txt")
GVISOR = [(os.getuid(), "gvisor")] if "gvisor" in TIERS else []


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox(Limits(cpu_seconds=1.0, memory_bytes=256 << 20)) as box:
        yield box


@pytest.fixture(scope="module", params=[*EVERYWHERE, *GVISOR], ids=str)
def forged(request):
    """What became of every forgery in a tier."""
    uid, tier = request.param
    test = [TEST.text, *TEST.calls]
    return tried(uid, tier, {name: forgery.text for name, forgery in FORGERIES.items()}, test=test)


@pytest.mark.parametrize("forgery", FORGERIES)
def test_forgery_does_not_pass_apart_from_its_test(forged, forgery):
    assert forged[forgery]["verdict"] not in ("passed", "error")


def test_right_program_passes_the_same_test(sandbox):
    right = "def f(x): return {2: 27182818, 3.0: 14142135.5, 4: 16180339}.get(x, x)"
    assert sandbox.run(right, test=TEST).verdict == "passed"


def test_pass_needs_both_ways_and_the_difference_is_told(sandbox):
    problem = published("humaneval")[0]
    forged = "    class Any:\n        __eq__ = lambda self, other: True\n    return Any()\n"
    assert judge_one(sandbox, problem, forged, Judge(oracle="exact")).strict == "passed"
    judged = judge_one(sandbox, problem, forged, Judge())
    assert (judged.as_published, judged.strict, judged.flagged) == ("passed", "failed", True)
    assert judged.detail.startswith("passed with its test beside it, but apart from it: AssertionError")


def test_helpers_of_a_prompt_cannot_be_redefined_for_the_test(sandbox):
    problem = published("humaneval")[32]  # its test calls poly, which its prompt defines
    forged = "    return 0\n\n\ndef poly(xs, x):\n    return 0\n"
    assert judge_one(sandbox, problem, forged, Judge(oracle="exact")).strict == "passed"
    assert judge_one(sandbox, problem, forged, Judge()).strict == "failed"


def test_test_that_hands_over_objects_is_unfit_for_running_apart(sandbox):
    verdict = sandbox.run("def f(x): return x", test=Test("assert f(object())", ["f"]))
    assert (verdict.verdict, verdict.detail) == ("unfit", "an argument of f is not plain data")
