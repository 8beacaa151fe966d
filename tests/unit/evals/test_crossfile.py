"""Cross-file completion: cuts stand where another file is used, and scores are CrossCodeEval's."""

import json

import polars as pl
import pytest

import corpus
from evals.config import Crossfile, Problems
from evals.crossfile import bm25, context, is_held_out, statement, write_crossfile
from evals.problems import read_problems, write_problems
from evals.suites import SUITES
from tests.unit.evals.conftest import problems_of

SHAPES = "class Circle:\n    def area(self, radius):\n        return 3 * radius**2\n\n\ndef rounded(x): ...\n"
USES = (
    '"""Draw things.\n\n' + "A long explanation of what is drawn.\n" * 8 + '"""\n'
    "from shapes import Circle, rounded\n\n\ndef draw(size):\n    # Circle first\n"
    "    found = Circle().area(radius=size)\n    return found\n"
)


def documents(folder, repos):
    """A table of documents, one a repo: shapes.py, then the file that uses it."""
    text = f"{SHAPES}\n{USES}"
    spans = [
        {"path": "shapes.py", "start": 0, "end": len(SHAPES)},
        {"path": "uses.py", "start": len(SHAPES) + 1, "end": len(text)},
    ]
    rows = {
        "id": [f"{repo}/python/0" for repo in repos],
        "repo": repos,
        "revision": "1",
        "part": 0,
        "level": "repo",
        "language": "python",
        "license": "MIT",
        "stars": None,
        "text": text,
        "files": [spans] * len(repos),
        "bytes": len(text),
    }
    table = pl.select(**{name: pl.lit(value) for name, value in rows.items() if not isinstance(value, list)})
    table = pl.DataFrame({"id": rows["id"], "repo": repos, "files": rows["files"]}).join(table, how="cross")
    edges = pl.DataFrame({"repo": repos, "importer": "uses.py", "imported": "shapes.py"})
    order = [field.name for field in corpus.SCHEMAS["documents"]]
    types = {"part": pl.Int32, "stars": pl.Int32, "bytes": pl.Int64}
    with corpus.building(folder, "documents", made_by="crawl order", settings={}, inputs=[]) as out:
        out.write("all", {"": table.select(order).cast(types), "edges": edges}, came_in=len(repos))
        return out.seal()


@pytest.fixture
def data(tmp_path):
    names = [f"folder/{n}" for n in range(40)]
    src = documents(tmp_path / "documents", names)
    table = write_crossfile(src.path, tmp_path / "data/crossfile", Crossfile(one_in=8))
    assert table.manifest["repos"] == sorted(name for name in names if is_held_out(name, 8))
    assert table.manifest["problems"] == len(table.manifest["repos"]) > 1
    return tmp_path / "data"


def test_held_out_repos_are_cut_before_the_first_use_of_an_imported_name(data, tmp_path):
    asked = Problems(suites=("crossfile*",), data=data)
    table = write_problems(tmp_path / "problems", asked, tmp_path)
    with_context, infile = (
        [p for p in read_problems(table) if p.suite == suite] for suite in ("crossfile", "crossfile-infile")
    )
    assert len(with_context) == len(infile) > 1
    assert infile[0].prompt.endswith("    found = ") and infile[0].reference == "Circle().area(radius=size)"
    assert with_context[0].prompt.endswith(infile[0].prompt)
    assert "# the below code fragment can be found in:\n# shapes.py\n# class" in with_context[0].prompt
    assert "found = Circle().area(radius=size)" in with_context[0].text  # what crawl screen looks for


def test_same_documents_give_the_same_problems(data, tmp_path):
    rows = (data / "crossfile/line_completion.jsonl").read_text()
    again = documents(tmp_path / "again", [f"folder/{n}" for n in reversed(range(40))])
    table = write_crossfile(again.path, tmp_path / "other", Crossfile(one_in=8))
    assert [table.file(shard).read_text() for shard in table.shards()] == [rows]


def problem(prompt, groundtruth, language="python", suite="crosscodeeval-python"):
    row = {
        "prompt": prompt,
        "groundtruth": groundtruth,
        "crossfile_context": {"text": "# from elsewhere"},
        "metadata": {"task_id": "x", "language": language},
    }
    return problems_of(suite, [json.dumps(row).encode()], Problems())[0]


def test_first_statement_is_compared_without_comments_as_published():
    asked = problem("x = [1]\ny = ", "call(x,\n         2)")
    suite = SUITES[asked.suite]
    assert suite.match(asked, asked.reference)[:2] == (True, True)
    assert suite.match(asked, "call(x,\n  2)  # so\nz = 3")[:2] == (True, False)
    assert suite.match(asked, suite.spoiled(asked))[:2] == (False, False)
    assert 0 < suite.match(asked, "call(x)").similarity < 1
    java = problem("int x = ", "call(y);", suite="crosscodeeval-java")
    assert SUITES[java.suite].match(java, "call(y); int z = 1;").strict
    assert asked.prompt == "# from elsewhere\nx = [1]\ny = "
    assert problem("y = ", "1", suite="crosscodeeval-python-infile").prompt == "y = "


def test_statement_that_goes_on_below_is_not_asked_for():
    assert statement("call(1,", "python") is None and statement("call(1)", "python") == "call(1)"
    assert statement("call(1); x", "java") == "call(1);" and statement("call(1)", "java") is None


def test_context_is_ranked_by_rare_words():
    scores = bm25(["radius", "the"], [["the", "radius"], ["the", "x"], ["the", "y"], ["the", "z"]])
    assert scores[0] == max(scores) and len(set(scores[1:])) == 1
    assert context("x", [], "python") == ""
