"""Text that strangers wrote, made fit for a terminal and for a file."""

from __future__ import annotations

import logging
import re

UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
"""Control, direction and invisible characters."""


def visible(text: str) -> str:
    """``text`` with control and direction characters spelt out: they could hide or reorder what is read.

    >>> visible("a\\x1b[2J\\u202eb")
    'a\\\\x1b[2J\\\\u202eb'
    """
    return UNSEEN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


class _Visible(logging.Formatter):
    """Names of crawled files stand in what is logged, and a terminal would obey the escapes in them."""

    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record))


def log_to_stderr(level: str) -> None:
    """Print what is logged from this level on, with the time, if nobody else has it printed already."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Visible("%(asctime)s %(message)s", datefmt="[%X]"))
    logging.basicConfig(level=level, handlers=[handler])


def storable(text: str) -> str:
    """``text`` without lone surrogates, which JSON allows and no file or table can hold.

    >>> storable("\\ud83d\\ude00 \\ud800")
    '😀 �'
    """
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
