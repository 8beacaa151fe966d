"""What a verb may write over: nothing of somebody else's, nothing that is being read or written."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from refusal import Refusal

LOCK = ".fathom.lock"


def refuse_foreign(path: Path) -> None:
    """Never clear a directory that a verb did not make."""
    if path.exists() and not path.is_dir():
        raise Refusal(f"{path} is a file: give a directory for the table to be written.")
    ours = any((path / name).exists() for name in (".plan.json", LOCK)) or sealed_by_a_verb(path)
    if path.is_dir() and any(path.iterdir()) and not ours:
        raise Refusal(f"{path} holds files that are not a table: give an empty or a new directory.")


def sealed_by_a_verb(path: Path) -> bool:
    """Browser extensions and the like have a manifest.json too."""
    try:
        return "made_by" in json.loads((path / "manifest.json").read_text())
    except (OSError, ValueError, TypeError):
        return False


def refuse_inputs(path: Path, sources: Iterable[Path]) -> None:
    """Never clear a table that is about to be read, by being it or being around it."""
    for source in sources:
        if source.resolve().is_relative_to(path.resolve()):
            raise Refusal(f"{path} is where {source} is read from: give another destination.")


def refuse_loss(path: Path, precious: str, plan_file: Path, plan: Mapping[str, Any]) -> None:
    """Never clear what another plan left and what cannot be had again in minutes."""
    if not precious or not any(path.glob(precious)):
        return
    record = path / "manifest.json" if sealed_by_a_verb(path) else plan_file
    before = json.loads(record.read_text()) if record.exists() else {}
    settings = before.get("settings", {})
    changed = [key for key in plan if before.get(key) != plan[key] and key != "settings"]
    changed += [key for key, value in plan["settings"].items() if settings.get(key, value) != value]
    raise Refusal(
        f"{path} holds {precious.rpartition('/')[2]} of a run with other {', '.join(changed) or 'files'}: "
        "give another destination, or delete it to begin anew."
    )


def clear(path: Path, keep: Collection[str]) -> None:
    """Remove all that is below a table's directory but the shards to ``keep``."""
    for left in sorted(path.rglob("*"), reverse=True):
        if left.is_dir() and not left.is_symlink():
            with suppress(OSError):
                left.rmdir()
        elif left.name != LOCK and left.relative_to(path).as_posix() not in keep:
            left.unlink()


@contextmanager
def only_writer(path: Path) -> Iterator[None]:
    """Hold ``path`` against other processes that write there; refuses while one does."""
    with (path / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refusal(f"{path} is being written by another process: wait for it, or stop it.") from None
        yield
