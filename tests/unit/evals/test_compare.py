"""Two runs on the same problems are compared pair by pair."""

import polars as pl
import pytest

import corpus
from corpus import Refusal
from evals import compare, judge


def verdicts(path, passed: dict[str, list[bool]], suite: str = "humaneval") -> corpus.Table:
    words = {True: "passed", False: "failed"}
    rows = [
        {
            "suite": suite, "problem": problem, "sample": number, "as_published": words[good],
            "strict": words[good], "flagged": False, "detail": None if good else "AssertionError: \x1b[2J",
            "similarity": None, "program": "",
        }
        for problem, marks in passed.items()
        for number, good in enumerate(marks)
    ]  # fmt: skip
    schema = {"sample": pl.Int32, "detail": pl.String, "similarity": pl.Float32}
    judged = pl.DataFrame(rows, schema_overrides=schema)
    cost = judged.select(
        "suite", "problem", "sample", cpu_seconds=0.1, wall_seconds=0.1, memory_bytes=1 << 20
    )
    with corpus.building(path, "verdicts", made_by="evals judge", settings={}) as out:
        out.write("all", {"": judged, "measured": cost}, came_in=len(rows))
        return out.seal(scores=judge.tally(judged, (1,)))


def test_what_both_solve_or_neither_does_not_count(tmp_path):
    a = verdicts(tmp_path / "a", {f"P/{i}": [i < 40] for i in range(100)})
    b = verdicts(tmp_path / "b", {f"P/{i}": [5 <= i < 52] for i in range(110)})
    strict = next(one for one in compare.comparisons(a, b) if one.rule == "strict")
    assert (strict.problems, strict.a, strict.b) == (100, 0.4, 0.47)
    assert (strict.better, strict.worse, strict.shown) == (12, 5, 9)
    assert strict.mcnemar == pytest.approx(0.1435, abs=1e-4)
    assert strict.low < 0 < 0.07 < strict.high


def test_the_lines_name_the_problems_that_moved_and_why(tmp_path):
    a = verdicts(tmp_path / "a", {"P/1": [True, True], "P/2": [False, False]})
    b = verdicts(tmp_path / "b", {"P/1": [True, False], "P/2": [False, False]})
    lines = compare.compare(a.path, b.path)
    assert "50.0 % -> 25.0 %, -25.0 points" in lines[0] and "McNemar" not in lines[0]
    assert lines[-1].split() == ["humaneval", "P/1", "2/2", "->", "1/2", "AssertionError:", "\\x1b[2J"]


def test_runs_with_no_problem_in_common_are_refused(tmp_path):
    a, b = verdicts(tmp_path / "a", {"P/1": [True]}), verdicts(tmp_path / "b", {"P/1": [True]}, "mbpp")
    with pytest.raises(Refusal, match="judged no problem both"):
        compare.comparisons(a, b)


def test_the_report_shows_this_run_beside_another(tmp_path):
    from evals.config import Report
    from evals.report import write_report

    marks = {f"HumanEval/{i}": [i % 3 == 0] for i in range(30)}
    better = {name: [good or name.endswith("1")] for name, (good,) in marks.items()}
    other, this = verdicts(tmp_path / "other", marks), verdicts(tmp_path / "this", better)
    write_report([this.path], tmp_path / "report", Report(against=other.path))
    page = (tmp_path / "report/index.html").read_text()
    assert "Beside the other run" in page and "2 problems are solved differently often" in page
    assert "HumanEval/1</th>" in page and "HumanEval/11</th>" in page
