"""The thresholds of every profile, and what they are compared with."""

from __future__ import annotations

import doctest
from html.parser import HTMLParser

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawl import flags, rules, signals
from crawl.config import Rules
from crawl.signals import visible_text
from refusal import Refusal
from schemas import SCHEMAS


def measured(*files: tuple[str, str, str]) -> pl.LazyFrame:
    """The signals of files, given as path, language and text."""
    known = {name: "" if kind == pa.large_string() else 0 for name, kind in _FILES.items()}
    rows = [
        known | {"path": path, "language": language, "text": text, "bytes": len(text.encode())}
        for path, language, text in files
    ]
    batches = pa.Table.from_pylist(rows, schema=SCHEMAS["files"]).to_batches()
    return pl.LazyFrame(signals.table(batches))


_FILES = {field.name: field.type for field in SCHEMAS["files"]}


def reason(text: str, language: str = "python", path: str = "a.x", profile: str = "deepseek") -> str | None:
    judged = rules.judge(measured((path, language, text)), rules.of([profile]))
    return judged.select("reason").collect().item()


WORDS = "word " * 19 + "word\n"  # 100 characters with its line's end, 99 without


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("value = 1\n", "python", None),
        ("", "python", "empty"),
        (" \n\t\n", "python", "empty"),
        ("a" * 100 + "\n", "python", None),
        ("a" * 101 + "\n", "python", "mean_line"),
        ("a" * 1000 + "\n" * 50, "python", None),
        ("a" * 1001 + "\n" * 50, "python", "longest_line"),
        ("abc" + "1" * 9, "python", None),
        ("abc" + "1" * 10, "python", "alphabetic"),
        ("中文注释" + "1" * 12, "python", None),
        ("<?xml version='1.0'?>\n<a/>\n", "python", "xml"),
        ("<?xml version='1.0'?>\n<a/>\n", "xslt", None),
        ("x\n" * 50 + "<?xml version='1.0'?>\n", "python", None),
        ("<p>" + "word\n" * 19 + "words</p>", "html", None),
        ("<p>" + "word\n" * 19 + "word</p>", "html", "little_html"),
        ("<p class='a'></p>\n" * 60 + WORDS * 3, "html", None),
        ("<p class='a'></p>\n" * 60 + WORDS * 2, "html", "hidden_html"),
        ('{"a": "' + "b" * 41 + '"}', "json", None),
        ('{"a": "' + "b" * 40 + '"}', "json", "small_data"),
        ("a: b\n" * 1000, "yaml", None),
        ("a: b\n" * 1000 + "\n", "yaml", "large_data"),
        ("a: b\n" * 1001, "python", None),
    ],
)
def test_a_threshold_of_the_paper(text: str, language: str, expected: str | None) -> None:
    assert reason(text, language) == expected


def test_the_measure_is_kept_beside_the_reason() -> None:
    judged = rules.judge(measured(("a.py", "python", "a" * 1500)), rules.of(["deepseek"]))
    assert judged.select("reason", "measure").collect().row(0) == ("longest_line", 1500.0)


@pytest.mark.parametrize(
    ("path", "language", "text", "expected"),
    [
        ("a.py", "python", "abcd = 1\n" * 20, None),
        ("a.sig", "standard-ml", "signature A = sig end\n" * 20, "excluded_extension"),
        ("a.py", "python", "a" * 1001 + "\n" * 50, "longest_line"),
        ("a.sql", "sql", "select " + "a" * 5000, None),
        ("a.fsh", "glsl", "a" * 501 + "\n" * 50, "longest_line_of_shaders"),
        ("a.vhd", "vhdl", "a1111\n" * 20, "alphabetic"),
        ("a.vhdl", "vhdl", "a1111\n" * 20, None),
        ("a.sas", "sas", "+" * 90 + "\n", None),
        ("a.yml", "yaml", "a: 11111\n" * 20, "alphabetic_data"),
        ("a.yml", "yaml", "a: bcde\n" * 12, "small_data"),
    ],
)
def test_bigcodes_thresholds_go_by_extension(
    path: str, language: str, text: str, expected: str | None
) -> None:
    assert reason(text, language, path, "bigcode") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("".join(f"alpha_beta = gamma_delta + epsilon_{chr(97 + n)}\n" for n in range(20)), None),
        ("from one import two\n" * 3 + "alpha = beta + gamma\n" * 17, "duplicate_lines"),
        ("".join(f"import alpha_{chr(97 + n)} as beta, gamma\n" for n in range(12)), "import_lines"),
        ("".join(f"alpha = beta_{chr(97 + n)}  # TODO\n" for n in range(20)), "todo_lines"),
        ("".join(f"alpha = '{chr(97 + n) * 1030}'\n" for n in range(2)) + "word a bc d\n" * 10, "long_words"),
    ],
)
def test_opencoders_rules_see_what_they_are_named_for(text: str, expected: str | None) -> None:
    assert reason(text, path="a.py", profile="opencoder") == expected


def test_a_profile_that_is_none_is_refused() -> None:
    with pytest.raises(Refusal, match="'deepsek'"):
        rules.of(["deepsek"])


def test_every_rule_has_a_source_a_column_and_an_id_of_its_own() -> None:
    for profile in Rules().profiles:
        chosen = rules.of([profile])
        assert len({rule.id for rule in chosen}) == len(chosen) > 0
        assert all(rule.source and rule.signal in SCHEMAS["signals"].names for rule in chosen)


def test_effects_count_what_fails_what_comes_first_and_what_nothing_else_drops() -> None:
    files = measured(
        ("a.py", "python", "1" * 2000),
        ("b.py", "python", "1" * 90 + "\n"),
        ("c.py", "python", "value = 1\n"),
    )
    found = rules.effects(files, rules.of(["deepseek"]))
    rows = {row[0]: row[1:] for row in found.select("id", "fail", "first", "only").iter_rows()}
    assert rows["longest_line"] == (1, 1, 0) and rows["alphabetic"] == (2, 1, 1) and rows["xml"] == (0, 0, 0)


@given(st.text(st.characters(codec="ascii")))
def test_bytes_and_characters_count_alike_in_ascii(text: str) -> None:
    counts = signals._of_bytes(text.encode())
    assert counts == signals._of_text(text)
    assert counts == tuple(
        sum(map(is_it, text)) for is_it in (str.isalpha, str.isalnum, str.isdigit, str.isspace)
    )


@given(st.text())
def test_counts_are_unicodes_own(text: str) -> None:
    assert signals._of_text(text) == tuple(
        sum(map(is_it, text)) for is_it in (str.isalpha, str.isalnum, str.isdigit, str.isspace)
    )


def test_visible_text_is_that_of_the_standard_parser_on_an_honest_page() -> None:
    page = """<!DOCTYPE html><html><head><title>A &amp; B</title><style>p { color: red }</style>
    <script type="text/javascript">if (a < b) { document.write("<p>no</p>") }</script></head>
    <body><!-- not <b>this</b> --><p class="x">One <b>two</b><br/>three &lt; four &#8364;</p></body></html>"""

    class Shown(HTMLParser):
        text = ""
        hidden = False

        def handle_starttag(self, tag: str, attrs: object) -> None:
            self.hidden = tag in ("script", "style")

        def handle_endtag(self, tag: str) -> None:
            self.hidden = False

        def handle_data(self, data: str) -> None:
            self.text += "" if self.hidden else data

    shown = Shown()
    shown.feed(page)
    assert visible_text(page) == " ".join(shown.text.split())


@pytest.mark.parametrize("hostile", ["<!--", "<a", "<script>", "<", "&", "</", "<style", "<a b='"])
def test_hostile_html_takes_linear_time(hostile: str) -> None:
    visible_text(hostile * 200_000)  # a quadratic parser would not come back


@given(st.text(st.sampled_from("<>!-/ab =\"'&;script")))
def test_any_text_is_a_page(text: str) -> None:
    assert len(visible_text(text)) <= len(text)


def test_a_number_that_python_refuses_to_read_is_some_character() -> None:
    page = "&#" + ("1" * 900 + "<b\n>") * 6 + "; and words"
    assert visible_text(page) == "\ufffd and words"
    assert visible_text("&#65;") == "A"


@pytest.mark.parametrize(
    ("path", "head", "flag"),
    [
        ("a.py", "# Code generated by x. DO NOT EDIT.\n", "generated"),
        ("api_pb2.py", "", "generated"),
        ("package-lock.json", "", "generated"),
        ("lib/a.min.js", "", "minified"),
        ("src/_vendor/a.py", "", "vendored"),
        ("js/jquery-3.6.0.js", "", "vendored"),
        ("docs/conf.py", "", "documentation"),
        ("README.md", "", "documentation"),
        ("pkg/tests/a.py", "", "test"),
        ("pkg/test_a.py", "", "test"),
        ("src/UserTest.java", "", "test"),
        ("pkg/data/cities.json", "", "data"),
        ("src/vendor.py", "# generate the latest\n", None),
        ("src/contest.py", "", None),
        ("src/Latest.java", "", None),
    ],
)
def test_flags_tell_a_file_by_its_path_and_its_first_lines(path: str, head: str, flag: str | None) -> None:
    found = flags.of(path, "python", head.encode(), 20.0)
    assert [name for name, holds in found._asdict().items() if holds] == ([flag] if flag else [])


def test_the_examples_in_the_docstrings_hold() -> None:
    assert doctest.testmod(signals).failed == 0
