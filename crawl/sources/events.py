"""GH Archive: which repositories were pushed to in an hour.

One file an hour, a JSON event a line.  Since October 2025 the events hold little more than names, which
is all that is read here; hours that the archive lacks are empty.
"""

from __future__ import annotations

import gzip
import json
import logging
import re
import tempfile
import zlib
from datetime import UTC, datetime, timedelta
from typing import IO

from corpus import Refusal
from crawl.sources import mirrors
from crawl.sources.entry import OutOfReach

log = logging.getLogger(__name__)

MAX_FILE = 2 << 30
"""Bytes of one hour's file; in 2026 it has about 100 MB."""

MAX_TEXT = 32 << 30
"""The same unpacked."""

MAX_LINE = 8 << 20

PUSHED = (b'"PushEvent"', b'"CreateEvent"', b'"PublicEvent"')

NAME = re.compile(r"[A-Za-z0-9][\w-]*/(?!\.+$)[\w.-]+")
"""The owner and name of a repository, none of which is taken for anything else in a URL or a query."""


def hours(span: str) -> list[str]:
    """The hours of a span, both ends included.

    >>> hours("2026-01-31-23/2026-02-01-1")
    ['2026-01-31-23', '2026-02-01-0', '2026-02-01-1']
    """
    try:
        first, last = (datetime.strptime(end, "%Y-%m-%d-%H").replace(tzinfo=UTC) for end in span.split("/"))
    except ValueError:
        raise Refusal(f"{span!r} is no span of hours: write 2026-01-01-0/2026-01-31-23.") from None
    count = int((last - first) / timedelta(hours=1)) + 1
    return [f"{hour:%Y-%m-%d}-{hour.hour}" for n in range(count) for hour in [first + timedelta(hours=n)]]


def pushed(hour: str, base: str) -> list[str]:
    """The names of the repositories that were pushed to, sorted; none where the archive has no such hour.

    Raises:
        OutOfReach: The file could not be had whole.
    """
    url = f"{base.rstrip('/')}/{hour}.json.gz"
    with tempfile.TemporaryFile() as file:
        try:
            mirrors.download(url, file, MAX_FILE)
            file.seek(0)
            return _names(file)
        except mirrors.Absent:
            log.warning("GH Archive has no hour %s", hour)
            return []
        except OutOfReach as failure:
            raise OutOfReach(failure.reason, f"{url}: {failure.detail}") from None
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise OutOfReach("unreachable", f"{url}: {type(error).__name__}") from None


def _names(file: IO[bytes]) -> list[str]:
    names: set[str] = set()
    read = 0
    with gzip.GzipFile(fileobj=file) as lines:
        while line := lines.readline(MAX_LINE):
            read += len(line)
            if read > MAX_TEXT:
                raise OutOfReach("unreachable", f"an hour of more than {MAX_TEXT} bytes")
            if any(kind in line for kind in PUSHED) and (name := _name(line)):
                names.add(name)
    return sorted(names)


def _name(line: bytes) -> str | None:
    try:
        event = json.loads(line)
        kind, name = event["type"], event["repo"]["name"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    wanted = isinstance(name, str) and NAME.fullmatch(name) and f'"{kind}"'.encode() in PUSHED
    return name if wanted else None
