"""A new crawl against an index gives what one scan over all of it would give."""

import random
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

import corpus
import dedup
from corpus import Refusal
from dedup import tombstones
from tests.waiting import until

WORDS = [f"{verb}_{noun}" for verb in ("get", "set", "make", "sum") for noun in map(str, range(300))]


def rows(seed: int, families: range, batch: int) -> pl.DataFrame:
    """Some edits of each family's text, from copies to hardly alike, in repos of a few rows."""
    dice = random.Random(seed)
    found = []
    for family in families:
        base = random.Random(family).choices(WORDS, k=dice.choice((40, 150)))
        for edit in range(dice.randrange(1, 5)):
            words = list(base)
            for _ in range(dice.choice((0, 1, 3, 8))):
                words[dice.randrange(len(words))] = f"new_{dice.random()}"
            name = f"{batch}-{family}-{edit}"
            found.append((name, f"repo-{batch}-{family % 9}", " ".join(words), batch, dice.randrange(5)))
    frame = pl.DataFrame(found, schema=["id", "repo", "text", "batch", "stars"], orient="row")
    return frame.sample(fraction=1, shuffle=True, seed=seed)


def write(folder: Path, frame: pl.DataFrame) -> Path:
    folder.mkdir(parents=True)
    for i in range(2):
        corpus.write_parquet(folder / f"part-{i}.parquet", frame[i::2].to_arrow())
    return folder


def kept(table: corpus.Table) -> set[str]:
    return set(pl.concat([table.frame(shard) for shard in table.shards()])["id"])


def crawls(tmp_path: Path) -> list[Path]:
    return [
        write(tmp_path / f"crawl-{n}", rows(n, families, n))
        for n, families in enumerate((range(40), range(20, 60), range(80)))
    ]


def test_brackets_in_names_of_folders_and_files_are_letters_like_any_other(tmp_path):
    rows = pl.DataFrame({"id": ["a", "b", "c"], "text": ["one text", "one text", "two"]})
    source, index = tmp_path / "rows[1]", tmp_path / "index[2]"
    write(source, rows).joinpath("part-0.parquet").rename(source / "part[0].parquet")
    for n in range(2):
        table = dedup.scan([source], tmp_path / f"out[{n}]", dedup.Scan(), 1, index=index)
    assert dedup.explain(table.path, "b").startswith("b was dropped for a")
    assert dedup.stats(table.path).startswith("3 rows in, 2 kept")
    assert dedup.forget(index, ["a"]).endswith("  b")
    assert kept(dedup.scan([write(tmp_path / "more", rows[2:])], tmp_path / "4", None, 1, index)) == set()


@pytest.mark.parametrize("level", ["row", "both"])
@pytest.mark.parametrize("reconsider", [False, True])
def test_scans_one_after_the_other_keep_what_one_scan_over_all_keeps(tmp_path, level, reconsider):
    sources, now = crawls(tmp_path), set()
    priority = "stars DESC" if reconsider else "batch, stars DESC"
    settings = dedup.Scan(level=level, priority=priority, reconsider=reconsider, repo_threshold=0.5)
    for n, source in enumerate(sources):
        table = dedup.scan([source], tmp_path / f"out-{n}", settings, 1 + n % 2, index=tmp_path / "index")
        revised = table.scan("revised").collect()
        assert reconsider or revised.is_empty()
        now = (now | kept(table) | set(revised.filter("kept")["id"])) - set(
            revised.filter(~pl.col("kept"))["id"]
        )
    whole = dedup.scan(sources, tmp_path / "whole", settings, 1)
    assert now == kept(whole)
    assert 0 < len(now) < whole.counts["in"]


def test_the_index_names_the_row_that_a_new_one_went_for(tmp_path):
    first, second, _ = crawls(tmp_path)
    settings = dedup.Scan(level="row")
    old = dedup.scan([first], tmp_path / "old", settings, 1, index=tmp_path / "index")
    new = dedup.scan([second], tmp_path / "new", settings, 1, index=tmp_path / "index")
    gone = new.scan("clusters").filter(~pl.col("kept")).collect()
    matched = gone.filter(pl.col("keeper").str.starts_with("0-"))
    assert len(matched) and set(matched["keeper"]) <= kept(old)
    name, keeper = matched.filter(pl.col("level") == "near")["id", "keeper"].row(0)
    assert f"{name} was dropped for {keeper}" in dedup.explain(new.path, name)
    assert f"--- {keeper}" in dedup.explain(new.path, name), "the text comes from the index"


def test_a_scan_killed_while_it_adds_to_an_index_resumes_to_the_same_bytes(tmp_path):
    first, second, _ = crawls(tmp_path)
    for name in ("calm", "killed"):
        dedup.scan(
            [first], tmp_path / name / "old", dedup.Scan(level="both"), 1, index=tmp_path / name / "index"
        )
    calm = dedup.scan([second], tmp_path / "calm/new", dedup.Scan(), 1, index=tmp_path / "calm/index")
    script = "import sys, dedup; dedup.scan([sys.argv[1]], sys.argv[2], None, 1, index=sys.argv[3])"
    dst, index = tmp_path / "killed/new", tmp_path / "killed/index"
    ended = []
    for trace in ("rows/0002-*", "fates/0002-*", "texts/0002-*", ".units/part-0.json"):
        process = subprocess.Popen([sys.executable, "-c", script, str(second), str(dst), str(index)])
        until(process, tmp_path / "killed", f"new/{trace}", f"index/{trace}")
        process.kill()
        ended.append(process.wait())
    assert -9 in ended, "none was killed before it had ended"
    again = dedup.scan([second], dst, dedup.Scan(), 1, index=index)
    assert again.digest == calm.digest
    stored = {p.relative_to(index): p.read_bytes() for p in index.rglob("*") if p.is_file()}
    wanted = tmp_path / "calm/index"
    assert stored == {p.relative_to(wanted): p.read_bytes() for p in wanted.rglob("*") if p.is_file()}


def test_the_same_scan_again_adds_nothing(tmp_path):
    first = crawls(tmp_path)[0]
    table = dedup.scan([first], tmp_path / "out", dedup.Scan(), 1, index=tmp_path / "index")
    before = (tmp_path / "index/index.json").read_text()
    assert (
        dedup.scan([first], tmp_path / "out", dedup.Scan(), 1, index=tmp_path / "index").digest
        == table.digest
    )
    assert (
        dedup.scan([first], tmp_path / "else", dedup.Scan(), 1, index=tmp_path / "index").digest
        == table.digest
    )
    assert (tmp_path / "index/index.json").read_text() == before


def test_another_column_of_the_same_source_is_another_scan(tmp_path):
    rows = pl.DataFrame({"id": ["a", "b"], "text": ["one text", "two"], "code": ["alike"] * 2})
    source, index = write(tmp_path / "rows", rows), tmp_path / "index"
    names = dedup.Scan(text="text", priority="id")
    assert kept(dedup.scan([source], tmp_path / "texts", names, 1, index=index)) == {"a", "b"}
    with pytest.raises(Refusal, match="stands for another text in the index"):
        dedup.scan([source], tmp_path / "codes", dedup.Scan(text="code", priority="id"), 1, index=index)


def test_files_that_are_called_like_those_of_the_index_do_not_touch_it(tmp_path):
    first, index = crawls(tmp_path)[0], tmp_path / "index"
    settings = dedup.Scan(level="row", priority="text_bytes DESC")
    dedup.scan([first], tmp_path / "old", settings, 1, index=index)
    before = {file: file.read_bytes() for file in index.glob("*/0001-*")}
    again = dedup.scan([index / "texts"], tmp_path / "new", settings, 1, index=index)
    assert before and all(file.read_bytes() == content for file, content in before.items())
    assert again.counts["in"] == sum(again.counts["rejected"].values()) > 0


def test_an_index_that_was_lost_is_not_taken_to_have_what_was_scanned_with_it(tmp_path):
    source, index = crawls(tmp_path)[0], tmp_path / "index"
    table = dedup.scan([source], tmp_path / "out", dedup.Scan(), 1, index=index)
    with pytest.raises(Refusal, match=r"is finished, but .*another does not have its rows"):
        dedup.scan([source], tmp_path / "out", dedup.Scan(), 1, index=tmp_path / "another")
    again = dedup.scan([source], tmp_path / "new", dedup.Scan(), 1, index=tmp_path / "another")
    assert again.digest == table.digest
    assert (tmp_path / "another/index.json").read_text() == (index / "index.json").read_text()
    with pytest.raises(Refusal, match="which a new result clears"):
        dedup.scan([source], tmp_path / "out", dedup.Scan(), 1, index=tmp_path / "out/index")
    with pytest.raises(Refusal, match="not an index"):
        dedup.scan([source], tmp_path / "more", dedup.Scan(), 1, index=tmp_path / "out")


def test_what_is_forgotten_is_nobodys_partner_and_its_text_is_gone(tmp_path):
    text = " ".join(random.Random(1).choices(WORDS, k=200))
    one = pl.DataFrame({"id": ["a", "b", "c"], "repo": ["x", "x", "y"], "text": [text, text, "other"]})
    settings, index = dedup.Scan(level="both"), tmp_path / "index"
    first = dedup.scan([write(tmp_path / "one", one)], tmp_path / "1", settings, 1, index=index)
    assert kept(first) == {"a", "c"}
    answer = dedup.forget(index, ["a", "b"])
    assert answer.splitlines() == ["2 rows forgotten; 1 rows had been dropped for them", "  b"]
    assert dedup.forget(index, ["a"]).startswith("0 rows forgotten")
    stored = pl.concat(pl.read_parquet(file) for file in (index / "texts").glob("*.parquet"))
    assert sorted(stored["text"]) == ["", "", "other"]
    two = pl.DataFrame({"id": ["a", "d"], "repo": ["z", "w"], "text": [text + " more", "other"]})
    second = dedup.scan([write(tmp_path / "two", two)], tmp_path / "2", settings, 1, index=index)
    assert kept(second) == {"a"}, "its name is free again, and d goes for c"
    with pytest.raises(Refusal, match="never had a row nobody"):
        dedup.forget(index, ["nobody"])


def test_a_forget_that_was_stopped_is_finished_before_anything_is_compared(tmp_path, monkeypatch):
    rows = pl.DataFrame({"id": ["a", "b"], "repo": ["x", "x"], "text": ["one two", "other"]})
    source, index = write(tmp_path / "rows", rows), tmp_path / "index"
    dedup.scan([source], tmp_path / "1", dedup.Scan(), 1, index=index)

    def stopped(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(tombstones, "sketch_repos_again", stopped)
        dedup.forget(index, ["a"])
    more = write(tmp_path / "more", rows.with_columns(id="repo" + pl.col("id")))
    with pytest.raises(Refusal, match="forget` was stopped"):
        dedup.scan([more], tmp_path / "2", dedup.Scan(), 1, index=index)
    dedup.forget(index, ["a"])
    assert kept(dedup.scan([more], tmp_path / "2", dedup.Scan(), 1, index=index)) == {"repoa"}


def test_an_index_that_does_not_fit_is_refused_in_one_line(tmp_path):
    first, second, _ = crawls(tmp_path)
    index = tmp_path / "index"
    dedup.scan([first], tmp_path / "out", dedup.Scan(), 1, index=index)

    def refused(source: Path, says: str, settings: dedup.Scan = dedup.Scan()) -> None:
        with pytest.raises(Refusal, match=says):
            dedup.scan([source], tmp_path / "new", settings, 1, index=index)
        assert not (tmp_path / "new/manifest.json").exists()

    refused(second, "was made with threshold = 0.7, not 0.8", dedup.Scan(threshold=0.8))
    refused(second, "ranks rows by", dedup.Scan(priority="batch"))
    other = rows(0, range(60), 0).with_columns(text=pl.col("text") + " changed")
    refused(write(tmp_path / "other", other), "stands for another text in the index")
    signatures = (index / "signatures.u8").read_bytes()
    (index / "signatures.u8").write_bytes(bytes([signatures[0] ^ 1]) + signatures[1:])
    refused(second, "signatures.u8 is missing or changed")
    (index / "signatures.u8").write_bytes(signatures)
    texts = next((index / "texts").iterdir())
    texts.write_bytes(texts.read_bytes()[:-9])
    refused(second, "is damaged or not parquet")
    (index / "index.json").write_text("{")
    refused(second, "index.json is damaged")
