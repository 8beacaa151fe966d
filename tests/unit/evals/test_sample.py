"""Completions do not depend on batch, order or interruption, and every source gives them in the same form."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

import corpus
from evals.backends import seed_of, vllm
from evals.backends.local import Local, draw
from evals.config import Judge, Report, Sample, check
from evals.problems import read_problems
from evals.sample import requests_of, write_samples

WARM = Sample(samples=2, temperature=0.8, max_new_tokens=24, batch=5, seed=7, limit=6)


def completions(table):
    return (
        table.scan()
        .collect()
        .select("suite", "problem", "sample", "completion", "finish", "tokens", "seed")
        .rows()
    )


def complete(model, problems, **settings):
    """The completions of each problem, by a model's folder or a model that is loaded."""
    local = model if isinstance(model, Local) else Local(model, Sample(**settings))
    asked = [list(requests_of(local, problem, local.settings)) for problem in problems]
    done = dict(local.generate([request for some in asked for request in some]))
    return [[done[request] for request in some] for some in asked]


@pytest.fixture(scope="module")
def some(problems):
    return read_problems(problems)[:6]


def test_greedy_completion_is_that_of_transformers_own_generate(model, some):
    local = Local(model, Sample(max_new_tokens=20, batch=6))
    for problem, (completion,) in zip(some, complete(local, some), strict=True):
        ids = list(local.prompt(problem, 20).ids)
        theirs = local.model.generate(torch.tensor([ids]), max_new_tokens=20, do_sample=False)[0, len(ids) :]
        text = local.tokenizer.decode(theirs, skip_special_tokens=True)
        if completion.finish == "stop":
            assert text.startswith(completion.text)
        else:
            assert text == completion.text


def test_samples_do_not_depend_on_batch_order_or_shared_prefill(model, some):
    warm = {"samples": 3, "temperature": 1.0, "max_new_tokens": 16}
    by_one = complete(model, some, **warm, batch=1)
    assert by_one == complete(model, some[::-1], **warm, batch=7)[::-1]
    assert by_one[0][0] != by_one[0][1]


def test_generation_ends_at_a_stop_string_that_spans_tokens(model, some):
    ((whole,),) = complete(model, some[:1], max_new_tokens=40)
    stop = whole.text[3:6]
    ((ended,),) = complete(model, [replace(some[0], stop=["never", stop])], max_new_tokens=40)
    assert ended.finish == "stop" and ended.text.endswith(stop) and whole.text.startswith(ended.text)
    assert ended.tokens < whole.tokens


def test_prompt_longer_than_the_context_loses_its_beginning(model, problems):
    local = Local(model, Sample(max_new_tokens=100))
    long = next(p for p in read_problems(problems) if p.suite == "mbpp")
    ids = local.prompt(long, 100).ids
    assert len(ids) == 512 - 100 and local.tokenizer.decode(ids).endswith("[BEGIN]")
    ((completion,),) = complete(local, [long])
    assert completion.tokens <= 100


def test_draws_follow_the_probabilities_and_top_p():
    stream = torch.Generator().manual_seed(0)
    probabilities = torch.tensor([0.1, 0.6, 0.3], dtype=torch.float64)
    drawn = [draw(probabilities, 1.0, stream) for _ in range(4000)]
    assert [drawn.count(n) / 4000 for n in range(3)] == pytest.approx([0.1, 0.6, 0.3], abs=0.03)
    assert {draw(probabilities, 0.7, stream) for _ in range(500)} == {1, 2}
    assert {draw(probabilities, 0.5, stream) for _ in range(50)} == {1}
    assert seed_of(0, "a", "b", 1) != seed_of(0, "a", "b", 2) and 0 <= seed_of(1, "a", "b", 1) < 2**63


def test_killed_run_resumes_where_it_stopped_to_the_same_digest(model, problems, tmp_path):
    whole = write_samples(problems.path, str(model), tmp_path / "whole", WARM)
    given = {"samples": 2, "temperature": 0.8, "max-new-tokens": 24, "batch": 5, "seed": 7, "limit": 6}
    flags = [word for name, value in given.items() for word in (f"--{name}", str(value))]
    command = [sys.executable, "-c", "from evals.cli import app; app.meta()", "sample"]
    killed = tmp_path / "killed"
    run = subprocess.Popen(
        [*command, *map(str, (problems.path, model, killed)), *flags], stderr=subprocess.DEVNULL
    )

    def journal():
        return next(iter(killed.glob(".units/*.jsonl")), None)

    while run.poll() is None and not (journal() and journal().stat().st_size > 500):
        time.sleep(0.002)
    os.kill(run.pid, signal.SIGSTOP)
    before = journal().read_bytes()
    run.kill()
    run.wait()
    assert 0 < before.count(b"\n") < 24
    with journal().open("ab") as file:
        file.write(before.splitlines()[0][:40])  # as a crash of the machine may leave it
    resumed = write_samples(problems.path, str(model), killed, WARM)
    assert resumed.digest == whole.digest and completions(resumed) == completions(whole)
    assert len(completions(whole)) == 24


def test_cache_gives_a_wider_run_what_a_narrower_one_drew(model, problems, tmp_path):
    def drawn(name, **changed):
        settings, cache = replace(WARM, **changed), tmp_path / "kept"
        return set(completions(write_samples(problems.path, str(model), tmp_path / name, settings, cache)))

    narrow = drawn("narrow", limit=2)
    (kept,) = (tmp_path / "kept").iterdir()
    first = kept.read_bytes()
    assert narrow < drawn("wide", limit=3)
    assert kept.read_bytes().startswith(first) and kept.read_bytes().count(b"\n") == 12
    drawn("other", limit=3, temperature=0.7)
    assert kept.read_bytes().count(b"\n") == 24  # other settings, other samples


def test_model_that_cannot_be_used_is_refused_in_one_line(model, problems, tmp_path):
    def refusal(path, **settings):
        with pytest.raises(corpus.Refusal) as refused:
            write_samples(
                problems.path, str(path), tmp_path / "samples", Sample(limit=1, max_new_tokens=2, **settings)
            )
        return str(refused.value)

    (tmp_path / "empty").mkdir()
    assert "holds no config.json" in refusal(tmp_path / "empty")
    assert "nowhere does not exist: give a model's folder, a server's URL" in refusal("nowhere")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text("{}")
    assert "is not a model that transformers can load" in refusal(tmp_path / "broken")
    assert "--source replay reads a samples file" in refusal("nowhere", source="replay")
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


def test_rows_whose_logits_are_not_finite_are_marked_and_the_others_go_on(model, some):
    local = Local(model, Sample(max_new_tokens=9, batch=6))
    healthy = complete(local, some)
    forward, calls = local.model.forward, []

    def breaking(*args, **named):
        found = forward(*args, **named)
        calls.append(len(found.logits))
        if len(calls) == 4:
            found.logits[0] = float("nan")
        return found

    local.model.forward = breaking
    broken = complete(local, some)
    marked = [at for at, (one,) in enumerate(broken) if one.finish == "not_finite"]
    assert len(marked) == 1 and broken[marked[0]][0].detail == "logits not finite after 3 tokens"
    assert all(broken[at] == healthy[at] for at in range(6) if at not in marked)


def test_broken_weights_give_marked_samples_and_a_warning(model, problems, tmp_path, caplog):
    local = Local(model, Sample())
    local.model.lm_head.weight.data.fill_(float("nan"))
    local.model.save_pretrained(tmp_path / "nan")
    local.tokenizer.save_pretrained(tmp_path / "nan")
    table = write_samples(problems.path, str(tmp_path / "nan"), tmp_path / "samples", Sample(limit=1))
    assert table.manifest["marked"] == {"not_finite": 2}
    assert "2 of 2 samples are not_finite and count as failed" in caplog.text


def test_vllm_is_asked_with_ids_and_seeds_and_says_how_a_sequence_ended(model, some):
    settings = Sample(temperature=0.8)
    request = next(requests_of(Local(model, settings), some[0], settings))
    asked = vllm.sampling(request, settings)
    assert asked["seed"] == request.seed and asked["stop"] == some[0].stop and asked["max_tokens"] == 500
    ended = [("stop", "\ndef", "stop"), ("stop", None, "eos"), ("stop", 3, "eos"), ("length", None, "length")]
    ended += [("abort", None, "refused")]
    for reason, by, finish in ended:
        output = SimpleNamespace(text="x", token_ids=[1], finish_reason=reason, stop_reason=by)
        assert vllm.completion(output, request, settings).finish == finish
    with pytest.raises(corpus.Refusal, match="vLLM does not load here"):
        vllm.Vllm(model, settings)
