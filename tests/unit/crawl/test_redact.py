"""Placeholders are typed, the same where the secret is, and break nothing."""

import ast
import doctest
from pathlib import Path

import polars as pl
import pytest

import corpus
from crawl import redact, secrets
from crawl.config import Redact
from schemas import SCHEMAS

PYTHON = 'def mail():\n    return "ann.smith@uni-bonn.de", "5.9.20.33", "http://u:q9Xw1z@h.net"\n'
FILES = {
    "a/one.py": PYTHON,
    "a/two.py": "# ann.smith@uni-bonn.de\n" + PYTHON,
    "b/other.py": PYTHON,
    "b/clean.py": "x = 1\n",
    "b/ann@uni-bonn.de.py": "x = 1\n",
}


def kept(path: Path) -> corpus.Table:
    rows = [
        (*name.split("/"), "1", "python", None, None, "utf-8", text, "0", len(text), 1)
        for name, text in sorted(FILES.items())
    ]
    schema = pl.DataFrame(SCHEMAS["files"].empty_table()).schema
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    with corpus.building(path, "files", made_by="crawl filter", settings={}) as out:
        assert isinstance(out, corpus.Output)
        for (repo,), shard in frame.group_by("repo"):
            out.write(str(repo), {"": shard}, came_in=shard.height)
        return out.seal()


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> corpus.Table:
    root = tmp_path_factory.mktemp("redact")
    kept(root / "kept")
    return redact.redact_files(root / "kept", root / "redacted", Redact(), workers=1)


def test_the_same_secret_has_one_placeholder_in_a_repo_and_another_in_the_next(done: corpus.Table) -> None:
    rows = done.scan("secrets").filter(pl.col("kind") == "email").collect()
    assert rows["hash"].n_unique() == 1
    by_repo = rows.group_by("repo").agg(pl.col("placeholder").n_unique())
    assert by_repo["placeholder"].to_list() == [1, 1] and rows["placeholder"].n_unique() == 2


def test_a_redacted_file_is_still_a_program_and_nothing_is_found_in_it(done: corpus.Table) -> None:
    texts = done.scan().collect()["text"].to_list()
    assert len(texts) == 4 and all(ast.parse(text) and not secrets.find(text) for text in texts)


def test_a_file_with_a_secret_in_its_path_is_a_reject(done: corpus.Table) -> None:
    rows = done.scan("rejects").select("key", "reason", "detail").collect().rows()
    assert rows == [("b:ann@uni-bonn.de.py", "unredactable", "email in its path")]


def test_the_spans_give_back_the_secrets_and_the_table_holds_none(done: corpus.Table) -> None:
    for repo, path, kind, start, end, *_ in done.scan("secrets").collect().rows():
        assert [kind] == [s.kind for s in secrets.find(FILES[f"{repo}/{path}"]) if s[1:] == (start, end)]
    assert "bonn" not in str(done.scan("secrets").collect().to_dicts()).replace("b/ann", "")


def test_another_salt_gives_other_hashes_and_is_no_part_of_the_manifest(
    tmp_path: Path, done: corpus.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FATHOM_SALT", "pepper and salt")
    kept(tmp_path / "kept")
    salted = redact.redact_files(tmp_path / "kept", tmp_path / "redacted", Redact(), workers=1)
    assert not set(salted.scan("secrets").collect()["hash"]) & set(done.scan("secrets").collect()["hash"])
    assert "pepper" not in (salted.path / "manifest.json").read_text()


def test_the_examples_of_the_docs() -> None:
    assert doctest.testmod(redact).failed == 0
