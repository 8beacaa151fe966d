"""Where a text gives away a secret or a person: keys, tokens, passwords, e-mail and IP addresses.

One pass of RE2 over the bytes finds whatever could be one, in time linear in the text whatever it
holds; what was found must then look like one.  ``secrets.toml`` has the shapes of providers' tokens;
the other kinds are here: private keys, passwords in URLs, values assigned to names like ``api_key``,
e-mail addresses and global IP addresses.

Not secrets, and left alone: example domains (RFC 2606), noreply and git addresses, private, loopback and
documentation IP ranges (RFC 5737, RFC 3849), public resolvers, version numbers, values that are templates
or words, and our own placeholders.  Nothing is ever tried out on a provider's server.
"""

from __future__ import annotations

import hashlib
import ipaddress
import math
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

import re2

PASSWORD_LENGTH = 8
TOKEN_LENGTH = 16
"""Characters; what is shorter and assigned to a name is no secret worth having."""

BITS = 3.0
"""Shannon entropy per character that a value has at least (detect-secrets: 3.0 for hex, 4.5 for base64)."""

SHORT_BITS = 2.5
"""The same for fewer than 12 characters, which cannot hold much."""

LONGEST_NAME = 80
"""Bytes before a value that are read as its name."""

LONGEST_BLOCK = 16 << 10
"""Bytes of a private key; one of 8192 bits takes 6,400."""

RESOLVERS = {
    "1.0.0.1",
    "1.1.1.1",
    "4.2.2.2",
    "8.8.4.4",
    "8.8.8.8",
    "9.9.9.9",
    "208.67.220.220",
    "208.67.222.222",
}
"""Public name servers, known to everybody; BigCode keeps them too."""


class Secret(NamedTuple):
    """One secret: its kind, and where it stands, in characters of the text."""

    kind: str
    start: int
    end: int


Span = tuple[int, int]
"""First byte, and the byte after the last."""


def digest() -> str:
    """Of this module and its patterns: what was found by others is to be looked for again."""
    here = Path(__file__)
    return hashlib.sha256(here.read_bytes() + here.with_suffix(".toml").read_bytes()).hexdigest()


def find(text: str) -> list[Secret]:
    """The secrets of a text in order, without overlaps.

    >>> find("mail('ann.smith@uni-bonn.de')")
    [Secret(kind='email', start=6, end=27)]
    """
    data = text.encode()
    found: list[Secret] = []
    done = 0
    for kind, start, end in sorted(_candidates(data), key=lambda secret: (secret.start, -secret.end)):
        if start >= done:
            found.append(Secret(kind, start, end))
            done = end
    return found if len(data) == len(text) else _in_characters(data, found)


def _candidates(data: bytes) -> Iterator[Secret]:
    for match in _ANY.finditer(data):
        kind = match.lastgroup.decode()
        spans = list(_CHECKS[kind](data, match.span()))
        yield from (Secret(kind, *span) for span in spans)
        if not spans and kind in _SPANNING:
            yield from _tokens(data, match.span())


def _tokens(data: bytes, at: Span) -> Iterator[Secret]:
    """Providers' tokens where another kind's trigger stood before them and came to nothing."""
    for match in _ANY_TOKEN.finditer(data[at[0] : at[1]]):
        kind, span = match.lastgroup.decode(), (at[0] + match.start(), at[0] + match.end())
        yield from (Secret(kind, *found) for found in _provider(data, span))


def _in_characters(data: bytes, found: list[Secret]) -> list[Secret]:
    """Byte positions as character positions, in one walk through the text."""
    placed = []
    byte = character = 0
    for kind, start, end in found:
        first = character + len(data[byte:start].decode())
        character = first + len(data[start:end].decode())
        byte = end
        placed.append(Secret(kind, first, character))
    return placed


# ---------------------------------------------------------------------------- kinds: triggers and checks


def _email(data: bytes, at: Span) -> Iterator[Span]:
    """The trigger is the sign with a character before it and a dotted name after it."""
    sign = data.index(b"@", at[0])
    local = _LOCAL.search(data, max(0, sign - 64), sign)
    domain = _DOMAIN.match(data, sign + 1, sign + 254)
    if local is None or domain is None:
        return
    start = local.start()
    if data[start - 1 : start] == b"\\" and data[start : start + 1] in b"nrt" and sign - start > 1:
        start += 1  # "\nann@…" in a string
    labels = domain[0].lower().split(b".")
    while labels and not _is_top_level(labels[-1]):
        labels.pop()
    end = sign + 1 + len(b".".join(labels))
    if len(labels) < 2 or _is_nobody(data[start:sign].lower(), labels):
        return
    product = sign - start == 1 and len(labels[0]) == 1  # of matrices: x@w.to(device)
    if data[end : end + 1] != b"(" and not product:
        yield start, end


def _is_top_level(label: bytes) -> bool:
    return label in _TOP_LEVEL or (len(label) == 2 and label.isalpha())


def _is_nobody(local: bytes, labels: list[bytes]) -> bool:
    """Addresses that stand for no person: examples, robots, the user of ssh."""
    joined = local.replace(b"-", b"").replace(b"_", b"")
    robot = joined == b"git" or joined.endswith((b"noreply", b"donotreply"))
    return robot or b"noreply" in labels or labels[-2] == b"example" or labels[-1] in _RESERVED


def _ipv4(data: bytes, at: Span) -> Iterator[Span]:
    """Not the number of a version or a section: these are small, and no URL or name is before them."""
    start, end = at
    address = _address(data[start:end])
    if address is None or not address.is_global or str(address) in RESOLVERS:
        return
    small = all(int(octet) < 32 for octet in data[start:end].split(b"."))
    numbered = _VERSION.search(data, max(0, start - 24), start)
    used = _NETWORK.search(data, max(0, start - 24), start)
    joined = _JOINED_BEFORE.search(data, max(0, start - 1), start) or _JOINED_AFTER.match(data, end)
    if not (numbered or joined or (small and not used)):
        yield start, end


def _ipv6(data: bytes, at: Span) -> Iterator[Span]:
    start, end = at
    address = _address(data[start:end])
    if address is not None and address.is_global and data[end : end + 1] not in (b".", b":"):
        yield start, end


def _address(digits: bytes) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(digits.decode())
    except ValueError:
        return None


def _private_key(data: bytes, at: Span) -> Iterator[Span]:
    """The base64 of a block, line by line, so that quotes and comment signs around the lines stay."""
    body = data[at[1] : at[1] + LONGEST_BLOCK]
    end = body.find(b"-----END")
    if end < 0:  # cut off: as far as its lines are full
        lines = body.split(b"\n")[1:]
        end = sum(len(line) + 1 for line in takewhile(_KEY_LINE.search, lines)) + body.find(b"\n") + 1
    for run in _BASE64.finditer(body[:end]):
        yield at[1] + run.start(1), at[1] + run.end(1)


def _url_password(data: bytes, at: Span) -> Iterator[Span]:
    """The trigger is ``://user:password@``."""
    start = data.index(b":", at[0] + 3) + 1
    value = data[start : at[1] - 1]
    if len(value) >= 4 and not _is_said(value):
        yield start, at[1] - 1


def _assigned(data: bytes, at: Span) -> Iterator[Span]:
    """The trigger is a telling name and the quote that opens its value."""
    start = at[1]
    end = data.find(data[start - 1 : start], start, start + 512)
    name = data[max(at[0], start - LONGEST_NAME) : start].lower()
    least = PASSWORD_LENGTH if name.startswith((b"pass", b"pwd")) else TOKEN_LENGTH
    if end - start >= least and not _HARMLESS_NAME.search(name) and _is_random(data[start:end]):
        yield start, end


def _bare(data: bytes, at: Span) -> Iterator[Span]:
    """The trigger is a telling name and a long value without quotes, to the end of the line."""
    line = data[at[0] : at[1]].rstrip()
    name = 1 + max(line.rstrip(b"=").rfind(sign) for sign in (b" ", b"\t", b":", b"="))
    token = line[name:]
    harmless = _HARMLESS_NAME.search(line[max(0, name - LONGEST_NAME) : name].lower())
    if not harmless and sum(map(_is_digit, token)) >= 3 and _is_random(token):
        yield at[0] + name, at[0] + len(line)


def _authorization(data: bytes, at: Span) -> Iterator[Span]:
    value = data[at[0] : at[1]].split()[-1]
    if _is_random(value):
        yield at[1] - len(value), at[1]


def _provider(data: bytes, at: Span) -> Iterator[Span]:
    value = data[at[0] : at[1]]
    if _entropy(value) >= BITS and not _PUBLIC.search(value):
        yield at


def _is_random(value: bytes) -> bool:
    """Whether a value looks drawn and not written: letters and digits, entropy, no words, no template."""
    mixed = any(map(_is_digit, value)) and value.upper() != value.lower()
    enough = BITS if len(value) >= 12 else SHORT_BITS
    return mixed and not _is_said(value) and not _is_name(value) and _entropy(value) >= enough


def _is_said(value: bytes) -> bool:
    """A template to be filled in, a value that says it is none, or prose."""
    return _TEMPLATE.search(value) is not None or _WORDS.search(value.lower()) is not None


def _is_name(value: bytes) -> bool:
    """Whether all parts between signs are words or numbers, as in ``keyword.operator-2`` or a path."""
    parts = re.split(rb"[^A-Za-z0-9]+", value)
    return len(parts) > 1 and all(
        re.fullmatch(rb"[A-Z]?[a-z]*|[A-Z]*|\d{0,4}|[a-z]+\d{1,2}", part) for part in parts
    )


def _is_digit(byte: int) -> bool:
    return 48 <= byte <= 57


def _entropy(value: bytes) -> float:
    """Bits per byte of a value, from its own frequencies."""
    counts = Counter(value).values()
    return -sum(count / len(value) * math.log2(count / len(value)) for count in counts)


_NAME = (
    r"(?i:pass(?:word|wd|phrase)|pwd|secret|token|api[_-]?key|access[_-]?key|auth[_-]?key|private[_-]?key|"
    r"encryption[_-]?key|signing[_-]?key|client[_-]?key|credentials?)[\w-]*"
)
_SIGN = r"\s*(?::=|=>|[:=])\s*"
_LOCAL = re.compile(rb"(?:[A-Za-z0-9]|[\xc3-\xc9][\x80-\xbf])(?:[A-Za-z0-9._%+-]|[\xc3-\xc9][\x80-\xbf])*\Z")
"""Latin letters with accents too; of a script that writes no spaces, what stands before is no part of it."""
_DOMAIN = re.compile(rb"[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+")
_TOP_LEVEL = frozenset(
    b"com org net edu gov mil int info biz name pro io dev app xyz online site tech cloud email company "
    b"software systems solutions page blog wiki club science agency network studio digital".split()
)
_RESERVED = (b"example", b"invalid", b"localhost", b"local", b"test")
_VERSION = re.compile(
    rb"(?i)(?:(?:\b|_)(?:version|ver|release|rel|build|revision|rev|section|chapter|clause|v)|[=<>~^]=|[~^])"
    rb"[_\"'\s:=(,]*\Z"
)
_NETWORK = re.compile(rb"(?i)(?://|[@:])\Z|(?:(?:\b|_)ip|host|addr|address|server|ping|ssh)[\"'\s:=(,]*\Z")
_JOINED_BEFORE = re.compile(rb"[\w.+-]\Z")
_JOINED_AFTER = re.compile(rb"[A-Za-z_-]|\.\d")
_KEY_LINE = re.compile(rb"^[^\w\n]{0,8}[A-Za-z0-9+/]{40}")
_BASE64 = re.compile(rb"(?:\\[nrt])*([A-Za-z0-9+/]{16,}={0,2}|[A-Za-z0-9+/]+={1,2})")
_HARMLESS_NAME = re.compile(
    rb"(?:url|uri|type|name|path|file|field|header|prefix|suffix|regex|pattern|format|endpoint|class|id|"
    rb"label|message|error|hint|help|description|placeholder|param|scope|env|var|title)s?[\"'\s:=>]*\Z"
)
_TEMPLATE = re.compile(
    rb"[\s<>{}()\[\]|,;\\`]|\$\w|%[sd(]|\*\*|\.\.\.|^\$|://|^[./~]|^(?:os|process|env|config|self|this)\."
)
_WORDS = re.compile(
    rb"redacted|example|placeholder|change|your|dummy|fake|sample|secret|passw|passphrase|token|default|"
    rb"testing|mysql|postgres|insert|replace|xxxx|1234|abcd|0000|foobar|hunter2|^test|test$|^admin|"
    rb"^(?:root|user|pass|guest)$"
)
_PUBLIC = re.compile(
    rb"(?i)example|SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c|xxxxx|redacted|12345678|abcdef"
)
"""Keys out of documentation: whoever knows them knows nothing."""

_PROVIDERS = {
    kind: table["pattern"]
    for kind, table in tomllib.loads(Path(__file__).with_name("secrets.toml").read_text()).items()
}
_KINDS: dict[str, tuple[str, Callable[[bytes, Span], Iterator[Span]]]] = {
    "private_key": (r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----", _private_key),
    "password_in_url": (r"://[^\s/:@\"'<>]{0,64}:[^\s/:@\"'<>]{1,128}@", _url_password),
    **{kind: (pattern, _provider) for kind, pattern in _PROVIDERS.items()},
    "authorization": (r"(?i:\b(?:bearer|basic))[ \t]+[A-Za-z0-9+/=_.~-]{16,}", _authorization),
    "assigned": (_NAME + r"[\"']?" + _SIGN + r"[\"'`]", _assigned),
    "bare": (_NAME + r"[ \t]*[:=][ \t]*[A-Za-z0-9+/_-]{16,}={0,2}[ \t]*(?:\r?\n|\z)", _bare),
    "email": (r"(?:[A-Za-z0-9_%+.-]|[\xc3-\xc9][\x80-\xbf])@[A-Za-z0-9-]+\.[A-Za-z0-9]", _email),
    "ipv4": (r"\b(?:[0-9]{1,3}\.){3}[0-9]{1,3}\b", _ipv4),
    "ipv6": (r"\b[23][0-9A-Fa-f]{3}:(?:[0-9A-Fa-f]{0,4}:){1,6}[0-9A-Fa-f]{1,4}\b", _ipv6),
}
_CHECKS = {kind: check for kind, (_, check) in _KINDS.items()}
_SPANNING = ("password_in_url", "authorization", "bare")
"""Kinds whose trigger holds the value, so that no other trigger is found in it: ``HF_TOKEN=hf_…``."""


def _options() -> re2.Options:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1  # bytes, whatever they mean
    options.max_mem = 64 << 20
    return options


def _any(patterns: Mapping[str, str]) -> re2._Regexp:
    named = (f"(?P<{kind}>{pattern})" for kind, pattern in patterns.items())
    return re2.compile("|".join(named).encode(), _options())


_ANY = _any({kind: pattern for kind, (pattern, _) in _KINDS.items()})
_ANY_TOKEN = _any(_PROVIDERS)
