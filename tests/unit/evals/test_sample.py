"""Completions do not depend on batch, order or interruption, and every source gives them in the same form."""

import gzip
import json
import subprocess
import sys
import time

import pytest
import torch

import corpus
from evals.config import Judge, Report, Sample, check
from evals.generate import Generator, draw, seed_of
from evals.problems import read_problems
from evals.sample import read_replay, write_samples

WARM = Sample(samples=2, temperature=0.8, max_new_tokens=24, batch=5, seed=7, limit=6)


def completions(table):
    return (
        table.scan()
        .collect()
        .select("suite", "problem", "sample", "completion", "finish", "tokens", "seed")
        .rows()
    )


@pytest.fixture(scope="module")
def some(problems):
    return read_problems(problems)[:6]


def test_greedy_completion_is_that_of_transformers_own_generate(model, some):
    generator = Generator(model, Sample(max_new_tokens=20, batch=6))
    for problem, (completion,) in zip(some, generator.complete(some), strict=True):
        ids = generator.prompt_ids(problem.prompt)
        theirs = generator.model.generate(torch.tensor([ids]), max_new_tokens=20, do_sample=False)[
            0, len(ids) :
        ]
        text = generator.tokenizer.decode(theirs, skip_special_tokens=True)
        if completion.finish == "stop":
            assert text.startswith(completion.text)
        else:
            assert text == completion.text


def test_samples_do_not_depend_on_batch_or_order(model, some):
    by_one = Generator(model, Sample(samples=2, temperature=1.0, max_new_tokens=16, batch=1)).complete(some)
    by_four = Generator(model, Sample(samples=2, temperature=1.0, max_new_tokens=16, batch=4)).complete(
        some[::-1]
    )
    assert by_one == by_four[::-1]
    assert by_one[0][0] != by_one[0][1]


def test_generation_ends_at_a_stop_string_that_spans_tokens(model, some):
    generator = Generator(model, Sample(max_new_tokens=40))
    (whole,) = generator.complete(some[:1])[0]
    stop = whole.text[3:6]
    problem = type(some[0])(**{**vars(some[0]), "stop": ["never", stop]})
    (ended,) = generator.complete([problem])[0]
    assert ended.finish == "stop" and ended.text.endswith(stop) and whole.text.startswith(ended.text)
    assert ended.tokens < whole.tokens


def test_prompt_longer_than_the_context_loses_its_beginning(model, problems):
    generator = Generator(model, Sample(max_new_tokens=100))
    long = next(p for p in read_problems(problems) if p.suite == "mbpp")
    ids = generator.prompt_ids(long.prompt)
    assert len(ids) == 512 - 100 and generator.tokenizer.decode(ids).endswith("[BEGIN]")
    (completion,) = generator.complete([long])[0]
    assert completion.tokens <= 100


def test_draws_follow_the_probabilities_and_top_p():
    stream = torch.Generator().manual_seed(0)
    probabilities = torch.tensor([0.1, 0.6, 0.3], dtype=torch.float64)
    drawn = [draw(probabilities, 1.0, stream) for _ in range(4000)]
    assert [drawn.count(n) / 4000 for n in range(3)] == pytest.approx([0.1, 0.6, 0.3], abs=0.03)
    assert {draw(probabilities, 0.7, stream) for _ in range(500)} == {1, 2}
    assert {draw(probabilities, 0.5, stream) for _ in range(50)} == {1}
    assert seed_of(0, "a", "b", 1) != seed_of(0, "a", "b", 2) and 0 <= seed_of(1, "a", "b", 1) < 2**63


def test_killed_run_resumes_to_the_same_digest(model, problems, tmp_path):
    whole = write_samples(problems.path, model, tmp_path / "whole", WARM)
    given = {"samples": 2, "temperature": 0.8, "max-new-tokens": 24, "batch": 5, "seed": 7, "limit": 6}
    flags = [word for name, value in given.items() for word in (f"--{name}", str(value))]
    command = [sys.executable, "-c", "from evals.cli import app; app.meta()", "sample"]
    killed = tmp_path / "killed"
    run = subprocess.Popen(
        [*command, *map(str, (problems.path, model, killed)), *flags], stderr=subprocess.DEVNULL
    )
    while run.poll() is None and not list(killed.glob(".units/*.json")):
        time.sleep(0.01)
    run.kill()
    run.wait()
    resumed = write_samples(problems.path, model, killed, WARM)
    assert resumed.digest == whole.digest and completions(resumed) == completions(whole)
    assert len(completions(whole)) == 24


def test_model_that_cannot_be_used_is_refused_in_one_line(model, problems, tmp_path):
    def refusal(path, **settings):
        with pytest.raises(corpus.Refusal) as refused:
            write_samples(
                problems.path, path, tmp_path / "samples", Sample(limit=1, max_new_tokens=2, **settings)
            )
        return str(refused.value)

    assert "holds no config.json" in refusal(tmp_path)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text("{}")
    assert "is not a model that transformers can load" in refusal(tmp_path / "broken")
    assert "--source replay reads a samples file" in refusal(tmp_path, source="replay")
    assert "--device zzz is not to be had" in refusal(model, device="zzz")


@pytest.mark.parametrize(
    "absurd",
    [
        Sample(batch=0),
        Sample(samples=0),
        Sample(temperature=float("nan")),
        Judge(k=(1, 0)),
        Judge(seconds=float("nan")),
        Judge(memory_mb=1 << 60),
        Report(samples=-1),
    ],
    ids=str,
)
def test_absurd_setting_is_refused_by_name(absurd):
    with pytest.raises(corpus.Refusal, match=r"is .*: give at least"):
        check(absurd)


def test_model_that_ends_in_nan_is_refused(model, some):
    generator = Generator(model, Sample(max_new_tokens=2))
    next(generator.model.parameters()).data.fill_(float("nan"))
    with pytest.raises(corpus.Refusal, match="no finite logit"):
        generator.complete(some[:1])


def test_tokenizer_that_adds_two_bos_is_refused(model):
    generator = Generator(model, Sample())
    generator.tokenizer.add_bos_token = False
    begin = generator.tokenizer.bos_token
    with pytest.raises(corpus.Refusal, match="two BOS"):
        generator.prompt_ids(begin + begin + "def f():")


def test_replay_takes_what_can_be_judged_and_rejects_the_rest(problems, tmp_path):
    lines = [
        json.dumps({"task_id": "HumanEval/0", "completion": "    return 1\ndef g(): pass"}),
        json.dumps({"task_id": "HumanEval/0", "completion": "    return 2"}),
        json.dumps({"task_id": "humaneval/1", "solution": "def f(): pass"}),
        json.dumps({"task_id": "HumanEval/999", "completion": ""}),
        '{"task_id": "HumanEval/2", "comple',
        json.dumps(["HumanEval/3"]),
        json.dumps({"task_id": "HumanEval/4"}),
        json.dumps({"task_id": "HumanEval/5", "completion": "\ud800"}),
        "",
    ]
    file = tmp_path / "samples.jsonl.gz"
    file.write_bytes(gzip.compress("\n".join(lines).encode() + b"\n\xff\xfe\n"))
    table = write_samples(problems.path, file, tmp_path / "samples", Sample(source="replay"))
    assert [(row[1], row[2], row[3]) for row in completions(table)] == [
        ("HumanEval/0", 0, "    return 1\ndef g(): pass"),
        ("HumanEval/0", 1, "    return 2"),
        ("HumanEval/1", 0, "def f(): pass"),
    ]
    assert table.counts == {
        "in": 9,
        "out": 3,
        "rejected": {"not_unicode": 1, "torn_line": 4, "unknown_problem": 1},
    }


def test_damaged_samples_file_is_refused(problems, tmp_path):
    (tmp_path / "torn.gz").write_bytes(gzip.compress(b"{}" * 1000)[:-9])
    with pytest.raises(corpus.Refusal, match="damaged gzip"):
        read_replay(tmp_path / "torn.gz", read_problems(problems))
