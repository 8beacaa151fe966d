"""What a file imports, per language: one tree-sitter query each, run on the tree that was parsed anyway.

The paper finds imports by regular expressions (section 2.2); a query on the tree finds the same ones
without those in strings and comments.  Which file of the repo a target means is `resolve`'s business.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from tree_sitter import Language, Node, Query, QueryCursor


class Grammar(NamedTuple):
    """How one language says what it needs, and what it is called itself.

    The names of captures say how a target is written down: ``target`` as it stands; ``module`` and
    ``name`` joined by ``joint``; ``near`` as a path relative to the file; ``use`` as a Rust use tree;
    ``declares`` is the package or namespace of the file itself.
    """

    query: str
    joint: str = ""


_JAVASCRIPT = """
(import_statement source: (string (string_fragment) @target))
(export_statement source: (string (string_fragment) @target))
(call_expression function: (import) arguments: (arguments . (string (string_fragment) @target)))
((call_expression function: (identifier) @_function
                  arguments: (arguments . (string (string_fragment) @target)))
 (#eq? @_function "require"))
"""

_TYPESCRIPT = _JAVASCRIPT + "(import_require_clause source: (string (string_fragment) @target))"

_INCLUDE = """
(preproc_include path: (string_literal (string_content) @target))
(preproc_include path: (system_lib_string) @target)
"""

_PYTHON = """
(import_statement name: (dotted_name) @target)
(import_statement name: (aliased_import name: (dotted_name) @target))
(import_from_statement module_name: (_) @module name: (dotted_name) @name)
(import_from_statement module_name: (_) @module name: (aliased_import name: (dotted_name) @name))
(import_from_statement module_name: (_) @target (wildcard_import))
"""

_JAVA = """
(package_declaration [(identifier) (scoped_identifier)] @declares)
(import_declaration (scoped_identifier) @target)
"""

_GO = "(import_spec path: (interpreted_string_literal (interpreted_string_literal_content) @target))"

_RUST = """
(mod_item name: (identifier) @near !body)
(use_declaration argument: (_) @use)
"""

_CSHARP = """
(using_directive (qualified_name) @target)
(using_directive !name (identifier) @target)
(namespace_declaration name: (_) @declares)
(file_scoped_namespace_declaration name: (_) @declares)
"""

_PHP = """
(namespace_definition name: (namespace_name) @declares)
(namespace_use_declaration (namespace_use_clause (qualified_name) @target))
(namespace_use_declaration (namespace_name) @module
                           body: (namespace_use_group (namespace_use_clause . (_) @name)))
(require_expression (_ (string_content) @near))
(require_once_expression (_ (string_content) @near))
(include_expression (_ (string_content) @near))
(include_once_expression (_ (string_content) @near))
(require_expression (binary_expression right: (_ (string_content) @near)))
(require_once_expression (binary_expression right: (_ (string_content) @near)))
(include_expression (binary_expression right: (_ (string_content) @near)))
(include_once_expression (binary_expression right: (_ (string_content) @near)))
"""

_RUBY = """
((call method: (identifier) @_method arguments: (argument_list . (string (string_content) @near)))
 (#eq? @_method "require_relative"))
((call method: (identifier) @_method arguments: (argument_list . (string (string_content) @target)))
 (#eq? @_method "require"))
"""

GRAMMARS: dict[str, Grammar] = {
    "python": Grammar(_PYTHON, joint=":"),
    "javascript": Grammar(_JAVASCRIPT),
    "typescript": Grammar(_TYPESCRIPT),
    "tsx": Grammar(_TYPESCRIPT),
    "java": Grammar(_JAVA),
    "c": Grammar(_INCLUDE),
    "cpp": Grammar(_INCLUDE),
    "cuda": Grammar(_INCLUDE),
    "go": Grammar(_GO),
    "rust": Grammar(_RUST),
    "csharp": Grammar(_CSHARP),
    "php": Grammar(_PHP, joint="\\"),
    "ruby": Grammar(_RUBY),
}
"""By the name of the grammar; the others import nothing that we can see."""

MAX_TARGETS = 5000
"""No one writes more; a file that has more is data."""

MAX_TARGET = 500
"""Characters of one target, likewise."""


class Found(NamedTuple):
    """What a file imports, in file order and once each; the package it says it is in, if any."""

    imports: tuple[str, ...]
    declares: str | None


class Finder:
    """The imports of trees of one grammar; the query is compiled once."""

    def __init__(self, grammar: str, language: Language):
        self.grammar = GRAMMARS.get(grammar)
        self.query = Query(language, self.grammar.query) if self.grammar else None

    def find(self, root: Node) -> Found:
        """The targets under ``root``, as `resolve` reads them."""
        if self.grammar is None or self.query is None:
            return Found((), None)
        placed: list[tuple[int, str]] = []
        declared: list[tuple[int, str]] = []
        for _, captures in QueryCursor(self.query).matches(root):
            texts = {name: _text(nodes[0]) for name, nodes in captures.items()}
            start = max(nodes[0].start_byte for nodes in captures.values())
            if "declares" in texts:
                declared.append((start, texts["declares"]))
            else:
                placed += [(start, target) for target in _targets(texts, self.grammar.joint)]
        targets = dict.fromkeys(target for _, target in sorted(placed, key=lambda pair: pair[0]))
        imports = tuple(target for target in targets if 0 < len(target) <= MAX_TARGET)[:MAX_TARGETS]
        return Found(imports, min(declared)[1][:MAX_TARGET] if declared else None)


def _targets(texts: dict[str, str], joint: str) -> list[str]:
    if "use" in texts:
        return use_paths(texts["use"])
    if "near" in texts:
        return ["./" + texts["near"].lstrip("/")]
    if "module" in texts:
        return [texts["module"] + joint + texts["name"]]
    return [texts["target"]]


def use_paths(tree: str) -> list[str]:
    """The paths of a Rust use tree.

    >>> use_paths("crate::a::{b, c::{self, d as e}}")
    ['crate::a::b', 'crate::a::c::self', 'crate::a::c::d']
    """
    paths: list[str] = []
    prefixes = [""]
    path = ""
    for piece in re.findall(r"[{},]|[^{},]+", re.sub(r"//[^\n]*|/\*.*?\*/", "", tree, flags=re.DOTALL)):
        if piece == "{":
            prefixes.append(path)
        elif piece == "}" and len(prefixes) > 1:
            prefixes.pop()
        if piece in "{},":
            path = prefixes[-1]
        elif name := re.sub(r"\s+as\s.*", "", piece.strip()):
            path = prefixes[-1] + name
            if not path.endswith("::"):
                paths.append(path.removesuffix("::*"))
    return paths


_VERBATIM = ("string_content", "string_fragment", "use_list", "scoped_use_list", "use_as_clause")


def _text(node: Node) -> str:
    """The source of a node; white space and line continuations inside a dotted name mean nothing."""
    text = (node.text or b"").decode("utf-8", "replace")
    return text if node.type in _VERBATIM else re.sub(r"\\?\s+", "", text)
