"""A name on the hub becomes a commit and a folder; only data are fetched, and what fails is one line."""

import pytest

import corpus
import hub
from evals.config import Sample
from evals.sample import write_samples


@pytest.fixture
def served(model, hub_server):
    hub_server.files = {file.name: file.read_bytes() for file in model.iterdir()}
    hub_server.files |= {"modeling_evil.py": b"raise SystemExit", "pytorch_model.bin": b"pickle"}
    return hub_server


def test_model_of_the_hub_is_judged_at_the_commit_that_its_name_stands_for(served, model, problems, tmp_path):
    settings = Sample(limit=1, max_new_tokens=4)
    there = write_samples(problems.path, "me/tiny", tmp_path / "there", settings)
    here = write_samples(problems.path, str(model), tmp_path / "here", settings)
    assert there.digest == here.digest
    assert there.manifest["generation"]["model"] == f"me/tiny@{served.commit}"
    assert not [path for path in served.asked if path.endswith((".py", ".bin"))]
    assert hub.commit_of(f"me/tiny@{served.commit}") == f"me/tiny@{served.commit}"


def test_model_that_the_hub_has_not_is_one_line(served, problems, tmp_path):
    with pytest.raises(
        corpus.Refusal, match="me/other is no file here and cannot be had from the hub"
    ) as refused:
        write_samples(problems.path, "me/other", tmp_path / "samples", Sample())
    assert "\n" not in str(refused.value)
    assert not hub.named("out/samples.jsonl") and not hub.named("https://x/y") and not hub.named("model")
