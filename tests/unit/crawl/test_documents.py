"""A document is its files under their paths, and its spans say exactly where each one stands."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawl import languages
from crawl.config import Order
from crawl.documents import File, documents_of, heading, join, joint_license, lay_out, split
from crawl.reach import WINDOW_BYTES

TEXT = st.text(st.characters(codec="utf-8"), max_size=60)


def file(path: str, text: str = "x = 1\n", language: str = "python", license: str | None = "MIT") -> File:
    return File(path, language, license, text, len(text.encode()))


def rows_of(files: list[File], imports: list[tuple[str, str]], settings: Order) -> list[dict[str, Any]]:
    first = {"repo": "folder/r", "revision": "1", "stars": 7}
    named = {one.path: one for one in files}
    laid = lay_out(named, imports, settings, "folder/r")
    return [row for row, _ in documents_of(first, named, laid.documents)]


@given(st.lists(st.tuples(TEXT, TEXT, st.sampled_from(sorted(languages.LANGUAGES))), min_size=1, max_size=6))
def test_spans_cut_every_file_s_own_text_out_of_the_document(parts: list[tuple[str, str, str]]) -> None:
    files = [file(path, text, language) for path, text, language in parts]
    text, spans = join(files)
    assert [text[span.start : span.end] for span in spans] == [f.text for f in files]
    assert [span.path for span in spans] == [f.path for f in files]


def test_a_document_reads_path_comment_text_blank_line() -> None:
    text, _ = join([file("a.py", "x = 1\n"), file("b.c", "int x;", "c"), file("d.json", "{}\n", "json")])
    assert text == "# a.py\nx = 1\n\n// b.c\nint x;\n{}\n\n"


@given(TEXT, st.sampled_from(sorted(languages.LANGUAGES)))
def test_a_path_stays_one_line_of_printable_text(path: str, language: str) -> None:
    head = heading(path, language)
    assert head.count("\n") == len(head.splitlines()) == (head != "")
    assert head.rstrip("\n").isprintable() and not head.endswith("\\\n")


@pytest.mark.parametrize(
    "path", ["a*/ evil();/*.css", "a\nevil();.css", "a\u2028evil();.css", "--><script>.css"]
)
def test_a_hostile_path_does_not_break_out_of_its_comment(path: str) -> None:
    head = heading(path, "css")
    assert head.startswith("/* ") and head.endswith(" */\n")
    assert "*/" not in head[:-3] and "\u2028" not in head and "<" not in head


def test_related_files_become_one_document_and_other_languages_one_each() -> None:
    files = [
        file("b.py"),
        file("a.py"),
        file("z.py"),
        file("s.sql", "SELECT 1;", "sql"),
        file("t.md", "t", "markdown"),
    ]
    rows = rows_of(files, [("a.py", "b.py")], Order())
    assert [(row["id"], row["level"], [f["path"] for f in row["files"]]) for row in rows] == [
        ("folder/r#sql-00000", "file", ["s.sql"]),
        ("folder/r#markdown-00000", "file", ["t.md"]),
        ("folder/r#python-00000", "repo", ["b.py", "a.py"]),
        ("folder/r#python-00001", "repo", ["z.py"]),
    ]
    assert all(row["bytes"] == len(row["text"].encode()) and row["stars"] == 7 for row in rows)


def test_a_header_belongs_to_the_document_of_its_sources_under_their_main_language() -> None:
    files = [file("a.h", "int a;", "c"), file("a.cpp", "int a; int b; int c;", "cpp")]
    [row] = rows_of(files, [("a.cpp", "a.h")], Order())
    assert (row["language"], [f["path"] for f in row["files"]]) == ("cpp", ["a.h", "a.cpp"])


@pytest.mark.parametrize(
    ("oversize", "expected"),
    [
        ("split", [("repo", ["a.py", "b.py"]), ("repo", ["c.py"])]),
        ("files", [("file", [f"{p}.py"]) for p in "abc"]),
    ],
)
def test_what_is_too_large_is_cut_in_order_or_stays_files(oversize: str, expected: list[object]) -> None:
    files = [file(f"{p}.py", "x" * 400) for p in "abc"]
    settings = Order(max_bytes=1000, oversize=oversize)  # type: ignore[arg-type]
    rows = rows_of(files, [("b.py", "a.py"), ("c.py", "b.py")], settings)
    assert [(row["level"], [f["path"] for f in row["files"]]) for row in rows] == expected


@given(st.lists(st.integers(0, 50), max_size=20), st.integers(0, 100))
def test_parts_hold_all_files_in_order_and_stay_below_the_limit(sizes: list[int], limit: int) -> None:
    paths = [str(n) for n in range(len(sizes))]
    parts = split(paths, dict(zip(paths, sizes, strict=True)), limit)
    assert [path for part in parts for path in part] == paths
    assert all(len(part) == 1 or not limit or sum(sizes[int(p)] for p in part) <= limit for part in parts)


def test_licences_are_joined_into_one_expression() -> None:
    assert joint_license(["MIT", None, "Apache-2.0 OR MIT", "MIT"]) == "(Apache-2.0 OR MIT) AND MIT"
    assert joint_license([None]) is None


def test_every_strategy_s_worth_is_counted_whichever_is_taken() -> None:
    files = [
        file("z.py", "1"),
        file("b.py", "x" * WINDOW_BYTES),
        file("a.py", "import z, b"),
        file("c.py", "z"),
    ]
    imports = [("a.py", "z.py"), ("a.py", "b.py"), ("b.py", "z.py"), ("c.py", "a.py")]
    laid = lay_out({one.path: one for one in files}, imports, Order(strategy="path"), "r")
    assert laid.documents == [("repo", ["a.py", "b.py", "c.py", "z.py"])]
    assert laid.reach["topological"] == (4, 4, 2)  # z and b begin a window before a; c is near a, b near z
    assert laid.reach["path"] == (4, 1, 0)
    alone = lay_out({one.path: one for one in files}, imports, Order(max_bytes=10, oversize="files"), "r")
    assert set(alone.reach.values()) == {(4, 0, 0)}
