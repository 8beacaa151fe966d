"""Plain data across the border between a test and the program it tests.

Only values of plain types cross, as JSON with tags, so nothing that arrives can run code: no pickle, no
classes, no methods.  A subclass is reduced to its base by the base's own methods; a value that is not
plain arrives as an ``Opaque``, which is equal to nothing.

    >>> decode(encode((1, {2.5: [None, "x"]})))
    (1, {2.5: [None, 'x']})
"""

from __future__ import annotations

import itertools
import json
import sys
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

MOST_BYTES = 64 << 20
"""A message larger than this is refused on both sides."""

MOST_ITEMS = 200_000
"""Items taken from an iterator before it counts as endless."""

DEEPEST = 200

_LARGE = 1 << 62
"""Integers from here on cross in hexadecimal: decimal takes quadratic time, and Python refuses it beyond
4,300 digits."""

Json = Any

_VIEWS = {type({}.keys()): "keys", type({}.values()): "values", type({}.items()): "pairs"}


class Opaque:
    """Stands for a value that is not plain data.  It is equal to nothing, not even to itself."""

    __slots__ = ("kind",)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __eq__(self, other: object) -> bool:
        return False

    def __ne__(self, other: object) -> bool:
        return True

    def __bool__(self) -> NoReturn:
        raise TypeError(f"a {self.kind} is not plain data")


class NotPlain(Exception):
    """Bytes that no ``encode`` wrote."""


def pack(message: Json) -> bytes:
    """A message as bytes; ``ValueError`` if it is larger than ``MOST_BYTES``."""
    data = json.dumps(message).encode()
    if len(data) > MOST_BYTES:
        raise ValueError(f"{len(data):,} bytes are more than {MOST_BYTES:,}")
    return data


def unpack(data: bytes) -> Json:
    """The message in bytes from the other side, which may be anything."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise NotPlain("not a message") from None


def encode(value: object, depth: int = 0) -> Json:
    """A value as JSON with tags."""
    kind = type(value)
    if value is None or kind is bool or kind is str or kind is float:
        return value  # JSON as Python writes it gives every float back, infinities and NaN too
    if kind is int and -_LARGE < value < _LARGE:  # type: ignore[operator]
        return value
    if depth > DEEPEST:
        return {"opaque": "value nested too deeply"}
    for base, tag, parts in _SEQUENCES:
        if issubclass(kind, base):
            return {tag: [encode(part, depth + 1) for part in parts(value)]}
    for base, tag, text in _SCALARS:
        if issubclass(kind, base):
            return {tag: text(value)}
    if isinstance(value, dict):
        pairs = dict.items(value)
        return {"dict": [[encode(key, depth + 1), encode(item, depth + 1)] for key, item in pairs]}
    if kind in _VIEWS:
        return {_VIEWS[kind]: [encode(part, depth + 1) for part in value]}  # type: ignore[attr-defined]
    numpy = sys.modules.get("numpy")
    if numpy is not None and issubclass(kind, numpy.generic):
        return encode(value.item(), depth + 1)  # type: ignore[attr-defined]
    if isinstance(value, Iterator):
        parts_taken = [encode(part, depth + 1) for part in itertools.islice(value, MOST_ITEMS + 1)]
        if len(parts_taken) <= MOST_ITEMS:
            return {"iterator": parts_taken}
    return {"opaque": kind.__name__}


_SEQUENCES: list[tuple[type, str, Callable[[Any], Any]]] = [
    (list, "list", list.__iter__),
    (tuple, "tuple", tuple.__iter__),
    (set, "set", set.__iter__),
    (frozenset, "frozenset", frozenset.__iter__),
    (deque, "deque", deque.__iter__),
    (range, "range", lambda r: (r.start, r.stop, r.step)),
]

_SCALARS: list[tuple[type, str, Callable[[Any], Any]]] = [
    (int, "int", lambda n: format(int.__int__(n), "x")),
    (float, "float", float.hex),
    (
        complex,
        "complex",
        lambda z: [float.hex(complex.__complex__(z).real), float.hex(complex.__complex__(z).imag)],
    ),
    (str, "str", str.__str__),
    (bytes, "bytes", bytes.hex),
]


def decode(message: Json) -> Any:
    """The value of a tagged message; raises ``NotPlain`` for anything that ``encode`` does not write."""
    try:
        return _decode(message)
    except (TypeError, ValueError, KeyError, AttributeError, RecursionError) as error:
        raise NotPlain(f"not an encoded value: {type(error).__name__}") from None


def _decode(message: Json) -> Any:
    if message is None or isinstance(message, bool | str | int | float):
        return message
    ((tag, content),) = message.items()
    return _BUILDERS[tag](content)


def _all(content: Json) -> list[Any]:
    return [_decode(part) for part in content]


_BUILDERS: dict[str, Callable[[Any], Any]] = {
    "int": lambda text: int(text, 16),
    "float": float.fromhex,
    "complex": lambda pair: complex(float.fromhex(pair[0]), float.fromhex(pair[1])),
    "str": str,
    "bytes": bytes.fromhex,
    "list": _all,
    "tuple": lambda content: tuple(_all(content)),
    "set": lambda content: set(_all(content)),
    "frozenset": lambda content: frozenset(_all(content)),
    "deque": lambda content: deque(_all(content)),
    "range": lambda content: range(*_all(content)),
    "dict": lambda content: {_decode(k): _decode(v) for k, v in content},
    "keys": lambda content: dict.fromkeys(_all(content)).keys(),
    "values": lambda content: dict(enumerate(_all(content))).values(),
    "pairs": lambda content: dict(_all(content)).items(),
    "iterator": lambda content: iter(_all(content)),
    "opaque": lambda kind: Opaque(str(kind)[:80]),
}
