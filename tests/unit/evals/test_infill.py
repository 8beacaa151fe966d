"""Infilling: a middle that is put back passes, another does not, by execution or letter by letter."""

import io
import json

import polars as pl
import pytest

import corpus
from evals import data
from evals.config import Problems, Sample
from evals.problems import problems_of, write_problems
from evals.sample import write_samples
from evals.suites import SUITES, infilling, santacoder
from evals.suites.likeness import edit_similarity, first_line
from tests.unit.evals.conftest import outcome, real, right_and_wrong

ROW = {
    "task_id": "SingleLineInfilling/HumanEval/0/L0",
    "entry_point": "double",
    "prompt": "def half(x):\n    return x / 2\n\ndef double(x):\n",
    "suffix": "    return y\n",
    "canonical_solution": "    y = x * 2\n",
    "test": "def check(candidate):\n    assert half(candidate(3)) == 3\n",
}


def test_program_is_prefix_answer_suffix_and_the_test_may_use_the_prefix(box):
    (asked,) = problems_of("infilling-single-line", [json.dumps(ROW).encode()], Problems())
    assert (asked.prompt, asked.suffix, asked.reference) == (
        ROW["prompt"],
        ROW["suffix"],
        "    y = x * 2\n",
    )
    assert right_and_wrong(box, [asked]) == (1, 1)
    assert outcome(box, [asked], lambda _: "    y = x + x\n")[0] == [asked.problem]
    assert outcome(box, [asked], lambda _: "    y = x + 2\n")[1] == [asked.problem]


def test_model_without_tokens_for_a_gap_is_refused_in_one_line(model, tmp_path):
    (tmp_path / "humaneval-infilling").mkdir()
    (tmp_path / "humaneval-infilling/HumanEval-SingleLineInfilling.jsonl").write_text(json.dumps(ROW))
    settings = Problems(suites=("infilling-single-line",), data=tmp_path)
    asked = write_problems(tmp_path / "problems", settings, None)
    with pytest.raises(corpus.Refusal, match=r"^the tokenizer has no fill-in-the-middle tokens[^\n]*$"):
        write_samples(asked.path, str(model), tmp_path / "samples", Sample())


@pytest.mark.reference
@pytest.mark.parametrize(
    ("name", "rows"),
    [("single-line", 1033), ("multi-line", 5815), ("random-span", 1640), ("random-span-light", 164)],
)
def test_spans_that_were_cut_out_pass_and_no_python_fails(box, name, rows):
    problems = real(f"infilling-{name}")
    if not problems:
        return
    some = problems[:: rows // 25]
    assert (len(problems), right_and_wrong(box, some)) == (rows, (len(some), len(some)))


def santacoder_rows():
    rows = [
        {"prompt": "def f(x):\n", "suffix": "\n", "canonical_solution": "    return x", "language": "py"},
        {"prompt": "int f() {\n", "suffix": "\n}", "canonical_solution": "return 1;", "language": "java"},
        {"prompt": "f = () => {\n", "suffix": "\n}", "canonical_solution": "return 1", "language": "js"},
    ]
    return rows, "\n".join(map(json.dumps, rows)).encode()


def test_lines_are_compared_by_language_from_json_or_parquet():
    rows, lines = santacoder_rows()
    parquet = io.BytesIO()
    pl.DataFrame(rows).write_parquet(parquet)
    for name, suite in santacoder.SUITES.items():
        (asked,) = problems_of(name, [lines], Problems())
        assert [asked] == problems_of(name, [parquet.getvalue()], Problems())
        assert suite.match(asked, asked.reference) == (True, True, 1.0)
        assert suite.match(asked, suite.spoiled(asked))[:2] == (False, False)


def test_first_line_is_as_published_and_all_of_it_is_strict():
    (asked,) = problems_of("santacoder-python", [santacoder_rows()[1]], Problems())
    match = SUITES["santacoder-python"].match(asked, "\n  return x\n    # and so on")
    assert (match.as_published, match.strict) == (True, False)


def test_similarity_is_fuzzywuzzy_s_ratio():
    assert edit_similarity("abcd", "bcde") == 0.75 and edit_similarity("", "") == 1.0
    assert edit_similarity(" x ", "x") == 1.0 and 0 <= edit_similarity("x" * 10**6, "y") <= 0.01
    assert first_line(" \n\n  a b \nc") == "a b" and first_line("\n \n") == ""


def test_file_without_a_known_hash_is_the_user_s_to_give(tmp_path, caplog):
    (tmp_path / "santacoder-fim").mkdir()
    (tmp_path / "santacoder-fim/train.parquet").write_bytes(santacoder_rows()[1])
    asked = Problems(suites=("santacoder-*",), data=tmp_path)
    assert len(write_problems(tmp_path / "given", asked, tmp_path).shards()) == 3
    assert "as published" not in caplog.text
    with pytest.raises(data.Absent, match="no hash of it is known"):
        data.read(santacoder.SOURCE, None, "", tmp_path)


def test_suites_of_infilling_have_names_of_their_own():
    assert all(SUITES[name].name == name for name in (*infilling.SUITES, *santacoder.SUITES))
