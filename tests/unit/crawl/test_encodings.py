from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawl.encodings import Text, Undecodable, decode


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\ufeff")))
def test_utf8_comes_back_as_it_was(text: str) -> None:
    assert decode(text.encode()) == Text(text, "utf-8")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_obeyed_and_removed(encoding: str) -> None:
    assert decode("héllo\r\n".encode(encoding)) == Text("héllo\r\n", encoding)


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("cp1252", "// für große Änderungen: Prüfung der Größe\nint größe = 1; // naïve façade\n"),
        ("shift_jis", "// これは日本語のコメントです。\nint a; // もう一つのコメント\n"),
        ("gb18030", "// 这是一个中文注释，说明这个函数的作用\nint a; // 另一个注释\n"),
        ("koi8-r", "// Это комментарий на русском языке, довольно длинный\nint a;\n"),
    ],
)
def test_other_encodings_are_recognised(encoding: str, text: str) -> None:
    found = decode(text.encode(encoding) * 5)
    assert isinstance(found, Text)
    assert found.text == text * 5


def test_a_nul_means_binary() -> None:
    assert decode(b"\x7fELF\x02\x01\x01\x00rest") == Undecodable("binary", "NUL at byte 7")


def test_text_that_is_mostly_a_guess_is_refused() -> None:
    found = decode(bytes(range(128, 256)) * 20)
    assert isinstance(found, Undecodable)
    assert found.reason == "encoding"


def test_a_broken_file_with_a_byte_order_mark_is_refused() -> None:
    found = decode(b"\xef\xbb\xbf" + b"\xff\xfe\xfd" * 50)
    assert isinstance(found, Undecodable)
    assert "undecodable" in found.detail
