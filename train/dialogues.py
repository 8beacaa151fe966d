"""Dialogues from files, folders of Hugging Face datasets, or names on the hub, in one form.

Read are the three forms that instruction data is published in: ``messages`` (role, content),
``conversations`` (from, value) and ``instruction``, ``input``?, ``output``.  A row in none of them, or whose
turns do not alternate, is a reject with its reason.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import corpus
import hub
from corpus import Refusal
from printable import storable

LONGEST = 16 << 20
"""Characters of a line; a longer one is malformed, and never held whole."""

ROLES = {"human": "user", "gpt": "assistant"}


class Turn(NamedTuple):
    role: str
    text: str


class Dialogue(NamedTuple):
    """A dialogue, or why a row is none: turns are [system], user, assistant, user, assistant, …"""

    key: str
    turns: list[Turn]
    reason: str | None


def pin(source: str) -> str:
    """What a source is, to the byte: the hash of a file or a folder, or the commit of a name on the hub."""
    path = Path(source)
    if path.is_file():
        return corpus.sha256_of(path)
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        names = [f"{file.relative_to(path)} {corpus.sha256_of(file)}" for file in files]
        return hashlib.sha256("\n".join(names).encode()).hexdigest()
    if hub.named(source):
        return hub.commit_of(source, "dataset")
    raise Refusal(f"{source} is no file, no folder and no name of a dataset: give dialogues that exist.")


def read(source: str, pinned: str) -> Iterator[Dialogue]:
    """The dialogues of a source, in its order; ``pinned`` is what ``pin`` said of it."""
    rows = _lines(Path(source)) if Path(source).is_file() else _dataset(source, pinned)
    for number, row in enumerate(rows):
        turns, reason = _turns(row)
        yield Dialogue(f"{Path(source).name}:{number}", turns, reason)


def _lines(path: Path) -> Iterator[Any]:
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            while line := file.readline(LONGEST):
                whole = part = line
                while len(part) == LONGEST and not part.endswith(b"\n"):  # what is too long is read past
                    whole, part = b"too long", file.readline(LONGEST)
                if whole.strip():
                    yield _json(whole)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise Refusal(f"{path} is damaged ({error}): fetch it again.") from None


def _json(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _dataset(source: str, pinned: str) -> Iterator[Any]:
    import datasets

    path = Path(source) if Path(source).is_dir() else hub.fetched(pinned, "dataset")
    try:
        if (path / "state.json").exists():
            yield from datasets.load_from_disk(str(path))
        else:
            yield from datasets.load_dataset(str(path), split="train", streaming=True)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        reason = (str(error).strip() or repr(error)).splitlines()[0]
        raise Refusal(f"{source} cannot be read as a dataset with a split `train`: {reason}") from None


def _turns(row: Any) -> tuple[list[Turn], str | None]:
    """The turns of a row, or none and the reason."""
    turns = _parsed(row)
    if turns is None:
        return [], "malformed"
    dialogue = turns[1:] if turns and turns[0].role == "system" else turns
    if any(turn.role != ("user", "assistant")[number % 2] for number, turn in enumerate(dialogue)):
        return [], "turns_do_not_alternate"
    if len(dialogue) < 2:
        return [], "no_answer"
    answered = turns[: len(turns) - len(dialogue) % 2]  # a question left open teaches nothing
    if not all(turn.text.strip() for turn in answered if turn.role != "system"):
        return [], "empty_turn"
    return answered, None


def _parsed(row: Any) -> list[Turn] | None:
    """The turns in the form that the row has, in our words for the roles."""
    match row:
        case {"messages": list(turns)}:
            pairs = [_pair(turn, "role", "content") for turn in turns]
        case {"conversations": list(turns)}:
            pairs = [_pair(turn, "from", "value") for turn in turns]
        case {"instruction": asked, "output": said}:
            more = row.get("input")
            pairs = [("user", f"{asked}\n{more}" if more else asked), ("assistant", said)]
        case _:
            return None
    parsed: list[Turn] = []
    for pair in pairs:
        match pair:
            case (str(role), str(text)):
                parsed.append(Turn(ROLES.get(role, role), storable(text)))
            case _:
                return None
    return parsed


def _pair(turn: Any, role: str, text: str) -> tuple[Any, Any]:
    return (turn.get(role), turn.get(text)) if isinstance(turn, dict) else (None, None)
