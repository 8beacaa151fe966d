"""A published corpus streams and has passed its gates."""

import json
from pathlib import Path
from typing import Any

import datasets
import pyarrow.parquet as pq
import pytest

import corpus
from corpus import Refusal
from crawl import publish as release
from crawl.cli import app as crawl
from crawl.config import Mix, Publish
from crawl.mix import mix
from crawl.optout import opt_out
from crawl.publish import publish

CONTACT = "open an issue at example.org/removals"
MAIL = "ann.smith@uni-bonn.de"


@pytest.fixture(scope="module")
def published(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("release") / "dataset"
    publish(made / "corpus", path, Publish(title="Small world", contact=CONTACT), workers=1)
    return path


def rows_of(table: corpus.Table, part: str = "") -> list[dict[str, Any]]:
    return [row for s in table.shards(part) for row in pq.read_table(table.path / s.name).to_pylist()]


def test_datasets_streams_every_row_of_the_corpus(made: Path, published: Path, tmp_path: Path) -> None:
    found = datasets.load_dataset(str(published), split="train", streaming=True, cache_dir=str(tmp_path))
    assert list(found) == rows_of(corpus.read(made / "corpus"))
    for file in published.glob("data/*.parquet"):
        sizes = [pq.ParquetFile(file).metadata.row_group(n).total_byte_size for n in range(1)]
        assert max(sizes) <= corpus.ROW_GROUP_BYTES


def spoil(path: Path, text: str, name: str = "new.py") -> None:
    """Put a text at the end of the first document, and seal the table as if a verb had written it so."""
    table = corpus.read(path, "corpus")
    rows = rows_of(table)
    grown = rows[0]["text"] + text
    files = [*rows[0]["files"], {"path": name, "start": len(rows[0]["text"]), "end": len(grown)}]
    rows[0] |= {"text": grown, "files": files}
    manifest = table.manifest
    (path / "manifest.json").unlink()
    with corpus.building(path, "corpus", made_by="crawl screen", settings=manifest["settings"]) as out:
        assert isinstance(out, corpus.Output)
        out.write("one", {"": corpus.pa.Table.from_pylist(rows, corpus.SCHEMAS["corpus"])})
        out.seal()
    sealed = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps(sealed | {"inputs": manifest["inputs"]}))


@pytest.mark.parametrize("what", ["secret", "secret in a path", "contamination"])
def test_what_must_not_leave_stops_the_release(copy: Path, what: str) -> None:
    solution = next(row for row in rows_of(corpus.read(copy / "problems")) if row["problem"] == "HumanEval/3")
    texts = {"secret": f"\nmail = '{MAIL}'\n", "contamination": solution["text"]}
    spoil(copy / "corpus", texts.get(what, "x = 1"), f"{MAIL}.py" if "path" in what else "new.py")
    words = "shares words with humaneval" if what == "contamination" else "holds 1 secrets"
    with pytest.raises(Refusal, match=words):
        publish(copy / "corpus", copy / "dataset", Publish(contact=CONTACT), workers=1)
    assert not (copy / "dataset/manifest.json").exists() and not (copy / "dataset/README.md").exists()


def test_what_passed_the_gates_before_something_was_found_does_not_stay(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Path] = []

    def late(*_: object) -> None:
        written.extend((copy / "dataset").rglob("*.parquet"))
        if written:
            raise release.Held("found")

    monkeypatch.setattr(release, "FILE_BYTES", 1)  # a file for every shard
    monkeypatch.setattr(release, "refuse_secrets", late)
    with pytest.raises(Refusal, match="found"):
        publish(copy / "corpus", copy / "dataset", Publish(contact=CONTACT), workers=1)
    assert written and not list((copy / "dataset").rglob("*.parquet"))


def test_a_mixed_corpus_is_published_like_any_other(copy: Path) -> None:
    mixed = mix(copy / "corpus", copy / "mixed", Mix(cap=100), workers=1)
    done = publish(mixed.path, copy / "dataset", Publish(contact=CONTACT), workers=1)
    assert done.counts["out"] == mixed.scan().collect().height < len(rows_of(corpus.read(copy / "corpus")))
    assert "| crawl mix |" in (done.path / "README.md").read_text()


def test_after_an_opt_out_nothing_is_published_before_make_has_run(copy: Path, tmp_path: Path) -> None:
    wishes = tmp_path / "optouts.txt"
    wishes.write_text("repo folder/geometry\n")
    opt_out(wishes, copy)
    with pytest.raises(Refusal, match="run make, then publish"):
        publish(copy / "corpus", copy / "dataset", Publish(contact=CONTACT), workers=1)
    assert not (copy / "dataset").exists()


def test_a_corpus_without_its_run_or_a_card_without_an_address_is_refused(made: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        crawl.meta(["publish", str(made / "corpus"), str(tmp_path / "dataset")])
