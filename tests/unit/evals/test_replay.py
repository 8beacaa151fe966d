"""Every peer's samples file is read; what cannot be used is counted, never lost."""

import gzip
import json
import warnings
import zipfile

import pytest

import corpus
from evals.backends import LARGEST_TEXT
from evals.config import Sample
from evals.problems import read_problems
from evals.replay import read
from evals.sample import write_samples
from tests.unit.evals.conftest import DATA


@pytest.fixture(scope="module")
def some(problems):
    """Four problems of HumanEval and three of MBPP."""
    asked = read_problems(problems)
    return asked[:4] + [problem for problem in asked if problem.suite == "mbpp"][:3]


def texts(found):
    return {problem: [one.text for one in some] for (_, problem), some in found.items()}


def written(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    data = json.dumps(value).encode()
    path.write_bytes(gzip.compress(data) if path.name.endswith("gz") else data)
    return path


def test_lines_that_can_be_judged_are_taken_and_the_rest_is_rejected_by_reason(problems, tmp_path):
    lines = [
        json.dumps({"task_id": "HumanEval/0", "completion": "    return 1\ndef g(): pass"}),
        json.dumps({"task_id": "humaneval/1", "solution": "def f(): pass"}),
        json.dumps({"task_id": "HumanEval/999\ud800", "completion": ""}),
        '{"task_id": "HumanEval/2", "comple',
        json.dumps(["HumanEval/3"]),
        json.dumps({"completion": "x"}),
        json.dumps({"task_id": "HumanEval/4"}),
        json.dumps({"task_id": "HumanEval/5", "completion": "\ud800"}),
        json.dumps({"task_id": "HumanEval/6", "completion": "x" * (LARGEST_TEXT + 1)}),
        json.dumps({"task_id": "HumanEval/0", "completion": "    return 1\ndef g(): pass"}),
        "",
    ]
    file = tmp_path / "samples.jsonl.gz"
    file.write_bytes(gzip.compress("\n".join(lines).encode() + b"\n\xff\xfe\n" + b"[" * 100_000))
    table = write_samples(problems.path, str(file), tmp_path / "samples", Sample())
    rows = table.scan().collect()
    given = rows.filter(rows["finish"] == "given").select("problem", "completion").rows()
    assert given == [("HumanEval/0", "    return 1\ndef g(): pass"), ("HumanEval/1", "def f(): pass")]
    assert table.counts["rejected"] == {
        "duplicate_sample": 1,
        "no_completion": 1,
        "no_task_id": 1,
        "not_unicode": 2,
        "torn_line": 3,
        "unknown_problem": 1,
    }
    assert table.manifest["marked"] == {"missing": 161, "too_large": 1}
    assert set(rows["suite"]) == {"humaneval"}


def test_repeats_go_only_where_a_problem_has_more_samples_than_the_others(some, tmp_path):
    lines = [("HumanEval/0", "a"), ("HumanEval/1", "b"), ("HumanEval/1", "b"), ("HumanEval/2", "c")]
    lines += [("HumanEval/3", "d"), ("Mbpp/11", "x"), ("Mbpp/11", "y"), ("Mbpp/12", "z"), ("Mbpp/13", "z")]
    file = tmp_path / "samples.jsonl"
    file.write_text("".join(json.dumps({"task_id": task, "completion": text}) + "\n" for task, text in lines))
    found, rejected = read(file, some)
    assert texts(found)["HumanEval/1"] == ["b"] and texts(found)["MBPP/11"] == ["x", "y"]
    assert [reason for _, reason, *_ in rejected] == ["duplicate_sample"]
    file.write_text(
        "".join(json.dumps({"task_id": task, "completion": "a"}) + "\n" for task, _ in lines[1:3])
    )
    assert texts(read(file, some)[0])["HumanEval/1"] == ["a", "a"]  # two equal draws, as far as one can know


def test_evalplus_folder_holds_programs_by_number(some, tmp_path):
    for number in (0, 2, 10):
        (tmp_path / "HumanEval_0").mkdir(exist_ok=True)
        (tmp_path / "HumanEval_0" / f"{number}.py").write_text(f"# {number}")
    (tmp_path / "Mbpp_11").mkdir()
    (tmp_path / "Mbpp_11" / "0.py").write_bytes(b"\xff")
    found, rejected = read(tmp_path, some)
    assert texts(found)["HumanEval/0"] == ["# 0", "# 2", "# 10"]
    assert [(where, why) for where, why, *_ in rejected] == [("Mbpp_11/0.py", "not_unicode")]


def test_bigcode_lists_go_to_the_suite_of_their_length(some, tmp_path):
    file = written(tmp_path / "generations.json", [["p0", "q0"], ["p1"], ["p2"]])
    found, _ = read(file, some)
    assert texts(found) == {"MBPP/11": ["p0", "q0"], "MBPP/12": ["p1"], "MBPP/13": ["p2"]}
    with pytest.raises(corpus.Refusal, match=r"a list of 2 problems.* fits 0 of the suites"):
        read(written(tmp_path / "generations.json", [["p0"], ["p1"]]), some)


def test_multipl_e_files_give_completions_or_what_was_between_prompt_and_test(some, tmp_path):
    problem = some[0]
    row = {"name": "HumanEval_0", "language": "py", "completions": ["    return 1", "    return 2"]}
    written(tmp_path / "a/HumanEval_0.json.gz", row)
    assert texts(read(tmp_path / "a", some)[0])["HumanEval/0"] == row["completions"]
    program = f"{problem.prompt}\n    return 3\n{problem.test}"
    results = [{"program": program, "status": "OK"}, {"program": "else", "status": "Exception"}]
    written(tmp_path / "b/HumanEval_0.results.json", {"name": "HumanEval_0", "results": results})
    found, rejected = read(tmp_path / "b", some)
    (one,) = found["humaneval", "HumanEval/0"]
    assert one.text.rstrip() == "    return 3" and one.detail == "published: passed"
    assert [why for _, why, *_ in rejected] == ["other_program"]


def test_what_is_no_samples_file_is_refused_in_one_line(some, tmp_path):
    (tmp_path / "torn.gz").write_bytes(gzip.compress(b"{}" * 1000)[:-9])
    (tmp_path / "torn.json").write_text('{"a": [')
    (tmp_path / "empty").mkdir()
    written(tmp_path / "other.json", {"a": 1})
    cases = {
        "torn.gz": "damaged",
        "torn.json": "not whole",
        "empty": "holds no samples",
        "other.json": "none of",
    }
    assert read(written(tmp_path / "odd.json", {"eval": {"HumanEval/0": 3}}), some) == ({}, [])
    assert read(written(tmp_path / "odd.json", {"name": "x", "results": 3}), some) == ({}, [])
    for name, line in cases.items():
        with pytest.raises(corpus.Refusal, match=line):
            read(tmp_path / name, some)


@pytest.mark.reference
def test_published_files_of_qwen_and_wizardcoder_are_read_whole(problems, tmp_path):
    qwen = DATA / "samples-qwen2.5-coder-1.5b-base/evalplus/humaneval"
    if not qwen.exists():
        warnings.warn(f"{qwen} absent: nothing checked", stacklevel=1)
        return
    asked = read_problems(problems)
    lines, rejected = read(qwen / "generated.jsonl.gz", asked)
    results, rejected_too = read(qwen / "generated_eval_results.json.gz", asked)
    assert len(lines) == len(results) == 164 and not rejected + rejected_too
    assert sum(some[0].detail == "published: passed" for some in results.values()) == 72
    with zipfile.ZipFile(next((DATA / "samples-wizardcoder-33b").glob("*.zip"))) as packed:
        packed.extract("T0.0_N1_humaneval_wizardcoder33b_v1.1_vllm.jsonl", tmp_path)
    found, rejected = read(tmp_path / "T0.0_N1_humaneval_wizardcoder33b_v1.1_vllm.jsonl", asked)
    assert len(found) == 164 and not rejected
