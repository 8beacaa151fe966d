"""`make eval MODEL=...` judges a folder, a server and a samples file, and notices when it is another one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import corpus
from tests.unit.evals.conftest import model  # noqa: F401
from tests.unit.evals.serving import serving

ROOT = Path(__file__).resolve().parents[2]

BRIEF = """
[evals.sample]
limit = 3
max_new_tokens = 8
batch = 4

[evals.judge]
oracle = "exact"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    found = tmp_path_factory.mktemp("eval")
    (found / "brief.toml").write_text(BRIEF)
    return found


def make(folder, target, **variables):
    """Run the project's own Makefile with this environment; what it says."""
    named = {"RUN": folder / "brief.toml", "OUT": folder / "out", "VENV": Path(sys.executable).parents[1]}
    words = [f"{name}={value}" for name, value in (named | variables).items()]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    command = ["make", "-C", str(ROOT), target, *words]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def judged(folder):
    """What the verdicts' manifest says of their makers, and the scores by suite."""
    manifest = corpus.read(folder / "out/verdicts").manifest
    return manifest["generation"], {score["suite"]: score["value"] for score in manifest["scores"]}


def test_each_kind_of_model_is_judged_and_another_one_is_noticed(folder, model):  # noqa: F811
    make(folder, "eval", MODEL=model, SUITES="humaneval")
    made, scores = judged(folder)
    assert made["engine"].startswith("transformers") and len(made["tokenizer"]) == len(made["prompts"]) == 64
    assert set(scores) == {"humaneval"}

    with serving(model) as server:
        make(folder, "eval", MODEL=server.url, SUITES="humaneval", NAME="tiny")
        made, _ = judged(folder)
        assert made["engine"] == f"server {server.url}" and len(server.asked) == 3
        make(folder, "eval", MODEL=server.url, SUITES="humaneval", NAME="tiny")
        assert len(server.asked) == 3  # up to date

    solved = folder / "solved.jsonl"
    rows = [(problem["problem"], problem["reference"]) for problem in _problems(folder)[:2]]
    solved.write_text("".join(json.dumps({"task_id": a, "completion": b}) + "\n" for a, b in rows))
    said = make(folder, "report", MODEL=solved, SUITES="humaneval")
    assert judged(folder) == ({}, {"humaneval": pytest.approx(2 / 3)})  # the third sample is missing: failed
    assert "1 of 3 problems of humaneval have fewer than 1 samples" in " ".join(said.split())
    assert "<html" in (folder / "out/report/index.html").read_text()


def _problems(folder):
    return corpus.read(folder / "out/problems").scan().collect().to_dicts()
