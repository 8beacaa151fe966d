"""What a file imports: tree-sitter queries, run on the tree that was parsed anyway.

The paper finds imports by regular expressions (section 2.2); a query on the tree finds the same ones
without those in strings and comments.  The names of captures say how a target is written down:

- ``target`` as it stands, ``module`` and ``name`` joined by ``Grammar.joint``;
- ``near`` as a path relative to the file, ``tree`` as a tree in braces, ``words`` as several between blanks;
- ``mention`` as a name that needs no import where it stands, such as a class of the same package;
- ``declares`` is the package, namespace or module of the file, ``defines`` what it offers to others.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from tree_sitter import Language, Node, Query, QueryCursor


class Grammar(NamedTuple):
    """How one language says what it needs, and what it is called itself."""

    query: str
    joint: str = ""
    mentions: str = ""
    """A query of its own, for it matches far more often than the other."""


MAX_TARGETS = 5000
"""No one writes more; a file that has more is data."""

MAX_TARGET = 500
"""Characters of one target, likewise."""


class Found(NamedTuple):
    """What a file imports, mentions, defines (once each) and declares itself to be."""

    imports: tuple[str, ...] = ()
    mentions: tuple[str, ...] = ()
    defines: tuple[str, ...] = ()
    declares: str | None = None


class Finder:
    """The imports of trees of one grammar; the queries are compiled once."""

    def __init__(self, language: Language, grammar: Grammar | None):
        self.grammar = grammar or Grammar("")
        self.query = Query(language, self.grammar.query) if self.grammar.query else None
        self.mentions = Query(language, self.grammar.mentions) if self.grammar.mentions else None

    def find(self, root: Node) -> Found:
        """The targets under ``root``, as the resolvers read them."""
        placed: list[tuple[int, str]] = []
        told: dict[str, list[tuple[int, str]]] = {"declares": [], "defines": []}
        for captures in self._matches(root):
            texts = {name: _text(nodes[0]) for name, nodes in captures.items()}
            start = max(nodes[0].start_byte for nodes in captures.values())
            if kind := next((name for name in told if name in texts), None):
                told[kind].append((start, texts[kind]))
            else:
                placed += [(start, target) for target in _targets(texts, self.grammar.joint)]
        declares = min(told["declares"])[1][:MAX_TARGET] if told["declares"] else None
        return Found(_in_order(placed), self._mentions(root), _in_order(told["defines"]), declares)

    def _matches(self, root: Node) -> Iterator[dict[str, list[Node]]]:
        if self.query is not None:
            yield from (captures for _, captures in QueryCursor(self.query).matches(root))

    def _mentions(self, root: Node) -> tuple[str, ...]:
        if self.mentions is None:
            return ()
        nodes = QueryCursor(self.mentions).captures(root).get("mention", [])
        return tuple(
            sorted({text for node in nodes if 0 < len(text := _text(node)) <= MAX_TARGET})[:MAX_TARGETS]
        )


def _in_order(placed: list[tuple[int, str]]) -> tuple[str, ...]:
    targets = dict.fromkeys(target for _, target in sorted(placed, key=lambda pair: pair[0]))
    return tuple(target for target in targets if 0 < len(target) <= MAX_TARGET)[:MAX_TARGETS]


def _targets(texts: dict[str, str], joint: str) -> list[str]:
    if "tree" in texts:
        return paths_of(texts["tree"])
    if "near" in texts:
        return ["./" + texts["near"].lstrip("/")]
    if "words" in texts:
        return texts["words"].split()
    if "module" in texts:
        return [texts["module"] + joint + texts["name"]]
    return [texts["target"]]


def paths_of(tree: str) -> list[str]:
    """The paths of a tree in braces, as Rust, Scala and Elixir write them.

    >>> paths_of("crate::a::{b, c::{self, d as e}}")
    ['crate::a::b', 'crate::a::c::self', 'crate::a::c::d']
    >>> paths_of("import a.b.{C, D => E}, f._")
    ['a.b.C', 'a.b.D', 'f']
    """
    paths: list[str] = []
    prefixes = [""]
    path = ""
    tree = re.sub(r"//[^\n]*|/\*.*?\*/|^import\s", "", tree, flags=re.DOTALL)
    for piece in re.findall(r"[{},]|[^{},]+", tree):
        if piece == "{":
            prefixes.append(path)
        elif piece == "}" and len(prefixes) > 1:
            prefixes.pop()
        if piece in "{},":
            path = prefixes[-1]
        elif name := re.sub(r"\s+as\s.*|\s*=>.*", "", piece.strip()):
            path = prefixes[-1] + name
            if not path.endswith(("::", ".")):
                paths.append(re.sub(r"(::\*|\._|\.\*)$", "", path))
    return paths


_VERBATIM = ("string_content", "string_fragment", "content", "use_list", "scoped_use_list", "use_as_clause")
_TREES = ("import_declaration", "dot")


def _text(node: Node) -> str:
    """The source of a node; white space and line continuations inside a dotted name mean nothing."""
    text = (node.text or b"").decode("utf-8", "replace")
    if node.type in _VERBATIM or node.type in _TREES:
        return text
    return re.sub(r"\\?\s+", "", text).strip("\"'")
