"""`dedup substrings` end to end: what it reports and cuts, however it is run."""

import random
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import corpus
import dedup
from corpus import Refusal
from dedup import pieces, repeats, twin_windows, windows
from dedup.exchange import Exchange
from schemas import SCHEMAS
from tests.waiting import until

WORD = re.compile(r"[0-9A-Za-z_\x80-\U0010ffff]+")
N = 6
SETTINGS = {"words": N, "priority": "stars DESC, id"}


def sample_rows() -> pl.DataFrame:
    """Texts patched together from passages, some longer than a repeat has to be, some shorter; and copies."""
    dice = random.Random(8)
    passages = [
        "".join(dice.choices(["ab ", "c(", "dé\n", "ee + ", "f1;  "], k=dice.choice([2, 4, 9, 30])))
        for _ in range(40)
    ]
    texts = ["/ ".join(dice.choices(passages, k=dice.randrange(1, 9))) for _ in range(120)]
    texts += ["", " \n", "few words only", "a " * 50, "x a " * 9, texts[3], texts[4], texts[3] + " tail"]
    stars = [dice.randrange(3) for _ in texts]
    return pl.DataFrame({"id": [f"r{n:03d}" for n in range(len(texts))], "text": texts, "stars": stars})


def write(folder: Path, frame: pl.DataFrame, shards: int = 3) -> Path:
    folder.mkdir()
    for i in range(shards):
        corpus.write_parquet(folder / f"part-{i}.parquet", frame[i::shards].to_arrow())
    return folder


def run(src: Path, dst: Path, **given) -> corpus.Table:
    return dedup.substrings([src], dst, dedup.Substrings(**SETTINGS | given), workers=1)


def report(table: corpus.Table) -> pl.DataFrame:
    return table.scan("repeats").collect().sort("id", "start")


def ranked(frame: pl.DataFrame) -> dict[str, str]:
    """Texts by id, best row first."""
    return dict(frame.sort("stars", "id", descending=[True, False]).select("id", "text").iter_rows())


def cut_characters(spans: pl.DataFrame) -> dict[str, set[int]]:
    cut: dict[str, set[int]] = {}
    for name, start, end in spans.select("id", "start", "end").iter_rows():
        cut.setdefault(name, set()).update(range(start, end))
    return cut


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    return write(tmp_path_factory.mktemp("sample") / "rows", sample_rows())


@pytest.fixture(scope="module")
def reported(sample, tmp_path_factory):
    return run(sample, tmp_path_factory.mktemp("reported") / "repeats")


@pytest.fixture(scope="module")
def masked(sample, tmp_path_factory):
    return run(sample, tmp_path_factory.mktemp("masked") / "rows", mask=True)


def test_every_span_stands_where_the_report_says_and_nobody_better_has_it(reported):
    texts, spans = ranked(sample_rows()), report(reported)
    order = {name: number for number, name in enumerate(texts)}
    assert spans.schema == pl.DataFrame(SCHEMAS["repeats"].empty_table()).schema and len(spans) > 100
    for name, start, end, words, first, first_start in spans.iter_rows():
        passage = texts[name][start:end]
        assert texts[first][first_start : first_start + end - start] == passage
        assert words == len(WORD.findall(passage)) >= N
        assert (order[first], first_start) < (order[name], start)
    assert spans["id"].n_unique() > spans.filter(pl.col("first") == pl.col("id"))["id"].n_unique() > 0


def test_the_spans_are_all_that_a_reader_of_everything_finds(reported):
    first: dict[str, tuple[str, int]] = {}
    expected: dict[str, set[int]] = {}
    for name, text in ranked(sample_rows()).items():
        found = [match.span() for match in WORD.finditer(text)]
        for (start, _), (_, end) in zip(found, found[N - 1 :], strict=False):
            there, at = first.setdefault(text[start:end], (name, start))
            if there != name or at + end - start <= start:
                expected.setdefault(name, set()).update(range(start, end))
    assert cut_characters(report(reported)) == expected


def test_a_word_that_is_cut_stands_in_what_is_left(masked):
    texts, spans = ranked(sample_rows()), report(masked)
    cut, gone = cut_characters(spans), set(masked.scan("rejects").collect()["key"])
    assert gone and masked.counts["rejected"] == {"repeated": len(gone)}
    by_row = spans.partition_by("id", as_dict=True)
    for name, places in cut.items():
        for at in places:
            here, place = name, at
            while place in cut.get(here, ()):  # every step leads to a better row, or further left
                span = by_row[(here,)].filter((pl.col("start") <= place) & (place < pl.col("end"))).row(0)
                here, place = span[4], span[5] + place - span[1]
            assert texts[here][place] == texts[name][at]
            assert here not in gone or not WORD.match(texts[here][place])


def test_between_the_cuts_nothing_is_left_that_stands_twice(masked):
    rows, cut = ranked(sample_rows()), cut_characters(report(masked))
    seen: dict[str, tuple[str, int]] = {}
    for name, text in rows.items():
        marked = "".join("\x00" if at in cut.get(name, ()) else letter for at, letter in enumerate(text))
        for piece in re.finditer("[^\x00]+", marked):
            found = [match.span() for match in WORD.finditer(piece[0])]
            for (start, _), (_, end) in zip(found, found[N - 1 :], strict=False):
                there, at = seen.setdefault(piece[0][start:end], (name, piece.start() + start))
                assert there == name and at + end - start > piece.start() + start, "more than an overlap"


def test_a_row_of_blanks_around_its_repeats_is_dropped(tmp_path):
    rows = pl.DataFrame({"id": ["a", "b"], "text": ["f(x, y, z, a, b)", " " * 999 + "f(x, y, z, a, b"]})
    src = write(tmp_path / "rows", rows, shards=1)
    assert run(src, tmp_path / "masked", mask=True, priority="id").counts["rejected"] == {"repeated": 1}


def test_masked_rows_are_the_rows_without_the_spans(sample, masked, tmp_path):
    cut, gone = cut_characters(report(masked)), set(masked.scan("rejects").collect()["key"])
    before = pl.read_parquet(sample / "*.parquet").filter(~pl.col("id").is_in(gone))
    after = pl.read_parquet(masked.path / "*.parquet")
    assert after.drop("text").equals(before.drop("text")) and after.schema == before.schema
    for name, old, new in zip(before["id"], before["text"], after["text"], strict=True):
        assert new == "".join(letter for at, letter in enumerate(old) if at not in cut.get(name, ()))
    marked = run(sample, tmp_path / "marked", mask=True, placeholder="⟨…⟩")
    assert report(marked).equals(report(masked))
    texts = pl.read_parquet(marked.path / "*.parquet")["text"]
    assert texts.str.replace_all("⟨…⟩", "", literal=True).to_list() == after["text"].to_list()


def test_any_order_of_rows_and_number_of_workers_gives_the_same_repeats(sample, reported, tmp_path):
    shuffled = sample_rows().sample(fraction=1, shuffle=True, seed=4)
    again = run(write(tmp_path / "rows", shuffled, shards=5), tmp_path / "repeats")
    assert report(again).equals(report(reported))
    settings = dedup.Substrings(**SETTINGS)
    assert dedup.substrings([sample], tmp_path / "three", settings, workers=3).digest == reported.digest


def test_without_the_compiled_kernel_the_bytes_are_the_same(sample, masked, tmp_path, monkeypatch):
    monkeypatch.setattr(windows, "engine", twin_windows)
    assert run(sample, tmp_path / "rows", mask=True).digest == masked.digest


def test_little_memory_at_a_time_gives_the_same_repeats(sample, reported, tmp_path, monkeypatch):
    monkeypatch.setattr(repeats, "HELD", 40)
    monkeypatch.setattr(repeats, "BIN_WINDOWS", 100)
    assert run(sample, tmp_path / "bins").digest == reported.digest
    monkeypatch.setattr(pieces, "PIECE_BYTES", 50)
    assert cut_characters(report(run(sample, tmp_path / "pieces"))) == cut_characters(report(reported))


def test_a_run_killed_at_any_pass_resumes_to_the_same_bytes(sample, masked, tmp_path):
    script = (
        "import sys, dedup; dedup.substrings([sys.argv[1]], sys.argv[2],"
        f" dedup.Substrings(**{SETTINGS}, mask=True), workers=1)"
    )
    dst = tmp_path / "rows"
    ended = []
    for trace in (".work/rows/part-0.parquet", ".work/repeats/0-1.bounds", ".units/part-0.json"):
        process = subprocess.Popen([sys.executable, "-c", script, str(sample), str(dst)])
        until(process, dst, trace)
        process.kill()  # SIGKILL: no chance to tidy up
        ended.append(process.wait())
    assert -9 in ended, "none was killed before it had ended"
    assert run(sample, dst, mask=True).digest == masked.digest
    assert not (dst / ".work").exists()


def test_a_line_of_millions_of_words_is_one_row_like_any_other(tmp_path, monkeypatch):
    monkeypatch.setattr(repeats, "HELD", 1 << 20)
    numbers = " ".join(f"{n:x}" for n in range(100_000))
    endless = "zzzzzzzz " * 2_000_000
    rows = pl.DataFrame({"id": ["a", "b", "c"], "text": [endless, numbers, f"x {numbers[6:]} y"]})
    spans = report(
        run(write(tmp_path / "rows", rows, shards=1), tmp_path / "repeats", priority="id", words=50)
    )
    own, copied = spans.filter(pl.col("id") == "a"), spans.filter(pl.col("id") == "c")
    assert own["start"].min() == 450 and own["end"].max() == 17_999_999, "all but the first fifty"
    assert copied.rows() == [("c", 2, len(numbers) - 4, 99_997, "b", 6)]
    assert len(spans) < 5


def documents(tmp_path: Path) -> Path:
    """Two documents that share a file, and a licence header that all files have."""
    head = "/* Copyright somebody: a licence of many more words than a repeat has to have, to be kept. */\n"
    shared = "def shared(ünï):\n    return ünï + one + two + three + four\n"
    rows = []
    for name, own in (("new", "first = 1\n"), ("old", "second = 2\n"), ("copy", "")):
        text, spans = "", []
        for path, body in (
            ("a.py", own and head + own),
            ("b.py", head + shared),
            ("c.py", own and f"{own} ü"),
        ):
            text += f"# {name}/{path}\n"
            spans.append({"path": path, "start": len(text), "end": len(text) + len(body)})
            text += body
        rows.append((name, name, 0, "repo", text, spans, 9 if name == "new" else 1))
    frame = pl.DataFrame(rows, schema=["id", "repo", "part", "level", "text", "files", "stars"], orient="row")
    frame = frame.with_columns(
        revision=pl.lit("1"),
        language=pl.lit("python"),
        license=pl.lit("MIT"),
        bytes=pl.col("text").str.len_bytes(),
    )
    table = frame.to_arrow().select(SCHEMAS["documents"].names).cast(SCHEMAS["documents"])
    with corpus.building(tmp_path / "documents", "documents", made_by="test", settings={}) as out:
        out.write("00000", {"": table}, came_in=3)
        out.seal()
    return tmp_path / "documents"


def test_in_documents_files_keep_their_places_and_licences_stay(tmp_path):
    table = run(documents(tmp_path), tmp_path / "rows", mask=True, placeholder="…", words=8)
    assert table.manifest["table"] == "documents/1"
    (new, old), gone = table.frame(table.shards()[0]).to_dicts(), table.scan("rejects").collect().to_dicts()
    texts = [[row["text"][f["start"] : f["end"]] for f in row["files"]] for row in (new, old)]
    assert texts[0][1].endswith("three + four\n") and "Copyright" in texts[0][1]
    assert texts[1][1].endswith("kept. */\n…\n") and texts[1][2] == "second = 2\n ü"
    assert old["bytes"] == len(old["text"].encode())
    assert [(row["key"], row["reason"], row["detail"], row["files"]) for row in gone] == [
        ("copy", "repeated", "new", 3)
    ]
    said = dedup.explain(tmp_path / "rows", "old")
    assert "words  new at " in said and "Copyright" not in said
    heads = run(tmp_path / "documents", tmp_path / "heads", licence_headers=True, words=8)
    assert "Copyright" in dedup.explain(heads.path, "old")


def test_explain_and_stats_tell_what_is_repeated_and_from_where(reported):
    spans = report(reported)
    name, start, end, words, first, first_start = spans.row(0)
    said = dedup.explain(reported.path, name)
    assert f"{start}-{end}" in said and f"{words} words  {first} at {first_start}" in said
    assert dict(sample_rows().select("id", "text").iter_rows())[name][start : start + 5] in said
    with pytest.raises(Refusal, match="never had a row nobody"):
        dedup.explain(reported.path, "nobody")
    told, rows = dedup.stats(reported.path), spans["id"].n_unique()
    assert told.startswith(f"{len(sample_rows())} rows, {rows} of them with {len(spans)} repeats")
    most = spans.group_by("first", "first_start").len()["len"].max()
    assert f"first)\n  {most:>9,}  " in told


def test_pairs_that_were_cut_off_are_not_made_up(tmp_path):
    pairs, bins = Exchange(tmp_path), np.array([1, 2])
    pairs.write("a", [(np.arange(6, dtype=np.uint64).reshape(3, 2), bins)])
    assert pairs.read(["a"], 1, 2)[0].tolist() == [[2, 3], [4, 5]]
    with (tmp_path / "a.pairs").open("r+b") as file:
        file.truncate(40)
    with pytest.raises(OSError, match="cut off"):
        pairs.read(["a"], 1, 2)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"words": 1}, "words is 1"),
        ({"words": 5000}, "from 2 to 1024"),
        ({"placeholder": "x"}, "give --mask"),
        ({"priority": "starz"}, "cannot be evaluated"),
        ({"text": "body"}, "no column body"),
    ],
)
def test_settings_that_cannot_be_are_refused(sample, tmp_path, given, says):
    with pytest.raises(Refusal, match=says):
        run(sample, tmp_path / "repeats", **given)


def test_files_that_overlap_are_refused(tmp_path):
    files = [[{"path": "a", "start": 0, "end": 5}, {"path": "b", "start": 4, "end": 9}]]
    rows = pl.DataFrame({"id": ["a"], "text": ["a b c d e f"], "files": files})
    with pytest.raises(Refusal, match="files of row 0 overlap"):
        run(write(tmp_path / "overlap", rows, shards=1), tmp_path / "repeats", priority="")
