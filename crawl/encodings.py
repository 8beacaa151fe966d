"""Bytes to text: strict UTF-8 first, a detector only for the rest, and no text that is mostly a guess."""

from __future__ import annotations

import codecs
import re
from typing import NamedTuple

import cchardet

LOOKED_AT = 8 << 10
"""Bytes in which a NUL means that a file is no text."""

DETECTOR_SEES = 64 << 10
"""Bytes that the detector is given: it takes 1 ms for every 10 KB."""

MAX_REPLACED = 0.01
"""Share of characters that may be undecodable, or control characters (OpenCoder's threshold)."""

MIN_CONFIDENCE = 0.5

LATIN_EVIDENCE = 30
"""Bytes beyond ASCII from which one Latin alphabet can be told from another."""

_ASCII = bytes(range(128))
_LATIN = re.compile(r"iso8859-(1|2|3|4|9|10|13|14|15|16)$|cp125[02478]$|cp[4-8]\d\d$|mac")
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f-\x84\x86-\x9f]")

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class Text(NamedTuple):
    """Decoded text and the name of the encoding it was in."""

    text: str
    encoding: str


class Undecodable(NamedTuple):
    """Why bytes are not taken for text: "binary" or "encoding", and the evidence."""

    reason: str
    detail: str


def decode(data: bytes) -> Text | Undecodable:
    """The text of a file; line ends stay as they are, a byte order mark goes.

    >>> decode(b"caf\\xc3\\xa9"), decode(b"\\x7fELF\\x00")[0]
    (Text(text='café', encoding='utf-8'), 'binary')
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return _within_limits(data, encoding, "byte order mark")
    if b"\0" in data[:LOOKED_AT]:
        return Undecodable("binary", f"NUL at byte {data.index(0)}")
    try:
        return Text(data.decode(), "utf-8")
    except UnicodeDecodeError:
        pass
    return _within_limits(data, *_detected(data))


def _detected(data: bytes) -> tuple[str, str]:
    """An encoding and the evidence: the detector's, or Western European where it has little to go by.

    A name in a copyright line is all that is not ASCII in most such files, and from one or two letters
    the detector tells any of thirty alphabets.
    """
    found = cchardet.detect(data[:DETECTOR_SEES])
    name, confidence = found["encoding"] or "none", found["confidence"] or 0.0
    evidence = f"detector: {name} at {confidence:.2f}"
    foreign = len(data[:DETECTOR_SEES].translate(None, _ASCII))
    try:
        codec = codecs.lookup(name).name
    except LookupError:
        return "cp1252", evidence
    unsure = confidence < MIN_CONFIDENCE or (_LATIN.match(codec) and foreign < LATIN_EVIDENCE)
    return ("cp1252" if unsure else codec), evidence


def _within_limits(data: bytes, encoding: str, evidence: str) -> Text | Undecodable:
    text = data.decode(encoding, "replace")
    bad = text.count("\ufffd") + len(_CONTROL.findall(text))
    share = bad / max(len(text), 1)
    if share > MAX_REPLACED:
        return Undecodable("encoding", f"{encoding} ({evidence}), {share:.1%} undecodable")
    return Text(text, encoding)
