"""The whole chain through the project's own Makefile: complete, accounted for, the same every time."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

import corpus

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent

TABLES = ["repos", "files", "kept", "redacted", "parsed", "documents", "unique", "problems", "corpus"]
TABLES += ["tokenizer", "tokens", "model", "samples", "verdicts", "report"]
UP_TO_TOKENS = TABLES[: TABLES.index("tokens") + 1]


def make(*targets: str, run: Path, out: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Run the project's own Makefile with this environment."""
    words = ["make", "-C", str(ROOT), *targets, f"RUN={run}", f"OUT={out}", f"VENV={BIN.parent}"]
    words += [f"{name}={value}" for name, value in variables.items()]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    return subprocess.run(words, capture_output=True, text=True, env=environment)


@pytest.fixture(scope="module")
def undisturbed(run_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with one worker, start to end."""
    out = tmp_path_factory.mktemp("undisturbed")
    done = make("report", run=run_file, out=out, WORKERS="1")
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def digests(out: Path, tables: list[str]) -> dict[str, str]:
    return {table: corpus.read(out / table).digest for table in tables}


def test_every_table_is_sealed_and_the_report_is_a_page(undisturbed: Path) -> None:
    assert all(corpus.read(undisturbed / table) for table in TABLES)
    page = (undisturbed / "report/index.html").read_text()
    assert page.lower().startswith("<!doctype html>") and "humaneval" in page.lower()


def verbs(done: "subprocess.CompletedProcess[str]") -> list[str]:
    """The verbs that make ran, such as "crawl order"."""
    lines = [line.removeprefix(f"{BIN}/").split() for line in done.stdout.splitlines()]
    return [
        " ".join(words[:2]) for words in lines if words and words[0] in ("crawl", "dedup", "train", "evals")
    ]


def test_a_second_make_runs_no_verb(undisturbed: Path, run_file: Path) -> None:
    done = make("report", run=run_file, out=undisturbed, WORKERS="1")
    assert done.returncode == 0 and verbs(done) == []


def test_every_file_is_accounted_for_at_every_stage(undisturbed: Path) -> None:
    def table(name: str) -> corpus.Table:
        return corpus.read(undisturbed / name)

    def dropped(name: str) -> int:
        return int(table(name).scan("rejects").select(pl.col("files").sum()).collect().item())

    def held(name: str) -> int:
        rows = table(name).scan()
        return int(rows.select(pl.col("files").list.len().sum()).collect().item())

    fetched = table("files").counts
    assert fetched["in"] == fetched["out"] + dropped("files") and fetched["in"] > 30
    for name in ("files", "kept", "redacted", "documents", "corpus"):
        counts = table(name).counts
        assert counts["in"] == counts["out"] + sum(counts["rejected"].values()), name
    files = table("files").scan().collect().height
    kept = table("kept").scan().collect().height
    assert files == kept + dropped("kept")
    redacted = table("redacted").scan().collect().height
    assert kept == redacted + dropped("redacted")
    assert redacted == table("parsed").scan().collect().height
    assert redacted == held("documents") + dropped("documents")
    assert held("documents") == held("unique") + dropped("unique")
    assert held("unique") == held("corpus") + dropped("corpus")


@pytest.mark.parametrize(
    ("table", "key", "reason"),
    [
        ("files", "folder/numbers:src/blob.bin", "binary"),
        ("files", "folder/numbers:src/hidden.py", "binary"),
        ("files", "folder/numbers:notes.xyz", "no_language"),
        ("files", "folder/shapes:link.py", "symlink"),
        ("kept", "folder/numbers:src/wide.py", "longest_line"),
        ("kept", "folder/numbers:src/digits.py", "alphabetic"),
        ("corpus", "folder/numbers:src/solution.py", "contaminated"),
        ("corpus", "folder/numbers:src/broken.py", "syntax_error"),
    ],
)
def test_each_planted_file_is_dropped_by_its_rule(
    undisturbed: Path, table: str, key: str, reason: str
) -> None:
    rows = corpus.read(undisturbed / table).scan("rejects").filter(pl.col("key") == key).collect()
    assert rows["reason"].to_list() == [reason]


def test_the_fork_is_dropped_for_its_original_and_the_clusters_say_so(undisturbed: Path) -> None:
    clusters = corpus.read(undisturbed / "unique").scan("clusters").filter(~pl.col("kept")).collect()
    assert clusters.height > 0 and clusters["similarity"].min() >= 0.7  # type: ignore[operator]
    pairs = set(clusters.select("id", "keeper").iter_rows())
    assert any(
        {one.split("#")[0], two.split("#")[0]} == {"folder/shapes", "folder/shapes-fork"}
        for one, two in pairs
    )


def test_files_stand_after_the_files_they_import_and_spans_give_their_text(undisturbed: Path) -> None:
    documents = corpus.read(undisturbed / "documents").scan().collect()
    texts = {
        (row["repo"], row["path"]): row["text"]
        for row in corpus.read(undisturbed / "kept").scan().collect().iter_rows(named=True)
    }
    for row in documents.iter_rows(named=True):
        for span in row["files"]:
            assert row["text"][span["start"] : span["end"]] == texts[row["repo"], span["path"]]
    geometry = documents.filter(pl.col("repo") == "folder/geometry").row(0, named=True)
    assert [span["path"] for span in geometry["files"]] == [f"geo/part{n}.py" for n in range(8)]


def shuffled(run: Path, to: Path) -> Path:
    """The same run, with the sources that it lists the other way round."""
    text = run.read_text()
    listed = text[text.index("folders = [") :].partition("]")[0]
    names = listed.removeprefix("folders = [").split(", ")
    to.write_text(text.replace(listed, "folders = [" + ", ".join(reversed(names))))
    return to


def test_four_workers_and_sources_in_another_order_give_the_same_bytes(
    undisturbed: Path, run_file: Path, tmp_path: Path
) -> None:
    out, run = tmp_path / "out", shuffled(run_file, tmp_path / "shuffled.toml")
    assert run.read_text() != run_file.read_text()
    done = make("corpus", str(out / "tokens/manifest.json"), run=run, out=out, WORKERS="4")
    assert done.returncode == 0, done.stdout + done.stderr
    assert digests(out, UP_TO_TOKENS) == digests(undisturbed, UP_TO_TOKENS)
    for table in UP_TO_TOKENS:
        found = corpus.read(out / table)
        for part in found.manifest["parts"]:
            for shard in found.shards(part):
                assert found.file(shard).read_bytes() == (undisturbed / table / shard.name).read_bytes()


KILLED = ["files", "parsed", "corpus", "tokens", "model", "samples", "verdicts"]
"""With all their processes; every verb by itself, at chosen moments: tests/integration/test_kills.py."""


def kill_in_the_middle_of(table: str, run: Path, out: Path) -> bool:
    """Start make for one table and kill everything once that table has begun to be written."""
    words = ["make", "-C", str(ROOT), str(out / table / "manifest.json")]
    words += [f"RUN={run}", f"OUT={out}", f"VENV={BIN.parent}", "WORKERS=2"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    process = subprocess.Popen(
        words, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
    )
    while process.poll() is None:
        begun = (out / table / ".plan.json").exists()
        if begun and not (out / table / "manifest.json").exists():
            time.sleep(0.3 if table in ("model", "verdicts", "samples") else 0.05)
            break
        time.sleep(0.005)
    was_running = process.poll() is None
    if was_running:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return was_running


def test_killed_in_stage_after_stage_and_resumed_the_result_is_the_same(
    undisturbed: Path, run_file: Path, tmp_path: Path
) -> None:
    killed = [table for table in KILLED if kill_in_the_middle_of(table, run_file, tmp_path)]
    assert len(killed) >= len(KILLED) - 2, f"too few verbs were caught in the middle: {killed}"
    done = make("report", run=run_file, out=tmp_path, WORKERS="2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert digests(tmp_path, TABLES[:-1]) == digests(undisturbed, TABLES[:-1])


def test_a_deleted_table_is_rebuilt_and_what_depends_on_it_is_looked_at(
    undisturbed: Path, run_file: Path
) -> None:
    before = digests(undisturbed, TABLES)
    shutil.rmtree(undisturbed / "documents")
    done = make("report", run=run_file, out=undisturbed, WORKERS="1")
    assert done.returncode == 0, done.stdout + done.stderr
    ran = verbs(done)
    assert ran[0] == "crawl order" and {"dedup scan", "crawl screen", "train pack", "evals report"} <= set(
        ran
    )
    assert "crawl fetch" not in ran and digests(undisturbed, TABLES) == before


def test_a_token_of_the_corpus_is_traced_to_its_file(undisturbed: Path) -> None:
    words = [str(BIN / "train"), "trace", str(undisturbed / "tokens"), str(undisturbed / "corpus"), "0", "5"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "folder/" in done.stdout


def test_the_model_learned_and_its_log_says_so(undisturbed: Path) -> None:
    model = corpus.read(undisturbed / "model")
    lines = [json.loads(line) for line in (undisturbed / "model/metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if "loss" in line]
    assert len(losses) > 3 and losses[-1] < losses[0]
    assert model.manifest["unigram_entropy"] > 0
