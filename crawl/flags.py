"""What kind of file a file is: vendored, generated, minified, documentation, test, data.

``flags.toml`` has the patterns.  A flag drops nothing by itself: it is a column that rules may look at.
"""

from __future__ import annotations

import tomllib
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
    name = path.encode()
    found = {flag: pattern.search(name) is not None for flag, pattern in _PATHS.items()}
    head = b"\n".join(data[:HEAD_BYTES].split(b"\n", HEAD_LINES)[:HEAD_LINES])
    found["generated"] |= _GENERATED.search(head) is not None
    found["minified"] |= language in ("javascript", "css") and mean_line > MINIFIED_LINE
    return Flags(**found)


def _compiled(patterns: list[str]) -> re2._Regexp:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    return re2.compile("|".join(f"(?:{pattern})" for pattern in patterns).encode(), options)


_TABLE = tomllib.loads(Path(__file__).with_name("flags.toml").read_text())
_PATHS = {
    flag: _compiled([pattern if flag == "test" else f"(?i:{pattern})" for pattern in table["path"]])
    for flag, table in _TABLE.items()
}
_GENERATED = _compiled([f"(?i:{pattern})" for pattern in _TABLE["generated"]["head"]])
