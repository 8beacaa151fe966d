"""Every reference solution passes and every spoiled one fails; prompts are the paper's to the letter."""

import dataclasses
import gzip
import hashlib
import http.server
import json
import threading
import warnings

import pytest

import corpus
from evals import sandbox
from evals.config import Judge, Problems
from evals.extract import answer
from evals.problems import chosen, problems_of, read_problems, write_problems
from evals.rules import judge_one
from evals.sandbox import Sandbox
from evals.suites import PROGRAMS, SUITES, TEXTS, humaneval, mbpp
from tests.unit.evals.conftest import SHARED, mbpp_rows, published


@pytest.fixture(scope="module")
def box():
    with Sandbox() as opened:
        yield opened


def passed(box, problems, completion, oracle="both"):
    judged = {p.problem: judge_one(box, p, completion(p), Judge(oracle=oracle)) for p in problems}
    return [
        name for name, one in judged.items() if one.strict == one.as_published == "passed" and not one.detail
    ]


def test_all_164_references_of_humaneval_pass_in_one_process_and_apart(box):
    problems = published("humaneval")
    assert len(passed(box, problems, lambda p: p.reference)) == len(problems) == 164


def test_no_spoiled_solution_of_humaneval_passes(box):
    assert passed(box, published("humaneval"), humaneval.spoiled) == []


@pytest.mark.reference
def test_references_of_mbpp_pass_but_the_one_that_cannot(box, real_mbpp):
    if real_mbpp is None:
        warnings.warn("shared/data/eval/mbpp absent: nothing checked", stacklevel=1)
        return
    found = passed(box, real_mbpp, lambda p: p.reference, "exact")
    assert {p.problem for p in real_mbpp} - set(found) == {"MBPP/367"}  # its set-up code is not run
    some = [problem for problem in real_mbpp[::4] if problem.problem in found]
    assert len(passed(box, some, lambda p: p.reference, "split")) == len(some) == 124
    assert passed(box, real_mbpp[::5], mbpp.spoiled) == []


def gunzipped(path):
    return gzip.decompress(path.read_bytes())


@pytest.mark.reference
def test_published_verdicts_of_a_real_model_are_all_reproduced():
    folder = SHARED / "data/eval/samples-qwen2.5-coder-1.5b-base/evalplus/humaneval"
    if not folder.exists():
        warnings.warn("published samples absent: nothing checked", stacklevel=1)
        return
    theirs = json.loads(gunzipped(folder / "generated_eval_results.json.gz"))["eval"]
    samples = [json.loads(line) for line in gunzipped(folder / "generated.jsonl.gz").splitlines()]
    # EvalPlus imports nothing for a program: HumanEval/162 lacks its hashlib there.
    known = {problem.problem: problem for problem in published("humaneval", imports=False)}
    differing = []
    with Sandbox() as box:
        for sample in samples:
            judged = judge_one(box, known[sample["task_id"]], sample["completion"], Judge(seconds=3.0))
            passed = judged.as_published == "passed", judged.strict == "passed"
            if set(passed) != {theirs[sample["task_id"]][0]["base_status"] == "pass"}:
                differing.append((sample["task_id"], judged))
    assert (len(samples), differing) == (164, [])


def test_prompt_of_humaneval_is_stripped_and_its_program_is_not():
    problem = published("humaneval")[0]
    assert problem.prompt.startswith("from typing import List\n") and problem.prompt.endswith('"""')
    program = humaneval.program(problem, "    pass")
    assert program.startswith("import math\nimport re\n") and '    """\n\n    pass\n' in program
    assert program.endswith("check(has_close_elements)\n")


def test_prompt_of_mbpp_holds_three_shots_and_ends_without_newline():
    first = problems_of("mbpp", [mbpp_rows()], Problems())[0]
    assert first.problem == "MBPP/11"
    assert first.prompt.startswith(
        "You are an expert Python programmer, and here is your task: Write a function to add 2. "
        "Your code should pass these tests:\n\nassert add_2(0) == 2\n"
    )
    assert first.prompt.count("[BEGIN]\ndef add_") == 3 and "\n    return x + 4\n[DONE]\n" in first.prompt
    assert first.prompt.endswith("assert add_11(2) == 13\n[BEGIN]")


def test_instruct_prompt_of_mbpp_is_one_turn_with_three_solved_examples(box):
    first, *_ = problems = problems_of("instruct-mbpp", [mbpp_rows()], Problems())
    assert len(problems) == 500 and first.chat and first.header == ""
    assert first.prompt.startswith(
        "Please refer the given examples and generate a python function for my problem.\n"
        "Examples are listed as follows:\n- Example 1:\n>>> Problem:\nWrite a function to add 2.\n"
        ">>> Test Cases:\nassert add_2(0) == 2\n"
    )
    assert (
        ">>> Code:\n```python\ndef add_4(x):\n    return x + 4\n```\n\nHere is my problem:\n" in first.prompt
    )
    assert first.prompt.endswith("assert add_11(2) == 13")
    written = f"Of course:\n```python\n{first.reference}\n```\nThis adds."
    assert judge_one(box, first, answer(first, written, "eos"), Judge()).strict == "passed"


def test_text_to_keep_out_of_training_holds_question_solution_and_tests(problems):
    for problem in read_problems(problems):
        assert problem.reference in problem.text
        assert problem.suite == "mbpp" or problem.prompt in problem.text
        assert all(line in problem.text for line in problem.test.split("\n") if line.startswith("assert"))


def test_names_taken_from_a_program_follow_from_the_reference():
    problem = problems_of("mbpp", [mbpp_rows()], Problems())[0]
    _, test = mbpp.apart(problem, "def all(x): return True\ndef add_11(x): return 0")
    assert test.calls == ["add_11"]


def test_every_suite_offers_what_its_kind_must():
    for suite in SUITES.values():
        assert suite.sources() and callable(suite.problems) and callable(suite.spoiled)
    assert all(callable(suite.program) and callable(suite.apart) for suite in PROGRAMS.values())
    assert all(callable(suite.match) for suite in TEXTS.values())


def test_suites_are_chosen_by_name_or_pattern():
    assert chosen(("mbpp", "human*", "mbpp"))[:2] == ["mbpp", "humaneval"]
    with pytest.raises(corpus.Refusal, match="no suite is called humanevil: there are humaneval, mbpp"):
        chosen(("humanevil",))


@pytest.fixture
def publisher():
    """A web server that hands out what the test puts into ``body``, and notes what it was asked for."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.server.asked = self.path
            self.send_response(200 if self.server.body else 404)
            self.end_headers()
            self.wfile.write(self.server.body)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.body = b""
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def suites_written(tmp_path, publisher):
    mirror = f"http://127.0.0.1:{publisher.server_port}/"
    table = write_problems(tmp_path / "problems", Problems(mirror=mirror), tmp_path / "cache")
    return [shard.name for shard in table.shards()]


def test_file_is_downloaded_once_by_its_hash(tmp_path, publisher, monkeypatch):
    pinned = dataclasses.replace(mbpp.SOURCE, sha256=hashlib.sha256(mbpp_rows()).hexdigest())
    monkeypatch.setattr(mbpp, "SOURCE", pinned)
    publisher.body = gzip.compress(mbpp_rows())
    assert suites_written(tmp_path, publisher) == ["humaneval.parquet", "mbpp.parquet"]
    assert publisher.asked == "/mbpp/mbpp.jsonl"
    publisher.body = b""
    assert suites_written(tmp_path / "again", publisher) == ["humaneval.parquet"]
    assert suites_written(tmp_path, publisher) == ["humaneval.parquet", "mbpp.parquet"]


@pytest.mark.parametrize("body", [b"", b"something else", b"\x1f\x8b torn"])
def test_suite_that_cannot_be_had_is_left_out_and_said_so(tmp_path, publisher, body, caplog):
    publisher.body = body
    assert suites_written(tmp_path, publisher) == ["humaneval.parquet"]
    assert "mbpp is left out" in caplog.text and "--data DIR" in caplog.text


def test_users_file_is_used_and_what_is_not_as_published_is_said(tmp_path, caplog):
    (tmp_path / "mbpp").mkdir()
    (tmp_path / "mbpp/mbpp.jsonl.gz").write_bytes(gzip.compress(mbpp_rows()))
    table = write_problems(tmp_path / "problems", Problems(suites=("mbpp",), data=tmp_path), tmp_path)
    assert len(read_problems(table)) == 500 and "is not the file as published" in caplog.text


def test_file_that_is_no_suite_is_refused(tmp_path):
    (tmp_path / "mbpp").mkdir()
    (tmp_path / "mbpp/mbpp.jsonl").write_text("{}")
    with pytest.raises(corpus.Refusal, match=r"mbpp: what was given as mbpp/mbpp.jsonl is something else"):
        write_problems(tmp_path / "problems", Problems(data=tmp_path), tmp_path)
    with pytest.raises(corpus.Refusal, match="is not a folder"):
        write_problems(tmp_path / "problems", Problems(data=tmp_path / "y"), tmp_path)
    assert sandbox.VERDICTS[0] == "passed"
