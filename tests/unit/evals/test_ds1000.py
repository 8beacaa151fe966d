"""DS-1000: cases run in turn, results meet answers, and a missing library is no score of 0."""

import dataclasses
import gzip
import io
import json
import pickle
import tarfile
import warnings

import numpy as np
import pytest

from corpus import Refusal
from evals.config import Judge, Problems
from evals.problems import problems_of
from evals.rules import judge_one
from evals.suites import ds1000
from evals.suites.ds1000 import _beside
from evals.view import packages
from tests.unit.evals.conftest import DATA

ROW = {
    "task_id": "ds1000_completion_Numpy/7",
    "prompt": "Double a.\nBEGIN SOLUTION\n<code>",
    "code_context": (
        "import argparse, pickle\nparser = argparse.ArgumentParser()\n"
        "parser.add_argument('--test_case', type=int)\nargs = parser.parse_args()\n"
        "a = pickle.load(open(f'input/input{args.test_case}.pkl', 'rb'))\n[insert]\n"
        "with open(f'result/result_{args.test_case}.pkl', 'wb') as f:\n    pickle.dump(result, f)\n"
    ),
    "canonical_solution": "result = a * 2\n",
    "test": (
        "import numpy as np\nimport parser\n\ndef stringTest(code):\n"
        "    return 'for' not in parser.st2list(parser.suite(code))\n\n"
        "def test(result, ans):\n    np.testing.assert_array_equal(result, ans)\n    return 1\n"
    ),
    "test_type": "3",
}


def archive():
    """Two cases of problem 7, and a link, as a tar of the folder."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w:xz") as tar:
        for case in (1, 2):
            for kind, value in (("input", np.arange(case)), ("ans", 2 * np.arange(case))):
                data = pickle.dumps(value)
                member = tarfile.TarInfo(f"CodeCompletion/Numpy/{kind}_7/{kind}{case}.pkl")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
        link = tarfile.TarInfo("CodeCompletion/Numpy/ans_7/ans3.pkl")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    return written.getvalue()


@pytest.fixture
def asked():
    (problem,) = problems_of("ds1000-numpy", [json.dumps(ROW).encode(), archive()], Problems())
    # pandas is no part of this row
    return problem


def exact(box, problem, answer):
    return box.run(ds1000.SUITES["ds1000-numpy"].program(problem, answer)).verdict


def test_every_case_and_the_words_must_be_right(box, asked):
    assert exact(box, asked, asked.reference) == "passed"
    assert exact(box, asked, "result = a * 2 if len(a) < 2 else a") == "failed"
    assert exact(box, asked, "for x in a: pass\nresult = a * 2") == "failed"
    assert exact(box, asked, ds1000.SUITES["ds1000-numpy"].spoiled(asked)) == "failed"


@pytest.mark.parametrize("given", [b"x", archive()[:100], {"task_id": "ds1000_completion_Numpy/8"}])
def test_problem_whose_answers_are_not_there_is_refused_as_every_answer_would_pass(given):
    files = given if isinstance(given, bytes) else archive()
    row = ROW if isinstance(given, bytes) else ROW | given
    with pytest.raises(Refusal, match="something else"):
        problems_of("ds1000-numpy", [json.dumps(row).encode(), files], Problems())


def test_library_that_is_not_there_is_not_run(box, asked, tmp_path):
    elsewhere = dataclasses.replace(asked, suite="ds1000-tensorflow")
    judged = judge_one(box, elsewhere, "result = 1", Judge())
    assert (judged.strict, judged.detail) == ("not_run", "not installed: tensorflow")
    judged = judge_one(box, asked, "result = 1", Judge(packages=tmp_path))
    assert (judged.as_published, judged.detail) == (
        "not_run",
        "not installed: numpy, pandas, scipy, matplotlib",
    )


def test_insertion_is_split_at_its_mark():
    row = ROW | {"task_id": "ds1000_insertion_Numpy/7", "prompt": "a = 1\n[insert]\nprint(a)\n"}
    suite = ds1000.SUITES["ds1000-insertion-numpy"]
    (problem,) = suite.problems([json.dumps(row).encode(), archive()], Problems())
    assert (problem.prompt, problem.suffix) == ("a = 1\n", "\nprint(a)\n")


def test_only_pickles_of_the_library_are_taken_from_the_tar():
    assert sorted(_beside(archive(), "Numpy")["7"]) == [
        "ans/ans1.pkl",
        "ans/ans2.pkl",
        "input/input1.pkl",
        "input/input2.pkl",
    ]


@pytest.mark.reference
def test_references_of_numpy_s_problems_pass(box):
    suite = ds1000.SUITES["ds1000-numpy"]
    rows, files = (DATA / f"{suite.sources()[0].path}.gz", DATA / suite.sources()[1].path)
    if not files.exists() or "pandas" not in packages():
        warnings.warn("shared/data/eval/ds1000 or pandas absent: nothing checked", stacklevel=1)
        return
    problems = problems_of(
        "ds1000-numpy", [gzip.decompress(rows.read_bytes()), files.read_bytes()], Problems()
    )
    assert len(problems) == 220
    for problem in problems[::55]:
        assert exact(box, problem, problem.reference) == "passed"
        assert exact(box, problem, suite.spoiled(problem)) == "failed"
