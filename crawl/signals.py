"""What is measured of every file: its signals, as columns.  Rules judge by them; nothing is dropped here.

One walk over a batch.  ASCII text, which is 15 files in 16, is counted as bytes, by ``bytes.translate``
and ``split``, that is in C; the rest by Unicode's own notions of letter, digit and blank.  Both give the
same for ASCII, and a test holds them together.

Shares are of the file's characters, or of its lines; a line is what ends with "\\n".
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from typing import NamedTuple

import pyarrow as pa
import re2

from crawl import flags
from schemas import SCHEMAS

XML_WITHIN = 100
"""Characters at the beginning in which an XML declaration counts (the paper, section 2.1)."""


class Signals(NamedTuple):
    """One file's signals; ``docs/contract.md`` says what each is."""

    characters: int
    lines: int
    longest_line: int
    mean_line: float
    alphabetic: float
    alphanumeric: float
    digits: float
    blank: float
    xml_declared: bool
    visible: int | None
    visible_share: float | None
    words: int
    mean_word: float
    duplicate_lines: float
    hex_words: float
    encoded: float
    longest_encoded: int
    assert_lines: float
    todo_lines: float
    import_lines: float | None
    pass_lines: float | None
    print_lines: float | None


def table(batches: Iterable[pa.RecordBatch]) -> pa.Table:
    """The table ``signals`` of batches of the table ``files``."""
    rows = []
    for batch in batches:
        columns = [batch.column(name).to_pylist() for name in ("repo", "path", "language", "bytes", "text")]
        for repo, path, language, size, text in zip(*columns, strict=True):
            data = text.encode()
            signals = measure(language, text, data)
            kind = flags.of(path, language, data, signals.mean_line)
            rows.append((repo, path, language, extension(path), size, *signals, *kind))
    schema = SCHEMAS["signals"]
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    arrays = [pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)]
    return pa.table(arrays, schema=schema)


def extension(path: str) -> str:
    """What follows the last dot of a path's last part, as BigCode's table has it; "" without one."""
    name = path.rsplit("/", 1)[-1]
    return name.rsplit(".", 1)[-1] if "." in name else ""


def measure(language: str, text: str, data: bytes) -> Signals:
    """The signals of one text.

    Args:
        data: ``text`` in UTF-8.
    """
    size = len(text)
    some = max(size, 1)
    lines = data.split(b"\n") if len(data) == size else text.split("\n")
    if len(lines) > 1 and not lines[-1]:
        lines.pop()
    count = _of_bytes(data) if len(data) == size else _of_text(text)
    words = text.split()
    shown = len(visible_text(text)) if language == "html" else None
    encoded = [end - start for start, end in (found.span() for found in _ENCODED.finditer(data))]
    python = language == "python"
    return Signals(
        characters=size,
        lines=len(lines),
        longest_line=max(map(len, lines)),
        mean_line=sum(map(len, lines)) / len(lines),
        alphabetic=count.letters / some,
        alphanumeric=count.alphanumeric / some,
        digits=count.digits / some,
        blank=count.blank / some,
        xml_declared=text.find("<?xml version=", 0, XML_WITHIN) >= 0,
        visible=shown,
        visible_share=None if shown is None else shown / some,
        words=len(words),
        mean_word=sum(map(len, words)) / max(len(words), 1),
        duplicate_lines=_duplicates(lines),
        hex_words=sum(map(len, _HEX_WORD.findall(data))) / some if b"0x" in data or b"0X" in data else 0.0,
        encoded=sum(encoded) / max(len(data), 1),
        longest_encoded=max(encoded, default=0),
        assert_lines=_share(_ASSERT, data, len(lines)) if b"assert" in data else 0.0,
        todo_lines=_share(_TODO, data, len(lines)),
        import_lines=_share(_IMPORT, data, len(lines)) if python else None,
        pass_lines=_share(_PASS, data, len(lines)) if python else None,
        print_lines=_share(_PRINT, data, len(lines)) if python else None,
    )


class Count(NamedTuple):
    """How many characters of a text are what."""

    letters: int
    alphanumeric: int
    digits: int
    blank: int


def _of_bytes(data: bytes) -> Count:
    """Counts of ASCII text: what is left after all other bytes are deleted."""
    letters, digits, blank = (len(data.translate(None, others)) for others in _OTHERS)
    return Count(letters, letters + digits, digits, blank)


def _of_text(text: str) -> Count:
    """Counts of any text: ASCII as above, the other characters one by one."""
    ascii_ = _of_bytes(text.encode("ascii", "ignore"))
    foreign = _ASCII.sub("", text)
    return Count(
        ascii_.letters + sum(map(str.isalpha, foreign)),
        ascii_.alphanumeric + sum(map(str.isalnum, foreign)),
        ascii_.digits + sum(map(str.isdigit, foreign)),
        ascii_.blank + sum(map(str.isspace, foreign)),
    )


def _duplicates(lines: list[bytes] | list[str]) -> float:
    """Share of the lines that are not blank and have stood before, white space at their ends aside."""
    said = [stripped for line in lines if (stripped := line.strip())]
    return 1 - len(set(said)) / len(said) if said else 0.0


def _share(pattern: re2._Regexp, data: bytes, lines: int) -> float:
    return sum(1 for _ in pattern.finditer(data)) / lines


def visible_text(page: str) -> str:
    """What a browser would show of a page: no tags, comments, scripts or styles; white space as one blank.

    One pass in linear time: Python 3.11's own parser is quadratic on hostile pages (40 KB of ``<!--`` take
    it 1.8 s, 80 KB four times that) and fails on some.

    >>> visible_text("<p>Hello<script>x()</script> &amp; <b>bye</b>")
    'Hello & bye'
    """
    shown: list[str] = []
    lower = page.lower() if page.isascii() else re.sub("[A-Z]", lambda found: found[0].lower(), page)
    at = 0
    while (start := page.find("<", at)) >= 0:
        shown.append(page[at:start])
        tag = _TAG.match(lower, start)
        if lower.startswith("<!--", start):
            at = _after(page, "-->", start + 4)
        elif tag is None:
            shown.append("<")
            at = start + 1
        else:
            at = _after(page, ">", start)
            if tag[1] in ("script", "style"):
                end = lower.find(f"</{tag[1]}", at)
                at = end if end >= 0 else len(page)
    shown.append(page[at:])
    text = _LONG_NUMBER.sub("\ufffd", "".join(shown))
    return " ".join(html.unescape(text).split())


def _after(page: str, end: str, start: int) -> int:
    found = page.find(end, start)
    return found + len(end) if found >= 0 else len(page)


def _compiled(pattern: bytes) -> re2._Regexp:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1  # bytes of UTF-8
    return re2.compile(pattern, options)


_TAG = re.compile(r"<(?:([a-z][a-z0-9]*)|[/!?])")
_LONG_NUMBER = re.compile(r"&#[0-9]{8,};?")
"""No character has so high a number, and Python refuses to read one of more than 4,300 digits."""

_ASCII = re.compile(r"[\x00-\x7f]+")
_OTHERS = tuple(
    bytes(code for code in range(256) if not (code < 128 and wanted(chr(code))))
    for wanted in (str.isalpha, str.isdigit, str.isspace)
)
"""The bytes that are no ASCII letters, digits, blanks."""

_ENCODED = _compiled(
    rb"[a-zA-Z0-9+/\n=]{64,}|(?:\b(?:0x|\\x)?[0-9a-fA-F]{2}(?:,|\b\s*)){8,}|(?:\\u[0-9a-fA-F]{4}){8,}"
)
"""Base64, hexadecimal and escapes, as StarCoder2 and OpenCoder look for them."""
_HEX_WORD = _compiled(rb"\b0[xX][0-9a-fA-F]+\b")
_ASSERT = _compiled(rb"(?m)^[ \t]*(?:\w+\.)*assert\w*\b")
_TODO = _compiled(rb"(?im)(?:#|//|/\*|--|^[ \t]*\*|;|%)[^\n]*?(?:your code here|fixme|todo)[^\n]*$")
_IMPORT = _compiled(rb"(?m)^[ \t]*(?:import|from)[ \t]")
_PASS = _compiled(rb"(?m)^[ \t]*pass\b")
_PRINT = _compiled(rb"(?m)^[ \t]*print\b")
