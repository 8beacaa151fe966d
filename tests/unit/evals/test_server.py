"""A server's good answers are the model's own; its bad ones are tried again, marked, or end the run kept."""

import json
from dataclasses import replace

import pytest

import corpus
from evals.backends import server as module
from evals.backends.server import Server
from evals.config import Sample
from evals.sample import write_samples
from tests.unit.evals.serving import GARBAGE, serving

BRIEF = Sample(max_new_tokens=12, limit=3, batch=1, timeout=60, retries=2, name="tiny")


@pytest.fixture(scope="module")
def served(model):
    with serving(model) as server:
        yield server


@pytest.fixture(autouse=True)
def quick(served, monkeypatch):
    served.asked.clear()
    served.faults.clear()
    served.names = ["tiny"]
    monkeypatch.setattr(module, "PAUSES", (0.01, 0.02))


def texts(table):
    return table.scan().collect().select("problem", "sample", "completion", "finish").rows()


def draw(problems, url, dst, settings=BRIEF, cache=None):
    return write_samples(problems.path, url, dst, settings, cache)


def test_server_gives_the_completions_of_its_model(served, model, problems, tmp_path):
    settings = Sample(max_new_tokens=12, limit=3, batch=1)
    there = draw(problems, served.url, tmp_path / "there", settings)
    here = write_samples(problems.path, str(model), tmp_path / "here", settings)
    for (*key, text, finish), (*same, whole, ended) in zip(texts(there), texts(here), strict=True):
        assert key == same and whole.startswith(text) and (finish == "length") == (ended == "length")
    assert there.manifest["generation"]["name"] == "tiny" and "prompts" in there.manifest["generation"]


def test_with_the_tokenizer_prompts_go_as_ids_and_stops_are_four_at_most(served, model, problems, tmp_path):
    settings = Sample(max_new_tokens=4, limit=1, batch=1, tokenizer=model, timeout=60)
    table = draw(problems, served.url, tmp_path / "samples", settings)
    body = served.asked[0][2]
    assert all(isinstance(token, int) for token in body["prompt"]) and len(body["stop"]) == 4
    assert len(table.manifest["generation"]["tokenizer"]) == 64


@pytest.mark.parametrize("fault", ["hang", "drip"])
def test_server_that_goes_silent_is_asked_again_after_its_time(served, problems, tmp_path, fault):
    served.faults += [fault]
    patient = replace(BRIEF, timeout=3, retries=20)  # a busy machine may make a good answer late, too
    table = draw(problems, served.url, tmp_path / "samples", patient)
    assert len(served.asked) >= 6 + 1 and table.manifest["marked"] == {} and len(texts(table)) == 6


@pytest.mark.parametrize("fault", [429, 500, 503, *GARBAGE])
def test_a_fault_that_passes_costs_another_try_and_no_sample(served, problems, tmp_path, fault):
    served.faults += [fault, fault]
    table = draw(problems, served.url, tmp_path / "samples")
    assert len(served.asked) == 6 + 2 and table.manifest["marked"] == {}
    assert {finish for *_, finish in texts(table)} <= {"stop", "length"}


def test_what_a_server_refuses_is_a_marked_sample_that_says_why(served, problems, tmp_path):
    served.faults += [400]
    table = draw(problems, served.url, tmp_path / "samples")
    rows = table.scan().collect().select("completion", "finish", "detail").rows()
    assert rows[0] == ("", "refused", "HTTP 400: says 400") and table.manifest["marked"] == {"refused": 1}


def test_what_a_server_refused_is_asked_again_by_the_next_run(served, problems, tmp_path):
    served.faults += [400]
    draw(problems, served.url, tmp_path / "once", cache=tmp_path / "kept")
    before = len(served.asked)
    again = draw(problems, served.url, tmp_path / "again", cache=tmp_path / "kept")
    assert len(served.asked) == before + 1 and again.manifest["marked"] == {}


def test_server_that_stays_down_ends_the_run_which_then_resumes(served, problems, tmp_path):
    served.faults += [None, None, *[500] * 3 * 4]
    with pytest.raises(corpus.Refusal, match=r"did not answer 3 of 6 requests \(HTTP 500: says 500\)"):
        draw(problems, served.url, tmp_path / "samples")
    served.faults.clear()
    before = len(served.asked)
    table = draw(problems, served.url, tmp_path / "samples")
    assert len(served.asked) - before == 4 and len(texts(table)) == 6


def test_nobody_there_and_a_wrong_address_are_one_line(served, problems, tmp_path):
    with pytest.raises(corpus.Refusal, match="did not answer"):
        draw(problems, "http://127.0.0.1:1/v1", tmp_path / "samples")
    with pytest.raises(corpus.Refusal, match="names no model"):
        draw(problems, "http://127.0.0.1:1/v1", tmp_path / "samples", Sample(timeout=60))
    served.faults += [404]
    with pytest.raises(corpus.Refusal, match=r"HTTP 404.*ends in /v1"):
        draw(problems, served.url, tmp_path / "samples")
    served.names = ["one", "two"]
    with pytest.raises(corpus.Refusal, match=r"has 2 models \(one, two\): give --name"):
        draw(problems, served.url, tmp_path / "samples", Sample(timeout=60))


def test_the_key_travels_in_a_header_and_is_written_nowhere(served, problems, tmp_path, monkeypatch):
    monkeypatch.setenv("MY_KEY", "sk-secret-1")
    served.faults += [500]
    settings = Sample(limit=1, max_new_tokens=2, name="tiny", key_variable="MY_KEY")
    draw(problems, served.url, tmp_path / "samples", settings)
    assert served.asked[0][1]["Authorization"] == "Bearer sk-secret-1"
    written = b"".join(file.read_bytes() for file in (tmp_path / "samples").rglob("*") if file.is_file())
    assert b"sk-secret" not in written and b"MY_KEY" in written
    with pytest.raises(corpus.Refusal, match="holds a user, a password or a query") as refused:
        Server("http://me:sk-secret-1@127.0.0.1/v1", BRIEF)
    assert "sk-secret" not in str(refused.value)


def test_text_that_no_file_can_hold_is_made_storable():
    answer = json.loads(r'{"choices": [{"text": "a\ud800b", "finish_reason": "stop", "stop_reason": null}]}')
    request = module.Request("s", "p", 0, module.Prompt(""), (), 1, 0)
    assert module.completion(answer, request, None)[:2] == ("a�b", "eos")
    thought = {"choices": [{"message": {"content": None}, "finish_reason": "length"}]}
    assert module.completion(thought, request, None)[:2] == ("", "length")
    endless = {"choices": [{"text": "x" * (module.LARGEST_TEXT + 1), "finish_reason": "stop"}]}
    assert module.completion(endless, request, None)[:2] == ("", "too_large")
