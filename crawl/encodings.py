"""Bytes to text: strict UTF-8 first, a detector only for the rest, and no text that is mostly a guess."""

from __future__ import annotations

import codecs
from typing import NamedTuple

import cchardet

LOOKED_AT = 8 << 10
"""Bytes in which a NUL means that a file is no text."""

DETECTOR_SEES = 64 << 10
"""Bytes that the detector is given: it takes 1 ms for every 10 KB."""

MAX_REPLACED = 0.01
"""Share of characters that may be undecodable (OpenCoder's threshold)."""

MIN_CONFIDENCE = 0.5

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
    found = cchardet.detect(data[:DETECTOR_SEES])
    name, confidence = found["encoding"], found["confidence"] or 0.0
    if name is None or confidence < MIN_CONFIDENCE:
        return Undecodable("encoding", f"unknown: {name} at {confidence:.2f}")
    try:
        codec = codecs.lookup(name).name
    except LookupError:
        return Undecodable("encoding", f"unknown: {name}")
    return _within_limits(data, codec, f"{confidence:.2f}")


def _within_limits(data: bytes, encoding: str, evidence: str) -> Text | Undecodable:
    text = data.decode(encoding, "replace")
    share = text.count("\ufffd") / max(len(text), 1)
    if share > MAX_REPLACED:
        return Undecodable("encoding", f"{encoding} ({evidence}), {share:.1%} undecodable")
    return Text(text, encoding)
