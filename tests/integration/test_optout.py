"""What was opted out is gone from every table, as if it had never been there; all else stays as it was."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import corpus
from corpus import Refusal
from crawl import optout, optouts
from tests.integration.conftest import VERBS, make

GROWING = ["files", "kept", "redacted", "parsed", "documents"]
"""Tables of a shard for every repo."""


def content(out: Path, tables: list[str]) -> dict[str, bytes]:
    """Every shard of the tables, whatever part."""
    found = {}
    for name in tables:
        table = corpus.read(out / name)
        for part in table.manifest["parts"]:
            found |= {f"{name}/{shard.name}": table.file(shard).read_bytes() for shard in table.shards(part)}
    return found


@pytest.fixture
def wishes(made: Path, tmp_path: Path) -> Path:
    """One entry of every kind that something in the small world answers to."""
    files = corpus.read(made / "files").scan().collect()
    part = files.filter(repo="folder/geometry", path="geo/part3.py")["sha256"][0]
    commit = files.filter(repo="folder/numbers")["revision"][0]
    path = tmp_path / "optouts.txt"
    entries = ["# wishes", "", f"hash {part}", "path folder/shapes:pkg/loop_*", f"commit {commit[:20]}"]
    path.write_text("\n".join([*entries, "repo FOLDER/scripts", "owner github.com/nobody"]) + "\n")
    return path


def test_the_result_is_that_of_a_rebuild_without_those_files_byte_for_byte(
    copy: Path, wishes: Path, run_file: Path, tmp_path: Path
) -> None:
    untouched = {
        path: (copy / path).stat().st_ino for path in content(copy, GROWING) if "shapes-fork" in path
    }
    told = optout.opt_out(wishes, copy)
    assert "kept, redacted, parsed, documents, unique, corpus, tokenizer, tokens" in told
    make(copy, run_file, optouts=wishes)
    rebuilt = make(tmp_path / "rebuilt", run_file, optouts=wishes)
    assert content(copy, list(VERBS)) == content(rebuilt, list(VERBS))
    assert {path: (copy / path).stat().st_ino for path in untouched} == untouched
    assert len(untouched) >= 10 and not (copy / ".optout").exists()
    names = corpus.read(copy / "files").scan().select(pl.format("{}:{}", "repo", "path")).collect()
    gone = ("folder/numbers", "folder/scripts", "part3", "folder/shapes:pkg/loop_")
    assert names.height and not any(word in name for name in names.to_series() for word in gone)


def test_a_list_that_grew_is_applied_again_and_one_that_shrank_is_refused(
    copy: Path, wishes: Path, run_file: Path
) -> None:
    optout.opt_out(wishes, copy)
    digest = corpus.read(copy / "files").digest
    assert "nothing new" in optout.opt_out(wishes, copy)
    with wishes.open("a") as file:
        file.write("repo folder/geometry\n")
    optout.opt_out(wishes, copy)
    assert corpus.read(copy / "files").digest != digest
    wishes.write_text("repo folder/geometry\n")
    for again in (lambda: optout.opt_out(wishes, copy), lambda: make(copy, run_file, "files")):
        with pytest.raises((Refusal, SystemExit)):
            again()


def test_a_fork_is_found_by_what_it_shares_and_written_into_the_list(copy: Path, tmp_path: Path) -> None:
    wishes = tmp_path / "optouts.txt"
    wishes.write_text("forks folder/shapes")  # as some editors end a file
    optout.opt_out(wishes, copy)
    lines = wishes.read_text().splitlines()
    assert (lines[0], lines[-1]) == ("forks folder/shapes", "repo folder/shapes-fork")
    repos = corpus.read(copy / "files").scan().collect()["repo"].unique()
    assert sorted(repos) == ["folder/geometry", "folder/numbers", "folder/scripts"]


def test_killed_at_any_moment_it_goes_on_and_ends_the_same(copy: Path, wishes: Path, tmp_path: Path) -> None:
    expected = Path(shutil.copytree(copy, tmp_path / "expected"))
    optout.opt_out(wishes, expected)
    script = "import sys; from pathlib import Path; from crawl import optout\n"
    script += "print('go', flush=True); optout.opt_out(Path(sys.argv[1]), Path(sys.argv[2]))"
    for pause in (0.0, 0.005, 0.01, 0.02, 0.04):
        words = [sys.executable, "-c", script, str(wishes), str(copy)]
        with subprocess.Popen(words, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]) as process:
            assert process.stdout is not None and process.stdout.readline() == b"go\n"
            time.sleep(pause)
            os.kill(process.pid, signal.SIGKILL)
    optout.opt_out(wishes, copy)
    assert content(copy, ["files"]) == content(expected, ["files"])


@pytest.fixture
def fetched(run_file: Path, tmp_path: Path) -> Path:
    return make(tmp_path / "fetched", run_file, "files")


def killed(name: str, wishes: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An opt-out that ends where it would install the staged shards, or seal what it installed."""

    def end(*told: Any, **facts: Any) -> corpus.Table:
        if "fetched" in facts:
            return seal(*told, **facts)  # of the staged table
        raise KeyboardInterrupt

    seal = corpus.Output.seal
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(optout if name == "_install" else corpus.Output, name, end)
        optout.opt_out(wishes, out)


def test_a_list_that_grew_before_a_killed_call_went_on_is_applied_whole(
    fetched: Path, tmp_path: Path, run_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wishes = tmp_path / "optouts.txt"
    wishes.write_text("path folder/shapes:*3.py\n")
    killed("seal", wishes, fetched, monkeypatch)
    assert not (fetched / "files/manifest.json").exists()
    wishes.write_text(f"{wishes.read_text()}repo folder/geometry\npath folder/shapes:*\n")
    optout.opt_out(wishes, fetched)
    rebuilt = make(tmp_path / "rebuilt", run_file, "files", optouts=wishes)
    assert content(fetched, ["files"]) == content(rebuilt, ["files"])


def test_shards_that_a_kill_left_without_a_manifest_are_never_taken_for_gone(
    fetched: Path, tmp_path: Path, run_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wishes = tmp_path / "optouts.txt"
    wishes.write_text("repo folder/geometry\n")
    killed("_install", wishes, fetched, monkeypatch)
    (fetched / "files/manifest.json").unlink()
    with pytest.raises(Refusal, match="nothing vouches for"):
        optout.opt_out(wishes, fetched)
    make(fetched, run_file, "files", optouts=wishes)
    rebuilt = make(tmp_path / "rebuilt", run_file, "files", optouts=wishes)
    assert content(fetched, ["files"]) == content(rebuilt, ["files"])
    assert "nothing new" in optout.opt_out(wishes, fetched) and not (fetched / ".optout").exists()


def test_a_file_that_several_entries_name_is_told_by_the_first_in_whatever_order_they_came(
    fetched: Path, tmp_path: Path, run_file: Path
) -> None:
    wishes = tmp_path / "optouts.txt"
    file = corpus.read(fetched / "files").scan().collect().row(0, named=True)
    wishes.write_text(f"path {file['repo']}:{file['path']}\n")
    optout.opt_out(wishes, fetched)
    with wishes.open("a") as more:
        more.write(f"hash {file['sha256']}\n")
    optout.opt_out(wishes, fetched)
    rebuilt = make(tmp_path / "rebuilt", run_file, "files", optouts=wishes)
    assert content(fetched, ["files"]) == content(rebuilt, ["files"])


@pytest.mark.parametrize("line", ["github.com/a/b", "hash abc", "commit xyz", "path folder/shapes", "repo "])
def test_a_line_that_is_no_entry_is_refused_with_its_number(copy: Path, tmp_path: Path, line: str) -> None:
    wishes = tmp_path / "optouts.txt"
    wishes.write_text(f"repo folder/shapes\n{line}\n")
    with pytest.raises(Refusal, match=r"optouts.txt, line 2"):
        optout.opt_out(wishes, copy)


@pytest.mark.parametrize("revision", ["sha256:0123456789abcdef", "0123456789abcdef"])
@pytest.mark.parametrize("entry", ["commit sha256:0123456789ab", "commit 0123456789ab"])
def test_a_commit_is_known_with_or_without_the_name_of_its_hash(
    tmp_path: Path, entry: str, revision: str
) -> None:
    (tmp_path / "optouts.txt").write_text(f"{entry}\n")
    wishes = optouts.read(tmp_path / "optouts.txt")
    assert wishes.of_repo("folder/a", revision) == entry
    assert wishes.of_repo("folder/a", revision.replace("0", "1")) is None


def test_a_list_that_cannot_take_what_was_found_is_told_and_nothing_is_taken_out(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wishes = tmp_path / "optouts.txt"
    wishes.write_text("forks folder/shapes\n")
    before, opened = content(copy, ["files"]), Path.open

    def read_only(path: Path, mode: str = "r", *more: Any, **named: Any) -> Any:
        if path == wishes and mode == "a":
            raise PermissionError(errno.EACCES, "Permission denied")
        return opened(path, mode, *more, **named)

    monkeypatch.setattr(Path, "open", read_only)
    with pytest.raises(Refusal, match="folder/shapes-fork belongs there"):
        optout.opt_out(wishes, copy)
    assert content(copy, ["files"]) == before and wishes.read_text() == "forks folder/shapes\n"
