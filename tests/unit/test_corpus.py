"""A table is finished when its manifest is there, and then it is what the manifest says."""

import errno
import signal
import subprocess
import sys
import textwrap
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import corpus
import passes
from corpus import Refusal

EDGE = {"repo": ["r"], "importer": ["b.py"], "imported": ["a.py"]}


def edges(n: int = 1) -> pl.DataFrame:
    return pl.DataFrame({name: values * n for name, values in EDGE.items()})


def write(path: Path, units: list[str], settings: object = None, rows: int = 1) -> corpus.Table:
    with corpus.building(path, "edges", made_by="test write", settings=settings or {}) as out:
        if isinstance(out, corpus.Table):
            return out
        for unit in out.left(units):
            lost = corpus.rejects([(unit, "odd", None, 1, 7)], "test write")
            out.write(unit, {"": edges(rows), "rejects": lost}, came_in=rows + 1)
        return out.seal()


def test_a_sealed_table_reads_back_with_its_parts_and_counts(tmp_path: Path) -> None:
    write(tmp_path / "t", ["one", "two"])
    table = corpus.read(tmp_path / "t", "edges")
    assert table.scan().collect().height == 2
    assert table.scan("rejects").collect()["reason"].to_list() == ["odd", "odd"]
    assert table.counts == {"in": 4, "out": 2, "rejected": {"odd": 2}}


def test_a_part_without_shards_reads_as_an_empty_table_of_its_schema(tmp_path: Path) -> None:
    table = write(tmp_path / "t", ["one"])
    assert table.scan("clusters").collect().columns == corpus.SCHEMAS["clusters"].names


def test_the_digest_depends_on_content_and_not_on_the_order_of_units_or_the_clock(tmp_path: Path) -> None:
    one = write(tmp_path / "a", ["one", "two"])
    two = write(tmp_path / "b", ["two", "one"])
    other = write(tmp_path / "c", ["one", "two"], rows=2)
    assert one.digest == two.digest != other.digest


def test_a_second_run_with_the_same_plan_does_nothing(tmp_path: Path) -> None:
    write(tmp_path / "t", ["one"])
    before = (tmp_path / "t/one.parquet").stat().st_mtime_ns
    write(tmp_path / "t", ["one"])
    assert (tmp_path / "t/one.parquet").stat().st_mtime_ns == before


def test_other_settings_clear_what_the_old_ones_wrote(tmp_path: Path) -> None:
    write(tmp_path / "t", ["old"], settings={"n": 1})
    table = write(tmp_path / "t", ["new"], settings={"n": 2})
    assert [shard.name for shard in table.shards()] == ["new.parquet"]
    assert not (tmp_path / "t/old.parquet").exists()


def test_an_interrupted_run_is_not_a_table_and_is_resumed_unit_by_unit(tmp_path: Path) -> None:
    path = tmp_path / "t"
    with pytest.raises(KeyError), corpus.building(path, "edges", made_by="test write", settings={}) as out:
        assert isinstance(out, corpus.Output)
        lost = corpus.rejects([("one", "odd", None, 1, 7)], "test write")
        out.write("one", {"": edges(), "rejects": lost}, came_in=2)
        raise KeyError("killed")
    with pytest.raises(Refusal, match=r"has no manifest\.json"):
        corpus.read(path)
    written = (path / "one.parquet").stat().st_mtime_ns
    resumed = write(path, ["one", "two"])
    assert (path / "one.parquet").stat().st_mtime_ns == written
    assert resumed.digest == write(tmp_path / "undisturbed", ["one", "two"]).digest


def test_a_process_killed_between_shard_and_record_does_the_unit_again(tmp_path: Path) -> None:
    script = textwrap.dedent(
        """
        import os, signal, sys
        from pathlib import Path
        import corpus
        sys.path.insert(0, sys.argv[2])
        from test_corpus import edges
        with corpus.building(Path(sys.argv[1]), "edges", made_by="test write", settings={}) as out:
            corpus.write_aside = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
            out.write("one", {"": edges()}, came_in=1)
        """
    )
    path = tmp_path / "t"
    done = subprocess.run([sys.executable, "-c", script, str(path), str(Path(__file__).parent)])
    assert done.returncode == -signal.SIGKILL
    assert (path / "one.parquet").exists() and not (path / "manifest.json").exists()
    assert write(path, ["one"]).digest == write(tmp_path / "undisturbed", ["one"]).digest


def test_a_changed_shard_is_refused_by_its_hash(tmp_path: Path) -> None:
    table = write(tmp_path / "t", ["one"])
    path = tmp_path / "t/one.parquet"
    content = bytearray(path.read_bytes())
    content[60] ^= 1
    path.write_bytes(content)
    with pytest.raises(Refusal, match="hash differs"):
        table.frame(table.shards()[0])


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda t: (t / "one.parquet").unlink(), "missing"),
        (lambda t: (t / "manifest.json").write_text("{"), "damaged"),
        (lambda t: (t / "manifest.json").write_text('{"parts": {}}'), "damaged"),
        (lambda t: (t / "manifest.json").unlink(), "has no manifest.json"),
    ],
)
def test_a_damaged_table_is_refused_in_one_line(tmp_path: Path, harm: object, words: str) -> None:
    write(tmp_path / "t", ["one"])
    harm(tmp_path / "t")  # type: ignore[operator]
    with pytest.raises(Refusal, match=words) as refusal:
        corpus.read(tmp_path / "t")
    assert "\n" not in str(refusal.value)


def test_a_table_of_another_schema_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "t", ["one"])
    with pytest.raises(Refusal, match="holds edges/1, but files/1 is wanted"):
        corpus.read(tmp_path / "t", "files")


def test_a_directory_of_somebody_elses_files_is_never_cleared(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(Refusal, match="not a table"):
        write(tmp_path, ["one"])
    assert (tmp_path / "thesis.tex").exists()


def test_a_manifest_of_somebody_elses_does_not_make_a_directory_a_table(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"manifest_version": 3}')
    (tmp_path / "background.js").touch()
    with pytest.raises(Refusal, match="are not a table"):
        write(tmp_path, ["one"])
    assert (tmp_path / "background.js").exists()


def test_a_verb_never_clears_the_table_that_it_is_about_to_read(tmp_path: Path) -> None:
    table = write(tmp_path / "t", ["one"])
    again = corpus.building(tmp_path / "t", "edges", made_by="test again", settings={}, inputs=[table])
    with pytest.raises(Refusal, match="another destination"), again:
        pass
    assert corpus.read(tmp_path / "t").scan().collect().height == 1


def test_two_writers_of_one_table_do_not_mix(tmp_path: Path) -> None:
    with (
        corpus.building(tmp_path / "t", "edges", made_by="test write", settings={}),
        pytest.raises(Refusal, match="another process"),
    ):
        write(tmp_path / "t", ["one"])


def test_a_wrong_column_or_a_null_is_caught_at_the_border(tmp_path: Path) -> None:
    schema = corpus.SCHEMAS["edges"]
    with pytest.raises(AssertionError, match="columns differ"):
        corpus.conform(pa.table({"repo": ["r"]}), schema, "test")
    with pytest.raises(AssertionError, match="null in column imported"):
        corpus.conform(edges().with_columns(imported=None).to_arrow(), schema, "test")


def test_row_groups_are_capped_by_bytes_not_by_rows(tmp_path: Path) -> None:
    text = ["x" * (corpus.ROW_GROUP_BYTES // 4)] * 10 + ["y"] * 100
    corpus.write_parquet(tmp_path / "t.parquet", pa.table({"text": pa.array(text, pa.large_string())}))
    file = pq.ParquetFile(tmp_path / "t.parquet")
    sizes = [file.metadata.row_group(i).column(0).total_uncompressed_size for i in range(file.num_row_groups)]
    assert file.metadata.num_rows == 110 and len(sizes) > 1
    assert all(file.read_row_group(i).nbytes <= corpus.ROW_GROUP_BYTES for i in range(len(sizes)))


def test_arrays_and_plain_files_are_sealed_like_rows(tmp_path: Path) -> None:
    with corpus.building(tmp_path / "t", "tokens", made_by="test", settings={}) as out:
        assert isinstance(out, corpus.Output)
        array = np.arange(6, dtype=np.uint16).reshape(2, 3)
        out.write("rows", {"": array, "config.json": b"{}"}, came_in=2)
        table = out.seal()
    assert [(shard.name, shard.rows) for shard in table.shards()] == [("config.json", 0), ("rows.npy", 2)]
    assert np.array_equal(np.load(table.file(table.shards()[1])), array)


def test_a_full_disk_leaves_nothing_that_looks_finished(tmp_path: Path) -> None:
    with pytest.raises(OSError) as full:
        write_to_full_device(tmp_path)
    assert full.value.errno == errno.ENOSPC
    assert not (tmp_path / "t/manifest.json").exists()


def write_to_full_device(tmp_path: Path) -> None:
    with corpus.building(tmp_path / "t", "edges", made_by="test", settings={}) as out:
        assert isinstance(out, corpus.Output)
        corpus.unfinished(tmp_path / "t/one.parquet").symlink_to("/dev/full")
        out.write("one", {"": edges()}, came_in=1)
        out.seal()


def _unit(out: corpus.Output, unit: str) -> None:
    out.write(unit, {"": edges(int(unit))}, came_in=int(unit))


def in_processes(path: Path, workers: int) -> str:
    with corpus.building(path, "edges", made_by="test", settings={}) as out:
        assert isinstance(out, corpus.Output)
        units = [str(n) for n in range(1, 6)]
        passes.each(partial(_unit, out), out.left(units), label="test", workers=workers)
        return out.seal().digest


def test_the_number_of_workers_does_not_change_the_digest(tmp_path: Path) -> None:
    assert in_processes(tmp_path / "one", 1) == in_processes(tmp_path / "two", 2)


def test_what_was_measured_is_kept_but_does_not_change_the_digest(tmp_path: Path) -> None:
    digests = set()
    for seconds in (b"1.0", b"2.0"):
        path = tmp_path / seconds.decode()
        with corpus.building(path, "model", made_by="test", settings={}) as out:
            assert isinstance(out, corpus.Output)
            out.write("one", {"config.json": b"{}", "measured/log.jsonl": seconds})
            table = out.seal()
        assert [shard.name for shard in table.shards("measured")] == ["measured/log.jsonl"]
        digests.add(table.digest)
    assert len(digests) == 1
