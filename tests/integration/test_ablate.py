"""`train ablate` as it is documented: the real verbs, paths as people type them, killed and gone on."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import polars as pl

import corpus
from tests.waiting import until

SMALL = """
[train.ablate]
attend = ["document", "row"]
order = ["topological"]
fim_rate = [0.5]
seeds = 2
probe_rows = 2
probe_files = 2
"""


def test_recipes_are_compared_from_relative_paths_and_what_is_finished_is_not_done_again(
    made: Path, run_file: Path, tmp_path: Path
) -> None:
    text = run_file.read_text().replace("tokens = 20000", "tokens = 4096")
    (tmp_path / "ablate.toml").write_text(text + SMALL)
    (tmp_path / "out").symlink_to(made)
    words = [str(Path(sys.executable).with_name("train")), "ablate", "ablate.toml", "out", "answers"]
    words += ["--run", "ablate.toml", "--workers", "1"]
    process = subprocess.Popen(words, cwd=tmp_path, start_new_session=True, stderr=subprocess.DEVNULL)
    first = tmp_path / "answers.cells/model-topological-both-0.5-document-0/manifest.json"
    until(process, tmp_path, str(first.relative_to(tmp_path)))
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    before = first.read_text()  # with the time when it was finished
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    table = corpus.read(tmp_path / "answers")
    losses = table.scan().collect()
    assert losses.group_by("attend", "seed").len().height == 4
    assert losses.filter(probe="left_to_right")["loss"].is_between(1, 10).all()
    told = [(one["axis"], one["value"], one["seeds"]) for one in table.manifest["effects"]]
    assert set(told) == {("attend", "row", 2)} and "| attend row | document |" in done.stdout
    assert first.read_text() == before and losses["tokens"].min() > 0
    assert set(losses.filter(pl.col("probe") == "cross_file")["seed"]) == {0, 1}
