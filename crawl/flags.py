"""What kind of file a file is: vendored, generated, minified, documentation, test, data.

``flags.toml`` has the patterns.  A flag drops nothing by itself: it is a column that rules may look at.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import re2

HEAD_LINES = 10
HEAD_BYTES = 2000

MINIFIED_LINE = 110
"""Mean characters a line of JavaScript or CSS above which it is minified (Linguist)."""


class Flags(NamedTuple):
    """One file's flags."""

    vendored: bool
    generated: bool
    minified: bool
    documentation: bool
    test: bool
    data: bool


def of(path: str, language: str, data: bytes, mean_line: float) -> Flags:
    """The flags of a file.

    Args:
        path: Below the root of its repo.
        data: Its text in UTF-8, or the beginning of it.
        mean_line: Mean length of its lines.
    """
    kinds = {_FLAGS[pattern] for pattern in _PATHS.Match(path.encode()) or ()}
    head = b"\n".join(data[:HEAD_BYTES].split(b"\n", HEAD_LINES)[:HEAD_LINES])
    found = {flag: flag in kinds for flag in _TABLE}
    found["generated"] |= bool(_GENERATED.Match(head))
    found["minified"] |= language in ("javascript", "css") and mean_line > MINIFIED_LINE
    return Flags(**found)


def _set(patterns: Sequence[str]) -> re2.Set:
    """All patterns in one automaton: a match costs one walk, however many there are."""
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    together = re2.Set.SearchSet(options)
    for pattern in patterns:
        together.Add(pattern.encode())
    together.Compile()
    return together


_TABLE = tomllib.loads(Path(__file__).with_name("flags.toml").read_text())
_FLAGS = [flag for flag, table in _TABLE.items() for _ in table["path"]]
"""The flag of each pattern of ``_PATHS``."""
_PATHS = _set(
    [
        pattern if flag == "test" else f"(?i:{pattern})"
        for flag, table in _TABLE.items()
        for pattern in table["path"]
    ]
)
_GENERATED = _set([f"(?i:{pattern})" for pattern in _TABLE["generated"]["head"]])
