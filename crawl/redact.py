"""``crawl redact``: secrets and personal data out of the kept files, before anything else reads them.

Each secret gives way to a placeholder of its kind.  The same secret has the same placeholder all over a
repo, and another one in another repo; it follows from the secret, the repo and the salt alone, so a file
is redacted in the same way whatever stands beside it.  Placeholders hold only characters that may stand
where the secret stood: an address becomes an address out of the ranges for documentation, everything
else ``REDACTED_KIND_0f3a2b``.

What was found is kept beside the files as spans, kinds and salted hashes, never as text.  A file is
rejected (``unredactable``) if something is found in it again, or in its path, or if it parsed before and
does not any more.
"""

from __future__ import annotations

import hashlib
import logging
import os
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

import corpus
import passes
import reuse
from corpus import Output, Shard, Table
from crawl import secrets, watched
from crawl.config import Redact
from crawl.syntax import grammar_of
from schemas import SCHEMAS, RejectRow

VERB = "crawl redact"

log = logging.getLogger(__name__)

SALT = "FATHOM_SALT"
"""Environment variable: without a salt that nobody knows, a hash of an address can be guessed."""

WORSE = 0.001
"""Share of a file by which the part of it that does not parse may grow: one token of a short file."""

DOCUMENTATION = ("192.0.2", "198.51.100", "203.0.113")
"""IPv4 networks that belong to nobody (RFC 5737)."""


class Found(NamedTuple):
    """A row of ``secrets``, less its file."""

    kind: str
    start: int
    end: int
    hash: str
    placeholder: str


def redact_files(src: Path, dst: Path, settings: Redact, workers: int) -> Table:
    """Write the files of ``src`` without their secrets, shard by shard."""
    files = corpus.read(src, "files")
    pin = hashlib.sha256(b"fathom salt:" + _salt()).hexdigest()
    if not _salt():
        log.warning("%s is not set: whoever has the hashes of secrets can guess short ones", SALT)
    patterns = secrets.digest()
    origins = reuse.by_shard([files], pin, patterns)
    building = corpus.building(
        dst, "files", origins, made_by=VERB, settings=settings, inputs=[files], salt=pin, patterns=patterns
    )
    with building as out:
        if isinstance(out, Table):
            return out
        shards = {Path(shard.name).stem: shard for shard in files.shards()}
        work = partial(redact_shard, out, files, shards, settings)
        passes.each(work, out.left(shards), label=VERB, workers=workers)
        return out.seal()


def redact(text: str, repo: str, salt: bytes) -> tuple[str, list[Found]]:
    """A text with placeholders for its secrets, and what they stand for.

    >>> redact("mail ann.smith@uni-bonn.de", "pypi/demo@1", b"")[0]
    'mail user-f43e3e@example.com'
    """
    found = []
    pieces = []
    at = 0
    for kind, start, end in secrets.find(text):
        secret = text[start:end]
        digest = _digest(secret, salt)
        placeholder = placeholder_of(kind, _digest(f"{repo}\0{secret}", salt))
        found.append(Found(kind, start, end, digest, placeholder))
        pieces += [text[at:start], placeholder]
        at = end
    return "".join([*pieces, text[at:]]), found


def placeholder_of(kind: str, digest: str) -> str:
    """What stands for a secret of a kind; ``secrets.find`` finds nothing in it."""
    number = int(digest[:8], 16)
    if kind == "email":
        return f"user-{digest[:6]}@example.com"
    if kind == "ipv4":
        return f"{DOCUMENTATION[number % 3]}.{number // 3 % 254 + 1}"
    if kind == "ipv6":
        return f"2001:db8::{digest[:4]}:{digest[4:8]}"
    return f"REDACTED_{kind.upper()}_{digest[:6]}"


def _salt() -> bytes:
    """From the environment of each process: it reaches neither a manifest nor an executor's files."""
    return os.environ.get(SALT, "").encode()


def _digest(secret: str, salt: bytes) -> str:
    """BLAKE2b of a secret under the salt, 128 bits in hex."""
    key = hashlib.blake2b(salt, digest_size=32).digest()
    return hashlib.blake2b(secret.encode(), digest_size=16, key=key).hexdigest()


# ------------------------------------------------------------------------------------------- shards


def redact_shard(out: Output, files: Table, shards: dict[str, Shard], settings: Redact, unit: str) -> None:
    """One shard: most files hold no secret and pass as they are."""
    salt = _salt()
    batches: list[pa.RecordBatch] = []
    rejects: list[RejectRow] = []
    kept: dict[str, list[object]] = {name: [] for name in SCHEMAS["secrets"].names}
    for batch in files.batches(shards[unit]):
        texts, stays = batch.column("text").to_pylist(), []
        named = [batch.column(name).to_pylist() for name in ("repo", "path", "language", "bytes")]
        for row, (repo, path, language, size) in enumerate(zip(*named, strict=True)):
            clean, found = redact(texts[row], repo, salt)
            why = _unredactable(path, language, texts[row], clean, settings) if found else _in_path(path)
            stays.append(why is None)
            if why is not None:
                rejects.append((f"{repo}:{path}", "unredactable", why, 1, size))
                continue
            texts[row] = clean
            for one in found:
                for name, value in zip(kept, (repo, path, *one), strict=True):
                    kept[name].append(value)
        batches.append(_with_texts(batch, texts).filter(pa.array(stays, pa.bool_())))
    rows = pa.Table.from_batches(batches, schema=SCHEMAS["files"])
    tables = {"": rows, "rejects": corpus.rejects(rejects, VERB), "secrets": _table(kept)}
    out.write(unit, tables, came_in=shards[unit].rows)


def _error_share(text: str, grammar: str, settings: Redact) -> float | None:
    """The share of a text that does not parse; None where parsing it came to no end."""
    return watched.parser(settings.seconds).look(text.encode(), grammar).error_share


def _spoilt(text: str, clean: str, grammar: str, settings: Redact) -> bool:
    """Whether more of the file fails to parse than before; most parse whole, and are not parsed twice."""
    after = _error_share(clean, grammar, settings)
    if after is not None and after <= WORSE:
        return False
    before = _error_share(text, grammar, settings)
    return before is not None and (after is None or after > before + WORSE)


def _unredactable(path: str, language: str, text: str, clean: str, settings: Redact) -> str | None:
    """Why a file with secrets cannot stay, or None."""
    left = secrets.find(clean)
    if left:
        return f"{left[0].kind} found again"
    grammar = grammar_of(language, path)
    if grammar and _spoilt(text, clean, grammar, settings):
        return "does not parse without its secrets"
    return _in_path(path)


def _in_path(path: str) -> str | None:
    """A path becomes a comment above its file, and names its rows; it is not rewritten."""
    found = secrets.find(path)
    return f"{found[0].kind} in its path" if found else None


def _with_texts(batch: pa.RecordBatch, texts: list[str]) -> pa.RecordBatch:
    at = batch.schema.get_field_index("text")
    return batch.set_column(at, batch.schema.field(at), pa.array(texts, batch.schema.field(at).type))


def _table(columns: dict[str, list[object]]) -> pa.Table:
    schema = SCHEMAS["secrets"]
    return pa.table({name: pa.array(columns[name], schema.field(name).type) for name in schema.names})
