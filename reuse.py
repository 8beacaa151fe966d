"""Which units of an older table may stay when a verb runs again on other inputs.

A unit whose settings and sources are the same comes out the same; so after a few repositories changed, or
were taken out, only their shards are written again.  The manifest says what each unit was made from, as a
hash; a verb that gives no such hashes rebuilds its table whole.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

ORIGINS = ".origins.json"
"""While a table is being written: by unit, what it is made from."""


class Shard(Protocol):
    """What is read here of `corpus.Shard`."""

    @property
    def name(self) -> str: ...
    @property
    def sha256(self) -> str: ...


class Table(Protocol):
    """What is read here of `corpus.Table`."""

    @property
    def digest(self) -> str: ...
    def shards(self) -> Iterable[Shard]: ...


def by_shard(inputs: Sequence[Table], *pins: str) -> dict[str, str]:
    """What decides the units of a verb that has one for every shard of its first input.

    Such a unit reads, of every input, the shard of its own name, or all of it where there is none; and
    whatever ``pins`` stand for.
    """
    units = [Path(shard.name).stem for shard in inputs[0].shards()]
    sources = [
        (table.digest, {Path(shard.name).stem: shard.sha256 for shard in table.shards()}) for table in inputs
    ]
    return {
        unit: hash_of([*pins, *(shards.get(unit, digest) for digest, shards in sources)]) for unit in units
    }


def hash_of(facts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()


def records(path: Path, plan: Mapping[str, Any], origins: Mapping[str, str]) -> dict[str, Any]:
    """The records of the units of the finished table at ``path`` that ``plan`` would make the same."""
    try:
        manifest = json.loads((path / "manifest.json").read_text())
        same = all(manifest[key] == plan[key] for key in ("table", "made_by", "fathom", "settings"))
        units = manifest["units"] if same else {}
        found = {unit: record for unit, record in units.items() if record["from"] == origins.get(unit)}
        return {unit: record for unit, record in found.items() if _whole(path, record)}
    except (OSError, ValueError, KeyError, TypeError):
        return {}  # none there, or one that cannot be trusted


def told(path: Path, written: Mapping[str, Any]) -> dict[str, Any]:
    """What the manifest says of the units, if their verb said what they were made from."""
    if not (path / ORIGINS).exists():
        return {}
    origins = json.loads((path / ORIGINS).read_text())
    return {"units": {unit: record | {"from": origins[unit]} for unit, record in sorted(written.items())}}


def _whole(path: Path, record: Mapping[str, Any]) -> bool:
    files = [(path / shard["name"], shard["bytes"]) for _, shard in record["shards"]]
    return all(file.is_file() and file.stat().st_size == size for file, size in files)
