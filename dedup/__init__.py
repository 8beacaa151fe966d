"""Find and drop duplicate code: exact copies, near copies, near copies of whole repositories.

    >>> import dedup
    >>> table = dedup.scan(["documents"], "unique", dedup.Scan(threshold=0.8))

Every row that is dropped has a partner among the kept ones at or above the threshold, computed exactly
where the signatures leave a doubt; ``docs/dedup.md`` says what that costs and what it does not promise.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from dedup.config import Scan, Substrings

if TYPE_CHECKING:
    from dedup.algorithm import scan
    from dedup.repeats import substrings
    from dedup.report import explain, plan, stats
    from dedup.tombstones import forget

__all__ = ["Scan", "Substrings", "explain", "forget", "plan", "scan", "stats", "substrings"]

_HOMES = {
    "scan": "dedup.algorithm",
    "forget": "dedup.tombstones",
    "explain": "dedup.report",
    "plan": "dedup.report",
    "stats": "dedup.report",
    "substrings": "dedup.repeats",
}


def __getattr__(name: str) -> Any:
    """The verbs are imported when they are first used, so that ``dedup --help`` is quick."""
    if name not in _HOMES:
        raise AttributeError(f"module 'dedup' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
