"""The share of a file that does not parse."""

import pytest
import tree_sitter_language_pack as pack
from tree_sitter import Parser

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


SOURCES = {
    "python": 'def área(width):\n    """Ärea – ünit."""\n    return [width, width * 2]\n\n\nprint(área(3))\n',
    "java": 'class A {\n  int area(int w) { return w * 2; }\n  String é = "日本語 text";\n}\n',
    "c": 'int area(int w) {\n  if (w > 1) { return w * 2; }\n  return puts("größer");\n}\n',
    "go": "package a\n\nfunc area(w int) int {\n\tfor w > 1 { w = w / 2 }\n\treturn w * 2 // größer\n}\n",
    "rust": 'fn area(w: u32) -> u32 {\n    let é = "日本語";\n    if w > 1 { w * 2 } else { w }\n}\n',
    "typescript": "export function area(w: number): number {\n  const é = `日本 ${w}`;\n  return w * 2;\n}\n",
    "ruby": "def area(width)\n  é = [width, 'größer']\n  width * 2 if é.any?\nend\n",
}


@pytest.mark.parametrize("language", SOURCES)
def test_places_of_nodes_are_those_of_whole_nodes_in_characters(language: str) -> None:
    text = SOURCES[language]
    grammar = pack.get_language(GRAMMARS[language])  # type: ignore[arg-type]
    queue, whole = [Parser(grammar).parse(text.encode()).root_node], set()
    while queue:
        node = queue.pop()
        whole |= {(node.text or b"").decode()} if node.is_named else set()
        queue += node.children
    found = look(text.encode(), GRAMMARS[language], nodes=64).nodes
    middles = [text[low:high] for low, high in zip(found[::2], found[1::2], strict=True)]
    assert len(middles) >= 2 and set(middles) <= whole and text.strip() not in middles
    few = look(text.encode(), GRAMMARS[language], nodes=1).nodes
    assert len(few) == 2 and set(zip(few[::2], few[1::2], strict=True)) <= set(
        zip(found[::2], found[1::2], strict=True)
    )
    assert look(text.encode(), GRAMMARS[language]).nodes == ()


def test_no_node_with_an_error_in_it_is_kept() -> None:
    text = "def fine(width):\n    return width * 2\n\n\ndef broken(width:\n    return ((width\n"
    found = look(text.encode(), "python", nodes=64).nodes
    assert found and "broken" not in "".join(text[a:b] for a, b in zip(found[::2], found[1::2], strict=True))
