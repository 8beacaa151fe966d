"""PAL maths: the right answer in any of its forms passes, and a hostile one is never evaluated."""

import json

import pytest

from evals.config import Problems
from evals.extract import answer
from evals.problems import problems_of
from evals.suites import SUITES, pal
from evals.suites.mathequal import agree, expression, normal
from tests.unit.evals.conftest import DATA, outcome, right_and_wrong

EXAMPLES = b"Let's use python.\n\nQuestion: 1?\n\n```python\ndef solution():\n    return 1\n```"


@pytest.mark.parametrize(
    ("expected", "given", "same"),
    [
        ("18", "18.0", True),
        ("18", "18.001", True),
        ("18", "18.01", False),
        ("0.5", "50", True),  # a percentage, either way round
        ("50", "0.5", True),
        ("1,234", "1234", True),
        ("\\frac{1}{2}", "1/2", True),
        ("\\frac{1}{2}", "\\dfrac12", True),
        ("3\\sqrt{2}", "3*sqrt(2)", False),  # as published: letters of LaTeX
        ("\\frac{x}{7}+\\frac{2}{7}", "\\frac{x+2}{7}", True),
        ("x^2+2x", "x^2+3x", False),
        ("(1,\\frac{9}{2})", "(1,4.5)", True),
        ("(1,2)", "(2,1)", False),
        ("\\text{Monday}", "Monday", True),
        ("5\\text{ cm}", "5", True),
        ("18", "", False),
        ("18", "1" * 2000, False),
        ("18", "__import__('os').write(1,b'x')*0+18", False),  # never evaluated, not even by sympy
    ],
)
def test_answers_agree_as_numbers_texts_parts_and_formulas(expected, given, same):
    assert agree(normal(expected), given) is same


@pytest.mark.parametrize(
    "hostile",
    ["__import__('os').getcwd()", "().__class__", "[x for x in (1,)]", "lambda: 1", "'a'*9", "f(1)", "x.y"],
)
def test_expression_takes_nothing_but_formulas(hostile):
    with pytest.raises((ValueError, SyntaxError)):
        expression(hostile)


def test_expression_is_read_as_python_writes_it():
    assert str(expression("-x**2 + 3*sqrt(8)/2")) == "-x**2 + 3*sqrt(2)"


def test_answer_of_a_program_is_told_as_text_and_bounded(box):
    row = {"question": "How many?", "answer": "So.\n#### 1,234", "idx": 0}
    (asked,) = problems_of("pal-gsm8k", [EXAMPLES, json.dumps(row).encode()], Problems())
    assert asked.prompt == f"{EXAMPLES.decode()}\n\nQuestion: How many?\n"
    assert (asked.stop, asked.max_new_tokens, asked.seconds) == (["Question", "----------------"], 512, 5.0)
    assert right_and_wrong(box, [asked]) == (1, 1)
    for program, passes in (
        ("import numpy as np\ndef solution():\n    return np.float64(1234)", True),
        ("def solution():\n    return type('S', (), {'__str__': lambda s: '1234'})()", True),
        ("def solution():\n    return type('S', (), {'__eq__': lambda *a: True})()", False),
        ("def solution():\n    return '(' * 900", False),
        ("def solution():\n    return 10 ** 1_000_000", False),
    ):
        assert (len(outcome(box, [asked], lambda _, program=program: program)[0]) == 1) is passes


def test_first_block_that_defines_the_solution_counts():
    row = {"question": "How many?", "answer": "#### 1", "idx": 0}
    (asked,) = problems_of("pal-gsm8k", [EXAMPLES, json.dumps(row).encode()], Problems())
    block = "import math\ndef solution():\n    return 1\n"
    assert answer(asked, f"Thus\n```python\n{block}```\n```python\nx\n```", "eos") == block
    assert answer(asked, "def solution(): return 1", "eos") == ""


def test_last_box_of_a_solution_is_the_answer():
    assert pal.boxed("so \\boxed{1} or $\\boxed{\\frac{1}{2}}$.") == "\\frac{1}{2}"
    assert pal.boxed("it is $\\boxed 3$.") == "3"


@pytest.mark.reference
def test_every_set_is_read_whole_and_its_answers_agree_with_themselves(box):
    rows = {"gsm8k": 1319, "math": 5000, "gsm-hard": 1319, "svamp": 1000, "asdiv": 2215, "mawps": 2065}
    for name, count in rows.items():
        sources = SUITES[f"pal-{name}"].sources()[1:]
        files = [DATA / f"{source.path}.gz" for source in sources]
        if not all(file.exists() for file in files):
            pytest.skip("shared/data/eval/pal-math absent: nothing checked")
        problems = problems_of(f"pal-{name}", [EXAMPLES, *map(unpacked, files)], Problems())
        some = problems[:: count // 3]
        assert (len(problems), right_and_wrong(box, some)) == (count, (len(some), len(some)))


def unpacked(path):
    import gzip

    return gzip.decompress(path.read_bytes())
