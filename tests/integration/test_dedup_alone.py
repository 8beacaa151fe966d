"""`pip install .` in an empty environment is all that `dedup` needs."""

import shutil
import subprocess
import venv
from pathlib import Path

import polars as pl
import pytest

ROOT = Path(__file__).resolve().parents[2]

HEAVY = ("torch", "transformers", "datasets", "datatrove", "tree_sitter", "pandas")

KEPT_OUT = (".*", "out", "build", "tests", "docs", "*.egg-info", "*.so", "__pycache__")


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment that holds this distribution's base, in our exact versions."""
    folder = tmp_path_factory.mktemp("alone")
    shutil.copytree(ROOT, folder / "source", ignore=shutil.ignore_patterns(*KEPT_OUT))
    venv.create(folder / "venv", with_pip=True)
    pip = [str(folder / "venv/bin/python"), "-m", "pip", "install", "--quiet", "--no-compile"]
    exact = ["--constraint", str(ROOT / "constraints.txt"), str(folder / "source")]
    subprocess.run([*pip, *exact], check=True, cwd=folder)
    return folder / "venv/bin"


def said(*command: str | Path) -> str:
    """What a command prints, away from this checkout and its environment."""
    clean = {"PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        list(map(str, command)), env=clean, cwd="/", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.net
def test_dedup_works_without_the_heavy_packages_and_with_its_compiled_kernel(
    alone: Path, tmp_path: Path
) -> None:
    found = said(
        alone / "python", "-c",
        f"from importlib.util import find_spec; print([name for name in {HEAVY} if find_spec(name)]);"
        "from dedup import kernel; print(kernel.COMPILED, kernel.__file__)",
    ).split("\n")  # fmt: skip
    assert found[0] == "[]"
    assert found[1].startswith("True") and str(alone.parent) in found[1]
    assert "scan" in said(alone / "dedup", "--help")
    text = "one two three four five six seven\n" * 3
    pl.DataFrame({"id": ["a", "b", "c"], "text": [text, text, text[::-1]]}).write_parquet(
        tmp_path / "rows.parquet"
    )
    said(alone / "dedup", "scan", tmp_path / "rows.parquet", tmp_path / "out")
    assert "3 rows in, 2 kept" in said(alone / "dedup", "stats", tmp_path / "out")
    assert "an exact copy" in said(alone / "dedup", "explain", tmp_path / "out", "b")
