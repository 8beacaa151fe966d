"""kill -9 in every verb, where it hurts: just before a file takes its name.

Nothing that a verb leaves then is taken for finished, and called again it ends with the same bytes.  The
verbs run in forks of one process that has only imported them, so that a kill costs no start of Python.
"""

import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

import corpus
from tests.integration.conftest import VERBS

RUN = """
import contextlib, json, os, signal, sys
from pathlib import Path
import crawl.cli, dedup.cli, evals.cli, train.cli
import crawl.documents, crawl.fetch, crawl.filter, crawl.listing, crawl.parse, crawl.publish, crawl.redact
import crawl.learn, crawl.mix, crawl.screen, evals.problems, train.pack, train.tokenizer

def call(stage, words, die_at):
    # How many files took their names before the end, or None if killed.
    there, here = os.pipe()
    if not os.fork():
        names, real = 0, Path.replace
        def replace(self, target):
            nonlocal names
            names += 1
            if names == die_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(self, target)
        Path.replace = replace
        with open(os.devnull, "w") as quiet, contextlib.redirect_stdout(quiet):
            getattr(sys.modules[stage + ".cli"], "app").meta(words)
        os.write(here, str(names).encode())
        os._exit(0)
    os.close(here)
    told = os.read(there, 20)
    os.close(there)
    os.wait()
    return int(told) if told else None

for line in sys.stdin:
    print(json.dumps(call(*json.loads(line))), flush=True)
"""


class Verbs:
    """Calls verbs in another process, where they may be killed."""

    def __init__(self, folder: Path) -> None:
        self._errors = (folder / "errors").open("w+")
        words = [sys.executable, "-c", RUN]
        self._process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True
        )

    def call(self, stage: str, words: list[str], die_at: int = 0) -> int | None:
        """How many files took their names, or None if the verb was killed when ``die_at`` was to take its."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps([stage, words, die_at]) + "\n")
        self._process.stdin.flush()
        told: int | None = json.loads(self._process.stdout.readline())
        return told

    def close(self) -> str:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        self._errors.seek(0)
        return self._errors.read()


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Samples for `crawl learn`."""
    path = tmp_path_factory.mktemp("samples") / "samples.parquet"
    texts = [f"def area_{n}(width):\n    return width * {n}\n" for n in range(40)]
    texts += [f"{n} " * 60 for n in range(40)]
    columns = {"text": texts, "language": ["python"] * 80, "good": [True] * 40 + [False] * 40}
    pl.DataFrame(columns).write_parquet(path)
    return path


def calls(made: Path, run: Path, labelled: Path) -> dict[str, tuple[str, list[str], list[str]]]:
    """Of every verb that writes a table: its stage, its words before the destination and those after it."""
    found = {}
    for table, (app, verb, sources) in VERBS.items():
        one = verb in ("list", "problems", "tokenizer")
        after = ["--run", str(run), *([] if one else ["--workers", "1"])]
        found[f"{app.name[0]} {verb}"] = (app.name[0], [verb, *(str(made / s) for s in sources)], after)
        assert corpus.read(made / table).manifest["made_by"] == f"{app.name[0]} {verb}"
    contact = ["--contact", "an address", "--workers", "1"]
    found["crawl publish"] = ("crawl", ["publish", str(made / "corpus")], contact)
    found["crawl mix"] = ("crawl", ["mix", str(made / "corpus")], ["--cap", "3000", "--workers", "1"])
    found["crawl learn"] = ("crawl", ["learn", str(labelled)], [])
    return found


def test_killed_before_any_file_takes_its_name_a_verb_is_not_finished_and_ends_the_same(
    made: Path, run_file: Path, labelled: Path, tmp_path: Path
) -> None:
    verbs = Verbs(tmp_path)
    for name, (stage, before, after) in calls(made, run_file, labelled).items():

        def words(to: str, head: list[str] = before, tail: list[str] = after) -> list[str]:
            return [*head, str(tmp_path / to), *tail]

        tag = name.replace(" ", "-")
        files = verbs.call(stage, words(f"{tag}-whole"))
        assert files is not None and files >= 3, name  # the plan, a shard or its record, the manifest
        whole = corpus.read(tmp_path / f"{tag}-whole")
        for point in sorted({1, 2, files // 2, files - 1, files}):
            table = tmp_path / f"{tag}-{point}"
            assert verbs.call(stage, words(table.name), point) is None, (name, point)
            assert not (table / "manifest.json").exists(), (name, point)
            assert verbs.call(stage, words(table.name)) is not None, (name, point)
            assert corpus.read(table).digest == whole.digest, (name, point)
            left = {file.relative_to(table) for file in table.rglob("*")}
            assert left == {file.relative_to(whole.path) for file in whole.path.rglob("*")}, (name, point)
    assert "Traceback" not in verbs.close()
