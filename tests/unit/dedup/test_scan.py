"""`dedup scan` end to end on small corpora: same result however it is run, and one line for bad input."""

import gzip
import random
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import corpus
import dedup
from corpus import Refusal
from dedup import kernel, twin
from schemas import SCHEMAS

WORDS = [f"{verb}_{noun}" for verb in ("get", "set", "make", "sum") for noun in map(str, range(300))]


def code(seed: int, size: int = 120) -> list[str]:
    return random.Random(seed).choices(WORDS, k=size)


def edited(words: list[str], seed: int, changes: int) -> list[str]:
    dice, words = random.Random(seed), list(words)
    for _ in range(changes):
        words[dice.randrange(len(words))] = f"new_{dice.random()}"
    return words


def sample_rows() -> pl.DataFrame:
    """40 families: an original, an exact copy, a near copy (J about 0.9), a far one (J about 0.3)."""
    rows = []
    for f in range(40):
        base = code(f)
        for kind, words in (
            ("original", base),
            ("copy", base),
            ("near", edited(base, f, 1)),
            ("far", edited(base, f, 14)),
        ):
            head = "# Copyright someone, licence something\n" if kind == "near" else ""
            text = head + "(".join(words)
            rows.append((f"{f:03d}-{kind}", f"repo{f % 7}-{kind}", text, 3 if kind == "original" else 1))
    rows += [
        ("empty-1", "e", "", 0),
        ("empty-2", "e", "", 0),
        ("short", "e", "one two", 0),
        ("blank", "e", " \n", 0),
    ]
    return pl.DataFrame(rows, schema=["id", "repo", "text", "stars"], orient="row")


def write(folder: Path, frame: pl.DataFrame, shards: int = 3) -> Path:
    folder.mkdir()
    for i in range(shards):
        corpus.write_parquet(folder / f"part-{i}.parquet", frame[i::shards].to_arrow())
    return folder


def kept(table: corpus.Table) -> set[str]:
    return set(pl.concat([table.frame(shard) for shard in table.shards()])["id"])


def run(src: Path, dst: Path, **given) -> corpus.Table:
    return dedup.scan([src], dst, dedup.Scan(**{"level": "row", **given}), workers=1)


@pytest.fixture(scope="session")
def sample(tmp_path_factory):
    return write(tmp_path_factory.mktemp("sample") / "rows", sample_rows())


@pytest.fixture(scope="session")
def scanned(sample, tmp_path_factory):
    return run(sample, tmp_path_factory.mktemp("scanned") / "unique")


def test_one_of_each_family_and_what_is_far_from_it_is_kept(scanned):
    names = kept(scanned)
    assert {f"{f:03d}-{kind}" for f in range(40) for kind in ("original", "far")} <= names
    assert not any(name.endswith(("copy", "near")) for name in names)
    assert {"short", "blank"} <= names and len(names & {"empty-1", "empty-2"}) == 1
    assert scanned.counts == {"in": 164, "out": 83, "rejected": {"exact": 41, "near": 40}}


def test_every_dropped_row_names_a_kept_one_and_how_similar_it_is(scanned):
    clusters = scanned.scan("clusters").collect()
    rejects = {row["key"]: row for row in scanned.scan("rejects").collect().to_dicts()}
    names, gone = kept(scanned), clusters.filter(~pl.col("kept"))
    assert set(gone["keeper"]) <= names and set(gone["id"]) == set(rejects)
    assert (
        clusters["id"].is_unique().all()
        and clusters.schema == pl.DataFrame(SCHEMAS["clusters"].empty_table()).schema
    )
    for row in gone.to_dicts():
        assert row["similarity"] >= 0.7 and row["cluster"] == row["keeper"]
        assert rejects[row["id"]]["reason"] == row["level"]
        assert rejects[row["id"]]["detail"] == f"{row['keeper']} {row['similarity']:.3f}"


def test_the_same_rows_are_kept_in_whatever_order_and_shards_they_come(scanned, tmp_path):
    shuffled = sample_rows().sample(fraction=1, shuffle=True, seed=4)
    again = run(write(tmp_path / "rows", shuffled, shards=5), tmp_path / "unique")
    assert kept(again) == kept(scanned)
    order = ["cluster", "id"]
    assert again.scan("clusters").sort(order).collect().equals(scanned.scan("clusters").sort(order).collect())


def test_any_number_of_workers_writes_the_same_bytes(sample, scanned, tmp_path):
    assert (
        dedup.scan([sample], tmp_path / "unique", dedup.Scan(level="row"), workers=3).digest == scanned.digest
    )


def test_without_the_compiled_kernel_the_bytes_are_the_same(sample, scanned, tmp_path, monkeypatch):
    monkeypatch.setattr(kernel, "engine", twin)
    assert run(sample, tmp_path / "unique").digest == scanned.digest


def test_all_columns_and_types_come_through(sample, scanned):
    before, after = pl.read_parquet(sample / "*.parquet"), pl.read_parquet(scanned.path / "*.parquet")
    assert after.schema == before.schema
    assert after.sort("id").equals(before.filter(pl.col("id").is_in(list(kept(scanned)))).sort("id"))


def test_the_priority_says_which_copy_stays(sample, tmp_path):
    last = run(sample, tmp_path / "unique", priority="stars, id DESC")
    assert {f"{f:03d}-near" for f in range(40)} <= kept(last)
    assert not any(name.endswith(("copy", "original")) for name in kept(last))


def test_licence_headers_count_if_asked(sample, tmp_path):
    texts = ["/* Copyright " + " ".join(code(1, 400)) + " */ " + " ".join(code(n, 60)) for n in (2, 3)]
    rows = pl.DataFrame({"id": ["a", "b"], "text": texts})
    src = write(tmp_path / "rows", rows, shards=1)
    assert len(kept(run(src, tmp_path / "apart"))) == 2
    assert len(kept(run(src, tmp_path / "alike", licence_headers=True))) == 1


def documents(tmp_path: Path) -> Path:
    """Two releases of one project whose documents are cut and ordered differently, and a third project."""
    files = {n: " ".join(code(100 + n, 150)) for n in range(12)}
    other = {n: " ".join(code(200 + n, 150)) for n in range(12)}
    shape = {"new": [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9, 10]], "old": [[10, 9, 2, 1], [0, 3, 4, 5, 6, 7, 8]]}
    rows = []
    for repo, parts in (*shape.items(), ("else", [[0, 1], [2, 3]])):
        for part, members in enumerate(parts):
            text, spans = "", []
            for n in members:
                text += f"# {repo}/päth/file{n}.py\n"
                start = len(text)
                text += f"'é' {(other if repo == 'else' else files)[n]}\n"
                spans.append({"path": f"{n}.py", "start": start, "end": len(text)})
            rows.append((f"{repo}#{part}", repo, part, "repo", text, spans, 9 if repo == "new" else 1))
        readme = f"# {repo}/README\n" + " ".join(code(300, 80))
        span = [{"path": "README", "start": 0, "end": len(readme)}]
        rows.append((f"{repo}#readme", repo, 9, "file", readme, span, 1))
    frame = pl.DataFrame(rows, schema=["id", "repo", "part", "level", "text", "files", "stars"], orient="row")
    frame = frame.with_columns(
        revision=pl.lit("1"),
        language=pl.lit("python"),
        license=pl.lit("MIT"),
        bytes=pl.col("text").str.len_bytes(),
    )
    table = frame.to_arrow().select(SCHEMAS["documents"].names).cast(SCHEMAS["documents"])
    with corpus.building(tmp_path / "documents", "documents", made_by="test", settings={}) as out:
        for i in range(2):
            out.write(f"{i:05d}", {"": table.take(list(range(i, len(table), 2)))}, came_in=1)
        out.seal()
    return tmp_path / "documents"


@pytest.mark.parametrize(
    ("level", "names"),
    [
        ("row", {"new#0", "new#1", "old#0", "old#1", "else#0", "else#1", "new#readme"}),
        ("repo", {"new#0", "new#1", "else#0", "else#1", "new#readme"}),
        ("both", {"new#0", "new#1", "else#0", "else#1", "new#readme"}),
    ],
)
def test_a_repo_is_compared_whole_however_its_documents_are_cut(tmp_path, level, names):
    table = dedup.scan([documents(tmp_path)], tmp_path / "unique", dedup.Scan(level=level), workers=1)
    found = {name if "readme" not in name else "new#readme" for name in kept(table)}
    assert found == names and len(kept(table)) == len(names)
    assert table.manifest["table"] == "documents/1"
    assert [shard.name for shard in table.shards()] == ["00000.parquet", "00001.parquet"]
    if level != "row":
        gone = table.scan("rejects").filter(pl.col("reason") == "near_repo").collect()
        assert set(gone["key"]) == {"old#0", "old#1"} and set(gone["detail"]) == {"new 1.000"}
        assert gone["files"].sum() == 11
        whole = table.scan("clusters").filter(pl.col("level") == "near_repo").collect()
        assert whole.filter("kept")["id"].to_list() == ["new"]


def test_a_second_run_is_up_to_date(sample, scanned):
    before = (scanned.path / "manifest.json").read_text()
    assert run(sample, scanned.path).digest == scanned.digest
    assert (scanned.path / "manifest.json").read_text() == before


def test_jsonl_arrow_and_folders_give_what_parquet_gives(scanned, tmp_path):
    rows = sample_rows()
    (tmp_path / "lines.jsonl.gz").write_bytes(gzip.compress(rows.write_ndjson().encode()))
    assert kept(run(tmp_path / "lines.jsonl.gz", tmp_path / "a")) == kept(scanned)
    (tmp_path / "hub").mkdir()
    table = rows.to_arrow()
    with pa.ipc.new_stream(tmp_path / "hub" / "data-00000-of-00001.arrow", table.schema) as stream:
        stream.write_table(table, max_chunksize=50)
    assert kept(run(tmp_path / "hub", tmp_path / "b")) == kept(scanned)
    (tmp_path / "code" / "src").mkdir(parents=True)
    for name, text in rows.select("id", "text").iter_rows():
        (tmp_path / "code" / "src" / f"{name}.py").write_text(text)
    (tmp_path / "code" / "logo.png").write_bytes(b"\x89PNG\0\xff")
    found = run(tmp_path / "code", tmp_path / "c")
    assert len(kept(found)) == scanned.counts["out"]


def test_lines_in_files_that_differ_in_their_endings_alone_are_all_read(tmp_path):
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows/a.jsonl").write_text('{"text": "one"}\n')
    (tmp_path / "rows/a.jsonl.gz").write_bytes(gzip.compress(b'{"text": "two"}\n'))
    table = run(tmp_path / "rows", tmp_path / "unique", priority="text_bytes")
    assert sorted(pl.read_parquet(table.path / "*.parquet")["text"]) == ["one", "two"]


def spoiled(tmp_path: Path, what: str) -> Path:
    src, rows = tmp_path / "rows", sample_rows()
    if what == "no text":
        return write(src, rows.rename({"text": "body"}))
    if what == "ids twice":
        return write(src, rows.with_columns(id=pl.lit("a")))
    if what == "null text":
        return write(src, rows.with_columns(text=pl.when(pl.col("id") != "007-far").then("text")))
    if what == "null id":
        return write(src, rows.with_columns(id=pl.when(pl.col("id") != "007-far").then("id")))
    if what == "not text":
        return write(src, rows.with_columns(text=pl.lit(3)))
    if what == "odd spans":
        ends = pl.col("text").str.len_chars() + (pl.col("id") == "007-far").cast(pl.Int64)
        spans = pl.concat_list(pl.struct(start=0, end=ends))
        return write(src, rows.with_columns(files=spans))
    write(src, rows)
    if what == "mixed":
        corpus.write_parquet(src / "zzz.parquet", rows.with_columns(stars=pl.lit("x")).to_arrow())
    if what == "cut off":
        whole = (src / "part-1.parquet").read_bytes()
        (src / "part-1.parquet").write_bytes(whole[: len(whole) // 2])
    if what == "damaged inside":
        whole = bytearray((src / "part-1.parquet").read_bytes())
        whole[2000:2100] = bytes(100)
        (src / "part-1.parquet").write_bytes(whole)
    if what == "cut lines":
        lines = gzip.compress(rows.write_ndjson().encode())
        (tmp_path / "lines.jsonl.gz").write_bytes(lines[: len(lines) // 2])
        return tmp_path / "lines.jsonl.gz"
    if what == "not utf-8":
        raw = pa.array([b"ok", b"\xff\xfe"], pa.binary())
        text = pa.Array.from_buffers(pa.string(), 2, raw.buffers())
        pq.write_table(pa.table({"id": ["a", "b"], "text": text}), tmp_path / "bad.parquet")
        return tmp_path / "bad.parquet"
    return src if what != "nothing" else tmp_path / "nowhere"


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("no text", "no column text, content, code"),
        ("not text", "column text holds int32"),
        ("ids twice", "id a stands for more than one row"),
        ("null text", "has no text"),
        ("null id", "row .* has no id"),
        ("mixed", "differs from .* in column stars"),
        ("cut off", "damaged or not parquet"),
        ("damaged inside", r"part-1.parquet is damaged .*: replace it or leave it out"),
        ("cut lines", "Truncated compressed stream"),
        ("not utf-8", "not UTF-8"),
        ("odd spans", "files has spans that leave their text"),
        ("nothing", "does not exist"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing_that_looks_finished(tmp_path, what, says):
    with pytest.raises(Refusal, match=says) as refused:
        run(spoiled(tmp_path, what), tmp_path / "unique")
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "unique" / "manifest.json").exists()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"threshold": 0.1}, "threshold is 0.1"),
        ({"ngram": 0}, "ngram is 0"),
        ({"bands": 10}, "go together"),
        ({"bands": 100, "rows": 9}, "give fewer"),
        ({"priority": "starz DESC"}, 'priority: "starz DESC" cannot be evaluated'),
        ({"text": "body"}, "no column body"),
    ],
)
def test_settings_that_cannot_be_are_refused(sample, tmp_path, given, says):
    with pytest.raises(Refusal, match=says):
        run(sample, tmp_path / "unique", **given)


def test_a_copy_without_spans_is_dropped_like_any_other(tmp_path):
    rows = pl.DataFrame({"id": ["a", "b"], "text": ["x y"] * 2, "files": [[{"start": 0, "end": 3}], None]})
    table = run(write(tmp_path / "rows", rows, shards=1), tmp_path / "unique", priority="id")
    assert table.scan("rejects").collect().select("key", "files").rows() == [("b", 0)]


def test_presets_fill_in_what_is_not_given():
    from dedup.config import resolve

    assert resolve(dedup.Scan(preset="bigcode")).bands == 25
    assert resolve(dedup.Scan(preset="deepseek", repo_threshold=0.8)).repo_threshold == 0.8
    assert resolve(dedup.Scan(preset="deepseek")).level == "repo"
