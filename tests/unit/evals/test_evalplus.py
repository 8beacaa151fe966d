"""HumanEval+ and MBPP+: an output agrees or does not, and expected values never meet the program."""

import gzip
import json
import warnings

import pytest

from evals.config import Judge, Problems
from evals.problems import problems_of
from evals.rules import judge_one
from evals.suites import evalplus
from evals.suites.agreement import agree, agree_by_name, compare_with_reference
from tests.unit.evals.conftest import DATA, outcome, real, right_and_wrong


def row(name, solution, inputs, task="HumanEval/0", atol=0):
    prompt = f'def {name}(x):\n    """Do it."""\n'
    return {
        "task_id": task,
        "prompt": prompt,
        "entry_point": name,
        "canonical_solution": f"    return {solution}\n",
        "base_input": inputs[:1],
        "plus_input": inputs[1:],
        "atol": atol,
    }


def problem(*given, suite="humaneval-plus", **named):
    return problems_of(suite, [json.dumps(row(*given, **named)).encode()], Problems())[0]


def test_program_must_agree_on_plus_inputs_too(box):
    asked = problem("half", "x / 2", [[2], [3], [1e300]])
    assert outcome(box, [asked], lambda _: "    return x * 0.5\n") == (["HumanEval/0"], [])
    assert outcome(box, [asked], lambda _: "    return x // 2\n") == ([], ["HumanEval/0"])


def test_reference_and_expected_values_are_not_in_the_program_s_process(box):
    asked = problem("secret", "x + 982451653", [[0]])
    hunting = (
        "    import gc\n"
        "    found = [o for o in gc.get_objects() if isinstance(o, dict) and '_reference' in o]\n"
        "    return 982451653 if found else 0\n"
    )
    assert judge_one(box, asked, hunting, Judge()).strict == "failed"
    assert "982451653" not in judge_one(box, asked, "    return 0\n", Judge()).program


def test_program_equal_to_everything_agrees_with_nothing(box):
    liar = "    return type('L', (), {'__eq__': lambda *_: True})()\n"
    assert outcome(box, [problem("one", "1", [[0]])], lambda _: liar)[0] == []


@pytest.mark.parametrize(
    ("output", "expected", "atol", "agreed"),
    [
        (1.0 + 5e-7, 1.0, 1e-6, True),
        (1.0 + 5e-6, 1.0, 1e-6, False),
        ([1.0, 2.0], [1.0, 2.0 + 1e-7], 1e-6, True),
        ((1.0, 2.0), [1.0, 2.0 + 1e-7], 1e-6, False),
        ([1.0], [1.0, 1.0], 1e-6, False),
        (1, 1.0, 0, True),
        (1, 2, 0, False),
    ],
)
def test_floats_agree_within_the_tolerance_and_by_type(output, expected, atol, agreed):
    assert agree(output, expected, atol) is agreed


def test_functions_with_a_rule_of_their_own():
    def decided(name, output, expected, *given):
        return agree_by_name(name, given, output, expected, 1e-4, mbpp=True)

    assert decided("Diff", [1, 2], [2, 1]) is True and decided("Diff", [1], [2, 1]) is False
    assert decided("check_str", True, object()) is True and decided("check_str", "x", None) is False
    assert decided("sum_div", 0, 7, 9) is True and decided("sum_div", 1, 7, 9) is None
    assert decided("digit_distance_nums", 3, 2, 1, 22) is True
    assert agree_by_name("find_zero", ([-4, 2],), 2.0, None, 1e-4, mbpp=False) is True


def test_tolerance_of_the_first_float_holds_for_later_inputs():
    def near(x):
        return [x + 1e-7, 2]

    compare_with_reference(near, lambda x: [x, 2], [[1.0]], name="f", atol=1e-6, mbpp=False)
    with pytest.raises(AssertionError, match="input 0"):
        compare_with_reference(near, lambda x: [x, 2], [[1.0]], name="f", atol=0, mbpp=False)
    first = {0: 0.5}
    compare_with_reference(
        lambda x: first.get(x) or near(x),
        lambda x: first.get(x) or [x, 2],
        [[0], [1]],
        name="f",
        atol=0,
        mbpp=False,
    )


def test_arguments_that_json_lost_are_rebuilt():
    assert evalplus._rebuilt("Mbpp/2", [[1, 2], [3]]) == [(1, 2), (3,)]
    assert evalplus._rebuilt("Mbpp/115", [[[1], []]]) == [[{1}, {}]]
    assert evalplus._rebuilt("Mbpp/252", ["1+2j"]) == [1 + 2j]
    assert evalplus._rebuilt("HumanEval/2", [[1, 2]]) == [[1, 2]]


@pytest.mark.reference
@pytest.mark.parametrize(("suite", "every"), [("humaneval-plus", 9), ("mbpp-plus", 17)])
def test_references_of_evalplus_agree_with_themselves_and_spoiled_ones_do_not(box, suite, every):
    some = real(suite)[1::every]
    assert right_and_wrong(box, some) == (len(some), len(some))


@pytest.mark.reference
def test_published_plus_verdicts_of_a_real_model_are_reproduced(box):
    folder = DATA / "samples-qwen2.5-coder-1.5b-base/evalplus/humaneval"
    if not folder.exists():
        warnings.warn("published samples absent: nothing checked", stacklevel=1)
        return
    theirs = json.loads(gzip.decompress((folder / "generated_eval_results.json.gz").read_bytes()))["eval"]
    lines = gzip.decompress((folder / "generated.jsonl.gz").read_bytes()).splitlines()
    known = {problem.problem: problem for problem in real("humaneval-plus")}
    differing = []
    for sample in map(json.loads, lines[2::8]):
        judged = judge_one(box, known[sample["task_id"]], sample["completion"], Judge(memory_mb=2048))
        ours = {judged.as_published == "passed", judged.strict == "passed"}
        if ours != {theirs[sample["task_id"]][0]["plus_status"] == "pass"}:
            differing.append((sample["task_id"], judged.detail))
    assert differing == []
