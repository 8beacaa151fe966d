"""What tree-sitter says of one file: how much of it does not parse, and what it imports.

The grammars are those bundled in tree-sitter-language-pack 0.13 (later releases download theirs at run
time).  They are C code that reads hostile text, and one of them never returns on five bytes, so nothing
here is called in a process that must survive: see `watched`.
"""

from __future__ import annotations

from functools import cache
from hashlib import blake2b
from typing import NamedTuple, cast

import tree_sitter_language_pack as pack
from tree_sitter import Node, Parser, Tree

from crawl.imports import families
from crawl.imports.find import Finder

_OF_THE_SAME_NAME = (
    "ada agda c clojure cmake cpp css cuda dart dockerfile elixir elm erlang fortran glsl go groovy "
    "haskell html java javascript json julia kotlin lua markdown matlab ocaml pascal perl php powershell "
    "python r racket ruby rust scala scheme solidity sparql sql tcl thrift typescript verilog vhdl yaml zig"
)
GRAMMARS = {name: name for name in _OF_THE_SAME_NAME.split()} | {
    "assembly": "asm",
    "c-sharp": "csharp",
    "common-lisp": "commonlisp",
    "emacs-lisp": "elisp",
    "f-sharp": "fsharp",
    "jupyter-notebook": "json",
    "makefile": "make",
    "protocol-buffer": "proto",
    "restructuredtext": "rst",
    "shell": "bash",
    "systemverilog": "verilog",
    "tcsh": "bash",
    "tex": "latex",
    "xslt": "xml",
}
"""The grammar of each language that has one; ``cobol`` is absent on purpose (it hangs on ``a = 1``)."""


def grammar_of(language: str, path: str) -> str | None:
    """The grammar for a file; TypeScript with markup in it has one of its own."""
    return "tsx" if path.endswith(".tsx") else GRAMMARS.get(language)


SHORTEST = 12
"""Bytes of a node worth filling in; below, it is a bracket or a short name."""


class Outcome(NamedTuple):
    """One row of the table ``parsed``, less its key."""

    status: str
    """parsed, no_grammar, too_large, timeout or crashed."""
    error_share: float | None = None
    """Bytes under ERROR and MISSING nodes by bytes; None unless parsed."""
    imports: tuple[str, ...] = ()
    """Targets as `crawl.imports` resolves them, in file order, once each."""
    mentions: tuple[str, ...] = ()
    """Names that need no import where they stand, sorted."""
    defines: tuple[str, ...] = ()
    """Names that the file offers to others, in file order."""
    declares: str | None = None
    """The package, namespace or module that the file says it is."""
    nodes: tuple[int, ...] = ()
    """Where nodes of its tree begin and end, in characters, two numbers for each, in file order."""


def look(source: bytes, grammar: str, nodes: int = 0) -> Outcome:
    """Parse UTF-8 ``source``.  May hang or kill the process; holds the GIL.

    Args:
        nodes: Nodes of the tree whose place is wanted, at most.
    """
    parser, finder = _tools(grammar)
    tree: Tree = parser.parse(source)
    found = finder.find(tree.root_node)
    places = in_characters(source, middles(tree, nodes)) if nodes else ()
    return Outcome("parsed", error_share(tree, len(source)), *found, places)


def middles(tree: Tree, most: int) -> list[tuple[int, int]]:
    """Where whole nodes stand that would be good middles to fill in, in bytes, in file order.

    Statements, blocks, arguments, names of some length: every named node of ``SHORTEST`` bytes up to half
    the file that holds no error, as in AST-FIM (Gong et al. 2025), where a whole node is what is masked.
    Of more than ``most`` those stay that a hash of their place favours, so large nodes and small ones alike.
    """
    found = set()
    cursor = tree.walk()
    size = tree.root_node.end_byte - tree.root_node.start_byte
    while True:
        node = cast(Node, cursor.node)
        length = node.end_byte - node.start_byte
        if length >= SHORTEST:
            if node.is_named and length <= size / 2 and not node.has_error:
                found.add((node.start_byte, node.end_byte))
            if cursor.goto_first_child():
                continue
        while not cursor.goto_next_sibling():
            if not cursor.goto_parent():
                return sorted(sorted(found, key=_lot)[:most])


def _lot(place: tuple[int, int]) -> bytes:
    return blake2b(b"%d-%d" % place, digest_size=8).digest()


def in_characters(source: bytes, places: list[tuple[int, int]]) -> tuple[int, ...]:
    """Places in UTF-8 as places in its text, in one row of numbers."""
    at = characters = 0
    known = {}
    for byte in sorted({byte for place in places for byte in place}):
        characters += len(source[at:byte].decode("utf-8", "replace"))
        known[byte], at = characters, byte
    return tuple(known[byte] for place in places for byte in place)


def error_share(tree: Tree, size: int) -> float:
    """The share of the ``size`` bytes that stand under ERROR nodes; a missing token counts as one byte.

    Walks with a cursor, so that depth costs no stack, and only into subtrees that hold an error.
    """
    if not tree.root_node.has_error or size == 0:
        return 0.0
    bad = 0
    cursor = tree.walk()
    while True:
        node = cast(Node, cursor.node)
        if node.is_error or node.is_missing:
            bad += max(node.end_byte - node.start_byte, 1)
        elif node.has_error and cursor.goto_first_child():
            continue
        while not cursor.goto_next_sibling():
            if not cursor.goto_parent():
                return min(bad / size, 1.0)


@cache
def _tools(grammar: str) -> tuple[Parser, Finder]:
    language = pack.get_language(cast(pack.SupportedLanguage, grammar))
    return Parser(language), Finder(language, families.GRAMMARS.get(grammar))
