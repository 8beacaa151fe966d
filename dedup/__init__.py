"""Find and drop duplicate code: exact copies, near copies, near copies of whole repositories.

    >>> import dedup
    >>> table = dedup.scan(["documents"], "unique", dedup.Scan(threshold=0.8))

Every row that is dropped has a partner among the kept ones at or above the threshold, computed exactly
where the signatures leave a doubt; ``docs/dedup.md`` says what that costs and what it does not promise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dedup.config import Scan

if TYPE_CHECKING:
    from dedup.scan import scan

__all__ = ["Scan", "scan"]


def __getattr__(name: str) -> Any:
    """The verbs are imported when they are first used, so that ``dedup --help`` is quick."""
    if name == "scan":
        from dedup.scan import scan

        return scan
    raise AttributeError(f"module 'dedup' has no attribute {name!r}")
