"""Packed rows: every document is accounted for, whatever the number of workers and after any kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

import corpus
from corpus import Refusal
from crawl.syntax import look
from tests.waiting import until
from train import cli
from train.batches import Rows

from .conftest import PACK


def test_documents_in_are_documents_packed_and_rejects(documents: corpus.Table, tokens: corpus.Table) -> None:
    given = set(documents.scan().select("id").collect()["id"])
    packed = set(tokens.scan("spans").select("document").collect()["document"])
    rejected = tokens.scan("rejects").collect()
    assert packed | set(rejected["key"]) == given and not packed & set(rejected["key"])
    assert tokens.counts == {"in": len(given), "out": len(packed), "rejected": {"too_short": 1}}


def test_a_budget_rejects_the_rest_by_name(
    documents: corpus.Table, words: corpus.Table, tmp_path: Path
) -> None:
    few = cli.pack(documents.path, words.path, tmp_path / "few", settings=replace(PACK, max_tokens=12_000))
    counts = few.counts
    assert counts["in"] == len(documents.scan().collect()) == counts["out"] + sum(counts["rejected"].values())
    assert counts["rejected"]["token_budget"] > 0 and few.manifest["train"]["tokens"] <= 12_000


def test_code_and_prose_are_packed_apart_and_hold_out_the_same_repos(
    documents: corpus.Table, words: corpus.Table, tmp_path: Path
) -> None:
    languages = dict(documents.scan().select("id", "language").collect().iter_rows())
    for kind, wanted in (("code", {"python"}), ("prose", {"markdown", "yaml"})):
        settings = replace(PACK, kind=kind, min_tokens=1, seed=4)  # with 0 all prose is held out
        table = cli.pack(documents.path, words.path, tmp_path / kind, settings=settings, workers=1)
        packed = set(table.scan("spans").collect()["document"])
        assert packed and {languages[key] for key in packed} <= wanted
        others = sum(language not in wanted for language in languages.values())
        assert table.counts["rejected"]["other_kind"] == others
        assert table.counts["in"] == table.counts["out"] + sum(table.counts["rejected"].values())


def test_one_and_two_workers_write_the_same_bytes(
    documents: corpus.Table, words: corpus.Table, tokens: corpus.Table, tmp_path: Path
) -> None:
    other = cli.pack(documents.path, words.path, tmp_path / "two", settings=PACK, workers=2)
    assert other.digest == tokens.digest


def test_rows_hold_the_pieces_that_spans_tell_and_padding(tokens: corpus.Table) -> None:
    spans = tokens.scan("spans").filter(split="train").collect()
    array = np.load(tokens.file(next(s for s in tokens.shards() if s.name.startswith("train"))))
    assert array.dtype == np.uint16 and array.shape == (spans["sequence"].max() + 1, 128)
    filled = np.zeros(array.shape, int)
    for row, start, end in spans.select("sequence", "start", "end").iter_rows():
        filled[row, start:end] += 1
    pad = json.loads((tokens.path / "manifest.json").read_text())["train"]["fill"]
    assert filled.max() == 1 and filled.mean() == pytest.approx(pad, abs=1e-5) and pad > 0.97


def test_token_offsets_count_along_each_document(tokens: corpus.Table) -> None:
    spans = tokens.scan("spans").sort("document", "token").collect()
    for _, pieces in spans.group_by("document"):
        sizes = (pieces["end"] - pieces["start"]).to_list()
        assert pieces["token"].to_list() == [sum(sizes[:n]) for n in range(len(sizes))]


def test_held_out_repos_are_in_no_training_row(documents: corpus.Table, tokens: corpus.Table) -> None:
    repos = dict(documents.scan().select("id", "repo").collect().iter_rows())
    spans = tokens.scan("spans").select("split", "document").unique().collect()
    sides = {split: {repos[d] for s, d in spans.iter_rows() if s == split} for split in ("train", "valid")}
    assert sides["valid"] and not sides["train"] & sides["valid"]


def test_a_killed_packing_resumes_to_the_same_digest(
    documents: corpus.Table, words: corpus.Table, tokens: corpus.Table, tmp_path: Path
) -> None:
    program = (
        "import sys, pathlib\nfrom train import cli\nfrom train.config import Pack\n"
        f"cli.pack(*map(pathlib.Path, sys.argv[1:]), settings={PACK!r}, workers=1)\n"
    )
    paths = [str(documents.path), str(words.path), str(tmp_path / "killed")]
    process = subprocess.Popen([sys.executable, "-c", program, *paths])
    until(process, tmp_path / "killed", "pieces/.units/*.json")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    with pytest.raises(Refusal, match=r"no manifest\.json"):
        corpus.read(tmp_path / "killed")
    assert cli.pack(*map(Path, paths), settings=PACK, workers=1).digest == tokens.digest


def test_rows_too_short_for_a_piece_are_refused(
    documents: corpus.Table, words: corpus.Table, tmp_path: Path
) -> None:
    with pytest.raises(Refusal, match="--length 8 is too short"):
        cli.pack(documents.path, words.path, tmp_path / "short", settings=replace(PACK, length=8))
    with pytest.raises(Refusal, match="--window is 0"):
        cli.pack(documents.path, words.path, tmp_path / "none", settings=replace(PACK, window=0))
    with pytest.raises(Refusal, match=r"--fill is 99\.9: give a share from 0 to 1"):
        cli.pack(documents.path, words.path, tmp_path / "none", settings=replace(PACK, fill=99.9))


def test_the_reader_knows_how_many_rows_there_are(tokens: corpus.Table, rows: Rows) -> None:
    assert len(rows) == tokens.manifest["train"]["sequences"]


@pytest.fixture
def parsed(documents: corpus.Table, tmp_path: Path) -> corpus.Table:
    """What `crawl parse` would say of the documents' files in Python."""
    rows = []
    for row in documents.scan().collect().iter_rows(named=True):
        for file in row["files"] if row["language"] == "python" else ():
            source = row["text"][file["start"] : file["end"]].encode()
            outcome = look(source, "python", nodes=64)._asdict()
            rows.append({"repo": row["repo"], "path": file["path"], "language": "python", **outcome})
    with corpus.building(tmp_path / "parsed", "parsed", made_by="crawl parse", settings={"nodes": 64}) as out:
        assert isinstance(out, corpus.Output)
        out.write("00000", {"": pa.Table.from_pylist(rows, corpus.SCHEMAS["parsed"])})
        return out.seal()


def test_middles_are_whole_nodes_where_that_is_asked_for(
    documents: corpus.Table, words: corpus.Table, parsed: corpus.Table, tmp_path: Path
) -> None:
    settings = replace(PACK, fim_rate=1.0, fim_cuts="node")
    tables = [
        cli.pack(
            documents.path, words.path, tmp_path / str(n), settings=settings, parsed=parsed.path, workers=n
        )
        for n in (1, 2)
    ]
    assert tables[0].digest == tables[1].digest
    texts = dict(documents.scan().select("id", "text").collect().iter_rows())
    nodes = set()
    for repo, path, numbers in parsed.scan().select("repo", "path", "nodes").collect().iter_rows():
        row = (
            documents.scan()
            .filter(repo=repo)
            .collect()
            .filter(pl.col("files").list.eval(pl.element().struct.field("path") == path).list.any())
        )
        text = next(row["text"][0][f["start"] : f["end"]] for f in row["files"][0] if f["path"] == path)
        nodes |= {text[a:b] for a, b in zip(numbers[::2], numbers[1::2], strict=True)}
    spans = tables[0].scan("spans").filter(pl.col("mode") == "psm").collect()
    middles = [texts[row["document"]][row["cut"] : row["hole"]] for row in spans.iter_rows(named=True)]
    whole = [middle in nodes for middle in middles]
    assert len(whole) > 50 and sum(whole) > len(whole) / 2  # in a piece without a node, anywhere
    assert 0 < tables[0].manifest["train"]["node_share"] < 1


def test_nodes_that_nobody_kept_are_asked_for_in_a_line(
    documents: corpus.Table, words: corpus.Table, tmp_path: Path
) -> None:
    settings = replace(PACK, fim_cuts="node")
    with pytest.raises(Refusal, match="give --parsed"):
        cli.pack(documents.path, words.path, tmp_path / "none", settings=settings)
    with corpus.building(tmp_path / "old", "parsed", made_by="crawl parse", settings={}) as out:
        assert isinstance(out, corpus.Output)
        out.seal()
    with pytest.raises(Refusal, match="keeps no nodes"):
        cli.pack(documents.path, words.path, tmp_path / "none", settings=settings, parsed=tmp_path / "old")
