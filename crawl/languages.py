"""Which language a file is written in: by its name, its first line, its words, and its neighbours.

The 87 languages of the paper's Table 1, with Markdown and reStructuredText.  ``languages.toml`` says
how each is recognised and how it writes comments, ``ambiguous.toml`` decides the extensions that
several of them share.  In order: whole file name, extension, modeline, "#!" line, content rules; what
these leave open (a C or C++ header, say) is settled by the files around it.

A file in any other language has none here.  Nothing is guessed from prose.
"""

from __future__ import annotations

import fnmatch
import re
import tomllib
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

HEAD = 32_000
"""Characters that content rules look at."""

LONGEST_LINE = 400
"""Content rules see lines cut to this, so that no input makes a pattern run for long."""

NOT_IN_THE_PAPER = {"markdown", "restructuredtext"}
"""The README of DeepSeek-Coder lists them, Table 1 of the paper does not."""


@dataclass(frozen=True)
class Language:
    """How a language is named, recognised and commented; see the note in ``languages.toml``."""

    key: str
    name: str
    extensions: tuple[str, ...] = ()
    filenames: tuple[str, ...] = ()
    interpreters: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    line: str | None = None
    block: tuple[str, str] | None = None

    @classmethod
    def of_table(cls, key: str, table: Mapping[str, Any]) -> Language:
        """A language from its TOML table, whose lists become tuples."""
        facts: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in table.items()}
        return cls(key=key, **facts)

    @property
    def in_paper(self) -> bool:
        return self.key not in NOT_IN_THE_PAPER


@dataclass(frozen=True)
class Ambiguity:
    """How one shared extension is decided; see the note in ``ambiguous.toml``."""

    rules: tuple[tuple[str, re.Pattern[str]], ...]
    otherwise: tuple[str, ...]

    @property
    def languages(self) -> set[str]:
        return {language for language, _ in self.rules} | set(self.otherwise)


def _load() -> dict[str, Language]:
    tables = tomllib.loads(Path(__file__).with_name("languages.toml").read_text())
    return {key: Language.of_table(key, table) for key, table in tables.items()}


def _load_ambiguities() -> dict[str, Ambiguity]:
    tables = tomllib.loads(Path(__file__).with_name("ambiguous.toml").read_text())
    return {
        extension: Ambiguity(
            tuple((language, _one_line(rule)) for language, rule in table["rules"]), tuple(table["otherwise"])
        )
        for extension, table in tables.items()
    }


def _one_line(rule: str) -> re.Pattern[str]:
    """Rules stay within a line, so their time grows with the length of the text and not its square."""
    rule = rule.replace(r"\A\s*", r"\A[ \t\n]*").replace(r"\s", r"[ \t]").replace("[^", r"[^\n")
    return re.compile(rule, re.MULTILINE)


LANGUAGES: dict[str, Language] = _load()
"""All languages by key, in alphabetical order."""

_AMBIGUITIES = _load_ambiguities()
_EXTENSIONS = {
    extension: language.key for language in LANGUAGES.values() for extension in language.extensions
}
_FILENAMES = {name: language.key for language in LANGUAGES.values() for name in language.filenames}
_PATTERNS = [(pattern, key) for pattern, key in _FILENAMES.items() if "*" in pattern]
_INTERPRETERS = {name: language.key for language in LANGUAGES.values() for name in language.interpreters}
_MODES = {
    name.lower(): language.key
    for language in LANGUAGES.values()
    for name in (language.key, language.name, *language.aliases)
}

_EMACS = re.compile(
    r"-\*-[ \t]*(?:[^\n]{0,200}?\bmode:[ \t]*)?([\w+#-]+)[ \t]*(?:;[^\n]*)?-\*-", re.IGNORECASE
)
_VIM = re.compile(r"\b(?:vim?|ex):[^\n]{0,200}?\b(?:ft|filetype|syntax)=([\w+#-]+)", re.IGNORECASE)
_SHEBANG = re.compile(r"\A#![ \t]*(?:\S*/)?env[ \t]+(?:-\S+[ \t]+|\w+=\S*[ \t]+)*(\S+)|\A#![ \t]*(\S+)")
_EXEC = re.compile(r'^[ \t]*exec[ \t]+(\S+)[^\n]*"\$0"', re.MULTILINE)


def candidates(path: str, text: str) -> tuple[str, ...]:
    """The languages that a file may be in: one is certain, several must be settled, none is none of ours.

    Args:
        path: Slash-separated; only the last part counts.
        text: The file's text, or at least its beginning.
    """
    name = PurePosixPath(path).name
    if name in _FILENAMES:
        return (_FILENAMES[name],)
    extension = _extension(name)
    if extension is None and name.endswith(".in"):  # a template: Makefile.in, config.h.in
        return candidates(path.removesuffix(".in"), text)
    if extension is not None and extension not in _AMBIGUITIES:
        by_extension = _EXTENSIONS[extension]
        by_interpreter = _interpreter(text)
        # A polyglot's first line may name sh, and a literate script's the language that it is written in;
        # any other interpreter knows better than the extension.
        if by_interpreter in (None, "shell") or by_extension.startswith("literate-"):
            return (by_extension,)
        return (by_interpreter,)
    for pattern, key in _PATTERNS:
        if fnmatch.fnmatchcase(name, pattern):
            return (key,)
    stated = _modeline(text) or _interpreter(text)
    if extension is None:
        return (stated,) if stated else ()
    ambiguity = _AMBIGUITIES[extension]
    if stated in ambiguity.languages or (stated and text.startswith("#!")):
        return (stated,)
    head = "\n".join(line[:LONGEST_LINE] for line in text[:HEAD].split("\n"))
    for language, rule in ambiguity.rules:
        if rule.search(head):
            return (language,)
    return ambiguity.otherwise


def settle(files: Mapping[str, tuple[str, ...]]) -> dict[str, str | None]:
    """The language of every file of one repo, where open questions go by a vote of the repo's sure files.

    The files of the same stem vote first (``list.c`` for ``list.h``), then those of the directory, then
    all; without any vote the first candidate wins.

    Args:
        files: ``candidates`` by path.

    Returns:
        By path, a key of ``LANGUAGES``, or None.
    """
    votes: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for path, options in files.items():
        if len(options) == 1:
            for electorate in _electorates(path):
                votes[electorate][options[0]] += 1

    def settled(path: str, options: tuple[str, ...]) -> str | None:
        for electorate in _electorates(path) if len(options) > 1 else ():
            counts = [votes[electorate][option] for option in options]
            if max(counts) > 0:
                return _ours(options[counts.index(max(counts))])
        return _ours(options[0]) if options else None

    return {path: settled(path, options) for path, options in files.items()}


def of(path: str, text: str) -> str | None:
    """The language of a file alone, without a repo around it."""
    return settle({path: candidates(path, text)})[path]


def comment(language: str, text: str) -> str | None:
    """``text`` as a one-line comment of a language; None where it has none (JSON, notebooks).

    >>> comment("python", "model.py")
    '# model.py'
    """
    known = LANGUAGES[language]
    text = " ".join(text.split())
    if known.line is not None:
        return f"{known.line} {text}"
    if known.block is not None:
        start, end = known.block
        return f"{start} {text.replace(end, ' ')} {end}"
    return None


def _ours(language: str) -> str | None:
    return language if language in LANGUAGES else None


def _electorates(path: str) -> tuple[tuple[str, str], ...]:
    pure = PurePosixPath(path)
    return (("stem", str(pure.with_suffix(""))), ("directory", str(pure.parent)), ("repo", ""))


@cache
def _known_suffix(suffix: str) -> str | None:
    """Extensions are compared without case, but for those whose case tells (.C is C++, .c is C)."""
    for known in (suffix, suffix.lower()):
        if known in _EXTENSIONS:
            return known
    return None


def _extension(name: str) -> str | None:
    """The longest known extension of a file name."""
    parts = name.split(".")
    for start in range(max(1, len(parts) - 3), len(parts)):
        known = _known_suffix("." + ".".join(parts[start:]))
        if known is not None:
            return known
    return None


def _modeline(text: str) -> str | None:
    """The language an Emacs or Vim modeline states."""
    first = text[:2000].split("\n", 5)[:5]
    last = text[-1000:].rsplit("\n", 5)[-5:]
    emacs = _EMACS.search("\n".join(first[:2]))
    found = emacs or _VIM.search("\n".join(first)) or _VIM.search("\n".join(last))
    return _MODES.get(found[1].lower()) if found else None


def _interpreter(text: str) -> str | None:
    """The language of the program that a "#!" line runs."""
    if not text.startswith("#!"):
        return None
    head = text[:2000]
    found = _SHEBANG.match(head)
    if found is None:
        return None
    language = _by_interpreter(found[1] or found[2])
    if language == "shell":  # a shell that hands over at once: exec wish "$0"
        handed = _EXEC.search("\n".join(head.split("\n", 10)[:10]))
        language = (handed and _by_interpreter(handed[1])) or language
    return language


def _by_interpreter(program: str) -> str | None:
    name = program.rsplit("/", 1)[-1]
    return _INTERPRETERS.get(name) or _INTERPRETERS.get(re.sub(r"[\d.]+$", "", name))
