"""The paper's rule filters (section 2.1), one function a rule.

A rule answers with the measure that a file fails by, or None if it passes; its name is the reason in
the rejects.  Thresholds are the paper's.  Lengths are in characters, as the paper says; "alphabetic"
is Unicode's notion of a letter, so that a Chinese comment counts as text.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

MEAN_LINE = 100
LONGEST_LINE = 1000
ALPHABETIC_SHARE = 0.25
XML_WITHIN = 100
VISIBLE_SHARE = 0.20
VISIBLE_CHARACTERS = 100
DATA_CHARACTERS = (50, 5000)


class File(NamedTuple):
    """What a rule may look at."""

    path: str
    language: str
    text: str


Rule = Callable[[File], str | None]


def empty(file: File) -> str | None:
    """Nothing but white space (not said in the paper; such a file has no mean line)."""
    return None if file.text.strip() else "0"


def mean_line(file: File) -> str | None:
    """Average line length above 100."""
    lines = _lines(file.text)
    mean = sum(map(len, lines)) / len(lines)
    return f"{mean:.1f}" if mean > MEAN_LINE else None


def longest_line(file: File) -> str | None:
    """A line longer than 1000: generated, minified, or data."""
    longest = max(map(len, _lines(file.text)))
    return str(longest) if longest > LONGEST_LINE else None


def alphabetic(file: File) -> str | None:
    """Fewer than 25 % letters."""
    share = letters(file.text) / len(file.text)
    return f"{share:.3f}" if share < ALPHABETIC_SHARE else None


def xml(file: File) -> str | None:
    """An XML declaration in the first 100 characters, in any language but XSLT."""
    at = file.text.find("<?xml version=", 0, XML_WITHIN)
    return str(at) if at >= 0 and file.language != "xslt" else None


def hidden_html(file: File) -> str | None:
    """HTML whose visible text is under 20 % of it or under 100 characters."""
    if file.language != "html":
        return None
    visible = len(visible_text(file.text))
    share = visible / len(file.text)
    if visible >= VISIBLE_CHARACTERS and share >= VISIBLE_SHARE:
        return None
    return f"{visible} characters, {share:.3f}"


def data_size(file: File) -> str | None:
    """JSON and YAML of under 50 or over 5000 characters."""
    if file.language not in ("json", "yaml"):
        return None
    smallest, largest = DATA_CHARACTERS
    return None if smallest <= len(file.text) <= largest else str(len(file.text))


PAPER: tuple[Rule, ...] = (empty, longest_line, mean_line, alphabetic, xml, hidden_html, data_size)
"""In this order; the first rule that a file fails is its reason."""


def generated(file: File) -> str | None:
    """Says so in its first lines, or is named as minified or locked."""
    head = "\n".join(file.text[:2000].split("\n", 6)[:6]).lower()
    said = next((words for words in _GENERATED if words in head), None)
    return said or next((end for end in _BUILT if file.path.endswith(end)), None)


def vendored(file: File) -> str | None:
    """Lies in a directory that by custom holds copies of other projects."""
    return next((part for part in file.path.lower().split("/")[:-1] if part in _VENDORED), None)


def first_failed(file: File, rules: Sequence[Rule]) -> tuple[str, str] | None:
    """Reason and measure of the first rule that a file fails."""
    for rule in rules:
        measure = rule(file)
        if measure is not None:
            return rule.__name__, measure
    return None


def letters(text: str) -> int:
    """How many characters are letters; without a Python loop over ASCII, which most code is."""
    ascii_letters = len(text.encode("utf-8", "replace").translate(None, _NOT_ASCII_LETTERS))
    return ascii_letters if text.isascii() else ascii_letters + sum(map(str.isalpha, _ASCII.sub("", text)))


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


_TAG = re.compile(r"<(?:([a-z][a-z0-9]*)|[/!?])")
_LONG_NUMBER = re.compile(r"&#[0-9]{8,};?")
"""No character has so high a number, and Python refuses to read one of more than 4,300 digits."""
_ASCII = re.compile(r"[\x00-\x7f]+")
_NOT_ASCII_LETTERS = bytes(code for code in range(256) if not (code < 128 and chr(code).isalpha()))
_GENERATED = ("generated by", "do not edit", "auto-generated", "autogenerated", "@generated")
_BUILT = (".min.js", ".min.css", "-lock.json", ".lock", ".pb.go", "_pb2.py", ".designer.cs", ".bundle.js")
_VENDORED = {
    *("vendor", "vendored", "_vendor", "third_party", "third-party", "thirdparty", "3rdparty"),
    *("node_modules", "bower_components", "extern", "external", "deps", "jspm_packages"),
}


def _lines(text: str) -> list[str]:
    lines = text.split("\n")
    return lines[:-1] if len(lines) > 1 and lines[-1] == "" else lines


def _after(page: str, end: str, start: int) -> int:
    found = page.find(end, start)
    return found + len(end) if found >= 0 else len(page)
