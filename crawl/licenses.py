"""Which licence a text is, or states, and whether a policy allows it.

This reads evidence; it is no legal advice, and what it does not know is nothing, never "fine".  Which text
counts for which file is said in `evidence`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Sequence
from pathlib import PurePosixPath

import licenseclassifier

HEADER_LINES = 30
HEADER_CHARACTERS = 4000

LONGEST_TEXT = 40_000
"""Characters of a licence file that are looked at; the longest licence of SPDX's list has 65,000."""

MAX_NESTING = 20
"""Parentheses of an expression; a hostile header holds thousands."""

_TAG = re.compile(
    r"SPDX-License-Identifier:[ \t]*(\(*[\w.+-]+\)*(?:[ \t]+(?:AND|OR|WITH)[ \t]+\(*[\w.+-]+\)*)*)",
    re.IGNORECASE,
)
_FILE = re.compile(r"(?i)(un)?licen[cs]es?|copying|copyright")
_NOISE = re.compile(r"[\s*#;%/!|<>\"'_,-]+")

_VERSIONS = {"1": "1.0", "2": "2.0", "2.0": "2.0", "2.1": "2.1", "3": "3.0", "3.0": "3.0"}
_GNU = re.compile(
    r"(?:under (?:the )?(?:terms of )?(?:the )?|^\s*)"
    r"(?:GNU (?P<kind>(?:Affero |Lesser |Library )?General) Public Licen[cs]e|(?P<short>[AL]?GPL)\b)"
    r"(?:.{0,120}?v(?:ersion )?(?P<version>[123](?:\.[01])?))?",
    re.IGNORECASE,
)
_WORDS = (
    ("Apache-2.0", re.compile(r"Apache License Version 2|www\.apache\.org licenses LICENSE 2\.0", re.I)),
    ("MPL-2.0", re.compile(r"Mozilla Public License (?:Version |v\. ?)?2", re.I)),
    ("MPL-1.1", re.compile(r"Mozilla Public License Version 1", re.I)),
    ("EPL-2.0", re.compile(r"Eclipse Public License (?:v|version )?2", re.I)),
    ("EPL-1.0", re.compile(r"Eclipse Public License", re.I)),
    ("CDDL-1.0", re.compile(r"Common Development and Distribution License", re.I)),
    ("MIT", re.compile(r"Permission is hereby granted free of charge to any person obtaining", re.I)),
    ("ISC", re.compile(r"Permission to use copy modify and (?:or )?distribute this software for any", re.I)),
    (
        "Unlicense",
        re.compile(r"This is free and unencumbered software released into the public domain", re.I),
    ),
    ("CC0-1.0", re.compile(r"CC0 1\.0 Universal|creativecommons\.org publicdomain zero", re.I)),
    ("BSL-1.0", re.compile(r"Boost Software License", re.I)),
    ("Zlib", re.compile(r"the origin of this software must not be misrepresented", re.I)),
    ("PSF-2.0", re.compile(r"PSF LICENSE AGREEMENT|PYTHON SOFTWARE FOUNDATION LICENSE", re.I)),
)
_BSD = re.compile(r"Redistribution and use in source and binary forms", re.I)
_BSD_THIRD = re.compile(
    r"(?:Neither the names? of|may not be used to endorse|names? of .{0,80}may not be)", re.I
)
_BSD_FOURTH = re.compile(r"All advertising materials mentioning", re.I)


_SAME = {"python-2.0": "psf-2.0", "python-2.0.1": "psf-2.0", "expat": "mit"}
"""Names for one another: the PSF's licence is within that of Python."""

_KNOWN: dict[bytes, str | None] = {}


def of_header(text: str) -> str | None:
    """The licence a file states of itself in its first lines, as an SPDX expression."""
    head = "\n".join(text[:HEADER_CHARACTERS].split("\n", HEADER_LINES)[:HEADER_LINES])
    if "icen" not in head and "ICEN" not in head and "GPL" not in head and "istribut" not in head:
        return None
    tag = _TAG.search(head)
    return " ".join(tag[1].rstrip("-").split()) if tag else _by_words(head, header=True)


def of_file(text: str) -> str | None:
    """The licence whose text a licence file holds; several are joined by AND.

    The same texts stand in most repos: an answer is remembered by the hash of its text.
    """
    digest = hashlib.sha256(text.encode("utf-8", "replace")).digest()
    if digest not in _KNOWN:
        _KNOWN[digest] = _identified(text[:LONGEST_TEXT]) or _by_words(text[:40_000], header=False)
    return _KNOWN[digest]


def _identified(text: str) -> str | None:
    """What 700 licences of SPDX's list cover three quarters of a text; a mere mention is none."""
    found = {match.id for match in licenseclassifier.identify_license(text)}
    return " AND ".join(sorted(found)) or None


def is_license_file(path: str) -> bool:
    """LICENSE, COPYING.LESSER, licence.txt and the like."""
    name = PurePosixPath(path).name
    return bool(_FILE.fullmatch(re.split(r"[.-]", name, maxsplit=1)[0])) and not name.endswith((".py", ".js"))


def both(expressions: Sequence[str]) -> str:
    """Expressions that all bind, as one.

    >>> both(["MIT", "ISC AND MIT", "Apache-2.0 OR ISC"])
    '(Apache-2.0 OR ISC) AND ISC AND MIT'
    """
    if len(expressions) == 1:
        return expressions[0]
    plain = [one for one in expressions if "(" not in one and " OR " not in one]
    parts = {part for one in plain for part in one.split(" AND ")}
    return " AND ".join(sorted(parts | {f"({one})" for one in expressions if one not in plain}))


def names(expression: str) -> set[str]:
    """The licences that an expression names, whichever versions of them will do.

    >>> sorted(names("MIT AND (GPL-2.0-or-later WITH Classpath-exception-2.0)"))
    ['gpl-2.0', 'mit']
    """
    words = re.findall(r"[^\s()]+", re.sub(r"(?i)\bWITH\s+[^\s()]+", "", expression).lower())
    plain = {re.sub(r"(?:-only|-or-later|\+)$", "", word) for word in words if word not in ("and", "or")}
    return {_SAME.get(name, name) for name in plain}


def permits(expression: str, allow: Collection[str]) -> bool:
    """Whether a policy allows what an SPDX expression offers: any side of OR, every side of AND.

    >>> permits("MIT OR GPL-2.0-only", {"MIT"}), permits("MIT AND GPL-2.0-only", {"MIT"})
    (True, False)
    """
    if expression.count("(") > MAX_NESTING:
        return False
    words = re.findall(r"[()]|[^\s()]+", expression)
    try:
        allowed, rest = _either(words, {name.lower() for name in allow})
    except IndexError:
        return False
    return allowed and not rest


def _either(words: list[str], allow: set[str]) -> tuple[bool, list[str]]:
    allowed, words = _both(words, allow)
    while words and words[0].upper() == "OR":
        other, words = _both(words[1:], allow)
        allowed = allowed or other
    return allowed, words


def _both(words: list[str], allow: set[str]) -> tuple[bool, list[str]]:
    allowed, words = _one(words, allow)
    while words and words[0].upper() == "AND":
        other, words = _one(words[1:], allow)
        allowed = allowed and other
    return allowed, words


def _one(words: list[str], allow: set[str]) -> tuple[bool, list[str]]:
    if words[0] == "(":
        allowed, words = _either(words[1:], allow)
        return allowed and words[0] == ")", words[1:]
    name, words = words[0].lower(), words[1:]
    if words and words[0].upper() == "WITH":  # an exception only adds permissions
        words = words[2:]
    return name in allow or name.removesuffix("+") in allow, words


def _by_words(text: str, *, header: bool) -> str | None:
    words = _NOISE.sub(" ", text).strip()
    found = [gnu] if (gnu := _gnu(words, header=header)) else []
    if not (found and not header):  # a GNU text quotes no other licence's terms, but mentions some
        found += [name for name, pattern in _WORDS if pattern.search(words)]
        if _BSD.search(words):
            clauses = 4 if _BSD_FOURTH.search(words) else 3 if _BSD_THIRD.search(words) else 2
            found.append(f"BSD-{clauses}-Clause")
    return " AND ".join(sorted(set(found))) or None


def _gnu(words: str, *, header: bool) -> str | None:
    match = _GNU.search(words)
    if match is None:
        return None
    kind = (match["kind"] or match["short"]).lower()
    family = "AGPL" if kind[0] == "a" else "LGPL" if kind.startswith(("le", "li", "lg")) else "GPL"
    version = _VERSIONS.get(match["version"] or "")
    if version is None:
        return family if header else None  # long texts name the GPL in passing
    later = re.search(
        r"or (?:\(at your option\) |at your option )?any later", words[match.start() :][:600], re.I
    )
    return f"{family}-{version}-{'or-later' if later else 'only'}"
