"""Registries and a git server together: what `runs/small.toml` does, on a tenth of its packages."""

import subprocess
import warnings
from pathlib import Path

import polars as pl
import pytest

from crawl.config import Fetch, Filter, List, Order, Parse
from crawl.documents import order_repos
from crawl.fetch import fetch_repos
from crawl.filter import filter_files
from crawl.listing import list_repos
from crawl.parse import parse_files
from crawl.sources import mirrors
from crawl.sources.entry import OutOfReach
from tests.unit.crawl.gitserver import commit, serving

PINNED = Path("runs/small-packages.tsv")
POLYGLOT = ("debian/ahven@", "pypi/jupytext@", "pypi/pygments@", "pypi/tokenizers@", "npm/elm-test@")


def chosen(path: Path) -> Path:
    """The rows of a few small packages in many languages."""
    names = tuple(name.replace("/", "\t").replace("@", "\t") for name in POLYGLOT)
    lines = (Path(__file__).resolve().parents[2] / PINNED).read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if line.startswith(("registry\t", *names))))
    return path


@pytest.mark.net
def test_registries_and_a_git_server_give_documents_in_more_than_forty_languages(tmp_path: Path) -> None:
    (tmp_path / "forge").mkdir()
    text = 'def area(width):\n    """Area of a square."""\n    return width * width\n'
    permission = (
        b"Permission is hereby granted, free of charge, to any person obtaining a copy of this software"
    )
    files = {"LICENSE": b"MIT License\n\n" + permission, "b.py": b"", "a.py": text.encode()}
    files["main.py"] = f"from a import area\n\n{text}".encode()
    commit(tmp_path / "forge", "shapes", files)
    cache = tmp_path / "cache"
    with serving(tmp_path / "forge") as base:
        asked = List(packages=chosen(tmp_path / "packages.tsv"), git=(f"{base}/shapes.git",))
        listed = list_repos(tmp_path / "repos", asked, cache)
        try:
            mirrors.ask(f"{mirrors.npm_registry()}/elm-test/latest")
        except OutOfReach:
            warnings.warn("the registries are out of reach: nothing checked", stacklevel=1)
            return
        fetch_repos(listed.path, tmp_path / "files", Fetch(missing=0.2), cache, 1)
    kept = filter_files(tmp_path / "files", tmp_path / "kept", Filter(), 1)
    parse_files(kept.path, tmp_path / "parsed", Parse(), 1)
    documents = order_repos(kept.path, tmp_path / "parsed", tmp_path / "documents", Order(), 1)
    rows = documents.scan().collect()
    assert rows["language"].n_unique() > 40
    shapes = rows.filter(pl.col("repo") == "127.0.0.1/shapes").row(0, named=True)
    assert [file["path"] for file in shapes["files"]] == ["a.py", "main.py"]
    assert shapes["license"] == "MIT"
    checked_out = subprocess.run(["find", str(cache), "-name", "*.py"], capture_output=True, text=True)
    assert checked_out.stdout == ""
