"""From samples to verdicts and scores, through the verbs' own functions and real tables."""

import dataclasses
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import corpus
import passes
from evals import judge, tiers
from evals.config import Judge, Sample
from evals.extract import cut
from evals.judge import judge_samples, self_test, tally
from evals.problems import read_problems
from evals.sample import COLUMNS, write_samples
from evals.slot import job, main, watch

QUICK = Judge(seconds=2.0, memory_mb=256)


def samples_of(problems, dst, **settings):
    return write_samples(problems.path, dst / "none", dst / "samples", Sample(**settings))


def given(problems, dst, rows):
    """A table of samples as another tool might have written it."""
    with corpus.building(dst, "samples", made_by="evals sample", settings={}, inputs=[problems]) as out:
        frame = pl.DataFrame([(*row, None) for row in rows], schema=COLUMNS, orient="row")
        out.write("all", {"": frame}, came_in=len(rows))
        return out.seal()


def test_references_score_one_and_spoiled_ones_zero(problems, tmp_path):
    for source, value in (("reference", 1.0), ("spoiled", 0.0)):
        samples = samples_of(problems, tmp_path / source, source=source, limit=20)
        table = judge_samples(problems.path, samples.path, tmp_path / source / "verdicts", QUICK, 1)
        found = {(s["suite"], s["rule"]): s for s in table.manifest["scores"]}
        rules = ("as_published", "strict")
        assert set(found) == {(suite, rule) for suite in ("humaneval", "mbpp") for rule in rules}
        for score in found.values():
            assert score["value"] == value and score["low"] <= value <= score["high"]
            assert (score["k"], score["problems"]) == (1, 20)
        assert table.counts["in"] == table.counts["out"] == 40
        assert table.manifest["sandbox"]["tier"] in {tier.name for tier in tiers.best()}
        assert table.manifest["sandbox"]["packages"]["numpy"] == np.__version__


def test_each_sample_gets_one_verdict_and_the_rest_are_rejects(problems, tmp_path):
    rows = [
        ("humaneval", "HumanEval/0", 0, "    return 1", "given", None, None),
        ("humaneval", "HumanEval/0", 0, "    return 2", "given", None, None),
        ("humaneval", "HumanEval/0", 1, "    return 2", "given", None, None),
        ("humaneval", "../../etc/passwd", 0, "", "given", None, None),
        ("humaneval", "HumanEval/1", 0, "", "missing", None, None),
    ]
    samples = given(problems, tmp_path / "samples", rows)
    table = judge_samples(problems.path, samples.path, tmp_path / "verdicts", QUICK, 1)
    assert table.counts == {"in": 5, "out": 3, "rejected": {"duplicate_sample": 1, "unknown_problem": 1}}
    assert table.scan("measured").collect().height == 3
    marked = table.scan().filter(pl.col("problem") == "HumanEval/1").collect()
    assert marked.select("strict", "program").rows() == [("failed", "")]  # a sample that is none, unrun


def test_same_samples_give_the_same_digest_whatever_the_workers(problems, tmp_path):
    samples = samples_of(problems, tmp_path, source="spoiled", limit=20)
    one = judge_samples(problems.path, samples.path, tmp_path / "one", QUICK, 1)
    two = judge_samples(problems.path, samples.path, tmp_path / "two", QUICK, 2)
    assert one.digest == two.digest


def folder_of_a_slot():
    box = judge._sandbox(Judge(tier="none"))
    box.start()
    return box._slots["python"]._folder


def test_slots_of_a_worker_process_end_with_it_and_leave_no_folder():
    with passes.pool(1) as processes:
        folder = processes.submit(folder_of_a_slot).result()
        assert Path(folder).is_dir()
    assert not Path(folder).exists()


def test_completion_is_cut_at_its_stop_string_unless_it_was_given(problems, tmp_path):
    right = next(p for p in read_problems(problems) if p.problem == "HumanEval/0").reference
    rows = [
        ("humaneval", "HumanEval/0", 0, f"{right}\nprint(1 / 0)", "stop", 9, None),
        ("humaneval", "HumanEval/0", 1, f"{right}\nprint(1 / 0)", "given", None, None),
    ]
    samples = given(problems, tmp_path / "samples", rows)
    table = judge_samples(problems.path, samples.path, tmp_path / "verdicts", QUICK, 1)
    assert table.scan().collect()["strict"].to_list() == ["passed", "failed"]
    assert cut("a\nif b\nclass", ["\nclass", "\nif"]) == "a" and cut("abc", ["\n#"]) == "abc"


def test_harness_that_cannot_say_yes_or_no_gives_no_score(problems):
    first = next(p for p in read_problems(problems) if p.problem == "HumanEval/0")
    with pytest.raises(corpus.Refusal, match="self-test: a reference solution of HumanEval/0 got failed"):
        self_test([replace(first, reference="    return None\n")], QUICK)
    with pytest.raises(corpus.Refusal, match="self-test: a wrong solution of HumanEval/0 got passed"):
        self_test([replace(first, test="\n")], QUICK)
    with pytest.raises(corpus.Refusal, match="self-test: no solution of humaneval is known"):
        self_test([replace(first, reference=None)], QUICK)


def test_no_sandbox_no_verdict(problems, tmp_path, monkeypatch):
    refusing = dataclasses.replace(
        tiers.find("namespaces"), missing=lambda: "unshare: Operation not permitted"
    )
    monkeypatch.setattr(tiers, "TIERS", {"namespaces": refusing, "none": tiers.find("none")})
    samples = samples_of(problems, tmp_path, source="reference", limit=4)
    with pytest.raises(corpus.Refusal, match=r"no sandbox on this machine \(namespaces: unshare"):
        judge_samples(problems.path, samples.path, tmp_path / "verdicts", QUICK, 1)
    unsafe = Judge(seconds=2.0, memory_mb=256, unsafe_no_sandbox=True)
    table = judge_samples(problems.path, samples.path, tmp_path / "verdicts", unsafe, 1)
    assert table.manifest["sandbox"]["tier"] == "none" and table.manifest["sandbox"]["unsafe"] is True
    assert table.manifest["scores"][0]["value"] == 1.0


def test_pass_at_k_from_fewer_samples_is_refused_before_anything_runs(problems, tmp_path):
    samples = samples_of(problems, tmp_path, source="reference", limit=2)
    with pytest.raises(corpus.Refusal, match=r"pass@10 needs 10 samples .* HumanEval/0 has 1"):
        judge_samples(problems.path, samples.path, tmp_path / "verdicts", replace(QUICK, k=(1, 10)), 1)


def test_pass_at_k_is_estimated_unasked_as_far_as_there_are_samples():
    told = ["passed", "failed"] * 3
    verdicts = pl.DataFrame({"suite": "s", "problem": list("aaaabb"), "as_published": told, "strict": told})
    assert {score["k"] for score in tally(verdicts, ())} == {1}
    found = {score["k"]: score for score in tally(verdicts, (1, 2))}
    assert found[1]["value"] == 0.5
    assert found[2]["value"] == pytest.approx((5 / 6 + 1) / 2) and found[2]["interval"] == "bootstrap"


@pytest.mark.parametrize(
    ("report", "status", "expected"),
    [
        (b"mark", 0, "passed"),
        (b"marker", 0, "failed"),
        (b"", 0, "failed"),
        (b'{"verdict": "passed", "detail": null}', 0, "failed"),
        (b'{"verdict": "memory", "detail": "MemoryError"}', 0, "memory"),
        (b"[" * 4000, 0, "failed"),
        (b"", -11, "crashed"),
        (b"", -24, "timeout"),
        (b"", job.NOT_CONFINED, "error"),
    ],
)
def test_only_the_mark_is_a_pass(report, status, expected):
    outcome = watch.Outcome(said={"report": report}, statuses={7: status})
    assert main.judge(outcome, "mark", [7], job.Limits())[0] == expected


def test_detail_that_is_no_text_can_still_be_written(problems, tmp_path):
    odd = "    raise ValueError(chr(0xD800) + chr(27) + chr(0))"
    rows = [("humaneval", "HumanEval/0", 0, odd, "given", None, None)]
    samples = given(problems, tmp_path / "samples", rows)
    table = judge_samples(problems.path, samples.path, tmp_path / "verdicts", QUICK, 1)
    assert table.scan().collect()["detail"][0].startswith("ValueError: �\x1b\0")


def test_suite_without_its_toolchain_has_no_score_rather_than_none():
    told = ["not_run"] * 2 + ["failed"]
    verdicts = pl.DataFrame(
        {"suite": list("aab"), "problem": list("xyx"), "as_published": told, "strict": told}
    )
    assert {score["suite"] for score in tally(verdicts, (1,))} == {"b"}


def test_details_hold_no_addresses():
    assert judge._settled("<object at 0x7f00deadbeef>") == "<object at 0x...>"


def test_verdict_is_json_on_stdout(tmp_path):
    (tmp_path / "p.py").write_text("def f(x):\n    return x + 1\n")
    (tmp_path / "t.py").write_text("assert f(1) == 3")
    command = [sys.executable, "-c", "from evals.cli import app; app.meta()", "run", str(tmp_path / "p.py")]
    test = ["--test", str(tmp_path / "t.py"), "--entry", "f"]
    alone, tested = (json.loads(subprocess.check_output(command + more)) for more in ([], test))
    assert alone["verdict"] == "passed" and alone["tier"] in tiers.TIERS and alone["unsafe"] is False
    assert (tested["verdict"], tested["detail"]) == ("failed", "AssertionError (line 1: assert f(1) == 3)")
