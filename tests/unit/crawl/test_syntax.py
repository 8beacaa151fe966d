"""The share of a file that does not parse."""

import pytest
import tree_sitter_language_pack as pack

from crawl import languages
from crawl.syntax import GRAMMARS, grammar_of, look


@pytest.mark.parametrize("language", sorted(GRAMMARS))
def test_every_grammar_of_the_table_is_bundled_and_parses(language: str) -> None:
    assert language in languages.LANGUAGES
    assert look(b"\n", GRAMMARS[language]).status == "parsed"


def test_a_clean_file_has_no_errors_and_a_broken_line_counts_its_own_bytes() -> None:
    clean = b"def area(width, height):\n    return width * height\n\n\n" * 20
    assert look(clean, "python").error_share == 0.0
    share = look(clean + b"]]]]]]]]]]\n", "python").error_share
    assert share is not None and 0 < share < 0.05


def test_noise_is_nearly_all_error() -> None:
    assert (look(b")]}>" * 100, "python").error_share or 0) > 0.9


def test_a_missing_token_counts_though_it_has_no_bytes() -> None:
    source = b"class A { void f() { "
    assert look(source, "java").error_share == 2 / len(source)


def test_python_2_is_not_an_error() -> None:
    source = b"try:\n    print 'x', 1\nexcept E, e:\n    raise E, 'y'\nexec 'a'\nprint >>f, `x`, 1 <> 2\n"
    assert look(source, "python").error_share == 0.0


def test_typescript_with_markup_has_a_grammar_of_its_own() -> None:
    assert grammar_of("typescript", "a/view.tsx") == "tsx"
    assert look(b"const a = <p>{b}</p>;", "tsx").error_share == 0.0
    assert grammar_of("alloy", "a.als") is None


def test_the_grammar_that_hangs_is_in_the_pack_and_not_in_the_table() -> None:
    assert pack.get_language("cobol") is not None
    assert "cobol" not in GRAMMARS.values()
