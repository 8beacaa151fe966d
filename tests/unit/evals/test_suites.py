"""Every reference solution passes and every spoiled one fails; prompts are the paper's to the letter."""

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
from evals.judge import judge_one
from evals.problems import read_problems, write_problems
from evals.sandbox import Limits, Sandbox
from evals.suites import SUITES, humaneval, mbpp
from tests.unit.evals.conftest import SHARED, mbpp_rows


@pytest.fixture(scope="module")
def box():
    with Sandbox(Limits()) as opened:
        yield opened


def passed(box, problems, completion, oracle="both"):
    judged = {p.problem: judge_one(box, p, completion(p), Judge(oracle=oracle))[0] for p in problems}
    return [name for name, verdict in judged.items() if verdict.verdict == "passed" and not verdict.detail]


def test_all_164_references_of_humaneval_pass_in_one_process_and_apart(box):
    problems = humaneval.problems()
    assert len(passed(box, problems, lambda p: p.reference)) == len(problems) == 164


def test_no_spoiled_solution_of_humaneval_passes(box):
    assert passed(box, humaneval.problems(), humaneval.spoiled) == []


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
    published = json.loads(gunzipped(folder / "generated_eval_results.json.gz"))["eval"]
    samples = [json.loads(line) for line in gunzipped(folder / "generated.jsonl.gz").splitlines()]
    # EvalPlus imports nothing for a program: HumanEval/162 lacks its hashlib there.
    known = {problem.problem: problem for problem in humaneval.problems(imports=False)}
    differing = []
    with Sandbox(Limits(cpu_seconds=3.0)) as box:
        for sample in samples:
            verdict, _ = judge_one(box, known[sample["task_id"]], sample["completion"], Judge())
            if (verdict.verdict == "passed") != (published[sample["task_id"]][0]["base_status"] == "pass"):
                differing.append((sample["task_id"], verdict))
    assert (len(samples), differing) == (164, [])


def test_prompt_of_humaneval_is_stripped_and_its_program_is_not():
    problem = humaneval.problems()[0]
    assert problem.prompt.startswith("from typing import List\n") and problem.prompt.endswith('"""')
    program = humaneval.program(problem, "    pass")
    assert program.startswith("import math\nimport re\n") and '    """\n\n    pass\n' in program
    assert program.endswith("check(has_close_elements)\n")


def test_prompt_of_mbpp_holds_three_shots_and_ends_without_newline():
    first = mbpp.problems(mbpp_rows())[0]
    assert first.problem == "MBPP/11"
    assert first.prompt.startswith(
        "You are an expert Python programmer, and here is your task: Write a function to add 2. "
        "Your code should pass these tests:\n\nassert add_2(0) == 2\n"
    )
    assert first.prompt.count("[BEGIN]\ndef add_") == 3 and "\n    return x + 4\n[DONE]\n" in first.prompt
    assert first.prompt.endswith("assert add_11(2) == 13\n[BEGIN]")


def test_text_to_keep_out_of_training_holds_question_solution_and_tests(problems):
    for problem in read_problems(problems):
        assert problem.reference in problem.text
        assert problem.suite == "mbpp" or problem.prompt in problem.text
        assert all(line in problem.text for line in problem.test.split("\n") if line.startswith("assert"))


def test_names_taken_from_a_program_follow_from_the_reference():
    problem = mbpp.problems(mbpp_rows())[0]
    _, test = mbpp.apart(problem, "def all(x): return True\ndef add_11(x): return 0")
    assert test.calls == ["add_11"]


def test_suites_know_the_same_three_things():
    for suite in SUITES.values():
        assert callable(suite.program) and callable(suite.apart) and callable(suite.spoiled)


@pytest.fixture
def publisher():
    """A web server that hands out what the test puts into ``body``."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
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
    url = f"http://127.0.0.1:{publisher.server_port}/mbpp.jsonl"
    table = write_problems(tmp_path / "problems", Problems(mbpp_url=url), tmp_path / "cache")
    return [shard.name for shard in table.shards()]


def test_mbpp_is_downloaded_once_by_its_hash(tmp_path, publisher, monkeypatch):
    monkeypatch.setattr(mbpp, "SHA256", hashlib.sha256(mbpp_rows()).hexdigest())
    publisher.body = mbpp_rows()
    assert suites_written(tmp_path, publisher) == ["humaneval.parquet", "mbpp.parquet"]
    publisher.body = b""
    assert suites_written(tmp_path / "again", publisher) == ["humaneval.parquet"]
    assert suites_written(tmp_path, publisher) == ["humaneval.parquet", "mbpp.parquet"]


@pytest.mark.parametrize("body", [b"", b"something else"])
def test_suite_that_cannot_be_had_is_left_out_and_said_so(tmp_path, publisher, body, caplog):
    publisher.body = body
    assert suites_written(tmp_path, publisher) == ["humaneval.parquet"]
    assert "mbpp is left out" in caplog.text and "--mbpp FILE" in caplog.text


def test_file_that_is_not_mbpp_is_refused(tmp_path):
    (tmp_path / "x").write_text("{}")
    with pytest.raises(corpus.Refusal, match="is not MBPP"):
        write_problems(tmp_path / "problems", Problems(mbpp=tmp_path / "x"), tmp_path)
    with pytest.raises(corpus.Refusal, match="No such file"):
        write_problems(tmp_path / "problems", Problems(mbpp=tmp_path / "y"), tmp_path)
    assert sandbox.VERDICTS[0] == "passed"
