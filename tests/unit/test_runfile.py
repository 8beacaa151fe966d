"""The command frame: flags win over the run file, and mistakes are one line that says what to do."""

import errno
import importlib
import os
import subprocess
import tomllib
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path

import pytest
from cyclopts import Parameter

import runfile
from corpus import Refusal

ROOT = Path(__file__).resolve().parents[2]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Scan:
    ngram: int = 5
    """Words per shingle."""


def run(words: list[str], capsys: pytest.CaptureFixture[str], scan: object = None) -> tuple[int, str, str]:
    """Run a small stage of one verb; gives its exit code, stdout and stderr."""
    app = runfile.stage("dedup", "A stage.")

    def verb(src: Path, /, *, settings: Scan = Scan()) -> None:
        """Say the n-gram."""
        print(settings.ngram)

    app.command(scan or verb, name="scan")
    try:
        app.meta(words)
        code = 0
    except SystemExit as stop:
        code = int(stop.code or 0)
    out, err = capsys.readouterr()
    return code, out, err


def written(tmp_path: Path, text: str) -> str:
    (tmp_path / "run.toml").write_text(text)
    return str(tmp_path / "run.toml")


def test_the_file_wins_over_the_default_and_a_flag_over_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path, "[dedup.scan]\nngram = 7\n[train.pack]\nlength = 9\n")
    assert run(["scan", "x"], capsys)[1] == "5\n"
    assert run(["scan", "x", "--run", file], capsys)[1] == "7\n"
    assert run(["scan", "x", "--run", file, "--ngram", "9"], capsys)[1] == "9\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[dedup.scan]\nngrams = 7\n", "ngrams"),
        ("[dedup.skan]\nngram = 7\n", "the verbs are: scan"),
        ("[dedupe.scan]\nngram = 7\n", "the stages are"),
        ("[dedup.scan\n", "is not TOML"),
        ("[dedup.scan]\nngram = 'many'\n", "many"),
        ("[dedup]\nscan = 3\n", "bare value"),
        ("dedup = 3\n", "bare value"),
    ],
)
def test_a_mistake_in_the_run_file_is_named_and_nothing_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, words: str
) -> None:
    code, out, err = run(["scan", "x", "--run", written(tmp_path, text)], capsys)
    assert code != 0 and out == "" and words in err and "Traceback" not in err


def test_a_phase_changes_what_it_names_and_leaves_the_rest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path, "[dedup.scan]\nngram = 7\n[dedup.scan.phases.long]\nngram = 8\n")
    said = [run(["scan", "x", "--run", file, *more], capsys) for more in ([], ["--phase", "long"])]
    assert [out for _, out, _ in said] == ["7\n", "8\n"]
    for words in (["--run", file, "--phase", "short"], ["--phase", "long"]):
        code, out, err = run(["scan", "x", *words], capsys)
        assert code == 1 and out == "" and "phase" in err


@pytest.mark.parametrize("phases", ["phases = 3", "phases.long = 3"])
def test_phases_that_are_no_tables_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], phases: str
) -> None:
    code, _, err = run(["scan", "x", "--run", written(tmp_path, f"[dedup.scan]\n{phases}\n")], capsys)
    assert code == 1 and "scan.phases holds a bare value" in err


@pytest.mark.parametrize("file", sorted(ROOT.glob("runs/*.toml")), ids=lambda file: file.name)
def test_every_setting_in_our_run_files_is_one_of_its_stage(file: Path) -> None:
    for stage, verbs in tomllib.loads(file.read_text()).items():
        classes = vars(importlib.import_module(f"{stage}.config")).values()
        known = {f.name for c in classes if isinstance(c, type) and is_dataclass(c) for f in fields(c)}
        for verb, table in verbs.items():
            settings = {key for each in (table, *table.get("phases", {}).values()) for key in each}
            assert settings - {"phases", "start"} <= known, f"[{stage}.{verb}]"


def test_make_trains_phase_by_phase_each_from_the_model_before(tmp_path: Path) -> None:
    words = ["make", "-n", "-C", str(ROOT), "train", "RUN=runs/deepseek.toml", f"OUT={tmp_path}"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    done = subprocess.run(words, capture_output=True, text=True, check=True, env=environment)
    lines = [line.split() for line in done.stdout.splitlines() if "/train " in line]
    starts = [[line[1], Path(line[-1]).name] for line in lines if "--start" in line]
    assert starts == [["pretrain", "model"], ["instruct", "model-long"]]
    assert (
        sum(line[1:2] == ["pretrain"] for line in lines) == sum(line[1:2] == ["pack"] for line in lines) == 2
    )


def test_a_run_file_that_is_not_there_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(["scan", "x", "--run", "none.toml"], capsys)
    assert (code, err.count("\n")) == (1, 1) and err.startswith("dedup: none.toml: No such file")


@pytest.mark.parametrize(
    ("failure", "code", "words"),
    [
        (Refusal("put it right"), 1, "dedup: put it right\n"),
        (Refusal("no file \x1b]0;owned\x07\u202etxt"), 1, r"no file \x1b]0;owned\x07\u202etxt"),
        (
            OSError(errno.ENOSPC, "No space left on device", "out/x"),
            1,
            "no space left on the disk while writing out/x",
        ),
        (PermissionError(errno.EACCES, "Permission denied", "out/x"), 1, "out/x: Permission denied"),
        (KeyboardInterrupt(), 130, "run again to resume"),
    ],
)
def test_what_the_user_can_mend_is_a_line_and_an_exit_code(
    capsys: pytest.CaptureFixture[str], failure: BaseException, code: int, words: str
) -> None:
    def scan(src: Path) -> None:
        raise failure

    got, _, err = run(["scan", "x"], capsys, scan)
    assert got == code and words in err


def test_a_bug_keeps_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    def scan(src: Path) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(["scan", "x"], capsys, scan)
