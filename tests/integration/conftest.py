"""One run of the small world, up to the packed tokens, by the verbs themselves."""

import shutil
from pathlib import Path

import pytest

from crawl.cli import app as crawl
from dedup.cli import app as dedup
from evals.cli import app as evals
from train.cli import app as train

VERBS = {
    "repos": (crawl, "list", []),
    "files": (crawl, "fetch", ["repos"]),
    "kept": (crawl, "filter", ["files"]),
    "redacted": (crawl, "redact", ["kept"]),
    "parsed": (crawl, "parse", ["redacted"]),
    "documents": (crawl, "order", ["redacted", "parsed"]),
    "unique": (dedup, "scan", ["documents"]),
    "problems": (evals, "problems", []),
    "corpus": (crawl, "screen", ["unique", "parsed", "problems"]),
    "tokenizer": (train, "tokenizer", ["corpus"]),
    "tokens": (train, "pack", ["corpus", "tokenizer"]),
}
"""What the Makefile would call, by the table that is made."""

WIDE = ("fetch", "filter", "redact", "parse", "order", "scan", "screen", "pack")
"""Verbs that start processes; for so little this one is quicker."""


def make(out: Path, run: Path, upto: str = "tokens", optouts: Path | None = None) -> Path:
    """Run the verbs in their order; each says by itself that it is up to date."""
    for table, (app, verb, sources) in VERBS.items():
        words = [verb, *(str(out / source) for source in sources), str(out / table), "--run", str(run)]
        words += ["--workers", "1"] if verb in WIDE else []
        app.meta([*words, "--optouts", str(optouts)] if optouts and verb == "fetch" else words)
        if table == upto:
            return out
    raise AssertionError(f"no verb makes {upto}")


@pytest.fixture(scope="session")
def made(run_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tables of a finished run; to be read only."""
    return make(tmp_path_factory.mktemp("made"), run_file)


@pytest.fixture(scope="session")
def finished(request: pytest.FixtureRequest) -> Path:
    """The tables of the run that ``--tables`` names, else of the small world's."""
    given: Path | None = request.config.getoption("--tables")
    return given or Path(request.getfixturevalue("made"))


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    """The same, to be written to."""
    return Path(shutil.copytree(made, tmp_path / "run"))
